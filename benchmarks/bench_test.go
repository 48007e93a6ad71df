package benchmarks_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

const seed = 20260501

// each runs a benchmark for each peer that can serve the flows.
func each(b *testing.B, flows int, f func(b *testing.B, k peer.Kind), more ...peer.Kind) {
	for _, k := range append(peer.Kinds(), more...) {
		if flows <= k.Flows {
			b.Run(fmt.Sprintf("peer=%s/flows=%d", k.Name, flows), func(b *testing.B) { f(b, k) })
		}
	}
}

// sizes leaves the large flow counts to runs that are not -short.
func sizes(all ...int) []int {
	if !testing.Short() {
		return all
	}
	var few []int
	for _, n := range all {
		if n <= 10_000 {
			few = append(few, n)
		}
	}
	return few
}

// BenchmarkEstablished measures a packet of a known session. The peer "none" shows what
// writing the packets costs, which is part of each figure. A ring of 256 packets is translated
// at a time, so that iteration counts far below that mean nothing.
func BenchmarkEstablished(b *testing.B) {
	for _, flows := range sizes(1, 10_000, 1_000_000) {
		w := workload.Uniform(seed, flows)
		each(b, flows, func(b *testing.B, k peer.Kind) {
			e, err := measure.Establish(k, w)
			if err != nil {
				b.Fatal(err)
			}
			defer e.NAT.Close()
			for _, d := range []peer.Direction{peer.Out, peer.In} {
				for _, batch := range []int{1, 64} {
					b.Run(fmt.Sprintf("dir=%s/batch=%d", d, batch), func(b *testing.B) { established(b, e, d, batch) })
				}
			}
		}, peer.None)
	}
}

func established(b *testing.B, e *measure.Established, d peer.Direction, batch int) {
	b.ReportAllocs()
	left := 0
	for b.Loop() {
		if left--; left > 0 {
			continue
		}
		n, _, err := e.Ring(d, batch)
		if err != nil {
			b.Fatal(err)
		}
		left = n
	}
}

// BenchmarkLife measures new sessions, their memory, a collection with them in memory, and their end.
// One iteration is the life of all of them; the metrics are the last iteration's.
func BenchmarkLife(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<16, 1<<20) {
		each(b, flows, func(b *testing.B, k peer.Kind) {
			w := workload.Uniform(seed, flows)
			var l measure.Life
			for b.Loop() {
				var err error
				if l, err = measure.Live(k, w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(l.New, "ns/new")
			b.ReportMetric(l.Bytes, "B/session")
			b.ReportMetric(l.Collect, "us/gc")
			b.ReportMetric(l.Pause, "us/pause")
			if k.Clock {
				b.ReportMetric(l.Expire, "ns/expire")
			}
		})
	}
}

// BenchmarkTraffic plays the mixed workloads; one iteration is a whole one.
func BenchmarkTraffic(b *testing.B) {
	packets := 100_000
	if testing.Short() {
		packets = 10_000
	}
	for _, m := range measure.Mixes(seed, packets) {
		for _, k := range peer.Kinds() {
			if !m.Fits(k) {
				continue
			}
			b.Run(fmt.Sprintf("workload=%s/peer=%s", m.Name, k.Name), func(b *testing.B) {
				var ns, forwarded float64
				for b.Loop() {
					var err error
					if ns, forwarded, err = measure.Play(k, &m); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(ns, "ns/packet")
				b.ReportMetric(100*forwarded, "%forwarded")
			})
		}
	}
}

// BenchmarkRFC9693 measures the maximum connection establishment rate and validates it.
func BenchmarkRFC9693(b *testing.B) {
	flows := 40_000
	if testing.Short() {
		flows = 4_000
	}
	for _, k := range peer.Kinds() {
		if k.Flows < 40_000 {
			continue
		}
		b.Run(fmt.Sprintf("peer=%s/flows=%d", k.Name, flows), func(b *testing.B) {
			w := workload.Pair(seed, flows, 1)
			var r measure.Rate
			for b.Loop() {
				var err error
				if r, err = measure.EstablishmentRate(k, w); err != nil {
					b.Skip(err) // a machine with other work validates no rate
				}
			}
			b.ReportMetric(r.PerSecond, "connections/s")
			b.ReportMetric(r.Validated, "validated/s")
		})
	}
}

// BenchmarkExpireNothing measures a full round of Expire over live sessions.
func BenchmarkExpireNothing(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<20) {
		each(b, flows, func(b *testing.B, k peer.Kind) {
			if !k.Clock {
				b.Skip("has the wall clock")
			}
			e, err := measure.Establish(k, workload.Uniform(seed, flows))
			if err != nil {
				b.Fatal(err)
			}
			defer e.NAT.Close()
			now := measure.Began
			for b.Loop() {
				now = now.Add(time.Microsecond)
				e.NAT.Expire(now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(flows), "ns/session")
		})
	}
}

// BenchmarkTogether measures one and two callers at once: ns/packet of all together.
func BenchmarkTogether(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<20) {
		w := workload.Uniform(seed, flows)
		each(b, flows, func(b *testing.B, k peer.Kind) {
			if k.NewShared == nil {
				b.Skip("is not shared")
			}
			for callers := 1; callers <= 2; callers++ {
				b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
					var ns float64
					for b.Loop() {
						var err error
						if ns, err = measure.Together(k, w, callers, 64, 50*time.Millisecond); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(ns, "ns/packet")
				})
			}
		})
	}
}

// TestEstablishedAllocatesNothing holds blocknat and its adapter to no allocation a packet.
func TestEstablishedAllocatesNothing(t *testing.T) {
	e, err := measure.Establish(peer.Kinds()[0], workload.Uniform(seed, 1000))
	if err != nil {
		t.Fatal(err)
	}
	defer e.NAT.Close()
	for _, d := range []peer.Direction{peer.Out, peer.In} {
		if n := testing.AllocsPerRun(20, func() { _, _, err = e.Ring(d, 64) }); n != 0 || err != nil {
			t.Errorf("dir=%v: %v allocations in a ring, %v", d, n, err)
		}
	}
}
