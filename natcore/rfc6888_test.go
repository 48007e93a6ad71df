package natcore_test

import (
	"bytes"
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

// host returns the i-th internal host.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// TestRFC6888_01_NoOtherTransport: transports whose requirements are not met are not forwarded: DCCP, SCTP, GRE, ESP.
func TestRFC6888_01_NoOtherTransport(t *testing.T) {
	n := newNAT(t)
	for _, proto := range []byte{33, 132, 47, 50} {
		for _, d := range []natcore.Direction{natcore.Outbound, natcore.Inbound} {
			b := build(t, udp, a40000, s1p1, make([]byte, 40), tcpFlags{})
			b[9] = proto
			batch := []natcore.Packet{{Bytes: refit(b), Direction: d}}
			n.Process(batch, n.now)
			require.Equal(t, natcore.Drop, batch[0].Verdict)
			require.Equal(t, natcore.ReasonProtocol, batch[0].Reason)
		}
	}
}

// TestRFC6888_02_PairedForAllProtocols: the mappings of a subscriber share one address, whatever their protocol.
//
// Rows: 7768-02.
func TestRFC6888_02_PairedForAllProtocols(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/28")
		c.Pools[0].Blocks.BlockSize = 16
	})
	used := map[netip.Addr]bool{}
	for h := 2; h < 18; h++ {
		var paired netip.Addr
		for i := range 60 { // four blocks' worth
			for _, k := range []kind{udp, tcp, icmp} {
				e := n.out(t, k, endpoint(host(h), 40000+i), s1p1)
				if !paired.IsValid() {
					paired = e.Addr()
				}
				require.Equal(t, paired, e.Addr())
			}
		}
		used[paired] = true
	}
	require.Len(t, used, 16, "subscribers spread over the addresses")
	check(t, n)
}

func TestRFC6888_03_AnyAddresses(t *testing.T) {
	pools := map[string]int{"192.0.2.0/28,198.51.100.7,203.0.113.9-203.0.113.20": 29, "203.0.113.5": 1}
	for text, size := range pools {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Addresses = alloc.MustParseRanges(text)
			c.Pools[0].SubscribersPerAddress = 1
		})
		used := map[netip.Addr]bool{}
		for i := range size {
			src := endpoint(host(2+i), 40000)
			e := n.out(t, udp, src, endpoint(stranger, 53))
			used[e.Addr()] = true
			require.True(t, n.passes(t, udp, endpoint(stranger, 53), e, src))
		}
		require.Len(t, used, size, text)
		_, verdict, why := n.try(t, udp, endpoint(host(999), 1), endpoint(stranger, 53))
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonAddressesExhausted, why)
	}
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("172.16.0.0/15") })
	used := map[netip.Addr]bool{}
	for i := range 1000 {
		used[n.out(t, udp, endpoint(host(2+i), 40000), s1p1).Addr()] = true
	}
	require.Len(t, used, 1000, "131,072 addresses have room for a subscriber each")
}

// TestRFC6888_04_PortLimit: the mapping beyond the limit is refused, and nobody else notices.
//
// Rows: 6269-02, ATK-07.
func TestRFC6888_04_PortLimit(t *testing.T) {
	for _, limit := range []int{64, 300} {
		n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Blocks.MaxPorts[portblock.UDP] = limit })
		for i := range limit {
			n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
		}
		for i := range 1000 {
			_, verdict, why := n.try(t, udp, endpoint(hostA, 30000+i), s1p1)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonPortLimit, why)
			n.out(t, udp, endpoint(hostB, 30000+i%limit), s1p1)
		}
		check(t, n)
	}
	t.Run("6888-04a", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Blocks.MaxPortsTotal = 5 })
		for i := range 6 {
			k := []kind{udp, tcp, icmp}[i%3]
			_, verdict, why := n.try(t, k, endpoint(hostA, 1024+i), s1p1)
			require.Equal(t, i == 5, verdict == natcore.Drop)
			require.Equal(t, i == 5, why == natcore.ReasonPortLimit)
		}
	})
	t.Run("6888-04b", func(t *testing.T) {
		limits := map[kind]int{udp: 20, tcp: 30, icmp: 10}
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Blocks.MaxPorts = [3]int{portblock.UDP: 20, portblock.TCP: 30, portblock.ICMP: 10}
		})
		for k, limit := range limits {
			for i := range limit + 1 {
				_, verdict, _ := n.try(t, k, endpoint(hostA, 1024+i), s1p1)
				require.Equal(t, i == limit, verdict == natcore.Drop, "%v %d", k, i)
			}
		}
	})
}

