package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// headerOf returns what static translation looks at of a packet.
func headerOf(h *rewrite.Packet4, at mapping.Header) mapping.Header {
	at.Src, at.Dst, at.Proto = h.Src, h.Dst, h.Proto
	switch h.Kind {
	case rewrite.KindTCP, rewrite.KindUDP, rewrite.KindUDPLite:
		at.SrcPort, at.DstPort = h.SrcPort, h.DstPort
	case rewrite.KindQueryRequest:
		at.SrcPort = h.SrcPort
	case rewrite.KindQueryReply:
		at.DstPort = h.DstPort
	}
	return at
}

// listOf returns the port list that a protocol is in, and which number of it stands for the given port or identifier.
func listOf(proto uint8, port uint16) (int, uint16) {
	switch proto {
	case rewrite.ProtoTCP:
		return int(portblock.TCP), port
	case rewrite.ProtoUDP:
		return int(portblock.UDP), port
	case rewrite.ProtoICMP:
		return int(portblock.ICMP), port
	case rewrite.ProtoUDPLite:
		return int(mapping.UDPLite), port
	case 33, 51:
		return otherProtocols, 0xffff // DCCP and AH: their checksums cover the addresses
	}
	return otherProtocols, uint16(proto)
}

// ported reports whether a packet has ports or an identifier.
func ported(h *rewrite.Packet4) bool { return h.Kind.HasPorts() }

// write gives a packet the addresses and ports of a header.
func write(b []byte, h *rewrite.Packet4, out *mapping.Header) {
	src, dst := out.SrcPort, out.DstPort
	switch h.Kind {
	case rewrite.KindQueryRequest:
		dst = src
	case rewrite.KindQueryReply:
		src = dst
	}
	if out.Src != h.Src || src != h.SrcPort {
		h.SetSource(b, out.Src, src)
	}
	if out.Dst != h.Dst || dst != h.DstPort {
		h.SetDestination(b, out.Dst, dst)
	}
}

// leave translates a packet that comes from an internal realm, if something static is concerned: a session of
// a static mapping or a peering, or one that begins. done is false for all other packets.
func (c *call) leave(p *Packet, h *rewrite.Packet4) (verdict Verdict, why Reason, done bool) {
	x, realm := c.static, uint16(p.Realm)
	from := placeOf(realm, h.Src)
	others := !ported(h)
	peers := x.peerings[realm]
	if !others && len(peers) == 0 && x.receivers[realm/64]>>(realm%64)&1 == 0 && !within(x.hosts, from) && !x.owns(h.Dst) {
		return 0, 0, false
	}
	in := headerOf(h, mapping.Header{Realm: realm})
	seg := segmentOf(h)
	st := &c.e.statics
	if out, ok := st.pass(in, &seg, c.now); ok {
		return c.send(p, h, in, out, false)
	}
	if within(x.guests[realm], uint64(h.Dst)) {
		return Drop, ReasonNoSession, true // it stands for somebody whose session is over
	}
	r := c.e.match(p.Realm, h.Src, h.Dst, h.Proto)
	if r != nil && r.action != Translate && r.remoteMask != 0 {
		return 0, 0, false // a rule about certain remotes goes first
	}
	for _, pe := range peers {
		if pe.covers(&in) {
			return c.beginPeering(p, h, pe, in, &seg)
		}
	}
	list, port := listOf(h.Proto, h.SrcPort)
	if s, _ := findStatic(x.internal, from, list, port); s != nil {
		return c.beginOutbound(p, h, s, in, &seg)
	}
	if r == nil || r.action == Exempt {
		list, port := listOf(h.Proto, h.DstPort)
		if s, _ := findStatic(x.external, uint64(h.Dst), list, port); s != nil {
			if c.own(h.Src) {
				return Drop, ReasonSpoofed, true
			}
			return c.beginInbound(p, h, s, in, &seg)
		}
	}
	return 0, 0, false
}

