package deterministic

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A permutation hits every number once, and its inverse leads back.
func TestPermutation_is_one(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 4, 5, 15, 16, 17, 100, 255, 1000, 4095, 65536, 65537} {
		p := newPermutation([16]byte{byte(n), 7}, n)
		seen := make([]bool, n)
		fixed := 0
		for x := range n {
			y := p.forward(x)
			require.Less(t, y, n)
			require.False(t, seen[y], "n=%d: %d twice", n, y)
			seen[y] = true
			require.Equal(t, x, p.inverse(y))
			if x == y {
				fixed++
			}
		}
		if n > 100 {
			require.Less(t, fixed, 12, "n=%d: fixed points of a random permutation are one on average", n)
		}
	}
}

func TestPermutation_large_domains(t *testing.T) {
	const seed = 42
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, seed))
	for range 200 {
		n := rng.Uint64N(1<<48) + 1
		p := newPermutation([16]byte{byte(n)}, n)
		for range 20 {
			x := rng.Uint64N(n)
			y := p.forward(x)
			require.Less(t, y, n)
			require.Equal(t, x, p.inverse(y))
		}
	}
}

// Keys differ, neighbours part: subscribers next to each other inside are spread
// over the external addresses evenly. The numbers are fixed by the keys.
func TestPermutation_parts_neighbours(t *testing.T) {
	m := mustNew(t, Config{Internal: Spans("10.0.0.0/16"), External: Spans("192.0.0.0/24"), Algorithm: Random, Key: [16]byte{1}})
	other := mustNew(t, Config{Internal: Spans("10.0.0.0/16"), External: Spans("192.0.0.0/24"), Algorithm: Random, Key: [16]byte{2}})
	together, same := 0, 0
	count := map[uint64]int{}
	for i := range m.Subscribers() - 1 {
		a, b := m.ports(i), m.ports(i+1)
		count[a.ext]++
		if a.ext == b.ext {
			together++
		}
		if a.ext == other.ports(i).ext {
			same++
		}
	}
	require.InDelta(t, 256, together, 80)
	require.InDelta(t, 256, same, 80)
	for _, n := range count {
		require.InDelta(t, 256, n, 100)
	}
	// The first subscribers, so that no change of the formula goes unseen.
	var first []uint64
	for i := range uint64(4) {
		first = append(first, m.perm.forward(i))
	}
	require.Equal(t, goldPermutation, first)
}

// goldPermutation is what key 01 00 ... gives subscribers 0 to 3 out of 65536,
// computed by another program (with openssl's AES) from the text of permutation.
// Archives rely on it: it must never change.
var goldPermutation = []uint64{2787, 40954, 52116, 60242}

func TestMaskBits_agree_with_bit_loops(t *testing.T) {
	const seed = 7
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, seed))
	for range 300 {
		mask := uint16(rng.Uint32())
		free, b := newMaskBits(^mask), newMaskBits(mask)
		value := uint16(rng.Uint32()) & mask
		members := uint32(0)
		for v := range uint32(65536) {
			if v%977 == 0 {
				require.Equal(t, members, below(&free, value, v), "mask %#x value %#x below %d", mask, value, v)
				n, out := 0, uint16(0)
				for bit := range 16 {
					if mask>>bit&1 == 1 {
						out |= uint16(v) >> bit & 1 << n
						n++
					}
				}
				require.Equal(t, out, b.compress(uint16(v)))
			}
			if uint16(v)&mask == value {
				members++
			}
		}
		require.Equal(t, members, below(&free, value, 65536))
	}
}
