package natcore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
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

// TestOverloadFindsNewRoom: a port that is taken for one remote endpoint may serve another one at once, for which there was none before.
func TestOverloadFindsNewRoom(t *testing.T) {
	n := newNAT(t, overloading, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 2}}))
	n.out(t, udp, endpoint(hostA, 1), s1p1)
	n.out(t, udp, endpoint(hostA, 2), s1p1)
	full := func() bool { return n.refusal(t, 0, udp, endpoint(hostA, 3), s1p1) == natcore.ReasonPortLimit }
	require.True(t, full())
	n.end(t, endpoint(hostA, 1))
	e := n.out(t, udp, endpoint(hostA, 4), s2p1) // a port that was free
	require.False(t, full(), "%v may serve server 1", e)
	require.NoError(t, n.CheckInvariants())
}

// end ends the sessions of an internal endpoint.
func (n *nat) end(t failer, internal netip.AddrPort) {
	t.Helper()
	var all []natcore.SessionInfo
	for s := range n.Sessions() {
		if s.Internal == internal {
			all = append(all, s)
		}
	}
	require.NotEmpty(t, all)
	for _, s := range all {
		require.True(t, n.EndSession(s, n.now))
	}
}

// TestOverloadPortsBeforeTheirTime: where ports are taken before they have rested, one serves its new mapping whatever it has served before.
func TestOverloadPortsBeforeTheirTime(t *testing.T) {
	n := newNAT(t, overloading, func(c *natcore.Config) {
		c.Pools[0].Mapping = natcore.AddressDependent
		c.Pools[0].Blocks.Resting, c.Pools[0].Blocks.MaxBlocks = portblock.RestOldest, 1
	})
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	n.end(t, endpoint(hostA, 50000)) // it rests towards server 2
	n.end(t, holder[e])              // and then as a whole
	require.Equal(t, e, n.out(t, udp, endpoint(hostA, 51000), s2p1))
	require.True(t, n.passes(t, udp, s2p2, e, endpoint(hostA, 51000)), "filtering admits it, and the mapping serves server 2")
	check(t, n)
}

// TestRFC6888_08_OverloadHoldDown: a port that still serves others rests for 120 s towards the remote endpoint of a mapping that has ended: it
// serves it again not a tick before, across a restart too, and what comes late for the old mapping reaches nobody.
func TestRFC6888_08_OverloadHoldDown(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, on := range []natcore.Behaviour{natcore.AddressDependent, natcore.AddressAndPortDependent} {
			n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Mapping = on })
			holder := n.fill(t, udp)
			e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
			for i := range 5 { // all but that mapping are kept alive
				n.wait(60 * time.Second)
				if i < 4 {
					n.expire()
				}
				for _, src := range holder {
					n.out(t, udp, src, s1p1)
				}
			}
			n.expire()
			require.EqualValues(t, 16, n.Stats().Mappings)
			if restart {
				n = n.restored(t, n.Config())
			}
			ask := func() (served bool) {
				for i := range 16 {
					got, verdict, why := n.try(t, udp, endpoint(hostA, 51000+i), s2p1)
					if verdict == natcore.Drop {
						require.Equal(t, natcore.ReasonBlocksExhausted, why)
						continue
					}
					served = served || got == e
				}
				return served
			}
			late := func() bool {
				_, verdict, _ := n.in(t, udp, s2p1, e)
				return verdict == natcore.Forward
			}
			require.False(t, ask(), "%v rests towards %v", e, s2p1)
			require.EqualValues(t, 31, n.Stats().Mappings, "15 of 16 ports serve server 2")
			require.False(t, late(), "of an old mapping, to the host of another one")
			n.wait(60 * time.Second)
			for _, src := range holder {
				n.out(t, udp, src, s1p1)
			}
			n.wait(60*time.Second - tick)
			require.False(t, late())
			require.False(t, ask(), "a tick before the hold-down is over")
			n.wait(tick)
			require.True(t, ask(), "%v has rested", e)
			check(t, n)
		}
	}
}

