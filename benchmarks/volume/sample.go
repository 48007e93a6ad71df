package main

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/portblock"
)

// sampledSession is a connection of which records are encoded.
type sampledSession struct {
	subscriber uint32
	number     uint64
	at, hold   int64
	space      portblock.Space
	port       uint16
}

// sampledBlock is an allocation or a release of which a record is encoded.
type sampledBlock struct {
	move
	set  portblock.Set
	used int
}

// chosen says whether something is in a sample: a hash of the subscriber and a number, so that each one is as likely as any other
// and the same run always has the same sample.
func chosen(subscriber int, number uint64, share float64) bool {
	x := uint64(subscriber)<<40 ^ number
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64(x^x>>31) < share*math.MaxUint64
}

// sampleSession notes a connection: in the sample, and among those that all begin within a while. Its port is that of the
// first NAT that has one.
func (w *worker) sampleSession(c *connection, at int64) {
	w.drawn++
	sampled := at >= w.From && chosen(w.subscriber, w.drawn, w.Sample)
	dense := at >= w.DenseFrom && at < w.DenseTo
	if !sampled && !dense {
		return
	}
	for _, port := range c.ports[:len(w.nats)] {
		if port == 0 {
			continue
		}
		s := sampledSession{uint32(w.subscriber), w.drawn, at, c.hold, c.space, port}
		if sampled {
			w.totals.sessions = append(w.totals.sessions, s)
		}
		if dense {
			w.totals.dense = append(w.totals.dense, s)
		}
		return
	}
}

// blockShare is how much likelier a block's event is in the sample: there are far fewer of them.
const blockShare = 300

func (w *worker) sampleBlock(i int, b portblock.Block, at int64, take bool, used int) {
	number := uint64(at)<<8 ^ uint64(b.Number())
	if at < w.From || !chosen(w.subscriber, number, blockShare*w.Sample) {
		return
	}
	m := move{at: at, subscriber: uint32(w.subscriber), take: take}
	w.totals.blocks[i] = append(w.totals.blocks[i], sampledBlock{m, w.nats[i].layout.SetOf(b), used})
}

// sort brings what the workers found into the order of time.
func (t *totals) sort() {
	compare := func(a, b move) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.subscriber, b.subscriber), cmp.Compare(a.slot, b.slot))
	}
	for _, moves := range t.Moves {
		slices.SortStableFunc(moves, compare) // of one subscriber in the order in which they happened
	}
	for _, blocks := range t.blocks {
		slices.SortFunc(blocks, func(a, b sampledBlock) int {
			return cmp.Or(compare(a.move, b.move), cmp.Compare(a.set.First(), b.set.First()))
		})
	}
	for _, sessions := range [][]sampledSession{t.sessions, t.dense} {
		slices.SortFunc(sessions, func(a, b sampledSession) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.subscriber, b.subscriber), cmp.Compare(a.number, b.number))
		})
	}
}

// epoch is the midnight before the simulation begins, in Unix milliseconds: 2026-05-01T00:00:00Z.
const epoch = logging.Millis(1777593600000)

// internal is a subscriber's address (RFC 6598), external an external one (RFC 5737).
func internal(subscriber uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 100<<24|64<<16+subscriber+1)
	return netip.AddrFrom4(b)
}

func external(subscriber uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(subscriber * 0x9e3779b1 >> 24)})
}

func record(at int64, subscriber uint32) logging.Record {
	return logging.Record{
		Time: epoch + logging.Millis(at), Instance: 1, Host: "cgn1.example.net", Epoch: 1, Pool: "cgn", PoolID: 1,
		Subscriber: internal(subscriber), External: external(subscriber),
	}
}

// recordsOf are the two records of each connection: no remote endpoint (RFC 6888 REQ-12).
func recordsOf(sessions []sampledSession) []logging.Record {
	var records []logging.Record
	for _, s := range sessions {
		r := record(s.at, s.subscriber)
		r.Kind, r.Reason, r.First, r.Last = logging.SessionCreated, logging.ReasonOutbound, s.port, s.port
		if r.Protocol, r.Spaces = 6, logging.TCP; s.space == portblock.UDP {
			r.Protocol, r.Spaces = 17, logging.UDP
		}
		r.Internal = netip.AddrPortFrom(r.Subscriber, 32768+s.port%28232)
		records = append(records, r)
		r.Allocated, r.Kind, r.Reason = r.Time, logging.SessionDeleted, logging.ReasonIdle
		r.Time += logging.Millis(s.hold)
		records = append(records, r)
	}
	return records
}

// blockRecords are the records of the sampled blocks of one size. A release
// repeats the time of the allocation; where a block began is not kept, so all say an hour before.
func (t *totals) blockRecords(i int, most int) []logging.Record {
	var records []logging.Record
	for _, b := range t.blocks[i] {
		r := record(b.at, b.subscriber)
		r.Kind, r.Reason, r.Spaces = logging.BlockAllocated, logging.ReasonOutbound, logging.AllSpaces
		r.First, r.Last, r.Used, r.Max = b.set.First(), b.set.Last(), uint32(b.used), uint32(most)
		if !b.take {
			r.Kind, r.Reason, r.Allocated = logging.BlockReleased, logging.ReasonIdle, r.Time-logging.Millis(hour)
		}
		records = append(records, r)
	}
	return records
}
