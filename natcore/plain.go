package natcore

import (
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// The plain way is that of nearly all packets: TCP and UDP, whole, without options, of a known session, from the inside to the outside or
// back. What is not plain, or turns out not to be, goes the whole way of process, which the plain one only shortens.
//
// In a batch the plain packets that follow each other go in stages: all are parsed, and the memory behind their sessions is asked for, so that
// it is fetched at the same time; then they are translated, shard by shard, under one hold of its lock: those that have a session, and then those that
// begin one (fresh.go). Packets of one session keep their order, and what comes of each, with one shard, is what would come of it if they came one by one; a packet that
// is not plain waits for all before it, and all behind it wait for it.

// plain is one packet on the plain way.
type plain struct {
	head  rewrite.Plain4
	look  mapping.Lookup
	shard uint8
	next  uint8 // 1 + the packet of the same shard that comes next in the batch, or 0
}

const (
	// chunkSize is the number of packets whose memory is fetched at a time, chunkSmall that of callers with few.
	chunkSize  = 64
	chunkSmall = 8
)

// one translates one packet.
func (e *Engine) one(p *Packet, now time.Time) {
	var a plain
	s, done := e.known(p, &a, now)
	if done {
		return
	}
	var c call
	c.begin(e, now)
	if s != nil {
		c.hold(s)
		c.processMissed(p, &a)
	} else {
		c.process(p)
	}
	c.done()
}

// known translates a packet that goes the plain way to its end, and reports whether it is one. Where it has no session, its shard stays locked,
// for the whole way.
func (e *Engine) known(p *Packet, a *plain, now time.Time) (s *shard, done bool) {
	if !a.begin(e, p) {
		return nil, false
	}
	s = e.shards[a.shard]
	s.mu.Lock()
	if s.given != now || s.ms != e.clock.Load() {
		s.catchUp(e, now)
	}
	becomes, ok := a.pass(s, p)
	if !ok {
		return s, false
	}
	s.mu.Unlock() // before the packet is written, which needs no lock
	a.write(e, p, becomes)
	return s, true
}

// processMissed is process for a packet that pass has found no session for, without another search for it. The caller has locked the shard.
func (c *call) processMissed(p *Packet, a *plain) {
	if p.Direction == Outbound {
		c.missed, c.look = true, a.look
	}
	c.process(p)
	c.missed = false
}

// catchUp sets the shard's clock to the engine's after a caller has shown a time. The caller holds mu.
func (s *shard) catchUp(e *Engine, now time.Time) {
	s.given = now
	s.advance(e.advance(now))
}

// batch translates packets in order.
func (c *call) batch(packets []Packet) {
	for len(packets) > 0 {
		if len(packets) <= chunkSmall {
			var a [chunkSmall]plain
			c.chunk(packets, a[:len(packets)])
			return
		}
		n := min(len(packets), chunkSize)
		var a [chunkSize]plain
		c.chunk(packets[:n], a[:n])
		packets = packets[n:]
	}
}

// chunk translates a part of a batch.
func (c *call) chunk(packets []Packet, a []plain) {
	for len(packets) > 0 {
		n := 0
		for n < len(packets) && a[n].begin(c.e, &packets[n]) {
			n++
		}
		// A loop of its own, for what it has to read itself overlaps only where the loop is short.
		for i := range n {
			a[i].prefetch(c.e, packets[i].Direction)
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

// begin parses a packet, begins the look-up of its session, and reports whether it goes the plain way.
func (a *plain) begin(e *Engine, p *Packet) bool {
	head, ok := rewrite.ParsePlain4(p.Bytes)
	if !ok || head.TCPFlags&rewrite.TCPSyn != 0 && !e.plainSYN(p.Direction, head.TCPFlags) || p.Flags&^PartialChecksum != 0 || e.stopped.Load() {
		return false
	}
	a.head = head
	space := a.space()
	src, dst := mapping.Endpoint{Addr: head.Src(), Port: head.SrcPort()}, mapping.Endpoint{Addr: head.Dst(), Port: head.DstPort()}
	static := e.statics.index.Load()
	if p.Direction == Outbound {
		if e.external.has(dst.Addr) || static != nil && static.owns(dst.Addr) {
			return false
		}
		shard := e.shardNumber(uint16(p.Realm), src.Addr)
		a.shard = uint8(shard)
		e.shards[shard].looks.Load().LookOutbound(&a.look, uint16(p.Realm), space, src, dst)
		return true
	}
	pool, position, ok := e.external.find(dst.Addr)
	if !ok || p.Direction != Inbound || e.external.has(src.Addr) || static != nil && (static.owns(dst.Addr) || static.owns(src.Addr)) {
		return false
	}
	shard, class, ok := e.pools[pool].locate(e, position, dst, src)
	if !ok {
		return false
	}
	a.shard = uint8(shard)
	e.shards[shard].looks.Load().LookInbound(&a.look, space, dst, class, src)
	return true
}

// space returns the port space of a packet that goes the plain way.
func (a *plain) space() portblock.Space {
	if a.head.Proto == rewrite.ProtoTCP {
		return portblock.TCP
	}
	return portblock.UDP
}

// staged translates plain packets, shard by shard.
func (c *call) staged(packets []Packet, a []plain) {
	if len(c.e.shards) == 1 {
		c.inShard(packets, a)
		return
	}
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
		var misses misses
		s := c.lock(c.e.shards[n])
		for i := first[n]; i != 0; i = a[i-1].next {
			c.translatePlain(s, packets, a, i-1, &misses)
		}
		c.begins(packets, a, &misses)
	}
}

// inShard is staged for packets of one shard.
func (c *call) inShard(packets []Packet, a []plain) {
	var misses misses
	s := c.lock(c.e.shards[a[0].shard])
	for i := range a {
		c.translatePlain(s, packets, a, uint8(i), &misses)
	}
	c.begins(packets, a, &misses)
}

// prefetch asks for the memory of a packet's session.
func (a *plain) prefetch(e *Engine, d Direction) {
	t := e.shards[a.shard].looks.Load()
	if d == Outbound {
		t.PrefetchOutbound(&a.look)
	} else {
		t.PrefetchInbound(&a.look)
	}
}

// translatePlain translates a packet of a batch to its end, or puts it among those that begin a session. These wait until all of their
// shard's packets that have one are through, which none of these can tell; what else has no session waits for them.
func (c *call) translatePlain(s *shard, packets []Packet, a []plain, i uint8, m *misses) {
	p, a1 := &packets[i], &a[i]
	if c.shard != s {
		c.lock(s) // it was let go for a packet of no session
	}
	if becomes, ok := a1.pass(s, p); ok {
		a1.write(c.e, p, becomes)
		return
	}
	if c.mayBegin(p, a1) {
		m.add(i)
		return
	}
	if m.n > 0 { // one of them may begin its session
		c.begins(packets, a, m)
		c.process(p)
	} else {
		c.processMissed(p, a1)
	}
	if c.shard != s {
		c.unlock()
	}
}

// pass returns what the source of an outbound packet of a session becomes, or the destination of an inbound one. The caller has locked
// the shard.
func (a *plain) pass(s *shard, p *Packet) (becomes mapping.Endpoint, ok bool) {
	var seg *mapping.Segment
	if a.head.Proto == rewrite.ProtoTCP {
		of := a.segment(p)
		seg = &of
	}
	if p.Direction == Outbound {
		if becomes, ok = s.table.PassOutbound(&a.look, seg, s.tick); ok {
			s.counts.packets[Outbound][Forward]++
		}
		return becomes, ok
	}
	becomes, realm, ok := s.table.PassInbound(&a.look, seg, s.tick)
	if ok {
		p.Realm = Realm(realm)
		s.counts.packets[Inbound][Forward]++
	}
	return becomes, ok
}

// segment returns what a TCP session's state needs to know of a packet.
func (a *plain) segment(p *Packet) mapping.Segment {
	seq, ack, payload := rewrite.PlainSegment4(p.Bytes)
	return mapping.Segment{Seq: seq, Ack: ack, Length: uint32(payload), Flags: a.head.TCPFlags}
}

// write gives a packet of a known session its other endpoint.
func (a *plain) write(e *Engine, p *Packet, becomes mapping.Endpoint) {
	p.Verdict, p.Reason = Forward, ReasonNone
	if p.Direction == Inbound {
		a.head.SetDestination(p.Bytes, becomes.Addr, becomes.Port, p.Flags != 0)
		return
	}
	a.head.SetSource(p.Bytes, becomes.Addr, becomes.Port, p.Flags != 0)
	if e.ids.counters != nil && !rewrite.PlainDontFragment4(p.Bytes) {
		rewrite.SetPlainID4(p.Bytes, e.ids.next(becomes.Addr, a.head.Dst(), a.head.Proto))
	}
}