// TestOverloadStrangers: what comes to a shared port from a remote endpoint that none of its mappings serves reaches nobody, by whatever filtering; to a port with
// one mapping filtering decides.
func TestOverloadStrangers(t *testing.T) {
	for _, filtering := range []natcore.Behaviour{natcore.EndpointIndependent, natcore.AddressDependent, natcore.AddressAndPortDependent} {
		for _, k := range []kind{udp, tcp} {
			n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Filtering = filtering })
			holder := n.fill(t, k)
			e := n.out(t, k, endpoint(hostA, 50000), s2p1)
			for p, src := range holder {
				open := p != e
				require.Equal(t, open && filtering == natcore.EndpointIndependent, n.passes(t, k, endpoint(stranger, 9), p, src))
				require.Equal(t, open && filtering != natcore.AddressAndPortDependent, n.passes(t, k, s1p2, p, src))
			}
			require.False(t, n.passes(t, k, s2p2, e, netip.AddrPort{}))
			require.True(t, n.passes(t, k, s2p1, e, endpoint(hostA, 50000)))
			require.True(t, n.passes(t, k, s1p1, e, holder[e]))
			check(t, n)
		}
	}
}

// TestOverloadErrorsAndHairpins: an ICMP error about a packet of a shared port reaches the host that sent the packet; hairpinning packets meet
// the mapping that serves their sender.
func TestOverloadErrorsAndHairpins(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	other := endpoint(hostA, 50000)
	e := n.out(t, udp, other, s2p1)
	for remote, src := range map[netip.AddrPort]netip.AddrPort{s1p1: holder[e], s2p1: other} {
		quote := build(t, udp, e, remote, nil, tcpFlags{})
		b := icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, quote)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, src.Addr().AsSlice(), b[16:20])
		require.Equal(t, src.Port(), uint16(b[48])<<8|uint16(b[49]), "the quoted source")
	}
	b := icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, build(t, udp, e, endpoint(stranger, 1), nil, tcpFlags{}))
	verdict, why := n.Inbound(b, n.now)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonICMPNoMatch, why)

	// A packet to a shared port from inside comes from an external endpoint that none of the mappings serves.
	before := n.Stats()
	_, verdict, why = n.try(t, udp, endpoint(hostA, 52000), e)
	require.Equal(t, natcore.Drop, verdict, why)
	require.Equal(t, []uint64{before.Sessions, before.Mappings}, []uint64{n.Stats().Sessions, n.Stats().Mappings})
	for p := range holder {
		if p == e {
			continue
		}
		// To a port with one mapping it goes by filtering, from a port that it shares.
		from, verdict, why := n.try(t, udp, endpoint(hostA, 52001), p)
		require.Equal(t, natcore.Hairpin, verdict, why)
		require.Contains(t, holder, from)
		break
	}
	check(t, n)
}

// TestOverloadUDPLite: a port serves UDP or UDP-Lite, and shared it does so too.
func TestOverloadUDPLite(t *testing.T) {
	n := newNAT(t, overloading)
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 40000+i), s1p1)
	}
	liteOut := func(port int, dst netip.AddrPort, want natcore.Verdict) netip.AddrPort {
		b := udpLite(t, endpoint(hostA, port), dst, 8, []byte("payload"))
		batch := []natcore.Packet{{Bytes: b}}
		n.Process(batch, n.now)
		require.Equal(t, want, batch[0].Verdict, batch[0].Reason)
		src, _ := readLite(t, b)
		return src
	}
	lites := map[netip.AddrPort]bool{}
	for i := range 8 {
		lites[liteOut(40000+i, s1p1, natcore.Forward)] = true
	}
	require.Len(t, lites, 8)
	for i := range 8 {
		require.False(t, lites[n.out(t, udp, endpoint(hostA, 50000+i), s2p1)])
		require.True(t, lites[liteOut(50000+i, s2p1, natcore.Forward)])
	}
	require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 51000), s2p1))
	liteOut(51000, s2p1, natcore.Drop)
	check(t, n)
}

// TestOverloadInClasses: where classes of remotes are port spaces of their own, a port is shared within each, by another host in each.
func TestOverloadInClasses(t *testing.T) {
	n := overlapping(t, func(c *natcore.Config) {
		p := &c.Pools[0]
		p.Mapping, p.Overload, p.Blocks.MaxBlocks, p.Blocks.Ports = natcore.AddressAndPortDependent, true, 1, portblock.RangeOf(1024, 1039)
	})
	owner := map[netip.AddrPort]map[netip.AddrPort]netip.AddrPort{} // by external and remote endpoint
	for i := range 64 {
		for h, server := range map[netip.Addr]netip.Addr{hostA: server1, hostB: server2} {
			src, dst := endpoint(h, 40000+i), endpoint(server, 1000+i%4)
			e := n.out(t, udp, src, dst)
			if owner[e] == nil {
				owner[e] = map[netip.AddrPort]netip.AddrPort{}
			}
			require.NotContains(t, owner[e], dst)
			owner[e][dst] = src
		}
	}
	require.Len(t, owner, 16)
	for e, all := range owner {
		require.Len(t, all, 8, "four remote endpoints in each class")
		for dst, src := range all {
			require.True(t, n.passes(t, udp, dst, e, src))
		}
		require.False(t, n.passes(t, udp, endpoint(server1, 9), e, netip.AddrPort{}))
	}
	check(t, n)
}

