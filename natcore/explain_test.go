package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestExplain: the answer names the limit, its numbers, who holds what, and what would help.
func TestExplain(t *testing.T) {
	ask := func(n *nat, src, dst netip.AddrPort) natcore.Explanation {
		return n.Explain(natcore.Question{Internal: src, Remote: dst, Protocol: 17}, n.now)
	}
	t.Run("quota", func(t *testing.T) {
		n := newNAT(t, quotas(natcore.Quotas{
			Subscriber: natcore.Quota{Sessions: 3, MappingRate: natcore.Rate{PerSecond: 2}},
			Realms:     map[natcore.Realm]natcore.Quota{0: {Ports: 100}},
		}))
		a := ask(n, a40000, s1p1)
		require.Equal(t, natcore.ReasonNone, a.Reason)
		require.Empty(t, a.Advice)
		require.Equal(t, "cgn", a.Pool)
		n.out(t, udp, a40000, s1p1)
		n.out(t, udp, endpoint(hostA, 40001), s1p1)
		require.Equal(t, natcore.ReasonNone, ask(n, a40000, s2p1).Reason, "the mapping is there")
		a = ask(n, endpoint(hostA, 1), s1p1)
		require.Equal(t, natcore.ReasonMappingRate, a.Reason)
		require.Equal(t, 500*time.Millisecond, a.RetryAfter)
		require.Contains(t, a.Limits, natcore.Limit{Name: "the subscriber's quota, MappingRate", Used: 2, Max: 2})
		require.Contains(t, a.Limits, natcore.Limit{Name: "Quotas.Realms[0].Ports", Used: 2, Max: 100})
		n.out(t, udp, a40000, s2p1)
		a = ask(n, a40000, endpoint(server2, 9))
		require.Equal(t, natcore.ReasonSessionLimit, a.Reason)
		require.NotEmpty(t, a.Advice)
		for _, l := range a.Limits {
			require.Equal(t, l.Name == "the subscriber's quota, Sessions", l.Full(), l)
		}
		require.Equal(t, natcore.ReasonNone, ask(n, a40000, s1p1).Reason, "the session is there")
	})
	t.Run("holders", func(t *testing.T) {
		n := newNAT(t, small(1024, 1024+16*4-1, 16), func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5") })
		for i := range 48 {
			n.out(t, udp, endpoint(hostA, 1+i), s1p1)
		}
		for i := range 16 {
			n.out(t, udp, endpoint(hostB, 1+i), s1p1)
		}
		a := ask(n, endpoint(hostB, 99), s1p1)
		require.Equal(t, natcore.ReasonBlocksExhausted, a.Reason)
		require.Equal(t, portblock.BlockCounts{Heating: 4, Unusable: a.Blocks.Unusable, LargestFreeRun: 0, RefusedNoBlock: a.Blocks.RefusedNoBlock}, a.Blocks)
		require.Len(t, a.Holders, 2)
		require.Equal(t, hostA, a.Holders[0].Internal)
		require.Equal(t, 3, a.Holders[0].Blocks)
		require.Equal(t, 1, a.Holders[1].Blocks)
		require.Contains(t, a.Limits, natcore.Limit{Name: `blocks of pool "cgn"`, Used: 4, Max: 4})
		require.Equal(t, []netip.Addr{hostA, hostB}, []netip.Addr{n.Top(5, natcore.ByPorts)[0].Internal, n.Top(5, natcore.BySessions)[1].Internal})
		require.Len(t, n.Top(1, natcore.ByBlocks), 1)
	})
	t.Run("rules", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) {
			c.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Refuse}, {Internal: netip.PrefixFrom(hostA, 32), Pool: "cgn"}}
		})
		require.Equal(t, natcore.ReasonRuleDrop, ask(n, a40000, s2p1).Reason)
		require.Equal(t, natcore.ReasonNoRule, ask(n, endpoint(hostB, 1), s1p1).Reason)
		require.Equal(t, natcore.ReasonMalformed, ask(n, netip.MustParseAddrPort("[2001:db8::1]:1"), s1p1).Reason)
		n.Stop()
		require.Equal(t, natcore.ReasonStopped, ask(n, a40000, s1p1).Reason)
		require.Len(t, natcore.Reasons(), len(natcore.Reasons()))
	})
}

