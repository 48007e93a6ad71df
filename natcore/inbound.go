package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// holder returns the shard that holds an external endpoint towards a remote one, locked, and the class of the remote one in the pool.
func (c *call) holder(external, remote mapping.Endpoint) (s *shard, class uint16, pool int, why Reason) {
	pool, position, ok := c.e.external.find(external.Addr)
	if !ok {
		return nil, 0, 0, ReasonNotExternal
	}
	shard, class, ok := c.e.pools[pool].locate(c.e, position, external, remote)
	if !ok {
		return nil, class, pool, ReasonNoMapping
	}
	return c.lock(c.e.shards[shard]), class, pool, ReasonNone
}

// locate tells which shard holds an external endpoint towards a remote one, and the class of the remote one; ok is false where
// nobody holds it. It takes no lock: the block may have gone before the shard is locked, and then nothing is found there.
func (p *pool) locate(e *Engine, address uint32, external, remote mapping.Endpoint) (shard int, class uint16, ok bool) {
	if m := p.formula.Load(); m != nil {
		// A deterministic port leads to its subscriber by formula, a dynamic one by its block.
		subscriber, err := m.Reverse(mapping.Addr4(external.Addr), external.Port)
		if err == nil {
			return e.shardNumber(uint16(m.Config().Realm), mapping.Number4(subscriber.Addr())), 0, true
		}
		if !p.overflows() {
			return 0, 0, false
		}
	}
	place := address
	if p.selection != nil {
		class = p.selection.class(remote)
		place = p.place(address, class)
	}
	if len(e.shards) == 1 {
		return 0, class, true
	}
	number, _, ok := p.layout.Position(external.Port)
	if !ok {
		return 0, class, false
	}
	o := p.owner(place, number)
	return o.shard(), class, o != 0
}

// inbound translates the destination of a packet that arrives, or that
// hairpins: its source is an external endpoint by then.
func (c *call) inbound(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if p.Direction == Inbound && c.own(h.Src) {
		return Drop, ReasonSpoofed
	}
	if c.static != nil {
		if verdict, why, done := c.arrive(p, h); done {
			return verdict, why
		}
	}
	space := spaceOf(h)
	external := mapping.Endpoint{Addr: h.Dst, Port: h.DstPort}
	remote := remoteOf(space, h.Src, h.SrcPort)
	s, class, pool, why := c.holder(external, remote)
	if why == ReasonNotExternal {
		return c.exempted(p, h)
	}
	if why != ReasonNone {
		return Drop, why
	}
	seg := segmentOf(h)
	internal, realm, known := s.table.Inbound(space, external, class, remote, &seg, s.tick)
	if !known {
		if internal, realm, why = c.admit(s, class, pool, h, space, external, remote); why != ReasonNone {
			return Drop, why
		}
	}
	p.Realm = Realm(realm)
	h.SetDestination(p.Bytes, internal.Addr, internal.Port)
	return Forward, ReasonNone
}

// admit decides about a packet from a remote endpoint that the mapping has no
// session with, by its filtering (RFC 4787 section 5). The packet makes no session: strangers can neither fill
// the table nor keep a mapping alive. The internal host's answer makes one. The caller has locked the shard.
func (c *call) admit(s *shard, class uint16, pool int, h *rewrite.Packet4, space portblock.Space, external, remote mapping.Endpoint) (mapping.Endpoint, uint16, Reason) {
	e := c.e
	p := e.pools[pool]
	if old, ok := s.table.CloseInbound(space, external, class, remote, s.tick); ok {
		e.sessionEnded(s, &old) // it was not found because it is over
	}
	internal, realm, ok := e.holderOf(s, p, class, space, external, remote)
	if !ok {
		return mapping.Endpoint{}, 0, ReasonNoMapping
	}
	if !p.admits(s.table, space, external, remote, class) {
		return mapping.Endpoint{}, 0, ReasonFiltered
	}
	if h.Kind == rewrite.KindQueryReply || h.Kind == rewrite.KindTCP && !e.begins(h) {
		return mapping.Endpoint{}, 0, ReasonNoSession
	}
	return internal, realm, ReasonNone
}

// admits reports whether the pool's filtering lets a remote endpoint in that a mapping has no session with.
func (p *pool) admits(t *mapping.Table, space portblock.Space, external, remote mapping.Endpoint, class uint16) bool {
	return p.cfg.Filtering == EndpointIndependent ||
		p.cfg.Filtering == AddressDependent && t.Permitted(space, external, remote.Addr, class)
}

// exempted lets an inbound packet pass whose flow a rule exempts: it goes to an internal
// address (RFC 6888 REQ-6). In each realm the first rule that covers the flow decides.
func (c *call) exempted(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	rules := *c.e.rules.Load()
	for i := range rules {
		r := &rules[i]
		if r.action != Exempt || !r.covers(h.Dst, h.Src, h.Proto) {
			continue
		}
		first := true
		for j := range i {
			q := &rules[j]
			first = first && !(q.realm == r.realm && q.covers(h.Dst, h.Src, h.Proto))
		}
		if first {
			p.Realm = Realm(r.realm)
			return Bypass, ReasonNone
		}
	}
	return Drop, ReasonNotExternal
}
