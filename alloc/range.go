package alloc

import "net/netip"

// Range is a span of addresses of one family, first to last, both included. It
// is comparable; the zero Range is invalid and contains nothing.
type Range struct {
	first, last netip.Addr
}

// RangeOf returns the range from first to last. IPv4-mapped addresses become
// IPv4. The error is a *RangeError: mixed families, a zone, an invalid address,
// or last before first.
func RangeOf(first, last netip.Addr) (Range, error) { return Range{}, nil }

// RangeOfPrefix returns all addresses of a prefix; host bits are masked away.
// The Range is invalid when the prefix is.
func RangeOfPrefix(p netip.Prefix) Range { return Range{} }

// RangeOfAddr returns the range of a single address; it is invalid when the
// address is, or has a zone.
func RangeOfAddr(a netip.Addr) Range { return Range{} }

// ParseRange reads "192.0.2.0/24", "192.0.2.5-192.0.2.9" or "192.0.2.7", and
// the same for IPv6. The error is a *RangeError.
func ParseRange(s string) (Range, error) { return Range{}, nil }

// ParseRanges reads ranges separated by commas or white space.
func ParseRanges(s string) ([]Range, error) { return nil, nil }

// MustParseRanges is ParseRanges for constants; it panics on a fault.
func MustParseRanges(s string) []Range { return nil }
