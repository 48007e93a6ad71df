package portblock

import (
	"fmt"
	"iter"
	"math/bits"
	"strconv"
)

// Set is a set of ports in one of the shapes of Scheme: a small comparable
// value that describes itself in records. The zero Set is empty. Ports are
// numbered in rising order, but for Crypto, where they follow the numbers
// that are encrypted.
//
// A Set is immutable and safe for concurrent use.
type Set struct {
	cipher *Cipher
	// n is the number of ports, 0 in the zero Set only.
	n uint32
	// run is the length of each run of ports, step the distance of their
	// starts; regular shapes only (all but Crypto, and MaskValue with a mask
	// whose bits are not side by side).
	run, step uint32
	first     uint16
	mask      uint16 // MaskValue
	param     uint16 // value, PSID or starting point
	a, k      uint8  // PSID
	scheme    Scheme
}

// ContiguousSet returns the ports of a range.
func ContiguousSet(r Range) Set {
	return Set{scheme: Contiguous, first: r.first, n: r.n, run: r.n}
}

// PSIDSet returns the port set of RFC 7597 section 5.1 for offset length a,
// PSID length k and a PSID. For a > 0 the ports whose top a bits are zero are
// in no set. It fails when a + k > 16 or the PSID has more than k bits.
func PSIDSet(a, k uint8, psid uint16) (Set, error) {
	if int(a)+int(k) > 16 || uint32(psid)>>k != 0 {
		return Set{}, fmt.Errorf("portblock: PSIDSet(a=%d, k=%d, psid=%d): want a+k <= 16 and psid below 2^k: %w", a, k, psid, ErrInvalid)
	}
	m := 16 - a - k
	s := Set{scheme: PSID, a: a, k: k, param: psid, run: 1 << m, step: 1 << (16 - a), first: psid << m, n: 1 << m}
	if a > 0 {
		s.n = (1<<a - 1) << m
		s.first += 1 << (16 - a)
	} else {
		s.step = 0
	}
	return s, nil
}

// MaskSet returns the ports p with p AND mask = value (RFC 6431 section 2.1).
// It fails when value has a bit that is not in mask.
func MaskSet(value, mask uint16) (Set, error) {
	if value&^mask != 0 {
		return Set{}, fmt.Errorf("portblock: MaskSet(%#x, %#x): value has bits outside the mask: %w", value, mask, ErrInvalid)
	}
	s := Set{scheme: MaskValue, mask: mask, param: value, first: value, n: 1 << bits.OnesCount16(^mask)}
	// One run of significant bits gives runs of equal length at equal distances.
	low := bits.TrailingZeros16(mask)
	switch top := bits.Len16(mask); {
	case mask == 0:
		s.run = 1 << 16
	case bits.OnesCount16(mask) == top-low:
		s.run, s.step = 1<<low, 1<<top
		if top == 16 {
			s.step = 0
		}
	}
	return s, nil
}

// GMASet returns the set of RFC 7597 appendix B for sharing ratio r, runs of
// m ports, ports from low on, and a PSID: r*m*i + m*psid + j for i from
// ceil(low/(r*m)) to 65536/(r*m)-1. It fails when r or m is 0, r*m is above
// 65536, psid is not below r, or no i is left.
func GMASet(r, m int, low uint16, psid uint16) (Set, error) {
	if r < 1 || m < 1 || r > 1<<16 || m > 1<<16 || r*m > 1<<16 || int(psid) >= r {
		return Set{}, fmt.Errorf("portblock: GMASet(%d, %d, %d, %d): want r, m >= 1, r*m <= 65536, psid < r: %w", r, m, low, psid, ErrInvalid)
	}
	i0, i1 := (int(low)+r*m-1)/(r*m), 65536/(r*m)
	if i0 >= i1 {
		return Set{}, fmt.Errorf("portblock: GMASet(%d, %d, %d, %d): no port left: %w", r, m, low, psid, ErrInvalid)
	}
	s := Set{
		scheme: GMA, param: psid, run: uint32(m), step: uint32(r * m),
		first: uint16(i0*r*m + m*int(psid)), n: uint32((i1 - i0) * m),
	}
	if i1-i0 == 1 {
		s.step = 0
	}
	return s, nil
}

// CryptoSet returns the ports E(K, start) .. E(K, start+n-1) of RFC 6431
// section 2.2.1. It fails when c is nil or the numbers leave 1024..65535.
func CryptoSet(c *Cipher, start uint16, n int) (Set, error) {
	if c == nil || n < 1 || start < cryptoLow || int(start)+n > 1<<16 {
		return Set{}, fmt.Errorf("portblock: CryptoSet(%d, %d): want a cipher and 1024 <= start <= 65536-n: %w", start, n, ErrInvalid)
	}
	return Set{scheme: Crypto, cipher: c, param: start, n: uint32(n)}, nil
}

// Scheme returns the shape of the set.
func (s Set) Scheme() Scheme { return s.scheme }

// IsValid says whether the set holds a port.
func (s Set) IsValid() bool { return s.n != 0 }

// Len returns the number of ports.
func (s Set) Len() int { return int(s.n) }

// Param returns what tells the set from its sisters: the PSID, the Port Range
// Value or the starting point; 0 for a contiguous set.
func (s Set) Param() uint16 { return s.param }

// First returns the lowest port.
func (s Set) First() uint16 {
	if s.scheme == Crypto {
		lo, _ := s.cryptoBounds()
		return lo
	}
	return s.first
}

