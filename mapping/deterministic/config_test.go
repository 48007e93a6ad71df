package deterministic

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// Each fault by itself: the field it names.
func TestH54_config_faults(t *testing.T) {
	ok := func(f func(*Config)) Config {
		cfg := Config{Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.0/30")}
		f(&cfg)
		return cfg
	}
	require.NotNil(t, mustNew(t, ok(func(*Config) {})))
	for name, c := range map[string]struct {
		field string
		edit  func(*Config)
	}{
		"name":                  {"Name", func(c *Config) { c.Name = "\xff" }},
		"no internal":           {"Internal", func(c *Config) { c.Internal = nil }},
		"no external":           {"External", func(c *Config) { c.External = nil }},
		"invalid span":          {"Internal[1]", func(c *Config) { c.Internal = append(c.Internal, Span{}) }},
		"first span invalid":    {"Internal[0]", func(c *Config) { c.Internal = []Span{{}, c.Internal[0]} }},
		"mixed internal":        {"Internal[1]", func(c *Config) { c.Internal = append(c.Internal, Spans("2001:db8::/64")...) }},
		"mixed external":        {"External[1]", func(c *Config) { c.External = append(c.External, Spans("2001:db8::1")...) }},
		"mixed exclusion":       {"InternalExclude[0]", func(c *Config) { c.InternalExclude = Spans("2001:db8::1") }},
		"all excluded":          {"Internal", func(c *Config) { c.InternalExclude = Spans("10.0.0.0/8") }},
		"all external excluded": {"External", func(c *Config) { c.ExternalExclude = Spans("192.0.2.0/24") }},
		"bits":                  {"SubscriberBits", func(c *Config) { c.SubscriberBits = 33 }},
		"negative bits":         {"SubscriberBits", func(c *Config) { c.SubscriberBits = -1 }},
		"unaligned":             {"Internal[0]", func(c *Config) { c.Internal, c.SubscriberBits = Spans("10.0.0.1-10.0.0.8"), 30 }},
		"too many subscribers":  {"Internal", func(c *Config) { c.Internal, c.SubscriberBits = Spans("2001:db8::/32"), 128 }},
		"too many externals":    {"External", func(c *Config) { c.External = Spans("2001:db8::/64") }},
		"algorithm":             {"Algorithm", func(c *Config) { c.Algorithm = 200 }},
		"remainder":             {"Remainder", func(c *Config) { c.Remainder = 9 }},
		"negative C":            {"SharingRatio", func(c *Config) { c.SharingRatio = -1 }},
		"C too large":           {"SharingRatio", func(c *Config) { c.SharingRatio = 65000 }},
		"P too large":           {"SharingRatio", func(c *Config) { c.PortsPerSubscriber = 64513 }},
		"D too large":           {"SharingRatio", func(c *Config) { c.DynamicFactor = 65000 }},
		"C and P too large":     {"SharingRatio", func(c *Config) { c.SharingRatio, c.PortsPerSubscriber = 64, 1009 }},
		"pool too small":        {"External", func(c *Config) { c.SharingRatio = 63 }},
		"M below P":             {"MaxPorts", func(c *Config) { c.MaxPorts = 999 }},
		"invalid reserved":      {"Reserved[0]", func(c *Config) { c.Reserved = []portblock.Range{{}} }},
		"all reserved":          {"Reserved", func(c *Config) { c.Reserved = ranges("0-65535") }},
		"MAP field":             {"PSIDLen", func(c *Config) { c.PSIDLen = 3 }},
		"MAP offset":            {"PSIDOffset", func(c *Config) { c.PSIDOffset = 3 }},
		"GMA field":             {"Contiguous", func(c *Config) { c.Contiguous = 3 }},
		"mask field":            {"PortRangeMask", func(c *Config) { c.PortRangeMask = 3 }},
		"first slot":            {"FirstSlot", func(c *Config) { c.FirstSlot = 3 }},
		"group":                 {"GroupSize", func(c *Config) { c.GroupSize = 2 }},
		"key":                   {"Key", func(c *Config) { c.Key[3] = 1 }},
		"key per address":       {"KeyPerAddress", func(c *Config) { c.KeyPerAddress = true }},
		"dynamic ports":         {"DynamicPorts", func(c *Config) { c.Algorithm, c.DynamicPorts = RoundRobin, 1 }},
		"spread":                {"Remainder", func(c *Config) { c.Algorithm, c.Remainder = Interlaced, RemainderSpread }},
		"P of MAP":              {"PortsPerSubscriber", func(c *Config) { c.Algorithm, c.PSIDOffset, c.PSIDLen, c.PortsPerSubscriber = MAP, 6, 8, 252 }},
		"a + k":                 {"PSIDLen", func(c *Config) { c.Algorithm, c.PSIDOffset, c.PSIDLen = MAP, 9, 8 }},
		"too few PSIDs":         {"External", func(c *Config) { c.Algorithm, c.PSIDOffset, c.PSIDLen = MAP, 6, 5 }},
		"ratio beyond PSIDs":    {"SharingRatio", func(c *Config) { c.Algorithm, c.PSIDOffset, c.PSIDLen, c.SharingRatio = MAP, 6, 6, 65 }},
		"no PSID left":          {"SharingRatio", func(c *Config) { c.Algorithm, c.PSIDOffset, c.PSIDLen, c.DynamicFactor = MAP, 6, 6, 64 }},
		"reserved set":          {"FirstSlot", func(c *Config) { c.Algorithm, c.PSIDLen = MAP, 6 }},
		"no GMA run":            {"Contiguous", func(c *Config) { c.Algorithm = GMA }},
		"no GMA row":            {"Contiguous", func(c *Config) { c.Algorithm, c.Contiguous = GMA, 2000 }},
		"GMA set of port 0": {"SharingRatio", func(c *Config) {
			c.Algorithm, c.Contiguous, c.SharingRatio, c.Reserved = GMA, 1, 65535, ranges("5")
		}},
		"GMA set reserved": {"SharingRatio", func(c *Config) {
			c.Algorithm, c.Contiguous, c.SharingRatio, c.Reserved = GMA, 1, 30000, ranges("5", "30005")
		}},
		"GMA set reserved by D": {"SharingRatio", func(c *Config) {
			c.Algorithm, c.Contiguous, c.DynamicFactor, c.Reserved = GMA, 1, 30000-64, ranges("5", "30005")
		}},
		"mask set reserved":      {"FirstSlot", func(c *Config) { c.Algorithm, c.PortRangeMask, c.Reserved = Mask, 0xfc00, nil }},
		"no mask":                {"PortRangeMask", func(c *Config) { c.Algorithm = Mask }},
		"group divides":          {"GroupSize", func(c *Config) { c.Algorithm, c.GroupSize = RoundRobin, 3 }},
		"P not a multiple":       {"PortsPerSubscriber", func(c *Config) { c.Algorithm, c.PortsPerSubscriber = RoundRobin, 1001 }},
		"too few for crypto":     {"Reserved", func(c *Config) { c.Algorithm, c.Reserved = Crypto, ranges("0-50000") }},
		"too many address keys":  {"KeyPerAddress", func(c *Config) { c.Algorithm, c.KeyPerAddress, c.External = Crypto, true, Spans("192.0.0.0/19") }},
		"round robin over a lot": {"GroupSize", func(c *Config) { c.Algorithm, c.External = RoundRobin, Spans("192.0.0.0/15") }},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := New(ok(c.edit))
			require.Nil(t, m)
			var joined interface{ Unwrap() []error }
			require.ErrorAs(t, err, &joined)
			var fields []string
			for _, err := range joined.Unwrap() {
				var f *FieldError
				require.ErrorAs(t, err, &f)
				require.NotEmpty(t, f.Rule)
				require.NotEmpty(t, f.Fix)
				fields = append(fields, f.Field)
			}
			require.True(t, slices.Contains(fields, c.field), "%v", err)
		})
	}
}

