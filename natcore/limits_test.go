package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// small gives an engine one external address with the ports from first to last, in blocks of size.
func small(first, last uint16, size int) func(*natcore.Config) {
	return func(c *natcore.Config) {
		p := &c.Pools[0]
		p.Addresses = alloc.MustParseRanges("203.0.113.5")
		p.Blocks.Ports = portblock.RangeOf(first, last)
		p.Blocks.BlockSize = size
	}
}

// refused sends a UDP packet and requires that it is dropped for a reason.
func (n *nat) refused(t failer, k kind, src netip.AddrPort, want natcore.Reason) {
	t.Helper()
	_, verdict, why := n.try(t, k, src, endpoint(server1, 80))
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, want, why)
}

// rest lets all sessions and guard times end.
func (n *nat) rest() {
	for range 4 {
		n.wait(3 * time.Hour)
		n.expire()
	}
}

// empty requires that nobody holds anything any more.
func (n *nat) empty(t failer) {
	t.Helper()
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings+st.Subscribers+st.ReleasesPending)
	for _, p := range st.Pools {
		require.Zero(t, p.Subscribers+p.AddressesInUse+p.BlocksHeating, "%+v", p)
	}
	require.NoError(t, n.CheckInvariants())
}

// TestSubscriberLimitIsExact: as many subscribers as the limit says, with blocks and with a map;
// refused ones do not count, and those that are gone make room.
func TestSubscriberLimitIsExact(t *testing.T) {
	limit := func(c *natcore.Config) { c.Limits.Subscribers = 3 }
	subscriber := func(i int) netip.AddrPort {
		return endpoint(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), 5000)
	}
	for name, n := range map[string]*nat{
		"blocks":        newNAT(t, limit),
		"deterministic": fixedNAT(t, example(t, nil), limit),
	} {
		t.Run(name, func(t *testing.T) {
			for turn := range 2 {
				for i := range 3 {
					n.out(t, udp, subscriber(3*turn+i), endpoint(server2, 80))
				}
				for i := range 5 {
					_, verdict, why := n.try(t, udp, subscriber(8+i%5), endpoint(server2, 80))
					require.Equal(t, natcore.Drop, verdict)
					require.Equal(t, natcore.ReasonSubscriberLimit, why)
				}
				n.out(t, tcp, subscriber(3*turn), endpoint(server2, 80))
				check(t, n)
				n.rest()
				n.empty(t)
			}
		})
	}
}

// TestRefusedSubscribersDoNotCount: those that find no block or whose record is refused leave the limit to others.
func TestRefusedSubscribersDoNotCount(t *testing.T) {
	full := false
	n := newNAT(t, small(1024, 1039, 16), func(c *natcore.Config) {
		c.Limits.Subscribers = 2
		c.Log = logging.LogFunc(func(*logging.Record) error {
			if full {
				return logging.ErrFull
			}
			return nil
		})
	})
	full = true
	for i := range 5 {
		n.refused(t, udp, endpoint(host(i), 1), natcore.ReasonLogRefused)
	}
	full = false
	n.out(t, udp, endpoint(host(0), 1), endpoint(server1, 80)) // a block that was refused is there for the next
	for i := range 5 {
		n.refused(t, udp, endpoint(host(1+i), 1), natcore.ReasonAddressesExhausted)
	}
	check(t, n)
	n.rest()
	n.empty(t)
}

// TestRestingPorts: when all ports of the only block rest, RestOldest gives the one that has rested longest, RestRefuse none.
func TestRestingPorts(t *testing.T) {
	for _, policy := range []portblock.RestPolicy{portblock.RestRefuse, portblock.RestOldest} {
		n := newNAT(t, small(1024, 1039, 16), func(c *natcore.Config) {
			c.Pools[0].Blocks.Resting = policy
			c.Pools[0].Blocks.HoldDown, c.Pools[0].Blocks.GuardTime = 20*time.Minute, 20*time.Minute
			c.Pools[0].Blocks.IdleTimeout = 20 * time.Minute
		})
		var oldest netip.AddrPort
		for i := range 16 {
			e := n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
			if i == 0 {
				oldest = e
				n.wait(time.Minute)
			}
		}
		n.wait(4 * time.Minute)
		n.expire() // the first port rests
		n.wait(time.Minute)
		n.expire() // all others too
		require.Zero(t, n.Stats().Mappings)
		e, verdict, why := n.try(t, udp, endpoint(hostA, 6000), endpoint(server1, 80))
		if policy == portblock.RestRefuse {
			require.Equal(t, natcore.Drop, verdict)
			continue
		}
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, oldest, e)
		check(t, n)
	}
}

