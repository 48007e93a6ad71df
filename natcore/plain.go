package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// The plain way is that of nearly all packets: TCP and UDP, whole, without options, of a known session, from the inside to the outside or
// back. What is not plain, or turns out not to be, goes the whole way of process, which the plain one only shortens.
//
// In a batch the plain packets that follow each other go in stages: all are parsed, then shard by shard, under one hold of its lock,
// their sessions are aimed at and touched, so that the memory behind all of them is fetched at the same time, and then they are
// translated. Packets of one shard, and so those of one subscriber and session, keep their order; a packet that
// is not plain waits for all before it, and all behind it wait for it.

// plain is one packet on the plain way.
type plain struct {
	h     rewrite.Plain4
	look  mapping.Lookup
	shard uint8
	next  uint8 // 1 + the packet of the same shard that comes next in the batch, or 0
}

const (
	// chunkSize is the number of packets whose memory is fetched at a time, chunkSmall that of callers with few.
	chunkSize  = 64
	chunkSmall = 8
)

// batch translates packets in order.
func (c *call) batch(packets []Packet) {
	for len(packets) > 0 {
		switch n := min(len(packets), chunkSize); {
		case n == 1:
			c.one(&packets[0])
			return
		case n <= chunkSmall:
			var a [chunkSmall]plain
			c.chunk(packets, a[:n])
			return
		default:
			var a [chunkSize]plain
			c.chunk(packets[:n], a[:n])
			packets = packets[n:]
		}
	}
}

// one translates one packet.
func (c *call) one(p *Packet) {
	var a plain
	if c.plain(p, &a) {
		s := c.lock(c.e.shards[a.shard])
		if becomes, ok := c.pass(s, p, &a); ok {
			c.unlock() // before the packet is written, which needs no lock
			c.write(p, &a, becomes)
			return
		}
	}
	c.process(p)
}

// chunk translates a part of a batch.
func (c *call) chunk(packets []Packet, a []plain) {
	for len(packets) > 0 {
		n := 0
		for n < len(packets) && c.plain(&packets[n], &a[n]) {
			n++
		}
		if n > 0 {
			c.staged(packets[:n], a[:n])
		}
		if n < len(packets) {
			c.process(&packets[n])
			n++
		}
		packets, a = packets[n:], a[n:]
	}
}

// plain parses a packet, begins the look-up of its session, and reports whether it goes the plain way.
func (c *call) plain(p *Packet, a *plain) bool {
	e := c.e
	if p.Flags&^PartialChecksum != 0 || !rewrite.ParsePlain4(p.Bytes, &a.h) || a.h.TCPFlags&rewrite.TCPSyn != 0 || e.stopped.Load() {
		return false
	}
	a.h.Partial = p.Flags != 0
	space := portblock.UDP
	if a.h.Proto == rewrite.ProtoTCP {
		space = portblock.TCP
	}
	src, dst := mapping.Endpoint{Addr: a.h.Src, Port: a.h.SrcPort}, mapping.Endpoint{Addr: a.h.Dst, Port: a.h.DstPort}
	switch p.Direction {
	case Outbound:
		if c.own(dst.Addr) {
			return false
		}
		shard := e.shardNumber(uint16(p.Realm), src.Addr)
		e.shards[shard].table.LookOutbound(&a.look, uint16(p.Realm), space, src, dst)
		a.shard = uint8(shard)
		return true
	case Inbound:
		if c.static != nil && c.static.owns(dst.Addr) || c.own(src.Addr) {
			return false
		}
		pool, position, ok := e.external.find(dst.Addr)
		if !ok {
			return false
		}
		shard, class, ok := e.pools[pool].locate(e, position, dst, src)
		if !ok {
			return false
		}
		e.shards[shard].table.LookInbound(&a.look, space, dst, class, src)
		a.shard = uint8(shard)
		return true
	}
	return false
}

// staged translates plain packets, shard by shard.
func (c *call) staged(packets []Packet, a []plain) {
	var first, last [maxShards]uint8 // 1 + the first and the last packet of a shard
	var order [chunkSize]uint8       // the shards, as they come
	shards := 0
	for i := range a {
		s := a[i].shard
		a[i].next = 0
		if last[s] == 0 {
			first[s] = uint8(i + 1)
			order[shards] = s
			shards++
		} else {
			a[last[s]-1].next = uint8(i + 1)
		}
		last[s] = uint8(i + 1)
	}
	for _, n := range order[:shards] {
		s := c.lock(c.e.shards[n])
		for i := first[n]; i != 0; i = a[i-1].next {
			if packets[i-1].Direction == Outbound {
				s.table.PrefetchOutbound(&a[i-1].look)
			} else {
				s.table.PrefetchInbound(&a[i-1].look)
			}
		}
		for i := first[n]; i != 0; i = a[i-1].next {
			c.lock(s) // let go for a packet of no session
			if becomes, ok := c.pass(s, &packets[i-1], &a[i-1]); ok {
				c.write(&packets[i-1], &a[i-1], becomes)
				continue
			}
			c.process(&packets[i-1])
			if c.shard != s {
				c.unlock()
			}
		}
	}
}

// pass returns what the source of an outbound packet of a session becomes, or the destination of an inbound one. The caller has locked
// the shard.
func (c *call) pass(s *shard, p *Packet, a *plain) (becomes mapping.Endpoint, ok bool) {
	seg := mapping.Segment{Seq: a.h.Seq, Ack: a.h.Ack, Length: uint32(a.h.PayloadLength), Flags: a.h.TCPFlags}
	if p.Direction == Outbound {
		becomes, ok = s.table.PassOutbound(&a.look, &seg, s.tick)
	} else {
		var realm uint16
		if becomes, realm, ok = s.table.PassInbound(&a.look, &seg, s.tick); ok {
			p.Realm = Realm(realm)
		}
	}
	if ok {
		s.counts.packets[p.Direction][Forward]++
	}
	return becomes, ok
}

// write gives a packet of a known session its other endpoint.
func (c *call) write(p *Packet, a *plain, becomes mapping.Endpoint) {
	p.Verdict, p.Reason = Forward, ReasonNone
	if p.Direction == Inbound {
		a.h.SetDestination(p.Bytes, becomes.Addr, becomes.Port)
		return
	}
	a.h.SetSource(p.Bytes, becomes.Addr, becomes.Port)
	if ids := &c.e.ids; !a.h.DontFragment && ids.counters != nil {
		a.h.SetID(p.Bytes, ids.next(a.h.Src, a.h.Dst, a.h.Proto))
	}
}
