package alloc

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestH26_Compact: Lowest fills an address before it goes to the next.
func TestH26_Compact(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("192.0.2.0/30"), Shares: 3})
	if got := drain(t, p, Lowest); !slices.Equal(got, []uint32{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}) {
		t.Errorf("order %v", got)
	}
}

// TestH7_Seeds: two seeds differ, the same seed repeats, and the order of a
// seed is not the order of positions.
func TestH7_Seeds(t *testing.T) {
	order := func(seed byte) []uint32 {
		return drain(t, mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/22"), Shares: 1, Seed: [32]byte{seed}}), Random)
	}
	a, b, again := order(1), order(2), order(1)
	if !slices.Equal(a, again) || slices.Equal(a, b) || slices.IsSorted(a) {
		t.Error("orders do not follow the seed")
	}
}

// TestH8_NoRandomness: lowest and round-robin are deterministic whatever the seed.
func TestH8_NoRandomness(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("192.0.2.0/29"), Shares: 1, Seed: [32]byte{9}})
	var got []uint32
	var last Lease
	for range 12 { // One address at a time, given back before the next is taken.
		if last.IsValid() {
			if err := p.Return(last); err != nil {
				t.Fatal(err)
			}
		}
		l, err := p.Take(RoundRobin)
		if err != nil {
			t.Fatal(err)
		}
		got, last = append(got, l.Position()), l
	}
	if !slices.Equal(got, []uint32{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3}) {
		t.Errorf("round robin went %v", got)
	}
}

// TestB16_LeastLoadedSpreads: 100 subscribers over 64 addresses leave a
// variance of users per address below 0.33; and loads never differ by more than one.
func TestB16_LeastLoadedSpreads(t *testing.T) {
	for _, n := range []int{100, 1000, 64 * 60} {
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/26")})
		for range n {
			if _, err := p.Take(LeastLoaded); err != nil {
				t.Fatal(err)
			}
		}
		mean, variance := float64(n)/64, 0.0
		for info := range p.Addresses(0) {
			d := float64(info.Shares) - mean
			variance += d * d / 64
			if math.Abs(d) >= 1 {
				t.Errorf("%d subscribers: load %d, mean %v", n, info.Shares, mean)
			}
		}
		if variance >= 0.33 {
			t.Errorf("%d subscribers: variance %v", n, variance)
		}
	}
}

// TestLoadClasses: classes rise with the load, one by one up to 64 and within an eighth above.
func TestLoadClasses(t *testing.T) {
	check := func(n uint32) {
		a, b := loadClass(n), loadClass(n+1)
		if b != a && b != a+1 || n < 64 && b == a {
			t.Fatalf("classes of %d and %d: %d, %d", n, n+1, a, b)
		}
	}
	for n := uint32(1); n < 1<<16; n++ {
		check(n)
	}
	for k := 16; k < 32; k++ {
		check(1<<k - 1)
		check(1 << k)
	}
	if c := loadClass(1<<32 - 1); int(c) != classes-1 {
		t.Errorf("last class %d, want %d", c, classes-1)
	}
}

// TestB87_KeyLeadsToOneAddress: the same key finds the same address, keys
// spread evenly, and a change of the pool moves few of them.
func TestB87_KeyLeadsToOneAddress(t *testing.T) {
	const keys = 20000
	p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0-10.0.0.99"), Seed: [32]byte{3}})
	where := func() []uint32 {
		out := make([]uint32, keys)
		for k := range out {
			l, err := p.TakeKey(uint64(k))
			if err != nil {
				t.Fatal(err)
			}
			out[k] = l.Position()
			if err := p.Return(l); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	first := where()
	if !slices.Equal(first, where()) {
		t.Fatal("keys wander")
	}
	if x := chiSquare(first, 100); x > 180 { // 99 degrees of freedom: above 180 once in a million.
		t.Errorf("chi-square of keys over addresses: %v", x)
	}
	// A drained address loses its keys, and no other does; they spread, and
	// come back.
	gone := p.Address(42)
	if err := p.Drain(gone); err != nil {
		t.Fatal(err)
	}
	var moved []uint32
	for k, pos := range where() {
		if first[k] == 42 {
			moved = append(moved, pos)
		} else if pos != first[k] {
			t.Fatalf("key %d moved from %d to %d", k, first[k], pos)
		}
	}
	slices.Sort(moved)
	if n := len(slices.Compact(slices.Clone(moved))); n < 50 || slices.Contains(moved, 42) {
		t.Errorf("%d keys moved to %d addresses", len(moved), n)
	}
	if err := p.Undrain(gone); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first, where()) {
		t.Error("keys do not come back")
	}
	// A quarter more addresses take a fifth of the keys.
	if err := p.Add(MustParseRanges("10.0.1.0-10.0.1.24")...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for k, pos := range where() {
		if pos != first[k] {
			n++
			if pos < 100 {
				t.Fatalf("key %d moved from %d to %d, which is not further", k, first[k], pos)
			}
		}
	}
	if n < keys/5*9/10 || n > keys/5*11/10 {
		t.Errorf("%d of %d keys moved, want a fifth", n, keys)
	}
}

// TestKeysOfClosedAddressesSpread: where half of the addresses are closed, in a
// row, their keys do not pile up behind them.
func TestKeysOfClosedAddressesSpread(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0-10.0.0.99")})
	for pos := range uint32(50) {
		if err := p.Drain(p.Address(pos)); err != nil {
			t.Fatal(err)
		}
	}
	const keys = 10000
	count := map[uint32]int{}
	for k := range uint64(keys) {
		l, err := p.TakeKey(k)
		if err != nil {
			t.Fatal(err)
		}
		count[l.Position()]++
	}
	// Even would be 200 each. A key falls to position 50 when all its tries hit
	// closed ones: one in 16, so 625 more.
	if n := count[50]; n > 1100 {
		t.Errorf("%d keys of %d behind the closed addresses", n, keys)
	}
	for pos := uint32(51); pos < 100; pos++ {
		if n := count[pos]; n < 100 || n > 300 {
			t.Errorf("%d keys at position %d", n, pos)
		}
	}
}

// TestRFC6056_RandomIsUniform: every open address comes with the same
// probability, also where most are taken and in groups.
func TestRFC6056_RandomIsUniform(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/16"), Shares: 1, Seed: [32]byte{5}})
	r := rand.New(rand.NewPCG(5, 0))
	open := map[uint32]uint32{}
	for pos := range uint32(1 << 16) {
		if pos%7 != 0 && pos < 9000 || pos >= 9000 && r.IntN(200) != 0 {
			if _, err := p.TakeAddress(p.Address(pos)); err != nil {
				t.Fatal(err)
			}
		} else {
			open[pos] = uint32(len(open))
		}
	}
	var drawn []uint32
	for range 100 * len(open) {
		l, err := p.Take(Random)
		if err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, open[l.Position()])
		if err := p.Return(l); err != nil {
			t.Fatal(err)
		}
	}
	df := float64(len(open) - 1)
	if x := chiSquare(drawn, len(open)); x > df+5*math.Sqrt(2*df) {
		t.Errorf("chi-square %v at %v degrees of freedom", x, df)
	}
}

func chiSquare(drawn []uint32, n int) float64 {
	count := make([]int, n)
	for _, x := range drawn {
		count[x]++
	}
	want, sum := float64(len(drawn))/float64(n), 0.0
	for _, c := range count {
		sum += (float64(c) - want) * (float64(c) - want) / want
	}
	return sum
}
