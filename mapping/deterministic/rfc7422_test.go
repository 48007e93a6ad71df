package deterministic

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// rfc7422Example is the configuration of RFC 7422 section 2.3.
func rfc7422Example() Config {
	return Config{
		Internal:      Spans("198.51.100.0/28"),
		External:      Spans("192.0.2.1"),
		DynamicFactor: 2,
		MaxPorts:      5040,
	}
}

func mustNew(t testing.TB, cfg Config) *Map {
	t.Helper()
	m, err := New(cfg)
	require.NoError(t, err)
	return m
}

func forward(t testing.TB, m *Map, internal string) Ports {
	t.Helper()
	p, err := m.Forward(netip.MustParseAddr(internal))
	require.NoError(t, err)
	return p
}

func reverse(t testing.TB, m *Map, external string) string {
	t.Helper()
	ap := netip.MustParseAddrPort(external)
	sub, err := m.Reverse(ap.Addr(), ap.Port())
	if err != nil {
		return err.Error()
	}
	return sub.String()
}

func listRanges(m *Map, external string) (out []portblock.Range) {
	for r := range m.Dynamic(netip.MustParseAddr(external)) {
		out = append(out, r)
	}
	return out
}

func TestRFC7422_01_both_directions_of_the_example(t *testing.T) {
	m := mustNew(t, rfc7422Example())
	for k, want := range []string{"1024-5055", "5056-9087", "9088-13119", "13120-17151", "17152-21183", "21184-25215", "25216-29247",
		"29248-33279", "33280-37311", "37312-41343", "41344-45375", "45376-49407", "49408-53439", "53440-57471"} {
		inside := fmt.Sprintf("198.51.100.%d", k+1)
		p := forward(t, m, inside)
		require.Equal(t, "192.0.2.1:"+want, p.String())
		require.Equal(t, 4032, p.Len())
		r := portblock.MustParseRange(want)
		require.Equal(t, inside+"/32", reverse(t, m, fmt.Sprintf("192.0.2.1:%d", r.First())))
		require.Equal(t, inside+"/32", reverse(t, m, fmt.Sprintf("192.0.2.1:%d", r.Last())))
	}
}

func TestRFC7422_03_ports_per_subscriber(t *testing.T) {
	m := mustNew(t, rfc7422Example())
	require.Equal(t, 14, m.Ratio())
	require.Equal(t, 4032, m.PortsPerSubscriber())
	require.Equal(t, ranges("57472-65535"), listRanges(m, "192.0.2.1"))
	require.Equal(t, Stats{Subscribers: 14, Capacity: 14, Externals: 1, MinPorts: 4032, MaxPorts: 4032,
		Ports: 65536, Reserved: 1024, Assigned: 56448, Dynamic: 8064}, m.Stats())
}

func TestRFC7422_04_sequential_over_addresses(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.5"), External: Spans("192.0.2.9", "192.0.2.1"), PortsPerSubscriber: 20000})
	require.Equal(t, "192.0.2.9:1024-21023", forward(t, m, "10.0.0.0").String())
	require.Equal(t, "192.0.2.9:41024-61023", forward(t, m, "10.0.0.2").String())
	require.Equal(t, "192.0.2.1:1024-21023", forward(t, m, "10.0.0.3").String())
}

// The formula printed in the RFC collides; the disjoint reading does not (X11).
func TestRFC7422_05_staggered_disjoint_reading(t *testing.T) {
	printed := map[int]bool{}
	for n := range 100 {
		printed[1024+n*14] = true // address 1 as printed
	}
	require.True(t, printed[1024+(1+0)*14], "address 2 as printed begins with a port of address 1")

	cfg := rfc7422Example()
	cfg.Algorithm = Staggered
	m := mustNew(t, cfg)
	require.Equal(t, 4032, m.PortsPerSubscriber())
	first, last := forward(t, m, "198.51.100.1"), forward(t, m, "198.51.100.14")
	require.Equal(t, []uint16{1024, 1040, 1056}, []uint16{first.Port(0), first.Port(1), first.Port(2)})
	require.Equal(t, uint16(65520), first.Port(4031))
	require.Equal(t, []uint16{1037, 1053, 1069}, []uint16{last.Port(0), last.Port(1), last.Port(2)})
	require.Equal(t, uint16(65533), last.Port(4031))
	dynamic := listRanges(m, "192.0.2.1")
	require.Equal(t, ranges("1038-1039", "1054-1055"), dynamic[:2])
	require.Len(t, dynamic, 4032)
	seen := map[uint16]string{}
	for sub, p := range m.All() {
		for ap := range p.All() {
			require.Empty(t, seen[ap.Port()], "port %d", ap.Port())
			seen[ap.Port()] = sub.String()
		}
	}
	require.Len(t, seen, 14*4032)
}

