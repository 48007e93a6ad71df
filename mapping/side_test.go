package mapping

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSizes(t *testing.T) {
	require.EqualValues(t, 32, unsafe.Sizeof(half{}), "half a cache line")
	require.EqualValues(t, groupBytes, unsafe.Sizeof(group{}), "two cache lines")
	require.LessOrEqual(t, unsafe.Sizeof(door{}), uintptr(16))
	require.EqualValues(t, 40+3*unsafe.Sizeof(uintptr(0)), unsafe.Sizeof(segment{}), "a cache line where pointers are 8 bytes")
	x := newSide(testKey, true)
	require.Zero(t, uintptr(unsafe.Pointer(x.dir[0].seg.halves))%groupBytes, "a segment begins on the boundary of a group")
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
			h := x.hash.Sum(k.near, k.peer&sessionKey)
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

// TestGrowthMovesLittle: from nothing to a quarter of a million halves no insertion moves more than those of three
// segments or doubles more than a few entries of the directory, the side is filled well in between, and every half stays where a look-up finds it.
func TestGrowthMovesLittle(t *testing.T) {
	x := newSide(testKey, true)
	const n = 1 << 18
	moved, worst := 0, 1.0
	for i := range uint64(n) {
		r := half{near: i << 16, peer: what(anchor, 1) | 1}
		entries, doubled := len(x.dir), x.doubled
		x.insert(&r)
		require.LessOrEqual(t, x.moved, 3*segmentFull)
		if len(x.dir) > entries {
			require.LessOrEqual(t, entries-doubled, doubleStep, "the directory of %d entries was not ready", len(x.dir))
		} else {
			require.LessOrEqual(t, x.doubled-doubled, doubleStep)
		}
		moved += x.moved
		if i > 1<<15 && i%(1<<13) == 0 {
			slots := 0
			x.each(func(s *segment) { slots += len(s.halves) })
			worst = min(worst, float64(x.used)/float64(slots))
		}
	}
	require.Greater(t, worst, 0.56)
	require.Less(t, moved, n)
	for i := range uint64(n) {
		require.NotNil(t, x.anchor(i<<16, 1).seg)
	}
	require.NoError(t, x.check())
	t.Logf("load at least %.2f, %.1f halves moved for each insertion", worst, float64(moved)/n)
}

// TestWalkWhileItGrows: each half that was there all the time is met once, in however many steps the walk goes and whatever comes
// in between.
func TestWalkWhileItGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(testKey, idle, start)
		block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1 << 16})
		n := 0
		add := func(many int) {
			for range many {
				e := Endpoint{inside.Addr, uint16(n)}
				table.AddMapping(&Mapping{Space: portblock.UDP, Internal: e, External: Endpoint{outside.Addr, e.Port}, Block: block}, 0)
				n++
			}
		}
		add(rapid.IntRange(1, 6000).Draw(t, "before"))
		before, met := n, make([]int, 1<<16)
		for part := 0; part >= 0; {
			var page []Mapping
			page, part = table.AppendMappings(nil, part)
			for i := range page {
				met[page[i].Internal.Port]++
			}
			add(rapid.IntRange(0, min(1200, 1<<16-n)).Draw(t, "meanwhile"))
		}
		for i := range met {
			if met[i] > 1 || i < before && met[i] == 0 {
				t.Fatalf("mapping %d was met %d times", i, met[i])
			}
		}
	})
}

// TestStraysComeHome: halves for which a segment has no room left where they belong find it once the side has grown on.
func TestStraysComeHome(t *testing.T) {
	x := newSide(testKey, true)
	const n = 2000
	for i := range uint64(n) {
		p := x.insert(&half{near: i << 16, peer: what(anchor, 1) | 1})
		p.seg.blocks[p.slot] = BlockID(i)
	}
	// All that the last member of a family holds goes astray.
	s := x.dir[len(x.dir)-1].seg
	from := &segment{stale: true, scanned: 5} // where hints mean nothing
	s.scanned = 9
	astray := map[uint64]bool{}
	for i := range s.halves {
		if r := s.halves[i]; r.peer != 0 {
			astray[r.near] = true
			x.strays = append(x.strays, stray{half: r, block: s.blocks[i], from: from})
		}
	}
	clear(s.halves[:])
	s.used = 0
	x.grow(0)
	require.Empty(t, x.strays)
	require.Equal(t, n, x.used)
	require.NoError(t, x.check())
	for i := range uint64(n) {
		p := x.anchor(i<<16, 1)
		require.NotNil(t, p.seg)
		require.Equal(t, BlockID(i), p.seg.blocks[p.slot])
		if astray[i<<16] {
			require.True(t, p.seg.stale, "the hint means no more than before")
			require.EqualValues(t, 5, p.seg.scanned)
		}
	}
}

func newSide(key [24]byte, counts bool) *side {
	x := &side{}
	x.init(key, counts)
	return x
}
