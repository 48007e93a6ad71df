package natcore_test

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// flaky is a log that refuses every third record until it is mended.
type flaky struct {
	*logging.Memory
	records atomic.Int64
	mended  atomic.Bool
}

func (f *flaky) Append(r *logging.Record) error {
	if f.records.Add(1)%3 == 0 && !f.mended.Load() {
		return logging.ErrFull
	}
	return f.Memory.Append(r)
}

// TestCallersAtOnceWithSkewedClocks: callers whose clocks differ do everything that the engine offers at once, against small limits and a
// log that often refuses. The parts fit each other afterwards, and when all is over nothing is left.
func TestCallersAtOnceWithSkewedClocks(t *testing.T) {
	log := &flaky{Memory: logging.NewMemory(0)}
	n := newNAT(t, small(1024, 1279, 16), func(c *natcore.Config) {
		c.Log, c.Shards = log, 4
		p := &c.Pools[0]
		p.Blocks.GuardTime, p.Blocks.HoldDown, p.Blocks.IdleTimeout = time.Second, time.Second, time.Second
		p.Filtering = natcore.AddressDependent
		c.Timeouts = natcore.Timeouts{
			UDP: 2 * time.Second, ICMP: 2 * time.Second, TCPOpening: 2 * time.Second, TCPEstablished: 3 * time.Second,
			TCPClosing: 2 * time.Second, Fragment: 2 * time.Second, AllowShort: true,
		}
		c.Limits.Subscribers, c.Limits.Sessions = 20, 200
	})
	own := netip.MustParseAddr("203.0.113.5")
	var clock atomic.Int64
	var wg sync.WaitGroup
	for caller := range uint64(4) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(caller, 1))
			coin := func(of int) bool { return r.IntN(of) == 0 }
			for range 4000 {
				now := began.Add(time.Duration(clock.Add(1)-r.Int64N(100)) * time.Millisecond)
				src := endpoint(host(2+r.IntN(30)), 5000+r.IntN(20))
				dst := endpoint(oneOf(r, server1, server2, own), 1024+r.IntN(256))
				k := kind(r.IntN(3))
				switch r.IntN(12) {
				case 0:
					_, _ = n.Map(natcore.MapRequest{Internal: src, Protocol: k.proto(), Lifetime: time.Duration(1+r.IntN(2000)) * time.Millisecond}, now)
				case 1:
					n.Unmap(natcore.MapRequest{Internal: src, Protocol: k.proto()}, now)
				case 2:
					n.Expire(now, 1<<14)
				case 3:
					n.Stats()
				case 4:
					n.Drain(nil)
				case 5, 6:
					flags := tcpFlags{syn: coin(2), ack: coin(2), rst: coin(9)}
					n.Inbound(build(t, k, dst, endpoint(own, 1024+r.IntN(256)), []byte("x"), flags), now)
				case 7:
					for _, f := range halves(t, src, dst) {
						n.Outbound(numbered(f, r.IntN(8)), now)
					}
				default:
					flags := tcpFlags{syn: coin(2), fin: coin(4), ack: coin(2), rst: coin(9)}
					n.Outbound(build(t, k, src, dst, []byte("x"), flags), now)
				}
			}
		}()
	}
	wg.Wait()
	check(t, n)
	require.NotZero(t, n.Stats().RecordsRefused)
	log.mended.Store(true)
	n.now = began.Add(time.Hour)
	n.rest()
	n.empty(t)
}