// Last returns the highest port.
func (s Set) Last() uint16 {
	if s.scheme == Crypto {
		_, hi := s.cryptoBounds()
		return hi
	}
	p, _ := s.At(int(s.n) - 1)
	return p
}

func (s Set) cryptoBounds() (lo, hi uint16) {
	lo = 65535
	for i := range int(s.n) {
		p, _ := s.At(i)
		lo, hi = min(lo, p), max(hi, p)
	}
	return lo, hi
}

// Step returns the distance between the starts of a regular set's runs. It is
// 0 for a contiguous set and for sets that Run and Step do not describe.
func (s Set) Step() int { return int(s.step) }

// Run returns the number of contiguous ports in each run of a regular set, 0
// for a set that is not regular: such a set is described by its parameters.
func (s Set) Run() int { return int(s.run) }

// Contains says whether the port is in the set.
func (s Set) Contains(port uint16) bool {
	_, ok := s.Index(port)
	return ok
}

// Index returns the number of the port in the set.
func (s Set) Index(port uint16) (int, bool) {
	switch {
	case s.n == 0:
		return 0, false
	case s.scheme == Crypto:
		x, ok := s.cipher.Decrypt(port)
		d := uint32(x) - uint32(s.param)
		return int(d), ok && d < s.n
	case s.scheme == MaskValue:
		return int(extract(port, ^s.mask)), port&s.mask == s.param
	}
	d := uint32(port) - uint32(s.first)
	if port < s.first {
		return 0, false
	}
	if s.step == 0 {
		return int(d), d < s.n
	}
	i := d/s.step*s.run + d%s.step
	return int(i), d%s.step < s.run && i < s.n
}

// At returns port number i of the set, and false unless 0 <= i < Len.
func (s Set) At(i int) (uint16, bool) {
	if i < 0 || i >= int(s.n) {
		return 0, false
	}
	switch s.scheme {
	case Crypto:
		return s.cipher.Encrypt(s.param + uint16(i))
	case MaskValue:
		return s.param | deposit(uint16(i), ^s.mask), true
	}
	return uint16(uint32(s.first) + uint32(i)/s.run*s.step + uint32(i)%s.run), true
}

// Ranges yields the maximal runs of contiguous ports, rising. For a Crypto
// set it first sorts the ports into a bitmap of 8 KiB.
func (s Set) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		if s.scheme == Crypto {
			words := make([]uint64, 1024)
			for i := range int(s.n) {
				p, _ := s.At(i)
				setBit(words, int(p))
			}
			yieldRuns(words, yield)
			return
		}
		var cur Range
		for i := 0; i < int(s.n); {
			p, _ := s.At(i)
			n := max(s.run, 1)
			if cur.n != 0 && uint32(cur.first)+cur.n == uint32(p) {
				cur.n += n
			} else {
				if cur.n != 0 && !yield(cur) {
					return
				}
				cur = Range{first: p, n: n}
			}
			i += int(n)
		}
		if cur.n != 0 {
			yield(cur)
		}
	}
}

// yieldRuns yields the runs of set bits of a bitmap over all ports.
func yieldRuns(words []uint64, yield func(Range) bool) {
	for p := 0; p < 1<<16; {
		if words[p>>6]>>(p&63) == 0 {
			p = p&^63 + 64
			continue
		}
		p += bits.TrailingZeros64(words[p>>6] >> (p & 63))
		first := p
		for p < 1<<16 && getBit(words, p) {
			p++
		}
		if !yield(Range{first: uint16(first), n: uint32(p - first)}) {
			return
		}
	}
}

// AppendTo appends the text form: "1024-1279" for a contiguous set,
// "psid=52/6/8" (PSID, a, k), "mask=0x400/0x1400" (value, mask),
// "gma=1+4/240x268" (PSID, run, step, ports), "crypto=1024+256" (start,
// number of ports; never the key), "invalid" for the zero Set.
func (s Set) AppendTo(dst []byte) []byte {
	if s.n == 0 {
		return append(dst, "invalid"...)
	}
	num := func(prefix string, v uint64, base int) {
		dst = append(dst, prefix...)
		dst = strconv.AppendUint(dst, v, base)
	}
	switch s.scheme {
	case PSID:
		num("psid=", uint64(s.param), 10)
		num("/", uint64(s.a), 10)
		num("/", uint64(s.k), 10)
	case MaskValue:
		num("mask=0x", uint64(s.param), 16)
		num("/0x", uint64(s.mask), 16)
	case GMA:
		num("gma=", uint64(s.param), 10)
		num("+", uint64(s.run), 10)
		num("/", uint64(s.step), 10)
		num("x", uint64(s.n), 10)
	case Crypto:
		num("crypto=", uint64(s.param), 10)
		num("+", uint64(s.n), 10)
	default:
		dst = Range{first: s.first, n: s.n}.AppendTo(dst)
	}
	return dst
}

// String returns the text form of AppendTo.
func (s Set) String() string { return string(s.AppendTo(nil)) }

// extract gathers the bits of p that are set in mask into the low bits.
func extract(p, mask uint16) uint16 {
	var out uint16
	for i := 0; mask != 0; i++ {
		b := bits.TrailingZeros16(mask)
		out |= p >> b & 1 << i
		mask &= mask - 1
	}
	return out
}

// deposit scatters the low bits of v to the bits that are set in mask.
func deposit(v, mask uint16) uint16 {
	var out uint16
	for mask != 0 {
		b := bits.TrailingZeros16(mask)
		out |= v & 1 << b
		v >>= 1
		mask &= mask - 1
	}
	return out
}
