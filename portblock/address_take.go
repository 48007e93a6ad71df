package portblock

import (
	"math/bits"
	"time"
)

// TakeBlock leases a free block of the first-block size to owner:
// free -> heating. It fails with ErrNoBlock and then changes nothing.
func (a *Address) TakeBlock(owner uint64, now time.Time) (Block, error) {
	return a.TakeBlockOf(owner, Want{}, now)
}

// TakeBlockOf is like TakeBlock for the kind of block that want describes;
// Holding.Want says which one a subscriber needs next. It fails with
// ErrNoBlock or ErrInvalid (want.Spaces names a space that does not exist).
// Where the larger size is refused the smaller one may still be had: a Holding
// takes blocks of either size at any time.
func (a *Address) TakeBlockOf(owner uint64, want Want, now time.Time) (Block, error) {
	if want.Spaces&^AllSpaces != 0 {
		return Block{}, ErrInvalid
	}
	a.advance(now)
	u, ok := a.choose(want)
	if !ok {
		a.refused[refusedNoBlock]++
		return Block{}, ErrNoBlock
	}
	return a.lease(u, want.Further, owner), nil
}

// choose picks a free unit, or the first unit of a free group.
func (a *Address) choose(want Want) (int, bool) {
	l := a.layout
	if l.big(want.Further) {
		g, ok := a.pick(a.whole, int(a.nwhole), want, true)
		return g * l.group, ok
	}
	if l.group > 1 {
		if u, ok := a.pick(a.frag, int(a.nfree)-int(a.nwhole)*l.group, want, false); ok {
			return u, true
		}
	}
	return a.pick(a.free, int(a.nfree), want, false)
}

// pick draws one of the n set bits of words that has the ports that want asks
// for.
func (a *Address) pick(words []uint64, n int, want Want, groups bool) (int, bool) {
	if n == 0 {
		return 0, false
	}
	l, spaces := a.layout, want.Spaces
	if spaces&^l.cfg.Spaces != 0 {
		return 0, false // a space that is not served has no usable port
	}
	usable := a.reserved.usableFor(want)
	if spaces != 0 && (usable != &a.reserved.usable || !a.reserved.uniform) {
		var buf [MaxBlockSize / 64]uint64
		n = 0
		for i, w := range words {
			for w2 := w; w2 != 0; w2 &= w2 - 1 {
				b := bits.TrailingZeros64(w2)
				if !a.suits(i*64+b, spaces, usable, groups) {
					w &^= 1 << b
				}
			}
			buf[i] = w
			n += bits.OnesCount64(w)
		}
		if n == 0 {
			return 0, false
		}
		words = buf[:len(words)]
	}
	r := 0
	if l.cfg.Order == OrderKeyed {
		// The high half of the product maps a 64-bit value to 0..n-1; its
		// bias is below n/2^64.
		hi, _ := bits.Mul64(sip(l.key, uint64(a.index)<<32|uint64(a.gen+1)), uint64(n))
		r = int(hi)
	}
	return selectBit(words, r), true
}

// suits says whether unit (or group) i has a usable port in all the spaces.
func (a *Address) suits(i int, spaces SpaceSet, usable *unitSets, groups bool) bool {
	n := 1
	if groups {
		n = a.layout.group
		i *= n
	}
	for s := range Space(NumSpaces) {
		if !spaces.Has(s) {
			continue
		}
		found := false
		for u := i; u < i+n && !found; u++ {
			found = getBit(usable[s], u)
		}
		if !found {
			return false
		}
	}
	return true
}

// lease makes a free block heating.
func (a *Address) lease(u int, further bool, owner uint64) Block {
	return a.leaseSize(u, a.layout.big(further), owner)
}

func (a *Address) leaseSize(u int, big bool, owner uint64) Block {
	number := uint16(u)
	if big {
		number |= bigBlock
	}
	n := a.layout.blockUnits(number)
	for v := u; v < u+n; v++ {
		clearBit(a.free, v)
	}
	a.nfree -= uint16(n)
	a.heating += uint16(n)
	if a.layout.group > 1 {
		a.regroup(u / a.layout.group)
	}
	a.gen++
	if a.gen == 0 {
		a.gen = 1
	}
	a.add(record{owner: owner, since: a.now, gen: a.gen, number: number, next: noUnit})
	return Block{address: a.index, gen: a.gen, number: number, pool: a.layout.cfg.Pool}
}

// TakeBlockAt leases the block that holds port, by name. It fails with
// ErrNotInRange, ErrReserved (in the wanted spaces, or in all), ErrInUse,
// ErrCooling or ErrInvalid and then changes nothing.
func (a *Address) TakeBlockAt(port uint16, owner uint64, want Want, now time.Time) (Block, error) {
	if want.Spaces&^AllSpaces != 0 {
		return Block{}, ErrInvalid
	}
	a.advance(now)
	l := a.layout
	u, ok := l.Locate(port)
	if !ok {
		return Block{}, ErrNotInRange
	}
	if a.reservedAt(port, want.Spaces) {
		a.refused[refusedReserved]++
		return Block{}, ErrReserved
	}
	n := 1
	if l.big(want.Further) {
		n = l.group
		u &^= n - 1
	}
	cooling := false
	for v := u; v < u+n; v++ {
		switch i, state := a.find(v); {
		case state == Heating:
			a.refused[refusedInUse]++
			return Block{}, ErrInUse
		case state == Cooling:
			cooling = true
		case i < 0 && !getBit(a.free, v):
			a.refused[refusedReserved]++
			return Block{}, ErrReserved
		}
	}
	if cooling {
		a.refused[refusedCooling]++
		return Block{}, ErrCooling
	}
	return a.lease(u, want.Further, owner), nil
}

// reservedAt says whether the port is reserved in one of the spaces; with no
// spaces given, in all of them.
func (a *Address) reservedAt(port uint16, spaces SpaceSet) bool {
	all := true
	for s := range Space(NumSpaces) {
		r := a.reserved.Contains(s, port)
		if r && spaces.Has(s) {
			return true
		}
		all = all && r
	}
	return all
}