// TestExplainIsRight holds the answer against what a packet then meets, over pools of all kinds and limits of all sizes; to
// ask changes nothing.
func TestExplainIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := func(name string) int { return rapid.SampledFrom([]int{0, 0, 1, 3, 8, 20}).Draw(t, name) }
		mode := rapid.SampledFrom([]string{"blocks", "one each", "one address", "masks", "map", "overload"}).Draw(t, "mode")
		n := newNAT(t, func(c *natcore.Config) {
			c.Quotas = natcore.Quotas{
				Reserved: []natcore.Traffic{{RemotePort: 53}},
				Subscriber: natcore.Quota{
					Ports: few("ports"), Sessions: few("sessions"), Blocks: few("blocks"), MappingRate: natcore.Rate{PerSecond: few("rate")},
				},
				Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: few("realm sessions"), Blocks: few("realm blocks"), SessionRate: natcore.Rate{PerSecond: few("realm rate")}}},
			}
			if q := &c.Quotas.Subscriber; q.Ports > 1 {
				q.ReservePorts = 1
			}
			p := &c.Pools[0]
			p.Blocks = portblock.Config{
				BlockSize: 16, Ports: portblock.RangeOf(1024, 1024+16*4-1), MaxBlocks: rapid.IntRange(1, 3).Draw(t, "max blocks"),
				MaxPortsTotal: few("max ports"), IdleTimeout: portblock.Off,
				Parity:        rapid.SampledFrom([]portblock.Preference{portblock.Ignore, portblock.Prefer, portblock.Require}).Draw(t, "parity"),
				Resting:       rapid.SampledFrom([]portblock.RestPolicy{portblock.RestRefuse, portblock.RestOldest}).Draw(t, "resting"),
				MaxResting:    few("max resting"),
				NoRefill:      rapid.IntRange(0, 3).Draw(t, "no refill") == 0,
				ActiveTimeout: time.Duration(few("active")) * 30 * time.Second,
				Preserve:      rapid.Bool().Draw(t, "preserve"),
			}
			p.Blocks.MaxPorts[portblock.UDP] = few("max udp")
			switch mode {
			case "one each":
				p.SubscribersPerAddress = 1
			case "one address":
				p.Addresses = alloc.MustParseRanges("203.0.113.5")
			case "masks":
				p.Select, p.Remotes = flowmask.MustParseMask("0.0.0.1", "flow:src-ip"), flowmask.MustParseMask("1", "flow:dst-port")
			case "overload":
				p.Mapping, p.Overload = natcore.AddressAndPortDependent, true
			case "map":
				m, err := deterministic.New(deterministic.Config{
					Internal: deterministic.Spans("10.0.0.2-10.0.0.4"), External: deterministic.Spans("203.0.113.5"),
					Reserved:     []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)},
					SharingRatio: 4, DynamicFactor: 2,
				})
				require.NoError(t, err)
				*p = natcore.PoolConfig{Name: "cgn", Map: m, Blocks: portblock.Config{BlockSize: 16, MaxBlocks: 2, IdleTimeout: portblock.Off}}
			}
			c.Limits.Subscribers = rapid.SampledFrom([]int{0, 2}).Draw(t, "subscribers")
			c.Limits.SessionsPerSubscriber = rapid.SampledFrom([]int{0, 10}).Draw(t, "per subscriber")
		})
		for range rapid.IntRange(1, 100).Draw(t, "packets") {
			n.wait(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, 200, 1000, 60_000, 200_000}).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 5).Draw(t, "expire") == 0 {
				n.expire()
			}
			h, k := host(rapid.IntRange(2, 5).Draw(t, "host")), rapid.SampledFrom([]kind{udp, udp, udp, tcp, icmp}).Draw(t, "kind")
			for i := range rapid.SampledFrom([]int{1, 1, 18}).Draw(t, "burst") {
				src := endpoint(h, 1+i+rapid.IntRange(0, 20).Draw(t, "port"))
				dst := endpoint(server1, rapid.SampledFrom([]int{53, 80}).Draw(t, "remote"))
				before := n.Stats()
				a := n.Explain(natcore.Question{Internal: src, Remote: dst, Protocol: k.proto()}, n.now)
				after := n.Stats()
				require.Equal(t, before.Pools[0].BlocksHeating, after.Pools[0].BlocksHeating)
				require.Equal(t, before.Drops, after.Drops)
				require.Equal(t, []uint64{before.SessionsCreated, before.MappingsCreated}, []uint64{after.SessionsCreated, after.MappingsCreated})
				why := n.refusal(t, 0, k, src, dst)
				require.Equal(t, why, a.Reason, "%v > %v: %v", src, dst, a.Limits)
				require.Equal(t, why == natcore.ReasonNone, a.Advice == "")
			}
		}
		require.NoError(t, n.CheckInvariants())
	})
}

