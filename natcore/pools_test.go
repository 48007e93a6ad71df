package natcore_test

import (
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// answered requires that the remote endpoint's answer reaches the internal one.
func (n *nat) answered(t failer, internal, external, remote netip.AddrPort) {
	t.Helper()
	to, verdict, why := n.in(t, udp, remote, external)
	require.Equal(t, natcore.Forward, verdict, "%v: %v", external, why)
	require.Equal(t, internal, to)
}

// TestLargeFirstBlockIsReachedInAllItsParts: with eight shards, answers to each port of a first block of 256 ports arrive, though
// further blocks have 16.
func TestLargeFirstBlockIsReachedInAllItsParts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Shards = 8
		c.Pools[0].Blocks.FirstBlockSize, c.Pools[0].Blocks.BlockSize = 256, 16
	})
	parts := map[uint16]bool{}
	for i := range 256 {
		e := n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
		n.answered(t, endpoint(hostA, 5000+i), e, endpoint(server1, 80))
		parts[e.Port()/16] = true
	}
	require.Len(t, parts, 16)
	require.Equal(t, 1, n.log.Len())
	n.rest()
	n.empty(t)
	for i := range 64 { // and when others hold the parts afterwards
		e := n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
		n.answered(t, endpoint(host(i), 5000), e, endpoint(server1, 80))
	}
	check(t, n)
}

// TestExcludedMiddle: addresses out of the middle of a pool are never used, and those around it work, with one shard and with eight.
func TestExcludedMiddle(t *testing.T) {
	for _, shards := range []int{1, 8} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Shards = shards
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/29")
			c.Pools[0].Exclude = alloc.MustParseRanges("203.0.113.2-203.0.113.4")
		})
		used := map[netip.Addr]int{}
		for i := range 40 {
			e := n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
			n.answered(t, endpoint(host(i), 5000), e, endpoint(server1, 80))
			used[e.Addr()]++
		}
		want := map[netip.Addr]int{}
		for i := range byte(8) {
			a := netip.AddrFrom4([4]byte{203, 0, 113, i})
			excluded := 2 <= i && i <= 4
			require.Equal(t, !excluded, n.External(a), "%v", a)
			if !excluded {
				want[a] = 8
			}
		}
		require.Equal(t, want, used)
		require.EqualValues(t, 5, n.Stats().Pools[0].Addresses)
		check(t, n)
		n.rest()
		n.empty(t)
	}
}

// TestSelectSkipsExcludedAddresses: masks choose among the addresses that are used.
func TestSelectSkipsExcludedAddresses(t *testing.T) {
	for _, exclude := range []string{"203.0.113.4", "203.0.113.5", "203.0.113.7", "203.0.113.5-203.0.113.6"} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.4/30")
			c.Pools[0].Exclude = alloc.MustParseRanges(exclude)
			c.Pools[0].Select = flowmask.MustParseMask("0.0.0.7", "flow:src-ip")
		})
		used := map[netip.Addr]bool{}
		for i := range 16 {
			e := n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
			require.True(t, n.External(e.Addr()))
			require.False(t, alloc.MustParseRanges(exclude)[0].Contains(e.Addr()), "%v is excluded", e)
			n.answered(t, endpoint(host(i), 5000), e, endpoint(server1, 80))
			used[e.Addr()] = true
		}
		require.Len(t, used, int(n.Stats().Pools[0].Addresses))
		check(t, n)
	}
}

// TestSmallestPools: one address and one block, at either end of the port range.
func TestSmallestPools(t *testing.T) {
	for _, ports := range []portblock.Range{portblock.RangeOf(0, 15), portblock.RangeOf(65520, 65535), portblock.RangeOf(65535, 65535)} {
		n := newNAT(t, small(ports.First(), ports.Last(), 16))
		e := n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
		require.True(t, ports.Contains(e.Port()))
		n.answered(t, endpoint(hostA, 5000), e, endpoint(server1, 80))
		n.refused(t, udp, endpoint(hostB, 5000), natcore.ReasonAddressesExhausted)
		n.rest()
		n.empty(t)
	}
}