// TestRFC6888_05_SessionLimit: state per subscriber and in all is bounded, as configured; a session that is over makes room.
//
// Rows: 6888-05a.
func TestRFC6888_05_SessionLimit(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Limits.SessionsPerSubscriber, c.Limits.Sessions = 10, 15 })
	e := n.out(t, udp, a40000, endpoint(server1, 1))
	for i := 2; i <= 10; i++ {
		n.out(t, udp, a40000, endpoint(server1, i))
	}
	_, verdict, why := n.try(t, udp, a40000, endpoint(server1, 11))
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonSessionLimit, why)
	_, verdict, why = n.in(t, udp, endpoint(stranger, 1), e)
	require.Equal(t, natcore.Forward, verdict, why)
	require.EqualValues(t, 10, n.Stats().Sessions, "strangers make no sessions")
	for i := 1; i <= 6; i++ {
		_, verdict, why = n.try(t, udp, endpoint(hostB, 1), endpoint(server1, i))
		require.Equal(t, i == 6, verdict == natcore.Drop, "%d: %v", i, why)
	}
	mappings := n.Stats().Mappings
	_, verdict, why = n.try(t, udp, endpoint(hostB, 2), s1p1)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonSessionLimit, why)
	require.Equal(t, mappings, n.Stats().Mappings, "who gets no session gets no port")
	n.wait(300 * time.Second)
	n.expire()
	n.out(t, udp, a40000, endpoint(server1, 11))
	check(t, n)
}

// TestRFC6888_07_DefaultIsEndpointIndependent: without any configuration, remote endpoints that nobody has written to come in.
func TestRFC6888_07_DefaultIsEndpointIndependent(t *testing.T) {
	n := newNAT(t)
	for _, k := range []kind{udp, tcp} {
		require.Equal(t, behaviour{natcore.EndpointIndependent, natcore.EndpointIndependent}, n.discover(t, k, hostA, 40000))
	}
}

// TestRFC6888_08_HoldDown: the port of a mapping that is over is refused for the hold-down, to the tick, and given then.
func TestRFC6888_08_HoldDown(t *testing.T) {
	for _, hold := range []time.Duration{120 * time.Second, 30 * time.Second} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Blocks.BlockSize, c.Pools[0].Blocks.MaxBlocks, c.Pools[0].Blocks.HoldDown = 16, 1, hold
		})
		freed := n.out(t, udp, endpoint(hostA, 1), s1p1)
		n.wait(time.Second)
		others := map[netip.AddrPort]netip.AddrPort{}
		for i := 2; i <= 16; i++ {
			src := endpoint(hostA, i)
			others[src] = n.out(t, udp, src, s1p1)
		}
		n.wait(299 * time.Second)
		n.expire()
		require.EqualValues(t, 15, n.Stats().Mappings)
		for src, e := range others { // they live on
			require.Equal(t, e, n.out(t, udp, src, s1p1))
		}
		n.wait(hold - tick)
		_, verdict, why := n.try(t, udp, endpoint(hostA, 99), s1p1)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonPortsResting, why)
		n.wait(tick)
		require.Equal(t, freed, n.out(t, udp, endpoint(hostA, 99), s1p1))
		check(t, n)
	}
	t.Run("6888-08d", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Blocks.BlockSize, c.Pools[0].Blocks.MaxBlocks, c.Pools[0].Blocks.MaxResting = 16, 1, 2
		})
		for i := range 16 {
			n.out(t, icmp, endpoint(hostA, i), s1p1)
		}
		n.wait(60 * time.Second)
		n.expire()
		require.Zero(t, n.Stats().Mappings)
		for i := range 15 {
			_, verdict, why := n.try(t, icmp, endpoint(hostA, i), s1p1)
			require.Equal(t, i == 14, verdict == natcore.Drop, "all but two are free at once: %d %v", i, why)
		}
	})
}

