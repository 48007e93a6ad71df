package natcore_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestRule1_AnyNumberOfGoroutines sends the flows of the same and of other hosts
// from many goroutines at once while another one expires: no external endpoint
// has two owners, and one internal endpoint has one external endpoint (H41, B119). Run it under the race detector.
func TestRule1_AnyNumberOfGoroutines(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/28")
		c.Pools[0].Blocks.BlockSize = 64
		c.Pools[0].Blocks.MaxBlocks = 16
	})
	const goroutines, hosts, flows = 8, 20, 100
	var mu sync.Mutex
	owner := map[tuple]netip.AddrPort{}
	external := map[tuple]netip.AddrPort{} // by internal endpoint
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Add(1)
	go func() {
		defer background.Done()
		for {
			select {
			case <-stop:
				return
			default:
				n.Expire(began, 10_000)
				for range n.Subscribers() {
				}
				n.Stats()
			}
		}
	}()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range hosts * flows {
				h, port := 2+(i+g)%hosts, 40000+(i/hosts+g*7)%flows
				k := kind((h + port) % 3)
				src := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(h)}), port)
				e, verdict, why := n.try(t, k, src, endpoint(server1, 443))
				if verdict != natcore.Forward {
					t.Errorf("%v dropped: %v", src, why)
					return
				}
				mu.Lock()
				if o, taken := owner[tuple{kind: k, external: e}]; taken && o != src {
					t.Errorf("%v belongs to %v and to %v", e, o, src)
				}
				if x, known := external[tuple{kind: k, external: src}]; known && x != e {
					t.Errorf("%v has %v and %v", src, x, e)
				}
				owner[tuple{kind: k, external: e}], external[tuple{kind: k, external: src}] = src, e
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	close(stop)
	background.Wait()
	require.NoError(t, n.CheckInvariants())
	require.EqualValues(t, len(external), n.Stats().Mappings)
}

// TestRule3_EveryPortIsReached drains an address of one subscriber: each port is
// given once, then the refusal names its reason and changes nothing (H25, B117).
func TestRule3_EveryPortIsReached(t *testing.T) {
	for _, shards := range []int{1, 8} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Shards = shards
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
			c.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 1024+1023)
			c.Pools[0].Blocks.MaxBlocks = 4
		})
		given := map[uint16]bool{}
		for i := range 1024 {
			e := n.out(t, udp, endpoint(hostA, 1+i), endpoint(server1, 53))
			require.False(t, given[e.Port()], "port %d twice", e.Port())
			given[e.Port()] = true
		}
		before := n.Stats()
		_, verdict, why := n.try(t, udp, endpoint(hostA, 5000), endpoint(server1, 53))
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonBlockLimit, why)
		_, verdict, why = n.try(t, udp, endpoint(hostB, 5000), endpoint(server1, 53))
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonAddressesExhausted, why)
		after := n.Stats()
		after.Packets, after.Drops, after.ErrorsBuilt = before.Packets, before.Drops, before.ErrorsBuilt
		require.Equal(t, before, after, "a refusal changes nothing")
		// The other spaces of the same ports are free.
		n.out(t, tcp, endpoint(hostA, 1), endpoint(server1, 53))
		n.out(t, icmp, endpoint(hostA, 1), endpoint(server1, 0))
		check(t, n)
	}
}

// TestNothingAllocatedPerPacket: a packet of a known session, in either
// direction, allocates no memory.
func TestNothingAllocatedPerPacket(t *testing.T) {
	for _, k := range []kind{udp, tcp, icmp} {
		n := newNAT(t)
		src, dst := endpoint(hostA, 40000), endpoint(server1, 443)
		e := n.out(t, k, src, dst)
		out := build(t, k, src, dst, []byte("payload"), tcpFlags{ack: k == tcp, seq: 1001})
		in := build(t, k, dst, e, []byte("answer"), tcpFlags{ack: true, seq: 5000})
		scratch := make([]byte, 100)
		for name, b := range map[string][]byte{"outbound": out, "inbound": in} {
			batch := []natcore.Packet{{Direction: map[string]natcore.Direction{"outbound": natcore.Outbound, "inbound": natcore.Inbound}[name]}}
			allocs := testing.AllocsPerRun(200, func() {
				batch[0].Bytes = scratch[:copy(scratch, b)]
				n.Process(batch, n.now.Add(time.Second))
				if batch[0].Verdict != natcore.Forward {
					t.Errorf("%v %s: %v", k, name, batch[0].Reason)
				}
			})
			require.Zero(t, allocs, "%v %s", k, name)
		}
	}
}
