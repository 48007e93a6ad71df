// Package keyed has the hash of the tables that strangers fill: whoever does not know its key cannot aim keys at one place of a
// table (ATK-17). It is no message authentication code.
package keyed

import "math/bits"

// Hash is a keyed hash of 16-byte keys: two 64x64->128 multiplications, each
// folded to 64 bits. It is immutable and safe for concurrent use.
type Hash struct{ k0, k1, k2 uint64 }

// New returns the hash of a secret key.
func New(key [24]byte) Hash {
	// The constants (digits of pi) keep the mixing good under a key of few bits, as tests use.
	return Hash{
		le64(key[0:]) ^ 0x243f6a8885a308d3, le64(key[8:]) ^ 0x13198a2e03707344, le64(key[16:]) ^ 0xa4093822299f31d1 | 1,
	}
}

// Sum returns the hash of a key, all bits of which are alike.
func (h *Hash) Sum(hi, lo uint64) uint64 {
	a, b := bits.Mul64(hi^h.k0, lo^h.k1)
	// The first product is zero when a factor is; mixing hi and lo in again
	// keeps such keys apart.
	a, b = bits.Mul64(a^b^bits.RotateLeft64(hi, 29)^lo, h.k2)
	return a ^ b
}

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}
