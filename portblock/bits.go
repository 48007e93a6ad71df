package portblock

import (
	"math/bits"
	"math/rand/v2"
)

// Words of bitmaps: bit i of a set is bit i%64 of word i/64.

const (
	lowBytes  = 0x0101010101010101
	highBytes = 0x8080808080808080
	diagonal  = 0x8040201008040201
)

// select64 returns the position of set bit number r (from 0) of w, which must
// have more than r set bits. It is the branch-free "broadword" selection of
// Vigna (2008): byte-wise prefix sums find the byte, and a second round over
// the eight spread bits of that byte finds the bit. A loop over set bits
// would take up to 63 steps and a mispredicted branch.
func select64(w uint64, r int) int {
	s := w - w>>1&0x5555555555555555
	s = s&0x3333333333333333 + s>>2&0x3333333333333333
	s = (s + s>>4) & 0x0f0f0f0f0f0f0f0f * lowBytes // byte i: set bits in bytes 0..i
	k := uint64(r) * lowBytes
	place := bits.OnesCount64(((k|highBytes)-s)&highBytes) * 8
	rank := uint64(r) - s<<8>>(place&63)&0xff
	b := w >> (place & 63) & 0xff
	t := (b*lowBytes&diagonal + 0x7f7f7f7f7f7f7f7f) >> 7 & lowBytes * lowBytes
	return place + bits.OnesCount64(((rank*lowBytes|highBytes)-t)&highBytes)
}

// selectBit returns the position of set bit number r of words, or -1 when
// there are not so many.
func selectBit(words []uint64, r int) int {
	for i, w := range words {
		n := bits.OnesCount64(w)
		if r < n {
			return i*64 + select64(w, r)
		}
		r -= n
	}
	return -1
}

func countBits(words []uint64) int {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(w)
	}
	return n
}

func getBit(words []uint64, i int) bool { return words[i>>6]>>(i&63)&1 != 0 }
func setBit(words []uint64, i int)      { words[i>>6] |= 1 << (i & 63) }
func clearBit(words []uint64, i int)    { words[i>>6] &^= 1 << (i & 63) }

// wordsFor returns the number of words for n bits.
func wordsFor(n int) int { return (n + 63) / 64 }

// uniform draws from 0..n-1 without bias (Lemire 2019), n > 0.
func uniform(rnd rand.Source, n uint64) uint64 {
	hi, lo := bits.Mul64(rnd.Uint64(), n)
	if lo < n {
		for t := -n % n; lo < t; {
			hi, lo = bits.Mul64(rnd.Uint64(), n)
		}
	}
	return hi
}
