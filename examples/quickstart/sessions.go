package main

import (
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/logging"
)

// sessionLog measures what a log of each session would take, in the encoding of
// the block records: two records a session (RFC 8158 events 4 and 5). Nothing
// of it is written.
type sessionLog struct {
	seen    map[sessionKey]bool
	records int
	bytes   int64
	line    []byte
}

type sessionKey struct {
	protocol         uint8
	external, remote netip.AddrPort
}

// see takes a translated packet. A session that was seen is not measured again:
// what is wanted is the size of a record.
func (l *sessionLog) see(way proof.Way, before, after ipv4, now time.Time) {
	if before.isError() {
		return
	}
	internal, ok1 := before.source()
	external, ok2 := after.source()
	remote, ok3 := before.destination()
	if way == proof.Inbound {
		internal, ok1 = after.destination()
		external, ok2 = before.destination()
		remote, ok3 = before.source()
	}
	if !ok1 || !ok2 || !ok3 {
		return
	}
	key := sessionKey{before.protocol, external, remote}
	if l.seen[key] {
		return
	}
	if l.seen == nil {
		l.seen = map[sessionKey]bool{}
	}
	l.seen[key] = true
	r := logging.Record{
		Time: logging.MillisOf(now), Reason: logging.ReasonOutbound, Protocol: before.protocol, PoolID: 1, Pool: poolName,
		Subscriber: internal.Addr(), Internal: internal, External: external.Addr(), First: external.Port(), Last: external.Port(),
	}
	for _, kind := range []logging.Kind{logging.SessionCreated, logging.SessionDeleted} {
		r.Kind = kind
		if kind == logging.SessionDeleted {
			r.Allocated, r.Reason = r.Time, logging.ReasonIdle
		}
		l.line = logging.JSON{}.AppendRecord(l.line[:0], &r)
		l.records++
		l.bytes += int64(len(l.line))
	}
}

// size is what the log of n sessions takes.
func (l *sessionLog) size(n uint64) (records uint64, bytes uint64) {
	if l.records == 0 {
		return 2 * n, 0
	}
	return 2 * n, 2 * n * uint64(l.bytes) / uint64(l.records)
}
