package natcore_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// benchEngine returns an engine with n established UDP flows, 64 a subscriber,
// and the packets of either direction in a random order.
func benchEngine(b *testing.B, n int) (e *natcore.Engine, out, in [][]byte) {
	cfg := config(logging.Discard)
	cfg.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/16")
	cfg.Shards = 1
	e, err := natcore.New(cfg, began)
	require.NoError(b, err)
	for i := range n {
		src := endpoint(netip.AddrFrom4([4]byte{100, 64 + byte(i>>22), byte(i >> 14), byte(i >> 6)}), 40000+i&63)
		p := build(b, udp, src, endpoint(server1, 443), make([]byte, 22), tcpFlags{})
		out = append(out, append([]byte(nil), p...))
		v, why := e.Outbound(p, began)
		require.Equal(b, natcore.Forward, v, why)
		external := read(b, p).src
		in = append(in, build(b, udp, endpoint(server1, 443), external, make([]byte, 22), tcpFlags{}))
	}
	shuffle := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][][]byte{out, in} {
		shuffle.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	return e, out, in
}

// BenchmarkEstablished measures a packet of a known session. The packet's bytes
// are copied to a warm buffer first, as a receive ring would have them; copy=only is what that costs.
func BenchmarkEstablished(b *testing.B) {
	for _, n := range []int{1, 10_000, 1_000_000} {
		if n > 10_000 && testing.Short() {
			continue
		}
		e, out, in := benchEngine(b, n)
		for _, d := range []struct {
			name    string
			packets [][]byte
			dir     natcore.Direction
		}{{"outbound", out, natcore.Outbound}, {"inbound", in, natcore.Inbound}} {
			for _, size := range []int{1, 64} {
				b.Run(fmt.Sprintf("flows=%d/dir=%s/batch=%d", n, d.name, size), func(b *testing.B) {
					b.ReportAllocs()
					batch := make([]natcore.Packet, size)
					buffers := make([][64]byte, size)
					i := 0
					for j := 0; b.Loop(); j++ {
						slot := j % size
						p := d.packets[i]
						if i++; i == len(d.packets) {
							i = 0
						}
						batch[slot] = natcore.Packet{Bytes: buffers[slot][:copy(buffers[slot][:], p)], Direction: d.dir}
						if slot == size-1 {
							e.Process(batch, began.Add(time.Second))
						}
					}
				})
			}
		}
		b.Run(fmt.Sprintf("flows=%d/copy=only", n), func(b *testing.B) {
			var buffer [64]byte
			i := 0
			for b.Loop() {
				copy(buffer[:], out[i])
				if i++; i == len(out) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkNewSession measures the first packet of a flow, with its port,
// mapping and session, and the block of each 64th.
func BenchmarkNewSession(b *testing.B) {
	for _, n := range []int{1 << 16, 1 << 20} {
		if n > 1<<16 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			packets := make([][]byte, n)
			for i := range packets {
				src := endpoint(netip.AddrFrom4([4]byte{100, 64 + byte(i>>22), byte(i >> 14), byte(i >> 6)}), 40000+i&63)
				packets[i] = build(b, udp, src, endpoint(server1, 443), make([]byte, 22), tcpFlags{})
			}
			b.ReportAllocs()
			var e *natcore.Engine
			i := n
			buffer := make([]byte, 64)
			for b.Loop() {
				if i == n {
					b.StopTimer()
					cfg := config(logging.Discard)
					cfg.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/16")
					cfg.Shards = 1
					var err error
					e, err = natcore.New(cfg, began)
					require.NoError(b, err)
					i = 0
					b.StartTimer()
				}
				e.Outbound(buffer[:copy(buffer, packets[i])], began)
				i++
			}
		})
	}
}
