package alloc

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// benchPool returns a pool of 2^bits IPv4 addresses of which the given share of
// a thousandth is in use, and the leases.
func benchPool(tb testing.TB, bits int, shares uint32, permille int) (*Pool, []Lease) {
	tb.Helper()
	p, err := New(Config{Name: "bench", Shares: shares,
		Ranges: []Range{RangeOfPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 32-bits))}})
	if err != nil {
		tb.Fatal(err)
	}
	n := int(p.Len()) * permille / 1000
	leases := make([]Lease, 0, n)
	for range n {
		l, err := p.Take(Random)
		if err != nil {
			tb.Fatal(err)
		}
		leases = append(leases, l)
	}
	return p, leases
}

// BenchmarkTakeReturn returns a random live lease and takes an address, so that
// at fill=100% one address is open at each take; without leases it takes first.
// What choice=none costs is no work of the pool but the cache misses of the
// random lease, and can be subtracted from the others: see benchLookup.
func BenchmarkTakeReturn(b *testing.B) {
	for _, bits := range []int{16, 24} {
		for _, fill := range []int{0, 500, 900, 938, 990, 999, 1000} {
			p, leases := benchPool(b, bits, 1, fill)
			for _, how := range []Choice{Any, Lowest, Random, RoundRobin, LeastLoaded} {
				b.Run(fmt.Sprintf("size=2^%d/shares=1/fill=%.1f%%/choice=%v", bits, float64(fill)/10, how), func(b *testing.B) {
					benchChurn(b, p, leases, func(uint64) (Lease, error) { return p.Take(how) })
				})
			}
			b.Run(fmt.Sprintf("size=2^%d/shares=1/fill=%.1f%%/choice=key", bits, float64(fill)/10), func(b *testing.B) {
				benchChurn(b, p, leases, p.TakeKey)
			})
			if fill == 0 {
				continue
			}
			b.Run(fmt.Sprintf("size=2^%d/shares=1/fill=%.1f%%/choice=none", bits, float64(fill)/10), func(b *testing.B) {
				benchLookup(b, p, leases)
			})
		}
	}
}

// BenchmarkTakeReturnShared does the same where every address serves 64.
func BenchmarkTakeReturnShared(b *testing.B) {
	for _, fill := range []int{0, 500, 990, 999} {
		p, leases := benchPool(b, 12, 64, 0)
		for range int(p.Len()) * 64 * fill / 1000 {
			l, err := p.Take(Random)
			if err != nil {
				b.Fatal(err)
			}
			leases = append(leases, l)
		}
		for _, how := range []Choice{Any, Lowest, Random, RoundRobin, LeastLoaded} {
			b.Run(fmt.Sprintf("size=2^12/shares=64/fill=%.1f%%/choice=%v", float64(fill)/10, how), func(b *testing.B) {
				benchChurn(b, p, leases, func(uint64) (Lease, error) { return p.Take(how) })
			})
		}
	}
}

func benchChurn(b *testing.B, p *Pool, leases []Lease, take func(uint64) (Lease, error)) {
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	if len(leases) == 0 {
		for b.Loop() {
			l, err := take(r.Uint64())
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Return(l); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	for b.Loop() {
		i := r.IntN(len(leases))
		if err := p.Return(leases[i]); err != nil {
			b.Fatal(err)
		}
		l, err := take(r.Uint64())
		if err != nil {
			b.Fatal(err)
		}
		leases[i] = l
	}
}

// benchLookup looks at a random live lease, its entry in the pool's table and
// its bit in the set of open positions, and changes nothing. Which lease is next
// depends on that entry, so that the misses of one look do not overlap those of
// the next.
func benchLookup(b *testing.B, p *Pool, leases []Lease) {
	r := rand.New(rand.NewPCG(1, 2))
	last := uint64(0)
	for b.Loop() {
		i, _ := bits.Mul64(r.Uint64()+last, uint64(len(leases)))
		l := &leases[i]
		last = uint64(p.tickets.at(l.slot).ref)
		if last != uint64(l.position) || p.free.has(l.position) {
			b.Fatal("a live lease is not held")
		}
	}
}

// BenchmarkRefuse asks a full pool.
func BenchmarkRefuse(b *testing.B) {
	for _, bits := range []int{16, 24} {
		p, _ := benchPool(b, bits, 1, 1000)
		for _, how := range []Choice{Any, Random, LeastLoaded} {
			b.Run(fmt.Sprintf("size=2^%d/choice=%v", bits, how), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Take(how); err == nil {
						b.Fatal("a full pool gave an address")
					}
				}
			})
		}
	}
}

// BenchmarkRefuseAfterChange asks a full pool that changes between refusals, with
// a return and a take.
func BenchmarkRefuseAfterChange(b *testing.B) {
	p, leases := benchPool(b, 16, 1, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Return(leases[0]); err != nil {
			b.Fatal(err)
		}
		leases[0], _ = p.Take(Any)
		if _, err := p.Take(Any); err == nil {
			b.Fatal("a full pool gave an address")
		}
	}
}

func BenchmarkPosition4(b *testing.B) {
	for _, ranges := range []int{1, 64, 4096} {
		var list []Range
		for i := range ranges {
			list = append(list, RangeOfPrefix(netip.PrefixFrom(v4Addr(uint32(10<<24+i<<9)), 24)))
		}
		p, err := New(Config{Ranges: list, Shares: 1})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("ranges=%d", ranges), func(b *testing.B) {
			r, sum := uint32(1), uint32(0)
			for b.Loop() {
				r = r*1664525 + 1013904223
				pos, _ := p.Position4(10<<24 + r%uint32(ranges)<<9 + r>>24)
				sum += pos
			}
			_ = sum
		})
		b.Run(fmt.Sprintf("ranges=%d/back=address", ranges), func(b *testing.B) {
			r := uint32(1)
			for b.Loop() {
				r = r*1664525 + 1013904223
				_ = p.Address(r % uint32(p.Positions()))
			}
		})
	}
}

func BenchmarkSetRoom(b *testing.B) {
	for _, bits := range []int{16, 24} {
		for _, fill := range []int{0, 500, 999} {
			p, _ := benchPool(b, bits, 64, 0)
			for range int(p.Len()) * fill / 1000 {
				l, err := p.Take(Random)
				if err != nil {
					b.Fatal(err)
				}
				p.SetRoom(l.Position(), false)
			}
			b.Run(fmt.Sprintf("size=2^%d/roomless=%.1f%%", bits, float64(fill)/10), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				for b.Loop() {
					pos := uint32(r.Uint64N(p.Positions()))
					had := p.HasRoom(pos)
					p.SetRoom(pos, !had)
					p.SetRoom(pos, had)
				}
			})
			if bits == 24 && fill == 0 {
				break
			}
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	p, _ := benchPool(b, 16, 1, 500)
	buf := p.AppendSnapshot(nil)
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			buf = p.AppendSnapshot(buf[:0])
		}
		b.ReportMetric(float64(len(buf))/float64(p.Counts().Leases), "bytes/lease")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := Restore(buf, [32]byte{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHolds looks at a random live lease and its entry in the pool's
// table: the part of a return that is cache misses and nothing else.
func BenchmarkHolds(b *testing.B) {
	for _, bits := range []int{16, 24} {
		for _, fill := range []int{500, 1000} {
			p, leases := benchPool(b, bits, 1, fill)
			b.Run(fmt.Sprintf("size=2^%d/fill=%.1f%%", bits, float64(fill)/10), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				for b.Loop() {
					if !p.Holds(leases[r.IntN(len(leases))]) {
						b.Fatal("a live lease is not held")
					}
				}
			})
		}
	}
}
