package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// oneBlock returns an engine with one block of 256 ports in all.
func oneBlock(t failer) *nat {
	t.Helper()
	return newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 1279)
	})
}

// TestRFC7768_04_IdleBlocksComeBack: a block without a port in use is released after its idle time, its release is recorded, and it
// rests for its guard time before anybody else has it.
//
// Rows: 7768-05, 7768-06, 7768-12.
func TestRFC7768_04_IdleBlocksComeBack(t *testing.T) {
	n := oneBlock(t)
	n.out(t, udp, a40000, s1p1)
	refused := func() {
		t.Helper()
		_, verdict, why := n.try(t, udp, endpoint(hostB, 1), s1p1)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonAddressesExhausted, why)
	}
	n.wait(300 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().Mappings)
	n.wait(portblock.DefaultIdleTimeout - tick)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Pools[0].BlocksHeating)
	require.Len(t, n.log.Records(), 1)
	refused()
	n.wait(tick)
	n.expire()
	st := n.Stats()
	require.EqualValues(t, 1, st.Pools[0].BlocksCooling)
	require.Zero(t, st.Subscribers)
	records := n.log.Records()
	require.Len(t, records, 2)
	require.Equal(t, logging.BlockReleased, records[1].Kind)
	require.Equal(t, hostA, records[1].Subscriber)
	require.Equal(t, logging.MillisOf(n.now), records[1].Time)
	require.Equal(t, records[0].Time, records[1].Allocated)
	refused()
	n.wait(portblock.DefaultGuardTime - tick)
	refused()
	n.wait(tick)
	n.out(t, udp, endpoint(hostB, 1), s1p1)
	check(t, n)
}

// TestRFC7768_10_Convergence: a subscriber whose load falls from four blocks to half a block comes to hold two at most, while ports keep changing.
func TestRFC7768_10_Convergence(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Timeouts.UDP = 120 * time.Second
		c.Pools[0].Blocks.BlockSize = 64
	})
	port := 9999
	open := func() {
		port++
		n.out(t, udp, endpoint(hostA, port), s1p1)
	}
	for range 256 {
		open()
	}
	require.EqualValues(t, 4, n.Stats().Pools[0].BlocksHeating)
	for range 1440 { // about ten flows at a time, as many at rest
		n.wait(12 * time.Second)
		n.expire()
		open()
	}
	require.LessOrEqual(t, n.Stats().Pools[0].BlocksHeating, uint64(2))
	check(t, n)
}
