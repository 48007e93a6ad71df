package rewrite

import "encoding/binary"

// Packet6 is Packet4 for IPv6: a value without pointers that Parse6 fills and the
// setters keep up to date. Its transport checksum covers the addresses for ICMPv6
// too, and there is no header checksum.
//
// A Packet6 is not safe for concurrent use.
type Packet6 struct {
	// Src and Dst are the addresses in network order, as netip.AddrFrom16 takes them.
	Src, Dst [16]byte
	// SrcPort and DstPort are the ports of TCP, UDP and UDP-Lite. Of an ICMPv6 query
	// both are the identifier. Otherwise both are 0.
	SrcPort, DstPort uint16

	// Seq and Ack are the TCP sequence and acknowledgment numbers. In a quoted
	// packet Ack is 0 when it was not quoted.
	Seq, Ack uint32
	// PayloadLength is the number of TCP payload bytes by the IP length.
	PayloadLength uint16
	// FragmentOffset is the fragment offset in bytes.
	FragmentOffset uint16
	// ID is the fragment header's identification, 0 without one.
	ID uint32

	// Offset is where the IP header begins in the bytes: 0 but for quoted packets.
	Offset uint32
	// Transport is where the header after the last extension header begins in the
	// bytes.
	Transport uint32
	// end is where the packet ends in the bytes.
	end uint32
	// pseudoSrc and pseudoDst are where the addresses lie that the transport
	// checksum covers: in the IP header, or in an extension header. pseudoDst is
	// unknownAddress for routing headers of unknown type with segments left.
	pseudoSrc, pseudoDst uint32
	// checksum is where the transport checksum lies, from Transport on; 0 if there
	// is none.
	checksum uint8

	Kind  Kind
	Flags Flags
	// Proto is the protocol number after the last extension header. In a non-first
	// fragment it is what the fragment header says, which may be an extension header.
	Proto uint8
	// HopLimit is the hop limit.
	HopLimit uint8
	// ICMPType and ICMPCode are set for ICMPv6 packets that are no non-first fragment.
	ICMPType, ICMPCode uint8
	// TCPFlags are as in Packet4.
	TCPFlags uint8
}

const (
	ipv6Min        = 40
	unknownAddress = ^uint32(0)
)

// Fragment reports whether the packet is a fragment, first or not. An atomic
// fragment (RFC 6946) is not one.
func (p *Packet6) Fragment() bool { return p.Flags&(MoreFragments|NonFirst) != 0 }

// Parse6 fills p from the IPv6 packet that b begins with, like Parse4. Extension
// headers are walked up to a number of 32. Jumbograms (RFC 2675) are refused with
// FaultTotalLength.
func Parse6(b []byte, p *Packet6) Fault {
	if len(b) < ipv6Min {
		if len(b) > 0 && b[0]>>4 != 6 {
			return FaultVersion
		}
		return FaultShort
	}
	return p.fill(b, 0, 0)
}

// fill parses the packet whose fixed header lies in b at off. flags is 0 or Quoted.
func (p *Packet6) fill(b []byte, off int, flags Flags) Fault {
	h := (*[ipv6Min]byte)(b[off:])
	if h[0]>>4 != 6 {
		return FaultVersion
	}
	*p = Packet6{
		Src: [16]byte(h[8:24]), Dst: [16]byte(h[24:40]),
		Offset: uint32(off), pseudoSrc: uint32(off + 8), pseudoDst: uint32(off + 24),
		Flags: flags, Proto: h[6], HopLimit: h[7],
	}
	payload := int(binary.BigEndian.Uint16(h[4:]))
	if payload == 0 && h[6] == extHopByHop {
		return FaultTotalLength
	}
	total := off + ipv6Min + payload
	if total > len(b) {
		p.Flags |= Truncated
	} else {
		b = b[:total:total]
	}
	p.end = uint32(len(b))
	l4, f := p.extensions(b, off+ipv6Min, total)
	if f != FaultNone {
		return f
	}
	p.Transport = uint32(l4)
	if p.Flags&NonFirst != 0 {
		p.Kind = KindFragment
		return FaultNone
	}
	switch p.Proto {
	case ProtoTCP, ProtoUDP, ProtoUDPLite:
		return p.ports(b[l4:], total-l4)
	case ProtoICMPv6:
		return p.icmp(b[l4:], total-l4)
	}
	return FaultNone
}

// ports parses TCP, UDP or UDP-Lite: t is what is there of length bytes. These
// headers are the same above both IP versions, so the parser is Packet4's.
func (p *Packet6) ports(t []byte, length int) Fault {
	x := Packet4{Flags: p.Flags, Proto: p.Proto}
	var f Fault
	if p.Proto == ProtoTCP {
		f = x.tcp(t, length)
	} else {
		f = x.udp(t, length)
	}
	p.Kind, p.SrcPort, p.DstPort = x.Kind, x.SrcPort, x.DstPort
	p.Seq, p.Ack, p.PayloadLength, p.TCPFlags = x.Seq, x.Ack, x.PayloadLength, x.TCPFlags
	p.checksum = uint8(x.checksum)
	return f
}

func (p *Packet6) icmp(t []byte, length int) Fault {
	p.Kind = KindICMPOther
	if len(t) < 4 {
		return p.shortTransport(length)
	}
	p.ICMPType, p.ICMPCode = t[0], t[1]
	p.Kind = icmpKind6(t[0])
	p.checksum = 2
	if p.Kind == KindICMPOther {
		return FaultNone
	}
	if len(t) < 8 {
		return p.shortTransport(length)
	}
	if p.Kind != KindICMPError {
		id := binary.BigEndian.Uint16(t[4:])
		p.SrcPort, p.DstPort = id, id
	}
	return FaultNone
}

func (p *Packet6) shortTransport(length int) Fault {
	if length < 8 && p.Flags&(MoreFragments|Quoted) == MoreFragments {
		return FaultTinyFragment
	}
	return FaultTruncated
}

// icmpKind6 classifies an ICMPv6 type (RFC 4443, RFC 8335).
func icmpKind6(t uint8) Kind {
	switch t {
	case 128, 160:
		return KindQueryRequest
	case 129, 161:
		return KindQueryReply
	case 1, 2, 3, 4:
		return KindICMPError
	}
	return KindICMPOther
}