// TestRFC6888_08b_DeterministicPorts: a port that nobody else can ever have is free at once. All the ports of a subscriber,
// identifiers too, and those of mappings that he asks for, are of his range.
//
// Rows: 7422-12, 7422-17.
func TestRFC6888_08b_DeterministicPorts(t *testing.T) {
	m := example(t, func(c *deterministic.Config) { c.DynamicFactor, c.MaxPorts, c.SharingRatio = 0, 0, 16 })
	subscriber := netip.MustParseAddr("198.51.100.3")
	own, err := m.Forward(subscriber)
	require.NoError(t, err)
	ports := func(e netip.AddrPort) uint16 {
		t.Helper()
		require.Equal(t, own.External(), e.Addr())
		_, ok := own.Index(e.Addr(), e.Port())
		require.True(t, ok, "port %d", e.Port())
		return e.Port()
	}
	n := fixedNAT(t, m)
	given := map[uint16]bool{}
	for i := range own.Len() - 1 {
		given[ports(n.out(t, icmp, endpoint(subscriber, i), s1p1))] = true
	}
	require.Len(t, given, own.Len()-1)
	r := natcore.MapRequest{Internal: endpoint(subscriber, 65535), Protocol: 1, Lifetime: time.Hour}
	e, err := n.Map(r, n.now)
	require.NoError(t, err)
	given[ports(e)] = true
	require.Len(t, given, own.Len())
	_, verdict, _ := n.try(t, icmp, endpoint(subscriber, 65534), s1p1)
	require.Equal(t, natcore.Drop, verdict)
	require.True(t, n.Unmap(r, n.now))
	n.expire()
	require.Equal(t, e, n.out(t, icmp, endpoint(subscriber, 65534), s1p1), "free at once")
	check(t, n)
}

// TestRFC6888_09_ExplicitMappings: a subscriber has a mapping made before any packet, renewed and ended.
func TestRFC6888_09_ExplicitMappings(t *testing.T) {
	n := newNAT(t)
	for _, k := range []kind{tcp, udp} {
		r := natcore.MapRequest{Internal: endpoint(hostA, 8080), Protocol: k.proto(), Lifetime: time.Hour}
		e, err := n.Map(r, n.now)
		require.NoError(t, err)
		n.wait(time.Hour - tick)
		n.expire()
		again, err := n.Map(r, n.now)
		require.NoError(t, err)
		require.Equal(t, e, again)
		n.wait(time.Hour - tick)
		n.expire()
		require.True(t, n.passes(t, k, endpoint(stranger, 9), e, r.Internal))
		require.Equal(t, e, n.out(t, k, r.Internal, s1p1))
		require.True(t, n.Unmap(r, n.now))
		n.wait(300 * time.Second)
		n.expire()
		require.Zero(t, n.Stats().Mappings)
		require.False(t, n.passes(t, k, endpoint(stranger, 9), e, r.Internal))
	}
}

// TestRFC6888_10_Manageable: who holds what, and what became of all packets, can be read.
func TestRFC6888_10_Manageable(t *testing.T) {
	n := newNAT(t)
	a := n.out(t, udp, a40000, s1p1)
	n.out(t, tcp, a40000, s1p1)
	n.out(t, icmp, endpoint(hostB, 7), s1p1)
	_, _, _ = n.in(t, udp, s1p1, endpoint(a.Addr(), 1))
	st := n.Stats()
	require.EqualValues(t, 3, st.Packets[natcore.Outbound][natcore.Forward])
	require.EqualValues(t, 1, st.Packets[natcore.Inbound][natcore.Drop])
	require.EqualValues(t, 1, st.Drops[natcore.ReasonNoMapping])
	require.EqualValues(t, 3, st.Mappings)
	require.EqualValues(t, 2, st.Pools[0].BlocksHeating)
	held := map[netip.Addr]natcore.SubscriberInfo{}
	for s := range n.Subscribers() {
		held[s.Internal] = s
	}
	require.Len(t, held, 2)
	require.Equal(t, a.Addr(), held[hostA].External)
	require.Equal(t, [3]int{portblock.TCP: 1, portblock.UDP: 1}, held[hostA].Ports)
	sessions := 0
	for s := range n.Sessions() {
		require.True(t, n.External(s.External.Addr()))
		sessions++
	}
	require.Equal(t, 3, sessions)
}

