package deterministic

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawSpans draws disjoint spans of up to size units of 2^shift addresses, in
// any order.
func drawSpans(t *rapid.T, base netip.Addr, shift, most, size int, label string) []Span {
	at := u128Of(base)
	unit := func(n int) u128 { return u128{0, uint64(n)}.shl(shift) }
	var out []Span
	for range rapid.IntRange(1, most).Draw(t, label+" spans") {
		at = at.add(unit(rapid.IntRange(0, 3).Draw(t, "gap")))
		n := rapid.IntRange(1, size).Draw(t, "length")
		first, last := at.addr(base.Is4()), at.add(unit(n)).dec()
		s := RangeSpan(first, last.addr(base.Is4()))
		for p := range prefixes(s) {
			if rapid.Bool().Draw(t, "prefix") {
				s = PrefixSpan(p)
			}
			break
		}
		out = append(out, s)
		at = u128Of(s.Last()).inc()
	}
	return rapid.Permutation(out).Draw(t, label+" order")
}

// drawConfig draws a configuration with a few hundred subscribers at most.
func drawConfig(t *rapid.T) Config {
	cfg := Config{
		Algorithm:                Algorithm(rapid.IntRange(0, int(Mask)).Draw(t, "algorithm")),
		IncludeBoundaryAddresses: rapid.Bool().Draw(t, "boundaries"),
		SharingRatio:             rapid.SampledFrom([]int{0, 0, 0, 1, 2, 7, 64, 100}).Draw(t, "C"),
		DynamicFactor:            rapid.SampledFrom([]int{0, 0, 1, 2, 5}).Draw(t, "D"),
		Remainder:                rapid.SampledFrom([]Remainder{RemainderAuto, RemainderAuto, RemainderDynamic, RemainderUnused}).Draw(t, "remainder"),
	}
	cfg.Internal = []Span{}
	switch rapid.IntRange(0, 4).Draw(t, "family") {
	case 0:
		cfg.Internal = drawSpans(t, netip.MustParseAddr("2001:db8:ffff:ffff::"), 8, 3, 20, "internal") // 120-bit keys
		cfg.SubscriberBits = 120
	case 1:
		cfg.Internal = drawSpans(t, netip.MustParseAddr("10.0.0.0"), 2, 3, 20, "internal")
		cfg.SubscriberBits = 30
	default:
		cfg.Internal = drawSpans(t, netip.MustParseAddr("10.0.0.250"), 0, 4, 40, "internal")
	}
	if len(cfg.Internal) > 0 && rapid.Bool().Draw(t, "holes") {
		s := rapid.SampledFrom(cfg.Internal).Draw(t, "holed")
		cfg.InternalExclude = []Span{AddrSpan(s.First()), AddrSpan(s.Last())}
	}
	cfg.External = drawSpans(t, netip.MustParseAddr("203.0.113.254"), 0, 3, 2, "external")
	if rapid.IntRange(0, 3).Draw(t, "external hole") == 0 {
		cfg.ExternalExclude = []Span{AddrSpan(cfg.External[0].Last())}
	}
	if rapid.Bool().Draw(t, "reserve") {
		cfg.Reserved = []portblock.Range{}
		for range rapid.IntRange(0, 5).Draw(t, "reserved ranges") {
			first := rapid.SampledFrom([]int{0, 1, 1023, 1024, 5004, 30000, 65535}).Draw(t, "first")
			n := rapid.SampledFrom([]int{1, 2, 500, 30000}).Draw(t, "ports")
			cfg.Reserved = append(cfg.Reserved, portblock.RangeOf(uint16(first), uint16(min(first+n-1, 65535))))
		}
	}
	switch cfg.Algorithm {
	case Crypto:
		cfg.KeyPerAddress = rapid.Bool().Draw(t, "key per address")
		fallthrough
	case Random:
		copy(cfg.Key[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key"))
		fallthrough
	case Sequential, Staggered:
		cfg.DynamicPorts = rapid.SampledFrom([]int{0, 0, 3, 100}).Draw(t, "dynamic ports")
		if rapid.IntRange(0, 3).Draw(t, "spread") == 0 {
			cfg.Remainder = RemainderSpread
		}
		fallthrough
	case RoundRobin, Interlaced:
		cfg.PortsPerSubscriber = rapid.SampledFrom([]int{0, 0, 1, 60, 252, 1000, 16000}).Draw(t, "P")
		if cfg.Algorithm == RoundRobin || cfg.Algorithm == Interlaced {
			cfg.GroupSize = rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(t, "group")
		}
	case MAP:
		cfg.PSIDOffset = rapid.IntRange(0, 9).Draw(t, "a")
		cfg.PSIDLen = rapid.IntRange(0, min(9, 16-cfg.PSIDOffset)).Draw(t, "k")
		cfg.FirstSlot = rapid.IntRange(0, 1).Draw(t, "first PSID")
	case GMA:
		cfg.Contiguous = rapid.SampledFrom([]int{1, 4, 5, 64, 100}).Draw(t, "M")
	case Mask:
		cfg.PortRangeMask = rapid.SampledFrom([]uint16{0x1400, 0x01f0, 0xfc00, 0x0007, 0x5555, 0x8001, 0x0ff0}).Draw(t, "mask")
		cfg.FirstSlot = rapid.IntRange(0, 1).Draw(t, "first value")
	}
	return cfg
}

// checkMap compares a map with its model for every host and every port.
func checkMap(t require.TestingT, cfg Config, m *Map, g *golden) {
	require.Equal(t, uint64(len(g.subs)), m.Subscribers())
	require.Equal(t, uint64(len(g.exts)), m.Externals())
	// Every port of every address, in reverse.
	var want Stats
	got := make([]int, len(g.subs)) // ports by subscriber
	number := map[netip.Prefix]int{}
	for i, p := range g.subs {
		number[p] = i
	}
	for e, a := range g.exts {
		for p := range 65536 {
			sub, err := m.Reverse(a, uint16(p))
			who := g.owner[e][p]
			switch {
			case who == goldReserved:
				want.Reserved++
			case who == goldDynamic:
				want.Dynamic++
			case who == goldUnused:
				want.Remainder++
			case who <= goldEmptyBase:
				want.Empty++
			default:
				want.Assigned++
			}
			if cfg.Algorithm == Random && (who >= 0 || who <= goldEmptyBase) {
				// The permutation moves subscribers between slots, not ports
				// between classes.
				if err == nil {
					got[number[sub]]++
				} else if err != ErrEmptySlot {
					t.Errorf("%v:%d: %v", a, p, err)
					t.FailNow()
				}
				continue
			}
			var wantErr error
			switch {
			case who >= 0:
				if err == nil {
					if sub != g.subs[who] {
						t.Errorf("%v:%d is %v, model says %v", a, p, sub, g.subs[who])
						t.FailNow()
					}
					got[who]++
				}
			case who == goldReserved:
				wantErr = ErrReserved
			case who == goldDynamic:
				wantErr = ErrDynamic
			case who == goldUnused:
				wantErr = ErrRemainder
			default:
				wantErr = ErrEmptySlot
			}
			if err != wantErr {
				t.Errorf("%v:%d: %v, model says %v", a, p, err, wantErr)
				t.FailNow()
			}
		}
	}
	// Every subscriber forward: the set is exactly what reverse gave it.
	i, total := 0, uint64(0)
	for sub, ports := range m.All() {
		require.Equal(t, g.subs[i], sub)
		n := ports.Len()
		total += uint64(n)
		if n != got[i] || n == 0 {
			t.Errorf("%v has %d ports, reverse finds %d", sub, n, got[i])
			t.FailNow()
		}
		fwd, err := m.Forward(u128Of(sub.Addr()).or(u128{0, uint64(i)}.and(u128{0, 1}.shl(sub.Addr().BitLen() - sub.Bits()).dec())).addr(sub.Addr().Is4()))
		if err != nil || fwd != ports {
			t.Errorf("forward of %v: %v %v, want %v", sub, fwd, err, ports)
			t.FailNow()
		}
		step := max(1, n/40)
		for k := 0; k < n; k += step {
			ap := ports.At(k)
			back, err := m.Reverse(ap.Addr(), ap.Port())
			if err != nil || back != sub {
				t.Errorf("port %d of %v is %v, which reverses to %v %v", k, sub, ap, back, err)
				t.FailNow()
			}
			on := ports.On(ap.Addr())
			if j, ok := on.Index(ap.Port()); !ok {
				t.Errorf("port %v of %v is not on its address", ap, sub)
				t.FailNow()
			} else if p, ok := on.At(j); !ok || p != ap.Port() {
				t.Errorf("port %v of %v is number %d on its address, which is %d", ap, sub, j, p)
				t.FailNow()
			}
			if j, ok := ports.Index(ap.Addr(), ap.Port()); !ok || j != k {
				t.Errorf("port %d of %v is %v, its index is %d %v", k, sub, ap, j, ok)
				t.FailNow()
			}
		}
		on := 0
		for e := range m.Externals() {
			on += ports.On(m.External(e)).Len()
		}
		if on != n {
			t.Errorf("%v has %d ports, but %d on all addresses", sub, n, on)
			t.FailNow()
		}
		i++
	}
	// Every port counted once.
	s := m.Stats()
	if cfg.Algorithm == Random {
		want.Empty, want.Assigned = want.Empty+want.Assigned-total, total
	}
	require.Equal(t, total, s.Assigned)
	require.Equal(t, [5]uint64{want.Reserved, want.Assigned, want.Dynamic, want.Empty, want.Remainder},
		[5]uint64{s.Reserved, s.Assigned, s.Dynamic, s.Empty, s.Remainder})
	require.Equal(t, uint64(len(g.exts))*65536, s.Ports)
	dynamic := uint64(0)
	for _, a := range g.exts {
		for r := range m.Dynamic(a) {
			dynamic += uint64(r.Len())
		}
	}
	require.Equal(t, want.Dynamic, dynamic)
	require.Equal(t, want.Dynamic/uint64(len(g.exts)), m.dynamicPorts())
}

// TestB121_forward_and_reverse_are_inverse walks every host and every port of
// random maps against the model, both ways (B116, RFC 7422 section 2).
func TestB121_forward_and_reverse_are_inverse(t *testing.T) {
	built, refused := [Mask + 1]int{}, 0
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		g, feasible := goldenOf(cfg)
		m, err := New(cfg)
		if err != nil {
			refused++
			var field *FieldError
			require.ErrorAs(t, err, &field)
			if feasible && !(cfg.Algorithm == Crypto && field.Field == "Reserved") {
				t.Fatalf("feasible, but refused: %v\n%+v", err, cfg)
			}
			return
		}
		if !feasible {
			t.Fatalf("infeasible, but accepted: %+v", cfg)
		}
		built[cfg.Algorithm]++
		checkMap(t, cfg, m, g)
		again, err := New(m.Config())
		require.NoError(t, err)
		require.Equal(t, m, again, "the filled configuration gives the same map")
	})
	t.Logf("maps built by algorithm %v, refused %d", built, refused)
}

