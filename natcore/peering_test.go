package natcore_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func withPeerings(p ...natcore.Peering) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Peerings = p }
}

// TestH31_PeeringOfOverlappingRealms: two realms with the same internal addresses reach each other: destination and source are translated together, and
// answers, errors about them and fragments find back.
//
// Rows: H31, H32, B38.
func TestH31_PeeringOfOverlappingRealms(t *testing.T) {
	n := newNAT(t, withPeerings(
		natcore.Peering{Name: "1-2", From: 1, To: 2, Destination: prefix("172.20.2.0/24"), Target: prefix("10.0.0.0/24"), Source: prefix("10.0.0.0/24"), SourceAs: prefix("172.20.1.0/24")},
		natcore.Peering{Name: "2-1", From: 2, To: 1, Destination: prefix("172.20.1.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("172.20.2.200")},
	))
	for _, k := range []kind{udp, tcp, icmp} {
		to, seen := "172.20.2.9:80", "10.0.0.9:80"
		from, as := "10.0.0.5:4000", "172.20.1.5:4000"
		if k == icmp {
			to, seen = "172.20.2.9:4000", "10.0.0.9:4000"
		}
		require.Equal(t, hairpinned(as, seen, 2), n.leaves(t, 1, k, at(from), at(to), synFlags))
		require.Equal(t, hairpinned(to, from, 1), n.leaves(t, 2, k, at(seen), at(as), synAckFlags))

		m := n.leaves(t, 2, k, at("10.0.0.5:4000"), at("172.20.1.9:80"), synFlags)
		require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
		require.Equal(t, ip("172.20.2.200"), m.src.Addr())
		require.Equal(t, ip("10.0.0.9"), m.dst.Addr())
		require.EqualValues(t, 1, m.realm)
		m = n.leaves(t, 1, k, m.dst, m.src, synAckFlags)
		require.Equal(t, ip("172.20.1.9"), m.src.Addr())
		require.Equal(t, at("10.0.0.5:4000"), m.dst)
		require.EqualValues(t, 2, m.realm)
	}
	// A router's error in realm 2 about a packet from realm 1 reaches its sender, and tells nothing of realm 2.
	sent := build(t, udp, at("10.0.0.5:4000"), at("172.20.2.9:80"), []byte("payload"), synFlags)
	got := n.raw(natcore.Outbound, 1, sent)
	back := n.raw(natcore.Outbound, 2, icmpError(t, ip("10.0.0.254"), ip("172.20.1.5"), 3, 1, [4]byte{}, got.Bytes))
	require.Equal(t, natcore.Hairpin, back.Verdict, "%v", back.Reason)
	require.EqualValues(t, 1, back.Realm)
	require.Equal(t, icmpError(t, ip("172.20.2.9"), ip("10.0.0.5"), 3, 1, [4]byte{}, sent), back.Bytes)
	check(t, n)
	// Realms that no peering joins are apart.
	require.Equal(t, natcore.Drop, n.leaves(t, 3, udp, at("10.0.0.5:4000"), at("172.20.2.9:80"), synFlags).verdict)
	// An address that stands for hosts of another realm leads nowhere without a session.
	require.Equal(t, dropped(natcore.ReasonNoSession), n.leaves(t, 1, udp, at("10.0.0.5:4000"), at("172.20.2.200:9"), synFlags))
}

// TestH30_H32_ChoiceOfPeering: a brute-force oracle chooses among random peerings by destination, source, protocol and realm; crossing any of them never matches.
//
// Rows: H30, H32.
func TestH30_H32_ChoiceOfPeering(t *testing.T) {
	rnd := rand.New(rand.NewPCG(30, 32))
	for round := range 30 {
		var all []natcore.Peering
		for i := range 1 + rnd.IntN(12) {
			p := natcore.Peering{
				Name: fmt.Sprint(i), From: natcore.Realm(rnd.IntN(2)), To: natcore.Realm(2 + rnd.IntN(2)),
				Protocol:    []uint8{0, 6, 17}[rnd.IntN(3)],
				Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(rnd.IntN(2)), 0}), 22+rnd.IntN(4)).Masked(),
				Sources:     alloc.MustParseRanges(fmt.Sprintf("192.168.%d.1", i)),
			}
			if rnd.IntN(3) > 0 {
				p.Source = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(rnd.IntN(2)), 0}), 16+rnd.IntN(10)).Masked()
			}
			if rnd.IntN(3) == 0 && p.Protocol != 0 {
				p.DestinationPorts = portblock.RangeOf(uint16(80+rnd.IntN(3)), 82)
			}
			all = append(all, p)
		}
		n := newNAT(t, withPeerings(all...), func(c *natcore.Config) { c.Rules = []natcore.Rule{{Realm: 9, Action: natcore.Refuse}} })
		for try := range 200 {
			realm, k := natcore.Realm(rnd.IntN(3)), []kind{udp, tcp}[rnd.IntN(2)]
			src := endpoint(netip.AddrFrom4([4]byte{10, 0, byte(rnd.IntN(3)), byte(rnd.IntN(256))}), 1+try)
			dst := endpoint(netip.AddrFrom4([4]byte{172, 16, byte(rnd.IntN(4)), byte(rnd.IntN(256))}), 79+rnd.IntN(5))
			best, score := -1, [3]int{-1}
			for i, p := range all {
				if p.From != realm || p.Protocol != 0 && p.Protocol != k.proto() || !p.Destination.Contains(dst.Addr()) ||
					p.Source.IsValid() && !p.Source.Contains(src.Addr()) || p.DestinationPorts.IsValid() && !p.DestinationPorts.Contains(dst.Port()) {
					continue
				}
				s := [3]int{p.Destination.Bits(), max(p.Source.Bits(), 0), min(int(p.Protocol), 1)}
				if slices.Compare(s[:], score[:]) > 0 {
					best, score = i, s
				}
			}
			m := n.leaves(t, realm, k, src, dst, synFlags)
			if best < 0 {
				require.Equal(t, natcore.Drop, m.verdict)
				continue
			}
			require.Equal(t, natcore.Hairpin, m.verdict, "round %d: %v", round, m.why)
			require.Equal(t, ip(fmt.Sprintf("192.168.%d.1", best)), m.src.Addr(), "round %d: %v > %v", round, src, dst)
			require.Equal(t, all[best].To, m.realm)
		}
		check(t, n)
	}
}

