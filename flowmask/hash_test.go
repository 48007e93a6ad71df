package flowmask

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The tests of quality follow those of hash/maphash (smhasher_test.go): sparse keys, all but one bit, windows,
// permutations, avalanche, seeds; with the words of a flow as input.

// words returns the flow of five words, whatever they say.
func words(v [5]uint64, six bool) Flow {
	f := Flow{v[0], v[1], v[2], v[3], v[4] | flagValid}
	if six {
		f.w |= flagSix
	} else {
		f.w &^= flagSix
		f.b, f.c, f.d = 0, 0, 0
	}
	return f
}

// inputBits returns the bits of a flow that may vary, as positions in five words.
func inputBits(six bool) (list []int) {
	for i := range 5 * 64 {
		switch {
		case i >= 4*64+56, !six && i >= 64 && i < 4*64:
		default:
			list = append(list, i)
		}
	}
	return list
}

// hashSet counts collisions, in 64 bits and in the upper 32, which tables keep.
type hashSet struct {
	seen64 map[uint64]bool
	seen32 map[uint32]bool
	n      int
}

func newHashSet() *hashSet {
	return &hashSet{seen64: map[uint64]bool{}, seen32: map[uint32]bool{}}
}

func (s *hashSet) add(h uint64) {
	s.n++
	s.seen64[h] = true
	s.seen32[uint32(h>>32)] = true
}

// check allows no collision of 64 bits and the expected ones of 32 bits with a margin.
func (s *hashSet) check(t *testing.T) {
	t.Helper()
	require.Equal(t, s.n, len(s.seen64), "collisions in 64 bits")
	pairs := float64(s.n) * float64(s.n-1) / 2 / (1 << 32)
	most := pairs + 8*math.Sqrt(pairs) + 2
	require.LessOrEqual(t, float64(s.n-len(s.seen32)), most, "collisions in 32 bits of %d hashes", s.n)
}

// hashKeys are the keys that quality is tested with: the zero key too.
var hashKeys = [][16]byte{{}, {1}, {0xff, 3: 9, 15: 0x80}}

// both runs a test for both families and all keys.
func both(t *testing.T, test func(t *testing.T, h *Hasher, six bool)) {
	for _, six := range []bool{false, true} {
		for i, key := range hashKeys {
			h := NewHasher(key)
			t.Run(fmt.Sprintf("six=%v/key=%d", six, i), func(t *testing.T) { test(t, &h, six) })
		}
	}
}

// TestHashSparse: all flows of at most two bits set, and of three in IPv4's first word.
func TestHashSparse(t *testing.T) {
	both(t, func(t *testing.T, h *Hasher, six bool) {
		s := newHashSet()
		list := inputBits(six)
		s.add(h.Flow(words([5]uint64{}, six)))
		for i, x := range list {
			var v [5]uint64
			v[x/64] |= 1 << (x % 64)
			s.add(h.Flow(words(v, six)))
			for j, y := range list[:i] {
				v2 := v
				v2[y/64] |= 1 << (y % 64)
				s.add(h.Flow(words(v2, six)))
				if x < 64 {
					for _, z := range list[:j] {
						v3 := v2
						v3[z/64] |= 1 << (z % 64)
						s.add(h.Flow(words(v3, six)))
					}
				}
			}
		}
		s.check(t)
	})
}

// TestHashAllButOneBit: flows of ones only, but for one bit or two.
func TestHashAllButOneBit(t *testing.T) {
	both(t, func(t *testing.T, h *Hasher, six bool) {
		s := newHashSet()
		list := inputBits(six)
		var ones [5]uint64
		for _, x := range list {
			ones[x/64] |= 1 << (x % 64)
		}
		s.add(h.Flow(words(ones, six)))
		for i, x := range list {
			v := ones
			v[x/64] &^= 1 << (x % 64)
			s.add(h.Flow(words(v, six)))
			for _, y := range list[:i] {
				v2 := v
				v2[y/64] &^= 1 << (y % 64)
				s.add(h.Flow(words(v2, six)))
			}
		}
		s.check(t)
	})
}

// TestHashWindows: all values of sixteen adjacent bits, at every eighth place.
func TestHashWindows(t *testing.T) {
	h := NewHasher([16]byte{4})
	for _, six := range []bool{false, true} {
		list := inputBits(six)
		step := 8
		if six {
			step = 24
		}
		for at := 0; at+16 <= len(list); at += step {
			s := newHashSet()
			for n := range 1 << 14 {
				var v [5]uint64
				for b := range 16 {
					if n*4>>b&1 != 0 {
						x := list[at+b]
						v[x/64] |= 1 << (x % 64)
					}
				}
				s.add(h.Flow(words(v, six)))
			}
			s.check(t)
		}
	}
}

