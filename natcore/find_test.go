package natcore

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFindAgainstMaps lets subscribers come and go in a shard and in Go maps: each is found under its key, with its account, and by what is
// asked for ahead.
func TestFindAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(1e12)
		var timeouts Timeouts
		idle, _ := timeouts.table(false)
		key := [24]byte{1: byte(rapid.IntRange(0, 255).Draw(t, "secret"))}
		s := newShard(0, [32]byte{}, key, mapping.NewTable(key, idle, now), now)
		e := &Engine{}
		e.quotas.Store(newQuotas(&Quotas{}))
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) // the steps need not shrink one by one
		hosts := rapid.SampledFrom([]uint32{4, 40, 4000}).Draw(t, "hosts")
		subs := map[subscriberKey]*subscriber{}
		accounts := map[accountKey]int{}
		var before *subscriber
		for range rapid.IntRange(1, 1500).Draw(t, "steps") {
			k := subscriberKey{100<<24 + rnd.Uint32N(hosts), uint16(rnd.IntN(2)), uint16(rnd.IntN(2)), uint16(rnd.IntN(3))}
			of := accountKey{k.addr, k.realm}
			want := subs[k]
			require.Same(t, want, s.sub(k))
			require.Same(t, want, s.subOf(k, portblock.Space(rnd.IntN(4))))
			likely := s.prefetchSub(s.prefetchPlace(k), portblock.UDP)
			require.Same(t, want, s.subLikely(likely, k))
			require.Same(t, want, s.subLikely(before, k), "whoever was there before")
			before = likely
			if a := s.account(of); want != nil {
				require.Same(t, want, likely, "no other key has this hash")
				likely.prefetchBehind(s.table)
				require.Same(t, want.account, a)
			} else {
				require.Equal(t, accounts[of] > 0, a != nil)
			}
			if want == nil && rnd.IntN(3) > 0 {
				subs[k] = s.enter(k, 7, e.account(s, nil, k))
				accounts[of]++
			} else if want != nil && rnd.IntN(3) == 0 {
				a := want.account
				s.leave(want)
				require.Equal(t, accounts[of] == 1, a.unused())
				delete(subs, k)
				accounts[of]--
			}
			require.Equal(t, len(subs), s.list.len())
		}
		require.NoError(t, s.checkFound())
		for sub := range s.list.all() {
			require.Same(t, subs[sub.key], sub)
		}
	})
}

// TestBlocksOfASubscriber: blocks come and go in a subscriber and in a sorted slice, and each port leads to its block.
func TestBlocksOfASubscriber(t *testing.T) {
	layout, err := portblock.NewLayout(portblock.Config{})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var sub subscriber
		var want []heldBlock
		address := layout.NewAddress(1)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(want) > 0 && (len(want) > 4 || rapid.Bool().Draw(t, "drop")) {
				n := rapid.IntRange(0, len(want)-1).Draw(t, "which")
				require.Equal(t, want[n].id, sub.drop(want[n].block))
				want = append(want[:n:n], want[n+1:]...)
			} else {
				b, err := address.TakeBlock(1, time.UnixMilli(1e12))
				require.NoError(t, err)
				h := heldBlock{b, mapping.BlockID(i + 1)}
				sub.hold(h)
				want = append(want, h)
				slices.SortFunc(want, func(a, b heldBlock) int { return a.block.Number() - b.block.Number() })
			}
			owners := map[uint16]mapping.BlockID{}
			for _, h := range want {
				set := layout.SetOf(h.block)
				for p := int(set.First()); p <= int(set.Last()); p++ {
					owners[uint16(p)] = h.id
				}
			}
			for p := range 1 << 16 {
				if got := sub.blockOf(layout, uint16(p)); got != owners[uint16(p)] {
					t.Fatalf("port %d is of block %d, not of %d", p, owners[uint16(p)], got)
				}
			}
			require.Equal(t, len(want), len(sub.blocks()))
			for n := range want {
				require.Equal(t, want[n], sub.blocks()[n])
			}
			require.Equal(t, len(want) > 1, sub.more != nil)
			if len(want) > 0 {
				require.Equal(t, want[0], sub.first[0])
			}
		}
	})
}
