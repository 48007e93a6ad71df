package alloc

import (
	"math/bits"
	"net/netip"
)

// Choice says which open address Take picks.
type Choice uint8

const (
	// Any takes whichever open address is cheapest to find; nothing is promised.
	Any Choice = iota
	// Lowest takes the open address with the lowest position. With Shares above
	// 1 it fills an address before it goes to the next (the compact policy).
	Lowest
	// Random takes each open address with the same probability.
	Random
	// RoundRobin takes the next open address after the one it took last.
	RoundRobin
	// LeastLoaded takes an open address with the fewest leases: among those
	// without any a random one, else the one that has had its load longest.
	// Loads above 64 count as equal when they differ by less than an eighth.
	LeastLoaded

	choices // number of choices
)

// String returns the name of the choice.
func (c Choice) String() string {
	if c < choices {
		return [...]string{"any", "lowest", "random", "round-robin", "least-loaded"}[c]
	}
	return "unknown choice"
}

// maxLeases keeps the numbers of tickets within a uint32.
const maxLeases = 1<<32 - 1

// Take leases a share of an open address. A refusal is an *ExhaustedError and
// changes no address's state. An unknown choice counts as Any.
func (p *Pool) Take(how Choice) (Lease, error) {
	if p.free.total == 0 || p.leases >= maxLeases {
		return Lease{}, p.refuse(false)
	}
	return p.grant(p.choose(how)), nil
}

// choose returns an open position; there is one.
func (p *Pool) choose(how Choice) uint32 {
	switch how {
	case Random:
		return p.free.pick(p.below(p.free.total))
	case RoundRobin:
		pos := p.from(p.cursor)
		p.cursor = pos + 1 // Wraps to 0 after the last position there can be.
		return pos
	case LeastLoaded:
		return p.chooseLightest()
	}
	return uint32(p.free.next(0))
}

func (p *Pool) chooseLightest() uint32 {
	if p.limit == 1 {
		return p.free.pick(p.below(p.free.total))
	}
	if n := p.fresh.total; n > 0 {
		return p.fresh.pick(p.below(n))
	}
	i, _ := p.lightest() // Every open address is fresh or listed.
	return p.users.at(i).pos
}

// from returns the first open position at or after pos, going round.
func (p *Pool) from(pos uint32) uint32 {
	if v := p.free.next(pos); v >= 0 {
		return uint32(v)
	}
	return uint32(p.free.next(0))
}

// below returns a uniform random number below n, which is not 0 (Lemire's
// method: multiply, and draw again in the narrow zone that would be uneven).
func (p *Pool) below(n uint64) uint64 {
	hi, lo := bits.Mul64(p.random.Uint64(), n)
	if lo < n {
		for floor := -n % n; lo < floor; {
			hi, lo = bits.Mul64(p.random.Uint64(), n)
		}
	}
	return hi
}

// TakeAddress leases a share of the given address. A refusal is an
// *AddressError that wraps ErrNotInPool, ErrExcluded, ErrReserved, ErrDrained,
// ErrNoRoom or ErrInUse.
func (p *Pool) TakeAddress(addr netip.Addr) (Lease, error) {
	pos, ok := p.index.position(addr)
	if ok && p.free.has(pos) && p.leases < maxLeases {
		return p.grant(pos), nil
	}
	p.refusals.ByName++
	return Lease{}, p.addressError(addr, p.whyClosed(pos, ok))
}

// whyClosed names the first reason for which Take cannot give the position.
func (p *Pool) whyClosed(pos uint32, known bool) error {
	switch {
	case !known || p.removed.Contains(pos):
		return ErrNotInPool
	case p.excluded.Contains(pos):
		return ErrExcluded
	case p.reserved.Contains(pos):
		return ErrReserved
	case p.drained.Contains(pos):
		return ErrDrained
	case p.atLimit(pos):
		return ErrInUse
	case !p.room.has(pos):
		return ErrNoRoom
	}
	return ErrExhausted // No ticket is left for an open address.
}

// Spill leases a share of an address other than those at the held positions,
// for a subscriber whose address is full. When the configuration does not
// allow it, it refuses with an *ExhaustedError that wraps ErrPaired. A
// subscriber holds few addresses: the cost grows with their number.
func (p *Pool) Spill(how Choice, held ...uint32) (Lease, error) {
	if !p.spill {
		return Lease{}, p.refuse(true)
	}
	// The held addresses are out of sight while the choice is made. That keeps
	// every choice exact: random stays uniform over the others.
	for _, h := range held {
		if p.free.has(h) {
			p.hide(h)
		}
	}
	pos, found := uint32(0), p.free.total > 0 && p.leases < maxLeases
	if found {
		pos = p.choose(how)
	}
	for _, h := range held {
		if p.member(h) {
			p.settle(h)
		}
	}
	if !found {
		return Lease{}, p.refuse(false)
	}
	return p.grant(pos), nil
}

// hide takes an open position out of everything that choose looks at.
func (p *Pool) hide(pos uint32) {
	p.free.remove(pos)
	if p.limit == 1 || p.fresh.remove(pos) {
		p.idle.add(pos) // It stays whole.
	} else {
		p.unlist(p.byPos[pos])
	}
}