// TestHashPermutations: words from a few values, in every order.
func TestHashPermutations(t *testing.T) {
	both(t, func(t *testing.T, h *Hasher, six bool) {
		if !six {
			return
		}
		s := newHashSet()
		values := []uint64{0, 1, 2, 1 << 31, 1 << 32, 1 << 55, 0x0123456789abcd}
		n := len(values)
		for i := range n * n * n * n * n {
			s.add(h.Flow(words([5]uint64{values[i%n], values[i/n%n], values[i/n/n%n], values[i/n/n/n%n], values[i/n/n/n/n]}, true)))
		}
		s.check(t)
	})
}

// TestHashAvalanche: each input bit changes each output bit with a probability of one half.
func TestHashAvalanche(t *testing.T) {
	both(t, func(t *testing.T, h *Hasher, six bool) {
		const rounds = 4096
		r := rand.New(rand.NewPCG(11, 12))
		t.Log("seed 11, 12")
		list := inputBits(six)
		counts := make([][64]int, len(list))
		for range rounds {
			v := [5]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64() >> 8}
			base := h.Flow(words(v, six))
			for i, x := range list {
				v2 := v
				v2[x/64] ^= 1 << (x % 64)
				d := base ^ h.Flow(words(v2, six))
				for d != 0 {
					counts[i][bits.TrailingZeros64(d)]++
					d &= d - 1
				}
			}
		}
		// Six standard deviations and a bit: as maphash's own test has it.
		const dev = 7 * 32 // sqrt(4096)/2 = 32
		for i, row := range counts {
			for o, n := range row {
				if n < rounds/2-dev || n > rounds/2+dev {
					t.Fatalf("input bit %d changes output bit %d in %d of %d cases", list[i], o, n, rounds)
				}
			}
		}
	})
}

// TestHashSeeds: each bit of the key changes about half the output.
func TestHashSeeds(t *testing.T) {
	f := reportFlows(64, false)
	base := NewHasher([16]byte{})
	for bit := range 128 {
		var key [16]byte
		key[bit/8] = 1 << (bit % 8)
		h := NewHasher(key)
		changed := 0
		for _, f := range f {
			changed += bits.OnesCount64(base.Flow(f) ^ h.Flow(f))
		}
		require.InDelta(t, 32*64, changed, 7*32, "bit %d of the key", bit)
	}
}

// TestHashBuckets: regular flows, as networks have them, fill buckets evenly, whichever bits number the bucket.
func TestHashBuckets(t *testing.T) {
	sets := map[string]func(i uint32) Flow{
		"clients in a row": func(i uint32) Flow {
			return FlowFrom4(0, 6, [4]byte{100, 64 | byte(i>>16), byte(i >> 8), byte(i)}, [4]byte{192, 0, 2, 1}, 1024, 443)
		},
		"ports in a row": func(i uint32) Flow {
			return FlowFrom4(0, 17, [4]byte{100, 64, 0, 1}, [4]byte{192, 0, 2, 1}, uint16(i), uint16(i>>16))
		},
		"every 256th client": func(i uint32) Flow {
			return FlowFrom4(0, 6, [4]byte{100, byte(i >> 8), byte(i), 0}, [4]byte{192, 0, 2, 1}, 0, uint16(i>>16))
		},
		"only the classes of the report": func(i uint32) Flow {
			return FlowFrom4(uint16(i>>14), byte(6+i>>6&1*11), [4]byte{100, 64, 0, byte(i >> 7 & 127)}, [4]byte{0, 0, byte(i >> 2 & 15), 0}, 0, uint16(i&3|i>>14<<8))
		},
		"scans": func(i uint32) Flow {
			return FlowFrom4(0, 6, [4]byte{100, 64, 0, 1}, [4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}, 40000, 80)
		},
	}
	for name, flow := range sets {
		for _, key := range hashKeys {
			h := NewHasher(key)
			for _, shift := range []int{0, 17, 32, 54} {
				const n, buckets = 1 << 16, 1 << 10
				var load [buckets]int
				for i := range uint32(n) {
					load[h.Flow(flow(i))>>shift&(buckets-1)]++
				}
				var chi float64
				for _, l := range load {
					d := float64(l) - n/buckets
					chi += d * d / (n / buckets)
				}
				// Mean 1023, standard deviation sqrt(2*1023) = 45.
				require.InDelta(t, buckets-1, chi, 7*45, "%s, shift %d", name, shift)
			}
		}
	}
}

// TestHashFlooding: flows that fall into one bucket under one key spread under another.
func TestHashFlooding(t *testing.T) {
	known, other := NewHasher([16]byte{1}), NewHasher([16]byte{2})
	const buckets = 1 << 12
	var same []Flow
	for i := uint32(0); len(same) < 1000; i++ {
		f := FlowFrom4(0, 17, [4]byte{100, 64, byte(i >> 24), byte(i >> 16)}, [4]byte{8, 8, 8, 8}, uint16(i), 53)
		if known.Flow(f)>>32&(buckets-1) == 0 {
			same = append(same, f)
		}
	}
	load := map[uint64]int{}
	most := 0
	for _, f := range same {
		b := other.Flow(f) >> 32 & (buckets - 1)
		load[b]++
		most = max(most, load[b])
	}
	require.LessOrEqual(t, most, 6, "1,000 flows in 4,096 buckets")
}

