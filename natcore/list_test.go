package natcore_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestLists: mappings, explicit mappings with what is left of their lifetime, blocks and addresses are listed as
// packets have made them.
//
// Rows: 6888-10.
func TestLists(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Blocks.BlockSize = 16
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "two", Addresses: alloc.MustParseRanges("203.0.113.9")})
		c.Rules = []natcore.Rule{{Realm: 4, Pool: "two"}, {Pool: "cgn"}}
	})
	want := map[netip.AddrPort]netip.AddrPort{}
	for i := range 20 {
		want[endpoint(hostA, 1000+i)] = n.out(t, udp, endpoint(hostA, 1000+i), s1p1)
	}
	kept, err := n.Map(natcore.MapRequest{Realm: 4, Internal: endpoint(hostB, 80), Protocol: 6, Lifetime: time.Hour}, n.now)
	require.NoError(t, err)
	want[endpoint(hostB, 80)] = kept
	n.wait(10 * time.Minute)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 4, udp, endpoint(hostB, 9), s1p1))

	got := map[netip.AddrPort]netip.AddrPort{}
	for m := range n.Mappings() {
		got[m.Internal] = m.External
		if m.Realm == 4 {
			require.Equal(t, "two", m.Pool)
		}
	}
	delete(got, endpoint(hostB, 9))
	require.Equal(t, want, got)
	explicit := slices.Collect(n.ExplicitMappings())
	require.Equal(t, []natcore.MappingInfo{{
		Realm: 4, Pool: "two", Protocol: 6, Internal: endpoint(hostB, 80), External: kept, Lifetime: 50 * time.Minute,
	}}, explicit)
	for range n.Mappings() {
		break // early stop
	}

	var blocks, live int
	for b := range n.Blocks() {
		blocks++
		live += b.Live[portblock.UDP] + b.Live[portblock.TCP]
		for _, e := range want {
			if e.Addr() == b.External && e.Port() >= b.First && e.Port() <= b.Last {
				require.Contains(t, []netip.Addr{hostA, hostB}, b.Internal)
			}
		}
		require.False(t, b.Since.After(n.now))
		require.Equal(t, b.Pool == "two", b.Realm == 4)
	}
	require.Equal(t, []int{3, 22}, []int{blocks, live})
	for range n.Blocks() {
		break
	}

	used := slices.Collect(n.Addresses("cgn"))
	require.Len(t, used, 1)
	require.Equal(t, 1, used[0].Subscribers)
	require.Equal(t, 2, used[0].Blocks.Heating)
	require.Equal(t, want[endpoint(hostA, 1000)].Addr(), used[0].External)
	require.Empty(t, slices.Collect(n.Addresses("none")))
	st := n.Stats().Pools
	require.EqualValues(t, []uint64{20, 20, 2, 2, 0}, []uint64{st[0].Sessions, st[0].Mappings, st[0].Addresses, st[0].AddressesOpen, st[0].AddressesDrained})
	require.EqualValues(t, []uint64{1, 2}, []uint64{st[1].Sessions, st[1].Mappings})
	check(t, n)
	for range 3 {
		n.wait(time.Hour)
		n.expire()
	}
	require.Empty(t, slices.Collect(n.Mappings()))
	require.Empty(t, slices.Collect(n.Blocks()))
	st = n.Stats().Pools
	require.Zero(t, st[0].Sessions+st[0].Mappings+st[1].Sessions+st[1].Mappings)
}
