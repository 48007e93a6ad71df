package deterministic

import (
	"iter"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
)

// PortSet is a set of ports of one external address, whatever its shape. It is
// what AddressPorts (deterministic sets) and portblock.Set (RFC 7597, RFC 6431 and
// contiguous sets that stand alone) have in common.
type PortSet interface {
	// Len returns the number of ports.
	Len() int
	// At returns port number i, and false unless 0 <= i < Len.
	At(i int) (port uint16, ok bool)
	// Index returns the i with At(i) = port, and false if the port is not in the set.
	Index(port uint16) (i int, ok bool)
	// Contains reports whether the port is in the set.
	Contains(port uint16) bool
	// Ranges yields the maximal runs of ports, rising.
	Ranges() iter.Seq[portblock.Range]
}

var (
	_ PortSet = AddressPorts{}
	_ PortSet = portblock.Set{}
)

// AddressPorts is the part of a subscriber's Ports on one external address: all
// of them in a paired map. It is a small comparable value; the zero value is
// empty. It is immutable and safe for concurrent use.
type AddressPorts struct {
	ports Ports
	ext   uint64 // position of the address
}

// On returns the ports on one external address; they are none if the subscriber
// has no port there.
func (p Ports) On(external netip.Addr) AddressPorts {
	if p.m == nil {
		return AddressPorts{}
	}
	e, ok := p.m.ext.find(external.Unmap())
	if !ok || e < p.ext || e >= p.ext+p.m.group {
		return AddressPorts{}
	}
	return AddressPorts{p, e}
}

// External returns the address.
func (s AddressPorts) External() netip.Addr {
	if s.ports.m == nil {
		return netip.Addr{}
	}
	return s.ports.m.ext.at(s.ext)
}

// Len returns the number of ports.
func (s AddressPorts) Len() int {
	m := s.ports.m
	if m == nil {
		return 0
	}
	if first, step := s.every(); step > 1 {
		return (int(m.plan.p) - first + step - 1) / step
	}
	return int(m.plan.size(s.ports.slot))
}

// every says which of the subscriber's rows lie on the address, for Interlaced:
// every step-th, beginning with first.
func (s AddressPorts) every() (first, step int) {
	m := s.ports.m
	if m.group == 1 || m.cfg.Algorithm != Interlaced {
		return 0, 1
	}
	g := int(m.group)
	return (int(s.ext-s.ports.ext) + g - int(s.ports.slot)%g) % g, g
}

// At returns port number i, and false unless 0 <= i < Len.
func (s AddressPorts) At(i int) (uint16, bool) {
	if i < 0 || i >= s.Len() {
		return 0, false
	}
	m, slot := s.ports.m, s.ports.slot
	if first, step := s.every(); step > 1 {
		return m.plan.port(slot/uint32(step), uint32(first+i*step)), true
	}
	port := m.plan.port(slot, uint32(i))
	if m.keys != nil {
		port = m.key(s.ext).encrypt(&m.plan.layout, port)
	}
	return port, true
}

// Index returns the i with At(i) = port, and false if the port is not in the set.
func (s AddressPorts) Index(port uint16) (int, bool) {
	m := s.ports.m
	if m == nil {
		return 0, false
	}
	i, ok := s.ports.index(s.ext, port)
	if !ok || m.group == 1 {
		return i, ok
	}
	return i / int(m.group), true
}

// Contains reports whether the port is in the set.
func (s AddressPorts) Contains(port uint16) bool {
	_, ok := s.Index(port)
	return ok
}

// Ranges yields the maximal runs of ports, rising.
func (s AddressPorts) Ranges() iter.Seq[portblock.Range] {
	return func(yield func(portblock.Range) bool) {
		for a, r := range s.ports.Ranges() {
			if a == s.External() && !yield(r) {
				return
			}
		}
	}
}
