package deterministic

import (
	"fmt"
	"net/netip"
	"strings"
)

// Span is a run of addresses of one family: a prefix, a range or one address.
// It remembers whether it was given as a prefix, because only prefixes have
// boundary addresses. The zero Span is invalid. Spans are comparable values.
type Span struct {
	first, last netip.Addr
	prefix      bool // given as a prefix
}

// PrefixSpan returns the addresses of p. Host bits of p are ignored. The Span is
// invalid if p is.
func PrefixSpan(p netip.Prefix) Span {
	if !p.IsValid() {
		return Span{}
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return Span{}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	return Span{first: p.Addr(), last: lastOf(p), prefix: true}
}

// RangeSpan returns the addresses from first to last, both included. The Span
// is invalid if the families differ, a zone is present, or last is before first.
func RangeSpan(first, last netip.Addr) Span {
	first, last = first.Unmap(), last.Unmap()
	if !first.IsValid() || first.BitLen() != last.BitLen() || first.Zone() != "" || last.Zone() != "" || last.Less(first) {
		return Span{}
	}
	return Span{first: first, last: last}
}

// AddrSpan returns the span of one address.
func AddrSpan(a netip.Addr) Span { return RangeSpan(a, a) }

// ParseSpan parses "198.51.100.0/28", "10.0.0.1-10.0.0.9" or "10.0.0.1", and the
// same in IPv6. The error wraps ErrSyntax.
func ParseSpan(s string) (Span, error) {
	var sp Span
	if a, b, ok := strings.Cut(s, "-"); ok {
		first, err1 := netip.ParseAddr(a)
		last, err2 := netip.ParseAddr(b)
		if err1 == nil && err2 == nil {
			sp = RangeSpan(first, last)
		}
	} else if strings.Contains(s, "/") {
		if p, err := netip.ParsePrefix(s); err == nil {
			sp = PrefixSpan(p)
		}
	} else if a, err := netip.ParseAddr(s); err == nil {
		sp = AddrSpan(a)
	}
	if !sp.IsValid() {
		return Span{}, fmt.Errorf("%w: span %q is no prefix, range or address", ErrSyntax, s)
	}
	return sp, nil
}

// MustParseSpan is ParseSpan for constants; it panics on malformed text.
func MustParseSpan(s string) Span {
	sp, err := ParseSpan(s)
	if err != nil {
		panic(err)
	}
	return sp
}

// Spans parses several spans for literals; it panics on malformed text.
func Spans(texts ...string) []Span {
	out := make([]Span, 0, len(texts))
	for _, t := range texts {
		out = append(out, MustParseSpan(t))
	}
	return out
}

// IsValid reports whether s holds addresses.
func (s Span) IsValid() bool { return s.first.IsValid() }

// First returns the lowest address.
func (s Span) First() netip.Addr { return s.first }

// Last returns the highest address.
func (s Span) Last() netip.Addr { return s.last }

// Prefix returns the prefix that s was made from; ok is false for a range.
func (s Span) Prefix() (p netip.Prefix, ok bool) {
	if !s.prefix {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(s.first, commonBits(s.first, s.last)), true
}

// Contains reports whether a lies in s. A 4-in-6 address counts as IPv4.
func (s Span) Contains(a netip.Addr) bool {
	a = a.Unmap()
	return s.IsValid() && a.BitLen() == s.first.BitLen() && a.Zone() == "" && !a.Less(s.first) && !s.last.Less(a)
}

// AppendText appends the text form that ParseSpan reads.
func (s Span) AppendText(b []byte) ([]byte, error) {
	switch p, ok := s.Prefix(); {
	case !s.IsValid():
		return b, fmt.Errorf("%w: invalid span", ErrSyntax)
	case ok:
		return p.AppendTo(b), nil
	case s.first == s.last:
		return s.first.AppendTo(b), nil
	}
	b = s.first.AppendTo(b)
	b = append(b, '-')
	return s.last.AppendTo(b), nil
}

// String returns the text form, or "invalid Span".
func (s Span) String() string {
	b, err := s.AppendText(nil)
	if err != nil {
		return "invalid Span"
	}
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(text []byte) error {
	sp, err := ParseSpan(string(text))
	if err != nil {
		return err
	}
	*s = sp
	return nil
}

// lastOf returns the highest address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	k := u128Of(p.Addr())
	k = k.or(u128{0, 1}.shl(p.Addr().BitLen() - p.Bits()).dec())
	return k.addr(p.Addr().Is4())
}

// commonBits returns the length of the longest prefix that two addresses share.
func commonBits(a, b netip.Addr) int {
	n := u128Of(a).xor(u128Of(b)).leadingZeros()
	return n - (128 - a.BitLen())
}