// TestExplainInbound: who asks about a session from outside is told where it would go, what keeps it out, and what bounds it, for static and dynamic endpoints.
func TestExplainInbound(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{InboundSessions: 2, InboundRate: natcore.Rate{PerSecond: 50}}}), withStatic(
		natcore.Static{Name: "web", Protocol: 6, External: ip("192.0.2.9"), ExternalPort: 80, Internal: hostA, InternalPort: 8080, MaxSessions: 9, Remotes: []netip.Prefix{prefix("198.18.0.0/15")}},
		natcore.Static{Name: "strict", External: ip("192.0.2.8"), Internal: hostB, Filtering: natcore.AddressDependent},
		natcore.Static{Name: "lb", Protocol: 17, External: ip("192.0.2.7"), ExternalPort: 53, Servers: servers(1, 2, 3), Affinity: time.Hour},
	), func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
	ask := func(protocol uint8, from netip.AddrPort, to string) natcore.Explanation {
		return n.Explain(natcore.Question{External: at(to), Remote: from, Protocol: protocol}, n.now)
	}
	a := ask(6, client(1, 4000), "192.0.2.9:80")
	require.Equal(t, []any{natcore.ReasonNone, "", "web", at("10.0.0.2:8080"), at("192.0.2.9:80")}, []any{a.Reason, a.Advice, a.Static, a.Internal, a.External})
	require.Contains(t, a.Limits, natcore.Limit{Name: "the quota of 10.0.0.2, InboundSessions", Max: 2})
	require.Contains(t, a.Limits, natcore.Limit{Name: "the quota of 10.0.0.2, InboundRate", Max: 50})
	require.Contains(t, a.Limits, natcore.Limit{Name: `MaxSessions of static mapping "web"`, Max: 9})
	for i := range 2 {
		n.comes(t, tcp, client(i, 4000), at("192.0.2.9:80"), synFlags)
	}
	require.Equal(t, natcore.ReasonNone, ask(6, client(1, 4000), "192.0.2.9:80").Reason, "the session is there")
	a = ask(6, client(2, 4000), "192.0.2.9:80")
	require.Equal(t, natcore.ReasonSessionLimit, a.Reason)
	for _, l := range a.Limits {
		require.Equal(t, l.Name == "the quota of 10.0.0.2, InboundSessions", l.Full(), l)
	}
	for _, v := range []struct {
		protocol uint8
		from     netip.AddrPort
		to       string
		why      natcore.Reason
	}{
		{6, s1p1, "192.0.2.9:80", natcore.ReasonFiltered},
		{6, client(1, 4000), "192.0.2.9:81", natcore.ReasonNoMapping},
		{17, s1p1, "192.0.2.8:5", natcore.ReasonFiltered},
		{17, s1p1, "192.0.2.200:5", natcore.ReasonNotExternal},
		{17, s1p1, "203.0.113.5:5000", natcore.ReasonNoMapping},
		{17, at("203.0.113.5:1"), "192.0.2.9:80", natcore.ReasonSpoofed},
		{99, s1p1, "192.0.2.9:80", natcore.ReasonMalformed},
	} {
		a := ask(v.protocol, v.from, v.to)
		require.Equal(t, v.why, a.Reason, "%v", v)
		require.NotEmpty(t, a.Advice, "%v", v)
	}
	n.leaves(t, 0, udp, endpoint(hostB, 5), s1p2, synFlags)
	n.leaves(t, 0, icmp, endpoint(hostB, 9), s1p2, synFlags)
	require.Equal(t, at("10.0.0.3:5"), ask(17, s1p1, "192.0.2.8:5").Internal, "it has written to that address")
	require.Equal(t, at("10.0.0.3:9"), ask(1, s1p1, "192.0.2.8:9").Internal)
	a = ask(17, client(7, 1), "192.0.2.7:53")
	require.Equal(t, n.comes(t, udp, client(7, 1), at("192.0.2.7:53"), synFlags).dst, a.Internal)

	e := n.out(t, udp, endpoint(host(7), 700), s1p1)
	a = ask(17, s1p2, e.String())
	require.Equal(t, []any{natcore.ReasonNone, "cgn", endpoint(host(7), 700)}, []any{a.Reason, a.Pool, a.Internal})
	require.Equal(t, natcore.ReasonFiltered, ask(17, s2p1, e.String()).Reason)
	n.wait(time.Hour)
	require.Equal(t, natcore.ReasonNoMapping, ask(17, s1p1, e.String()).Reason)
	n.Stop()
	require.Equal(t, natcore.ReasonStopped, ask(17, s1p1, e.String()).Reason)
	check(t, n)
}
