package main

import (
	"encoding/binary"
	"net/netip"
)

// The quickstart plays the internet, so it reads and edits packets with code of
// its own: what it learns about external endpoints comes from the packets that
// the NAT wrote, as a remote host would learn it.

// Protocol numbers.
const (
	icmp = 1
	tcp  = 6
	udp  = 17
)

// An ipv4 is an IPv4 packet, whole or cut, or the beginning of one that an ICMP error quotes.
type ipv4 struct {
	b        []byte // from the header on
	header   int    // bytes of the header
	end      int    // where the packet ends in b: the total length, or less when it is cut
	protocol uint8
	src, dst netip.Addr
	first    bool // not a later fragment
}

// parseIPv4 reads the header. It returns false for what is no IPv4 packet or has no whole header.
func parseIPv4(b []byte) (ipv4, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return ipv4{}, false
	}
	p := ipv4{b: b, header: int(b[0]&15) * 4, protocol: b[9],
		src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
		first: binary.BigEndian.Uint16(b[6:])&0x1fff == 0}
	total := int(binary.BigEndian.Uint16(b[2:]))
	p.end = min(total, len(b))
	return p, p.header >= 20 && p.header <= p.end
}

// data is the packet behind its header, as far as it is there.
func (p ipv4) data() []byte { return p.b[p.header:p.end] }

// isFragment reports whether the packet is a part of a datagram.
func (p ipv4) isFragment() bool { return binary.BigEndian.Uint16(p.b[6:])&0x3fff != 0 }

// isError reports whether the packet is an ICMP error (RFC 792), which quotes another packet.
func (p ipv4) isError() bool {
	if p.protocol != icmp || !p.first || len(p.data()) < 8 {
		return false
	}
	switch p.data()[0] {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// isQuery reports whether the packet is an ICMP query or its answer, with an
// identifier: echo, timestamp, information, address mask, extended echo.
func (p ipv4) isQuery() bool {
	if p.protocol != icmp || !p.first || len(p.data()) < 8 {
		return false
	}
	switch p.data()[0] {
	case 0, 8, 13, 14, 15, 16, 17, 18, 42, 43:
		return true
	}
	return false
}

// sourcePort returns where the source port or identifier is in data, and destinationPort the other one; -1 is nowhere.
func (p ipv4) sourcePort() int      { return p.portAt(0) }
func (p ipv4) destinationPort() int { return p.portAt(2) }

func (p ipv4) portAt(at int) int {
	switch {
	case p.isQuery():
		return 4
	case (p.protocol == tcp || p.protocol == udp) && p.first && len(p.data()) >= 4:
		return at
	}
	return -1
}

// source returns the source endpoint, and false where the packet shows none.
func (p ipv4) source() (netip.AddrPort, bool) { return p.endpoint(p.src, p.sourcePort()) }

// destination returns the destination endpoint, and false where the packet shows none.
func (p ipv4) destination() (netip.AddrPort, bool) { return p.endpoint(p.dst, p.destinationPort()) }

func (p ipv4) endpoint(a netip.Addr, at int) (netip.AddrPort, bool) {
	if at < 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p.data()[at:])), true
}

// setSource and setDestination put an endpoint in place of the packet's own and
// correct the checksums by the difference, so that right stays right and wrong
// stays wrong. A port is set where the packet shows one.
func (p ipv4) setSource(e netip.AddrPort)      { p.set(12, p.sourcePort(), e) }
func (p ipv4) setDestination(e netip.AddrPort) { p.set(16, p.destinationPort(), e) }

func (p ipv4) set(addressAt, portAt int, e netip.AddrPort) {
	address := e.Addr().As4()
	field := p.b[addressAt : addressAt+4]
	if p.protocol != icmp { // ICMP has no pseudo header
		p.correct(field, address[:])
	}
	correct(p.b[10:12], field, address[:])
	copy(field, address[:])
	if portAt >= 0 {
		port := binary.BigEndian.AppendUint16(nil, e.Port())
		field := p.data()[portAt : portAt+2]
		p.correct(field, port)
		copy(field, port)
	}
}

// correct adapts the transport checksum, where the packet shows one, to new bytes in place of old ones.
func (p ipv4) correct(old, new []byte) {
	at := map[uint8]int{icmp: 2, tcp: 16, udp: 6}
	place, ok := at[p.protocol]
	if !ok || !p.first || len(p.data()) < place+2 {
		return
	}
	sum := p.data()[place : place+2]
	if p.protocol != udp {
		correct(sum, old, new)
		return
	}
	if binary.BigEndian.Uint16(sum) == 0 { // none (RFC 768)
		return
	}
	correct(sum, old, new)
	if binary.BigEndian.Uint16(sum) == 0 {
		binary.BigEndian.PutUint16(sum, 0xffff)
	}
}

// quotation returns the packet that an ICMP error quotes.
func (p ipv4) quotation() (ipv4, bool) {
	if !p.isError() {
		return ipv4{}, false
	}
	return parseIPv4(p.data()[8:])
}

// correct adapts a ones' complement checksum to new bytes in place of old ones
// of the same, even or last odd length (RFC 1624, equation 3).
func correct(sum, old, new []byte) {
	s := uint32(^binary.BigEndian.Uint16(sum))
	changed := false
	for i := 0; i < len(old); i += 2 {
		m, n := word(old[i:]), word(new[i:])
		if m != n {
			changed = true
			s += uint32(^m) + uint32(n)
			s = s>>16 + s&0xffff
		}
	}
	if changed {
		s = s>>16 + s&0xffff
		binary.BigEndian.PutUint16(sum, ^uint16(s))
	}
}

// word reads 16 bits, with a zero behind a last odd byte.
func word(b []byte) uint16 {
	if len(b) == 1 {
		return uint16(b[0]) << 8
	}
	return binary.BigEndian.Uint16(b)
}
