package portblock

import (
	"math/rand/v2"
	"testing"
)

func slowSelect(words []uint64, r int) int {
	for i := range len(words) * 64 {
		if words[i/64]>>(i%64)&1 == 1 {
			if r == 0 {
				return i
			}
			r--
		}
	}
	return -1
}

func TestSelectBitAgainstLoop(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		words := make([]uint64, 1+rnd.IntN(5))
		for i := range words {
			words[i] = rnd.Uint64()
			for range rnd.IntN(7) {
				words[i] &= rnd.Uint64()
			}
			if rnd.IntN(4) == 0 {
				words[i] = ^uint64(0)
			}
		}
		for r := range countBits(words) + 2 {
			if got, want := selectBit(words, r), slowSelect(words, r); got != want {
				t.Fatalf("selectBit(%x, %d) = %d, want %d", words, r, got, want)
			}
		}
	}
}

// The vectors are those of the SipHash paper's reference code: key
// 00..0f, messages 00 01 02 ... of 0, 8 and 16 bytes.
func TestSipHashVectors(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	k := newSipKey(key)
	for _, v := range []struct {
		words []uint64
		want  uint64
	}{
		{nil, 0x726fdb47dd0e0e31},
		{[]uint64{0x0706050403020100}, 0x93f5f5799a932462},
		{[]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}, 0x3f2acc7f57c29bdb},
	} {
		if got := sip(k, v.words...); got != v.want {
			t.Errorf("sip(%x) = %x, want %x", v.words, got, v.want)
		}
	}
}
