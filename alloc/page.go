package alloc

import "math/bits"

// A page is the working form of pageSize neighbouring positions of a set: one
// bit each, and a count for every 512 of them, so that the member of a given
// rank is found by adding sixteen counts and looking at eight words. It is
// 1 KiB and has no pointers.
const (
	pageShift = 13
	pageSize  = 1 << pageShift
	pageMask  = pageSize - 1
	pageWords = pageSize / 64

	subShift = 9
	subCount = pageSize >> subShift
	subWords = pageWords / subCount
)

type page struct {
	words [pageWords]uint64
	sub   [subCount]uint16
}

// fill makes the first n bits of the page equal to on and clears the others.
func (g *page) fill(n int, on bool) {
	*g = page{}
	switch {
	case on && n == pageSize: // As pages are opened: worth a short way.
		for i := range g.words {
			g.words[i] = ^uint64(0)
		}
		for i := range g.sub {
			g.sub[i] = 1 << subShift
		}
	case on:
		g.setRange(0, n, true)
		g.recount()
	}
}

// setRange makes bits from first to end (excluded) equal to on and leaves the
// counts stale.
func (g *page) setRange(first, end int, on bool) {
	for i := first; i < end; {
		w, b := i/64, i%64
		n := min(64-b, end-i)
		mask := (^uint64(0) >> (64 - n)) << b
		if on {
			g.words[w] |= mask
		} else {
			g.words[w] &^= mask
		}
		i += n
	}
}

// recount derives the counts from the bits and returns their sum.
func (g *page) recount() uint16 {
	total := uint16(0)
	for s := range g.sub {
		n := 0
		for _, w := range g.words[s*subWords : (s+1)*subWords] {
			n += bits.OnesCount64(w)
		}
		g.sub[s] = uint16(n)
		total += uint16(n)
	}
	return total
}

func (g *page) has(i uint32) bool { return g.words[i/64]>>(i%64)&1 != 0 }

// next returns the lowest member from bit i on, or -1.
func (g *page) next(i uint32) int { return g.scan(i, 0) }

// nextAbsent returns the lowest bit from i on that is not set, or -1.
func (g *page) nextAbsent(i uint32) int { return g.scan(i, ^uint64(0)) }

// scan looks from bit i on for a bit that differs from those of flip.
func (g *page) scan(i uint32, flip uint64) int {
	if i >= pageSize {
		return -1
	}
	w := i / 64
	x := (g.words[w] ^ flip) >> (i % 64)
	if x != 0 {
		return int(i) + bits.TrailingZeros64(x)
	}
	for w++; w < pageWords; w++ {
		if x = g.words[w] ^ flip; x != 0 {
			return int(w)*64 + bits.TrailingZeros64(x)
		}
	}
	return -1
}

// pick returns the member of the given rank, counted from 0. The rank is
// below the number of members.
func (g *page) pick(rank uint32) uint32 {
	s := 0
	for s < subCount-1 && rank >= uint32(g.sub[s]) {
		rank -= uint32(g.sub[s])
		s++
	}
	w := s * subWords
	for {
		n := uint32(bits.OnesCount64(g.words[w]))
		if rank < n {
			return uint32(w)*64 + nthBit(g.words[w], rank)
		}
		rank -= n
		w++
	}
}

// nthBit returns the index of the set bit of x with the given rank, which is
// below the number of set bits. It adds up the bits of all bytes at once,
// compares all eight sums with the rank at once, and walks the bits of the one
// byte that is left.
func nthBit(x uint64, rank uint32) uint32 {
	const ones = 0x0101010101010101
	const tops = 0x8080808080808080
	n := x - x>>1&0x5555555555555555
	n = n&0x3333333333333333 + n>>2&0x3333333333333333
	n = (n + n>>4) & 0x0f0f0f0f0f0f0f0f
	sums := n * ones                                     // Byte k: set bits in bytes 0 to k; at most 64.
	passed := ((uint64(rank)*ones | tops) - sums) & tops // Top bit of byte k: its sum is at most rank.
	shift := uint32(bits.OnesCount64(passed)) * 8
	rank -= uint32(sums << 8 >> shift & 0xff)
	x >>= shift
	for ; rank > 0; rank-- {
		x &= x - 1
	}
	return shift + uint32(bits.TrailingZeros64(x))
}
