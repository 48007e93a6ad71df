package deterministic

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// requireSame fails unless two maps number the same addresses alike, reserve the
// same ports and agree in all other parameters. It compares what New built, field
// by field, and calls no method of the maps.
func requireSame(t require.TestingT, a, b *Map) {
	require.Equal(t, a.in, b.in)
	require.Equal(t, a.ext, b.ext)
	require.Equal(t, a.plan, b.plan)
	x, y := a.cfg, b.cfg
	for _, cfg := range []*Config{&x, &y} {
		cfg.Internal, cfg.InternalExclude, cfg.IncludeBoundaryAddresses = nil, nil, false
		cfg.External, cfg.ExternalExclude, cfg.Reserved = nil, nil, nil
	}
	require.Equal(t, x, y)
}

// spelling is a way to write a configuration, and another one.
type spelling struct {
	a, b Config
	same bool
}

func spellings() map[string]spelling {
	base := Config{Name: "m", Internal: Spans("10.0.0.1-10.0.0.6"), External: Spans("192.0.2.1/32"), Reserved: ranges("0-1023")}
	with := func(edit func(*Config)) Config {
		cfg := base.clone()
		edit(&cfg)
		return cfg
	}
	pair := func(same bool, a, b func(*Config)) spelling { return spelling{with(a), with(b), same} }
	nothing := func(*Config) {}
	return map[string]spelling{
		"one address":    pair(true, nothing, func(c *Config) { c.External = Spans("192.0.2.1") }),
		"range of one":   pair(true, nothing, func(c *Config) { c.External = Spans("192.0.2.1-192.0.2.1") }),
		"one inside":     pair(true, func(c *Config) { c.Internal = Spans("10.0.0.1/32") }, func(c *Config) { c.Internal = Spans("10.0.0.1") }),
		"prefix outside": pair(true, func(c *Config) { c.External = Spans("192.0.2.0/30") }, func(c *Config) { c.External = Spans("192.0.2.0-192.0.2.3") }),
		"touching spans": pair(true, func(c *Config) { c.External = Spans("192.0.2.0/30") }, func(c *Config) { c.External = Spans("192.0.2.0/31", "192.0.2.2", "192.0.2.3") }),
		"boundaries":     pair(true, nothing, func(c *Config) { c.Internal = Spans("10.0.0.0/29") }),
		"with boundaries": pair(true, func(c *Config) { c.Internal, c.IncludeBoundaryAddresses = Spans("10.0.0.0/29"), true },
			func(c *Config) { c.Internal = Spans("10.0.0.0-10.0.0.7") }),
		"no boundary to include": pair(true, nothing, func(c *Config) { c.IncludeBoundaryAddresses = true }),
		"hole":                   pair(true, func(c *Config) { c.InternalExclude = Spans("10.0.0.3") }, func(c *Config) { c.Internal = Spans("10.0.0.1/32", "10.0.0.2", "10.0.0.4-10.0.0.6") }),
		"hole of nothing":        pair(true, nothing, func(c *Config) { c.ExternalExclude = Spans("198.51.100.0/24") }),
		"reserved in parts":      pair(true, nothing, func(c *Config) { c.Reserved = ranges("512-1023", "1-600") }),
		"default reserved":       pair(true, nothing, func(c *Config) { c.Reserved = nil }),
		"IPv6 prefix":            pair(true, func(c *Config) { c.Internal = Spans("2001:db8::/64") }, func(c *Config) { c.Internal = Spans("2001:db8::-2001:db8::ffff:ffff:ffff:ffff") }),

		"prefix inside":        pair(false, nothing, func(c *Config) { c.Internal = Spans("10.0.0.0-10.0.0.7") }),
		"range for a prefix":   pair(false, func(c *Config) { c.Internal = Spans("10.0.0.0/29") }, func(c *Config) { c.Internal = Spans("10.0.0.0-10.0.0.7") }),
		"boundaries counted":   pair(false, func(c *Config) { c.Internal = Spans("10.0.0.0/29") }, func(c *Config) { c.Internal, c.IncludeBoundaryAddresses = Spans("10.0.0.0/29"), true }),
		"another order":        pair(false, func(c *Config) { c.External = Spans("192.0.2.1", "192.0.2.3") }, func(c *Config) { c.External = Spans("192.0.2.3", "192.0.2.1") }),
		"neighbours exchanged": pair(false, func(c *Config) { c.External = Spans("192.0.2.1", "192.0.2.2") }, func(c *Config) { c.External = Spans("192.0.2.2", "192.0.2.1") }),
		"another address":      pair(false, nothing, func(c *Config) { c.External = Spans("192.0.2.2") }),
		"a port more reserved": pair(false, nothing, func(c *Config) { c.Reserved = ranges("0-1024") }),
		"a limit":              pair(false, nothing, func(c *Config) { c.MaxPorts = 30000 }),
		"a realm":              pair(false, nothing, func(c *Config) { c.Realm = 1 }),
		"an external realm":    pair(false, nothing, func(c *Config) { c.ExternalRealm = 1 }),
		"a ratio":              pair(false, nothing, func(c *Config) { c.SharingRatio = 7 }),
		"longer subscribers":   pair(false, func(c *Config) { c.Internal = Spans("2001:db8::/64") }, func(c *Config) { c.Internal, c.SubscriberBits = Spans("2001:db8::/128"), 128 }),
		"a key":                pair(false, func(c *Config) { c.Algorithm = Random }, func(c *Config) { c.Algorithm, c.Key[0] = Random, 1 }),
	}
}