// TestOverloadPolicies: sharing keeps what Blocks asks for: parity, the internal port itself, and linear choice.
func TestOverloadPolicies(t *testing.T) {
	policy := func(change func(*portblock.Config)) *nat {
		n := newNAT(t, overloading, func(c *natcore.Config) { change(&c.Pools[0].Blocks) })
		for i := range 16 {
			n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
		}
		return n
	}
	n := policy(func(c *portblock.Config) { c.Parity = portblock.Require })
	for i := range 16 {
		require.Equal(t, i&1, int(n.out(t, udp, endpoint(hostA, 50000+i), s2p1).Port())&1)
	}
	n = policy(func(c *portblock.Config) { c.Parity = portblock.Require })
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 50000+2*i), s2p1)
	}
	require.NotEqual(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 50100), s2p1), "no even port is left")
	n.out(t, udp, endpoint(hostA, 50101), s2p1)
	n = policy(func(c *portblock.Config) { c.Preserve = true })
	for i := range 16 {
		require.EqualValues(t, 1024+i, n.out(t, udp, endpoint(hostA, 1024+i), s2p1).Port())
	}
	n = policy(func(c *portblock.Config) { c.Choice = portblock.ChooseLinear })
	for i := range 16 {
		require.EqualValues(t, 1024+i, n.out(t, udp, endpoint(hostA, 50000+i), s2p1).Port())
	}
}

// TestOverloadSwitched: the option changes on a live engine: what shares goes on, and nothing more shares.
func TestOverloadSwitched(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Overload = false })
	require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 50001), s2p1))
	require.True(t, n.passes(t, udp, s2p1, e, endpoint(hostA, 50000)))
	require.True(t, n.passes(t, udp, s1p1, e, holder[e]))
	m := n.restored(t, n.Config())
	require.Equal(t, held(n), held(m))
	n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Overload = true })
	n.out(t, udp, endpoint(hostA, 50001), s2p1)
	cfg := n.Config()
	cfg.Pools[0].Mapping = natcore.AddressDependent
	_, err := n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, "Pools[0].Mapping")
	check(t, n)
}

// TestOverloadAndStatics: all mappings of a shared port are in the way of a static one, and end for it; a port that is reserved while mappings have
// it gets no further ones until it is given back.
func TestOverloadAndStatics(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	static := natcore.Static{Name: "web", Protocol: 17, External: e.Addr(), ExternalPort: e.Port(), Internal: hostB}
	var conflict *natcore.ConflictError
	require.ErrorAs(t, n.AddStatic([]natcore.Static{static}, natcore.RefuseConflicts, n.now), &conflict)
	require.Len(t, conflict.Conflicts, 2)
	require.True(t, n.passes(t, udp, s2p1, e, endpoint(hostA, 50000)))
	require.NoError(t, n.AddStatic([]natcore.Static{static}, natcore.RetireConflicts, n.now))
	require.EqualValues(t, 15, n.Stats().Mappings)
	for i := range 16 {
		got, verdict, _ := n.try(t, udp, endpoint(hostA, 51000+i), s2p2)
		require.Equal(t, i < 15, verdict == natcore.Forward)
		require.NotEqual(t, e, got)
	}
	require.NotEmpty(t, holder)
	check(t, n)

	n = newNAT(t, overloading)
	n.fill(t, udp)
	reserve := func(r []portblock.Reservation) {
		n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Blocks.Reserved = r })
	}
	reserve([]portblock.Reservation{{Ports: portblock.RangeOf(1024, 1037)}})
	for i := range 3 {
		e, verdict, _ := n.try(t, udp, endpoint(hostA, 52000+i), s2p1)
		require.Equal(t, i < 2, verdict == natcore.Forward)
		if i < 2 {
			require.GreaterOrEqual(t, e.Port(), uint16(1038), "the others are reserved")
		}
	}
	reserve(nil)
	for i := range 14 {
		require.Less(t, n.out(t, udp, endpoint(hostA, 53000+i), s2p1).Port(), uint16(1038))
	}
	check(t, n)
}

