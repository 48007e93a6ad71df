package deterministic

import (
	"iter"
	"net/netip"
)

// Map is a deterministic map. It never changes, so it is safe for concurrent
// use. Its size does not depend on the number of subscribers.
type Map struct {
	cfg Config
}

// New builds the map that cfg describes. All faults are reported together,
// joined; each is a *FieldError or an *OverlapError.
func New(cfg Config) (*Map, error) { return nil, nil }

// Config returns the configuration with all defaults filled in. New of the
// result gives an equal map.
func (m *Map) Config() Config { return m.cfg }

// Name returns the name of the map.
func (m *Map) Name() string { return m.cfg.Name }

// Paired reports whether a subscriber has all its ports on one external address
// (RFC 6888 REQ-2). RoundRobin and Interlaced over more than one address are not.
func (m *Map) Paired() bool { return false }

// Forward returns the external address and ports of the subscriber that the
// internal address belongs to, or ErrNotSubscriber.
func (m *Map) Forward(internal netip.Addr) (Ports, error) { return Ports{}, nil }

// Reverse returns the subscriber that has the external port: a full-length
// prefix for one address, else a prefix of SubscriberBits. Else it refuses:
// ErrNotInPool, ErrReserved, ErrDynamic or ErrUnused.
func (m *Map) Reverse(external netip.Addr, port uint16) (netip.Prefix, error) {
	return netip.Prefix{}, nil
}

// Subscribers returns the number of subscribers.
func (m *Map) Subscribers() uint64 { return 0 }

// Subscriber returns the subscriber with number i, from 0 to Subscribers()-1.
func (m *Map) Subscriber(i uint64) netip.Prefix { return netip.Prefix{} }

// Number returns the number of the subscriber that the address belongs to.
func (m *Map) Number(internal netip.Addr) (uint64, error) { return 0, nil }

// Externals returns the number of external addresses.
func (m *Map) Externals() uint64 { return 0 }

// External returns the i-th external address.
func (m *Map) External(i uint64) netip.Addr { return netip.Addr{} }

// Ratio returns C, the number of subscribers per external address.
func (m *Map) Ratio() int { return 0 }

// PortsPerSubscriber returns P, the ports that each subscriber has at least.
func (m *Map) PortsPerSubscriber() int { return 0 }

// All yields every subscriber with its ports, in the order of their numbers.
func (m *Map) All() iter.Seq2[netip.Prefix, Ports] { return nil }

// Dynamic yields the dynamic range of one external address as runs of ports in
// rising order: where overflow blocks come from. It yields nothing for an
// address that is not in the pool.
func (m *Map) Dynamic(external netip.Addr) iter.Seq[PortRange] { return nil }

// Overflow returns how many dynamic blocks of size ports a subscriber with have
// deterministic ports may hold before it exceeds M: floor((M-have)/size). It is 0
// without a dynamic range, and the size of the dynamic range over size if M is 0.
func (m *Map) Overflow(have, size int) int { return 0 }

// Stats counts every port of the map's external addresses once.
type Stats struct {
	Subscribers uint64 // internal subscribers
	Capacity    uint64 // subscribers that the external addresses have slots for
	Externals   uint64 // external addresses
	MinPorts    int    // smallest set of a subscriber
	MaxPorts    int    // largest set of a subscriber

	Ports     uint64 // all ports: Externals * 65536
	Reserved  uint64 // reserved ports
	Assigned  uint64 // ports of subscribers
	Dynamic   uint64 // ports of the dynamic ranges
	Empty     uint64 // ports of slots that have no subscriber
	Remainder uint64 // ports that the division leaves to nobody
}

// Stats counts subscribers and ports. Reserved + Assigned + Dynamic + Empty +
// Remainder = Ports. It walks the 65536 ports of one address once.
func (m *Map) Stats() Stats { return Stats{} }
