package mapping

import "net/netip"

// Endpoint is an IPv4 address and a port or an ICMP identifier, packed. The address is the
// number that its four octets form in network order.
type Endpoint struct {
	Addr uint32
	Port uint16
}

// EndpointOf packs an IPv4 (or IPv4-mapped) address and port; ok is false for any other.
func EndpointOf(a netip.AddrPort) (e Endpoint, ok bool) {
	addr := a.Addr().Unmap()
	if !addr.Is4() {
		return Endpoint{}, false
	}
	return Endpoint{Number4(addr), a.Port()}, true
}

// AddrPort unpacks the endpoint.
func (e Endpoint) AddrPort() netip.AddrPort { return netip.AddrPortFrom(Addr4(e.Addr), e.Port) }

// Addr4 unpacks an IPv4 address.
func Addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

// Number4 packs an IPv4 or IPv4-mapped address; any other gives 0.
func Number4(a netip.Addr) uint32 {
	if !a.Is4() && !a.Is4In6() {
		return 0
	}
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// String returns the endpoint as "192.0.2.1:80".
func (e Endpoint) String() string { return e.AddrPort().String() }

func (e Endpoint) pack() uint64 { return uint64(e.Addr)<<32 | uint64(e.Port)<<16 }

func unpack(v uint64) Endpoint { return Endpoint{uint32(v >> 32), uint16(v >> 16)} }
