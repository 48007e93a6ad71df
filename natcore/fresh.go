package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// Packets of a batch that begin sessions go on in stages of their own, for a new session reads a chain of memory, each link of which
// names the next: the subscriber's entry, the subscriber, its account and block, and the place of the external endpoint that was
// chosen. One packet waits for each link in turn; those of a batch wait together, and only once for each:
//
//	of all      ask for the subscriber's entry
//	of all      ask for the subscriber
//	of all      ask for what hangs on it
//	in order    count the session, take a port, ask for the place of its external endpoint     ready
//	  and, a few packets behind, enter the session                                             enter
//
// What cannot go this way, or needs the log, goes the whole way when those before it are through.

// misses are the packets of a batch that begin sessions of one shard, as far as one can tell.
type misses struct {
	n    int
	list [chunkSize]uint8
}

func (m *misses) add(i uint8) {
	m.list[m.n] = i
	m.n++
}

// plainSYN reports whether a TCP segment with SYN may go the plain way: an outbound one that opens a connection and is not to be clamped.
func (e *Engine) plainSYN(d Direction, flags uint8) bool {
	return d == Outbound && opensTCP(flags) && e.mss == 0
}

// mayBegin reports whether a packet without a session may be the first of one that begins in stages. Where its session is over and still there,
// it may not: inbound packets find that session until this one has ended it, so they may not go first. Nor may a datagram that gets an
// identification: they are given in order.
func (c *call) mayBegin(p *Packet, a *plain) bool {
	return p.Direction == Outbound && c.static == nil && (a.head.Proto == rewrite.ProtoUDP || opensTCP(a.head.TCPFlags)) &&
		(c.e.ids.counters == nil || rewrite.PlainDontFragment4(p.Bytes)) && !c.e.shards[a.shard].table.Lingers(&a.look)
}

// aheadOf is how many sessions are ready and not entered yet, at most.
const aheadOf = 8

// fresh is a packet whose session is ready, and not entered yet.
type fresh struct {
	opening
	packet uint8 // of the batch
	taken  taken
	back   mapping.Lookup // from the port
}

// begins begins the sessions of the misses, in order.
func (c *call) begins(packets []Packet, a []plain, m *misses) {
	list := m.list[:m.n]
	m.n = 0
	if len(list) == 0 {
		return
	}
	s := c.lock(c.e.shards[a[list[0]].shard])
	if len(list) == 1 {
		c.processMissed(&packets[list[0]], &a[list[0]])
		return
	}
	var pools [chunkSize]int16
	var places [chunkSize]uint64
	for i, n := range list {
		if pools[i] = c.poolOf(&packets[n], &a[n]); pools[i] >= 0 {
			key, _, _ := c.keyOf(&packets[n], &a[n], pools[i])
			places[i] = s.prefetchPlace(key)
		}
		s.table.PrefetchFirst(&a[n].look, true)
	}
	var subs [chunkSize]*subscriber
	for i, n := range list {
		if pools[i] >= 0 {
			subs[i] = s.prefetchSub(places[i], a[n].space())
		}
		s.table.PrefetchNotes(&a[n].look)
	}
	for _, sub := range subs[:len(list)] {
		if sub != nil {
			sub.prefetchBehind(s.table)
		}
	}
	var ring [aheadOf]fresh
	begun, entered := 0, 0
	for i, n := range list {
		p, of := &packets[n], &a[n]
		for j := entered; j < begun; j++ {
			if ring[j%aheadOf].look.Near(&of.look) { // the session that this packet belongs to, or its mapping, is on its way
				entered = c.enterAll(s, &ring, entered, begun, packets, a)
			}
		}
		if begun-entered == aheadOf {
			c.enter(s, &ring[entered%aheadOf], packets, a)
			entered++
		}
		if f := &ring[begun%aheadOf]; pools[i] >= 0 && c.ready(s, f, p, of, pools[i], subs[i]) {
			f.packet = n
			begun++
			continue
		}
		entered = c.enterAll(s, &ring, entered, begun, packets, a)
		c.process(p) // with a search: those before it may have begun its session
		c.lock(s)
	}
	c.enterAll(s, &ring, entered, begun, packets, a)
}

// enterAll enters the sessions that are ready.
func (c *call) enterAll(s *shard, ring *[aheadOf]fresh, entered, begun int, packets []Packet, a []plain) int {
	for ; entered < begun; entered++ {
		c.enter(s, &ring[entered%aheadOf], packets, a)
	}
	return entered
}

// poolOf returns the pool that serves a packet, or -1 where a rule says something else, or none says anything.
func (c *call) poolOf(p *Packet, a *plain) int16 {
	r := c.e.match(p.Realm, a.head.Src(), a.head.Dst(), a.head.Proto)
	if r == nil || r.action != Translate || c.own(a.head.Src()) {
		return -1
	}
	return r.pool
}

// keyOf returns whose subscriber a packet is, and the scope of its mapping.
func (c *call) keyOf(p *Packet, a *plain, pool int16) (key subscriberKey, remote mapping.Endpoint, scope mapping.Scope) {
	remote = mapping.Endpoint{Addr: a.head.Dst(), Port: a.head.DstPort()}
	scope, class := c.e.pools[pool].scope(remote)
	return subscriberKey{a.head.Src(), uint16(p.Realm), uint16(pool), class}, remote, scope
}

// ready counts the session that a packet begins, takes its port, and asks for the place of its external endpoint. Where it returns false
// nothing has changed, and the packet goes the whole way. The caller holds the shard's lock until enter.
func (c *call) ready(s *shard, f *fresh, p *Packet, a *plain, pool int16, likely *subscriber) bool {
	e := c.e
	f.key, f.remote, f.scope = c.keyOf(p, a, pool)
	sub := s.subLikely(likely, f.key)
	if sub == nil || f.scope.On != mapping.OnNothing || !s.table.Vacant(&a.look) {
		return false
	}
	f.sub, f.look = sub, a.look
	f.internal = mapping.Endpoint{Addr: a.head.Src(), Port: a.head.SrcPort()}
	f.space, f.seg = a.space(), mapping.Segment{}
	if f.space == portblock.TCP {
		f.seg = a.segment(p)
	}
	if e.mayOpen(s, &f.opening) != ReasonNone {
		return false
	}
	account := sub.account
	if account.mapped(f.space, e.chosen(f.key, f.remote, f.space), s.now) != ReasonNone {
		return false
	}
	t, more, why := e.takePort(s, sub, f.key, f.space, f.internal.Port)
	if more || why != ReasonNone {
		account.unmade(f.space)
		return false
	}
	if e.admit(s, sub, &f.opening) != ReasonNone {
		e.untake(s, sub, f.space, &t)
		return false
	}
	f.taken = t
	s.table.LookInbound(&f.back, f.space, mapping.Endpoint{Addr: sub.external, Port: t.port}, f.scope.Class, f.remote)
	s.table.PrefetchInbound(&f.back)
	s.table.PrefetchFirst(&f.back, false)
	return true
}

// enter enters a session that is ready, and writes its packet.
func (c *call) enter(s *shard, f *fresh, packets []Packet, a []plain) {
	p := &packets[f.packet]
	if !c.e.enterFirst(s, f.sub, &f.opening, &f.taken, &f.back) {
		c.process(p) // not reached: the endpoint was vacant, and the shard's lock has not been let go
		c.lock(s)
		return
	}
	s.counts.packets[Outbound][Forward]++
	a[f.packet].write(c.e, p, mapping.Endpoint{Addr: f.sub.external, Port: f.taken.port})
}
