package layers

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// setQuery4 writes the identifier of an ICMP query: it belongs to the source of a
// request and to the destination of a reply.
func (p *packet) setQuery4(src, dst endpoint) rewrite.Delta {
	switch p.icmp4.TypeCode.Type() {
	case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeTimestampRequest,
		layers.ICMPv4TypeInfoRequest, layers.ICMPv4TypeAddressMaskRequest, 42:
		return setPort(src, &p.icmp4.Id)
	case layers.ICMPv4TypeEchoReply, layers.ICMPv4TypeTimestampReply,
		layers.ICMPv4TypeInfoReply, layers.ICMPv4TypeAddressMaskReply, 43:
		return setPort(dst, &p.icmp4.Id)
	}
	return 0
}

// setQuery6 is setQuery4 for ICMPv6, whose identifier is in a layer of its own
// and in the payload of the ICMPv6 layer.
func (p *packet) setQuery6(src, dst endpoint) rewrite.Delta {
	e := src
	switch p.icmp6.TypeCode.Type() {
	case layers.ICMPv6TypeEchoRequest, 160:
	case layers.ICMPv6TypeEchoReply, 161:
		e = dst
	default:
		return 0
	}
	if !e.set {
		return 0
	}
	var d rewrite.Delta
	if len(p.payload) >= 2 {
		d = d.Word16(binary.BigEndian.Uint16(p.payload), e.port)
		binary.BigEndian.PutUint16(p.payload, e.port)
	}
	if p.echo != nil {
		d = rewrite.Delta(0).Word16(p.echo.Identifier, e.port)
		p.echo.Identifier = e.port
	}
	return d
}

// quote is the packet that an ICMP error quotes: bytes, not layers, because
// gopacket does not decode it. The zero quote is none.
type quote struct {
	b  []byte
	p4 rewrite.Packet4
	p6 rewrite.Packet6
	v6 bool
}

// quoted finds the quoted packet and refuses a broken one.
func (p *packet) quoted() (q quote, err error) {
	var f rewrite.Fault
	switch {
	case p.later:
		return q, nil
	case p.icmp4 != nil:
		typ := p.icmp4.TypeCode.Type()
		switch typ {
		case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeTimeExceeded, layers.ICMPv4TypeParameterProblem:
			// RFC 4884 section 4: the sixth octet, in gopacket the low half of Id.
			q.b = bounded(p.payload, int(p.icmp4.Id&0xff)*4)
		case layers.ICMPv4TypeSourceQuench, layers.ICMPv4TypeRedirect:
			q.b = p.payload
		default:
			return q, nil
		}
		f = rewrite.ParseEmbedded4(q.b, &q.p4)
	case p.icmp6 != nil:
		typ := p.icmp6.TypeCode.Type()
		if typ < 1 || typ > 4 {
			return q, nil
		}
		// gopacket's ICMPv6 layer ends before the four bytes that precede the quote.
		if len(p.payload) < 4 {
			return q, rewrite.FaultTruncated
		}
		q.b, q.v6 = p.payload[4:], true
		if typ == layers.ICMPv6TypeDestinationUnreachable || typ == layers.ICMPv6TypeTimeExceeded {
			q.b = bounded(q.b, int(p.payload[0])*8)
		}
		f = rewrite.ParseEmbedded6(q.b, &q.p6)
	}
	return q, f.Err()
}

// bounded cuts b at an RFC 4884 length, where 0 means none.
func bounded(b []byte, n int) []byte {
	if n == 0 || n > len(b) {
		return b
	}
	return b[:n]
}

// set writes the quoted endpoints: the quoted packet went the other way, so its
// destination follows the translation's source and its source the destination.
// It returns the change of the message's sum.
func (q *quote) set(src, dst endpoint) rewrite.Delta {
	if q.b == nil {
		return 0
	}
	before := rewrite.Fold(rewrite.Sum(q.b, 0))
	if q.v6 {
		if src.set {
			q.p6.SetDestination(q.b, src.addr.As16(), own(q.p6.Kind, rewrite.KindQueryRequest, q.p6.DstPort, src.port))
		}
		if dst.set {
			q.p6.SetSource(q.b, dst.addr.As16(), own(q.p6.Kind, rewrite.KindQueryReply, q.p6.SrcPort, dst.port))
		}
	} else {
		if src.set {
			a := src.addr.As4()
			q.p4.SetDestination(q.b, binary.BigEndian.Uint32(a[:]), own(q.p4.Kind, rewrite.KindQueryRequest, q.p4.DstPort, src.port))
		}
		if dst.set {
			a := dst.addr.As4()
			q.p4.SetSource(q.b, binary.BigEndian.Uint32(a[:]), own(q.p4.Kind, rewrite.KindQueryReply, q.p4.SrcPort, dst.port))
		}
	}
	return rewrite.Delta(0).Word16(before, rewrite.Fold(rewrite.Sum(q.b, 0)))
}

// own returns the present port for the kind of query whose identifier belongs to
// the other endpoint.
func own(k, other rewrite.Kind, present, port uint16) uint16 {
	if k == other {
		return present
	}
	return port
}
