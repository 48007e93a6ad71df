package rewrite

import "encoding/binary"

// Plain4 is what a translator needs to know of the common IPv4 packet: TCP or UDP, whole, without IP options
// and no fragment. It is parsed and rewritten at about half the cost of a Packet4, which reads all packets.
//
// A Plain4 holds for one packet, as a Packet4 does, and is not safe for concurrent use.
type Plain4 struct {
	// Src, Dst, the ports, Seq, Ack and PayloadLength are those of Packet4.
	Src, Dst         uint32
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	PayloadLength    uint16
	// ID is the IP identification.
	ID uint16
	// Proto is ProtoTCP or ProtoUDP.
	Proto uint8
	// TCPFlags are the TCP header's flag bits, and 0 for UDP.
	TCPFlags uint8
	// DontFragment is that flag of the IP header.
	DontFragment bool
	// Partial says that the transport checksum is a partial one (see PartialChecksum). ParsePlain4 leaves it alone.
	Partial bool
}

// ParsePlain4 fills p from the packet that b begins with and reports whether the packet is a common one. All others, faulty ones
// among them, are left to Parse4, and p is then unspecified.
func ParsePlain4(b []byte, p *Plain4) bool {
	if len(b) < 28 {
		return false
	}
	h := (*[28]byte)(b)
	// Version 4 without options; neither a fragment nor one with more to come.
	total := int(binary.BigEndian.Uint16(h[2:]))
	frag := binary.BigEndian.Uint16(h[6:])
	if h[0] != 0x45 || frag&0x3fff != 0 || total > len(b) {
		return false
	}
	addresses := binary.BigEndian.Uint64(h[12:])
	p.Src, p.Dst = uint32(addresses>>32), uint32(addresses)
	ports := binary.BigEndian.Uint32(h[20:])
	p.SrcPort, p.DstPort = uint16(ports>>16), uint16(ports)
	p.ID = binary.BigEndian.Uint16(h[4:])
	p.DontFragment = frag&0x4000 != 0
	p.Proto = h[9]
	switch h[9] {
	case ProtoUDP:
		n := int(binary.BigEndian.Uint16(h[24:]))
		return n >= 8 && n <= total-ipv4Min
	case ProtoTCP:
		if total < ipv4Min+tcpMin {
			return false
		}
		t := (*[tcpMin]byte)(b[ipv4Min:])
		p.Seq = binary.BigEndian.Uint32(t[4:])
		p.Ack = binary.BigEndian.Uint32(t[8:])
		p.TCPFlags = t[13]
		offset := int(t[12]>>4) * 4
		p.PayloadLength = uint16(total - ipv4Min - offset)
		return offset >= tcpMin && offset <= total-ipv4Min
	}
	return false
}

// SetSource does what Packet4.SetSource does.
func (p *Plain4) SetSource(b []byte, addr uint32, port uint16) {
	d, dp := Delta(^p.Src)+Delta(addr), Delta(^p.SrcPort)+Delta(port)
	p.Src, p.SrcPort = addr, port
	h := (*[28]byte)(b)
	binary.BigEndian.PutUint32(h[12:], addr)
	binary.BigEndian.PutUint16(h[20:], port)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	if c := binary.BigEndian.Uint16(h[26:]); p.Proto == ProtoUDP && !p.Partial && c != 0 {
		c = (d + dp).update(c)
		binary.BigEndian.PutUint16(h[26:], c|zeroMask(c))
		return
	}
	p.setChecksum(b, d, dp)
}

// SetDestination does what Packet4.SetDestination does.
func (p *Plain4) SetDestination(b []byte, addr uint32, port uint16) {
	d, dp := Delta(^p.Dst)+Delta(addr), Delta(^p.DstPort)+Delta(port)
	p.Dst, p.DstPort = addr, port
	h := (*[28]byte)(b)
	binary.BigEndian.PutUint32(h[16:], addr)
	binary.BigEndian.PutUint16(h[22:], port)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	if c := binary.BigEndian.Uint16(h[26:]); p.Proto == ProtoUDP && !p.Partial && c != 0 {
		c = (d + dp).update(c)
		binary.BigEndian.PutUint16(h[26:], c|zeroMask(c))
		return
	}
	p.setChecksum(b, d, dp)
}

// zeroMask is all ones for a checksum that comes out as 0, which UDP sends as 0xFFFF, and 0 for any other.
func zeroMask(c uint16) uint16 { return uint16((uint32(c) - 1) >> 16) }

// setChecksum updates the transport checksum by the change of an address and of a port: of TCP, and of UDP where it is none or a
// partial one.
func (p *Plain4) setChecksum(b []byte, addr, port Delta) {
	at := 36
	if p.Proto == ProtoUDP {
		at = 26
	}
	f := (*[2]byte)(b[at:])
	c := binary.BigEndian.Uint16(f[:])
	switch {
	case p.Partial:
		c = addr.UpdatePartial(c)
	case p.Proto == ProtoTCP:
		c = (addr + port).update(c)
	}
	binary.BigEndian.PutUint16(f[:], c)
}

// SetID does what Packet4.SetID does.
func (p *Plain4) SetID(b []byte, id uint16) {
	h := (*[ipv4Min]byte)(b)
	d := Delta(0).Word16(p.ID, id)
	p.ID = id
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
}
