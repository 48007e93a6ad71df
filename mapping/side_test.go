package mapping

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSizes(t *testing.T) {
	require.EqualValues(t, 32, unsafe.Sizeof(half{}), "half a cache line")
	require.EqualValues(t, groupBytes, unsafe.Sizeof(group{}), "two cache lines")
	require.LessOrEqual(t, unsafe.Sizeof(door{}), uintptr(32))
	require.EqualValues(t, segmentMax, segmentSizes[len(segmentSizes)-1])
	for _, groups := range segmentSizes {
		s := make([]half, groups*groupSlots)
		require.Zero(t, uintptr(unsafe.Pointer(&s[0]))%groupBytes, "a segment of %d groups begins on the boundary of one", groups)
	}
}

// TestSideAgainstMap runs the same operations on a side and on a Go map. Keys come from a small space, so that insertions, finds
// and removals meet each other, and from a large one, so that segments grow and split.
func TestSideAgainstMap(t *testing.T) {
	type key struct{ near, peer uint64 }
	rapid.Check(t, func(t *rapid.T) {
		x := newSide([24]byte{1: byte(rapid.IntRange(0, 255).Draw(t, "seed")), 9: 7, 17: 3}, true)
		model := map[key]half{}
		blocks := map[key]BlockID{}
		var known []key
		space := rapid.SampledFrom([]uint64{16, 300, 1 << 40}).Draw(t, "key space")
		removals := rapid.Uint64Range(0, 6).Draw(t, "removals in ten")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "rng"), 1))
		find := func(k key) spot {
			h := x.hash.sum(k.near, k.peer&sessionKey)
			return x.spotOf(h, x.find(h, k.near, k.peer|rng.Uint64N(256), sessionKey))
		}
		for step := range rapid.IntRange(1, 6000).Draw(t, "steps") {
			k := key{rng.Uint64N(space), rng.Uint64N(2)<<20 | what(session, 0)}
			if len(known) > 0 && rng.IntN(2) == 0 {
				k = known[rng.IntN(len(known))]
			}
			want, present := model[k]
			p := find(k)
			require.Equal(t, present, p.seg != nil, "find %v", k)
			if present {
				require.Equal(t, want, *p.half())
				require.Equal(t, blocks[k], p.seg.blocks[p.slot])
			}
			switch {
			case !present:
				n := half{near: k.near, peer: k.peer | 1 + rng.Uint64N(255), far: rng.Uint64()}
				p := x.insert(&n)
				p.seg.blocks[p.slot] = BlockID(step)
				model[k], blocks[k] = n, BlockID(step)
				known = append(known, k)
			case rng.Uint64N(10) < removals:
				x.remove(p)
				delete(model, k)
			}
			require.Equal(t, len(model), x.used)
		}
		require.NoError(t, x.check())
		for k, want := range model {
			p := find(k)
			require.NotNil(t, p.seg, "find %v after all", k)
			require.Equal(t, want, *p.half())
			require.Equal(t, blocks[k], p.seg.blocks[p.slot])
			x.remove(p)
		}
		require.NoError(t, x.check())
	})
}

// TestGrowthMovesLittle: from nothing to a quarter of a million halves no insertion moves more than those of one
// segment, the side is filled well in between, and every half stays where a look-up finds it.
func TestGrowthMovesLittle(t *testing.T) {
	x := newSide(testKey, true)
	const n = 1 << 18
	moved, worst := 0, 1.0
	for i := range uint64(n) {
		r := half{near: i << 16, peer: what(anchor, 1) | 1}
		x.insert(&r)
		require.LessOrEqual(t, x.moved, 2*int(full(segmentMax)))
		moved += x.moved
		if i > 1<<15 && i%(1<<13) == 0 {
			slots := 0
			x.each(func(s *segment) { slots += len(s.halves) })
			worst = min(worst, float64(x.used)/float64(slots))
		}
	}
	require.Greater(t, worst, 0.58)
	require.Less(t, moved, 6*n)
	for i := range uint64(n) {
		require.NotNil(t, x.anchor(i<<16, 1).seg)
	}
	require.NoError(t, x.check())
	t.Logf("load at least %.2f, %.1f halves moved for each insertion", worst, float64(moved)/n)
}
