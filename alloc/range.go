package alloc

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
)

// Range is a span of addresses of one family, first to last, both included. It
// is comparable; the zero Range is invalid and contains nothing.
type Range struct {
	first, last netip.Addr
}

// RangeOf returns the range from first to last. IPv4-mapped addresses become
// IPv4. The error is a *RangeError: mixed families, a zone, an invalid address,
// or last before first.
func RangeOf(first, last netip.Addr) (Range, error) {
	first, last = first.Unmap(), last.Unmap()
	rule := ""
	switch {
	case !first.IsValid() || !last.IsValid():
		rule = "both ends must be valid addresses"
	case first.Zone() != "" || last.Zone() != "":
		rule = "addresses have no zone in a pool; remove it"
	case first.Is4() != last.Is4():
		rule = "both ends must be of one family"
	case last.Less(first):
		rule = "the first address must not be above the last; swap them"
	}
	if rule != "" {
		return Range{}, &RangeError{Value: first.String() + "-" + last.String(), Rule: rule}
	}
	return Range{first: first, last: last}, nil
}

// RangeOfPrefix returns all addresses of a prefix; host bits are masked away.
// The Range is invalid when the prefix is, or when it ends among the IPv4-mapped addresses and begins before them.
func RangeOfPrefix(p netip.Prefix) Range {
	if !p.IsValid() {
		return Range{}
	}
	p = p.Masked()
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return Range{}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	r := Range{first: p.Addr(), last: lastOf(p)}
	if r.last.Is4In6() {
		return Range{}
	}
	return r
}

// lastOf returns the highest address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		v := v4Value(p.Addr()) | uint32(uint64(1)<<(32-p.Bits())-1)
		return v4Addr(v)
	}
	hi, lo := v6Value(p.Addr())
	if n := p.Bits(); n <= 64 {
		hi |= ^uint64(0) >> n // A shift by 64 gives 0: no bit of the high half is free.
		lo = ^uint64(0)
	} else {
		lo |= ^uint64(0) >> (n - 64)
	}
	return v6Addr(hi, lo)
}

// RangeOfAddr returns the range of a single address; it is invalid when the
// address is, or has a zone.
func RangeOfAddr(a netip.Addr) Range {
	if !a.IsValid() || a.Zone() != "" {
		return Range{}
	}
	a = a.Unmap()
	return Range{first: a, last: a}
}

// ParseRange reads "192.0.2.0/24", "192.0.2.5-192.0.2.9" or "192.0.2.7", and
// the same for IPv6. The error is a *RangeError.
func ParseRange(s string) (Range, error) {
	bad := func(rule string) (Range, error) {
		return Range{}, &RangeError{Value: shorten(s), Rule: rule}
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return bad("the part with a slash must be a prefix such as 192.0.2.0/24")
		}
		r := RangeOfPrefix(p)
		if !r.IsValid() {
			return bad("an IPv4-mapped prefix must be /96 or longer; write it as IPv4")
		}
		return r, nil
	}
	a, b, isSpan := strings.Cut(s, "-")
	first, err := netip.ParseAddr(a)
	if err != nil {
		return bad("an entry must be a prefix, first-last or a single address")
	}
	last := first
	if isSpan {
		if last, err = netip.ParseAddr(b); err != nil {
			return bad("the part after the hyphen must be an address")
		}
	}
	return RangeOf(first, last)
}

// shorten keeps hostile input out of error texts.
func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// ParseRanges reads ranges separated by commas or white space.
func ParseRanges(s string) ([]Range, error) {
	var out []Range
	for f := range strings.FieldsFuncSeq(s, isSeparator) {
		r, err := ParseRange(f)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func isSeparator(r rune) bool {
	return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'
}

// MustParseRanges is ParseRanges for constants; it panics on a fault.
func MustParseRanges(s string) []Range {
	out, err := ParseRanges(s)
	if err != nil {
		panic(err)
	}
	return out
}

// First returns the lowest address.
func (r Range) First() netip.Addr { return r.first }

// Last returns the highest address.
func (r Range) Last() netip.Addr { return r.last }

// IsValid reports whether the range holds an address.
func (r Range) IsValid() bool { return r.first.IsValid() }

// Contains reports whether the address lies in the range; an IPv4-mapped
// address counts as IPv4.
func (r Range) Contains(a netip.Addr) bool {
	a = a.Unmap()
	return r.IsValid() && a.Zone() == "" && a.BitLen() == r.first.BitLen() &&
		r.first.Compare(a) <= 0 && a.Compare(r.last) <= 0
}

// Overlaps reports whether the two ranges share an address.
func (r Range) Overlaps(o Range) bool {
	return r.IsValid() && o.IsValid() && r.first.BitLen() == o.first.BitLen() &&
		r.first.Compare(o.last) <= 0 && o.first.Compare(r.last) <= 0
}

// Len returns the number of addresses. Of an IPv6 range with 2^64 and more it
// returns 2^64-1.
func (r Range) Len() uint64 {
	if !r.IsValid() {
		return 0
	}
	if r.first.Is4() {
		return uint64(v4Value(r.last)) - uint64(v4Value(r.first)) + 1
	}
	fh, fl := v6Value(r.first)
	lh, ll := v6Value(r.last)
	lo, borrow := bits.Sub64(ll, fl, 0)
	hi, _ := bits.Sub64(lh, fh, borrow)
	if hi != 0 || lo == ^uint64(0) {
		return ^uint64(0)
	}
	return lo + 1
}

// AppendTo appends the text form: a prefix where the range is one, a single
// address where it is one, else first-last.
func (r Range) AppendTo(b []byte) []byte {
	switch {
	case !r.IsValid():
		return append(b, "invalid range"...)
	case r.first == r.last:
		return r.first.AppendTo(b)
	}
	if p, ok := r.prefix(); ok {
		return p.AppendTo(b)
	}
	b = append(r.first.AppendTo(b), '-')
	return r.last.AppendTo(b)
}

// prefix returns the prefix that covers exactly the range, if there is one.
func (r Range) prefix() (netip.Prefix, bool) {
	n := 0
	if r.first.Is4() {
		n = bits.LeadingZeros32(v4Value(r.first) ^ v4Value(r.last))
	} else {
		fh, fl := v6Value(r.first)
		lh, ll := v6Value(r.last)
		if n = bits.LeadingZeros64(fh ^ lh); n == 64 {
			n += bits.LeadingZeros64(fl ^ ll)
		}
	}
	p := netip.PrefixFrom(r.first, n)
	return p, p.Masked().Addr() == r.first && lastOf(p) == r.last
}

// String returns the text form; ParseRange reads it.
func (r Range) String() string { return string(r.AppendTo(nil)) }

func v4Value(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func v4Addr(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

func v6Value(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func v6Addr(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// offset returns the n-th address of the range, counted from 0.
func (r Range) offset(n uint64) netip.Addr {
	if r.first.Is4() {
		return v4Addr(v4Value(r.first) + uint32(n))
	}
	hi, lo := v6Value(r.first)
	lo, carry := bits.Add64(lo, n, 0)
	return v6Addr(hi+carry, lo)
}

// cut returns the first n addresses of a range that has at least n; n is not 0.
func (r Range) cut(n uint64) Range { return Range{first: r.first, last: r.offset(n - 1)} }
