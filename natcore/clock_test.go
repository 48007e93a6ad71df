package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// hooked is a log that calls before it accepts; the hook stands for other callers that come while the log works.
type hooked struct {
	*logging.Memory
	hook func(*logging.Record)
}

func (h *hooked) Append(r *logging.Record) error {
	if hook := h.hook; hook != nil {
		h.hook = nil
		hook(r)
	}
	return h.Memory.Append(r)
}

// hookedNAT is an engine of one address whose log has a hook.
func hookedNAT(t failer, change ...func(*natcore.Config)) (*nat, *hooked) {
	t.Helper()
	log := &hooked{Memory: logging.NewMemory(0)}
	n := newNAT(t, append([]func(*natcore.Config){func(c *natcore.Config) {
		c.Log = log
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
	}}, change...)...)
	n.log = log.Memory
	return n, log
}

// batch processes outbound UDP packets of several hosts at one time.
func (n *nat) batch(t failer, now time.Time, hosts ...netip.Addr) {
	t.Helper()
	var packets []natcore.Packet
	for _, h := range hosts {
		packets = append(packets, natcore.Packet{Bytes: build(t, udp, endpoint(h, 5000), endpoint(server1, 80), nil, tcpFlags{})})
	}
	n.Process(packets, now)
	for _, p := range packets {
		require.Equal(t, natcore.Forward, p.Verdict, "%v", p.Reason)
	}
}

// releasesMatch requires that each release repeats the time of its allocation.
func (n *nat) releasesMatch(t failer, blocks int) {
	t.Helper()
	allocated := map[netip.Addr]logging.Millis{}
	released := 0
	for _, r := range n.log.Records() {
		switch r.Kind {
		case logging.BlockAllocated:
			allocated[r.Subscriber] = r.Time
		case logging.BlockReleased:
			require.Equal(t, allocated[r.Subscriber], r.Allocated, "%v", r.Subscriber)
			require.GreaterOrEqual(t, r.Time, r.Allocated)
			released++
		}
	}
	require.Equal(t, blocks, released)
}

// TestCallersWithDifferentClocks: hosts alternate between two callers whose clocks differ by a second.
func TestCallersWithDifferentClocks(t *testing.T) {
	n, _ := hookedNAT(t)
	for i := range 10 {
		n.now = began.Add(time.Duration(1-i%2) * time.Second)
		n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
	}
	n.now = began
	for range 3 {
		n.wait(20 * time.Minute)
		n.expire()
	}
	n.releasesMatch(t, 10)
	check(t, n)
}

// TestOneCallerADayAhead: the engine's clock stays where the foremost caller was, and refuses no release for it.
func TestOneCallerADayAhead(t *testing.T) {
	n, _ := hookedNAT(t)
	n.now = began.Add(24 * time.Hour)
	n.out(t, udp, endpoint(host(0), 5000), endpoint(server1, 80))
	n.now = began
	for i := range 10 {
		n.out(t, udp, endpoint(host(i+1), 5000), endpoint(server1, 80))
	}
	for s := range n.Sessions() {
		require.Equal(t, began.Add(24*time.Hour), s.LastSeen.UTC(), "%v: all parts of the engine have one clock", s.Internal)
	}
	n.now = began.Add(24 * time.Hour)
	for range 2 {
		n.wait(time.Hour)
		n.expire()
	}
	require.Zero(t, n.Stats().RecordsRefused)
	n.releasesMatch(t, 11)
}

// TestBatchBehindAnotherCaller: while the log works on the first packet of a batch, another caller's host
// gets a block an hour later; the blocks of the rest of the batch are recorded no earlier.
func TestBatchBehindAnotherCaller(t *testing.T) {
	n, log := hookedNAT(t, func(c *natcore.Config) { c.Shards = 256 })
	log.hook = func(*logging.Record) { n.batch(t, began.Add(time.Hour), host(50)) }
	n.batch(t, began, host(1), host(2), host(3), host(4))
	n.now = began.Add(time.Hour)
	for range 3 {
		n.wait(time.Hour)
		n.expire()
	}
	n.releasesMatch(t, 5)
}

