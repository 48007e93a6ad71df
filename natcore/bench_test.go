package natcore_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// The benchmarks send packets of 64 bytes. Those of all flows lie one behind the other, in a random order of the flows, and are copied to
// a small ring first: so a packet's bytes are warm when it comes, as in a receive ring, and its session is not. copy=only is what that costs.

const (
	benchSize = 64
	// benchShare is the number of flows of a subscriber, each with a mapping of its own.
	benchShare = 64
)

func benchEngine(b testing.TB, shards int) *natcore.Engine {
	cfg := config(logging.Discard)
	cfg.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/22")
	cfg.Shards = shards
	e, err := natcore.New(cfg, began)
	require.NoError(b, err)
	return e
}

// traffic is one packet of each of some flows, side by side.
type traffic []byte

func (t traffic) len() int            { return len(t) / benchSize }
func (t traffic) packet(i int) []byte { return t[i*benchSize : (i+1)*benchSize] }

// newTraffic returns outbound packets of n flows of subscribers from a first address on, in a random order.
func newTraffic(b testing.TB, k kind, f tcpFlags, first, n int) traffic {
	payload := map[kind]int{udp: benchSize - 28, tcp: benchSize - 40}[k]
	model := build(b, k, endpoint(hostA, 40000), endpoint(server1, 443), make([]byte, payload), f)
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	t := make(traffic, n*benchSize)
	for i, flow := range order {
		p := t.packet(i)
		copy(p, model)
		binary.BigEndian.PutUint32(p[12:], 0x64400000+uint32(first+flow/benchShare))
		binary.BigEndian.PutUint16(p[20:], uint16(40000+flow%benchShare))
		seal(k, p)
	}
	return t
}

// seal computes the checksums of a packet without IP options.
func seal(k kind, p []byte) {
	at := map[kind]int{udp: 26, tcp: 36}[k]
	p[10], p[11], p[at], p[at+1] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(p[10:], ^sum(p[:20], 0))
	pseudo := uint32(p[9]) + uint32(len(p)-20)
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[at:], ^sum(p[20:], pseudo))
}

// answered sends the packets out and returns the answers to what left.
func (t traffic) answered(b testing.TB, e *natcore.Engine, k kind) traffic {
	in := make(traffic, len(t))
	for i := range t.len() {
		p := in.packet(i)
		copy(p, t.packet(i))
		v, why := e.Outbound(p, began)
		require.Equal(b, natcore.Forward, v, why)
		for j := range 4 {
			p[12+j], p[16+j] = p[16+j], p[12+j]
		}
		for j := range 2 {
			p[20+j], p[22+j] = p[22+j], p[20+j]
		}
		if k == tcp {
			p[33] = 0x12 // a SYN-ACK
			binary.BigEndian.PutUint32(p[28:], 1001)
		}
		seal(k, p)
	}
	return in
}

// established returns an engine with n established flows, and a packet of each in either direction.
func established(b testing.TB, k kind, shards, n int) (e *natcore.Engine, out, in traffic) {
	e = benchEngine(b, shards)
	out = newTraffic(b, k, tcpFlags{syn: true, seq: 1000}, 0, n)
	in = out.answered(b, e, k)
	if k == udp {
		return e, out, in
	}
	out = newTraffic(b, k, tcpFlags{ack: true, seq: 1001}, 0, n)
	buffer := make([]byte, benchSize)
	for i := range n {
		e.Inbound(buffer[:copy(buffer, in.packet(i))], began)
		e.Outbound(buffer[:copy(buffer, out.packet(i))], began)
		in.packet(i)[33] = 0x10
		binary.BigEndian.PutUint32(in.packet(i)[24:], 1)
		seal(k, in.packet(i))
	}
	return e, out, in
}

// feeder sends the packets round and round, in batches.
type feeder struct {
	e       *natcore.Engine
	from    traffic
	next    int
	batch   []natcore.Packet
	buffers [][benchSize]byte
	sent    int
}

