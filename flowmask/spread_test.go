package flowmask

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// spreadKeys returns n keys of clients in a row, under the mask of the client alone.
func spreadKeys(n int) []Key {
	m := MustParseMask("255.255.255.255", "src-ip")
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = m.Apply(FlowFrom4(0, 6, [4]byte{100, 64 | byte(i>>16), byte(i >> 8), byte(i)}, [4]byte{}, 0, 0))
	}
	return keys
}

// nats returns instances named nat0 to nat<n-1> of the given weights, or of weight 1.
func nats(n int, weights ...uint16) (list []Instance) {
	for i := range n {
		w := uint16(1)
		if i < len(weights) {
			w = weights[i]
		}
		list = append(list, Instance{fmt.Sprint("nat", i), w})
	}
	return list
}

func mustSpread(t testing.TB, list ...Instance) *Spread {
	s, err := NewSpread([16]byte{1, 2, 3}, list...)
	require.NoError(t, err)
	return s
}

// TestSpreadMoves: whatever changes, only those keys move that must, and their share is bounded.
func TestSpreadMoves(t *testing.T) {
	const n = 40_000
	keys := spreadKeys(n)
	names := func(s *Spread) []string {
		out := make([]string, n)
		for i, k := range keys {
			out[i] = s.Name(k)
		}
		return out
	}
	base := mustSpread(t, nats(10, 1, 2, 3, 1, 1, 1, 5, 1, 1, 4)...) // 20 in all
	before := names(base)
	// moved counts keys that changed, and checks that each change satisfies legal.
	moved := func(s *Spread, err error, legal func(from, to string) bool) float64 {
		require.NoError(t, err)
		count := 0
		for i, to := range names(s) {
			if from := before[i]; from != to {
				count++
				require.True(t, legal(from, to), "%s -> %s", from, to)
			}
		}
		return float64(count) / n
	}
	// Five standard deviations of the share of n keys.
	within := func(want, got float64) { require.InDelta(t, want, got, 5*math.Sqrt(want*(1-want)/n)+0.001) }

	s, err := base.With(Instance{"new", 5})
	within(5.0/25, moved(s, err, func(_, to string) bool { return to == "new" }))
	within(5.0/20, moved(base.Remove("nat6"), nil, func(from, _ string) bool { return from == "nat6" }))
	s, err = base.With(Instance{"nat1", 12})
	within(12.0/30-2.0/20, moved(s, err, func(_, to string) bool { return to == "nat1" }))
	s, err = base.With(Instance{"nat9", 2})
	within(4.0/20-2.0/18, moved(s, err, func(from, _ string) bool { return from == "nat9" }))
	s, err = base.With(Instance{"nat9", 0})
	within(4.0/20, moved(s, err, func(from, _ string) bool { return from == "nat9" }))
	s, err = s.With(Instance{"nat9", 4})
	require.Zero(t, moved(s, err, nil), "back again")
	require.Zero(t, moved(base.Remove("unknown"), nil, nil))
	require.Equal(t, before, names(base), "a Spread does not change")
}

// TestSpreadShares: keys follow the weights, small and large.
func TestSpreadShares(t *testing.T) {
	const n = 100_000
	keys := spreadKeys(n)
	for _, weights := range [][]uint16{{1, 1, 1}, {1, 2, 4, 8}, {65535, 1}, {100, 1000, 10000}, {0, 7, 0, 7}} {
		list := nats(len(weights), weights...)
		s := mustSpread(t, list...)
		var sum float64
		for _, w := range weights {
			sum += float64(w)
		}
		got := make([]int, len(list))
		for _, k := range keys {
			got[s.Pick(k)]++
		}
		for i, w := range weights {
			p := float64(w) / sum
			require.InDelta(t, p*n, got[i], 5*math.Sqrt(n*p*(1-p))+0.001*p*n, "weights %v, instance %d", weights, i)
		}
	}
}

// TestSpreadAgainstFormula computes the score in floating point where the two best are well apart.
func TestSpreadAgainstFormula(t *testing.T) {
	list := nats(12, 3, 1, 65535, 40, 7, 500, 9, 1, 2, 30000, 11, 12)
	s := mustSpread(t, list...)
	slices.SortFunc(list, func(a, b Instance) int { return cmpString(a.Name, b.Name) })
	close := 0
	for _, k := range spreadKeys(3000) {
		best, second, at := math.Inf(1), math.Inf(1), -1
		for i, in := range list {
			u := float64(bigMix(s.hash.Key(k)+s.hashes[i])) / (1 << 64)
			if e := -math.Log2(u) / float64(in.Weight); e < best {
				best, second, at = e, best, i
			} else {
				second = min(second, e)
			}
		}
		if second/best < 1.003 {
			close++
			continue
		}
		require.Equal(t, at, s.Pick(k))
	}
	require.Less(t, close, 60)
}

