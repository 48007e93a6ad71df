package deterministic

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestB1_peer_numbers compares with the numbers that other implementations
// print or test for the same input (contiguous blocks, no dynamic range).
func TestB1_peer_numbers(t *testing.T) {
	vyos := Config{Internal: Spans("100.64.0.0/29"), IncludeBoundaryAddresses: true, External: Spans("203.0.113.1", "192.0.2.1"), PortsPerSubscriber: 16000}
	all := func(in, out string) Config {
		return Config{Internal: Spans(in), IncludeBoundaryAddresses: true, External: Spans(out)}
	}
	nft := all("100.64.0.0/28", "192.0.2.0/30")
	nft.PortsPerSubscriber = 8000
	for _, c := range []struct {
		source     string
		cfg        Config
		ratio, per int
		host, want string
	}{
		{"VPP test_det44", all("172.16.255.0/24", "172.17.255.50/32"), 256, 252, "172.16.255.20", "172.17.255.50:6064-6315"},
		{"CSIT /20 to /30 first", all("192.168.16.0/20", "68.142.68.4/30"), 1024, 63, "192.168.16.0", "68.142.68.4:1024-1086"},
		{"CSIT /20 to /30 last", all("192.168.16.0/20", "68.142.68.4/30"), 1024, 63, "192.168.31.255", "68.142.68.7:65473-65535"},
		{"CSIT /22 to /31", all("172.16.20.0/22", "35.156.134.2/31"), 512, 126, "172.16.22.1", "35.156.134.3:1150-1275"},
		{"VyOS .0", vyos, 4, 16000, "100.64.0.0", "203.0.113.1:1024-17023"},
		{"VyOS .1", vyos, 4, 16000, "100.64.0.1", "203.0.113.1:17024-33023"},
		{"VyOS .2", vyos, 4, 16000, "100.64.0.2", "203.0.113.1:33024-49023"},
		{"VyOS .3", vyos, 4, 16000, "100.64.0.3", "203.0.113.1:49024-65023"},
		{"VyOS .4", vyos, 4, 16000, "100.64.0.4", "192.0.2.1:1024-17023"},
		{"VyOS .7", vyos, 4, 16000, "100.64.0.7", "192.0.2.1:49024-65023"},
		{"nftables-cgnat .0", nft, 8, 8000, "100.64.0.0", "192.0.2.0:1024-9023"},
		{"nftables-cgnat .1", nft, 8, 8000, "100.64.0.1", "192.0.2.0:9024-17023"},
		{"nftables-cgnat .2", nft, 8, 8000, "100.64.0.2", "192.0.2.0:17024-25023"},
		{"nftables-cgnat .3", nft, 8, 8000, "100.64.0.3", "192.0.2.0:25024-33023"},
	} {
		t.Run(c.source, func(t *testing.T) {
			m := mustNew(t, c.cfg)
			require.Equal(t, c.ratio, m.Ratio())
			require.Equal(t, c.per, m.PortsPerSubscriber())
			p := forward(t, m, c.host)
			require.Equal(t, c.want, p.String())
			require.Equal(t, c.host+"/32", reverse(t, m, p.At(0).String()))
			require.Equal(t, c.host+"/32", reverse(t, m, p.At(p.Len()-1).String()))
		})
	}
	require.Equal(t, uint64(2*512), mustNew(t, vyos).Stats().Remainder, "VyOS leaves 512 ports of each address unused, we count them")
}

// CSIT's table of ratios, for one external address.
func TestB1_csit_ratios(t *testing.T) {
	for ratio, per := range map[int]int{16: 4032, 32: 2016, 64: 1008, 128: 504, 256: 252, 512: 126, 1024: 63} {
		m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.3.255"), External: Spans("192.0.2.0/24"), SharingRatio: ratio})
		require.Equal(t, per, m.PortsPerSubscriber(), ratio)
		require.Zero(t, m.Stats().Remainder)
	}
}

// Nokia's subscribers per address and its leftover, with 100 dynamic ports for
// each subscriber behind the wildcard range 1024-4023.
func TestB1_nokia_deterministic_and_dynamic(t *testing.T) {
	for _, c := range [][3]int{{300, 153, 312}, {500, 102, 312}, {700, 76, 712}} {
		m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.75"), External: Spans("192.0.2.1"),
			Reserved: ranges("0-4023"), PortsPerSubscriber: c[0], DynamicPorts: 100})
		require.Equal(t, c[1], m.Ratio())
		s := m.Stats()
		require.Equal(t, uint64(c[1]*100+c[2]), s.Dynamic, "nothing is wasted: the leftover is dynamic")
		require.Zero(t, s.Remainder)
		m = mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.75"), External: Spans("192.0.2.1"),
			Reserved: ranges("0-4023"), PortsPerSubscriber: c[0], DynamicPorts: 100, Remainder: RemainderUnused})
		require.Equal(t, uint64(c[2]), m.Stats().Remainder)
	}
}