func TestRFC7422_06_round_robin_is_not_paired(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0/25"), External: Spans("192.0.2.0-192.0.2.9"), Algorithm: RoundRobin, PortsPerSubscriber: 1000})
	require.False(t, m.Paired())
	// Subscriber number 10 of the RFC's sentence: ports from 1024 + 10*100 on.
	p, err := m.Forward(m.Subscriber(10).Addr())
	require.NoError(t, err)
	require.Equal(t, 1000, p.Len())
	n := 0
	for a, r := range p.Ranges() {
		require.Equal(t, m.External(uint64(n)), a)
		require.Equal(t, portblock.RangeOf(2024, 2123), r)
		n++
	}
	require.Equal(t, 10, n)
	require.Equal(t, "192.0.2.0:2024", p.At(0).String())
	require.Equal(t, "192.0.2.1:2024", p.At(1).String())
	require.Equal(t, "192.0.2.0:2025", p.At(10).String())

	// Ports 2000-2099 as printed, with 2000 as the lowest usable port.
	m = mustNew(t, Config{Internal: Spans("10.0.0.0/25"), External: Spans("192.0.2.0-192.0.2.9"), Algorithm: RoundRobin,
		PortsPerSubscriber: 1000, Reserved: ranges("0-1999")})
	p, err = m.Forward(m.Subscriber(0).Addr())
	require.NoError(t, err)
	for _, r := range p.Ranges() {
		require.Equal(t, portblock.RangeOf(2000, 2099), r)
	}
}

func TestRFC7422_07_interlaced(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.11"), External: Spans("192.0.2.0-192.0.2.2"), Algorithm: Interlaced})
	require.False(t, m.Paired())
	require.False(t, m.ports(0).Paired())
	require.True(t, mustNew(t, rfc7422Example()).ports(0).Paired())
	require.Equal(t, 4, m.Ratio())
	p := forward(t, m, "10.0.0.4") // slot 1, column 1
	require.Equal(t, 16128, p.Len())
	for i, want := range []string{"192.0.2.1:1025", "192.0.2.2:1029", "192.0.2.0:1033", "192.0.2.1:1037"} {
		require.Equal(t, want, p.At(i).String())
		require.Equal(t, "10.0.0.4/32", reverse(t, m, want))
	}
}

func TestRFC7422_08_crypto_reverses_with_the_archived_key(t *testing.T) {
	cfg := Config{Internal: Spans("10.0.0.0/26"), External: Spans("192.0.2.0/30"), Algorithm: Crypto, KeyPerAddress: true, Key: [16]byte{1, 2, 3}}
	m := mustNew(t, cfg)
	line, err := AppendRecord(nil, Epoch{Number: 1, From: time.Unix(1e9, 0), Config: m.Config()})
	require.NoError(t, err)
	e, err := ParseRecord(line)
	require.NoError(t, err)
	again := mustNew(t, e.Config)
	for sub, p := range m.All() {
		ap := p.At(17)
		got, err := again.Reverse(ap.Addr(), ap.Port())
		require.NoError(t, err)
		require.Equal(t, sub, got)
	}
}

func TestRFC7422_09_system_ports_are_reserved_by_default(t *testing.T) {
	m := mustNew(t, rfc7422Example())
	for _, c := range []struct {
		port int
		want string
	}{{0, ErrReserved.Error()}, {80, ErrReserved.Error()}, {1023, ErrReserved.Error()}, {1024, "198.51.100.1/32"}, {5055, "198.51.100.1/32"},
		{5056, "198.51.100.2/32"}, {57471, "198.51.100.14/32"}, {57472, ErrDynamic.Error()}, {65535, ErrDynamic.Error()}} {
		require.Equal(t, c.want, reverse(t, m, fmt.Sprintf("192.0.2.1:%d", c.port)), c.port)
	}
}

