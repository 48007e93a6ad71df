package natcore_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// overloading is a pool of one address whose ports are in one block of 16, and may be shared.
func overloading(c *natcore.Config) {
	small(1024, 1039, 16)(c)
	c.Pools[0].Mapping, c.Pools[0].Overload = natcore.AddressAndPortDependent, true
}

// remoteN is one of many remote endpoints.
func remoteN(i int) netip.AddrPort {
	return endpoint(netip.AddrFrom4([4]byte{198, 51, byte(100 + i>>8&3), byte(i)}), 1000+i>>10)
}

// fill takes all 16 ports of a host, towards server 1.
func (n *nat) fill(t failer, k kind) map[netip.AddrPort]netip.AddrPort {
	t.Helper()
	holder := map[netip.AddrPort]netip.AddrPort{}
	for i := range 16 {
		src := endpoint(hostA, 40000+i)
		holder[n.out(t, k, src, s1p1)] = src
	}
	require.Len(t, holder, 16)
	return holder
}

// TestRFC7857_06_OverloadCapacity: a block of 16 ports carries thousands of sessions towards different remote endpoints, each answer goes to
// its session's host, one record tells them all, and 16 is the most towards one remote endpoint.
//
// Rows: 7857-06b.
func TestRFC7857_06_OverloadCapacity(t *testing.T) {
	for _, k := range []kind{udp, tcp, icmp} {
		t.Run(k.String(), func(t *testing.T) {
			n := newNAT(t, overloading)
			type session struct{ src, dst, external netip.AddrPort }
			var all []session
			const remotes = 250
			ports := map[netip.AddrPort]int{}
			for r := range remotes {
				taken := map[netip.AddrPort]bool{}
				for i := range 16 {
					s := session{endpoint(hostA, 40000+i+r%3), remoteN(r), netip.AddrPort{}}
					s.external = n.out(t, k, s.src, s.dst)
					require.False(t, taken[s.external], "%v serves two towards %v", s.external, s.dst)
					taken[s.external] = true
					ports[s.external]++
					all = append(all, s)
				}
				_, _, why := n.try(t, k, endpoint(hostA, 50000), remoteN(r))
				require.Equal(t, natcore.ReasonBlocksExhausted, why, "all 16 serve %v", remoteN(r))
			}
			require.Len(t, ports, 16)
			for _, s := range all {
				to, verdict, why := n.in(t, k, s.dst, s.external)
				require.Equal(t, natcore.Forward, verdict, why)
				require.Equal(t, s.src, to)
				require.Equal(t, s.external, n.out(t, k, s.src, s.dst))
			}
			check(t, n)
			st := n.Stats()
			require.EqualValues(t, 16*remotes, st.Sessions)
			require.EqualValues(t, 16*remotes, st.Mappings)
			require.EqualValues(t, 16*remotes-16, st.MappingsShared)
			for s := range n.Subscribers() {
				require.Equal(t, 16, s.Ports[0]+s.Ports[1]+s.Ports[2])
				require.Equal(t, 16*remotes, s.Sessions)
			}
			require.Len(t, n.blockRecords(), 1)
			n.wait(time.Hour)
			n.expire()
			n.wait(time.Hour)
			n.expire()
			st = n.Stats()
			require.Zero(t, st.Sessions+st.Mappings+st.Subscribers)
			require.Len(t, n.blockRecords(), 2)
		})
	}
}

// TestRFC4787_03_NoOverloading: by default no two mappings share a port, whatever they depend on, and endpoint-independent
// ones cannot.
//
// Rows: 5382-07.
func TestRFC4787_03_NoOverloading(t *testing.T) {
	for _, m := range []natcore.Behaviour{natcore.EndpointIndependent, natcore.AddressDependent, natcore.AddressAndPortDependent} {
		n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Mapping, c.Pools[0].Overload = m, false })
		n.fill(t, udp)
		_, _, why := n.try(t, udp, endpoint(hostA, 50000), s2p1)
		require.Equal(t, natcore.ReasonBlocksExhausted, why)
		check(t, n)
	}
	cfg := config(logging.NewMemory(0))
	cfg.Pools[0].Overload = true
	_, err := natcore.New(cfg, began)
	var field *natcore.FieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "Pools[0].Overload", field.Field)
	check(t, newNAT(t, overloading))
}

