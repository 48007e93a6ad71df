package alloc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func mustNew(tb testing.TB, cfg Config) *Pool {
	tb.Helper()
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestConfigReportsAllFaults: one error joins everything that is wrong.
func TestConfigReportsAllFaults(t *testing.T) {
	_, err := New(Config{
		Name:    strings.Repeat("n", 256),
		Ranges:  append(MustParseRanges("192.0.2.0/24, 192.0.2.128/25, 2001:db8::/64, 2001:db8::5, 0.0.0.0/1"), Range{}),
		Exclude: []Range{{}},
	})
	if !errors.Is(err, ErrConfig) || !errors.Is(err, ErrOverlap) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"Config.Name", "Config.Ranges[5]", "Config.Exclude[0]",
		"192.0.2.0/24 and 192.0.2.128/25", "2001:db8::/64 and 2001:db8::5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	var overlap *OverlapError
	if !errors.As(err, &overlap) || overlap.A.String() != "192.0.2.0/24" || overlap.B.String() != "192.0.2.128/25" {
		t.Errorf("overlap %+v", overlap)
	}
}

// TestConfigIsNotChanged: New keeps its hands off the caller's slices.
func TestConfigIsNotChanged(t *testing.T) {
	ranges := MustParseRanges("2001:db8::/32, 192.0.2.0/24")
	p := mustNew(t, Config{Ranges: ranges})
	if fmt.Sprint(ranges) != "[2001:db8::/32 192.0.2.0/24]" {
		t.Errorf("ranges are %v", ranges)
	}
	ranges[1] = Range{}
	if _, ok := p.Position(netip.MustParseAddr("192.0.2.1")); !ok {
		t.Error("the pool shares the caller's slice")
	}
}

// TestH2_H4_WidePrefixes: IPv6 prefixes wider than the positions serve their
// first addresses; they fit next to others, and cost little memory.
func TestH2_H4_WidePrefixes(t *testing.T) {
	for _, c := range []struct {
		in       string
		want     uint64
		in4, out string
	}{
		{"2001:db8::/64", 1 << 32, "2001:db8::ffff:ffff", "2001:db8::1:0:0"},
		{"2000::/8", 1 << 32, "2000::", "2000::1:0:0"},
		{"::/0", 1 << 32, "::1:0", "::1:0:0"},
		{"2001:db8::/96", 1 << 32, "2001:db8::ffff:ffff", "2001:db8::1:0:0"},
		{"0.0.0.0/0", 1 << 32, "255.255.255.255", "::1"},
		{"192.0.2.0/24 2001:db8::/64", 1 << 32, "2001:db8::ffff:feff", "2001:db8::ffff:ff00"},
		{"2001:db8::/64 192.0.2.0/24", 1 << 32, "192.0.2.255", "2001:db8::ffff:ff00"},
		{"2001:db8:1::/64 2001:db8:2::/64", 1 << 32, "2001:db8:2::7fff:ffff", "2001:db8:2::8000:0"},
	} {
		p := mustNew(t, Config{Ranges: MustParseRanges(c.in), Shares: 1})
		if p.Len() != c.want || p.Positions() != c.want {
			t.Errorf("%s: %d addresses, want %d", c.in, p.Len(), c.want)
		}
		a := netip.MustParseAddr(c.in4)
		pos, ok := p.Position(a)
		if !ok || p.Address(pos) != a {
			t.Errorf("%s: position of %v is %d %v", c.in, a, pos, ok)
		}
		if _, ok := p.Position(netip.MustParseAddr(c.out)); ok {
			t.Errorf("%s: %s has a position", c.in, c.out)
		}
		l, err := p.Take(Random)
		if err != nil || p.Return(l) != nil {
			t.Errorf("%s: %v", c.in, err)
		}
		if first, err := p.Take(Lowest); err != nil || first.Position() != 0 {
			t.Errorf("%s: first allocation %v, %v", c.in, first, err)
		}
		if n := p.Bytes(); n > 32<<20 {
			t.Errorf("%s takes %d bytes", c.in, n)
		}
	}
	for _, in := range []string{"0.0.0.0/0 2001:db8::1", "0.0.0.0/0 2001:db8::/64", "0.0.0.0/0 ::1"} {
		if _, err := New(Config{Ranges: MustParseRanges(in)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// TestPositionsAgainstWalk compares positions in random mixes of ranges with a
// walk over the addresses (H1, H3, H5, RFC 6888 REQ-3).
func TestPositionsAgainstWalk(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var ranges []Range
		var walk []netip.Addr
		for _, k := range r.Perm(40)[:r.IntN(20)] {
			var first netip.Addr
			switch {
			case k == 0:
				first = v4Addr(1<<32 - 1 - 40)
			case k == 1:
				first = v6Addr(^uint64(0), ^uint64(0)-40)
			case k%2 == 0:
				first = v4Addr(uint32(10<<24 + k*64))
			default:
				first = v6Addr(0x20010db8<<32, ^uint64(0)-uint64(k*64)) // Some cross into the high half.
			}
			last := first
			for n := r.IntN(41); ; n-- {
				walk = append(walk, last)
				if n == 0 {
					break
				}
				last = last.Next()
			}
			ranges = append(ranges, Range{first, last})
		}
		p := mustNew(t, Config{Ranges: ranges, Shares: 1})
		if p.Len() != uint64(len(walk)) || p.Address(uint32(len(walk))).IsValid() {
			t.Fatalf("seed %d: %v: %d addresses, want %d", seed, ranges, p.Len(), len(walk))
		}
		known := map[netip.Addr]bool{}
		for i, a := range walk {
			known[a] = true
			if got := p.Address(uint32(i)); got != a {
				t.Fatalf("seed %d: address %d is %v, want %v", seed, i, got, a)
			}
			if pos, ok := p.Position(a); !ok || pos != uint32(i) {
				t.Fatalf("seed %d: position of %v is %d %v, want %d", seed, a, pos, ok, i)
			}
			if a.Is4() {
				if pos, ok := p.Position4(v4Value(a)); !ok || pos != uint32(i) {
					t.Fatalf("seed %d: Position4 of %v is %d %v, want %d", seed, a, pos, ok, i)
				}
			}
		}
		for _, x := range ranges {
			for _, a := range []netip.Addr{x.First().Prev(), x.Last().Next()} {
				if _, ok := p.Position(a); ok != known[a] {
					t.Fatalf("seed %d: %v has a position: %v", seed, a, ok)
				}
			}
		}
	}
	var empty Pool
	if _, ok := empty.Position4(0); ok {
		t.Error("an empty pool has a position")
	}
}

// TestMappedInsideIPv6: IPv4-mapped addresses are IPv4 and no part of a range
// of IPv6.
func TestMappedInsideIPv6(t *testing.T) {
	for _, in := range []string{"::fffe:ffff:fff0-::1:0:0:0", "::fffe:0:1-::2:0:0:0"} {
		_, err := New(Config{Ranges: MustParseRanges(in)})
		var e *ConfigError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", in, err)
		}
	}
	mustNew(t, Config{Ranges: MustParseRanges("::fffe:8000:0/97 ::1:0:0:0")}) // Next to them.
}

// TestStrangers: addresses that no pool has.
func TestStrangers(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("fe80::/64 192.0.2.0/24")})
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("192.0.3.0")} {
		if _, ok := p.Position(a); ok {
			t.Errorf("%v has a position", a)
		}
		if _, err := p.TakeAddress(a); !errors.Is(err, ErrNotInPool) {
			t.Errorf("TakeAddress(%v): %v", a, err)
		}
		if _, ok := p.State(a); ok {
			t.Errorf("%v has a state", a)
		}
	}
	if pos, ok := p.Position(netip.MustParseAddr("::ffff:192.0.2.0")); !ok || p.Address(pos).String() != "192.0.2.0" {
		t.Error("a mapped address is not found")
	}
}

