package rewrite

import "encoding/binary"

// IP protocol numbers that are translated.
const (
	ProtoICMP    = 1
	ProtoTCP     = 6
	ProtoUDP     = 17
	ProtoICMPv6  = 58
	ProtoUDPLite = 136
)

// TCP flag bits, as in TCPFlags of Packet4 and Packet6.
const (
	TCPFin = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
)

// Packet4 is what a translator needs to know of an IPv4 packet: a value without
// pointers, 44 bytes, that Parse4 fills and the setters keep up to date. The
// setters take the same bytes that were parsed (a slice that begins at the same
// byte and is no shorter); they hold for one packet, not across packets.
//
// A Packet4 is not safe for concurrent use.
type Packet4 struct {
	// Src and Dst are the addresses as numbers: 10.0.0.2 is 0x0a000002.
	Src, Dst uint32
	// SrcPort and DstPort are the ports of TCP, UDP and UDP-Lite. Of an ICMP query
	// both are the identifier. Otherwise both are 0.
	SrcPort, DstPort uint16

	// Seq and Ack are the TCP sequence and acknowledgment numbers. In a quoted
	// packet Ack is 0 when it was not quoted.
	Seq, Ack uint32
	// PayloadLength is the number of TCP payload bytes by the IP length, also
	// where the capture is cut. It is 0 for other kinds.
	PayloadLength uint16

	// ID is the IP identification (RFC 6864).
	ID uint16
	// TotalLength is the IP total length in bytes, header included.
	TotalLength uint16
	// FragmentOffset is the fragment offset in bytes.
	FragmentOffset uint16

	// Offset is where the IP header begins in the bytes: 0 but for quoted packets.
	Offset uint16
	// Transport is where the transport header begins in the bytes.
	Transport uint16
	// checksum is where the transport checksum that the setters maintain lies in
	// the bytes, 0 if there is none.
	checksum uint16
	// end is where the packet ends in the bytes: no byte from there on is read or
	// written. Never above 65,535.
	end uint16

	Flags Flags
	Kind  Kind
	// Proto is the IP protocol number.
	Proto uint8
	// TTL is the time to live.
	TTL uint8
	// ICMPType and ICMPCode are set for ICMP packets that are no non-first fragment.
	ICMPType, ICMPCode uint8
	// TCPFlags are the TCP header's flag bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16,
	// URG 32, ECE 64, CWR 128.
	TCPFlags uint8
}

// HeaderLength returns the IP header's length in bytes, options included.
func (p *Packet4) HeaderLength() int { return int(p.Transport - p.Offset) }

// Atomic reports whether the packet is an atomic datagram: neither fragmented
// nor open to fragmentation, so that its ID means nothing (RFC 6864 section 4).
func (p *Packet4) Atomic() bool {
	return p.Flags&(DontFragment|MoreFragments|NonFirst) == DontFragment
}

// Fragment reports whether the packet is a fragment, first or not.
func (p *Packet4) Fragment() bool { return p.Flags&(MoreFragments|NonFirst) != 0 }

// Parse4 fills p from the IPv4 packet that b begins with. It allocates nothing
// and never panics. On a fault p is unspecified. Bytes beyond the IP total length
// (an Ethernet trailer) are neither read nor written by anything in this package;
// a packet that is cut (total length above len(b)) is parsed as far as ports and
// checksum are there. Checksums are not verified: see CheckHeader and
// CheckTransport.
func Parse4(b []byte, p *Packet4) Fault { return p.parse(b, 0, 0) }

// ipv4Min is the length of an IPv4 header without options.
const ipv4Min = 20