// bigMix is splitmix64's finalizer, by its definition with integers modulo 2^64.
func bigMix(x uint64) uint64 {
	mod := new(big.Int).Lsh(big.NewInt(1), 64)
	v := new(big.Int).SetUint64(x)
	step := func(shift uint, factor string) {
		v.Xor(v, new(big.Int).Rsh(v, shift))
		if factor != "" {
			f, _ := new(big.Int).SetString(factor, 16)
			v.Mul(v, f).Mod(v, mod)
		}
	}
	step(30, "bf58476d1ce4e5b9")
	step(27, "94d049bb133111eb")
	step(31, "")
	return v.Uint64()
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestSpreadLogarithm compares with math.Log2, and checks that the order is kept.
func TestSpreadLogarithm(t *testing.T) {
	logs := logTable()
	for i, v := range logs {
		want := 1 - math.Log2(1+float64(i)/256)
		require.InDelta(t, want, float64(v)/(1<<logBits), 1e-11)
	}
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Uint64().Draw(t, "u") >> rapid.IntRange(0, 63).Draw(t, "shift")
		v := rapid.Uint64().Draw(t, "v")
		if rapid.Bool().Draw(t, "next") {
			v = u + 1
		}
		if u > v {
			u, v = v, u
		}
		require.GreaterOrEqual(t, negLog2(logs, u), negLog2(logs, v))
		if u > 0 {
			require.InDelta(t, 64-math.Log2(float64(u)), float64(negLog2(logs, u))/(1<<logBits), 3e-6)
		}
	})
	require.EqualValues(t, 64<<logBits, negLog2(logs, 0))
	require.EqualValues(t, 64<<logBits, negLog2(logs, 1))
	require.LessOrEqual(t, negLog2(logs, math.MaxUint64), uint64(1))
	// The largest product that Pick forms.
	require.Less(t, float64(negLog2(logs, 0))*65535, float64(math.MaxUint64))
}

// TestSpreadDoesNotDependOn: the order of the instances, and how the set came about.
func TestSpreadDoesNotDependOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := nats(rapid.IntRange(1, 8).Draw(t, "n"), 1, 2, 3, 4, 5, 6, 7, 8)
		want, err := NewSpread([16]byte{4}, list...)
		require.NoError(t, err)
		got, err := NewSpread([16]byte{4})
		require.NoError(t, err)
		for _, in := range rapid.Permutation(list).Draw(t, "order") {
			got, err = got.With(Instance{in.Name, 99})
			require.NoError(t, err)
			got, err = got.With(Instance{in.Name + "x", 50})
			require.NoError(t, err)
			got, err = got.Remove(in.Name + "x").With(in)
			require.NoError(t, err)
		}
		require.Equal(t, want.Instances(), got.Instances())
		for _, k := range spreadKeys(50) {
			require.Equal(t, want.Pick(k), got.Pick(k))
		}
	})
}

// TestSpreadRefuses: illegal instances, all at once; nothing to choose from.
func TestSpreadRefuses(t *testing.T) {
	_, err := NewSpread([16]byte{}, Instance{"a", 1}, Instance{"", 1}, Instance{"a", 2})
	var e *InstanceError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, ErrSpread)
	require.Contains(t, err.Error(), "empty")
	require.Contains(t, err.Error(), `"a": another instance`)
	s, err := NewSpread([16]byte{})
	require.NoError(t, err)
	_, err = s.With(Instance{})
	require.True(t, errors.Is(err, ErrSpread))
	k := spreadKeys(1)[0]
	require.Equal(t, -1, s.Pick(k))
	require.Empty(t, s.Name(k))
	require.Equal(t, -1, mustSpread(t, Instance{"a", 0}).Pick(k))
	require.Equal(t, -1, mustSpread(t, Instance{"a", 1}).Pick(Key{}))
	require.Equal(t, -1, new(Spread).Pick(k))
	require.Equal(t, "a", mustSpread(t, Instance{"a", 1}).Name(k))
}

// TestSpreadVectors pins what keys get: the same in every process, on every machine, in every version.
func TestSpreadVectors(t *testing.T) {
	m := MustParseMask(reportMask, reportFields)
	six := MustParseMask("ffff:ffff:ffff:ffff::,1", "src-ip,dst-port")
	got := func(s *Spread) string {
		var b []byte
		for i := range 32 {
			f := FlowFrom4(0, 6, [4]byte{100, 64, 0, byte(i)}, [4]byte{192, 0, byte(i), 1}, 40000, 443)
			b = append(b, s.Name(m.Apply(f))[3])
		}
		for i := range 16 {
			f, err := ParseFlow(fmt.Sprintf("2001:db8:0:%d::1,%d", i, i), SrcIP|DstPort)
			require.NoError(t, err)
			b = append(b, s.Name(six.Apply(f))[3])
		}
		return string(b)
	}
	for _, c := range []struct {
		seed [16]byte
		list []Instance
		want string
	}{
		{[16]byte{}, nats(3), "001112122121101100001112222000202111120010120201"},
		{[16]byte{1}, nats(3), "120212122201011022112012000011201102020121121222"},
		{[16]byte{1}, nats(4), "330312133301011322112033000011231102020121331322"},
		{[16]byte{1}, nats(4, 1, 2, 3, 6), "333313133311011322112033333233333112123123331332"},
		{[16]byte{1}, nats(10, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1), "137358173301011324182017500041657156528104331672"},
	} {
		s, err := NewSpread(c.seed, c.list...)
		require.NoError(t, err)
		require.Equal(t, c.want, got(s))
	}
}