func newFeeder(e *natcore.Engine, from traffic, d natcore.Direction, size int) *feeder {
	f := &feeder{e: e, from: from, batch: make([]natcore.Packet, size), buffers: make([][benchSize]byte, size)}
	for i := range f.batch {
		f.batch[i] = natcore.Packet{Bytes: f.buffers[i][:], Direction: d}
	}
	return f
}

// send sends a batch; time moves on by a millisecond every 64 packets.
func (f *feeder) send() {
	for i := range f.batch {
		copy(f.buffers[i][:], f.from.packet(f.next))
		if f.next++; f.next == f.from.len() {
			f.next = 0
		}
	}
	f.sent += len(f.batch)
	f.e.Process(f.batch, began.Add(time.Second+time.Duration(f.sent/64)*time.Millisecond))
}

// BenchmarkEstablished measures a packet of a known session. An operation is a packet.
func BenchmarkEstablished(b *testing.B) {
	for _, n := range []int{1, 10_000, 1_000_000, 10_000_000} {
		for _, k := range []kind{udp, tcp} {
			if n > 10_000 && testing.Short() || n > 1_000_000 && k == tcp {
				continue
			}
			b.Run(fmt.Sprintf("flows=%d/proto=%v", n, k), func(b *testing.B) { benchEstablished(b, k, n) })
		}
	}
}

func benchEstablished(b *testing.B, k kind, n int) {
	var e *natcore.Engine
	var packets [2]traffic
	for _, size := range []int{1, 64} {
		for d, name := range []string{"outbound", "inbound"} {
			b.Run(fmt.Sprintf("batch=%d/dir=%s", size, name), func(b *testing.B) {
				if e == nil {
					e, packets[0], packets[1] = established(b, k, 8, n)
				}
				f := newFeeder(e, packets[d], natcore.Direction(d), size)
				b.ReportAllocs()
				w := startWatch()
				for i := 0; b.Loop(); i++ {
					if i%size == 0 {
						f.send()
					}
					w.lap()
				}
				w.report(b)
				for i := range f.batch {
					require.Equal(b, natcore.Forward, f.batch[i].Verdict, "%v", f.batch[i].Reason)
				}
			})
		}
	}
	b.Run("copy=only", func(b *testing.B) {
		if e == nil {
			e, packets[0], packets[1] = established(b, k, 8, n)
		}
		var buffer [benchSize]byte
		i := 0
		for b.Loop() {
			copy(buffer[:], packets[0].packet(i))
			if i++; i == n {
				i = 0
			}
		}
	})
}

// BenchmarkCallers measures what independent callers, each with flows of its own, do together at 2^20 flows in batches of 64. An operation is a packet
// of each.
func BenchmarkCallers(b *testing.B) {
	if testing.Short() {
		return
	}
	for _, callers := range []int{1, 2} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			e := benchEngine(b, 8)
			var feeders []*feeder
			for c := range 2 {
				out := newTraffic(b, udp, tcpFlags{}, c<<13, 1<<19)
				out.answered(b, e, udp)
				feeders = append(feeders, newFeeder(e, out, natcore.Outbound, 64))
			}
			if callers == 1 { // one caller sends the packets of all flows in turn
				runtime.GC()
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range (b.N + 63) / 64 {
						feeders[(c+i*(2-callers))%2].send()
					}
				}()
			}
			wg.Wait()
		})
	}
}

// BenchmarkNewSession measures the first packet of a flow, with its port,
// mapping and session, and the block of each 64th, while their number grows from nothing.
func BenchmarkNewSession(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 16, 1 << 20, 1 << 22} {
		if n > 1<<16 && testing.Short() {
			continue
		}
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprintf("sessions=%d/batch=%d", n, size), func(b *testing.B) {
				out := newTraffic(b, udp, tcpFlags{}, 0, n)
				b.ReportAllocs()
				var f *feeder
				w := startWatch()
				for i := 0; b.Loop(); i++ {
					if i%n == 0 {
						b.StopTimer()
						f = newFeeder(benchEngine(b, 8), out, natcore.Outbound, size)
						runtime.GC()
						w.restart()
						b.StartTimer()
					}
					if i%size == 0 {
						f.send()
					}
					w.lap()
				}
				w.report(b)
			})
		}
	}
}

