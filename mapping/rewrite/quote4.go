package rewrite

import "encoding/binary"

// ParseQuoted4 fills inner from the packet that the ICMP error outer quotes. b
// are the bytes that outer was parsed from; inner's offsets count from b's start
// too. The quote may be cut to its IP header and 8 bytes, may have IP options,
// and ends before RFC 4884 extensions where the message's length attribute says
// so. A quoted fragment is reported by inner's flags, and a non-first one has no
// ports. The lengths that the quoted headers state are not held against the
// bytes, nor is the quoted transport checksum (RFC 5508 REQ-3c). A quote that ends
// in the middle of the TCP checksum keeps the byte of it that is there.
//
// inner's setters work on the quoted packet alone and would leave the outer ICMP
// checksum wrong: use outer.SetQuotedSource and outer.SetQuotedDestination.
func ParseQuoted4(b []byte, outer, inner *Packet4) Fault {
	if outer.Kind != KindICMPError {
		return FaultNotError
	}
	start, end := quoteBounds4(b, outer)
	return inner.parseEmbedded(b[:end:end], start)
}

// ParseEmbedded4 is ParseQuoted4 for a quote that stands alone: quote begins at
// the embedded IP header.
func ParseEmbedded4(quote []byte, p *Packet4) Fault { return p.parseEmbedded(quote, 0) }

// quoteBounds4 returns where the quoted packet begins and where it must end.
func quoteBounds4(b []byte, outer *Packet4) (start, end int) {
	start, end = int(outer.Transport)+8, int(outer.end)
	switch outer.ICMPType {
	case 3, 11, 12:
		// RFC 4884 section 4: the sixth octet counts the quote's 32-bit words.
		if n := int(b[outer.Transport+5]) * 4; n != 0 && start+n < end {
			end = start + n
		}
	}
	return start, end
}

func (p *Packet4) parseEmbedded(b []byte, off int) Fault {
	if len(b) < off+ipv4Min {
		return FaultTruncated
	}
	f := p.parse(b, off, Quoted)
	if f == FaultNone && p.Kind == KindICMPError {
		return FaultNestedError
	}
	return f
}

// SetQuotedSource writes the source endpoint of the packet that p quotes: address,
// port or identifier, the embedded header checksum, the embedded transport
// checksum where it was quoted, and p's ICMP checksum. q is from ParseQuoted4.
func (p *Packet4) SetQuotedSource(b []byte, q *Packet4, addr uint32, port uint16) {
	before := q.mutableSum(b)
	q.SetSource(b, addr, port)
	p.patchICMP(b, before, q.mutableSum(b))
}

// SetQuotedDestination is SetQuotedSource for the quoted destination endpoint.
func (p *Packet4) SetQuotedDestination(b []byte, q *Packet4, addr uint32, port uint16) {
	before := q.mutableSum(b)
	q.SetDestination(b, addr, port)
	p.patchICMP(b, before, q.mutableSum(b))
}

// mutableSum adds up all words of the packet that the setters may change. Every
// one of them lies at an even offset of the ICMP message that quotes it.
func (p *Packet4) mutableSum(b []byte) uint16 {
	h := (*[ipv4Min]byte)(b[p.Offset:])
	s := uint64(binary.BigEndian.Uint16(h[10:])) +
		uint64(binary.BigEndian.Uint32(h[12:])) + uint64(binary.BigEndian.Uint32(h[16:]))
	switch p.Kind {
	case KindTCP, KindUDP, KindUDPLite:
		s += uint64(binary.BigEndian.Uint32(b[p.Transport:]))
	case KindQueryRequest, KindQueryReply:
		s += uint64(binary.BigEndian.Uint16(b[p.Transport+4:]))
	}
	if p.checksum != 0 {
		s += uint64(binary.BigEndian.Uint16(b[p.checksum:]))
	}
	return Fold(s)
}

// patchICMP updates the ICMP checksum of p by the change of a part's sum. A
// partial checksum holds nothing of the message, so it stays.
func (p *Packet4) patchICMP(b []byte, before, after uint16) {
	if p.Flags&PartialChecksum != 0 {
		return
	}
	f := b[p.Transport+2:]
	binary.BigEndian.PutUint16(f, Delta(0).Word16(before, after).Update(binary.BigEndian.Uint16(f)))
}
