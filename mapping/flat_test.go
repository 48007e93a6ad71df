package mapping

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFlatAgainstMap runs the same operations on the table and on a Go map. Keys come from
// a small space, so that insertions, finds and removals meet each other, and
// from a large one, so that segments grow and split.
func TestFlatAgainstMap(t *testing.T) {
	type key struct{ hi, lo uint64 }
	rapid.Check(t, func(t *rapid.T) {
		f := newFlat([24]byte{1: byte(rapid.IntRange(0, 255).Draw(t, "seed")), 9: 7, 17: 3})
		model := map[key]entry{}
		var known []key
		space := rapid.SampledFrom([]uint64{16, 300, 1 << 40}).Draw(t, "key space")
		steps := rapid.IntRange(1, 3000).Draw(t, "steps")
		rng := rapid.Uint64().Draw(t, "rng")
		next := func(n uint64) uint64 { // splitmix64: the operations need not shrink one by one
			rng += 0x9e3779b97f4a7c15
			z := rng
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			return (z ^ z>>31) % n
		}
		for range steps {
			k := key{next(space), next(2) << 20}
			if len(known) > 0 && next(2) == 0 {
				k = known[next(uint64(len(known)))]
			}
			want, present := model[k]
			got := f.find(k.hi, k.lo|next(256))
			require.Equal(t, present, got != nil, "find %v", k)
			if present {
				require.Equal(t, want, *got)
			}
			switch {
			case !present && next(10) < 7:
				n := entry{k.hi, k.lo | 1 + next(255), next(1 << 30), next(1 << 30)}
				f.insert(n)
				model[k] = n
				known = append(known, k)
			case next(10) < 4:
				require.Equal(t, present, f.remove(k.hi, k.lo), "remove %v", k)
				delete(model, k)
			}
			require.Equal(t, len(model), f.used)
		}
		for k, want := range model {
			got := f.find(k.hi, k.lo)
			require.NotNil(t, got, "find %v after all", k)
			require.Equal(t, want, *got)
		}
	})
}

// TestFlatGrowthIsBounded fills a table far beyond one segment: all keys stay
// reachable, no segment exceeds its size or its load, and the directory is consistent.
func TestFlatGrowthIsBounded(t *testing.T) {
	f := newFlat([24]byte{5, 9: 6, 17: 8})
	const n = 100_000
	for i := range uint64(n) {
		f.insert(entry{i, i<<16 | 1, i, 0})
	}
	require.Equal(t, n, f.used)
	for i := range f.segs {
		s := &f.segs[i]
		require.LessOrEqual(t, len(s.slots), flatSlots)
		require.LessOrEqual(t, s.used, len(s.slots)/4*3)
	}
	require.Equal(t, 1<<f.depth, len(f.dir))
	for i := range uint64(n) {
		e := f.find(i, i<<16)
		require.NotNil(t, e)
		require.Equal(t, i, e.v0)
		require.Nil(t, f.find(i, i<<16|1<<15))
	}
	for i := range uint64(n) {
		require.True(t, f.remove(i, i<<16))
	}
	require.Zero(t, f.used)
}