// arrive translates a packet that comes from the external realm or hairpins, if its destination is static.
func (c *call) arrive(p *Packet, h *rewrite.Packet4) (verdict Verdict, why Reason, done bool) {
	x := c.static
	list, port := listOf(h.Proto, h.DstPort)
	s, known := findStatic(x.external, uint64(h.Dst), list, port)
	others := !ported(h)
	source := within(x.sources, uint64(h.Dst))
	if !known && !source && !others {
		return 0, 0, false
	}
	in := headerOf(h, mapping.Header{External: true})
	seg := segmentOf(h)
	if out, ok := c.e.statics.pass(in, &seg, c.now); ok {
		return c.send(p, h, in, out, false)
	}
	if s != nil {
		return c.beginInbound(p, h, s, in, &seg)
	}
	_, _, pooled := c.e.external.find(h.Dst)
	switch {
	case others && !known && !source && !pooled:
		return 0, 0, false
	case others && x.chosen(h.Proto) || source:
		return Drop, ReasonNoSession, true
	case others:
		return Drop, ReasonProtocol, true
	case pooled:
		return 0, 0, false
	}
	return Drop, ReasonNoMapping, true
}

// send gives a packet the header with which it leaves. What goes to an external address of this NAT goes on to its receiver; where that
// one does not take it, its bytes are put back, and so is the session that was opened for it.
func (c *call) send(p *Packet, h *rewrite.Packet4, in, out mapping.Header, opened bool) (Verdict, Reason, bool) {
	if !out.External {
		write(p.Bytes, h, &out)
		p.Realm = Realm(out.Realm)
		if in.External {
			return Forward, ReasonNone, true
		}
		return Hairpin, ReasonNone, true
	}
	if !c.own(out.Dst) {
		write(p.Bytes, h, &out)
		return Forward, ReasonNone, true
	}
	var saved headers
	saved.save(p.Bytes)
	write(p.Bytes, h, &out)
	verdict, why := c.received(p, h)
	if verdict == Forward {
		return Hairpin, ReasonNone, true
	}
	saved.restore(p.Bytes)
	if opened {
		c.e.statics.take(in, c.now)
	}
	return verdict, why, true
}

// received takes a hairpinned packet in.
func (c *call) received(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if h.Kind.HasPorts() {
		return c.inbound(p, h)
	}
	if verdict, why, done := c.arrive(p, h); done {
		return verdict, why
	}
	return Drop, ReasonProtocol
}

// opens reports why a packet cannot begin a session, or ReasonNone.
func (c *call) opens(h *rewrite.Packet4) Reason {
	if h.Kind == rewrite.KindQueryReply || h.Kind == rewrite.KindTCP && !c.e.begins(h) {
		return ReasonNoSession
	}
	return ReasonNone
}

// beginOutbound begins a session of an internal endpoint that has a static mapping.
func (c *call) beginOutbound(p *Packet, h *rewrite.Packet4, s *static, in mapping.Header, seg *mapping.Segment) (Verdict, Reason, bool) {
	if s.identity {
		if !c.own(h.Dst) {
			return Bypass, ReasonNone, true
		}
		return c.send(p, h, in, in.Outside(), false)
	}
	if why := c.opens(h); why != ReasonNone {
		return Drop, why, true
	}
	out := s.outward(in)
	w := mapping.Flow{In: in, Out: out, Owner: s.id}
	policy := mapping.FlowPolicy(0)
	if c.e.cfg.RefreshInbound {
		policy = mapping.RefreshByAnswers
	}
	if why := c.beginStatic(&w, s, nil, policy, seg); why != ReasonNone {
		return Drop, why, true
	}
	return c.send(p, h, in, out, true)
}

// outward returns the header with which a packet of an internal endpoint of the mapping leaves.
func (s *static) outward(in mapping.Header) mapping.Header {
	out := in
	out.Realm, out.External = 0, true
	out.Src = in.Src - s.internal + s.external
	if hasPorts(in.Proto) {
		out.SrcPort = in.SrcPort - s.firstInside + s.first
	}
	return out
}

// inward returns the header with which a packet to an external endpoint of the mapping leaves, but for its source: to is the server, where there are some. An
// ICMP query has its identifier in the place of the port of the end that asks.
func (s *static) inward(in mapping.Header, to mapping.Endpoint) mapping.Header {
	out := in
	out.Realm, out.External = uint16(s.cfg.Realm), false
	first := s.firstInside
	if len(s.servers) > 0 {
		out.Dst, first = to.Addr, to.Port
	} else {
		out.Dst = in.Dst - s.external + s.internal
	}
	switch {
	case in.Proto == rewrite.ProtoICMP:
		out.SrcPort = in.SrcPort - s.first + first
	case hasPorts(in.Proto):
		out.DstPort = in.DstPort - s.first + first
	}
	return out
}

// sourcesFor returns the source addresses that a session from outside takes one of, or nil.
func (s *static) sourcesFor(in, out *mapping.Header) *sourceOwner {
	if s.cfg.Twice == TwiceSelf && (in.External || in.Realm != out.Realm || in.Src != out.Dst) {
		return nil
	}
	return s.sources
}

