package rewrite

import "encoding/binary"

// Plain4 is what a translator needs to know first of the common IPv4 packet: TCP or UDP, whole, without IP options
// and no fragment. It is small enough to stay in registers. What else is needed of such a packet is read from its bytes; they are
// parsed and rewritten at about half the cost of a Packet4, which reads all packets.
type Plain4 struct {
	// Addresses are the source and the destination address.
	Addresses uint64
	// Ports are the source and the destination port.
	Ports uint32
	// Proto is ProtoTCP or ProtoUDP.
	Proto uint8
	// TCPFlags are the TCP header's flag bits, and 0 for UDP.
	TCPFlags uint8
}

// Src returns the source address, Dst the destination address.
func (p Plain4) Src() uint32 { return uint32(p.Addresses >> 32) }

// Dst returns the destination address.
func (p Plain4) Dst() uint32 { return uint32(p.Addresses) }

// SrcPort returns the source port.
func (p Plain4) SrcPort() uint16 { return uint16(p.Ports >> 16) }

// DstPort returns the destination port.
func (p Plain4) DstPort() uint16 { return uint16(p.Ports) }

// plainMin is the length of the shortest common packet: headers of IP and UDP.
const plainMin = ipv4Min + 8

// ParsePlain4 reads the packet that b begins with and reports whether the packet is a common one. All others, faulty ones
// among them, are left to Parse4.
func ParsePlain4(b []byte) (p Plain4, ok bool) {
	if len(b) < plainMin {
		return p, false
	}
	h := (*[plainMin]byte)(b)
	// Version 4 without options; neither a fragment nor one with more to come.
	first := binary.BigEndian.Uint64(h[:])
	total := int(first >> 32 & 0xffff)
	if first&0xff00000000003fff != 0x45<<56 || total > len(b) {
		return p, false
	}
	p.Addresses = binary.BigEndian.Uint64(h[12:])
	rest := binary.BigEndian.Uint64(h[20:])
	p.Ports = uint32(rest >> 32)
	p.Proto = h[9]
	if p.Proto == ProtoUDP {
		n := int(rest >> 16 & 0xffff)
		return p, n >= 8 && n <= total-ipv4Min
	}
	if p.Proto != ProtoTCP || total < ipv4Min+tcpMin {
		return p, false
	}
	t := (*[2]byte)(b[ipv4Min+12:])
	p.TCPFlags = t[1]
	offset := int(t[0]>>4) * 4
	return p, offset >= tcpMin && offset <= total-ipv4Min
}

// PlainSegment4 returns the sequence numbers and the payload's length of a common packet that is TCP.
func PlainSegment4(b []byte) (seq, ack uint32, payload int) {
	h := (*[ipv4Min + tcpMin]byte)(b)
	numbers := binary.BigEndian.Uint64(h[24:])
	total := int(binary.BigEndian.Uint16(h[2:]))
	return uint32(numbers >> 32), uint32(numbers), total - ipv4Min - int(h[32]>>4)*4
}

// SetSource gives the common packet that b begins with another source: it does what Packet4.SetSource does. partial says that the
// transport checksum is a partial one (see PartialChecksum).
func (p Plain4) SetSource(b []byte, addr uint32, port uint16, partial bool) {
	d, dp := Delta(^p.Src())+Delta(addr), Delta(^p.SrcPort())+Delta(port)
	h := (*[plainMin]byte)(b)
	binary.BigEndian.PutUint32(h[12:], addr)
	binary.BigEndian.PutUint16(h[20:], port)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	if c := binary.BigEndian.Uint16(h[26:]); p.Proto == ProtoUDP && !partial && c != 0 {
		c = (d + dp).update(c)
		binary.BigEndian.PutUint16(h[26:], c|zeroMask(c))
		return
	}
	p.setChecksum(b, d, dp, partial)
}

// SetDestination is SetSource for the destination.
func (p Plain4) SetDestination(b []byte, addr uint32, port uint16, partial bool) {
	d, dp := Delta(^p.Dst())+Delta(addr), Delta(^p.DstPort())+Delta(port)
	h := (*[plainMin]byte)(b)
	binary.BigEndian.PutUint32(h[16:], addr)
	binary.BigEndian.PutUint16(h[22:], port)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	if c := binary.BigEndian.Uint16(h[26:]); p.Proto == ProtoUDP && !partial && c != 0 {
		c = (d + dp).update(c)
		binary.BigEndian.PutUint16(h[26:], c|zeroMask(c))
		return
	}
	p.setChecksum(b, d, dp, partial)
}

// zeroMask is all ones for a checksum that comes out as 0, which UDP sends as 0xFFFF, and 0 for any other.
func zeroMask(c uint16) uint16 { return uint16((uint32(c) - 1) >> 16) }

// setChecksum updates the transport checksum by the change of an address and of a port: of TCP, and of UDP where it is none or a
// partial one.
func (p Plain4) setChecksum(b []byte, addr, port Delta, partial bool) {
	at := 36
	if p.Proto == ProtoUDP {
		at = 26
	}
	f := (*[2]byte)(b[at:])
	c := binary.BigEndian.Uint16(f[:])
	switch {
	case partial:
		c = addr.UpdatePartial(c)
	case p.Proto == ProtoTCP:
		c = (addr + port).update(c)
	}
	binary.BigEndian.PutUint16(f[:], c)
}

// PlainDontFragment4 reports whether a common packet says not to fragment it.
func PlainDontFragment4(b []byte) bool { return b[6]&0x40 != 0 }

// SetPlainID4 gives a common packet another identification: it does what Packet4.SetID does.
func SetPlainID4(b []byte, id uint16) {
	h := (*[ipv4Min]byte)(b)
	d := Delta(0).Word16(binary.BigEndian.Uint16(h[4:]), id)
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
}
