package alloc

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

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
