package main

import (
	"net/netip"

	"github.com/blocknat/blocknat/logging"
)

// sessionEvery is how many flows share one that is encoded: enough for the mean.
const sessionEvery = 64

// A sessionLog counts what records of sessions would have cost, had they been written: a
// record when a flow begins and one when it ends, as RFC 8158 has them. The bytes of some are
// measured and stand for all.
type sessionLog struct {
	flows, encoded, bytes int
	line                  []byte
}

func (l *sessionLog) add(f *flow, s *service, ms int32) {
	if l.flows++; l.flows%sessionEvery != 1 {
		return
	}
	external := netip.AddrPortFrom(addr4(f.external.addr), f.external.port)
	r := logging.Record{
		Kind: logging.SessionCreated, Time: logging.MillisOf(begin) + logging.Millis(ms),
		PoolID: 1, Pool: poolName, Protocol: s.proto,
		Subscriber: addr4(f.client), Internal: netip.AddrPortFrom(addr4(f.client), f.port),
		External: external.Addr(), First: external.Port(), Last: external.Port(),
		Remote: netip.AddrPortFrom(addr4(s.addr), s.port),
	}
	l.line = logging.JSON{}.AppendRecord(l.line[:0], &r)
	l.bytes += len(l.line)
	r.Kind, r.Allocated = logging.SessionDeleted, r.Time
	l.line = logging.JSON{}.AppendRecord(l.line[:0], &r)
	l.bytes += len(l.line)
	l.encoded++
}

// total returns the records and the bytes of all flows.
func (l *sessionLog) total() (records, bytes uint64) {
	if l.encoded == 0 {
		return 0, 0
	}
	return 2 * uint64(l.flows), uint64(float64(l.bytes) / float64(l.encoded) * float64(l.flows))
}
