package portblock

import (
	"fmt"
	"strconv"
	"strings"
)

// Range is a run of contiguous ports, both ends included. It is a small
// comparable value. The zero Range is invalid, holds no port and is safe to
// use; the range that holds port 0 only is valid and differs from it.
//
// A Range is immutable and safe for concurrent use.
type Range struct {
	// n is the number of ports, 1 to 65536. 0 marks the invalid range; a
	// count rather than a last port is kept so that 0-0 is not the zero value.
	n     uint32
	first uint16
}

// RangeOf returns the range first..last, or the zero Range when last is
// below first.
func RangeOf(first, last uint16) Range {
	if last < first {
		return Range{}
	}
	return Range{n: uint32(last-first) + 1, first: first}
}

// ParseRange reads "1024-65535" or a single port "443". Only decimal digits
// without sign and blanks are accepted.
func ParseRange(s string) (Range, error) {
	a, b, two := strings.Cut(s, "-")
	first, ok := parsePort(a)
	last := first
	if ok && two {
		last, ok = parsePort(b)
	}
	if !ok {
		return Range{}, fmt.Errorf("portblock: ParseRange(%q): want PORT or FIRST-LAST, 0 to 65535", s)
	}
	if last < first {
		return Range{}, fmt.Errorf("portblock: ParseRange(%q): the last port is below the first", s)
	}
	return RangeOf(first, last), nil
}

// MustParseRange is like ParseRange but panics on a fault. It is meant for
// constants in programs and tests.
func MustParseRange(s string) Range {
	r, err := ParseRange(s)
	if err != nil {
		panic(err)
	}
	return r
}

func parsePort(s string) (uint16, bool) {
	if len(s) == 0 || len(s) > 5 {
		return 0, false
	}
	v := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = v*10 + int(s[i]-'0')
	}
	return uint16(v), v <= 65535
}

// IsValid says whether the range holds at least one port.
func (r Range) IsValid() bool { return r.n != 0 }

// First returns the lowest port, 0 for the zero Range.
func (r Range) First() uint16 { return r.first }

// Last returns the highest port, 0 for the zero Range.
func (r Range) Last() uint16 {
	if r.n == 0 {
		return 0
	}
	return uint16(uint32(r.first) + r.n - 1)
}

// Len returns the number of ports, 0 to 65536.
func (r Range) Len() int { return int(r.n) }

// Contains says whether p is in the range.
func (r Range) Contains(p uint16) bool { return uint32(p)-uint32(r.first) < r.n }

// Overlaps says whether the two ranges share a port.
func (r Range) Overlaps(o Range) bool { return r.Intersect(o).IsValid() }

// Intersect returns the ports that are in both ranges, the zero Range when
// there are none.
func (r Range) Intersect(o Range) Range {
	if r.n == 0 || o.n == 0 {
		return Range{}
	}
	return RangeOf(max(r.first, o.first), min(r.Last(), o.Last()))
}

// Compare orders ranges by first port, then by length; the zero Range comes
// before all others.
func (r Range) Compare(o Range) int {
	switch {
	case r == o:
		return 0
	case r.n == 0:
		return -1
	case o.n == 0:
		return 1
	case r.first != o.first:
		return int(r.first) - int(o.first)
	}
	return int(r.n) - int(o.n)
}

// AppendTo appends the text form: "1024-65535", "443" for a single port,
// "invalid" for the zero Range.
func (r Range) AppendTo(dst []byte) []byte {
	if r.n == 0 {
		return append(dst, "invalid"...)
	}
	dst = strconv.AppendUint(dst, uint64(r.first), 10)
	if r.n > 1 {
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, uint64(r.Last()), 10)
	}
	return dst
}

// String returns the text form of AppendTo.
func (r Range) String() string { return string(r.AppendTo(nil)) }

// MarshalText implements encoding.TextMarshaler; the zero Range is "".
func (r Range) MarshalText() ([]byte, error) {
	if r.n == 0 {
		return []byte{}, nil
	}
	return r.AppendTo(nil), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero Range.
func (r *Range) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Range{}
		return nil
	}
	v, err := ParseRange(string(b))
	if err == nil {
		*r = v
	}
	return err
}
