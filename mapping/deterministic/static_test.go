package deterministic

import (
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func mustStatic(t testing.TB, cfg StaticConfig) *Static {
	t.Helper()
	s, err := NewStatic(cfg)
	require.NoError(t, err)
	return s
}

// TestH51_port_forwarding maps a range of ports by offset, both ways.
func TestH51_port_forwarding(t *testing.T) {
	s := mustStatic(t, StaticConfig{
		Internal: []Endpoints{{MustParseSpan("10.0.0.0/30"), portblock.RangeOf(8000, 8009)}},
		External: []Endpoints{{MustParseSpan("192.0.2.4/30"), portblock.RangeOf(80, 89)}}})
	require.Equal(t, uint64(40), s.Len())
	out, err := s.Forward(netip.MustParseAddrPort("10.0.0.2:8005"))
	require.NoError(t, err)
	require.Equal(t, "192.0.2.6:85", out.String())
	in, err := s.Reverse(out)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.2:8005", in.String())
	for _, text := range []string{"10.0.0.2:8010", "10.0.0.2:7999", "10.0.0.4:8000", "9.255.255.255:8000", "[::1]:8000"} {
		_, err = s.Forward(netip.MustParseAddrPort(text))
		require.ErrorIs(t, err, ErrNotSubscriber, text)
	}
	_, err = s.Reverse(netip.MustParseAddrPort("192.0.2.6:90"))
	require.ErrorIs(t, err, ErrNotInPool)
	_, err = s.Reverse(netip.AddrPort{})
	require.ErrorIs(t, err, ErrNotInPool)
	require.Zero(t, testing.AllocsPerRun(20, func() { out, _ = s.Forward(in); in, sinkErr = s.Reverse(out) }))
}

// TestH52_static_nat_is_a_bijection draws both sides, lists all endpoints one by
// one and compares; H53: exclusions shift the numbers of the rest.
func TestH52_static_nat_is_a_bijection(t *testing.T) {
	built := 0
	side := func(t *rapid.T, base, label string) (list []Endpoints, exclude []Span, model []netip.AddrPort) {
		for range rapid.IntRange(1, 4).Draw(t, label) {
			first := u128Of(addr(base)).add(u128{0, uint64(rapid.IntRange(0, 8).Draw(t, "first"))})
			last := first.add(u128{0, uint64(rapid.IntRange(0, 4).Draw(t, "more"))})
			is4 := addr(base).Is4()
			port := rapid.SampledFrom([]int{1, 10, 12, 65530}).Draw(t, "port")
			list = append(list, Endpoints{RangeSpan(first.addr(is4), last.addr(is4)), portblock.RangeOf(uint16(port), uint16(port+rapid.IntRange(0, 5).Draw(t, "ports")))})
		}
		if rapid.Bool().Draw(t, "hole") {
			exclude = []Span{AddrSpan(list[0].Addrs.First())}
		}
		for _, e := range list {
			for a := e.Addrs.First(); e.Addrs.Contains(a); a = a.Next() {
				for p := int(e.Ports.First()); p <= int(e.Ports.Last()); p++ {
					if len(exclude) == 0 || !exclude[0].Contains(a) {
						model = append(model, netip.AddrPortFrom(a, uint16(p)))
					}
				}
			}
		}
		return list, exclude, model
	}
	rapid.Check(t, func(t *rapid.T) {
		var cfg StaticConfig
		var in, out []netip.AddrPort
		cfg.Internal, cfg.InternalExclude, in = side(t, rapid.SampledFrom([]string{"10.0.0.250", "2001:db8::fffe"}).Draw(t, "family"), "internal")
		cfg.External, cfg.ExternalExclude, out = side(t, "192.0.2.1", "external")
		unique := func(list []netip.AddrPort) bool {
			seen := map[netip.AddrPort]bool{}
			for _, ap := range list {
				seen[ap] = true
			}
			return len(seen) == len(list)
		}
		if len(in) > 0 && len(in) < len(out) { // make it equal: one span more, of the difference
			n := len(out) - len(in)
			a := u128Of(addr("10.9.0.0"))
			if in[0].Addr().Is6() {
				a = u128Of(addr("2001:db8:1::"))
			}
			last := a.add(u128{0, uint64(n - 1)}).addr(in[0].Addr().Is4())
			cfg.Internal = append(cfg.Internal, Endpoints{RangeSpan(a.addr(in[0].Addr().Is4()), last), portblock.RangeOf(7, 7)})
			for i := range n {
				in = append(in, netip.AddrPortFrom(a.add(u128{0, uint64(i)}).addr(in[0].Addr().Is4()), 7))
			}
		}
		s, err := NewStatic(cfg)
		if !unique(in) || !unique(out) || len(in) != len(out) {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		built++
		require.Equal(t, uint64(len(in)), s.Len())
		for i := range in {
			got, err := s.Forward(in[i])
			require.NoError(t, err)
			require.Equal(t, out[i], got)
			back, err := s.Reverse(out[i])
			require.NoError(t, err)
			require.Equal(t, in[i], back)
		}
		known := map[netip.AddrPort]bool{}
		for _, ap := range out {
			known[ap] = true
		}
		for a := range 20 {
			for _, p := range []uint16{0, 1, 9, 10, 11, 15, 16, 17, 18, 65529, 65530, 65535} {
				ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(a)}), p)
				_, err := s.Reverse(ap)
				require.Equal(t, known[ap], err == nil, "%v", ap)
			}
		}
	})
	t.Logf("maps built: %d", built)
	require.Greater(t, built, 5)
}