// Without a dynamic range nothing overflows; the leftover is not lost either.
func TestRFC7422_14_no_dynamic_range(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.9"), External: Spans("192.0.2.1"), MaxPorts: 10000})
	require.Zero(t, m.Overflow(6451, 100))
	require.Empty(t, listRanges(m, "192.0.2.1"))
	s := m.Stats()
	require.Equal(t, [2]int{6451, 6452}, [2]int{s.MinPorts, s.MaxPorts}, "64512 = 2*6452 + 8*6451")
	require.Zero(t, s.Remainder+s.Empty+s.Dynamic)
}

// The RFC's overflow: 5040 - 4032 = 1008 ports are ten blocks of 100; its blocks
// 58000-58099 to 58900-58999 lie in the dynamic range, an eleventh is refused.
func TestRFC7422_16_overflow_to_the_digit(t *testing.T) {
	m := mustNew(t, rfc7422Example())
	have := forward(t, m, "198.51.100.2").Len()
	require.Equal(t, 10, m.Overflow(have, 100))
	dynamic := listRanges(m, "192.0.2.1")
	require.Len(t, dynamic, 1)
	for i := range 10 {
		block := portblock.RangeOf(uint16(58000+100*i), uint16(58099+100*i))
		require.Equal(t, block, dynamic[0].Intersect(block))
	}
	require.Equal(t, 3, m.Overflow(have, 256))
	require.Equal(t, 0, m.Overflow(have, 1009))
	require.Equal(t, 0, m.Overflow(have, 0))
	require.Equal(t, 0, m.Overflow(5040, 1))

	cfg := rfc7422Example()
	cfg.MaxPorts = 0
	require.Equal(t, 80, mustNew(t, cfg).Overflow(4032, 100), "only the dynamic range limits")
}

func TestRFC7422_21_log_line(t *testing.T) {
	const line = "[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060"
	at, cfg, err := ParseLogLine([]byte(line))
	require.NoError(t, err)
	require.Equal(t, time.Date(2000, 10, 11, 14, 32, 52, 0, time.UTC), at)
	require.Equal(t, Config{Internal: Spans("198.51.100.0/28"), External: Spans("192.0.2.0/32"), DynamicFactor: 2, MaxPorts: 5040,
		Reserved: ranges("1-1023", "5004", "5060")}, cfg)
	out, err := AppendLogLine([]byte("x"), at, cfg)
	require.NoError(t, err)
	require.Equal(t, "x"+line, string(out))
	// The parameters lead to a map whose ports avoid 5004 and 5060.
	m := mustNew(t, cfg)
	require.Equal(t, 4031, m.PortsPerSubscriber(), "floor((65536-1026)/16), port 0 reserved as well")
	require.Equal(t, "192.0.2.0:1024-5003,5005-5055", forward(t, m, "198.51.100.1").String())
	require.Equal(t, "192.0.2.0:5056-5059,5061-9087", forward(t, m, "198.51.100.2").String())
	require.Equal(t, ErrReserved.Error(), reverse(t, m, "192.0.2.0:5060"))
}

// Two instances with the same parameters answer for each other.
func TestRFC7422_22_failover(t *testing.T) {
	a, b := mustNew(t, rfc7422Example()), mustNew(t, rfc7422Example())
	for sub, p := range a.All() {
		q, err := b.Forward(sub.Addr())
		require.NoError(t, err)
		require.Equal(t, p.String(), q.String())
	}
}

// IPv6 subscribers: DS-Lite and NAT64 use prefixes or addresses as the key.
func TestRFC7422_23_subscriber_keys(t *testing.T) {
	for _, c := range []struct {
		span       string
		bits, subs int
		host, want string
	}{
		{"2001:db8::/36", 48, 4096, "2001:db8:fff:1:2:3:4:5", "2001:db8:fff::/48"},
		{"2001:db8::/44", 56, 4096, "2001:db8:3:12ff::1", "2001:db8:3:1200::/56"},
		{"2001:db8::/52", 0, 4096, "2001:db8:0:fed::dead", "2001:db8:0:fed::/64"},
		{"2001:db8::/116", 128, 4096, "2001:db8::fed", "2001:db8::fed/128"},
		{"10.0.0.0/18", 30, 4096, "10.0.63.254", "10.0.63.252/30"},
	} {
		m := mustNew(t, Config{Internal: Spans(c.span), SubscriberBits: c.bits, External: Spans("192.0.2.0/28")})
		require.Equal(t, uint64(c.subs), m.Subscribers())
		require.Equal(t, 256, m.Ratio())
		p := forward(t, m, c.host)
		require.Equal(t, 252, p.Len())
		require.Equal(t, c.want, reverse(t, m, p.At(251).String()))
	}
}

