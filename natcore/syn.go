package natcore

import (
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// waitingSYNs are SYNs that arrived and were not admitted. After the wait their senders are told that the
// port is unreachable, unless the internal end has opened the same connection
// meanwhile: then both ends open it at once, and an answer would end it (RFC 5382 section 4.3). A SYN that waits
// is a copy of its headers, in the order in which the waits end. The outbox's lock guards all.
type waitingSYNs struct {
	wait       time.Duration // negative: none waits
	most, each int
	queue      []waitingSYN
	byEnds     map[synEnds]bool
	byAddress  map[uint64]int // waiting from a remote address, and to a subscriber or external address
}

// synEnds tells a connection by its ends as seen from outside.
type synEnds struct{ external, remote mapping.Endpoint }

type waitingSYN struct {
	due       time.Time
	ends      synEnds
	from, to  uint64 // keys of byAddress
	addressee uint32
	bytes     []byte
}

// synQuote bounds what is kept of a SYN: what its ICMP error can quote.
const synQuote = 548

func (w *waitingSYNs) init(c *ICMPConfig) {
	w.wait, w.most, w.each = c.SYNWait, c.SYNs, c.SYNsPerAddress
	if c.Off {
		w.wait = -1
	}
	w.byEnds, w.byAddress = map[synEnds]bool{}, map[uint64]int{}
}

// holdSYN lets the SYN of a dropped inbound packet wait, within the limits.
func (c *call) holdSYN(p *Packet) {
	o := &c.e.outbox
	if o.syns.wait < 0 || p.Bytes[9] != rewrite.ProtoTCP { // it was parsed before it was dropped
		return
	}
	h, ok := answerable(p)
	if !ok || h.Kind != rewrite.KindTCP || !initial(&h) {
		return
	}
	ends := synEnds{mapping.Endpoint{Addr: h.Dst, Port: h.DstPort}, mapping.Endpoint{Addr: h.Src, Port: h.SrcPort}}
	to := receiverOf(Outbound, 0, h.Dst)
	if p.Reason == ReasonFiltered {
		if s, class, _, why := c.holder(ends.external, ends.remote); why == ReasonNone {
			if internal, realm, ok := s.table.Holder(portblock.TCP, ends.external, class, ends.remote); ok {
				to = receiverOf(Inbound, Realm(realm), internal.Addr)
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w, from := &o.syns, receiverOf(Outbound, 0, h.Src)
	if w.byEnds[ends] {
		return // a repetition: one answer is enough
	}
	if len(w.queue) >= w.most || w.byAddress[from] >= w.each || w.byAddress[to] >= w.each {
		o.suppressed++
		return
	}
	w.byEnds[ends] = true
	w.byAddress[from]++
	w.byAddress[to]++
	w.queue = append(w.queue, waitingSYN{
		due: c.now.Add(w.wait), ends: ends, from: from, to: to, addressee: h.Dst,
		bytes: slices.Clone(p.Bytes[:min(len(p.Bytes), int(h.TotalLength), synQuote)]),
	})
}

// due removes the SYNs whose wait is over. The caller holds the outbox's lock.
func (w *waitingSYNs) due(now time.Time) []waitingSYN {
	n := 0
	for ; n < len(w.queue) && !now.Before(w.queue[n].due); n++ {
		s := &w.queue[n]
		delete(w.byEnds, s.ends)
		w.forget(s.from)
		w.forget(s.to)
	}
	if n == 0 {
		return nil
	}
	due := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return due
}

func (w *waitingSYNs) forget(address uint64) {
	if w.byAddress[address]--; w.byAddress[address] == 0 {
		delete(w.byAddress, address)
	}
}

// answerSYNs answers the SYNs whose wait is over and whose connection nobody has opened. The caller holds no lock of
// a shard.
func (e *Engine) answerSYNs(now time.Time) {
	e.outbox.mu.Lock()
	due := e.outbox.syns.due(now)
	e.outbox.mu.Unlock()
	c := e.call(now)
	for i := range due {
		s := &due[i]
		if e.statics.opened(s.ends) {
			continue
		}
		if holder, class, _, why := c.holder(s.ends.external, s.ends.remote); why == ReasonNone {
			if _, opened := holder.table.Peek(portblock.TCP, s.ends.external, class, s.ends.remote); opened {
				continue
			}
		}
		p := Packet{Bytes: s.bytes}
		if h, ok := answerable(&p); ok {
			e.outbox.send(s.bytes, &h, c.externalSource(s.addressee), rewrite.Unreachable(3), Packet{Direction: Outbound}, now)
		}
	}
	c.unlock()
}

// opened reports whether the internal end of a static mapping has opened a connection.
func (st *statics) opened(ends synEnds) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.flows.Taken(mapping.Header{
		External: true, Src: ends.remote.Addr, SrcPort: ends.remote.Port, Dst: ends.external.Addr, DstPort: ends.external.Port, Proto: rewrite.ProtoTCP,
	})
}