// What a fault of a GMA map says to do can be done: FirstSlot is not for GMA.
func TestConfig_GMA_faults_can_be_mended(t *testing.T) {
	cfg := Config{Internal: Spans("10.0.0.1"), External: Spans("192.0.2.1"), Algorithm: GMA, Contiguous: 1, SharingRatio: 65535, Reserved: ranges("5")}
	_, err := New(cfg)
	var f *FieldError
	require.ErrorAs(t, err, &f)
	require.Equal(t, [2]string{"SharingRatio", "65535"}, [2]string{f.Field, f.Value})
	require.NotContains(t, err.Error(), "FirstSlot")
	cfg.SharingRatio = 32768
	require.Equal(t, "192.0.2.1:32768", forward(t, mustNew(t, cfg), "10.0.0.1").String())
}

func TestConfig_all_faults_at_once(t *testing.T) {
	_, err := New(Config{Internal: Spans("10.0.0.0/24", "10.0.0.128-10.0.1.5", "10.0.0.7"), SharingRatio: -1, PSIDLen: 3, MaxPorts: -1})
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	require.Len(t, joined.Unwrap(), 6, "%v", err)
	var overlap *OverlapError
	require.ErrorAs(t, err, &overlap)
	require.Equal(t, "Internal[0] and Internal[2] overlap: both claim the internal addresses 10.0.0.7-10.0.0.7 in realm 0", overlap.Error()[len("deterministic: "):])
}

