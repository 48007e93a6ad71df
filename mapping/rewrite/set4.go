package rewrite

import "encoding/binary"

// SetSource writes the source endpoint into b and p and keeps the checksums as
// right or wrong as they were. For an ICMP query port is the identifier, which
// both SetSource and SetDestination set: pass p.SrcPort to leave it. For packets
// without ports (KindICMPError, KindICMPOther, KindFragment, KindOther) port is
// ignored.
//
// An IPv4 UDP checksum of 0 means that there is none (RFC 768): it stays 0. One
// that comes out as 0 is sent as 0xFFFF.
func (p *Packet4) SetSource(b []byte, addr uint32, port uint16) {
	h := (*[ipv4Min]byte)(b[p.Offset:])
	d := Delta(^p.Src) + Delta(addr)
	p.Src = addr
	binary.BigEndian.PutUint32(h[12:], addr)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	switch p.Kind {
	case KindTCP, KindUDP, KindUDPLite:
		t := (*[8]byte)(b[p.Transport:])
		dp := Delta(^p.SrcPort) + Delta(port)
		p.SrcPort = port
		binary.BigEndian.PutUint16(t[0:], port)
		if p.checksum != 0 {
			f := (*[2]byte)(b[p.checksum:])
			if p.Kind != KindTCP || p.Flags&PartialChecksum != 0 {
				p.setChecksum(f, d, dp)
				return
			}
			binary.BigEndian.PutUint16(f[:], (d + dp).update(binary.BigEndian.Uint16(f[:])))
		}
	case KindQueryRequest, KindQueryReply:
		p.setIdentifier(b, port)
	}
}

// SetDestination is SetSource for the destination endpoint.
func (p *Packet4) SetDestination(b []byte, addr uint32, port uint16) {
	h := (*[ipv4Min]byte)(b[p.Offset:])
	d := Delta(^p.Dst) + Delta(addr)
	p.Dst = addr
	binary.BigEndian.PutUint32(h[16:], addr)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	switch p.Kind {
	case KindTCP, KindUDP, KindUDPLite:
		t := (*[8]byte)(b[p.Transport:])
		dp := Delta(^p.DstPort) + Delta(port)
		p.DstPort = port
		binary.BigEndian.PutUint16(t[2:], port)
		if p.checksum != 0 {
			f := (*[2]byte)(b[p.checksum:])
			if p.Kind != KindTCP || p.Flags&(PartialChecksum|SourceRoute) != 0 {
				if p.Flags&SourceRoute != 0 {
					d = 0
				}
				p.setChecksum(f, d, dp)
				return
			}
			binary.BigEndian.PutUint16(f[:], (d + dp).update(binary.BigEndian.Uint16(f[:])))
		}
	case KindQueryRequest, KindQueryReply:
		p.setIdentifier(b, port)
	}
}

// setChecksum updates the transport checksum of TCP, UDP or UDP-Lite by the
// change of address and of port, with the rules for partial checksums and for 0.
func (p *Packet4) setChecksum(f *[2]byte, addr, port Delta) {
	c := binary.BigEndian.Uint16(f[:])
	switch {
	case p.Flags&PartialChecksum != 0:
		c = addr.UpdatePartial(c)
	case p.Kind == KindTCP:
		c = (addr + port).update(c)
	case c == 0:
		return
	default:
		if c = (addr + port).update(c); c == 0 {
			c = 0xffff
		}
	}
	binary.BigEndian.PutUint16(f[:], c)
}

// setIdentifier writes the identifier of an ICMP query; ICMP has no pseudo header.
func (p *Packet4) setIdentifier(b []byte, id uint16) {
	d := Delta(^p.SrcPort) + Delta(id)
	p.SrcPort, p.DstPort = id, id
	t := b[p.Transport:]
	binary.BigEndian.PutUint16(t[4:], id)
	if p.checksum != 0 && p.Flags&PartialChecksum == 0 {
		binary.BigEndian.PutUint16(t[2:], d.update(binary.BigEndian.Uint16(t[2:])))
	}
}

// SetID writes the IP identification and keeps the header checksum as right as it
// was (RFC 6864 section 5.3.1: a translator gives non-atomic datagrams IDs that
// do not repeat).
func (p *Packet4) SetID(b []byte, id uint16) {
	h := (*[ipv4Min]byte)(b[p.Offset:])
	d := Delta(0).Word16(p.ID, id)
	p.ID = id
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
}

// DecrementTTL takes one from the time to live and keeps the header checksum as
// right as it was. It reports whether the packet lives on: with a TTL of 0 or 1
// it returns false and leaves the packet as it is, for the caller to drop and to
// answer with ICMP 11/0 (RFC 1812 section 5.3.1).
func (p *Packet4) DecrementTTL(b []byte) bool {
	if p.TTL <= 1 {
		return false
	}
	h := (*[ipv4Min]byte)(b[p.Offset:])
	d := Delta(0).Word16(uint16(p.TTL)<<8|uint16(p.Proto), uint16(p.TTL-1)<<8|uint16(p.Proto))
	p.TTL--
	h[8] = p.TTL
	binary.BigEndian.PutUint16(h[10:], d.update(binary.BigEndian.Uint16(h[10:])))
	return true
}

// ClampMSS lowers the maximum segment size option of a TCP segment with SYN to
// mss bytes where it is higher, keeps the checksum as right as it was, and
// reports whether it did. A segment without the option is left alone: the peer
// then assumes 536 (RFC 9293 section 3.7.1).
func (p *Packet4) ClampMSS(b []byte, mss uint16) bool {
	if p.Kind != KindTCP || p.TCPFlags&TCPSyn == 0 || p.checksum == 0 || p.Flags&Quoted != 0 {
		return false
	}
	return clampMSS(b[p.Transport:p.end], mss, p.Flags&PartialChecksum != 0)
}
