package alloc

import (
	"net/netip"
	"runtime"
	"testing"
	"unsafe"
)

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