// parse fills p from the packet that begins in b at off. flags is 0 or Quoted.
func (p *Packet4) parse(b []byte, off int, flags Flags) Fault {
	if len(b)-off < ipv4Min {
		return short4(b[off:])
	}
	h := (*[ipv4Min]byte)(b[off:])
	if h[0]>>4 != 4 {
		return FaultVersion
	}
	ihl := int(h[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(h[2:]))
	if ihl < ipv4Min {
		return FaultHeaderLength
	}
	if total < ihl {
		return FaultTotalLength
	}
	l4, end := off+ihl, off+total
	if end > len(b) {
		end = len(b)
		if l4 > end {
			return FaultTruncated
		}
		flags |= Truncated
	}
	frag := binary.BigEndian.Uint16(h[6:])
	*p = Packet4{}
	p.Src = binary.BigEndian.Uint32(h[12:])
	p.Dst = binary.BigEndian.Uint32(h[16:])
	p.ID = binary.BigEndian.Uint16(h[4:])
	p.TotalLength = uint16(total)
	p.Offset = uint16(off)
	p.Transport = uint16(l4)
	p.end = uint16(end)
	// DF is bit 14 of the word, DontFragment is bit 2 of Flags.
	p.Flags = flags | Flags(frag>>12)&DontFragment
	p.Proto = h[9]
	p.TTL = h[8]

	b = b[:end:end]
	if ihl > ipv4Min && sourceRoute4(b[off+ipv4Min:l4]) != nil {
		p.Flags |= SourceRoute
	}
	if frag&0x3fff != 0 {
		if f := p.fragment(frag, total-ihl); f != FaultNone || p.Kind == KindFragment {
			return f
		}
	}
	switch h[9] {
	case ProtoTCP:
		return p.tcp(b[l4:], total-ihl)
	case ProtoUDP, ProtoUDPLite:
		return p.udp(b[l4:], total-ihl)
	case ProtoICMP:
		return p.icmp(b[l4:], total-ihl)
	}
	return FaultNone
}

func short4(b []byte) Fault {
	if len(b) > 0 && b[0]>>4 != 4 {
		return FaultVersion
	}
	return FaultShort
}

// fragment sets the fragment fields; length is that of the IP payload.
func (p *Packet4) fragment(frag uint16, length int) Fault {
	if frag&0x2000 != 0 {
		p.Flags |= MoreFragments
	}
	// The offset counts 8-byte units in 13 bits.
	at := int(frag&0x1fff) * 8
	if at == 0 {
		return FaultNone
	}
	if at+length > 65535 {
		return FaultFragment
	}
	if at == 8 && p.Proto == ProtoTCP && p.Flags&Quoted == 0 {
		// RFC 3128: such a fragment can overwrite the flags of the first one.
		return FaultTinyFragment
	}
	p.FragmentOffset = uint16(at)
	p.Flags |= NonFirst
	p.Kind = KindFragment
	return FaultNone
}

// shortTransport is the fault of a transport header that is not there: a first
// fragment that is too small is an attack (RFC 1858 section 3.2), the rest is cut.
func (p *Packet4) shortTransport(length, need int) Fault {
	if length < need && p.Flags&(MoreFragments|Quoted) == MoreFragments {
		return FaultTinyFragment
	}
	return FaultTruncated
}

// tcp parses the transport header: t is what is there of length bytes.
func (p *Packet4) tcp(t []byte, length int) Fault {
	p.Kind = KindTCP
	if len(t) < tcpMin || length < tcpMin {
		return p.tcpShort(t, length)
	}
	h := (*[tcpMin]byte)(t)
	p.SrcPort = binary.BigEndian.Uint16(h[0:])
	p.DstPort = binary.BigEndian.Uint16(h[2:])
	p.Seq = binary.BigEndian.Uint32(h[4:])
	p.Ack = binary.BigEndian.Uint32(h[8:])
	p.TCPFlags = h[13]
	p.checksum = p.Transport + 16
	doff := int(h[12]>>4) * 4
	if doff < tcpMin || doff > length {
		return p.tcpOffset(doff)
	}
	p.PayloadLength = uint16(length - doff)
	return FaultNone
}

// tcpOffset judges a data offset that does not fit the segment. A first fragment
// may end within the options, and a quoted packet is not judged.
func (p *Packet4) tcpOffset(doff int) Fault {
	if p.Flags&Quoted != 0 || doff >= tcpMin && p.Flags&MoreFragments != 0 {
		return FaultNone
	}
	return FaultTCPOffset
}

// tcpMin is the length of a TCP header without options.
const tcpMin = 20

// tcpShort parses a TCP header that is not there in full: t of length bytes.
func (p *Packet4) tcpShort(t []byte, length int) Fault {
	need := 18 // up to the checksum
	if p.Flags&Quoted != 0 {
		need = 8 // all that RFC 792 promises
	} else if length < tcpMin {
		return p.shortTransport(length, tcpMin)
	}
	if len(t) < need {
		return FaultTruncated
	}
	p.SrcPort = binary.BigEndian.Uint16(t[0:])
	p.DstPort = binary.BigEndian.Uint16(t[2:])
	p.Seq = binary.BigEndian.Uint32(t[4:])
	if len(t) >= 12 {
		p.Ack = binary.BigEndian.Uint32(t[8:])
	}
	if len(t) >= 14 {
		p.TCPFlags = t[13]
		doff := int(t[12]>>4) * 4
		if doff < tcpMin || doff > length {
			if f := p.tcpOffset(doff); f != FaultNone {
				return f
			}
		} else {
			p.PayloadLength = uint16(length - doff)
		}
	}
	if len(t) >= 18 {
		p.checksum = p.Transport + 16
	}
	return FaultNone
}

func (p *Packet4) udp(t []byte, length int) Fault {
	p.Kind = KindUDP
	if len(t) < 8 {
		return p.shortTransport(length, 8)
	}
	h := (*[8]byte)(t)
	p.SrcPort = binary.BigEndian.Uint16(h[0:])
	p.DstPort = binary.BigEndian.Uint16(h[2:])
	p.checksum = p.Transport + 6
	n := int(binary.BigEndian.Uint16(h[4:]))
	if p.Proto == ProtoUDPLite {
		p.Kind = KindUDPLite
		if n == 0 {
			return FaultNone // the whole packet is covered
		}
	}
	if (n < 8 || n > length && p.Flags&MoreFragments == 0) && p.Flags&Quoted == 0 {
		return FaultUDPLength
	}
	return FaultNone
}

func (p *Packet4) icmp(t []byte, length int) Fault {
	p.Kind = KindICMPOther
	if len(t) < 4 {
		return p.shortTransport(length, 8)
	}
	p.ICMPType, p.ICMPCode = t[0], t[1]
	p.Kind = icmpKind4(t[0])
	if p.Kind == KindICMPOther {
		return FaultNone
	}
	if len(t) < 8 {
		return p.shortTransport(length, 8)
	}
	if p.Kind == KindICMPError {
		return FaultNone
	}
	id := binary.BigEndian.Uint16(t[4:])
	p.SrcPort, p.DstPort = id, id
	p.checksum = p.Transport + 2
	return FaultNone
}

// icmpKind4 classifies an ICMP type (RFC 792, RFC 950, RFC 8335).
func icmpKind4(t uint8) Kind {
	switch t {
	case 8, 13, 15, 17, 42:
		return KindQueryRequest
	case 0, 14, 16, 18, 43:
		return KindQueryReply
	case 3, 4, 5, 11, 12:
		return KindICMPError
	}
	return KindICMPOther
}

// sourceRoute4 returns the last address of a loose or strict source route that is
// not used up (RFC 791), or nil.
func sourceRoute4(opts []byte) []byte {
	for len(opts) > 0 {
		switch opts[0] {
		case 0:
			return nil
		case 1:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return nil
		}
		n := int(opts[1])
		if (opts[0] == 131 || opts[0] == 137) && n >= 7 && int(opts[2])+3 <= n {
			return opts[n-4 : n]
		}
		opts = opts[n:]
	}
	return nil
}
