package natcore_test

import (
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestRFC4787_04_StrictParityCostsNoBlocks: where parity is kept strictly, a subscriber gets a block that has a port of it, and where none has, a refused packet costs
// no block and no record.
func TestRFC4787_04_StrictParityCostsNoBlocks(t *testing.T) {
	odd := func(blocks int) (all []portblock.Reservation) { // reserves the even ports of the first blocks
		for p := 1024; p < 1024+16*blocks; p += 2 {
			all = append(all, portblock.Reservation{Ports: portblock.RangeOf(uint16(p), uint16(p))})
		}
		return all
	}
	for _, v := range []struct {
		blocks  int // that have odd ports only, of four
		reasons []natcore.Reason
		records int
	}{
		{2, []natcore.Reason{natcore.ReasonNone, natcore.ReasonNone}, 2},
		{3, []natcore.Reason{natcore.ReasonNone, natcore.ReasonBlocksExhausted}, 1},
		{4, []natcore.Reason{natcore.ReasonBlocksExhausted, natcore.ReasonBlocksExhausted}, 0},
	} {
		n := newNAT(t, small(1024, 1024+16*4-1, 16), func(c *natcore.Config) {
			c.Pools[0].Blocks.Parity, c.Pools[0].Blocks.Reserved = portblock.Require, odd(v.blocks)
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		})
		for i := range 6 {
			src, want := endpoint(host(2+i%2), 500+2*i), v.reasons[i%2]
			require.Equal(t, want, n.Explain(natcore.Question{Internal: src, Remote: s1p1, Protocol: 17}, n.now).Reason)
			require.Equal(t, want, n.refusal(t, 0, udp, src, s1p1))
		}
		require.Len(t, n.records(t, logging.BlockAllocated), v.records)
		check(t, n)
	}
}