// TestFirstBlockServesItsSpace: the first block of a subscriber has ports of the kind that its first packet needs. Port 0 is
// an identifier and no TCP or UDP port, so a block of port 0 alone serves echo only.
func TestFirstBlockServesItsSpace(t *testing.T) {
	for seed := range byte(16) {
		n := newNAT(t, small(0, 16, 16), func(c *natcore.Config) {
			c.Seed[5] = seed
			c.Pools[0].Blocks.Reserved = []portblock.Reservation{{Ports: portblock.RangeOf(1, 15)}}
		})
		k := []kind{udp, tcp}[seed%2]
		require.EqualValues(t, 16, n.out(t, k, endpoint(hostA, 5000), endpoint(server1, 80)).Port())
		_, verdict, _ := n.try(t, k, endpoint(hostB, 5000), endpoint(server1, 80))
		require.Equal(t, natcore.Drop, verdict)
		require.EqualValues(t, 1, n.Stats().BlocksAllocated, "a block that would not serve is not given")
		require.Equal(t, 1, n.log.Len())
		check(t, n)
	}
}

// TestSmallBlocksWhereLargeOnesAreGone: an address without room for a further block, which is large, still
// takes new subscribers, whose first blocks are small.
func TestSmallBlocksWhereLargeOnesAreGone(t *testing.T) {
	n := newNAT(t, small(1024, 1279, 256), func(c *natcore.Config) { c.Pools[0].Blocks.FirstBlockSize = 16 })
	for i := range 16 {
		n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
	}
	n.refused(t, udp, endpoint(hostA, 6000), natcore.ReasonBlocksExhausted)
	for i := range 15 {
		n.out(t, udp, endpoint(host(1000+i), 5000), endpoint(server1, 80))
		n.refused(t, udp, endpoint(hostA, 6000), natcore.ReasonBlocksExhausted)
	}
	n.refused(t, udp, endpoint(host(2000), 5000), natcore.ReasonAddressesExhausted)
	check(t, n)
}

// TestExplicitMappingBounds: lifetimes from 1 ms to ten days; identifier 0 is one, port 0 is none.
func TestExplicitMappingBounds(t *testing.T) {
	n := newNAT(t)
	const days = 24 * time.Hour
	for _, c := range []struct {
		proto uint8
		port  int
		life  time.Duration
		ok    bool
	}{
		{17, 1, 0, false},
		{17, 1, -time.Second, false},
		{17, 1, time.Nanosecond, false},
		{17, 1, time.Millisecond - 1, false},
		{17, 1, time.Millisecond, true},
		{17, 2, 10 * days, true},
		{17, 3, 10*days + 1, false},
		{17, 0, time.Second, false},
		{6, 0, time.Second, false},
		{1, 0, time.Second, true},
		{132, 4, time.Second, false},
	} {
		e, err := n.Map(natcore.MapRequest{Internal: endpoint(hostA, c.port), Protocol: c.proto, Lifetime: c.life}, n.now)
		require.Equal(t, c.ok, err == nil, "%+v: %v", c, err)
		require.Equal(t, c.ok, e.IsValid())
	}
	require.EqualValues(t, 3, n.Stats().Mappings)
	n.wait(time.Second)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Mappings)
	n.wait(10*days - time.Second - time.Millisecond)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Mappings)
	n.wait(time.Millisecond)
	n.expire()
	require.Zero(t, n.Stats().Mappings)
}

// TestDeterministicSetOfOddSize: a set whose size is no multiple of 64 gives each of its ports once, no other, and all again.
func TestDeterministicSetOfOddSize(t *testing.T) {
	m := example(t, func(d *deterministic.Config) {
		d.Internal = deterministic.Spans("10.0.0.0-10.0.3.131")
		d.SharingRatio, d.DynamicFactor, d.MaxPorts = 900, 0, 72 // as many as the set has: no blocks
	})
	set, err := m.Forward(hostA)
	require.NoError(t, err)
	size := set.Len()
	require.NotZero(t, size%64)
	n := fixedNAT(t, m)
	for range 2 {
		for _, k := range []kind{udp, tcp, icmp} {
			ports := map[uint16]bool{}
			for i := range size {
				e := n.out(t, k, endpoint(hostA, 5000+i), endpoint(server1, 80))
				_, ok := set.Index(e.Addr(), e.Port())
				require.True(t, ok, "%v is not of the set", e)
				ports[e.Port()] = true
			}
			require.Len(t, ports, size)
			n.refused(t, k, endpoint(hostA, 6000), natcore.ReasonPortLimit)
		}
		check(t, n)
		n.rest()
		n.empty(t)
	}
}
