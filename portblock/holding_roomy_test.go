package portblock

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRoomyHoldingIsAHolding: with blocks that find room in it, and blocks that do not, a RoomyHolding answers as a Holding does.
func TestRoomyHoldingIsAHolding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, err := NewLayout(Config{BlockSize: rapid.SampledFrom([]int{16, 256, 512}).Draw(t, "size"), MaxBlocks: 4})
		require.NoError(t, err)
		var roomy RoomyHolding
		roomy.Init(l)
		plain := l.NewHolding()
		addresses := [2]*Address{l.NewAddress(1), l.NewAddress(1)}
		var rnds [2]*rand.PCG
		for i := range rnds {
			rnds[i] = rand.NewPCG(1, 2)
		}
		var ports []Port
		now := int64(1_000_000)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += rapid.Int64Range(0, 60_000).Draw(t, "later")
			at := ms(now)
			roomy.Prefetch(UDP)
			roomy.PrefetchRests()
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4, 5:
				p, err := roomy.TakePort(UDP, 40000, rnds[0], at)
				q, err2 := plain.TakePort(UDP, 40000, rnds[1], at)
				require.Equal(t, err2, err)
				require.Equal(t, q, p)
				if err == nil {
					ports = append(ports, p)
				}
			case 6:
				b, err := addresses[0].TakeBlock(1, at)
				c, err2 := addresses[1].TakeBlock(1, at)
				require.Equal(t, err2, err)
				if err == nil {
					require.Equal(t, plain.AddBlock(c, at), roomy.AddBlock(b, at))
				}
			case 7, 8:
				if len(ports) > 0 {
					i := rapid.IntRange(0, len(ports)-1).Draw(t, "port")
					p := ports[i]
					ports = slices.Delete(ports, i, i+1)
					require.NoError(t, roomy.ReturnPort(UDP, p.Address, p.Number, at))
					require.NoError(t, plain.ReturnPort(UDP, p.Address, p.Number, at))
				}
			case 9:
				idle, idle2 := roomy.AppendIdle(nil, at), plain.AppendIdle(nil, at)
				require.Equal(t, idle2, idle)
				for _, b := range idle {
					require.NoError(t, roomy.RemoveBlock(b, at))
					require.NoError(t, plain.RemoveBlock(b, at))
				}
			}
			require.Equal(t, plain.AppendSnapshot(nil), roomy.AppendSnapshot(nil))
		}
	})
}

// TestRoomyHoldingAllocatesNothing for its first block.
func TestRoomyHoldingAllocatesNothing(t *testing.T) {
	l := mustLayout(t, Config{})
	b, err := l.NewAddress(1).TakeBlock(1, ms(1))
	require.NoError(t, err)
	var h RoomyHolding
	require.Zero(t, testing.AllocsPerRun(100, func() {
		h.Init(l)
		if h.AddBlock(b, ms(1)) != nil {
			panic("no block") // the test's own
		}
	}))
}
