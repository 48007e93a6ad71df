package mapping

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestPrefetchMayRunAtAnyTime: look-ups begin and ask for memory while the table grows and shrinks in other hands. The race detector
// tells whether they read what others write.
func TestPrefetchMayRunAtAnyTime(t *testing.T) {
	table := NewTable(testKey, idle, start)
	now := table.Advance(start)
	block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1 << 16})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for seed := range uint64(2) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				var l Lookup
				table.LookOutbound(&l, 0, portblock.UDP, Endpoint{inside.Addr, uint16(rnd.Uint32())}, peer)
				table.PrefetchOutbound(&l)
				table.LookInbound(&l, portblock.UDP, Endpoint{outside.Addr, uint16(rnd.Uint32())}, 0, peer)
				table.PrefetchInbound(&l)
			}
		})
	}
	for port := range 30_000 {
		m := Mapping{Space: portblock.UDP, Internal: Endpoint{inside.Addr, uint16(port)}, External: Endpoint{outside.Addr, uint16(port)}, Block: block}
		require.True(t, table.AddMapping(&m, now))
	}
	var w Sweep
	for !table.Expire(now, 1000, &w) {
	}
	close(done)
	wg.Wait()
	require.Len(t, w.Mappings, 30_000)
	require.NoError(t, table.CheckInvariants())
}
