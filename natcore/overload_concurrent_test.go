package natcore_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestOverloadAnyNumberOfGoroutines: many goroutines send from the same hosts to the same remote endpoints, with time and ends between: towards one remote
// endpoint an external one has one owner. Run it under the race detector.
func TestOverloadAnyNumberOfGoroutines(t *testing.T) {
	n := newNAT(t, overloading, func(c *natcore.Config) {
		small(1024, 1024+63, 16)(c)
		c.Pools[0].Blocks.MaxBlocks = 2
	})
	type use struct{ external, remote netip.AddrPort }
	var mu sync.Mutex
	owner, of := map[use]netip.AddrPort{}, map[string]use{}
	var wg sync.WaitGroup
	shared := 0
	for g := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 1500 {
				src := endpoint(host(2+i%3), 40000+(i/3+g*11)%60)
				dst := remoteN((i*7 + g) % 9)
				e, verdict, _ := n.try(t, udp, src, dst)
				if verdict != natcore.Forward {
					continue
				}
				mu.Lock()
				if o, taken := owner[use{e, dst}]; taken && o != src {
					t.Errorf("%v towards %v serves %v and %v", e, dst, o, src)
				}
				owner[use{e, dst}] = src
				flow := fmt.Sprint(src, dst)
				if u, known := of[flow]; known && u.external != e {
					t.Errorf("%v to %v has %v and %v", src, dst, u.external, e)
				}
				of[flow] = use{e, dst}
				mu.Unlock()
				if i%50 == 0 {
					n.Expire(began, 10_000)
				}
			}
		}()
	}
	wg.Wait()
	check(t, n)
	ports := map[netip.AddrPort]bool{}
	for u := range owner {
		ports[u.external] = true
	}
	shared = len(owner) - len(ports)
	require.Greater(t, shared, 100, "ports are shared")
}