// Juniper: block = int(64512 / ceil(NrPr/NrPu)), and no block may straddle 65535.
func TestB1_juniper_block_size(t *testing.T) {
	for _, c := range []struct{ private, public, block int }{{1000, 10, 645}, {254, 1, 253}, {4096, 4, 63}, {1001, 10, 638}, {7, 3, 21504}} {
		m := mustNew(t, Config{
			Internal: []Span{RangeSpan(netip.MustParseAddr("10.0.0.0"), u128{0, uint64(10<<24 + c.private - 1)}.addr(true))},
			External: []Span{RangeSpan(netip.MustParseAddr("192.0.2.0"), u128{0, uint64(192<<24 + 2<<8 + c.public - 1)}.addr(true))},
		})
		require.Equal(t, c.block, m.PortsPerSubscriber())
		for sub, p := range m.All() {
			for r := range p.Ranges() {
				require.True(t, r.IsValid())
			}
			first, last := p.Port(0), p.Port(p.Len()-1)
			require.Equal(t, p.Len(), int(last)-int(first)+1, "%v", sub)
		}
	}
}

// TestB5_what_det44_gets_wrong: an outside prefix larger than the inside one, a
// reserved port in reverse, and leftover ports above ratio 1024.
func TestB5_what_det44_gets_wrong(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0/30"), External: Spans("192.0.2.0/24"), IncludeBoundaryAddresses: true})
	require.Equal(t, 1, m.Ratio())
	require.Equal(t, "192.0.2.3:1024-65535", forward(t, m, "10.0.0.3").String())
	require.Equal(t, ErrEmptySlot.Error(), reverse(t, m, "192.0.2.4:2000"))

	m = mustNew(t, Config{Internal: Spans("172.16.255.0/24"), External: Spans("172.17.255.50/32"), IncludeBoundaryAddresses: true})
	require.Equal(t, ErrReserved.Error(), reverse(t, m, "172.17.255.50:80"), "VPP answers 172.16.254.253")

	m = mustNew(t, Config{Internal: Spans("10.0.0.0/20"), External: Spans("192.0.2.0/31"), IncludeBoundaryAddresses: true})
	require.Equal(t, 2048, m.Ratio())
	s := m.Stats()
	require.Equal(t, [2]int{31, 32}, [2]int{s.MinPorts, s.MaxPorts})
	require.Zero(t, s.Remainder, "VPP leaves 1024 ports and gives them to the next address's host in reverse")
	for e := range 2 {
		for p := 1024; p < 65536; p++ {
			sub, err := m.Reverse(m.External(uint64(e)), uint16(p))
			require.NoError(t, err)
			n, err := m.Number(sub.Addr())
			require.NoError(t, err)
			require.Equal(t, uint64(e), n/2048)
		}
	}
}

// TestB12_blocks_do_not_depend_on_order: another subscriber that comes or goes
// moves nobody's block, because a block follows from the address alone.
func TestB12_blocks_do_not_depend_on_order(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.0/30")})
	c := forward(t, m, "10.0.0.77")
	forward(t, m, "10.0.0.5")
	require.Equal(t, c, forward(t, m, "10.0.0.77"))
}

// TestB1_map_e_layout: VPP's nat44-ei puts A in the low bits and the PSID shifted
// by the offset on top of them. For a=6, k=6, PSID 10 its set and ours share no
// port, and ours has none below 1024.
func TestB1_map_e_layout(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.63"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDOffset: 6, PSIDLen: 6})
	p := forward(t, m, "10.0.0.10")
	require.Equal(t, 1008, p.Len())
	for ap := range p.All() {
		require.Equal(t, uint16(10), ap.Port()>>4&63)
		require.GreaterOrEqual(t, ap.Port(), uint16(1024))
	}
	shared := 0
	for a := 1; a < 64; a++ {
		for j := range 16 {
			if p.Contains(netip.MustParseAddr("192.0.2.1"), uint16(a|10<<6|j<<12)) {
				shared++
			}
		}
	}
	require.Zero(t, shared)
}