// A static map of which exclusions leave nothing refuses every endpoint.
func TestH53_static_without_endpoints(t *testing.T) {
	side := func(a string) []Endpoints {
		return []Endpoints{{Addrs: MustParseSpan(a), Ports: portblock.RangeOf(1, 2)}}
	}
	s := mustStatic(t, StaticConfig{Internal: side("10.0.0.0/31"), InternalExclude: Spans("10.0.0.0/8"),
		External: side("192.0.2.1"), ExternalExclude: Spans("192.0.2.1")})
	require.Zero(t, s.Len())
	_, err := s.Forward(netip.MustParseAddrPort("10.0.0.1:1"))
	require.ErrorIs(t, err, ErrNotSubscriber)
	_, err = s.Reverse(netip.MustParseAddrPort("192.0.2.1:1"))
	require.ErrorIs(t, err, ErrNotInPool)
}

// Whole addresses keep their ports; prefixes of unequal sizes pair up in order.
func TestH52_static_nat_of_whole_addresses(t *testing.T) {
	s := mustStatic(t, StaticConfig{
		Internal: []Endpoints{{Addrs: MustParseSpan("10.0.0.0/29")}},
		External: []Endpoints{{Addrs: MustParseSpan("192.0.2.0/30")}, {Addrs: MustParseSpan("198.51.100.8/30")}}})
	out, err := s.Forward(netip.MustParseAddrPort("10.0.0.5:443"))
	require.NoError(t, err)
	require.Equal(t, "198.51.100.9:443", out.String())
}

// At the top of both address spaces.
func TestH5_static_nat_at_the_top(t *testing.T) {
	top := MustParseSpan("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")
	s := mustStatic(t, StaticConfig{
		Internal: []Endpoints{{top, portblock.RangeOf(1, 2)}, {AddrSpan(top.Last()), portblock.RangeOf(65535, 65535)}, {MustParseSpan("::/128"), portblock.RangeOf(5, 5)}},
		External: []Endpoints{{MustParseSpan("255.255.255.254/31"), portblock.RangeOf(65533, 65535)}}})
	for i := range s.Len() {
		in := s.in.at(i)
		out, err := s.Forward(in)
		require.NoError(t, err)
		back, err := s.Reverse(out)
		require.NoError(t, err)
		require.Equal(t, in, back)
	}
	out, err := s.Forward(netip.AddrPortFrom(addr("::"), 5))
	require.NoError(t, err)
	require.Equal(t, "255.255.255.255:65535", out.String())
}

func TestH54_static_faults(t *testing.T) {
	one := []Endpoints{{Addrs: MustParseSpan("10.0.0.0/30")}}
	for name, cfg := range map[string]StaticConfig{
		"empty":          {},
		"unequal totals": {Internal: one, External: []Endpoints{{Addrs: MustParseSpan("192.0.2.0/31")}}},
		"port 0":         {Internal: one, External: []Endpoints{{MustParseSpan("192.0.2.0/30"), portblock.RangeOf(0, 65535)}}},
		"mixed families": {Internal: one, External: []Endpoints{{Addrs: MustParseSpan("192.0.2.0/31")}, {Addrs: MustParseSpan("::/127")}}},
		"invalid":        {Internal: one, External: []Endpoints{{}}},
		"bad exclusion":  {Internal: one, External: one, ExternalExclude: []Span{{}}},
		"too many ports": {Internal: []Endpoints{{Addrs: MustParseSpan("::/80")}}, External: one},
		"too many":       {Internal: []Endpoints{{Addrs: MustParseSpan("::/64")}}, External: one},
	} {
		_, err := NewStatic(cfg)
		var field *FieldError
		require.ErrorAs(t, err, &field, name)
	}
	huge := []Endpoints{{Addrs: MustParseSpan("::/80")}} // 2^64 endpoints
	_, err := NewStatic(StaticConfig{Internal: huge, External: huge})
	require.ErrorContains(t, err, "at most 2^48 endpoints")
	_, err = NewStatic(StaticConfig{Internal: one, External: []Endpoints{
		{MustParseSpan("192.0.2.0/30"), portblock.RangeOf(1, 100)}, {MustParseSpan("192.0.2.3/32"), portblock.RangeOf(100, 200)}}})
	require.ErrorIs(t, err, ErrOverlap)
}