// TestB116_no_wrong_answer asks for addresses that are not in the map.
func TestB116_no_wrong_answer(t *testing.T) {
	m, err := New(Config{Internal: Spans("172.16.255.0/24"), IncludeBoundaryAddresses: true, External: Spans("172.17.255.50")})
	require.NoError(t, err)
	for _, text := range []string{"172.17.255.49", "172.17.255.51", "0.0.0.0", "255.255.255.255", "::ac11:ff32", "2001:db8::1", "fe80::1%eth0"} {
		_, err := m.Reverse(netip.MustParseAddr(text), 2000)
		require.ErrorIs(t, err, ErrNotInPool, text)
		_, err = m.Forward(netip.MustParseAddr(text))
		require.ErrorIs(t, err, ErrNotSubscriber, text)
	}
	_, err = m.Reverse(netip.Addr{}, 2000)
	require.ErrorIs(t, err, ErrNotInPool)
	_, err = m.Forward(netip.Addr{})
	require.ErrorIs(t, err, ErrNotSubscriber)
	sub, err := m.Reverse(netip.MustParseAddr("::ffff:172.17.255.50"), 6315)
	require.NoError(t, err)
	require.Equal(t, "172.16.255.20/32", sub.String())
	require.False(t, errors.Is(err, ErrUnused))
}
