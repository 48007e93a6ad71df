package deterministic

import (
	"crypto/aes"
	"encoding/binary"
	"math"
	"math/bits"
)

// permutation is a keyed permutation of 0..n-1 with an inverse, n up to 2^48. It
// is an alternating Feistel network over pairs (left, right) with left < a and
// right < b, where a*b is the smallest such product not below n; a result of n
// or above goes through again (cycle walking), which happens less than once in
// sqrt(n) times.
//
// It hides the order of subscribers from who has not seen many pairs of inside
// and outside; it is no cipher.
type permutation struct {
	n, a, b uint64
	keys    [permRounds][2]uint64
}

const permRounds = 4

// newPermutation derives the round keys from key: the two halves of
// AES-128(key, round in the last byte).
func newPermutation(key [16]byte, n uint64) *permutation {
	p := &permutation{n: n}
	p.a = uint64(math.Sqrt(float64(n)))
	for p.a*p.a < n { // also rounds up
		p.a++
	}
	p.b = (n + p.a - 1) / p.a
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // broken invariant: a key of 16 bytes is always legal
	}
	for i := range p.keys {
		var in, out [16]byte
		in[15] = byte(i)
		c.Encrypt(out[:], in[:])
		p.keys[i] = [2]uint64{binary.BigEndian.Uint64(out[:8]), binary.BigEndian.Uint64(out[8:])}
	}
	return p
}

// round returns the keyed value of round i for the half v, below mod.
func (p *permutation) round(i int, v, mod uint64) uint64 {
	h, l := bits.Mul64(v^p.keys[i][0], p.keys[i][1]|1)
	h, _ = bits.Mul64(h^l, mod)
	return h
}

// forward returns the image of x < n.
func (p *permutation) forward(x uint64) uint64 {
	for {
		l, r := divmod(x, p.b)
		for i := 0; i < permRounds; i += 2 {
			if l += p.round(i, r, p.a); l >= p.a {
				l -= p.a
			}
			if r += p.round(i+1, l, p.b); r >= p.b {
				r -= p.b
			}
		}
		if x = l*p.b + r; x < p.n {
			return x
		}
	}
}

// inverse returns the x < n whose image is y < n.
func (p *permutation) inverse(y uint64) uint64 {
	for {
		l, r := divmod(y, p.b)
		for i := permRounds - 2; i >= 0; i -= 2 {
			if d := p.round(i+1, l, p.b); r >= d {
				r -= d
			} else {
				r += p.b - d
			}
			if d := p.round(i, r, p.a); l >= d {
				l -= d
			} else {
				l += p.a - d
			}
		}
		if y = l*p.b + r; y < p.n {
			return y
		}
	}
}
