package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// errorLeaves translates an ICMP error of an internal realm about a packet of a static session: the quoted packet becomes what its
// sender has sent, and the error goes to him (RFC 5508 REQ-4, REQ-5). It changes no session. why is what quoted has said about the
// quote; done is false when no static session is concerned.
func (c *call) errorLeaves(p *Packet, h, q *rewrite.Packet4, why Reason) (Verdict, Reason, bool) {
	if !quotesWhole(q, why) {
		return 0, 0, false
	}
	realm := uint16(p.Realm)
	about := headerOf(q, mapping.Header{Realm: realm}).Reverse()
	out, ok := c.e.statics.peek(about, c.now)
	if !ok {
		list, port := listOf(q.Proto, q.DstPort)
		if s, _ := findStatic(c.static.internal, placeOf(realm, q.Dst), list, port); s != nil && s.identity && !c.own(h.Dst) {
			return Bypass, ReasonNone, true
		}
		return 0, 0, false
	}
	if h.Dst != q.Src {
		return Drop, ReasonICMPNoMatch, true
	}
	var saved headers
	saved.save(p.Bytes)
	writeError(p.Bytes, h, q, &out, true)
	if !out.External {
		p.Realm = Realm(out.Realm)
		return Hairpin, ReasonNone, true
	}
	if !c.own(out.Dst) {
		return Forward, ReasonNone, true
	}
	verdict, why := c.errorIn(p, h)
	if verdict != Forward {
		saved.restore(p.Bytes)
		return verdict, why, true
	}
	return Hairpin, ReasonNone, true
}

// errorArrives is errorLeaves for an error from the external realm, or one that hairpins.
func (c *call) errorArrives(p *Packet, h, q *rewrite.Packet4, why Reason) (Verdict, Reason, bool) {
	if !quotesWhole(q, why) {
		return 0, 0, false
	}
	about := headerOf(q, mapping.Header{External: true}).Reverse()
	out, ok := c.e.statics.peek(about, c.now)
	if !ok {
		list, port := listOf(q.Proto, q.SrcPort)
		if s, _ := findStatic(c.static.external, uint64(q.Src), list, port); s != nil && s.identity && p.Direction == Inbound {
			p.Realm = s.cfg.Realm
			return Bypass, ReasonNone, true
		}
		return 0, 0, false
	}
	if h.Dst != q.Src {
		return Drop, ReasonICMPNoMatch, true
	}
	writeError(p.Bytes, h, q, &out, h.Src == q.Dst)
	p.Realm = Realm(out.Realm)
	return Forward, ReasonNone, true
}

// quotesWhole reports whether a quote tells whose packet it is.
func quotesWhole(q *rewrite.Packet4, why Reason) bool {
	switch q.Kind {
	case rewrite.KindTCP, rewrite.KindUDP, rewrite.KindUDPLite, rewrite.KindQueryRequest, rewrite.KindQueryReply:
		return why == ReasonNone || why == ReasonICMPNoMatch
	case rewrite.KindOther:
		return why == ReasonICMPNoMatch // what quoted says of such a packet
	}
	return false
}

// writeError turns the quoted packet of an ICMP error into what its sender has sent, and sends the error there. out is the header with which a
// packet of the receiver of the quoted one leaves. from says whether the error comes from that receiver's side of the
// translation, so that its source is not to be seen.
func writeError(b []byte, h, q *rewrite.Packet4, out *mapping.Header, from bool) {
	sent := out.Reverse()
	src, dst := sent.SrcPort, sent.DstPort
	switch q.Kind {
	case rewrite.KindQueryRequest:
		dst = src
	case rewrite.KindQueryReply:
		src = dst
	}
	h.SetQuotedSource(b, q, sent.Src, src)
	h.SetQuotedDestination(b, q, sent.Dst, dst)
	h.SetDestination(b, out.Dst, 0)
	if from {
		h.SetSource(b, out.Src, 0)
	}
}
