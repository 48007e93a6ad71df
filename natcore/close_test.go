package natcore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestClose: every block that was allocated is released by a record with the reason, sessions end, packets are dropped for a reason of their own.
func TestClose(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Sessions: true, Bindings: true}), func(c *natcore.Config) { c.Pools[0].Blocks.BlockSize = 16 })
	for i := range 20 {
		n.out(t, udp, endpoint(hostA, 1000+i), s1p1)
		n.out(t, tcp, endpoint(hostB, 1000+i), s2p1)
	}
	e := n.out(t, udp, endpoint(hostA, 1000), s1p1)
	n.wait(time.Second)
	allocated := n.Stats().BlocksAllocated
	require.NoError(t, n.Close(n.now))
	released := n.records(t, logging.BlockReleased)
	require.Len(t, released, int(allocated))
	for _, r := range released {
		require.Equal(t, logging.ReasonShutdown, r.Reason)
		require.Equal(t, logging.MillisOf(n.now), r.Time)
		require.Equal(t, logging.MillisOf(began), r.Allocated)
	}
	require.Len(t, n.records(t, logging.SessionDeleted), 40)
	require.Len(t, n.records(t, logging.AddressUnbound), 2)
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings+st.Subscribers+st.Pools[0].BlocksHeating)
	check(t, n)

	require.Equal(t, natcore.ReasonStopped, n.refusal(t, 0, udp, endpoint(hostA, 1000), s1p1))
	_, verdict, why := n.in(t, udp, s1p1, e)
	require.Equal(t, []any{natcore.Drop, natcore.ReasonStopped}, []any{verdict, why})
	_, err := n.Map(natcore.MapRequest{Internal: a40000, Protocol: 17, Lifetime: time.Hour}, n.now)
	require.ErrorContains(t, err, "stopped")
	before := n.log.Len()
	require.NoError(t, n.Close(n.now), "again is no error")
	n.expire()
	require.Equal(t, before, n.log.Len())
}

// TestCloseWithoutLog: releases that are refused are reported, and offered again by Close and by Expire.
func TestCloseWithoutLog(t *testing.T) {
	full := errors.New("the disk is full")
	for _, again := range []string{"close", "expire"} {
		n := newNAT(t)
		for i := range 5 {
			n.out(t, udp, endpoint(host(2+i), 1), s1p1)
		}
		n.log.Refuse(full)
		var left *natcore.CloseError
		require.ErrorAs(t, n.Close(n.now), &left)
		require.Equal(t, 5, left.Pending)
		require.ErrorIs(t, left, full)
		require.EqualValues(t, 5, n.Stats().ReleasesPending)
		check(t, n)
		n.log.Refuse(nil)
		if again == "close" {
			require.NoError(t, n.Close(n.now))
		} else {
			n.expire()
		}
		require.Len(t, n.records(t, logging.BlockReleased), 5)
		require.Zero(t, n.Stats().ReleasesPending)
	}
	n := newNAT(t, func(c *natcore.Config) { c.LogPolicy = natcore.CountLoss })
	n.out(t, udp, a40000, s1p1)
	n.log.Refuse(full)
	require.NoError(t, n.Close(n.now))
	require.EqualValues(t, 1, n.Stats().RecordsLost)
}

// TestCloseUnderTraffic: callers that are at work meanwhile leave nothing behind.
func TestCloseUnderTraffic(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Sessions: true}))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 2000 {
				n.Outbound(build(t, udp, endpoint(host(2+g*50+i%50), 1+i), s1p1, nil, tcpFlags{}), n.now)
			}
		}()
	}
	require.NoError(t, n.Close(n.now))
	wg.Wait()
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings+st.Subscribers)
	require.Len(t, n.records(t, logging.BlockReleased), len(n.records(t, logging.BlockAllocated)))
	require.NoError(t, n.CheckInvariants())
}

// TestCloseUnderBatches: callers bring batches of known and of new sessions, both ways, while the engine closes: the race detector tells whether what
// goes is read, and nothing is left.
func TestCloseUnderBatches(t *testing.T) {
	for round := range 20 {
		n := newNAT(t, func(c *natcore.Config) { c.Shards = 2 })
		back := n.out(t, udp, endpoint(host(0), 4000), s1p1)
		var callers sync.WaitGroup
		begun := make(chan struct{}, 2)
		for g := range 2 {
			callers.Go(func() {
				for i := 0; ; i++ {
					var batch []natcore.Packet
					for h := range 4 {
						batch = append(batch, natcore.Packet{Bytes: build(t, udp, endpoint(host(h), 5000+i*2+g), s1p1, nil, tcpFlags{})})
					}
					batch = append(batch, natcore.Packet{Bytes: build(t, udp, s1p1, back, nil, tcpFlags{}), Direction: natcore.Inbound})
					n.Process(batch, n.now)
					if i == round {
						begun <- struct{}{}
					}
					if batch[0].Reason == natcore.ReasonStopped {
						return
					}
				}
			})
		}
		<-begun
		require.NoError(t, n.Close(n.now))
		callers.Wait()
		check(t, n)
		st := n.Stats()
		require.Zero(t, st.Sessions+st.Mappings+st.Subscribers)
	}
}

// TestStop: packets are dropped and all state stays.
func TestStop(t *testing.T) {
	n := newNAT(t)
	n.out(t, udp, a40000, s1p1)
	n.Stop()
	require.Equal(t, natcore.ReasonStopped, n.refusal(t, 0, udp, a40000, s1p1))
	require.EqualValues(t, 1, n.Stats().Sessions)
	require.Len(t, n.records(t, logging.BlockReleased), 0)
	check(t, n)
}
