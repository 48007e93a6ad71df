package deterministic

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

var (
	prefix = netip.MustParsePrefix
	addr   = netip.MustParseAddr
)

// appendixA is the rule of RFC 7597 appendix A, example 1.
func appendixA() RuleConfig {
	return RuleConfig{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/24"), EABits: 16, PSIDOffset: 6}
}

func mustRule(t testing.TB, cfg RuleConfig) *Rule {
	t.Helper()
	r, err := NewRule(cfg)
	require.NoError(t, err)
	return r
}

// mapOf returns a map of one external address with the 2^k sets of RFC 7597.
func mapOf(t testing.TB, a, k int) *Map {
	last := addr("10.0.0.0")
	for range 1<<k - 1 {
		last = last.Next()
	}
	return mustNew(t, Config{Internal: []Span{RangeSpan(addr("10.0.0.0"), last)}, External: Spans("192.0.2.1"),
		Algorithm: MAP, PSIDOffset: a, PSIDLen: k, Reserved: ranges()})
}

// rfc7597Rows are the rows of the port sets: a, k, m, PSID, ranges, ports, the
// first two and the last two runs.
var rfc7597Rows = []struct {
	a, k, m, psid, ranges, ports int
	runs                         []string
}{
	{6, 8, 2, 0x34, 63, 252, []string{"1232-1235", "2256-2259", "63696-63699", "64720-64723"}},
	{6, 8, 2, 0, 63, 252, []string{"1024-1027", "2048-2051", "63488-63491", "64512-64515"}},
	{0, 6, 10, 0, 1, 1024, []string{"0-1023", "0-1023", "0-1023", "0-1023"}},
	{6, 4, 6, 1, 63, 4032, []string{"1088-1151", "2112-2175", "63552-63615", "64576-64639"}},
	{6, 6, 4, 1, 63, 1008, []string{"1040-1055", "2064-2079", "63504-63519", "64528-64543"}},
	{6, 10, 0, 1, 63, 63, []string{"1025", "2049", "63489", "64513"}},
	{4, 8, 4, 1, 15, 240, []string{"4112-4127", "8208-8223", "57360-57375", "61456-61471"}},
	{4, 6, 6, 1, 15, 960, []string{"4160-4223", "8256-8319", "57408-57471", "61504-61567"}},
	{8, 8, 0, 1, 255, 255, []string{"257", "513", "65025", "65281"}},
	{1, 4, 11, 1, 1, 2048, []string{"34816-36863", "34816-36863", "34816-36863", "34816-36863"}},
	{0, 8, 8, 1, 1, 256, []string{"256-511", "256-511", "256-511", "256-511"}},
}

func TestRFC7597_01_port_sets(t *testing.T) {
	for _, c := range rfc7597Rows {
		t.Run(fmt.Sprintf("a=%d/k=%d/psid=%d", c.a, c.k, c.psid), func(t *testing.T) {
			ce := CE{PSID: uint16(c.psid), PSIDLen: c.k, Offset: c.a}.Ports()
			var got []portblock.Range
			for r := range ce.Ranges() {
				got = append(got, r)
			}
			require.Len(t, got, c.ranges)
			require.Equal(t, c.ports, ce.Len())
			want := ranges(c.runs...)
			require.Equal(t, want, []portblock.Range{got[0], got[min(1, len(got)-1)], got[max(0, len(got)-2)], got[len(got)-1]})
			total := 0
			for p := range 65536 {
				if ce.Contains(uint16(p)) {
					total++
				}
			}
			require.Equal(t, c.ports, total)
			if c.a == 0 && c.psid == 0 {
				return // port 0 is no port of a map
			}
			p, err := mapOf(t, c.a, c.k).Forward(u128Of(addr("10.0.0.0")).add(u128{0, uint64(c.psid)}).addr(true))
			require.NoError(t, err)
			var mapped []portblock.Range
			for _, r := range p.Ranges() {
				mapped = append(mapped, r)
			}
			require.Equal(t, got, mapped)
			require.Equal(t, c.ports, p.Len())
		})
	}
}

func TestRFC7597_02_excluded_ports(t *testing.T) {
	for _, a := range []int{1, 4, 6, 10} {
		m := mapOf(t, a, 4)
		lowest := 1 << (16 - a)
		require.Equal(t, ErrReserved.Error(), reverse(t, m, fmt.Sprintf("192.0.2.1:%d", lowest-1)))
		require.Equal(t, "10.0.0.0/32", reverse(t, m, fmt.Sprintf("192.0.2.1:%d", lowest)))
	}
}

func TestRFC7597_03_mixed_values_are_refused(t *testing.T) {
	one := Config{Name: "one", Internal: Spans("10.0.0.0-10.0.0.255"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDOffset: 6, PSIDLen: 8}
	two := Config{Name: "two", Internal: Spans("10.0.1.0-10.0.1.63"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDOffset: 4, PSIDLen: 6}
	_, err := NewSet(mustNew(t, one), mustNew(t, two))
	var overlap *OverlapError
	require.ErrorAs(t, err, &overlap)
	require.Equal(t, &OverlapError{Side: "external", A: `map "one"`, B: `map "two"`, First: addr("192.0.2.1"), Last: addr("192.0.2.1")}, overlap)
}

// Every PSID set of the same (a, k) is disjoint, and all together are every port
// that is not excluded; the PSID follows from the port.
func TestRFC7597_05_06_disjoint_and_reversible(t *testing.T) {
	for _, c := range [][2]int{{6, 8}, {6, 6}, {4, 8}, {8, 8}, {1, 4}, {0, 6}, {0, 16}, {15, 1}} {
		a, k := c[0], c[1]
		m := 16 - a - k
		var sets []portblock.Set
		for psid := range min(1<<k, 300) {
			sets = append(sets, CE{PSID: uint16(psid), PSIDLen: k, Offset: a}.Ports())
		}
		for p := range 65536 {
			owners := 0
			for psid := range min(1<<k, 300) {
				if sets[psid].Contains(uint16(p)) {
					owners++
					require.Equal(t, psid, p>>m&(1<<k-1))
				}
			}
			switch {
			case a > 0 && p < 1<<(16-a):
				require.Zero(t, owners)
			case p>>m&(1<<k-1) < 300 && owners != 1:
				t.Fatalf("a=%d k=%d port %d has %d owners", a, k, p, owners)
			}
		}
	}
}

func TestRFC7597_07_generalized_modulus(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.59"), External: Spans("192.0.2.1"), Algorithm: GMA, Contiguous: 4})
	require.Equal(t, 60, m.Ratio())
	for sub, p := range m.All() {
		require.Equal(t, 1072, p.Len(), "%v", sub)
	}
	p := forward(t, m, "10.0.0.7")
	require.Equal(t, uint16(60*4*5+4*7), p.Port(0), "i begins at 5")
	require.Equal(t, uint16(60*4*272+4*7+3), p.Port(1071), "and ends at 272")
	for k := range 1072 {
		port := int(p.Port(k))
		require.Equal(t, 7, port%(60*4)/4, "equation (2)")
	}
}

// With a = 0 the exclusion is done by the PSID.
func TestRFC7597_08_offset_zero(t *testing.T) {
	cfg := Config{Internal: Spans("10.0.0.0-10.0.0.61"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDLen: 6}
	_, err := New(cfg)
	var field *FieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "FirstSlot", field.Field)
	require.Contains(t, field.Fix, "ceil(N/2^m)")
	cfg.FirstSlot = 1
	m := mustNew(t, cfg)
	require.Equal(t, 63, m.Ratio())
	require.Equal(t, "192.0.2.1:1024-2047", forward(t, m, "10.0.0.0").String())
	require.Equal(t, ErrReserved.Error(), reverse(t, m, "192.0.2.1:1023"))
}

// Sets below FirstSlot are kept from the dynamic range, too; other sets that
// nobody has are in it.
func TestRFC7597_08_first_slot_is_kept_out(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.9"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDOffset: 6, PSIDLen: 6,
		FirstSlot: 2, SharingRatio: 10, DynamicFactor: 3})
	for psid := range 64 {
		want := ErrDynamic.Error()
		switch {
		case psid < 2:
			want = ErrRemainder.Error()
		case psid < 12:
			want = fmt.Sprintf("10.0.0.%d/32", psid-2)
		}
		require.Equal(t, want, reverse(t, m, fmt.Sprintf("192.0.2.1:%d", 5*1024+psid*16+7)))
	}
}

func TestRFC7597_09_example_1(t *testing.T) {
	r := mustRule(t, appendixA())
	require.Equal(t, 56, r.EndUserBits())
	require.Equal(t, 8, r.PSIDLen())
	ce, err := r.CE(addr("2001:db8:12:3400::"))
	require.NoError(t, err)
	require.Equal(t, CE{EndUser: prefix("2001:db8:12:3400::/56"), IPv4: prefix("192.0.2.18/32"), PSID: 0x34, PSIDLen: 8, Offset: 6,
		Address: addr("2001:db8:12:3400:0:c000:212:34")}, ce)
	require.Equal(t, 252, ce.Ports().Len())
	var got []portblock.Range
	for r := range ce.Ports().Ranges() {
		got = append(got, r)
	}
	require.Len(t, got, 63)
	require.Equal(t, ranges("1232-1235", "2256-2259"), got[:2])
	require.Equal(t, ranges("63696-63699", "64720-64723"), got[61:])
	for _, inside := range []string{"2001:db8:12:3400::1", "2001:db8:12:34ff:ffff:ffff:ffff:ffff", "2001:db8:12:3400:0:c000:212:34"} {
		again, err := r.CE(addr(inside))
		require.NoError(t, err)
		require.Equal(t, ce, again)
	}
	_, err = r.CE(addr("2001:db9::1"))
	require.ErrorIs(t, err, ErrNotSubscriber)

	// The same rule as a map.
	cfg, err := r.Map()
	require.NoError(t, err)
	m := mustNew(t, cfg)
	p := forward(t, m, "2001:db8:12:3400::1")
	require.Equal(t, addr("192.0.2.18"), p.External())
	require.Equal(t, 252, p.Len())
	require.Equal(t, uint16(1232), p.Port(0))
	require.Equal(t, "2001:db8:12:3400::/56", reverse(t, m, "192.0.2.18:64723"))
}

func TestRFC7597_10_example_2_border_relay(t *testing.T) {
	ce, err := mustRule(t, appendixA()).Reverse(addr("192.0.2.18"), 1232)
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:212:34"), ce.Address)
}

func TestRFC7597_11_examples_4_and_5(t *testing.T) {
	cfg := RuleConfig{IPv6: prefix("2001:db8:12:3400::/56"), IPv4: prefix("192.0.2.18/32"), PSIDOffset: 6}
	r := mustRule(t, cfg)
	ce, err := r.CE(addr("2001:db8:12:3400::1"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:212:0"), ce.Address)
	require.Equal(t, 0, ce.PSIDLen)
	require.Equal(t, 65536, ce.Ports().Len())
	back, err := r.Reverse(addr("192.0.2.18"), 80)
	require.NoError(t, err)
	require.Equal(t, ce, back, "an address that is not shared has all ports")

	cfg.PSIDLen, cfg.PSID = 8, 0x34
	r = mustRule(t, cfg)
	ce, err = r.CE(addr("2001:db8:12:3400::1"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:212:34"), ce.Address)
	require.Equal(t, 252, ce.Ports().Len())
	_, err = r.Reverse(addr("192.0.2.18"), 1232)
	require.NoError(t, err)
	_, err = r.Reverse(addr("192.0.2.18"), 1236)
	require.ErrorIs(t, err, ErrUnused, "the port of another PSID")
	_, err = r.Reverse(addr("192.0.2.18"), 80)
	require.ErrorIs(t, err, ErrReserved)
	mc, err := r.Map()
	require.NoError(t, err)
	m := mustNew(t, mc)
	require.Equal(t, "2001:db8:12:3400::/56", reverse(t, m, "192.0.2.18:1232"))
	require.Equal(t, ErrRemainder.Error(), reverse(t, m, "192.0.2.18:1236"))
}

func TestRFC7597_13_ea_bits(t *testing.T) {
	// o + r < 32: a prefix; = 32: an address; > 32: a shared address.
	for _, c := range []struct {
		ea         int
		ipv4, end  string
		psidLen    int
		mapAddress string
	}{
		{4, "192.0.2.16/28", "2001:db8:10::/44", 0, "2001:db8:10::c000:210:0"},
		{8, "192.0.2.18/32", "2001:db8:12::/48", 0, "2001:db8:12::c000:212:0"},
		{16, "192.0.2.18/32", "2001:db8:12:3400::/56", 8, "2001:db8:12:3400:0:c000:212:34"},
	} {
		cfg := appendixA()
		cfg.EABits = c.ea
		r := mustRule(t, cfg)
		ce, err := r.CE(addr("2001:db8:12:3400::"))
		require.NoError(t, err)
		require.Equal(t, prefix(c.ipv4), ce.IPv4)
		require.Equal(t, prefix(c.end), ce.EndUser)
		require.Equal(t, c.psidLen, ce.PSIDLen)
		require.Equal(t, addr(c.mapAddress), ce.Address)
		back, err := r.Reverse(addr("192.0.2.18"), 1232)
		require.NoError(t, err)
		require.Equal(t, ce, back)
		_, err = r.Map()
		require.Equal(t, c.ea < 8, err != nil)
	}
	for _, bad := range []RuleConfig{
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/24"), EABits: 49},
		{IPv6: prefix("2001:db8::/120"), IPv4: prefix("192.0.2.0/24"), EABits: 9},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/24"), EABits: 20, PSIDOffset: 6},
		{IPv6: prefix("2001:db8::1/40"), IPv4: prefix("192.0.2.0/24")},
		{IPv6: prefix("10.0.0.0/8"), IPv4: prefix("192.0.2.0/24")},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("2001:db8::/40")},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/24"), PSIDLen: 4},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/32"), PSIDLen: 4, PSID: 16},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/32"), PSIDLen: 17},
		{IPv6: prefix("2001:db8::/40"), IPv4: prefix("192.0.2.0/32"), PSIDOffset: 16},
		{},
	} {
		_, err := NewRule(bad)
		var field *FieldError
		require.ErrorAs(t, err, &field, "%+v", bad)
	}
}

// A prefix longer than /64 overwrites the interface identifier.
func TestRFC7597_14_interface_id(t *testing.T) {
	r := mustRule(t, RuleConfig{IPv6: prefix("2001:db8:0:1::/64"), IPv4: prefix("192.0.2.0/24"), EABits: 16, PSIDOffset: 6})
	require.Equal(t, 80, r.EndUserBits())
	ce, err := r.CE(addr("2001:db8:0:1:1234::"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:0:1:1234:c000:212:34"), ce.Address)
	r = mustRule(t, RuleConfig{IPv6: prefix("2001:db8:0:1::/96"), IPv4: prefix("192.0.2.0/24"), EABits: 16, PSIDOffset: 6})
	ce, err = r.CE(addr("2001:db8:0:1::1234:0"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:0:1::1234:34"), ce.Address)
}

// The six ways of spoofing of B114, and the honest packet.
func TestRFC7597_20_spoofed_sources(t *testing.T) {
	r := mustRule(t, appendixA())
	honest := addr("2001:db8:12:3400:0:c000:212:34")
	require.NoError(t, r.CheckSource(honest, addr("192.0.2.18"), 1232))
	for name, c := range map[string]struct {
		source, ipv4 string
		port         uint16
	}{
		"source address": {"2001:db8:12:3400::1", "192.0.2.18", 1232},
		"prefix":         {"2001:db8:13:3400:0:c000:212:34", "192.0.2.18", 1232},
		"PSID":           {"2001:db8:12:3400:0:c000:212:35", "192.0.2.18", 1232},
		"subnet":         {"2001:db8:12:3401:0:c000:212:34", "192.0.2.18", 1232},
		"port PSID":      {"2001:db8:12:3400:0:c000:212:34", "192.0.2.18", 1236},
		"system port":    {"2001:db8:12:3400:0:c000:212:34", "192.0.2.18", 80},
		"IPv4 address":   {"2001:db8:12:3400:0:c000:212:34", "192.0.2.19", 1232},
		"foreign IPv4":   {"2001:db8:12:3400:0:c000:212:34", "198.51.100.18", 1232},
	} {
		require.ErrorIs(t, r.CheckSource(addr(c.source), addr(c.ipv4), c.port), ErrSpoofed, name)
	}
}

// Every edge of a rule, both ways, against bits written out as text.
func TestRFC7597_both_directions_for_every_edge(t *testing.T) {
	r := mustRule(t, RuleConfig{IPv6: prefix("2001:db8:8000::/33"), IPv4: prefix("192.0.2.128/26"), EABits: 10, PSIDOffset: 4})
	for ea := range 1 << 10 {
		text := fmt.Sprintf("%010b", ea)
		var suffix, psid uint64
		_, _ = fmt.Sscanf(text[:6], "%b", &suffix)
		_, _ = fmt.Sscanf(text[6:], "%b", &psid)
		end := u128Of(addr("2001:db8:8000::")).or(u128{uint64(ea) << (64 - 43), 0}).addr(false)
		ce, err := r.CE(end)
		require.NoError(t, err)
		require.Equal(t, netip.PrefixFrom(end, 43), ce.EndUser)
		require.Equal(t, byte(128+suffix), ce.IPv4.Addr().As4()[3])
		require.Equal(t, uint16(psid), ce.PSID)
		for rg := range ce.Ports().Ranges() {
			for _, port := range []uint16{rg.First(), rg.Last()} {
				back, err := r.Reverse(ce.IPv4.Addr(), port)
				require.NoError(t, err)
				require.Equal(t, ce, back)
			}
		}
	}
}

func TestRFC7599_07_default_mapping_rule(t *testing.T) {
	src, err := EmbedIPv4(prefix("2001:db8:ffff::/64"), addr("10.2.3.4"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:ffff:0:a:203:400:0"), src)
	ce, err := mustRule(t, appendixA()).Reverse(addr("192.0.2.18"), 1232)
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:212:34"), ce.Address)
	// The table of RFC 6052 section 2.4.
	for p, want := range map[string]string{
		"2001:db8::/32": "2001:db8:c000:221::", "2001:db8:100::/40": "2001:db8:1c0:2:21::", "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::", "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100:0", "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
	} {
		got, err := EmbedIPv4(prefix(p), addr("192.0.2.33"))
		require.NoError(t, err)
		require.Equal(t, addr(want), got, p)
	}
	for _, p := range []netip.Prefix{{}, prefix("2001:db8::/33"), prefix("2001:db8::/72"), prefix("10.0.0.0/8")} {
		_, err := EmbedIPv4(p, addr("192.0.2.33"))
		require.Error(t, err)
	}
	_, err = EmbedIPv4(prefix("2001:db8::/32"), addr("::1"))
	require.Error(t, err)
}

// RFC 7599 appendix A prints 192.0.2.1/32 in the rule of example 4 and derives
// 192.0.2.18, and c000:0201 in an address; PSID 0x20 and 0x34 in example 5. The
// rule decides: the address in it is the address that comes out.
func TestRFC7599_08_errors_are_not_copied(t *testing.T) {
	ce, err := mustRule(t, RuleConfig{IPv6: prefix("2001:db8:12:3400::/56"), IPv4: prefix("192.0.2.1/32")}).CE(addr("2001:db8:12:3400::"))
	require.NoError(t, err)
	require.Equal(t, prefix("192.0.2.1/32"), ce.IPv4)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:201:0"), ce.Address)
	ce, err = mustRule(t, RuleConfig{IPv6: prefix("2001:db8:12:3400::/56"), IPv4: prefix("192.0.2.18/32"), PSIDOffset: 6, PSIDLen: 8, PSID: 0x34}).CE(addr("2001:db8:12:3400::"))
	require.NoError(t, err)
	require.Equal(t, addr("2001:db8:12:3400:0:c000:212:34"), ce.Address)
}
