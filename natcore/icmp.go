package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// quoted parses the packet that an ICMP error quotes and applies RFC 5508
// REQ-3: an error whose checksum is wrong, or that quotes a broken IP header, is dropped. So is one that
// reports an MTU below the least that is believed.
func quoted(b []byte, h, q *rewrite.Packet4, leastMTU int) Reason {
	switch h.ICMPType {
	case 3, 11, 12: // destination unreachable, time exceeded, parameter problem
	default:
		return ReasonICMPType // source quench is obsolete (RFC 5508 REQ-10 C), a redirect concerns the sender's link alone
	}
	if h.CheckTransport(b) == rewrite.CheckWrong {
		return ReasonICMPChecksum
	}
	switch rewrite.ParseQuoted4(b, h, q) {
	case rewrite.FaultNone:
	case rewrite.FaultTruncated, rewrite.FaultShort:
		return ReasonTruncated
	default:
		return ReasonMalformed
	}
	if q.CheckHeader(b) == rewrite.CheckWrong {
		return ReasonICMPChecksum
	}
	if h.ICMPType == 3 && h.ICMPCode == 4 && !plausibleMTU(rewrite.ICMPHeader(b[h.Transport:]).RestOfHeader(), leastMTU) {
		return ReasonICMPQuote
	}
	switch q.Kind {
	case rewrite.KindTCP, rewrite.KindUDP, rewrite.KindUDPLite, rewrite.KindQueryRequest, rewrite.KindQueryReply:
		return ReasonNone
	}
	return ReasonICMPNoMatch
}

// plausibleMTU judges what "fragmentation needed" reports in its second word (RFC 5927 section 7.2). Routers that are older
// than RFC 1191 report 0, which is believed from outside alone, where the least is the smallest that a link may have.
func plausibleMTU(word uint32, least int) bool {
	mtu := int(word & 0xffff)
	return mtu >= least || mtu == 0 && least == smallestMTU
}

// errorIn translates an ICMP error that arrives: it quotes a packet that left, so the
// quoted source is an external endpoint (RFC 5508 REQ-4). The error changes no
// mapping and no session, whatever its type (RFC 4787 REQ-12), and its own source may be any
// router (REQ-12a).
func (c *call) errorIn(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	var q rewrite.Packet4
	if p.Direction == Inbound {
		if c.own(h.Src) {
			return Drop, ReasonSpoofed
		}
		if !c.own(h.Dst) {
			return c.exempted(p, h)
		}
	}
	why := quoted(p.Bytes, h, &q, c.leastMTU(smallestMTU))
	if c.static != nil {
		if verdict, why, done := c.errorArrives(p, h, &q, why); done {
			return verdict, why
		}
	}
	if why != ReasonNone {
		return Drop, why
	}
	if h.Dst != q.Src {
		return Drop, ReasonICMPNoMatch // the error goes to another address than the packet came from
	}
	space := spaceOf(&q)
	external := mapping.Endpoint{Addr: q.Src, Port: q.SrcPort}
	remote := remoteOf(space, q.Dst, q.DstPort)
	s, class, _, why := c.holder(external, remote)
	if why != ReasonNone {
		return Drop, ReasonICMPNoMatch
	}
	internal, realm, ok := c.mappedTo(s, class, space, external, remote)
	if !ok {
		return Drop, ReasonICMPNoMatch
	}
	if !c.generated && q.Kind == rewrite.KindTCP && !s.table.UnderWay(realm, internal, remote, false, q.Seq, c.e.outbox.cfg.QuotedWindow) {
		return Drop, ReasonICMPQuote
	}
	h.SetQuotedSource(p.Bytes, &q, internal.Addr, internal.Port)
	h.SetDestination(p.Bytes, internal.Addr, 0)
	p.Realm = Realm(realm)
	return Forward, ReasonNone
}

// leastMTU returns the least MTU that an error may report: anything where the engine built the error for its caller.
func (c *call) leastMTU(least int) int {
	if c.generated {
		return 0
	}
	return least
}

// mappedTo returns the internal endpoint of a session or, for packets that made none, of a mapping.
func (c *call) mappedTo(s *shard, class uint16, space portblock.Space, external, remote mapping.Endpoint) (mapping.Endpoint, uint16, bool) {
	if session, ok := s.table.Peek(space, external, class, remote); ok {
		return session.Internal, session.Realm, true
	}
	pool, _, _ := c.e.external.find(external.Addr)
	p := c.e.pools[pool]
	if !p.admits(s.table, space, external, remote, class) {
		return mapping.Endpoint{}, 0, false
	}
	return c.e.holderOf(s, p, class, space, external, remote)
}

// errorOut translates an ICMP error that leaves: it quotes a packet that
// arrived, so the quoted destination is an internal endpoint (RFC 5508 REQ-5).
// Its source becomes the address of the mapping, whichever internal host or router sent it.
// An error about a hairpinned packet goes on to the other internal host (REQ-7).
func (c *call) errorOut(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	var q rewrite.Packet4
	why := quoted(p.Bytes, h, &q, c.leastMTU(c.e.outbox.cfg.LeastMTU))
	if c.static != nil {
		if verdict, why, done := c.errorLeaves(p, h, &q, why); done {
			return verdict, why
		}
	}
	if why != ReasonNone {
		return c.untranslated(p, h, why)
	}
	space := spaceOf(&q)
	internal := mapping.Endpoint{Addr: q.Dst, Port: q.DstPort}
	s := c.lock(c.e.shardOf(uint16(p.Realm), q.Dst))
	remote := remoteOf(space, q.Src, q.SrcPort)
	external, ok := c.mappedFrom(s, p.Realm, space, internal, remote)
	if !ok {
		return c.untranslated(p, h, ReasonICMPNoMatch)
	}
	if !c.generated {
		if q.Kind == rewrite.KindTCP && !s.table.UnderWay(uint16(p.Realm), internal, remote, true, q.Seq, c.e.outbox.cfg.QuotedWindow) {
			return Drop, ReasonICMPQuote
		}
		if h.ICMPType == 3 && h.ICMPCode == 4 && !c.e.outbox.mayReport(p.Realm, internal.Addr, c.now) {
			return Drop, ReasonICMPRate
		}
	}
	var saved headers
	saved.save(p.Bytes)
	h.SetQuotedDestination(p.Bytes, &q, external.Addr, external.Port)
	h.SetSource(p.Bytes, external.Addr, 0)
	if !c.own(h.Dst) {
		return Forward, ReasonNone
	}
	verdict, why := c.errorIn(p, h)
	if verdict != Forward {
		saved.restore(p.Bytes)
		return verdict, why
	}
	return Hairpin, ReasonNone
}

// mappedFrom returns the external endpoint of a session or, for packets that made none, of the mapping that
// let them in.
func (c *call) mappedFrom(s *shard, realm Realm, space portblock.Space, internal, remote mapping.Endpoint) (mapping.Endpoint, bool) {
	if external, ok := s.table.PeekOutbound(uint16(realm), space, internal, remote); ok {
		return external, true
	}
	about := rewrite.Packet4{Src: internal.Addr, Dst: remote.Addr, Proto: protocols[space]}
	r := c.e.match(realm, about.Src, about.Dst, about.Proto)
	if r == nil || r.action != Translate {
		return mapping.Endpoint{}, false
	}
	p := c.e.pools[r.pool]
	scope, class := p.scope(remote)
	external, ok := s.table.Mapped(uint16(realm), space, internal, scope)
	return external, ok && p.admits(s.table, space, external, remote, class)
}