func TestConfig_is_copied_and_filled(t *testing.T) {
	cfg := rfc7422Example()
	m := mustNew(t, cfg)
	cfg.Internal[0] = Spans("10.0.0.0/8")[0]
	require.Equal(t, "192.0.2.1:1024-5055", forward(t, m, "198.51.100.1").String())
	filled := m.Config()
	require.Equal(t, [4]int{14, 4032, 32, 5040}, [4]int{filled.SharingRatio, filled.PortsPerSubscriber, filled.SubscriberBits, filled.MaxPorts})
	require.Equal(t, RemainderDynamic, filled.Remainder)
	require.Equal(t, ranges("0-1023"), filled.Reserved)
	filled.Reserved[0] = portblock.RangeOf(0, 0)
	require.Equal(t, ranges("0-1023"), m.Config().Reserved)
}

// TestH53_holes_and_merging: a map over many touching spans is the same as over
// the one span that they make up, and holes shift nobody else's number.
func TestH53_holes_and_merging(t *testing.T) {
	one := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.255"), External: Spans("192.0.2.0-192.0.2.3")})
	many := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.99", "10.0.0.100", "10.0.0.101-10.0.0.255"), External: Spans("192.0.2.0/31", "192.0.2.2/31")})
	require.Len(t, many.in.byBase, 1)
	for i := range one.Subscribers() {
		require.Equal(t, one.ports(i).String(), many.ports(i).String())
	}
	holes := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.255"), External: Spans("192.0.2.0-192.0.2.9"),
		InternalExclude: Spans("10.0.0.5", "10.0.0.4-10.0.0.7", "9.0.0.0/8", "10.0.0.250-10.0.1.0"), ExternalExclude: Spans("192.0.2.1-192.0.2.8")})
	require.Equal(t, uint64(246), holes.Subscribers())
	require.Equal(t, uint64(2), holes.Externals())
	n, err := holes.Number(addr("10.0.0.8"))
	require.NoError(t, err)
	require.Equal(t, uint64(4), n)
	for _, out := range []string{"10.0.0.4", "10.0.0.7", "10.0.0.250", "10.0.0.255"} {
		_, err := holes.Number(addr(out))
		require.ErrorIs(t, err, ErrNotSubscriber)
	}
	require.Equal(t, addr("192.0.2.9"), holes.External(1))
	require.False(t, holes.External(2).IsValid())
	require.False(t, holes.Subscriber(246).IsValid())
}

