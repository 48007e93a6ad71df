package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// holder returns the shard that holds an external endpoint, locked.
func (c *call) holder(addr uint32, port uint16) (s *shard, pool int, why Reason) {
	pool, position, ok := c.e.external.find(addr)
	if !ok {
		return nil, 0, ReasonNotExternal
	}
	if len(c.e.shards) == 1 {
		return c.lock(c.e.shards[0]), pool, ReasonNone
	}
	p := c.e.pools[pool]
	block, ok := p.layout.Locate(port)
	if !ok {
		return nil, pool, ReasonNoMapping
	}
	owner := p.owner(position, block)
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
	s, pool, why := c.holder(h.Dst, h.DstPort)
	if why != ReasonNone {
		return Drop, why
	}
	external := mapping.Endpoint{Addr: h.Dst, Port: h.DstPort}
	remote := remoteOf(space, h.Src, h.SrcPort)
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
	m, ok := s.table.Holder(space, external)
	if !ok {
		return mapping.Endpoint{}, 0, ReasonNoMapping
	}
	e := c.e
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
	if h.Kind == rewrite.KindTCP && h.TCPFlags&(rewrite.TCPSyn|rewrite.TCPAck|rewrite.TCPRst) != rewrite.TCPSyn {
		return mapping.Endpoint{}, 0, ReasonNoSession
	}
	o := opening{
		key:   subscriberKey{m.Internal.Addr, m.Realm, uint16(pool)},
		space: space, internal: m.Internal, remote: remote, seg: seg,
	}
	if why := e.begin(s, &o, external, m.Scope, true); why != ReasonNone {
		return mapping.Endpoint{}, 0, why
	}
	return m.Internal, m.Realm, ReasonNone
}
