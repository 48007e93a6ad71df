package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// holder returns the shard that holds an external endpoint towards a remote one, locked, and the endpoint's place in its table.
func (c *call) holder(external, remote mapping.Endpoint) (s *shard, at mapping.Place, pool int, why Reason) {
	pool, position, ok := c.e.external.find(external.Addr)
	if !ok {
		return nil, at, 0, ReasonNotExternal
	}
	p := c.e.pools[pool]
	if m := p.formula.Load(); m != nil {
		// A deterministic port leads to its subscriber by formula, a dynamic one by its block.
		subscriber, err := m.Reverse(mapping.Addr4(external.Addr), external.Port)
		if err == nil {
			key := subscriberKey{addr: mapping.Number4(subscriber.Addr()), realm: uint16(m.Config().Realm), pool: uint16(pool)}
			s = c.lock(c.e.shardOf(key.realm, key.addr))
			if at, ok = s.fixedPlace(key, external); !ok {
				return s, at, pool, ReasonNoMapping
			}
			return s, at, pool, ReasonNone
		}
		if !p.overflows() {
			return nil, at, pool, ReasonNoMapping
		}
	}
	where, ok := p.locate(pool, position, external, remote)
	if !ok {
		return nil, at, pool, ReasonNoMapping
	}
	s = c.lock(c.e.shards[where.owner.shard()])
	if at, ok = s.place(p, &where, external); !ok {
		return s, at, pool, ReasonNoMapping
	}
	return s, at, pool, ReasonNone
}

// locate tells where an external endpoint lies towards a remote one, and who holds its block; ok is false where nobody does.
func (p *pool) locate(pool int, address uint32, external, remote mapping.Endpoint) (where position, ok bool) {
	number, offset, ok := p.layout.Position(external.Port)
	if !ok {
		return where, false
	}
	class, place := uint16(0), address
	if p.selection != nil {
		class = p.selection.class(remote)
		place = p.place(address, class)
	}
	o := p.owner(place, number)
	return position{o, uint16(pool), class, uint16(number), uint16(offset)}, o != 0
}

// place returns the place of an external endpoint. The block may have gone, and its number have been given to another, before the
// shard was locked: then there is none. The caller holds mu.
func (s *shard) place(p *pool, where *position, external mapping.Endpoint) (at mapping.Place, ok bool) {
	b, ok := s.table.Block(where.owner.id())
	offset := int(where.offset) + (int(where.number)-int(b.Number))*p.layout.Unit()
	if !ok || b.External != external.Addr || b.Class != where.class || offset < 0 || offset >= int(b.Ports) {
		return at, false
	}
	return mapping.Place{Block: where.owner.id(), Offset: uint16(offset)}, true
}

// fixedPlace returns the place of a deterministic port. The caller holds mu.
func (s *shard) fixedPlace(key subscriberKey, external mapping.Endpoint) (at mapping.Place, ok bool) {
	sub := s.sub(key)
	if sub == nil || sub.fixed == nil {
		return at, false
	}
	i, ok := sub.fixed.ports.Index(mapping.Addr4(external.Addr), external.Port)
	return mapping.Place{Block: sub.fixed.id, Offset: uint16(i)}, ok
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
	s, at, pool, why := c.holder(external, remote)
	if why == ReasonNotExternal {
		return c.exempted(p, h)
	}
	if why != ReasonNone {
		return Drop, why
	}
	seg := segmentOf(h)
	internal, realm, known := s.table.Inbound(at, space, external, remote, &seg, s.tick)
	if !known {
		if internal, realm, why = c.admit(s, at, pool, h, space, external, remote); why != ReasonNone {
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
func (c *call) admit(s *shard, at mapping.Place, pool int, h *rewrite.Packet4, space portblock.Space, external, remote mapping.Endpoint) (mapping.Endpoint, uint16, Reason) {
	e := c.e
	p := e.pools[pool]
	if old, ok := s.table.CloseInbound(at, space, external, remote, s.tick); ok {
		e.sessionEnded(s, &old) // it was not found because it is over
	}
	class := p.selection.class(remote)
	internal, realm, ok := s.table.Holder(at, space)
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
