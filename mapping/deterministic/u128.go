package deterministic

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// u128 is an unsigned 128-bit number: an address, a subscriber key (an address
// without its host bits) or a distance between two. IPv4 addresses use the low
// 32 bits; families never meet in one comparison, because a map has one family
// a side.
type u128 struct{ hi, lo uint64 }

// u128Of returns the number of an unmapped address.
func u128Of(a netip.Addr) u128 {
	if a.Is4() {
		b := a.As4()
		return u128{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return u128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr returns the address with number k.
func (k u128) addr(is4 bool) netip.Addr {
	if is4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k u128) less(o u128) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

func (k u128) sub(o u128) u128 {
	lo, borrow := bits.Sub64(k.lo, o.lo, 0)
	hi, _ := bits.Sub64(k.hi, o.hi, borrow)
	return u128{hi, lo}
}

func (k u128) add(o u128) u128 {
	lo, carry := bits.Add64(k.lo, o.lo, 0)
	hi, _ := bits.Add64(k.hi, o.hi, carry)
	return u128{hi, lo}
}

func (k u128) or(o u128) u128  { return u128{k.hi | o.hi, k.lo | o.lo} }
func (k u128) xor(o u128) u128 { return u128{k.hi ^ o.hi, k.lo ^ o.lo} }
func (k u128) inc() u128       { return k.add(u128{0, 1}) }
func (k u128) dec() u128       { return k.sub(u128{0, 1}) }

// shl shifts left by 0..128 bits; Go shifts of 64 and more give zero.
func (k u128) shl(n int) u128 {
	u := uint(n)
	if u >= 64 {
		return u128{k.lo << (u - 64), 0}
	}
	return u128{k.hi<<u | k.lo>>(64-u), k.lo << u}
}

// shr shifts right by 0..128 bits.
func (k u128) shr(n int) u128 {
	u := uint(n)
	if u >= 64 {
		return u128{0, k.hi >> (u - 64)}
	}
	return u128{k.hi >> u, k.lo>>u | k.hi<<(64-u)}
}

func (k u128) leadingZeros() int {
	if k.hi != 0 {
		return bits.LeadingZeros64(k.hi)
	}
	return 64 + bits.LeadingZeros64(k.lo)
}

func (k u128) and(o u128) u128 { return u128{k.hi & o.hi, k.lo & o.lo} }

func (k u128) compare(o u128) int {
	switch {
	case k.less(o):
		return -1
	case o.less(k):
		return 1
	}
	return 0
}
