package alloc

import (
	"iter"
	"math/bits"
	"net/netip"
	"slices"
)

// maxPositions is the number of positions that a uint32 tells apart.
const maxPositions = 1 << 32

// An index maps addresses to positions and back. Spans are only ever added, so
// that a position means one address for good.
type index struct {
	n     uint64   // positions given out
	place []block  // by base: position to address
	v4    []span4  // by first: address to position
	v6    []span6  // by first
	order []uint32 // indexes into place, by address

	// The span of v4 with the lowest addresses, copied to where Position4
	// finds it without a search. It is all of v4 in most pools.
	first4 uint32
	len4   uint64
	base4  uint32
}

type block struct {
	base uint64 // position of the first address
	r    Range
}

type span4 struct {
	first, base uint32
	n           uint64
}

type span6 struct {
	hi, lo uint64
	n      uint64
	base   uint32
}

// add gives positions to the ranges, in their order. The ranges do not overlap
// one another or what is there, and fit.
func (x *index) add(ranges []Range) {
	for _, r := range ranges {
		n := r.Len()
		x.order = append(x.order, uint32(len(x.place)))
		x.place = append(x.place, block{base: x.n, r: r})
		if r.first.Is4() {
			x.v4 = append(x.v4, span4{first: v4Value(r.first), base: uint32(x.n), n: n})
		} else {
			hi, lo := v6Value(r.first)
			x.v6 = append(x.v6, span6{hi: hi, lo: lo, base: uint32(x.n), n: n})
		}
		x.n += n
	}
	slices.SortFunc(x.v4, func(a, b span4) int { return compare(uint64(a.first), uint64(b.first)) })
	slices.SortFunc(x.v6, func(a, b span6) int {
		if c := compare(a.hi, b.hi); c != 0 {
			return c
		}
		return compare(a.lo, b.lo)
	})
	slices.SortFunc(x.order, func(a, b uint32) int { return x.place[a].r.first.Compare(x.place[b].r.first) })
	if len(x.v4) > 0 {
		x.first4, x.len4, x.base4 = x.v4[0].first, x.v4[0].n, x.v4[0].base
	}
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (x *index) position4(ip uint32) (uint32, bool) {
	if d := ip - x.first4; uint64(d) < x.len4 {
		return x.base4 + d, true
	}
	return x.search4(ip)
}

// search4 finds the last span that starts at or below the address.
func (x *index) search4(ip uint32) (uint32, bool) {
	lo, hi := 0, len(x.v4)
	for lo < hi {
		m := (lo + hi) / 2
		if x.v4[m].first <= ip {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return 0, false
	}
	s := &x.v4[lo-1]
	d := ip - s.first
	return s.base + d, uint64(d) < s.n
}

func (x *index) position6(ah, al uint64) (uint32, bool) {
	lo, hi := 0, len(x.v6)
	for lo < hi {
		m := (lo + hi) / 2
		if s := &x.v6[m]; s.hi < ah || s.hi == ah && s.lo <= al {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return 0, false
	}
	s := &x.v6[lo-1]
	dl, borrow := bits.Sub64(al, s.lo, 0)
	dh, _ := bits.Sub64(ah, s.hi, borrow)
	if dh != 0 || dl >= s.n {
		return 0, false
	}
	return s.base + uint32(dl), true
}

func (x *index) position(a netip.Addr) (uint32, bool) {
	a = a.Unmap()
	switch {
	case a.Is4():
		return x.position4(v4Value(a))
	case a.Is6() && a.Zone() == "":
		return x.position6(v6Value(a))
	}
	return 0, false
}

// block returns the block that holds a position below n.
func (x *index) block(pos uint64) *block {
	lo, hi := 0, len(x.place)
	for lo < hi {
		m := (lo + hi) / 2
		if x.place[m].base <= pos {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return &x.place[lo-1]
}

func (x *index) address(pos uint32) netip.Addr {
	if uint64(pos) >= x.n {
		return netip.Addr{}
	}
	b := x.block(uint64(pos))
	return b.r.offset(uint64(pos) - b.base)
}

// touching returns the blocks that share addresses with r, in the order of
// addresses.
func (x *index) touching(r Range) iter.Seq[*block] {
	return func(yield func(*block) bool) {
		lo, _ := slices.BinarySearchFunc(x.order, r.first, func(i uint32, a netip.Addr) int {
			return x.place[i].r.last.Compare(a)
		})
		for _, i := range x.order[lo:] {
			b := &x.place[i]
			if !b.r.Overlaps(r) || !yield(b) {
				return
			}
		}
	}
}

// runs returns the runs of positions that the addresses of r have, as first and
// end (excluded).
func (x *index) runs(r Range) iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		for b := range x.touching(r) {
			from, to := b.r.first, b.r.last
			if from.Less(r.first) {
				from = r.first
			}
			if r.last.Less(to) {
				to = r.last
			}
			if !yield(b.base+Range{b.r.first, from}.Len()-1, b.base+Range{b.r.first, to}.Len()) {
				return
			}
		}
	}
}

// missing returns the parts of r that have no positions.
func (x *index) missing(r Range) []Range {
	var out []Range
	for b := range x.touching(r) {
		if r.first.Less(b.r.first) {
			out = append(out, Range{r.first, b.r.first.Prev()})
		}
		if !b.r.last.Less(r.last) {
			return out
		}
		r.first = b.r.last.Next()
	}
	return append(out, r)
}