// Addresses at the top of both address spaces, and maps as large as they get.
func TestH5_top_of_the_space_and_limits(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("255.255.255.0-255.255.255.255"), External: Spans("255.255.255.254/31")})
	require.Equal(t, "255.255.255.255/32", reverse(t, m, forward(t, m, "255.255.255.255").At(503).String()))
	m = mustNew(t, Config{Internal: Spans("ffff:ffff:ffff:ffff::/64"), External: Spans("0.0.0.0/0")})
	require.Equal(t, uint64(1)<<32, m.Externals())
	require.Equal(t, "ffff:ffff:ffff:ffff::/64", reverse(t, m, "0.0.0.0:65535"))
	require.Equal(t, ErrEmptySlot.Error(), reverse(t, m, "255.255.255.255:65535"))
	m = mustNew(t, Config{Internal: Spans("2001:db8::/16"), External: Spans("0.0.0.0/0"), SubscriberBits: 62, Algorithm: Random})
	require.Equal(t, uint64(1)<<46, m.Subscribers())
	require.Equal(t, 1<<14, m.Ratio())
	for _, host := range []string{"2001::", "2001:ffff:ffff:fffc::", "2001:db8:1:8::"} {
		p := forward(t, m, host)
		require.Equal(t, netip.PrefixFrom(addr(host), 62).String(), reverse(t, m, p.At(1).String()))
	}
	_, err := New(Config{Internal: Spans("2001:db8::/16"), External: Spans("0.0.0.0/0"), SubscriberBits: 65})
	require.Error(t, err)
	// The bottom is no neighbour of the top.
	m = mustNew(t, Config{Internal: Spans("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", "::/127", "8000::/127"), SubscriberBits: 128, External: Spans("192.0.2.1")})
	for i, host := range []string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "::1", "8000::", "8000::1"} {
		n, err := m.Number(addr(host))
		require.NoError(t, err)
		require.Equal(t, uint64(i), n)
		require.Equal(t, host+"/128", m.Subscriber(n).String())
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string][2]string{
		"10.0.0.5/30": {"10.0.0.4", "10.0.0.7"}, "10.0.0.5": {"10.0.0.5", "10.0.0.5"}, "10.0.0.5-10.0.1.0": {"10.0.0.5", "10.0.1.0"},
		"0.0.0.0/0": {"0.0.0.0", "255.255.255.255"}, "::/0": {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		"2001:db8::/127": {"2001:db8::", "2001:db8::1"}, "::ffff:10.0.0.4/126": {"10.0.0.4", "10.0.0.7"}, "2001:db8::/64": {"2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"},
	} {
		s, err := ParseSpan(text)
		if text == "::ffff:10.0.0.4/126" { // netip refuses prefixes of mapped addresses
			s = PrefixSpan(netip.PrefixFrom(addr("::ffff:10.0.0.4"), 126))
		} else {
			require.NoError(t, err, text)
		}
		require.Equal(t, want, [2]string{s.First().String(), s.Last().String()})
		require.True(t, s.Contains(s.First()) && s.Contains(s.Last()))
		require.False(t, s.Contains(s.Last().Next()) && s.Last().Next().IsValid())
		again, err := ParseSpan(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
	}
	for _, bad := range []string{"", "x", "10.0.0.1-", "10.0.0.2-10.0.0.1", "10.0.0.1-2001:db8::", "10.0.0.0/33", "fe80::1%eth0", "10.0.0.1-10.0.0.2-10.0.0.3"} {
		_, err := ParseSpan(bad)
		require.ErrorIs(t, err, ErrSyntax, bad)
	}
	require.Equal(t, "invalid Span", Span{}.String())
	require.False(t, Span{}.Contains(addr("0.0.0.0")))
	require.False(t, PrefixSpan(netip.Prefix{}).IsValid())
	require.False(t, PrefixSpan(netip.PrefixFrom(addr("::ffff:10.0.0.0"), 90)).IsValid())
	require.Panics(t, func() { Spans("x") })
	require.True(t, errors.Is(new(Span).UnmarshalText([]byte("x")), ErrSyntax))
}