// TestAddRefusesAsAWhole: a fault in one range leaves the pool as it was.
func TestAddRefusesAsAWhole(t *testing.T) {
	p := mustNew(t, Config{Name: "p", Ranges: MustParseRanges("192.0.2.0/24"), Exclude: MustParseRanges("192.0.2.7"), Shares: 1})
	before := string(p.AppendSnapshot(nil))
	for _, c := range []struct {
		in   string
		want error
	}{
		{"198.51.100.0/24 192.0.2.255", ErrOverlap},
		{"192.0.2.7 192.0.2.6-192.0.2.8", ErrOverlap},
		{"198.51.100.0/24 198.51.100.9", ErrOverlap},
		{"198.51.100.0/24 0.0.0.0/1 128.0.0.0/2 192.0.0.0/23 192.0.3.0-255.255.255.255 2001:db8::/112", ErrOverlap},
		{"::/97 8000::/97", ErrTooLarge},
	} {
		if err := p.Add(MustParseRanges(c.in)...); !errors.Is(err, c.want) {
			t.Errorf("Add(%s): %v", c.in, err)
		}
		if string(p.AppendSnapshot(nil)) != before {
			t.Fatalf("Add(%s) changed the pool", c.in)
		}
	}
	if err := p.Add(MustParseRanges("192.0.2.7 2001:db8::/8")...); err != nil {
		t.Fatal(err)
	}
	if p.Positions() != maxPositions || p.Len() != maxPositions {
		t.Errorf("%d positions, %d addresses", p.Positions(), p.Len())
	}
	if err := p.Add(MustParseRanges("198.51.100.1")...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Add to a full space: %v", err)
	}
}