// TestOverloadWhereElseRefused: whatever makes ports scarce, a mapping shares one where it may, and is refused for the same reason where it may
// not; while there are ports it shares none.
func TestOverloadWhereElseRefused(t *testing.T) {
	for _, v := range []struct {
		name   string
		why    natcore.Reason
		change func(*natcore.Config)
		ports  int
		before func(*nat)
	}{
		{"blocks at hand", natcore.ReasonBlockLimit, func(c *natcore.Config) { small(1024, 1024+63, 16)(c); c.Pools[0].Blocks.MaxBlocks = 2 }, 32, nil},
		{"blocks of the address", natcore.ReasonBlocksExhausted, small(1024, 1055, 16), 32, nil},
		{"ports of the pool", natcore.ReasonPortLimit, func(c *natcore.Config) { c.Pools[0].Blocks.MaxPorts[portblock.UDP] = 5 }, 5, nil},
		{"ports of the subscriber", natcore.ReasonPortLimit, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 7}}), 7, nil},
		{"ports of the realm", natcore.ReasonRealmLimit, quotas(natcore.Quotas{Realms: map[natcore.Realm]natcore.Quota{0: {Ports: 7}}}), 7, nil},
		{"blocks of the quota", natcore.ReasonBlockLimit, func(c *natcore.Config) {
			small(1024, 1024+63, 16)(c)
			c.Quotas.Subscriber.Blocks = 1
		}, 16, nil},
		{"reserve", natcore.ReasonReserved, quotas(natcore.Quotas{
			Subscriber: natcore.Quota{Ports: 9, ReservePorts: 4}, Reserved: []natcore.Traffic{{RemotePort: 53}},
		}), 5, nil},
		{"log", natcore.ReasonLogRefused, small(1024, 1024+63, 16), 16, func(n *nat) { n.log.Refuse(errors.New("the disk is full")) }},
		{"withdrawn", natcore.ReasonWithdrawn, small(1024, 1024+63, 16), 16, func(n *nat) {
			cfg := n.Config()
			addresses("203.0.113.7")(&cfg)
			_, err := n.Reconfigure(cfg, n.now)
			if err != nil {
				panic(err) // the test's own configuration is wrong
			}
		}},
		{"rests", natcore.ReasonPortsResting, func(c *natcore.Config) { c.Pools[0].Blocks.MaxBlocks = 1 }, 10, func(n *nat) {
			for i := range 6 {
				for s := range n.Sessions() {
					if s.Internal.Port() == uint16(60000+i) {
						n.EndSession(s, n.now)
					}
				}
			}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			for _, overload := range []bool{true, false} {
				n := newNAT(t, overloading, v.change, func(c *natcore.Config) { c.Pools[0].Overload = overload })
				if v.name == "rests" {
					for i := range 6 {
						n.out(t, udp, endpoint(hostA, 60000+i), s1p1)
					}
				}
				ports := map[netip.AddrPort]bool{}
				for i := range v.ports {
					if i == 16 || v.before != nil && i == min(v.ports, 10) {
						n.wait(time.Second)
					}
					ports[n.out(t, udp, endpoint(hostA, 40000+i), s1p1)] = true
				}
				require.Len(t, ports, v.ports, "free ports come first")
				if v.before != nil {
					v.before(n)
				}
				if !overload {
					_, _, why := n.try(t, udp, endpoint(hostA, 50000), s2p1)
					require.Equal(t, v.why, why)
					check(t, n)
					continue
				}
				for i := range v.ports {
					e := n.out(t, udp, endpoint(hostA, 50000+i), s2p1)
					require.True(t, ports[e], "%v is none of the ports in use", e)
				}
				_, _, why := n.try(t, udp, endpoint(hostA, 51000), s2p1)
				require.Equal(t, v.why, why)
				check(t, n)
			}
		})
	}
	// Rates and sessions count each mapping, and sharing does not help against them.
	n := newNAT(t, overloading, quotas(natcore.Quotas{
		Subscriber: natcore.Quota{MappingRate: natcore.Rate{PerSecond: 18}, Sessions: 20},
		Realms:     map[natcore.Realm]natcore.Quota{0: {MappingRate: natcore.Rate{PerSecond: 1, Burst: 19}}},
	}))
	n.fill(t, udp)
	n.out(t, udp, endpoint(hostA, 50000), s2p1)
	n.out(t, udp, endpoint(hostA, 50001), s2p1)
	require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostA, 50002), s2p1))
	n.wait(200 * time.Millisecond)
	n.out(t, udp, endpoint(hostA, 50002), s2p1)
	n.wait(200 * time.Millisecond)
	require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostA, 50003), s2p1), "the realm's")
	n.wait(time.Second)
	n.out(t, udp, endpoint(hostA, 50003), s2p1)
	require.Equal(t, natcore.ReasonSessionLimit, n.refusal(t, 0, udp, endpoint(hostA, 50004), s2p1))
	check(t, n)
	// So it is where the limit of ports refuses first.
	for _, q := range []natcore.Quotas{
		{Subscriber: natcore.Quota{Ports: 5, MappingRate: natcore.Rate{PerSecond: 7}}},
		{Subscriber: natcore.Quota{Ports: 5}, Realms: map[natcore.Realm]natcore.Quota{0: {MappingRate: natcore.Rate{PerSecond: 7}}}},
	} {
		n = newNAT(t, overloading, quotas(q))
		for i := range 7 {
			n.out(t, udp, endpoint(hostA, 40000+i), remoteN(i/5))
		}
		a := n.Explain(natcore.Question{Internal: endpoint(hostA, 50000), Remote: s2p1, Protocol: 17}, n.now)
		require.Equal(t, natcore.ReasonMappingRate, a.Reason)
		require.Positive(t, a.RetryAfter)
		require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostA, 50000), s2p1))
		n.wait(a.RetryAfter)
		n.out(t, udp, endpoint(hostA, 50000), s2p1)
		require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostA, 50001), s2p1), "the one before counts")
		check(t, n)
	}
}
