package proof

import (
	"errors"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// An ipv4 is a decoded IPv4 packet, whole or cut, or the beginning of one that an ICMP error quotes.
type ipv4 struct {
	head     []byte // the header with its options
	data     []byte // what follows within the total length, as far as it is there
	wire     int    // bytes of data on the wire
	protocol layers.IPProtocol
	src, dst netip.Addr
	fragment bool // part of a datagram
	first    bool // holds the datagram's beginning
}

// whole reports whether all bytes of the datagram are there.
func (h ipv4) whole() bool { return !h.fragment && len(h.data) == h.wire }

// decode has gopacket take the packet apart. Options that gopacket does not
// understand are no error: nothing here depends on them.
func decode(b []byte) (ipv4, error) {
	var ip layers.IPv4
	if err := ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil && len(ip.Contents) != int(ip.IHL)*4 {
		return ipv4{}, err
	}
	if ip.Version != 4 {
		return ipv4{}, errors.New("not IPv4")
	}
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	more := ip.Flags&layers.IPv4MoreFragments != 0
	return ipv4{
		head: ip.Contents, data: ip.Payload, wire: int(ip.Length) - len(ip.Contents),
		protocol: ip.Protocol, src: src, dst: dst,
		fragment: more || ip.FragOffset != 0, first: ip.FragOffset == 0,
	}, nil
}

// fields are the places of the translatable fields in h.data; -1 is not there.
type fields struct {
	srcPort, dstPort, checksum int
	icmpError                  bool
	known                      bool // a protocol with ports or identifiers
}

// fieldsOf returns the places by protocol. An ICMP identifier counts as both ports.
func (h ipv4) fieldsOf() fields {
	f := fields{srcPort: -1, dstPort: -1, checksum: -1}
	if !h.first {
		return f
	}
	place := func(at int) int {
		if len(h.data) < at+2 {
			return -1
		}
		return at
	}
	switch h.protocol {
	case layers.IPProtocolTCP:
		f = fields{place(0), place(2), place(16), false, true}
	case layers.IPProtocolUDP:
		f = fields{place(0), place(2), place(6), false, true}
	case layers.IPProtocolICMPv4:
		f.checksum = place(2)
		if len(h.data) == 0 {
			break
		}
		switch h.data[0] {
		case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeSourceQuench, layers.ICMPv4TypeRedirect,
			layers.ICMPv4TypeTimeExceeded, layers.ICMPv4TypeParameterProblem:
			f.icmpError = true
		default:
			f.srcPort, f.dstPort, f.known = place(4), place(4), true
		}
	}
	return f
}

// quotation returns the packet that an ICMP error quotes.
func (h ipv4) quotation() (ipv4, bool) {
	if !h.fieldsOf().icmpError || len(h.data) < 8 {
		return ipv4{}, false
	}
	q, err := decode(h.data[8:])
	return q, err == nil
}

// endpoint returns the endpoint at the place of a port.
func (h ipv4) endpoint(a netip.Addr, at int) (netip.AddrPort, bool) {
	if at < 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(h.data[at])<<8|uint16(h.data[at+1])), true
}
