package index

import (
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestIndexAgainstMap runs the same operations on the index and on Go maps. Hashes come from a small space, so that many numbers share one, and
// from large ones, of which the leading or the trailing bits are few, so that segments grow and split unevenly.
func TestIndexAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Index
		x.Init()
		mask := rapid.SampledFrom([]uint64{0xf << 32, 0xff << 56, 0xffff_ffff << 32, 0x3ff << 32, 0xfff00000 << 32}).Draw(t, "hashes")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) // the operations need not shrink one by one
		byHash := map[uint64]map[uint32]bool{}
		hashes := map[uint32]uint64{}
		var numbers []uint32
		most := rapid.SampledFrom([]int{20, 700, 1500}).Draw(t, "most")
		for range rapid.IntRange(1, 2500).Draw(t, "steps") {
			h := rnd.Uint64() & mask
			switch n := rnd.Uint32N(1 << 20); {
			case len(numbers) > 0 && (len(numbers) >= most || rnd.IntN(4) == 0):
				i := rnd.IntN(len(numbers))
				n = numbers[i]
				numbers[i] = numbers[len(numbers)-1]
				numbers = numbers[:len(numbers)-1]
				h = hashes[n]
				require.True(t, x.Remove(h, n))
				require.False(t, x.Remove(h, n))
				delete(byHash[h], n)
				delete(hashes, n)
			default:
				if _, there := hashes[n]; there {
					continue
				}
				x.Prefetch(h)
				x.Insert(h, n)
				if byHash[h] == nil {
					byHash[h] = map[uint32]bool{}
				}
				byHash[h][n], hashes[n] = true, h
				numbers = append(numbers, n)
			}
			found := map[uint32]bool{}
			s := x.Search(h | rnd.Uint64()>>32) // the other bits do not count
			for n, ok := s.Next(); ok; n, ok = s.Next() {
				require.False(t, found[n], "number %d is found twice", n)
				found[n] = true
			}
			require.Len(t, found, len(byHash[h]))
			for n := range found {
				require.True(t, byHash[h][n])
			}
			require.Equal(t, len(hashes), x.Len())
		}
		require.NoError(t, x.CheckInvariants(func(n uint32) (uint64, bool) { h, ok := hashes[n]; return h, ok }))
	})
}

// TestGrowthIsBounded fills an index far beyond a segment and empties it: a step makes room for two segments at most, and no entry takes more
// than 32 bytes.
func TestGrowthIsBounded(t *testing.T) {
	var x Index
	x.Init()
	hash := func(n uint32) uint64 { return uint64(n) * 0x9e3779b97f4a7c15 }
	const n = 200_000
	for i := range uint32(n) {
		x.Insert(hash(i), i)
	}
	require.NoError(t, x.CheckInvariants(func(n uint32) (uint64, bool) { return hash(n), true }))
	slots := 0
	for _, s := range x.segments() {
		require.LessOrEqual(t, len(s.slots), slotsMax)
		slots += len(s.slots)
	}
	require.LessOrEqual(t, slots, 3*n)
	for i := range uint32(n) {
		s := x.Search(hash(i))
		got, ok := s.Next()
		require.True(t, ok)
		require.Equal(t, i, got)
		require.True(t, x.Remove(hash(i), i))
	}
	require.Zero(t, x.Len())
	require.NoError(t, x.CheckInvariants(nil))
}

// TestATK17_EqualHashes: an index under one hash is slow, goes on, and takes no memory but for its numbers.
func TestATK17_EqualHashes(t *testing.T) {
	var x Index
	x.Init()
	const h = 0xffff_ffff_0000_0000
	for i := range uint32(1500) {
		x.Insert(h, i)
	}
	x.Insert(0, 1<<31)
	require.Less(t, len(x.dir), 1024)
	s, n := x.Search(h), 0
	for _, ok := s.Next(); ok; _, ok = s.Next() {
		n++
	}
	require.Equal(t, 1500, n)
	for i := range uint32(1500) {
		require.True(t, x.Remove(h, i))
	}
	require.Equal(t, 1, x.Len())
}

// TestPrefetchMayRunAtAnyTime: memory is asked for while the index grows in other hands. The race detector tells whether what others
// write is read.
func TestPrefetchMayRunAtAnyTime(t *testing.T) {
	var x Index
	x.Init()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for seed := range uint64(2) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-done:
					return
				default:
					x.Prefetch(rnd.Uint64())
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(3, 1))
	for i := range uint32(20_000) {
		x.Insert(rnd.Uint64(), i)
	}
	close(done)
	wg.Wait()
}

func TestSizes(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(door{}), uintptr(8))
	require.LessOrEqual(t, unsafe.Sizeof(segment{}), uintptr(40))
}

func TestNothingIsAllocated(t *testing.T) {
	var x Index
	x.Init()
	x.Insert(1<<40, 7)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		x.Prefetch(1 << 40)
		s := x.Search(1 << 40)
		n, _ := s.Next()
		x.Remove(1<<40, n)
		x.Insert(1<<40, n)
	}))
}

// BenchmarkSearch finds numbers in any order, one search after the other.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []uint32{1 << 10, 1 << 14, 1 << 20} {
		b.Run("entries="+map[uint32]string{1 << 10: "1024", 1 << 14: "16384", 1 << 20: "1048576"}[n], func(b *testing.B) {
			var x Index
			x.Init()
			hash := func(i uint32) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 }
			for i := range n {
				x.Insert(hash(i), i)
			}
			at := uint32(0)
			for b.Loop() {
				s := x.Search(hash(at))
				got, _ := s.Next()
				at = (got*1664525 + 1013904223) % n
			}
		})
	}
}
