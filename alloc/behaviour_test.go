package alloc

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"
)

// drain takes until the pool refuses and returns the positions in order.
func drain(tb testing.TB, p *Pool, how Choice) []uint32 {
	tb.Helper()
	var out []uint32
	for {
		l, err := p.Take(how)
		if err != nil {
			if !errors.Is(err, ErrExhausted) {
				tb.Fatal(err)
			}
			return out
		}
		out = append(out, l.Position())
	}
}

// TestH25_ExactDrain: every address as often as it has shares, then exhaustion.
func TestH25_ExactDrain(t *testing.T) {
	for _, shares := range []uint32{1, 2, 5} {
		for how := range choices {
			p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/18 2001:db8::/120"),
				Exclude: MustParseRanges("10.0.0.0 10.0.63.255"), Shares: shares})
			times := make([]uint32, p.Positions())
			for _, pos := range drain(t, p, how) {
				times[pos]++
			}
			for pos, n := range times {
				want := shares
				if pos == 0 || pos == 1<<14-1 {
					want = 0
				}
				if n != want {
					t.Fatalf("shares %d, choice %v: position %d came %d times", shares, how, pos, n)
				}
			}
		}
	}
}

// TestH24_AllReturned: when everything is returned the pool looks as at first.
func TestH24_AllReturned(t *testing.T) {
	for _, shares := range []uint32{1, 3} {
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/15"), Shares: shares})
		before, spans, bytes := p.Counts(), slices.Collect(p.Spans(0)), p.Bytes()
		var live []Lease
		for range 3 * int(p.Len()) / 2 / 3 * int(shares) {
			l, err := p.Take(Random)
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, l)
		}
		for _, l := range live {
			if err := p.Return(l); err != nil {
				t.Fatal(err)
			}
		}
		if p.Counts() != before || !slices.Equal(slices.Collect(p.Spans(0)), spans) {
			t.Errorf("shares %d: %+v, at first %+v", shares, p.Counts(), before)
		}
		tables := p.tickets.bytes(8) + p.users.bytes(20)
		if p.Compact(); p.Bytes()-tables > bytes {
			t.Errorf("shares %d: bitmaps take %d bytes, at first %d", shares, p.Bytes()-tables, bytes)
		}
		if err := p.CheckInvariants(); err != nil {
			t.Error(err)
		}
	}
}

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

