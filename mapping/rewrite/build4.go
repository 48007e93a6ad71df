package rewrite

import (
	"encoding/binary"
	"slices"
)

// ICMPError is what an ICMP error says, without the packet that it quotes: type,
// code and, for "fragmentation needed", the MTU of the next hop in bytes.
type ICMPError struct {
	Type, Code uint8
	MTU        uint16
}

// Unreachable is "destination unreachable" with a code: 1 host, 3 port,
// 13 communication administratively prohibited (RFC 792, RFC 1812 section 5.2.7.1).
func Unreachable(code uint8) ICMPError { return ICMPError{Type: 3, Code: code} }

// FragmentationNeeded is the answer to a packet that is longer than the next hop's
// MTU and may not be cut (RFC 1191 section 4). An MTU beyond 16 bits counts as the highest.
func FragmentationNeeded(mtu int) ICMPError {
	return ICMPError{Type: 3, Code: 4, MTU: uint16(min(max(mtu, 0), 0xffff))}
}

// TimeExceeded is the answer to a packet whose time to live is over (RFC 1812 section 5.3.1).
func TimeExceeded() ICMPError { return ICMPError{Type: 11} }

const (
	// maxError4 is the length of an ICMP error at most: what every host takes (RFC 1812 section 4.3.2.3).
	maxError4 = 576
	// errorHeaders is the length of an ICMP error without its quote.
	errorHeaders = ipv4Min + 8
	// errorTTL is the time to live of a packet that starts here, IANA's default.
	errorTTL = 64
)

// AppendICMPError4 appends to dst the ICMP error that source sends to the sender
// of the packet p, which Parse4 read from b. It quotes the packet from its header
// on, with options, as far as 576 bytes in all go. The class of service is the
// packet's (RFC 5508 REQ-10 D) without its ECN bits; the error is an atomic
// datagram, so its identification of 0 means nothing (RFC 6864 section 4.1). A
// partial checksum is completed in the quote, where the packet is there in full:
// its sender meant it so.
//
// Whether the packet may be answered at all is Answerable's to say.
func AppendICMPError4(dst, b []byte, p *Packet4, source uint32, e ICMPError) []byte {
	quote := b[p.Offset:p.end]
	quote = quote[:min(len(quote), maxError4-errorHeaders)]
	start, length := len(dst), errorHeaders+len(quote)
	dst = append(slices.Grow(dst, length), make([]byte, errorHeaders)...)
	dst = append(dst, quote...)
	m := dst[start:]
	m[0], m[1] = 0x45, b[p.Offset+1]&0xfc
	binary.BigEndian.PutUint16(m[2:], uint16(length))
	m[6] = 0x40 // DF
	m[8], m[9] = errorTTL, ProtoICMP
	binary.BigEndian.PutUint32(m[12:], source)
	binary.BigEndian.PutUint32(m[16:], p.Src)
	binary.BigEndian.PutUint16(m[10:], Checksum(m[:ipv4Min]))
	m[20], m[21] = e.Type, e.Code
	binary.BigEndian.PutUint16(m[26:], e.MTU)
	p.completeQuote(b, m[errorHeaders:])
	binary.BigEndian.PutUint16(m[22:], Checksum(m[ipv4Min:]))
	return dst
}

// completeQuote completes a partial checksum in a quote of the packet.
func (p *Packet4) completeQuote(b, quote []byte) {
	at := int(p.checksum) - int(p.Offset)
	if p.Flags&PartialChecksum == 0 || p.Flags&Truncated != 0 || p.checksum == 0 || at+2 > len(quote) ||
		p.Kind != KindTCP && p.Kind != KindUDP {
		return
	}
	c := Checksum(b[p.Transport:p.end]) // the field holds the pseudo header's sum
	if c == 0 && p.Kind == KindUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(quote[at:], c)
}

// Answerable reports whether an ICMP error may be sent about the packet (RFC 1812
// section 4.3.2.7): not about an ICMP error, or a message that may be one, not
// about a later fragment, a header with a wrong checksum, a destination or a
// source that is no single host. What the caller alone knows, such as directed
// broadcasts of its links, is the caller's to check.
func (p *Packet4) Answerable(b []byte) bool {
	switch {
	case p.Kind == KindICMPError, p.Kind == KindICMPOther, p.Flags&(NonFirst|Quoted) != 0:
		return false
	}
	return host4(p.Src) && host4(p.Dst) && p.CheckHeader(b) == CheckRight
}

// host4 reports whether an address may be that of a single host that is not this one: neither of
// 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, nor of 240.0.0.0/4 with the broadcast address (RFC 1812 section 5.3.7).
func host4(a uint32) bool {
	net := a >> 24
	return net != 0 && net != 127 && net < 224
}