// TestOverloadListed: a list of mappings tells those that share a port apart by what they serve.
func TestOverloadListed(t *testing.T) {
	for on, remote := range map[natcore.Behaviour]netip.AddrPort{
		natcore.AddressDependent: endpoint(server2, 0), natcore.AddressAndPortDependent: s2p1,
	} {
		n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Mapping = on })
		n.fill(t, udp)
		e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
		sharing := 0
		for m := range n.Mappings() {
			if m.External == e {
				sharing++
			}
			if m.Internal == endpoint(hostA, 50000) {
				require.Equal(t, remote, m.Remote)
			}
		}
		require.Equal(t, 2, sharing)
	}
	n := newNAT(t)
	n.out(t, udp, a40000, s1p1)
	for m := range n.Mappings() {
		require.False(t, m.Remote.IsValid())
	}
}

// TestOverloadRestsAreBounded: once as many rests are kept as a subscriber may have sessions, nothing more is shared.
func TestOverloadRestsAreBounded(t *testing.T) {
	n := newNAT(t, overloading, func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 40 })
	n.fill(t, udp)
	end := func() (ended int) {
		var all []natcore.SessionInfo
		for s := range n.Sessions() {
			if s.Internal.Port() >= 50000 {
				all = append(all, s)
			}
		}
		for _, s := range all {
			require.True(t, n.EndSession(s, n.now))
		}
		return len(all)
	}
	made := 0
	for i := range 200 {
		if n.refusal(t, 0, udp, endpoint(hostA, 50000+i), remoteN(i)) == natcore.ReasonNone {
			made++
		}
		end()
	}
	require.Equal(t, 40, made)
	a := n.Explain(natcore.Question{Internal: endpoint(hostA, 60000), Remote: s2p1, Protocol: 17}, n.now)
	require.Equal(t, natcore.ReasonBlocksExhausted, a.Reason)
	require.Contains(t, a.Limits, natcore.Limit{Name: "Pools[0].Overload, rests", Used: 40, Max: 40})
	n.wait(holdDown)
	n.out(t, udp, endpoint(hostA, 60000), s2p1)
	check(t, n)
}

// TestOverloadIsUnpredictable: of the ports that may be shared all come, none much more often than others (RFC 6056).
//
// Rows: 7857-16.
func TestOverloadIsUnpredictable(t *testing.T) {
	n := newNAT(t, overloading)
	n.fill(t, udp)
	counts := map[uint16]int{}
	for i := range 1600 {
		counts[n.out(t, udp, endpoint(hostA, 50000), remoteN(i)).Port()]++
	}
	require.Len(t, counts, 16)
	for p, c := range counts {
		require.True(t, c > 50 && c < 170, "port %d came %d times of 1600", p, c)
	}
}

// TestOverloadNothingAllocatedPerPacket: a packet of a session at a shared port allocates nothing.
func TestOverloadNothingAllocatedPerPacket(t *testing.T) {
	n := newNAT(t, overloading)
	n.fill(t, udp)
	src := endpoint(hostA, 50000)
	e := n.out(t, udp, src, s2p1)
	out, in := build(t, udp, src, s2p1, nil, tcpFlags{}), build(t, udp, s2p1, e, nil, tcpFlags{})
	scratch := make([]byte, 100)
	for d, b := range map[natcore.Direction][]byte{natcore.Outbound: out, natcore.Inbound: in} {
		batch := []natcore.Packet{{Direction: d}}
		require.Zero(t, testing.AllocsPerRun(200, func() {
			batch[0].Bytes = scratch[:copy(scratch, b)]
			n.Process(batch, n.now)
			require.Equal(t, natcore.Forward, batch[0].Verdict)
		}))
	}
	refused := build(t, udp, endpoint(hostA, 51000), s1p1, nil, tcpFlags{})
	batch := []natcore.Packet{{}}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		batch[0].Bytes = scratch[:copy(scratch, refused)]
		n.Process(batch, n.now)
		require.Equal(t, natcore.Drop, batch[0].Verdict)
	}), "a refusal for want of ports that fit")
}

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
