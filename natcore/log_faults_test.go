package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// fragile is a log that panics at one record of a kind, counted down from in.
type fragile struct {
	*logging.Memory
	on logging.Kind
	in int
}

func (f *fragile) Append(r *logging.Record) error {
	if r.Kind == f.on && f.in > 0 {
		if f.in--; f.in == 0 {
			panic("log")
		}
	}
	return f.Memory.Append(r)
}

// survive calls f and requires that it panics.
func survive(t failer, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		require.Equal(t, "log", recover())
	}()
	f()
}

// TestLogPanicsAtAllocation: the caller recovers; no block, address, subscriber or lock is lost, for a new subscriber and for a
// second block.
func TestLogPanicsAtAllocation(t *testing.T) {
	log := &fragile{logging.NewMemory(0), logging.BlockAllocated, 1}
	n := newNAT(t, small(1024, 1055, 16), func(c *natcore.Config) { c.Log, c.Limits.Subscribers = log, 1 })
	survive(t, func() { n.try(t, udp, endpoint(hostA, 1), endpoint(server1, 80)) })
	n.empty(t)
	for i := range 16 {
		n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
	}
	log.in = 1
	survive(t, func() { n.try(t, udp, endpoint(hostA, 6000), endpoint(server1, 80)) })
	check(t, n)
	require.EqualValues(t, 1, n.Stats().Pools[0].BlocksHeating)
	for i := range 16 {
		n.out(t, udp, endpoint(hostA, 6000+i), endpoint(server1, 80))
	}
	check(t, n)
	n.rest()
	n.empty(t)
	require.Equal(t, 4, log.Len())
}

// TestLogPanicsAtRelease: the caller recovers; each block is released once, and nobody else gets one before.
func TestLogPanicsAtRelease(t *testing.T) {
	for at := 1; at <= 3; at++ {
		log := &fragile{logging.NewMemory(0), logging.BlockReleased, 0}
		n := newNAT(t, small(1024, 1071, 16), func(c *natcore.Config) {
			c.Log, c.Shards = log, 1
			c.Pools[0].Blocks.GuardTime, c.Pools[0].Blocks.HoldDown, c.Pools[0].Blocks.IdleTimeout = portblock.Off, portblock.Off, portblock.Off
		})
		for i := range 3 {
			n.out(t, udp, endpoint(host(i), 1), endpoint(server1, 80))
		}
		n.wait(time.Hour)
		log.in = at
		survive(t, n.expire)
		for i := range at - 1 { // as many blocks as were released before
			n.out(t, udp, endpoint(host(20+i), 1), endpoint(server1, 80))
		}
		_, verdict, _ := n.try(t, udp, endpoint(host(30), 1), endpoint(server1, 80))
		require.Equal(t, natcore.Drop, verdict)
		check(t, n)
		n.rest()
		n.empty(t)
		owner := map[uint16]string{}
		for _, r := range log.Records() {
			if r.Kind == logging.BlockAllocated {
				require.Empty(t, owner[r.First], "block %d", r.First)
				owner[r.First] = r.Subscriber.String()
			} else {
				require.Equal(t, r.Subscriber.String(), owner[r.First], "block %d", r.First)
				delete(owner, r.First)
			}
		}
		require.Empty(t, owner)
		require.EqualValues(t, 3+at-1, n.Stats().BlocksReleased)
	}
}

// TestStatsDoNotWaitForTheLog: while the log works on a record, Stats and packets of known sessions go on.
func TestStatsDoNotWaitForTheLog(t *testing.T) {
	n, log := hookedNAT(t, func(c *natcore.Config) { c.Shards = 1 })
	n.out(t, udp, endpoint(hostA, 1), endpoint(server1, 80))
	entered, leave, left := make(chan bool), make(chan bool), make(chan bool)
	log.hook = func(*logging.Record) { close(entered); <-leave }
	go func() {
		n.Outbound(build(t, udp, endpoint(hostB, 1), endpoint(server1, 80), nil, tcpFlags{}), n.now)
		close(left)
	}()
	<-entered
	done := make(chan bool)
	go func() {
		n.Stats()
		n.Outbound(build(t, udp, endpoint(hostA, 1), endpoint(server1, 80), nil, tcpFlags{}), n.now)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("they wait for the log")
	}
	close(leave)
	<-left
	<-done
	check(t, n)
}

// TestTwoCallersMapOneEndpoint: while the log works on a block for an endpoint, another caller maps the same endpoint
// to a port that has become free; the port of the slower one goes back.
func TestTwoCallersMapOneEndpoint(t *testing.T) {
	n, log := hookedNAT(t, small(1024, 1055, 16), func(c *natcore.Config) {
		c.Shards = 1
		c.Pools[0].Blocks.GuardTime, c.Pools[0].Blocks.HoldDown = portblock.Off, portblock.Off
	})
	var first []byte
	for i := range 16 {
		e := n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
		if i == 0 {
			first = build(t, udp, endpoint(server1, 80), e, nil, tcpFlags{})
		}
	}
	later := n.now.Add(time.Hour)
	other := build(t, udp, endpoint(hostA, 6000), endpoint(server2, 80), nil, tcpFlags{})
	log.hook = func(*logging.Record) {
		n.Inbound(first, later) // its session is over: the port is free
		verdict, why := n.Outbound(other, later)
		require.Equal(t, natcore.Forward, verdict, why)
	}
	e := n.out(t, udp, endpoint(hostA, 6000), endpoint(server1, 80))
	require.Equal(t, read(t, other).src, e, "one internal endpoint, one external one (RFC 4787 REQ-1)")
	check(t, n)
	n.now = later
	n.rest()
	n.empty(t)
}

// TestCallersRaceForOneMapping: many callers send from one new endpoint at once.
func TestCallersRaceForOneMapping(t *testing.T) {
	n, log := hookedNAT(t, func(c *natcore.Config) { c.Shards = 1 })
	const callers = 8
	done := make(chan [6]byte, callers)
	send := func(i int) {
		b := build(t, udp, endpoint(hostA, 5000), endpoint(server1, 80+i), nil, tcpFlags{})
		n.Outbound(b, n.now)
		done <- [6]byte(append(b[12:16:16], b[20:22]...))
	}
	log.hook = func(*logging.Record) {
		for i := range callers - 1 {
			go send(1 + i)
		}
		time.Sleep(20 * time.Millisecond) // so that they find no mapping and wait for their turn
	}
	send(0)
	first := <-done
	for range callers - 1 {
		require.Equal(t, first, <-done)
	}
	require.EqualValues(t, 1, n.Stats().Mappings)
	require.EqualValues(t, 1, n.Stats().MappingsCreated)
	check(t, n)
}
