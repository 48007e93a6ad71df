package flowmask

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// Hasher hashes flows and keys under a 128-bit key. It is a value and safe for concurrent
// use. Use NewHasher: the zero Hasher mixes badly.
//
// The construction is NH (Black et al., UMAC, CRYPTO 1999) over the words of the flow,
// padded to six, into 128 bits:
//
//	(a+k0)(w+k1) + (b+k2)(c+k3) + (d+k4)(0+k5)   mod 2^128
//
// whose halves, each XORed with a further key word, are multiplied once more and folded by
// XOR to 64 bits. The key words come from ChaCha8 (C2SP chacha8rand) seeded with the key.
// For flows chosen without knowledge of the key, two different ones meet in the 128-bit sum
// with a probability of at most 2^-64: that is NH's theorem. That the folding spreads the
// sum well over the 64 bits is not proven but tested. It is no message authentication code:
// a stranger who sees hash values, or can time single look-ups finely for long, may learn
// about the key. The values are the same in every process and version.
type Hasher struct {
	k [8]uint64
	// restHi and restLo are the sum of the second and third product for b = c = d = 0:
	// IPv4.
	restHi, restLo uint64
}

// Domains separate the key words of hashes from those of a Spread with the same key.
const (
	domainHash   = "flowmask-hash-v1"
	domainSpread = "flowmask-sprd-v1"
)

// NewHasher returns the hasher of a 128-bit key. The key must be random and secret where
// flows come from strangers; the zero key is legal, for tests and for results that are to
// be pinned.
func NewHasher(key [16]byte) Hasher { return newHasher(key, domainHash) }

// newHasher expands the key.
func newHasher(key [16]byte, domain string) (h Hasher) {
	var seed [32]byte
	copy(seed[:16], key[:])
	copy(seed[16:], domain)
	src := rand.NewChaCha8(seed)
	for i := range h.k {
		h.k[i] = src.Uint64()
	}
	hi, lo := bits.Mul64(h.k[2], h.k[3])
	hi2, lo2 := bits.Mul64(h.k[4], h.k[5])
	var carry uint64
	h.restLo, carry = bits.Add64(lo, lo2, 0)
	h.restHi, _ = bits.Add64(hi, hi2, carry)
	return h
}

// Flow hashes all of a flow, what is said of its ports included.
func (h *Hasher) Flow(f Flow) uint64 {
	if f.w&flagSix == 0 {
		return h.two(f.a, f.w)
	}
	return h.five(f.a, f.b, f.c, f.d, f.w)
}

// Symmetric hashes a flow so that both directions get the same value: Symmetric(f) ==
// Symmetric(f.Reverse()). It is the hash of that one of the two whose source endpoint
// orders first, by address, port and flags.
func (h *Hasher) Symmetric(f Flow) uint64 {
	if f.w&flagSix != 0 {
		return h.symmetricSix(f.a, f.b, f.c, f.d, f.w)
	}
	return h.symmetricFour(f.a, f.w)
}

// Which direction a packet has cannot be foretold. Therefore the two functions below swap
// without a branch: there is nothing to mispredict.

// symmetricFour is Symmetric for IPv4.
func (h *Hasher) symmetricFour(a, w uint64) uint64 {
	src, dst := portsOf(w)
	src |= a >> 32 << 18
	dst |= a & 0xffffffff << 18
	_, above := bits.Sub64(dst, src, 0)
	swap := -above // all ones if the source is above
	return h.two(a^(a^bits.RotateLeft64(a, 32))&swap, w^(w^reverseWord(w))&swap)
}

// symmetricSix is Symmetric for IPv6.
func (h *Hasher) symmetricSix(a, b, c, d, w uint64) uint64 {
	src, dst := portsOf(w)
	_, above := bits.Sub64(dst, src, 0)
	_, above = bits.Sub64(d, b, above)
	_, above = bits.Sub64(c, a, above)
	swap := -above
	x, y := (a^c)&swap, (b^d)&swap
	return h.five(a^x, b^y, c^x, d^y, w^(w^reverseWord(w))&swap)
}

// portsOf returns the ports with what is said of them, as numbers of 18 bits.
func portsOf(w uint64) (src, dst uint64) {
	src = w>>srcPortShift&0xffff<<2 | w&flagSrcNone>>58 | w&flagSrcUnknown>>59
	dst = w&0xffff<<2 | w&flagDstNone>>59 | w&flagDstUnknown>>60
	return src, dst
}

// Key hashes a masked key.
func (h *Hasher) Key(k Key) uint64 {
	if k.b|k.c|k.d == 0 {
		return h.two(k.a, k.w)
	}
	return h.five(k.a, k.b, k.c, k.d, k.w)
}

// two hashes the words of IPv4; it equals five with b, c and d zero.
func (h *Hasher) two(a, w uint64) uint64 {
	hi, lo := bits.Mul64(a+h.k[0], w+h.k[1])
	lo, carry := bits.Add64(lo, h.restLo, 0)
	hi, _ = bits.Add64(hi, h.restHi, carry)
	hi, lo = bits.Mul64(hi^h.k[6], lo^h.k[7])
	return hi ^ lo
}

// five hashes all words.
func (h *Hasher) five(a, b, c, d, w uint64) uint64 {
	hi, lo := bits.Mul64(a+h.k[0], w+h.k[1])
	hi2, lo2 := bits.Mul64(b+h.k[2], c+h.k[3])
	lo, carry := bits.Add64(lo, lo2, 0)
	hi, _ = bits.Add64(hi, hi2, carry)
	hi2, lo2 = bits.Mul64(d+h.k[4], h.k[5])
	lo, carry = bits.Add64(lo, lo2, 0)
	hi, _ = bits.Add64(hi, hi2, carry)
	hi, lo = bits.Mul64(hi^h.k[6], lo^h.k[7])
	return hi ^ lo
}

// text hashes a name, eight bytes at a time, the length first.
func (h *Hasher) text(s string) uint64 {
	v := h.two(uint64(len(s)), h.k[0])
	for len(s) > 0 {
		var chunk [8]byte
		n := copy(chunk[:], s)
		s = s[n:]
		v = h.two(v, binary.LittleEndian.Uint64(chunk[:]))
	}
	return v
}
