package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// holder returns the shard that holds an external endpoint towards a remote one, locked.
func (c *call) holder(external, remote mapping.Endpoint) (s *shard, pool int, why Reason) {
	pool, position, ok := c.e.external.find(external.Addr)
	if !ok {
		return nil, 0, ReasonNotExternal
	}
	if len(c.e.shards) == 1 {
		return c.lock(c.e.shards[0]), pool, ReasonNone
	}
	p := c.e.pools[pool]
	if p.cfg.Map != nil {
		// A deterministic port leads to its subscriber by formula, a dynamic one by its block.
		subscriber, err := p.cfg.Map.Reverse(mapping.Addr4(external.Addr), external.Port)
		if err == nil {
			realm := uint16(p.cfg.Map.Config().Realm)
			return c.lock(c.e.shardOf(realm, number4(subscriber.Addr()))), pool, ReasonNone
		}
		if !p.overflows() {
			return nil, pool, ReasonNoMapping
		}
	}
	block, ok := p.layout.Locate(external.Port)
	if !ok {
		return nil, pool, ReasonNoMapping
	}
	owner := p.owner(p.place(position, p.selection.class(remote)), block)
	if owner < 0 {
		return nil, pool, ReasonNoMapping
	}
	return c.lock(c.e.shards[owner]), pool, ReasonNone
}

// inbound translates the destination of a packet that arrives, or that
// hairpins: its source is an external endpoint by then.
func (c *call) inbound(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if p.Direction == Inbound {
		if _, _, own := c.e.external.find(h.Src); own {
			return Drop, ReasonSpoofed
		}
	}
	space := spaceOf(h)
	external := mapping.Endpoint{Addr: h.Dst, Port: h.DstPort}
	remote := remoteOf(space, h.Src, h.SrcPort)
	s, pool, why := c.holder(external, remote)
	if why != ReasonNone {
		return Drop, why
	}
	seg := segmentOf(h)
	internal, realm, known := s.table.Inbound(space, external, remote, &seg, s.tick)
	if !known {
		if internal, realm, why = c.admit(s, pool, h, space, external, remote, seg); why != ReasonNone {
			return Drop, why
		}
	}
	p.Realm = Realm(realm)
	h.SetDestination(p.Bytes, internal.Addr, internal.Port)
	return Forward, ReasonNone
}

// admit makes the session of a packet from a remote endpoint that the mapping
// has not been used with, if the filtering lets it in (RFC 4787 section 5). The caller has locked the shard.
func (c *call) admit(s *shard, pool int, h *rewrite.Packet4, space portblock.Space, external, remote mapping.Endpoint, seg mapping.Segment) (mapping.Endpoint, uint16, Reason) {
	e := c.e
	m, ok := s.table.Holder(space, external, e.pools[pool].selection.class(remote))
	if !ok {
		return mapping.Endpoint{}, 0, ReasonNoMapping
	}
	switch e.pools[pool].cfg.Filtering {
	case AddressDependent:
		if !s.table.Permitted(space, external, remote.Addr) {
			return mapping.Endpoint{}, 0, ReasonFiltered
		}
	case AddressAndPortDependent:
		return mapping.Endpoint{}, 0, ReasonFiltered
	}
	if h.Kind == rewrite.KindQueryReply {
		return mapping.Endpoint{}, 0, ReasonNoSession
	}
	if h.Kind == rewrite.KindTCP && !initial(h) {
		return mapping.Endpoint{}, 0, ReasonNoSession
	}
	o := opening{
		key:   subscriberKey{m.Internal.Addr, m.Realm, uint16(pool), m.Class},
		space: space, internal: m.Internal, remote: remote, scope: m.Scope, seg: seg,
	}
	if why := e.begin(s, &o, external, true); why != ReasonNone {
		return mapping.Endpoint{}, 0, why
	}
	return m.Internal, m.Realm, ReasonNone
}
