package deterministic

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"github.com/blocknat/blocknat/portblock"
)

// Ports is what one subscriber has outside: an external address and a set of its
// ports (TCP and UDP ports and ICMP identifiers alike), whatever the shape of
// the set: contiguous, stepped, RFC 7597, RFC 6431 or keyed. Only maps that are
// not paired give a set over several addresses. It is a small comparable value
// that refers to its Map; the zero Ports is empty. It is immutable and safe for
// concurrent use.
type Ports struct {
	m    *Map
	ext  uint64 // position of the external address, or of the first of the group
	slot uint32 // slot on the address or in the group
}

// Map returns the map that gave the ports, so the answers of a Set say which of its
// maps it was; nil for the zero Ports.
func (p Ports) Map() *Map { return p.m }

// Len returns the number of ports (on all addresses together).
func (p Ports) Len() int {
	if p.m == nil {
		return 0
	}
	return p.m.length(p.slot)
}

// External returns the external address, the first of the group if not paired.
func (p Ports) External() netip.Addr {
	if p.m == nil {
		return netip.Addr{}
	}
	return p.m.ext.at(p.ext)
}

// Paired reports whether all ports are on External().
func (p Ports) Paired() bool { return p.m == nil || p.m.group == 1 }

// At returns the i-th port with its address, 0 <= i < Len. The order is that of
// the formula: rising, except with Crypto, and with RoundRobin and Interlaced,
// where addresses alternate. It panics like a slice if i is out of range.
func (p Ports) At(i int) netip.AddrPort {
	port, address := p.at(i)
	return netip.AddrPortFrom(p.m.ext.at(address), port)
}

// Port returns the port number of At(i).
func (p Ports) Port(i int) uint16 {
	port, _ := p.at(i)
	return port
}

func (p Ports) at(i int) (port uint16, address uint64) {
	if n := p.Len(); uint(i) >= uint(n) {
		panic(fmt.Sprintf("deterministic: port %d of %d", i, n)) // as indexing a slice
	}
	m, k := p.m, uint32(i)
	switch {
	case m.keys != nil:
		return m.key(p.ext).encrypt(&m.plan.layout, m.plan.port(p.slot, k)), p.ext
	case m.group == 1:
		return m.plan.port(p.slot, k), p.ext
	case m.cfg.Algorithm == Interlaced:
		group := uint32(m.group)
		return m.plan.port(p.slot/group, k), p.ext + uint64((p.slot%group+k)%group)
	}
	group := uint32(m.group)
	return m.plan.port(p.slot, k/group), p.ext + uint64(k%group)
}

// Index returns the i for which At(i) is the external endpoint.
func (p Ports) Index(external netip.Addr, port uint16) (i int, ok bool) {
	if p.m == nil {
		return 0, false
	}
	e, ok := p.m.ext.find(external.Unmap())
	if !ok {
		return 0, false
	}
	return p.index(e, port)
}

// index is Index for the external address at position e.
func (p Ports) index(e uint64, port uint16) (i int, ok bool) {
	m := p.m
	unit, slot, cl := m.locate(e, port)
	if cl != classSlot || unit*m.group != p.ext || slot != p.slot {
		return 0, false
	}
	switch {
	case m.keys != nil:
		port = m.key(e).decrypt(&m.plan.layout, port)
	case m.group > 1 && m.cfg.Algorithm == Interlaced:
		return int(m.plan.indexOf(slot/uint32(m.group), port)), true
	}
	return int(m.plan.indexOf(slot, port))*int(m.group) + int(e-p.ext), true
}

// Contains reports whether the external endpoint is in the set.
func (p Ports) Contains(external netip.Addr, port uint16) bool {
	_, ok := p.Index(external, port)
	return ok
}

// All yields At(0) to At(Len-1).
func (p Ports) All() iter.Seq[netip.AddrPort] {
	return func(yield func(netip.AddrPort) bool) {
		for i := range p.Len() {
			if !yield(p.At(i)) {
				return
			}
		}
	}
}

// Ranges yields the set as maximal runs of ports, by address, rising. Where the
// order of the formula is not rising it walks all ports of the address.
func (p Ports) Ranges() iter.Seq2[netip.Addr, portblock.Range] {
	return func(yield func(netip.Addr, portblock.Range) bool) {
		if p.m == nil {
			return
		}
		if p.m.group == 1 && p.m.keys == nil {
			p.rising(yield)
			return
		}
		for e := p.ext; e < p.ext+p.m.group; e++ {
			a := p.m.ext.at(e)
			if !runs(func(port uint16) bool {
				unit, slot, cl := p.m.locate(e, port)
				return cl == classSlot && slot == p.slot && unit*p.m.group == p.ext
			}, func(r portblock.Range) bool { return yield(a, r) }) {
				return
			}
		}
	}
}

// rising merges neighbours of a set whose order is rising.
func (p Ports) rising(yield func(netip.Addr, portblock.Range) bool) {
	a, n := p.External(), uint32(p.Len())
	for i := uint32(0); i < n; {
		first := p.m.plan.port(p.slot, i)
		last := first
		for i++; i < n && p.m.plan.port(p.slot, i) == last+1; i++ {
			last++
		}
		if !yield(a, portblock.RangeOf(first, last)) {
			return
		}
	}
}

// String returns address and runs, at most eight of them: "192.0.2.1:1024-5055".
func (p Ports) String() string {
	if p.m == nil {
		return "no ports"
	}
	var b strings.Builder
	n, prev := 0, netip.Addr{}
	for a, r := range p.Ranges() {
		switch {
		case n == 8:
			fmt.Fprintf(&b, ",... (%d ports)", p.Len())
			return b.String()
		case a != prev:
			if n > 0 {
				b.WriteByte(' ')
			}
			if a.Is6() {
				fmt.Fprintf(&b, "[%v]:", a)
			} else {
				fmt.Fprintf(&b, "%v:", a)
			}
		default:
			b.WriteByte(',')
		}
		b.WriteString(r.String())
		n, prev = n+1, a
	}
	return b.String()
}
