package keyed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHashSpreads checks that keys that differ in few bits fill a table evenly: with
// 2^16 keys in 2^8 buckets each bucket holds 256 on average, with a standard deviation of 16.
func TestHashSpreads(t *testing.T) {
	h := New([24]byte{11, 2, 3, 9: 77, 17: 5})
	for name, key := range map[string]func(i uint64) (uint64, uint64){
		"ports":       func(i uint64) (uint64, uint64) { return 0x64400001_0000_0000 | i<<16, 0xc6336401_0035_1000 },
		"addresses":   func(i uint64) (uint64, uint64) { return 0x64400000_0000_0000 + i<<32, 0xc6336401_0035_1000 },
		"remotes":     func(i uint64) (uint64, uint64) { return 0x64400001_9c40_0000, i << 32 },
		"low bits":    func(i uint64) (uint64, uint64) { return i, i },
		"subscribers": func(i uint64) (uint64, uint64) { return 0x64400000_0000_0001 + i<<32, 0 },
		"classes":     func(i uint64) (uint64, uint64) { return 0x64400001_0000_0001, i },
	} {
		var high, middle, low [256]int
		for i := range uint64(1 << 16) {
			s := h.Sum(key(i))
			high[s>>56]++
			middle[uint8(s>>32)]++
			low[uint8(s)]++
		}
		for b := range high {
			require.InDelta(t, 256, high[b], 6*16, "%s: leading bits %d", name, b)
			require.InDelta(t, 256, middle[b], 6*16, "%s: bits in the middle %d", name, b)
			require.InDelta(t, 256, low[b], 6*16, "%s: trailing bits %d", name, b)
		}
	}
}