func TestRFC7422_24_attribution(t *testing.T) {
	m := mustNew(t, rfc7422Example())
	require.Equal(t, "198.51.100.1/32", reverse(t, m, "192.0.2.1:2001"))
	require.Equal(t, ErrDynamic.Error(), reverse(t, m, "192.0.2.1:58204"))
	require.Equal(t, ErrReserved.Error(), reverse(t, m, "192.0.2.1:80"))
}

// The example counts 14 hosts in a /28; the option counts all 16.
func TestRFC7422_25_boundary_addresses(t *testing.T) {
	cfg := rfc7422Example()
	m := mustNew(t, cfg)
	for _, text := range []string{"198.51.100.0", "198.51.100.15"} {
		_, err := m.Forward(netip.MustParseAddr(text))
		require.ErrorIs(t, err, ErrNotSubscriber)
	}
	cfg.IncludeBoundaryAddresses = true
	m = mustNew(t, cfg)
	require.Equal(t, uint64(16), m.Subscribers())
	require.Equal(t, 64512/18, m.PortsPerSubscriber())
	for span, want := range map[string]uint64{"10.0.0.0/30": 2, "10.0.0.0/31": 2, "10.0.0.0/32": 1, "10.0.0.0-10.0.0.15": 16, "10.0.0.0/24": 254} {
		require.Equal(t, want, mustNew(t, Config{Internal: Spans(span), External: Spans("192.0.2.1")}).Subscribers(), span)
	}
}

// The parameters of any map are in its log line.
func TestRFC7422_19_log_line_of_any_map(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, c := range []struct {
		name string
		cfg  Config
		want string // prefix of the line
		json bool
	}{
		{"several prefixes", Config{Internal: Spans("10.0.0.0/30", "10.0.1.0/30"), External: Spans("192.0.2.0/31", "198.51.100.7")},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.0,10.0.1.0:30,30:192.0.2.0,198.51.100.7:31,32:0:0:0:0-1023", false},
		{"no reserved ports", Config{Internal: Spans("10.0.0.0/30"), External: Spans("192.0.2.1/32"), Reserved: ranges()},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.0:30:192.0.2.1:32:0:0:0:", false},
		{"IPv6", Config{Internal: Spans("2001:db8::/56"), External: Spans("192.0.2.1/32")},
			"[Tue Feb  3 04:05:06 2026]:[2001:db8::]:56:192.0.2.1:32:0:0:0:0-1023", false},
		{"range", Config{Internal: Spans("10.0.0.1-10.0.0.6"), External: Spans("192.0.2.1/32")},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.1,10.0.0.2,10.0.0.4,10.0.0.6:32,31,31,32:192.0.2.1:32:0:0:0:0-1023", false},
		{"range with boundaries", Config{Internal: Spans("10.0.0.0-10.0.0.3"), External: Spans("192.0.2.1/32")},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.0:30:192.0.2.1:32:0:0:0:0-1023:{", true},
		{"vendor-specific", Config{Internal: Spans("10.0.0.0/26"), External: Spans("192.0.2.1/32"), Algorithm: MAP, PSIDOffset: 6, PSIDLen: 6},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.0:26:192.0.2.1:32:0:0:5:0-1023:{", true},
		{"key stays out", Config{Internal: Spans("10.0.0.0/26"), External: Spans("192.0.2.1/32"), Algorithm: Crypto, Key: [16]byte{7}},
			"[Tue Feb  3 04:05:06 2026]:10.0.0.0:26:192.0.2.1:32:0:0:4:0-1023", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, err := AppendLogLine(nil, at, c.cfg)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(line), c.want), "%s", line)
			got, cfg, err := ParseLogLine(line)
			require.NoError(t, err)
			require.Equal(t, at, got)
			cfg.Key = c.cfg.Key
			requireSame(t, mustNew(t, c.cfg), mustNew(t, cfg))
			require.Equal(t, c.json, strings.Contains(string(line), "{"), "%s", line)
		})
	}
}