// FuzzConfig builds pools of whatever ranges bytes describe (H59).
func FuzzConfig(f *testing.F) {
	f.Add([]byte{}, uint32(1))                                     // empty
	f.Add([]byte{4, 10, 0, 0, 0, 7, 4, 10, 0, 0, 4, 7}, uint32(0)) // overlap
	f.Add([]byte{4, 255, 255, 255, 255, 0, 6, 255, 255, 255, 255, 200, 5, 4, 10, 0, 0, 3, 1}, uint32(3))
	f.Fuzz(func(t *testing.T, b []byte, shares uint32) {
		var cfg Config
		cfg.Shares = shares
		for len(b) >= 6 && len(cfg.Ranges) < 50 {
			a := netip.AddrFrom4([4]byte(b[1:5]))
			if b[0]%3 == 0 {
				a = netip.AddrFrom16([16]byte{0: b[1], 1: b[2], 14: b[3], 15: b[4]})
			}
			bits := a.BitLen() - int(b[5])%(a.BitLen()+1)
			r := RangeOfPrefix(netip.PrefixFrom(a, bits))
			if b[0]%2 == 0 {
				cfg.Ranges = append(cfg.Ranges, r)
			} else {
				cfg.Exclude = append(cfg.Exclude, r)
			}
			b = b[6:]
		}
		p, err := New(cfg)
		if err != nil {
			if !errors.Is(err, ErrConfig) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if p.Positions() <= 1<<14 {
			if err := p.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
		}
		l, err := p.Take(Random)
		if err != nil {
			if !errors.Is(err, ErrExhausted) || p.Len() > 0 {
				t.Fatalf("%d addresses: %v", p.Len(), err)
			}
			return
		}
		a := p.Address(l.Position())
		in := false
		for _, r := range cfg.Ranges {
			in = in || r.Contains(a)
		}
		for _, r := range cfg.Exclude {
			in = in && !r.Contains(a)
		}
		if !in || p.Return(l) != nil {
			t.Fatalf("took %v", a)
		}
	})
}
