package deterministic

import "math/bits"

// maskBits moves bits between a port and its dense form under a mask: compress
// gathers the bits under the mask at the low end, expand is the reverse. The
// move masks are those of a parallel suffix compress (Hacker's Delight, 7-4), so
// both cost four steps for any mask.
type maskBits struct {
	mask uint16
	move [4]uint16
}

func newMaskBits(mask uint16) maskBits {
	b := maskBits{mask: mask}
	m, mk := mask, ^mask<<1
	for i := range b.move {
		mp := mk ^ mk<<1
		mp ^= mp << 2
		mp ^= mp << 4
		mp ^= mp << 8
		mv := mp & m
		b.move[i] = mv
		m = m ^ mv | mv>>(1<<i)
		mk &^= mp
	}
	return b
}

func (b *maskBits) compress(x uint16) uint16 {
	x &= b.mask
	for i, mv := range b.move {
		t := x & mv
		x = x ^ t | t>>(1<<i)
	}
	return x
}

func (b *maskBits) expand(x uint16) uint16 {
	for i := len(b.move) - 1; i >= 0; i-- {
		mv := b.move[i]
		x = x&^mv | x<<(1<<i)&mv
	}
	return x & b.mask
}

// below returns how many ports under v (0 to 65536) belong to the set with
// value prv under the mask: members are counted by their free bits, down to the
// highest significant bit in which v leaves the set.
func below(free *maskBits, prv uint16, v uint32) uint32 {
	count := uint32(1) << bits.OnesCount16(free.mask)
	if v >= 65536 {
		return count
	}
	port := uint16(v)
	rank := uint32(free.compress(port))
	diff := (port ^ prv) &^ free.mask
	if diff == 0 {
		return rank
	}
	b := bits.Len16(diff) - 1
	low := bits.OnesCount16(free.mask & (1<<b - 1))
	rank >>= low
	if port>>b&1 == 1 {
		rank++
	}
	return rank << low
}
