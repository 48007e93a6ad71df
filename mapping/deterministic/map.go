package deterministic

import (
	"iter"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
)

// Map is a deterministic map. It never changes, so it is safe for concurrent
// use. Its size does not depend on the number of subscribers.
type Map struct {
	in, ext *keyspace
	plan    plan
	// group is the number of external addresses that share their subscribers,
	// 1 where every subscriber is paired with one address.
	group uint64
	// slots is the number of subscribers of a group.
	slots uint64
	perm  *permutation // places subscribers, Random only
	keys  []feistel    // permutes ports, Crypto only: one, or one an address
	cfg   Config
}

// Config returns the configuration with all defaults filled in. New of the
// result gives an equal map. The caller may change the result.
func (m *Map) Config() Config { return m.cfg.clone() }

// Name returns the name of the map.
func (m *Map) Name() string { return m.cfg.Name }

// Paired reports whether a subscriber has all its ports on one external address
// (RFC 6888 REQ-2). RoundRobin and Interlaced over more than one address are not.
func (m *Map) Paired() bool { return m.group == 1 }

// Forward returns the external address and ports of the subscriber that the
// internal address belongs to, or ErrNotSubscriber. It allocates nothing.
func (m *Map) Forward(internal netip.Addr) (Ports, error) {
	i, ok := m.in.find(internal.Unmap())
	if !ok {
		return Ports{}, ErrNotSubscriber
	}
	return m.ports(i), nil
}

// ports returns the ports of subscriber i.
func (m *Map) ports(i uint64) Ports {
	if m.perm != nil {
		i = m.perm.forward(i)
	}
	unit, slot := divmod(i, m.slots)
	return Ports{m: m, ext: unit * m.group, slot: uint32(slot)}
}

// Reverse returns the subscriber that has the external port: a full-length
// prefix for one address, else a prefix of SubscriberBits. Else it refuses:
// ErrNotInPool, ErrReserved, ErrDynamic, or an ErrUnused that is ErrRemainder or
// ErrEmptySlot. It allocates nothing.
func (m *Map) Reverse(external netip.Addr, port uint16) (netip.Prefix, error) {
	e, ok := m.ext.find(external.Unmap())
	if !ok {
		return netip.Prefix{}, ErrNotInPool
	}
	i, err := m.owner(e, port)
	if err != nil {
		return netip.Prefix{}, err
	}
	return m.Subscriber(i), nil
}

// owner returns the number of the subscriber that has the port of the external
// address at position e.
func (m *Map) owner(e uint64, port uint16) (uint64, error) {
	unit, slot, cl := m.locate(e, port)
	switch cl {
	case classReserved:
		return 0, ErrReserved
	case classDynamic:
		return 0, ErrDynamic
	case classLeft:
		return 0, ErrRemainder
	}
	i := unit*m.slots + uint64(slot)
	if m.perm != nil {
		i = m.perm.inverse(i)
	}
	if i >= m.in.total {
		return 0, ErrEmptySlot
	}
	return i, nil
}

// locate says what a port of the external address at position e is, and which
// slot of which group of addresses has it.
func (m *Map) locate(e uint64, port uint16) (unit uint64, slot uint32, cl class) {
	if m.keys != nil {
		if _, ok := m.plan.rank(port); !ok {
			return 0, 0, classReserved
		}
		port = m.key(e).decrypt(&m.plan.layout, port)
	}
	slot, cl = m.plan.locate(port)
	if m.group == 1 {
		return e, slot, cl
	}
	unit, column := divmod(e, m.group)
	if m.cfg.Algorithm == Interlaced && cl == classSlot {
		// In row n the subscriber of column c has the address (c+n) mod group.
		rank, _ := m.plan.rank(port)
		row := uint64(rank/m.plan.step) % m.group
		slot = slot*uint32(m.group) + uint32((column+m.group-row)%m.group)
	}
	return unit, slot, cl
}

