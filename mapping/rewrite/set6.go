package rewrite

import "encoding/binary"

// SetSource writes the source endpoint into b and p and keeps the transport
// checksum as right or wrong as it was; see Packet4.SetSource. A UDP checksum of
// 0 stays 0 (RFC 6936 allows it for tunnels; elsewhere it was wrong and stays so).
func (p *Packet6) SetSource(b []byte, addr [16]byte, port uint16) {
	d := p.swap(b[p.Offset+8:], &p.Src, &addr)
	if p.Flags&HomeAddress != 0 {
		d = 0
	}
	p.setTransport(b, d, 0, &p.SrcPort, port)
}

// SetDestination is SetSource for the destination endpoint.
func (p *Packet6) SetDestination(b []byte, addr [16]byte, port uint16) {
	d := p.swap(b[p.Offset+24:], &p.Dst, &addr)
	if p.Flags&SourceRoute != 0 {
		d = 0
	}
	p.setTransport(b, d, 2, &p.DstPort, port)
}

// swap writes an address into the header and into p.
func (p *Packet6) swap(field []byte, old, addr *[16]byte) Delta {
	d := Delta(0).Addr16(old, addr)
	*old = *addr
	copy(field[:16], addr[:])
	return d
}

// setTransport writes a port at the given place of the transport header, or the
// identifier, and updates the checksum by it and by the change of address.
func (p *Packet6) setTransport(b []byte, addr Delta, at int, old *uint16, port uint16) {
	t := b[p.Transport:]
	var word Delta
	switch p.Kind {
	case KindTCP, KindUDP, KindUDPLite:
		word = word.Word16(*old, port)
		*old = port
		binary.BigEndian.PutUint16(t[at:], port)
	case KindQueryRequest, KindQueryReply:
		word = word.Word16(p.SrcPort, port)
		p.SrcPort, p.DstPort = port, port
		binary.BigEndian.PutUint16(t[4:], port)
	}
	if p.checksum == 0 {
		return
	}
	f := t[p.checksum:]
	c := binary.BigEndian.Uint16(f)
	udp := p.Kind == KindUDP || p.Kind == KindUDPLite
	switch {
	case p.Flags&PartialChecksum != 0:
		c = addr.UpdatePartial(c)
	case udp && c == 0:
		return
	default:
		if c = (addr + word).update(c); c == 0 && udp {
			c = 0xffff
		}
	}
	binary.BigEndian.PutUint16(f, c)
}

// DecrementHopLimit takes one from the hop limit. It reports whether the packet
// lives on: with a hop limit of 0 or 1 it returns false and leaves the packet as
// it is, for the caller to drop and to answer with ICMPv6 3/0.
func (p *Packet6) DecrementHopLimit(b []byte) bool {
	if p.HopLimit <= 1 {
		return false
	}
	p.HopLimit--
	b[p.Offset+7] = p.HopLimit
	return true
}

// ClampMSS is Packet4.ClampMSS for IPv6.
func (p *Packet6) ClampMSS(b []byte, mss uint16) bool {
	if p.Kind != KindTCP || p.TCPFlags&TCPSyn == 0 || p.checksum == 0 || p.Flags&Quoted != 0 {
		return false
	}
	return clampMSS(b[p.Transport:p.end], mss, p.Flags&PartialChecksum != 0)
}

// CheckTransport verifies the transport checksum over the packet's bytes; see
// Packet4.CheckTransport. A UDP checksum of 0 is wrong above IPv6.
func (p *Packet6) CheckTransport(b []byte) Check {
	if p.Flags&(Truncated|MoreFragments|NonFirst|PartialChecksum) != 0 || p.checksum == 0 ||
		p.pseudoDst == unknownAddress {
		return CheckUnknown
	}
	t := b[p.Transport:p.end]
	src, dst := (*[16]byte)(b[p.pseudoSrc:]), (*[16]byte)(b[p.pseudoDst:])
	pseudo := PseudoSum6(src, dst, p.Proto, 0)
	if p.Proto == ProtoICMPv6 {
		return checkSum(Sum(t, addSum(pseudo, uint64(len(t)))))
	}
	return checkPorts(t, p.Kind, pseudo, false)
}