// TestRFC6888_11a_NoRoom: when the last port is gone, the next packet is dropped and no mapping has to give way.
//
// Rows: 6888-11d, 7857-07.
func TestRFC6888_11a_NoRoom(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Blocks.BlockSize = 64
		c.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 1024+127)
		c.Pools[0].Blocks.MaxBlocks = 8
	})
	external := map[netip.AddrPort]netip.AddrPort{}
	for i := range 128 {
		src := endpoint(hostA, 1024+i)
		external[src] = n.out(t, udp, src, s1p1)
	}
	for i := range 500 {
		b := build(t, udp, endpoint(hostA, 30000+i), s1p1, nil, tcpFlags{})
		before := bytes.Clone(b)
		verdict, why := n.Outbound(b, n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonBlocksExhausted, why, "the other address is free, and is not his")
		require.Equal(t, before, b)
	}
	for src, e := range external {
		require.True(t, n.passes(t, udp, s1p1, e, src))
		require.Equal(t, e, n.out(t, udp, src, s1p1))
	}
	require.NotEqual(t, external[endpoint(hostA, 1024)].Addr(), n.out(t, udp, endpoint(hostB, 1), s1p1).Addr())
	check(t, n)
}

// TestRFC6888_12_NoDestinationsInRecords: what is recorded about a subscriber does not tell with whom he speaks.
//
// Rows: 6888-14.
func TestRFC6888_12_NoDestinationsInRecords(t *testing.T) {
	n := newNAT(t)
	for i := range 1000 {
		n.out(t, udp, endpoint(hostA, 1024+i), endpoint(server2, 1+i))
	}
	records := n.log.Records()
	require.Len(t, records, 4, "a record for each block of 256 ports, none for a mapping")
	for _, r := range records {
		require.Equal(t, logging.BlockAllocated, r.Kind)
		require.Equal(t, netip.AddrPort{}, r.Remote)
		require.Equal(t, hostA, r.Subscriber)
		require.EqualValues(t, 255, r.Last-r.First)
	}
}

// TestRFC6888_13_BlocksAreFilled: every port of a block is used before another block is taken.
//
// Rows: 7768-01, 7768-03.
func TestRFC6888_13_BlocksAreFilled(t *testing.T) {
	n := newNAT(t)
	for i := range 1024 {
		e := n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
		require.Len(t, n.log.Records(), 1+i/256)
		require.NotZero(t, e.Port())
	}
	for i := range 1024 { // the same blocks serve the other protocols
		n.out(t, tcp, endpoint(hostA, 1024+i), s1p1)
		n.out(t, icmp, endpoint(hostA, 1024+i), s1p1)
	}
	require.Len(t, n.log.Records(), 4)
	require.EqualValues(t, 4, n.Stats().Pools[0].BlocksHeating)
}

// TestRFC6888_06_Bypass: exempted traffic passes untouched and without state, out and back.
func TestRFC6888_06_Bypass(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Remote: netip.MustParsePrefix("198.51.100.20/32"), Action: natcore.Exempt}, {Pool: "cgn"}}
	})
	for _, p := range []natcore.Packet{
		{Bytes: build(t, udp, a40000, s2p1, nil, tcpFlags{}), Direction: natcore.Outbound},
		{Bytes: build(t, udp, s2p1, a40000, nil, tcpFlags{}), Direction: natcore.Inbound},
	} {
		batch := []natcore.Packet{{Bytes: bytes.Clone(p.Bytes), Direction: p.Direction}}
		n.Process(batch, n.now)
		require.Equal(t, natcore.Bypass, batch[0].Verdict, "%v: %v", p.Direction, batch[0].Reason)
		require.Equal(t, p.Bytes, batch[0].Bytes)
	}
	require.Zero(t, n.Stats().Mappings)
}