// BenchmarkExpire measures the end of a session, with its mapping and its port. What counts is p10-ns/op, per session.
func BenchmarkExpire(b *testing.B) {
	for _, n := range []int{1 << 16, 1 << 20} {
		if n > 1<<16 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			out := newTraffic(b, udp, tcpFlags{}, 0, n)
			w := startWatch()
			for done := 0; done < b.N; done += n {
				b.StopTimer()
				e := benchEngine(b, 8)
				f := newFeeder(e, out, natcore.Outbound, 64)
				for range n / 64 {
					f.send()
				}
				runtime.GC()
				b.StartTimer()
				left := e.Stats().Sessions
				for over := false; !over; {
					w.restart()
					over = e.Expire(began.Add(10*time.Minute), 1<<12)
					took, now := time.Since(w.since), e.Stats().Sessions
					if left-now > 2000 {
						w.windows = append(w.windows, took*windowOps/time.Duration(left-now))
					}
					left = now
				}
				require.Zero(b, left)
			}
			w.report(b)
		})
	}
}

// BenchmarkRound measures a round of Expire over live sessions, in which nothing ends. An operation is a session.
func BenchmarkRound(b *testing.B) {
	const n = 1 << 20
	if testing.Short() {
		return
	}
	e, _, _ := established(b, udp, 8, n)
	now := began.Add(time.Second)
	for i := 0; b.Loop(); i++ {
		if i%n == 0 {
			now = now.Add(time.Millisecond)
			for !e.Expire(now, 1<<16) {
			}
		}
	}
}

// BenchmarkMemory tells the bytes of a session, all in: with its mapping, its ports' blocks, its share of its subscriber and address. Every session has
// a mapping of its own, and a subscriber 64 of them.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1 << 16, 1 << 20, 1 << 22} {
		if n > 1<<16 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			out := newTraffic(b, udp, tcpFlags{}, 0, n)
			for b.Loop() {
				before := heap()
				e := benchEngine(b, 8)
				f := newFeeder(e, out, natcore.Outbound, 64)
				for range n / 64 {
					f.send()
				}
				used := heap() - before
				require.EqualValues(b, n, e.Stats().Sessions)
				b.ReportMetric(float64(used)/float64(n), "B/session")
				began := time.Now()
				runtime.GC()
				b.ReportMetric(float64(time.Since(began).Microseconds()), "us/GC")
				runtime.KeepAlive(e)
			}
		})
	}
}

// watch times a benchmark in windows of some operations and tells the tenth percentile of them: on a machine that others use
// as well, those in which nobody else came in between. On a quiet one it is the mean.
type watch struct {
	windows []time.Duration // of windowOps operations each
	since   time.Time
	ops     int
}

const windowOps = 1 << 10

func startWatch() *watch { return &watch{since: time.Now()} }

// lap counts an operation.
func (w *watch) lap() {
	if w.ops++; w.ops%windowOps == 0 {
		now := time.Now()
		w.windows = append(w.windows, now.Sub(w.since))
		w.since = now
	}
}

// restart begins a window anew: what happened since the last lap does not count.
func (w *watch) restart() { w.ops, w.since = 0, time.Now() }

func (w *watch) report(b *testing.B) {
	if len(w.windows) > 10 {
		slices.Sort(w.windows)
		b.ReportMetric(float64(w.windows[0].Nanoseconds())/windowOps, "min-ns/op")
		b.ReportMetric(float64(w.windows[len(w.windows)/10].Nanoseconds())/windowOps, "p10-ns/op")
	}
}

func heap() uint64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