// TestHashAgainstFormula computes the documented formula with math/big, over all six words.
func TestHashAgainstFormula(t *testing.T) {
	two128 := new(big.Int).Lsh(big.NewInt(1), 128)
	low := new(big.Int).SetUint64(math.MaxUint64)
	rapid.Check(t, func(t *rapid.T) {
		h := NewHasher([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key")))
		f := genFlow(t, rapid.Bool().Draw(t, "six"), true).build()
		n := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
		plus := func(v, k uint64) *big.Int { return n(v + k) }
		sum := new(big.Int).Mul(plus(f.a, h.k[0]), plus(f.w, h.k[1]))
		sum.Add(sum, new(big.Int).Mul(plus(f.b, h.k[2]), plus(f.c, h.k[3])))
		sum.Add(sum, new(big.Int).Mul(plus(f.d, h.k[4]), plus(0, h.k[5])))
		sum.Mod(sum, two128)
		hi := new(big.Int).Xor(new(big.Int).Rsh(sum, 64), n(h.k[6]))
		lo := new(big.Int).Xor(new(big.Int).And(sum, low), n(h.k[7]))
		p := hi.Mul(hi, lo)
		want := new(big.Int).Xor(new(big.Int).Rsh(p, 64), new(big.Int).And(p, low)).Uint64()
		require.Equal(t, want, h.Flow(f))
		require.Equal(t, want, h.Key(Key(f)))
	})
}

// TestHashSymmetric: both directions get one value, and other flows get others.
func TestHashSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHasher([16]byte{9})
		six := rapid.Bool().Draw(t, "six")
		f, g := genFlow(t, six, true).build(), genFlow(t, six, true).build()
		require.Equal(t, h.Symmetric(f), h.Symmetric(f.Reverse()))
		require.Contains(t, []uint64{h.Flow(f), h.Flow(f.Reverse())}, h.Symmetric(f))
		if g != f && g != f.Reverse() {
			require.NotEqual(t, h.Symmetric(f), h.Symmetric(g))
		}
	})
}

// TestHashSymmetricTies: endpoints that differ in port only, or only in what is said of the port.
func TestHashSymmetricTies(t *testing.T) {
	h := NewHasher([16]byte{9})
	one := FlowFrom4(0, 1, [4]byte{10}, [4]byte{10}, 0, 0)
	six := NewFlow(0, 1, addrPort(netip.IPv6Loopback(), 0), addrPort(netip.IPv6Loopback(), 0))
	for _, f := range []Flow{
		six, six.Without(SrcPort), six.Without(DstPort), six.WithUnknown(SrcPort), six.Without(SrcPort).WithUnknown(DstPort),
		FlowFrom4(0, 6, [4]byte{255, 255, 255, 255}, [4]byte{}, 65535, 0), FlowFrom4(0, 6, [4]byte{127, 255, 255, 255}, [4]byte{255, 0, 0, 0}, 65535, 0),
		one, one.Without(SrcPort), one.Without(DstPort), one.WithUnknown(SrcPort), one.Without(SrcPort).WithUnknown(DstPort),
		FlowFrom4(0, 6, [4]byte{10}, [4]byte{10}, 1, 2), FlowFrom4(0, 6, [4]byte{10}, [4]byte{10}, 2, 1),
	} {
		require.Equal(t, h.Symmetric(f), h.Symmetric(f.Reverse()))
	}
}

// TestHashVectors pins values: the same in every process, on every machine, in every version.
func TestHashVectors(t *testing.T) {
	f4 := FlowFrom4(0, 6, [4]byte{100, 64, 0, 5}, [4]byte{192, 0, 2, 1}, 40000, 443)
	f6, err := ParseFlow("2001:db8::5,17,40000,2001:db8:1::1,53", AllFields&^Realm)
	require.NoError(t, err)
	k := MustParseMask(reportMask, reportFields).Apply(f4)
	var counting [16]byte
	for i := range counting {
		counting[i] = byte(i)
	}
	for _, c := range []struct {
		key            [16]byte
		v4, v6, masked uint64
	}{
		{[16]byte{}, 0x3b4f8ab9367c24a2, 0x3f9683f95b954b6d, 0x7c0dbf10a4110505},
		{counting, 0xab7812abe81fd09f, 0x4a49267661b3c862, 0xc179f2ebe9ee7aac},
	} {
		h := NewHasher(c.key)
		require.Equal(t, c.v4, h.Flow(f4))
		require.Equal(t, c.v6, h.Flow(f6))
		require.Equal(t, c.masked, h.Key(k))
	}
}