// A new epoch begins when the map changes, not when its spans are spelled
// otherwise.
func TestHistory_begin_compares_what_spans_hold(t *testing.T) {
	for name, c := range spellings() {
		t.Run(name, func(t *testing.T) {
			if c.same {
				requireSame(t, mustNew(t, c.a), mustNew(t, c.b))
			}
			for i, turn := range [][2]Config{{c.a, c.b}, {c.b, c.a}, {c.a, c.a}} {
				var h History
				first, err := h.Begin(day(1), turn[0])
				require.NoError(t, err)
				second, err := h.Begin(day(2), turn[1])
				require.NoError(t, err)
				if c.same || i == 2 {
					require.Equal(t, first, second)
				} else {
					require.Equal(t, uint64(2), second.Number)
				}
			}
		})
	}
}

// The log line has all parameters as JSON only where its fields lead to another
// map, not where a span is spelled otherwise.
func TestLogLine_compares_what_spans_hold(t *testing.T) {
	for name, c := range map[string]struct {
		in, out string
		tail    bool
	}{
		"prefix":            {"10.0.0.0/28", "192.0.2.1/32", false},
		"one address":       {"10.0.0.0/28", "192.0.2.1", false},
		"range of one":      {"10.0.0.0/28", "192.0.2.1-192.0.2.1", false},
		"range outside":     {"10.0.0.0/28", "192.0.2.0-192.0.2.3", false},
		"uneven outside":    {"10.0.0.0/28", "192.0.2.1-192.0.2.6", false},
		"one inside":        {"10.0.0.1", "192.0.2.1", false},
		"two inside":        {"10.0.0.0-10.0.0.1", "192.0.2.1", false},
		"boundaries inside": {"10.0.0.0-10.0.0.15", "192.0.2.1", true},
		"IPv6":              {"2001:db8::-2001:db8:0:1:ffff:ffff:ffff:ffff", "192.0.2.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Internal: Spans(c.in), External: Spans(c.out)}
			line, err := AppendLogLine(nil, day(1), cfg)
			require.NoError(t, err)
			require.Equal(t, c.tail, strings.Contains(string(line), "{"), "%s", line)
			_, back, err := ParseLogLine(line)
			require.NoError(t, err)
			requireSame(t, mustNew(t, cfg), mustNew(t, back))
		})
	}
}

// Whatever the map: spelled with other spans it is the same, and any two maps that
// are the same give every port to the same subscriber.
func TestSame_for_any_map(t *testing.T) {
	same, other := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.KeyPerAddress = false
		m, err := New(cfg)
		if err != nil {
			return
		}
		next := cfg.clone()
		split := next.External[0]
		next.External = append([]Span{AddrSpan(split.First())}, next.External[1:]...)
		if split.First() != split.Last() {
			next.External = append([]Span{AddrSpan(split.First()), RangeSpan(split.First().Next(), split.Last())}, next.External[1:]...)
		}
		if m2, err := New(next); err != nil || !m.same(m2) || !m2.same(m) {
			t.Fatalf("%v spelled %v: %v", cfg.External, next.External, err)
		}
		next.IncludeBoundaryAddresses = !cfg.IncludeBoundaryAddresses
		next.Internal = rapid.Permutation(cfg.Internal).Draw(t, "another order")
		m2, err := New(next)
		if err != nil {
			return
		}
		alike := m.Subscribers() == m2.Subscribers()
		for i := range min(m.Subscribers(), m2.Subscribers()) {
			alike = alike && m.Subscriber(i) == m2.Subscriber(i)
		}
		if alike {
			same++
		} else {
			other++
		}
		if m.same(m2) != alike {
			t.Fatalf("%+v\n%+v: subscribers alike %v", cfg, next, alike)
		}
	})
	t.Logf("same %d, other %d", same, other)
}