// beginInbound begins a session with an internal host behind a static mapping: of a remote end, or of an internal host whose source
// nothing translates.
func (c *call) beginInbound(p *Packet, h *rewrite.Packet4, s *static, in mapping.Header, seg *mapping.Segment) (Verdict, Reason, bool) {
	if !s.serves(in.Src) {
		return Drop, ReasonFiltered, true
	}
	if s.identity {
		p.Realm = s.cfg.Realm
		if p.Direction == Outbound {
			return Forward, ReasonNone, true
		}
		return Bypass, ReasonNone, true
	}
	if s.cfg.Filtering != EndpointIndependent && !c.e.statics.permitted(s, &in) {
		return Drop, ReasonFiltered, true
	}
	if why := c.opens(h); why != ReasonNone {
		return Drop, why, true
	}
	var to mapping.Endpoint
	if len(s.servers) > 0 {
		to = c.e.statics.choose(s, &in, c.now)
	}
	out := s.inward(in, to)
	own := s.sourcesFor(&in, &out)
	if own == nil && ported(h) && c.answers(&out) {
		return Drop, ReasonConflict, true
	}
	policy := mapping.RefreshByAnswers
	if in.External {
		policy |= mapping.Unsolicited
	}
	w := mapping.Flow{In: in, Out: out, Owner: s.id, Note: noteRemote}
	if why := c.beginStatic(&w, s, own, policy, seg); why != ReasonNone {
		return Drop, why, true
	}
	return c.send(p, h, in, w.Out, true)
}

// answers reports whether answers to a packet would leave by a dynamic session of the internal host with the same
// remote endpoint, and so with another source.
func (c *call) answers(out *mapping.Header) bool {
	internal, remote := mapping.Endpoint{Addr: out.Dst, Port: out.DstPort}, mapping.Endpoint{Addr: out.Src, Port: out.SrcPort}
	space := portblock.TCP
	switch out.Proto {
	case rewrite.ProtoUDP:
		space = portblock.UDP
	case rewrite.ProtoICMP:
		space, internal.Port, remote.Port = portblock.ICMP, out.SrcPort, 0
	case rewrite.ProtoUDPLite:
		space = mapping.UDPLite
	}
	s := c.lock(c.e.shardOf(out.Realm, out.Dst))
	_, taken := s.table.PeekOutbound(out.Realm, space, internal, remote)
	return taken
}

// beginPeering begins a session from one realm to another.
func (c *call) beginPeering(p *Packet, h *rewrite.Packet4, pe *peering, in mapping.Header, seg *mapping.Segment) (Verdict, Reason, bool) {
	if why := c.opens(h); why != ReasonNone {
		return Drop, why, true
	}
	if list, _ := listOf(h.Proto, 0); list == otherProtocols && (h.Proto == 33 || h.Proto == 51) {
		return Drop, ReasonProtocol, true
	}
	w := mapping.Flow{In: in, Out: pe.translate(in), Owner: pe.id, Note: noteRemote}
	if why := c.beginStatic(&w, nil, pe.sources, mapping.RefreshByAnswers, seg); why != ReasonNone {
		return Drop, why, true
	}
	return c.send(p, h, in, w.Out, true)
}

// serves reports whether a remote address may begin a session.
func (s *static) serves(addr uint32) bool {
	for _, r := range s.remotes {
		if addr&r[1] == r[0] {
			return true
		}
	}
	return len(s.remotes) == 0
}

// chosen reports whether a protocol without ports is translated for all subscribers.
func (x *staticIndex) chosen(proto uint8) bool { return x.protocols[proto/64]>>(proto%64)&1 != 0 }

// staticRefuses looks ahead at a static endpoint that an internal host's new session would hairpin to, as refusedThere does; done is false
// where the destination has nothing static.
func (c *call) staticRefuses(h *rewrite.Packet4) (why Reason, done bool) {
	list, port := listOf(h.Proto, h.DstPort)
	s, known := findStatic(c.static.external, uint64(h.Dst), list, port)
	if h.Proto == rewrite.ProtoICMP && known {
		return ReasonNone, true // the sender's external identifier says whose it is
	}
	if s != nil {
		return ReasonNone, true
	}
	if _, _, pooled := c.e.external.find(h.Dst); pooled || !c.static.owns(h.Dst) {
		return ReasonNone, false
	}
	return ReasonNoMapping, true
}