// TestReleasesBehindAnotherCaller: while the log works on the first of several releases, another caller's host gets a
// block an hour later; the releases behind it are recorded no earlier.
func TestReleasesBehindAnotherCaller(t *testing.T) {
	const hosts = 16
	n, log := hookedNAT(t, func(c *natcore.Config) { c.Shards = 2 })
	for i := range hosts {
		n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
	}
	n.wait(10 * time.Minute)
	n.expire()
	n.wait(10 * time.Minute)
	var first netip.Addr
	later := n.now.Add(time.Hour)
	log.hook = func(r *logging.Record) {
		first = r.Subscriber
		done := make(chan bool, hosts)
		for i := range hosts { // those of the shard under release wait for it
			go func() {
				n.Outbound(build(t, udp, endpoint(host(100+i), 5000), endpoint(server1, 80), nil, tcpFlags{}), later)
				done <- true
			}()
		}
		<-done
	}
	n.expire()
	behind := 0
	for _, r := range n.log.Records() {
		if r.Kind == logging.BlockReleased && r.Subscriber != first {
			require.Equal(t, logging.MillisOf(later), r.Time, "%v", r.Subscriber)
			behind++
		}
	}
	require.Equal(t, hosts-1, behind)
}

// TestShardClockStays: a packet that waited for the log finds the shard an hour on, and does not turn it back.
func TestShardClockStays(t *testing.T) {
	n, log := hookedNAT(t, func(c *natcore.Config) { c.Shards = 1 })
	n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
	later := began.Add(4 * time.Minute)
	log.hook = func(*logging.Record) { n.batch(t, later, hostA) }
	n.out(t, udp, endpoint(hostB, 5000), endpoint(server1, 80))
	seen := 0
	for s := range n.Sessions() {
		require.Equal(t, later, s.LastSeen.UTC(), "%v", s.Internal)
		seen++
	}
	require.Equal(t, 2, seen)
}

// TestPauseOfFortyDays: after a pause longer than ticks can tell all sessions are over, before Expire and after.
func TestPauseOfFortyDays(t *testing.T) {
	for _, days := range []int{11, 24, 25, 40, 49, 50, 99, 100} {
		n := newNAT(t)
		e := n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
		n.wait(time.Duration(days) * 24 * time.Hour)
		_, verdict, _ := n.in(t, udp, endpoint(server1, 80), e)
		require.Equal(t, natcore.Drop, verdict, "%d days", days)
		n.expire()
		_, verdict, _ = n.in(t, udp, endpoint(server2, 9), e)
		require.Equal(t, natcore.Drop, verdict, "%d days", days)
		require.Zero(t, n.Stats().Sessions)
		check(t, n)
	}
}

// TestThirtyDaysOneWay: a host sends for thirty days and is never answered; its session ends in time all the same.
func TestThirtyDaysOneWay(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.RefreshInbound, c.Shards = true, 1 })
	b := build(t, udp, endpoint(hostA, 5000), endpoint(server1, 514), nil, tcpFlags{})
	for range 30 * 24 * 3600 / 290 {
		verdict, why := n.Outbound(append([]byte(nil), b...), n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		n.wait(290 * time.Second)
		n.expire()
	}
	require.EqualValues(t, 1, n.Stats().SessionsCreated)
	n.wait(10 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().Sessions)
}

// TestOverWithoutExpire: a session whose idle time is over carries no outbound packet, though Expire never ran.
func TestOverWithoutExpire(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Blocks.HoldDown, c.Pools[0].Blocks.GuardTime = portblock.Off, portblock.Off
	})
	for i, life := range []time.Duration{300 * time.Second, 240 * time.Second, 60 * time.Second} {
		k := kind(i)
		n.out(t, k, endpoint(hostA, 5000), endpoint(server1, 80))
		created := n.Stats().SessionsCreated
		n.wait(life - time.Millisecond)
		n.out(t, k, endpoint(hostA, 5000), endpoint(server1, 80))
		require.Equal(t, created, n.Stats().SessionsCreated, "%v", k)
		n.wait(life)
		n.out(t, k, endpoint(hostA, 5000), endpoint(server1, 80))
		require.Equal(t, created+1, n.Stats().SessionsCreated, "%v", k)
	}
	check(t, n)
}
