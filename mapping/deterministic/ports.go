package deterministic

import (
	"iter"
	"net/netip"
)

// Ports is what one subscriber has outside: an external address and a set of its
// ports (TCP and UDP ports and ICMP identifiers alike), whatever the shape of
// the set: contiguous, stepped, RFC 7597, RFC 6431 or keyed. Only maps that are
// not paired give a set over several addresses. It is a small comparable value
// that refers to its Map; the zero Ports is empty.
type Ports struct {
	m    *Map
	ext  uint64 // position of the external address, or of the first of the group
	slot uint32 // slot on the address or in the group
	n    uint32 // number of ports
}

// Len returns the number of ports (on all addresses together).
func (p Ports) Len() int { return 0 }

// External returns the external address, the first of the group if not paired.
func (p Ports) External() netip.Addr { return netip.Addr{} }

// Paired reports whether all ports are on External().
func (p Ports) Paired() bool { return false }

// At returns the i-th port with its address, 0 <= i < Len. The order is that of
// the formula: rising, except with Crypto, and with RoundRobin and Interlaced,
// where addresses alternate. It panics like a slice if i is out of range.
func (p Ports) At(i int) netip.AddrPort { return netip.AddrPort{} }

// Port returns the port number of At(i).
func (p Ports) Port(i int) uint16 { return 0 }

// Index returns the i for which At(i) is the external endpoint.
func (p Ports) Index(external netip.Addr, port uint16) (i int, ok bool) { return 0, false }

// Contains reports whether the external endpoint is in the set.
func (p Ports) Contains(external netip.Addr, port uint16) bool { return false }

// All yields At(0) to At(Len-1).
func (p Ports) All() iter.Seq[netip.AddrPort] { return nil }

// Ranges yields the set as maximal runs of ports, by address, rising.
func (p Ports) Ranges() iter.Seq2[netip.Addr, PortRange] { return nil }

// String returns the address and the runs, the first few and the last.
func (p Ports) String() string { return "" }
