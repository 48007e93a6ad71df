package alloc

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// num is an address as a number, the oracle's view of it.
func num(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

func TestParseRange(t *testing.T) {
	for _, c := range []struct{ in, first, last, text string }{
		{"192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.2.0/24"},
		{"192.0.2.77/24", "192.0.2.0", "192.0.2.255", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.7"},
		{"192.0.2.7/32", "192.0.2.7", "192.0.2.7", "192.0.2.7"},
		{"192.0.2.5-192.0.2.9", "192.0.2.5", "192.0.2.9", "192.0.2.5-192.0.2.9"},
		{"192.0.2.4-192.0.2.7", "192.0.2.4", "192.0.2.7", "192.0.2.4/30"},
		{"0.0.0.0/0", "0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"255.255.255.254/31", "255.255.255.254", "255.255.255.255", "255.255.255.254/31"},
		{"::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255", "192.0.2.0/24"},
		{"::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9", "192.0.2.9"},
		{"2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"},
		{"2001:db8::/63", "2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8::/63"},
		{"2001:db8::/65", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff", "2001:db8::/65"},
		{"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db8::1-2001:db8::8", "2001:db8::1", "2001:db8::8", "2001:db8::1-2001:db8::8"},
	} {
		r, err := ParseRange(c.in)
		if err != nil || r.First().String() != c.first || r.Last().String() != c.last || r.String() != c.text {
			t.Errorf("ParseRange(%q) = %v (%v to %v), %v", c.in, r, r.First(), r.Last(), err)
		}
	}
	for _, in := range []string{"", "x", "192.0.2.0/33", "192.0.2.0/", "192.0.2.9-192.0.2.5", "192.0.2.9-", "-", "192.0.2.1-2001:db8::",
		"fe80::1%eth0", "fe80::1%a-fe80::2%a", "::ffff:0:0-::1:0:0:0", "1.2.3.4-1.2.3.5-1.2.3.6", strings.Repeat("9", 5000)} {
		r, err := ParseRange(in)
		var e *RangeError
		if !errors.As(err, &e) || !errors.Is(err, ErrConfig) || r.IsValid() || e.Rule == "" || len(err.Error()) > 400 {
			t.Errorf("ParseRange(%q) = %v, %v", in, r, err)
		}
	}
	list, err := ParseRanges(" 192.0.2.0/24,198.51.100.7\n\t203.0.113.9-203.0.113.20,, ")
	if err != nil || len(list) != 3 {
		t.Errorf("ParseRanges: %v, %v", list, err)
	}
	if _, err := ParseRanges("192.0.2.0/24, nonsense"); !errors.Is(err, ErrConfig) {
		t.Errorf("ParseRanges of nonsense: %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("MustParseRanges of nonsense does not panic")
			}
		}()
		MustParseRanges("nonsense")
	}()
}

func TestZeroRange(t *testing.T) {
	var r Range
	if r.IsValid() || r.Len() != 0 || r.Contains(netip.Addr{}) || r.Overlaps(r) || r.String() != "invalid range" {
		t.Errorf("zero Range: %v", r)
	}
	if RangeOfPrefix(netip.Prefix{}).IsValid() || RangeOfAddr(netip.Addr{}).IsValid() || RangeOfAddr(netip.MustParseAddr("fe80::1%a")).IsValid() {
		t.Error("a range of nothing is valid")
	}
}

// TestRangeAgainstNumbers compares ranges with arithmetic on big numbers.
func TestRangeAgainstNumbers(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	draw := func() netip.Addr {
		if r.IntN(2) == 0 {
			return v4Addr([]uint32{0, 1, 1<<32 - 1, r.Uint32(), r.Uint32N(16)}[r.IntN(5)])
		}
		edge := func() uint64 { return []uint64{0, 1, ^uint64(0), r.Uint64(), r.Uint64N(16)}[r.IntN(5)] }
		a := v6Addr(edge(), edge())
		if a.Is4In6() {
			return a.Unmap()
		}
		return a
	}
	for range 20000 {
		a, b, c, d := draw(), draw(), draw(), draw()
		x, err := RangeOf(a, b)
		if ok := a.BitLen() == b.BitLen() && num(a).Cmp(num(b)) <= 0; ok != (err == nil) {
			t.Fatalf("seed %d: RangeOf(%v, %v): %v", seed, a, b, err)
		}
		if err != nil {
			continue
		}
		n := new(big.Int).Sub(num(b), num(a))
		n.Add(n, big.NewInt(1))
		want := ^uint64(0)
		if n.IsUint64() {
			want = n.Uint64()
		}
		if x.Len() != want {
			t.Fatalf("seed %d: %v has %d addresses, want %v", seed, x, x.Len(), n)
		}
		inside := c.BitLen() == a.BitLen() && num(c).Cmp(num(a)) >= 0 && num(c).Cmp(num(b)) <= 0
		if x.Contains(c) != inside {
			t.Fatalf("seed %d: %v contains %v: %v", seed, x, c, !inside)
		}
		if y, err := RangeOf(c, d); err == nil {
			both := a.BitLen() == c.BitLen() && num(a).Cmp(num(d)) <= 0 && num(c).Cmp(num(b)) <= 0
			if x.Overlaps(y) != both || y.Overlaps(x) != both {
				t.Fatalf("seed %d: %v overlaps %v: %v", seed, x, y, !both)
			}
		}
		if back, err := ParseRange(x.String()); err != nil || back != x {
			t.Fatalf("seed %d: %q reads as %v, %v", seed, x, back, err)
		}
		k := r.Uint64N(min(want, 1<<32))
		if got := num(x.offset(k)); got.Cmp(new(big.Int).Add(num(a), new(big.Int).SetUint64(k))) != 0 {
			t.Fatalf("seed %d: %v offset %d is %v", seed, x, k, got)
		}
	}
}

// TestRangeAmongMapped: a prefix that ends among the IPv4-mapped addresses would be of both families.
func TestRangeAmongMapped(t *testing.T) {
	for _, s := range []string{"::ffff:1.2.6.4/93", "::fff8:0:0/93", "::ffff:1.2.3.4/95"} {
		if r, err := ParseRange(s); err == nil {
			t.Errorf("%q is %v", s, r)
		}
	}
	for _, s := range []string{"::ffff:1.2.3.4/96", "::/0", "::/64"} {
		if _, err := ParseRange(s); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParseRanges: what is read is written so that it reads as the same.
func FuzzParseRanges(f *testing.F) {
	for _, s := range []string{
		"192.0.2.0/24",                      // a prefix
		"192.0.2.5-192.0.2.9, 198.51.100.7", // a span and an address
		"2001:db8::/8 ::/0",                 // wide
		"255.255.255.255",                   // the top of the space
		"fe80::1%eth0",                      // a zone
		"::ffff:1.2.3.4/96",                 // mapped
		"::ffff:1.2.6.4/93 ::fff8:0:0/93",   // mapped at its end
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, err := ParseRanges(s)
		if err != nil {
			var e *RangeError
			if !errors.As(err, &e) {
				t.Fatalf("%q: error of type %T", s, err)
			}
			return
		}
		var text []string
		for _, r := range ranges {
			if !r.IsValid() || r.Len() == 0 || !r.Contains(r.First()) || !r.Contains(r.Last()) {
				t.Fatalf("%q: range %v", s, r)
			}
			text = append(text, r.String())
		}
		again, err := ParseRanges(strings.Join(text, ","))
		if err != nil || len(again) != len(ranges) {
			t.Fatalf("%q, written as %q: %v", s, text, err)
		}
		for i := range again {
			if again[i] != ranges[i] {
				t.Fatalf("%v written and read is %v", ranges[i], again[i])
			}
		}
		p, err := New(Config{Ranges: ranges, Shares: 1})
		if err != nil {
			if !errors.Is(err, ErrOverlap) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		for _, r := range ranges {
			if pos, ok := p.Position(r.First()); !ok || p.Address(pos) != r.First() {
				t.Fatalf("%q: first of %v at %d %v", s, r, pos, ok)
			}
		}
	})
}
