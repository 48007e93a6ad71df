package rewrite

import "encoding/binary"

// ParseQuoted6 fills inner from the packet that the ICMPv6 error outer quotes;
// see ParseQuoted4. The quote's extension headers are walked, and it must hold 8
// bytes of the transport header.
func ParseQuoted6(b []byte, outer, inner *Packet6) Fault {
	if outer.Kind != KindICMPError {
		return FaultNotError
	}
	start, end := int(outer.Transport)+8, int(outer.end)
	if outer.ICMPType == 1 || outer.ICMPType == 3 {
		// RFC 4884 section 4: the fifth octet counts the quote's 64-bit words.
		if n := int(b[outer.Transport+4]) * 8; n != 0 && start+n < end {
			end = start + n
		}
	}
	return inner.parseEmbedded(b[:end:end], start)
}

// ParseEmbedded6 is ParseQuoted6 for a quote that stands alone: quote begins at
// the embedded IP header.
func ParseEmbedded6(quote []byte, p *Packet6) Fault { return p.parseEmbedded(quote, 0) }

func (p *Packet6) parseEmbedded(b []byte, off int) Fault {
	if len(b) < off+ipv6Min {
		return FaultTruncated
	}
	f := p.fill(b, off, Quoted)
	if f == FaultNone && p.Kind == KindICMPError {
		return FaultNestedError
	}
	return f
}

// SetQuotedSource writes the source endpoint of the packet that p quotes: address,
// port or identifier, the embedded transport checksum where it was quoted, and
// p's ICMPv6 checksum. q is from ParseQuoted6.
func (p *Packet6) SetQuotedSource(b []byte, q *Packet6, addr [16]byte, port uint16) {
	before := q.mutableSum(b)
	q.SetSource(b, addr, port)
	p.patchICMP(b, before, q.mutableSum(b))
}

// SetQuotedDestination is SetQuotedSource for the quoted destination endpoint.
func (p *Packet6) SetQuotedDestination(b []byte, q *Packet6, addr [16]byte, port uint16) {
	before := q.mutableSum(b)
	q.SetDestination(b, addr, port)
	p.patchICMP(b, before, q.mutableSum(b))
}

// mutableSum adds up all words of the packet that the setters may change. Every
// one of them lies at an even offset of the ICMPv6 message that quotes it.
func (p *Packet6) mutableSum(b []byte) uint16 {
	s := uint64(Fold(Sum(b[p.Offset+8:p.Offset+40], 0)))
	switch p.Kind {
	case KindTCP, KindUDP, KindUDPLite:
		s += uint64(binary.BigEndian.Uint32(b[p.Transport:]))
	case KindQueryRequest, KindQueryReply:
		s += uint64(binary.BigEndian.Uint16(b[p.Transport+4:]))
	}
	if p.checksum != 0 {
		s += uint64(binary.BigEndian.Uint16(b[p.Transport+uint32(p.checksum):]))
	}
	return Fold(s)
}

// patchICMP updates the ICMPv6 checksum of p by the change of a part's sum. A
// partial checksum holds nothing of the message, so it stays.
func (p *Packet6) patchICMP(b []byte, before, after uint16) {
	if p.Flags&PartialChecksum != 0 {
		return
	}
	f := b[p.Transport+2:]
	binary.BigEndian.PutUint16(f, Delta(0).Word16(before, after).Update(binary.BigEndian.Uint16(f)))
}