// TestRandomLifetimes: at 99 % in use, with leases that end in any order, no
// take is refused, by any choice (DESIGN.md section 5, rule 3).
func TestRandomLifetimes(t *testing.T) {
	const seed = 9
	for _, shares := range []uint32{1, 3} {
		r := rand.New(rand.NewPCG(seed, 0))
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/18 198.51.100.7"), Shares: shares})
		capacity := int(p.Len()) * int(shares)
		var live []Lease
		for step := range 6 * capacity {
			if len(live) > capacity*99/100 {
				i := r.IntN(len(live))
				if err := p.Return(live[i]); err != nil {
					t.Fatal(err)
				}
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			}
			how := Choice(r.IntN(int(choices)))
			l, err := p.Take(how)
			if err != nil {
				t.Fatalf("seed %d: step %d: %v at %d of %d: %v", seed, step, how, len(live), capacity, err)
			}
			live = append(live, l)
		}
		if err := p.CheckInvariants(); err != nil {
			t.Error(err)
		}
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

// TestRFC6888_02_Paired: a subscriber whose address is full is refused by
// default, and gets another address where the pool spills (B120, RFC 4787 REQ-2).
func TestRFC6888_02_Paired(t *testing.T) {
	cfg := Config{Name: "paired", Ranges: MustParseRanges("192.0.2.0/30"), Shares: 2}
	p := mustNew(t, cfg)
	l, err := p.Take(Lowest)
	if err != nil {
		t.Fatal(err)
	}
	p.SetRoom(l.Position(), false)
	before := string(p.AppendSnapshot(nil))
	var refused *ExhaustedError
	if _, err := p.Spill(Lowest, l.Position()); !errors.Is(err, ErrPaired) || !errors.As(err, &refused) || refused.Pool != "paired" {
		t.Errorf("paired pool: %v", err)
	}
	if string(p.AppendSnapshot(nil)) != before || p.Refusals().Paired != 1 {
		t.Error("the refusal changed the pool")
	}
	cfg.Spill = true
	p = mustNew(t, cfg)
	held := []uint32{0}
	for _, want := range []uint32{1, 2, 3} {
		l, err := p.Spill(Lowest, held...)
		if err != nil || l.Position() != want {
			t.Fatalf("spilled to %v, %v; want %d", l.Position(), err, want)
		}
		held = append(held, want)
	}
	if _, err := p.Spill(Lowest, held...); !errors.Is(err, ErrExhausted) {
		t.Errorf("spill of all addresses: %v", err)
	}
}

// TestB117_LastOneThenRefusal: the last open address is found by every choice,
// the next ask is refused and changes nothing.
func TestB117_LastOneThenRefusal(t *testing.T) {
	for how := range choices {
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/17"), Shares: 1})
		for pos := range uint32(1 << 17) {
			if pos != 77777%(1<<15) && pos < 1<<15 {
				if _, err := p.TakeAddress(p.Address(pos)); err != nil {
					t.Fatal(err)
				}
			}
		}
		l, err := p.Take(how)
		if err != nil || l.Position() != 77777%(1<<15) {
			t.Fatalf("%v: %v, %v", how, l, err)
		}
		before, counts := string(p.AppendSnapshot(nil)), p.Counts()
		_, err = p.Take(how)
		var e *ExhaustedError
		if !errors.As(err, &e) || e.Resource != ResourceShares || e.Counts.Leases != 1<<15 {
			t.Fatalf("%v: %v", how, err)
		}
		if string(p.AppendSnapshot(nil)) != before || p.Counts() != counts {
			t.Fatalf("%v: the refusal changed the pool", how)
		}
	}
}

// TestRefusalsDoNotChangeLater: an error keeps what it said.
func TestRefusalsDoNotChangeLater(t *testing.T) {
	p := mustNew(t, Config{Name: "p", Ranges: MustParseRanges("192.0.2.0/31"), Shares: 1})
	a, _ := p.Take(Any)
	_, _ = p.Take(Any)
	_, first := p.Take(Any)
	text := first.Error()
	if err := p.Return(a); err != nil {
		t.Fatal(err)
	}
	p.SetRoom(a.Position(), false)
	_, second := p.Take(Any)
	var e *ExhaustedError
	if first.Error() != text || !errors.As(second, &e) || e.Resource != ResourceRoom || e.Counts.Leases != 1 {
		t.Errorf("first %v, second %v", first, second)
	}
	if r := p.Refusals(); r.Shares != 1 || r.Room != 1 || r.Addresses != 0 {
		t.Errorf("refusals %+v", r)
	}
}

// TestB14_EmptyPool: a pool without addresses refuses until it has one.
func TestB14_EmptyPool(t *testing.T) {
	p := mustNew(t, Config{})
	var e *ExhaustedError
	if _, err := p.Take(Random); !errors.As(err, &e) || e.Resource != ResourceAddresses {
		t.Fatalf("empty pool: %v", err)
	}
	if _, err := p.TakeKey(1); !errors.Is(err, ErrExhausted) {
		t.Fatalf("empty pool: %v", err)
	}
	if err := p.Add(MustParseRanges("192.0.2.1")...); err != nil {
		t.Fatal(err)
	}
	if l, err := p.TakeKey(1); err != nil || p.Address(l.Position()).String() != "192.0.2.1" {
		t.Fatalf("after Add: %v", err)
	}
}

// TestPositionsStay: positions of removed addresses lead to nobody else, and a
// lease from before the removal is stale after it.
func TestPositionsStay(t *testing.T) {
	p := mustNew(t, Config{Ranges: MustParseRanges("192.0.2.0/30"), Shares: 1})
	l, err := p.TakeAddress(netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	a := p.Address(l.Position())
	var e *AddressError
	if err := p.Remove(a); !errors.As(err, &e) || !errors.Is(err, ErrInUse) || e.Shares != 1 {
		t.Fatalf("remove of a leased address: %v", err)
	}
	if err := errors.Join(p.Drain(a), p.Return(l), p.Remove(a)); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(MustParseRanges("198.51.100.0/30 192.0.2.1")...); err != nil {
		t.Fatal(err)
	}
	if pos, _ := p.Position(a); pos != l.Position() || p.Positions() != 8 {
		t.Errorf("%v came back at %d of %d", a, pos, p.Positions())
	}
	again, err := p.TakeAddress(a)
	if err != nil || again == l || !errors.Is(p.Return(l), ErrLeaseStale) || !p.Holds(again) {
		t.Errorf("lease %v after %v: %v", again, l, err)
	}
}

// TestH41_Concurrent runs many goroutines over a Locked pool with a ledger of
// who owns what; run it with the race detector.
func TestH41_Concurrent(t *testing.T) {
	const workers, rounds, shares = 8, 2000, 2
	l := NewLocked(mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/28"), Shares: shares}))
	var ledger sync.Map // lease to worker
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			var mine []Lease
			for range rounds {
				switch n := r.IntN(10); {
				case n < 5:
					lease, err := l.Take(Choice(r.IntN(int(choices))))
					if err != nil {
						if !errors.Is(err, ErrExhausted) || err.Error() == "" {
							t.Error(err)
						}
						continue
					}
					if _, taken := ledger.LoadOrStore(lease, w); taken {
						t.Errorf("lease %v has two owners", lease)
					}
					mine = append(mine, lease)
				case n == 5:
					l.Do(func(p *Pool) { p.SetRoom(r.Uint32N(16), r.IntN(3) > 0) })
				case len(mine) > 0:
					lease := mine[len(mine)-1]
					mine = mine[:len(mine)-1]
					ledger.Delete(lease)
					if err := l.Return(lease); err != nil {
						t.Error(err)
					}
				}
			}
			for _, lease := range mine {
				if err := l.Return(lease); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	l.Do(func(p *Pool) {
		if err := p.CheckInvariants(); err != nil || p.Counts().Leases != 0 {
			t.Errorf("%+v: %v", p.Counts(), err)
		}
	})
}

// TestH43_DumpWhileChanging: pages are taken under the lock, formatted without.
func TestH43_DumpWhileChanging(t *testing.T) {
	l := NewLocked(mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/24"), Shares: 1}))
	var group sync.WaitGroup
	group.Go(func() {
		for range 3000 {
			if lease, err := l.Take(Random); err == nil {
				if err := l.Return(lease); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 30 {
		n, page := 0, []Info(nil)
		for from, more := uint32(0), true; more; {
			l.Do(func(p *Pool) { page, from, more = p.AppendPage(page[:0], from, 50) })
			for _, info := range page {
				if n++; info.Addr.String() == "" {
					t.Error("no address")
				}
			}
		}
		if n != 256 {
			t.Fatalf("%d addresses in the dump", n)
		}
	}
	group.Wait()
}

// TestAllocatesNothing lists the calls that take no heap memory.
func TestAllocatesNothing(t *testing.T) {
	for _, shares := range []uint32{1, 4} {
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/16 2001:db8::/112"), Shares: shares, Spill: true})
		full := mustNew(t, Config{Ranges: MustParseRanges("192.0.2.0/28"), Shares: shares})
		drain(t, full, Any)
		for range 1000 {
			if _, err := p.Take(Random); err != nil {
				t.Fatal(err)
			}
		}
		four, six := netip.MustParseAddr("10.0.7.7"), netip.MustParseAddr("2001:db8::77")
		cycle := func(l Lease, err error) {
			if err == nil {
				err = p.Return(l)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for how := range choices {
			cycle(p.Take(how)) // Opens the pages that the loop uses.
		}
		for name, f := range map[string]func(){
			"Take(any)":          func() { cycle(p.Take(Any)) },
			"Take(lowest)":       func() { cycle(p.Take(Lowest)) },
			"Take(random)":       func() { cycle(p.Take(Random)) },
			"Take(round-robin)":  func() { cycle(p.Take(RoundRobin)) },
			"Take(least-loaded)": func() { cycle(p.Take(LeastLoaded)) },
			"TakeKey":            func() { cycle(p.TakeKey(77)) },
			"TakeAddress":        func() { cycle(p.TakeAddress(six)) },
			"Spill":              func() { cycle(p.Spill(Random, 1, 2, 3)) },
			"Take refused":       func() { _, _ = full.Take(Random) },
			"Spill refused":      func() { _, _ = full.Spill(Random, 1) },
			"SetRoom":            func() { p.SetRoom(5000, false); p.SetRoom(5000, true) },
			"Position, 4":        func() { p.Position(four) },
			"Position, 6":        func() { p.Position(six) },
			"Position4":          func() { p.Position4(10 << 24) },
			"Address":            func() { p.Address(70000) },
			"StateAt":            func() { p.StateAt(70000) },
			"Counts":             func() { p.Counts() },
		} {
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("shares %d: %s allocates %v times", shares, name, n)
			}
		}
	}
}

// TestSizes guards what is held once for each lease, address or page.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"Lease", unsafe.Sizeof(Lease{}), 16},
		{"ticket", unsafe.Sizeof(ticket{}), 8},
		{"user", unsafe.Sizeof(user{}), 20},
		{"page", unsafe.Sizeof(page{}), 1024 + 32},
		{"span4", unsafe.Sizeof(span4{}), 16},
		{"span6", unsafe.Sizeof(span6{}), 32},
	} {
		if c.got != c.want {
			t.Errorf("%s has %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}

// TestMemoryOfFreePool: a pool of 2^24 free addresses takes 1 MiB or less.
func TestMemoryOfFreePool(t *testing.T) {
	for _, shares := range []uint32{1, 0, 64} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p := mustNew(t, Config{Ranges: MustParseRanges("10.0.0.0/8"), Exclude: MustParseRanges("10.0.0.0 10.255.255.255"), Shares: shares})
		runtime.ReadMemStats(&after)
		perRun := after.TotalAlloc - before.TotalAlloc
		if p.Bytes() > 1<<20 || perRun > 1<<20 {
			t.Errorf("shares %d: %d bytes estimated, %d allocated by New", shares, p.Bytes(), perRun)
		}
		t.Logf("shares %d: %d bytes estimated, %d allocated by New", shares, p.Bytes(), perRun)
	}
}