// key returns the permutation of the ports of the address at position e. Maps of
// a History keep no tables for many addresses (see held) and compute them here.
func (m *Map) key(e uint64) *feistel {
	switch len(m.keys) {
	case 0:
		return newFeistel(addressKey(m.cfg.Key, m.ext.at(e)))
	case 1:
		return &m.keys[0]
	}
	return &m.keys[e]
}

// Subscribers returns the number of subscribers.
func (m *Map) Subscribers() uint64 { return m.in.total }

// Capacity returns the number of slots, which is the number of subscribers that
// the external addresses have room for: at least Subscribers.
func (m *Map) Capacity() uint64 { return m.ext.total / m.group * m.slots }

// Subscriber returns the subscriber with number i, from 0 to Subscribers()-1, or
// the invalid prefix if there is none.
func (m *Map) Subscriber(i uint64) netip.Prefix {
	if i >= m.in.total {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(m.in.at(i), m.in.bits())
}

// Number returns the number of the subscriber that the address belongs to, or
// ErrNotSubscriber.
func (m *Map) Number(internal netip.Addr) (uint64, error) {
	i, ok := m.in.find(internal.Unmap())
	if !ok {
		return 0, ErrNotSubscriber
	}
	return i, nil
}

// Externals returns the number of external addresses.
func (m *Map) Externals() uint64 { return m.ext.total }

// External returns the external address with number i, from 0 to Externals()-1,
// or the invalid address if there is none.
func (m *Map) External(i uint64) netip.Addr {
	if i >= m.ext.total {
		return netip.Addr{}
	}
	return m.ext.at(i)
}

// Ratio returns C, the number of subscribers per external address.
func (m *Map) Ratio() int { return m.cfg.SharingRatio }

// All yields every subscriber with its ports, in the order of their numbers.
func (m *Map) All() iter.Seq2[netip.Prefix, Ports] {
	return func(yield func(netip.Prefix, Ports) bool) {
		for i := range m.in.total {
			if !yield(m.Subscriber(i), m.ports(i)) {
				return
			}
		}
	}
}

// Dynamic yields the dynamic range of one external address as maximal runs of
// ports in rising order: where overflow blocks come from. It yields nothing for
// an address that is not in the pool. It walks all ports of the address.
func (m *Map) Dynamic(external netip.Addr) iter.Seq[portblock.Range] {
	e, ok := m.ext.find(external.Unmap())
	return func(yield func(portblock.Range) bool) {
		if ok {
			runs(func(port uint16) bool {
				_, _, cl := m.locate(e, port)
				return cl == classDynamic
			}, yield)
		}
	}
}

// Overflow returns how many dynamic blocks of size ports a subscriber with have
// deterministic ports may hold before it exceeds M: floor((M-have)/size) (RFC
// 7422 section 2, step 4), and never more than the dynamic range of an address
// holds. It is 0 without a dynamic range.
func (m *Map) Overflow(have, size int) int {
	if size <= 0 {
		return 0
	}
	room := int(m.dynamicPorts())
	if m.cfg.MaxPorts > 0 {
		room = min(room, m.cfg.MaxPorts-have)
	}
	return max(room, 0) / size
}

// runs yields the maximal runs of the ports for which has is true.
func runs(has func(uint16) bool, yield func(portblock.Range) bool) bool {
	first := -1
	for p := 0; p <= 65536; p++ {
		in := p < 65536 && has(uint16(p))
		switch {
		case in && first < 0:
			first = p
		case !in && first >= 0:
			if !yield(portblock.RangeOf(uint16(first), uint16(p-1))) {
				return false
			}
			first = -1
		}
	}
	return true
}

// divmod divides numbers that mostly fit 32 bits, where division is faster.
func divmod(x, y uint64) (quotient, remainder uint64) {
	if (x|y)>>32 == 0 {
		q := uint32(x) / uint32(y)
		return uint64(q), uint64(uint32(x) - q*uint32(y))
	}
	return x / y, x % y
}
