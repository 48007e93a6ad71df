package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestRFC7768_09_PacketsOfBothDirectionsCount: of two blocks with free ports the one whose
// latest packet is older gives none (7768-08); outbound and inbound packets of
// live sessions count, once Expire has come by.
func TestRFC7768_09_PacketsOfBothDirectionsCount(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks.BlockSize = 16
	})
	block := func(port uint16) uint16 { return port / 16 }
	dst := endpoint(server1, 53)
	var first uint16
	for i := range 16 {
		first = block(n.out(t, udp, endpoint(hostA, 1000+i), dst).Port())
	}
	n.wait(200 * time.Second)
	second := n.out(t, udp, endpoint(hostA, 2000), dst)
	require.NotEqual(t, first, block(second.Port()))
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 1000+i), dst) // the other eight ports of the first block end at 300 s
	}
	n.wait(110 * time.Second)
	n.expire()
	n.wait(125 * time.Second) // and have rested at 430 s
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 1000+i), dst)
	}
	n.expire()
	n.expire()
	for i := range 4 {
		require.Equal(t, first, block(n.out(t, udp, endpoint(hostA, 3000+i), dst).Port()), "the second block is idle longest")
	}
	n.wait(10 * time.Second)
	_, verdict, why := n.in(t, udp, dst, second)
	require.Equal(t, natcore.Forward, verdict, why)
	n.expire()
	n.expire()
	for i := range 4 {
		require.Equal(t, block(second.Port()), block(n.out(t, udp, endpoint(hostA, 4000+i), dst).Port()), "now the first one is")
	}
	check(t, n)
}
