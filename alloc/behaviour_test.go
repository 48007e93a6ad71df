package alloc

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
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