// drain opens sessions of one peering until it is refused, and returns the sources in the order in which they came.
func (n *nat) drain(t failer, realm natcore.Realm, to string, most int) []netip.AddrPort {
	var got []netip.AddrPort
	for i := range most {
		m := n.leaves(t, realm, udp, endpoint(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4000), at(to), synFlags)
		if m.verdict == natcore.Drop {
			require.Equal(t, natcore.ReasonSourcesExhausted, m.why)
			return got
		}
		got = append(got, m.src)
	}
	return got
}

// TestH33_H34_SourceSpaces: the same source addresses towards two realms are different ones, each issued once in each; towards one realm they
// are one space, whoever declares them.
//
// Rows: H33, H34.
func TestH33_H34_SourceSpaces(t *testing.T) {
	ports := portblock.RangeOf(2000, 2063)
	same := alloc.MustParseRanges("172.20.0.0/31")
	n := newNAT(t, withPeerings(
		natcore.Peering{Name: "a", From: 1, To: 8, Destination: prefix("172.16.1.0/24"), Sources: same, SourcePorts: ports},
		natcore.Peering{Name: "b", From: 2, To: 8, Destination: prefix("172.16.1.0/24"), Sources: same, SourcePorts: ports},
		natcore.Peering{Name: "c", From: 1, To: 9, Destination: prefix("172.16.2.0/24"), Sources: same, SourcePorts: ports},
	))
	a := n.drain(t, 1, "172.16.1.1:53", 100)
	b := n.drain(t, 2, "172.16.1.1:53", 200)
	c := n.drain(t, 1, "172.16.2.1:53", 200)
	require.Len(t, a, 100)
	require.Len(t, b, 28, "two addresses have 128 ports together")
	require.Len(t, c, 128)
	unique := func(all []netip.AddrPort) int {
		slices.SortFunc(all, netip.AddrPort.Compare)
		return len(slices.Compact(all))
	}
	require.Equal(t, 128, unique(append(slices.Clone(a), b...)))
	require.Equal(t, 128, unique(c))
	check(t, n)

	// What is given back rests for 120 s, and is then issued again.
	n.wait(300 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().StaticSessions)
	check(t, n)
	require.Equal(t, natcore.ReasonSourcesExhausted, n.leaves(t, 2, udp, at("10.0.0.1:1"), at("172.16.1.1:53"), synFlags).why)
	n.wait(119999 * time.Millisecond)
	require.Equal(t, natcore.ReasonSourcesExhausted, n.leaves(t, 2, udp, at("10.0.0.1:1"), at("172.16.1.1:53"), synFlags).why)
	n.wait(time.Millisecond)
	require.Len(t, n.drain(t, 2, "172.16.1.1:53", 200), 128)
	check(t, n)
}

