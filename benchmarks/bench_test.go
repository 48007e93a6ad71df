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
	eachOf(b, func(*peer.Kind) bool { return true }, flows, f, more...)
}

// eachOf is each for the peers that fit.
func eachOf(b *testing.B, fits func(k *peer.Kind) bool, flows int, f func(b *testing.B, k peer.Kind), more ...peer.Kind) {
	for _, k := range append(peer.Kinds(), more...) {
		if flows <= k.Flows && fits(&k) {
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
	for _, proto := range []string{"udp", "tcp"} {
		b.Run("proto="+proto, func(b *testing.B) {
			fits := func(k *peer.Kind) bool { return k.TCP || proto != "tcp" }
			for _, flows := range sizes(1, 10_000, 1_000_000) {
				w := workload.Uniform(seed, flows)
				if proto == "tcp" {
					w = workload.UniformTCP(seed, flows)
				}
				eachOf(b, fits, flows, func(b *testing.B, k peer.Kind) {
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
				}, peer.Floor, peer.None)
			}
		})
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
			b.ReportMetric(l.Collect.CPU, "ms-cpu/gc")
			b.ReportMetric(l.Collect.Wall, "ms/gc")
			b.ReportMetric(l.Collect.Pause, "us/pause")
			if k.Clock {
				b.ReportMetric(l.Look, "ns/look")
				b.ReportMetric(l.Expire, "ns/expire")
			}
		})
	}
}

// BenchmarkBegin measures new sessions whose packets come in batches. One iteration is all of them.
func BenchmarkBegin(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<16, 1<<20) {
		each(b, flows, func(b *testing.B, k peer.Kind) {
			w := workload.Uniform(seed, flows)
			var ns float64
			for b.Loop() {
				var err error
				if ns, err = measure.Begin(k, w, 64); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(ns, "ns/new")
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

// BenchmarkRFC9693 measures the maximum connection establishment rate (RFC 9693 section 4.5) and validates it (section 4.6). On a machine
// with other work a search may validate no rate; its run then has no figure, and says so.
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
			for b.Loop() {
				r, err := measure.EstablishmentRate(k, w)
				if err != nil {
					b.Log(err)
					continue
				}
				b.ReportMetric(r.PerSecond, "connections/s")
				b.ReportMetric(r.Validated, "validated/s")
			}
		})
	}
}

// BenchmarkGrowth measures single calls while a table grows under traffic.
func BenchmarkGrowth(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<22) {
		w := workload.Uniform(seed, flows)
		each(b, flows, func(b *testing.B, k peer.Kind) {
			var g measure.Growth
			for b.Loop() {
				var err error
				if g, err = measure.Grow(k, w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(g.Longest(), "us/longest")
			b.ReportMetric(float64(g.Over()), "calls>100us")
		}, peer.None)
	}
}

// BenchmarkFull measures new sessions when 99 % of the ports are in use.
func BenchmarkFull(b *testing.B) {
	w := workload.Ports(seed)
	for _, k := range peer.Kinds() {
		if k.NewSmall == nil || k.Slow && testing.Short() {
			continue
		}
		b.Run("peer="+k.Name, func(b *testing.B) {
			var f measure.Fill
			for b.Loop() {
				var err error
				if f, err = measure.Full(k, w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(f.New, "ns/new")
			b.ReportMetric(100*f.Refused, "%refused")
		})
	}
}

// BenchmarkTogether measures one and two callers at once: ns/packet of all together.
func BenchmarkTogether(b *testing.B) {
	for _, flows := range sizes(10_000, 1<<20) {
		w := workload.Uniform(seed, flows)
		eachOf(b, func(k *peer.Kind) bool { return k.NewShared != nil }, flows, func(b *testing.B, k peer.Kind) {
			t, err := measure.OpenTogether(k, w, 2)
			if err != nil {
				b.Fatal(err)
			}
			defer t.NAT.Close()
			for i, f := range []func(int, time.Duration) (float64, error){t.Alone, t.All} {
				b.Run(fmt.Sprintf("callers=%d", i+1), func(b *testing.B) {
					var ns float64
					for b.Loop() {
						var err error
						if ns, err = f(64, 20*time.Millisecond); err != nil {
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
