package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// quoted parses the packet that an ICMP error quotes and applies RFC 5508
// REQ-3: an error whose checksum is wrong, or that quotes a broken IP header, is dropped.
func quoted(b []byte, h, q *rewrite.Packet4) Reason {
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
	if !q.Kind.HasPorts() {
		return ReasonICMPNoMatch
	}
	return ReasonNone
}

// errorIn translates an ICMP error that arrives: it quotes a packet that left, so the
// quoted source is an external endpoint (RFC 5508 REQ-4). The error changes no
// mapping and no session, whatever its type (RFC 4787 REQ-12), and its own source may be any
// router (REQ-12a).
func (c *call) errorIn(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	var q rewrite.Packet4
	if why := quoted(p.Bytes, h, &q); why != ReasonNone {
		return Drop, why
	}
	space := spaceOf(&q)
	external := mapping.Endpoint{Addr: q.Src, Port: q.SrcPort}
	remote := remoteOf(space, q.Dst, q.DstPort)
	s, _, why := c.holder(external, remote)
	if why != ReasonNone {
		return Drop, ReasonICMPNoMatch
	}
	session, ok := s.table.Peek(space, external, remote)
	if !ok {
		return Drop, ReasonICMPNoMatch
	}
	h.SetQuotedSource(p.Bytes, &q, session.Internal.Addr, session.Internal.Port)
	h.SetDestination(p.Bytes, session.Internal.Addr, 0)
	p.Realm = Realm(session.Realm)
	return Forward, ReasonNone
}

// errorOut translates an ICMP error that leaves: it quotes a packet that
// arrived, so the quoted destination is an internal endpoint (RFC 5508 REQ-5).
// Its source becomes the address of the mapping, whichever internal host or router sent it.
// An error about a hairpinned packet goes on to the other internal host (REQ-7).
func (c *call) errorOut(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	var q rewrite.Packet4
	if why := quoted(p.Bytes, h, &q); why != ReasonNone {
		return c.untranslated(p, h, why)
	}
	space := spaceOf(&q)
	internal := mapping.Endpoint{Addr: q.Dst, Port: q.DstPort}
	s := c.lock(c.e.shardOf(uint16(p.Realm), q.Dst))
	external, ok := s.table.PeekOutbound(uint16(p.Realm), space, internal, remoteOf(space, q.Src, q.SrcPort))
	if !ok {
		return c.untranslated(p, h, ReasonICMPNoMatch)
	}
	src := h.Src
	h.SetQuotedDestination(p.Bytes, &q, external.Addr, external.Port)
	h.SetSource(p.Bytes, external.Addr, 0)
	if _, _, hairpin := c.e.external.find(h.Dst); !hairpin {
		return Forward, ReasonNone
	}
	verdict, why := c.errorIn(p, h)
	if verdict == Drop {
		h.SetQuotedDestination(p.Bytes, &q, internal.Addr, internal.Port)
		h.SetSource(p.Bytes, src, 0)
		return Drop, why
	}
	return Hairpin, ReasonNone
}