// TestH35_H36_H37_SharedSources: peerings that declare addresses in part together take from their own first, then from those that they share with the
// fewest, never from others, and all of what they declare is used; an oracle counts owners address by address.
//
// Rows: H35, H36, H37.
func TestH35_H36_H37_SharedSources(t *testing.T) {
	rnd := rand.New(rand.NewPCG(35, 37))
	for range 20 {
		declared := make([][16]bool, 3)
		var all []natcore.Peering
		for i := range declared {
			var ranges []alloc.Range
			for range 1 + rnd.IntN(2) {
				first := rnd.IntN(16)
				last := min(15, first+rnd.IntN(6))
				overlaps := false
				for a := first; a <= last; a++ {
					overlaps = overlaps || declared[i][a]
				}
				if overlaps {
					continue
				}
				for a := first; a <= last; a++ {
					declared[i][a] = true
				}
				ranges = append(ranges, alloc.MustParseRanges(fmt.Sprintf("172.20.0.%d-172.20.0.%d", first, last))...)
			}
			all = append(all, natcore.Peering{
				Name: fmt.Sprint(i), From: natcore.Realm(i), To: 8, Destination: prefix("172.16.1.0/24"), Sources: ranges, SourcePorts: portblock.RangeOf(5000, 5002),
			})
		}
		n := newNAT(t, withPeerings(all...))
		owners := func(a int) (count int) {
			for i := range declared {
				if declared[i][a] {
					count++
				}
			}
			return count
		}
		left := [16]int{}
		for a := range left {
			left[a] = 3
		}
		for _, i := range rnd.Perm(3) {
			want := 0
			for a := range left {
				if declared[i][a] {
					want += left[a]
				}
			}
			got := n.drain(t, natcore.Realm(i), "172.16.1.1:53", 1000)
			require.Len(t, got, want)
			shared := 0
			for _, src := range got {
				a := int(src.Addr().As4()[3])
				require.True(t, declared[i][a], "%v was not declared", src)
				require.GreaterOrEqual(t, owners(a), shared, "own addresses come first")
				shared = owners(a)
				left[a]--
			}
		}
		check(t, n)
	}
}

// TestPeeringToExternalRealm: destination NAT outwards, with ports, and source addresses beside the pools; other traffic is dynamic.
//
// Rows: B106.
func TestPeeringToExternalRealm(t *testing.T) {
	p := natcore.Peering{
		Name: "dns", To: natcore.ExternalRealm, Destination: prefix("0.0.0.0/0"), DestinationPorts: portblock.RangeOf(53, 53), Protocol: 17,
		Target: prefix("0.0.0.0/0"), TargetPort: 5353, Sources: alloc.MustParseRanges("192.0.2.77"),
	}
	n := newNAT(t, withPeerings(p))
	require.True(t, n.External(ip("192.0.2.77")))
	m := n.leaves(t, 0, udp, at("10.0.0.5:4000"), at("198.51.100.10:53"), synFlags)
	require.Equal(t, natcore.Forward, m.verdict, "%v", m.why)
	require.Equal(t, at("198.51.100.10:5353"), m.dst)
	require.Equal(t, ip("192.0.2.77"), m.src.Addr())
	require.Equal(t, forwarded("198.51.100.10:53", "10.0.0.5:4000", 0), n.comes(t, udp, m.dst, m.src, synFlags))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.comes(t, udp, at("198.51.100.11:5353"), m.src, synFlags))
	require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, at("10.0.0.5:4000"), at("198.51.100.10:54"), synFlags).verdict)

	p.Sources = alloc.MustParseRanges("203.0.113.6-203.0.113.7")
	cfg := config(logging.Discard)
	cfg.Peerings = []natcore.Peering{p}
	_, err := natcore.New(cfg, began)
	require.ErrorContains(t, err, `Peering "dns" = 203.0.113.6: its source addresses must lie beside the pools`)
	cfg.Peerings[0].Sources = alloc.MustParseRanges("192.0.2.8-192.0.2.9")
	cfg.Static = []natcore.Static{{Name: "one", External: ip("192.0.2.9"), Internal: hostA}}
	_, err = natcore.New(cfg, began)
	require.ErrorContains(t, err, `Peering "dns" = 192.0.2.9: its source addresses must not be those of a static mapping`)
}
