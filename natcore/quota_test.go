package natcore_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func quotas(q natcore.Quotas) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Quotas = q }
}

// refusal sends a packet from realm r and returns why it was dropped, or ReasonNone.
func (n *nat) refusal(t failer, r natcore.Realm, k kind, src, dst netip.AddrPort) natcore.Reason {
	t.Helper()
	if k == icmp {
		dst = endpoint(dst.Addr(), 0)
	}
	batch := []natcore.Packet{{Bytes: build(t, k, src, dst, nil, tcpFlags{syn: true, seq: 1}), Realm: r}}
	n.Process(batch, n.now)
	return batch[0].Reason
}

// TestRFC6888_04c_MappingRate: a subscriber makes as many mappings at once as his burst, and then as many as his rate; others
// and his live mappings do not notice. A refused packet costs nothing.
//
// Rows: ATK-07.
func TestRFC6888_04c_MappingRate(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{MappingRate: natcore.Rate{PerSecond: 10, Burst: 5}}}))
	next := 0
	try := func() natcore.Reason {
		next++
		return n.refusal(t, 0, udp, endpoint(hostA, 10000+next), s1p1)
	}
	for range 5 {
		require.Equal(t, natcore.ReasonNone, try())
	}
	for range 100 {
		require.Equal(t, natcore.ReasonMappingRate, try())
	}
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 10001), s2p1), "a live mapping is used with further remote endpoints")
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
	n.wait(99 * time.Millisecond)
	require.Equal(t, natcore.ReasonMappingRate, try())
	n.wait(time.Millisecond)
	require.Equal(t, natcore.ReasonNone, try(), "one token in a tenth of a second")
	require.Equal(t, natcore.ReasonMappingRate, try())
	made := 0
	for range 1000 { // ten seconds, a try each 10 ms
		n.wait(10 * time.Millisecond)
		if try() == natcore.ReasonNone {
			made++
		}
	}
	require.Equal(t, 100, made)
	n.wait(time.Hour)
	for range 5 {
		require.Equal(t, natcore.ReasonNone, try())
	}
	require.Equal(t, natcore.ReasonMappingRate, try(), "a bucket never holds more than the burst")
	check(t, n)
}

// TestQuotaSessionRate: the same for sessions, of a subscriber and of a realm.
func TestQuotaSessionRate(t *testing.T) {
	rate := natcore.Quota{SessionRate: natcore.Rate{PerSecond: 4}}
	for name, q := range map[string]natcore.Quotas{
		"subscriber": {Subscriber: rate}, "realm": {Realms: map[natcore.Realm]natcore.Quota{0: rate}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t, quotas(q))
			for i := range 4 {
				require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, a40000, endpoint(server1, 1000+i)))
			}
			require.Equal(t, natcore.ReasonSessionRate, n.refusal(t, 0, udp, a40000, endpoint(server1, 2000)))
			require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, a40000, endpoint(server1, 1000)), "established packets are not counted")
			other := natcore.ReasonNone
			if name == "realm" {
				other = natcore.ReasonSessionRate
			}
			require.Equal(t, other, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
			n.wait(250 * time.Millisecond)
			require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, a40000, endpoint(server1, 2000)))
			check(t, n)
		})
	}
}

// TestQuotaRateOutlivesTheSubscriber: who holds nothing any more does not get a fresh bucket by that.
func TestQuotaRateOutlivesTheSubscriber(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{MappingRate: natcore.Rate{PerSecond: 1, Burst: 5000}}}), func(c *natcore.Config) {
		c.Pools[0].Blocks.MaxBlocks = 30
	})
	for i := range 5000 {
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1024+i), s1p1))
	}
	n.wait(1000 * time.Second)
	n.expire()
	n.wait(1000 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().Mappings)
	for i := range 2000 {
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1024+i), s1p1))
	}
	require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostA, 9000), s1p1))
	for range 3 {
		n.wait(time.Hour)
		n.expire()
	}
	require.Zero(t, n.Stats().Subscribers)
	check(t, n)
}

// TestQuotaTree: each node refuses under a reason, and what it counts comes free again.
//
// Rows: 6888-04, 6888-04a, 6888-04b, 6888-11d.
func TestQuotaTree(t *testing.T) {
	udpOnly := func(ports, sessions int) (p [portblock.NumSpaces]natcore.ProtocolQuota) {
		p[portblock.UDP] = natcore.ProtocolQuota{Ports: ports, Sessions: sessions}
		return p
	}
	for _, v := range []struct {
		name    string
		quota   natcore.Quota
		mapping bool // the limit is one of mappings
		fits    int
		realm   natcore.Reason // of the quota as a realm's
		own     natcore.Reason
		tcp     bool // TCP is refused too
	}{
		{"ports", natcore.Quota{Ports: 7}, true, 7, natcore.ReasonRealmLimit, natcore.ReasonPortLimit, true},
		{"sessions", natcore.Quota{Sessions: 7}, false, 7, natcore.ReasonRealmLimit, natcore.ReasonSessionLimit, true},
		{"protocol ports", natcore.Quota{Protocols: udpOnly(7, 0)}, true, 7, natcore.ReasonRealmLimit, natcore.ReasonPortLimit, false},
		{"protocol sessions", natcore.Quota{Protocols: udpOnly(0, 7)}, false, 7, natcore.ReasonRealmLimit, natcore.ReasonSessionLimit, false},
		{"blocks", natcore.Quota{Blocks: 2}, true, 32, natcore.ReasonRealmLimit, natcore.ReasonBlockLimit, false},
	} {
		for _, level := range []string{"subscriber", "realm", "override", "live"} {
			t.Run(v.name+"/"+level, func(t *testing.T) {
				q, why := natcore.Quotas{}, v.own
				switch level {
				case "subscriber":
					q.Subscriber = v.quota
				case "realm":
					q.Realms, why = map[natcore.Realm]natcore.Quota{3: v.quota}, v.realm
				case "override":
					q.Subscriber = natcore.Quota{Ports: 1, Sessions: 1}
					q.Overrides = []natcore.Override{
						{Realm: 3, Internal: netip.MustParsePrefix("10.0.0.0/8"), Quota: natcore.Quota{Ports: 2, Sessions: 2}},
						{Realm: 3, Internal: netip.PrefixFrom(hostA, 32), Quota: v.quota},
					}
				}
				n := newNAT(t, quotas(q), func(c *natcore.Config) {
					c.Pools[0].Blocks.BlockSize, c.Pools[0].Blocks.IdleTimeout = 16, portblock.Off
					c.Rules = []natcore.Rule{{Realm: 3, Pool: "cgn"}, {Pool: "cgn"}}
				})
				if level == "live" {
					require.NoError(t, n.SetQuota(3, hostA, &v.quota, n.now))
				}
				use := func(i int) natcore.Reason {
					if v.mapping {
						return n.refusal(t, 3, udp, endpoint(hostA, 1024+i), s1p1)
					}
					return n.refusal(t, 3, udp, a40000, endpoint(server1, 1024+i))
				}
				for range 2 { // what expires is free again
					for i := range v.fits {
						require.Equal(t, natcore.ReasonNone, use(i), "%d", i)
					}
					before := n.Stats()
					require.Equal(t, why, use(5000))
					after := n.Stats()
					require.Equal(t, before.Sessions, after.Sessions)
					require.Equal(t, before.Mappings, after.Mappings)
					require.Equal(t, before.Pools, after.Pools)
					for i := range v.fits {
						require.Equal(t, natcore.ReasonNone, use(i), "what lives goes on")
					}
					require.Equal(t, v.tcp, n.refusal(t, 3, tcp, endpoint(hostA, 9), s1p1) != natcore.ReasonNone)
					if level == "subscriber" || level == "override" || level == "live" {
						require.Equal(t, natcore.ReasonNone, n.refusal(t, 3, udp, endpoint(hostB, 1), s1p1), "another subscriber")
					}
					require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1), "another realm")
					check(t, n)
					n.wait(3 * time.Hour)
					n.expire()
					n.expire()
					n.wait(time.Minute * 3)
					check(t, n)
				}
			})
		}
	}
}

// TestQuotaReserve: the last sessions and ports of a subscriber are for DNS only, those of a realm for chosen subscribers too.
func TestQuotaReserve(t *testing.T) {
	dns := []natcore.Traffic{{Protocol: 17, RemotePort: 53}, {Realms: []natcore.Realm{0}, Internal: netip.PrefixFrom(hostB, 32)}}
	n := newNAT(t, quotas(natcore.Quotas{
		Reserved:   dns,
		Subscriber: natcore.Quota{Sessions: 10, ReserveSessions: 3, Ports: 8, ReservePorts: 2},
		Realms:     map[natcore.Realm]natcore.Quota{0: {Sessions: 20, ReserveSessions: 5}},
	}))
	fill := func(h netip.Addr, port, want int, why natcore.Reason) {
		t.Helper()
		for i := range want {
			require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(h, 1), endpoint(server1, port+i)), "%d", i)
		}
		require.Equal(t, why, n.refusal(t, 0, udp, endpoint(h, 1), endpoint(server1, port+want)))
	}
	fill(hostA, 1000, 7, natcore.ReasonReserved)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1), endpoint(server1, 53)))
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1), endpoint(server2, 53)))
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1), endpoint(router, 53)))
	require.Equal(t, natcore.ReasonSessionLimit, n.refusal(t, 0, udp, endpoint(hostA, 1), endpoint(hostlessServer, 53)))
	fill(host(77), 1000, 5, natcore.ReasonReserved) // the realm has 15 for all
	fill(hostB, 1000, 5, natcore.ReasonRealmLimit)  // and 5 more for who is chosen
	check(t, n)

	n = newNAT(t, quotas(natcore.Quotas{Reserved: dns[:1], Subscriber: natcore.Quota{Ports: 8, ReservePorts: 2}}))
	for i := range 6 {
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, tcp, endpoint(hostA, 1000+i), s1p1))
	}
	require.Equal(t, natcore.ReasonReserved, n.refusal(t, 0, tcp, endpoint(hostA, 2000), s1p1))
	require.Equal(t, natcore.ReasonReserved, n.refusal(t, 0, tcp, endpoint(hostA, 2000), endpoint(server1, 53)), "only UDP is chosen")
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 2000), endpoint(server1, 53)))
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 2001), endpoint(server1, 53)))
	require.Equal(t, natcore.ReasonPortLimit, n.refusal(t, 0, udp, endpoint(hostA, 2002), endpoint(server1, 53)))
	check(t, n)
}

var hostlessServer = netip.MustParseAddr("198.51.100.99")

// TestQuotaOfAllPools: a subscriber whom two pools serve has one quota.
func TestQuotaOfAllPools(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 4, Blocks: 2}}), func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "two", Addresses: alloc.MustParseRanges("203.0.113.9")})
		c.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Pool: "two"}, {Pool: "cgn"}}
	})
	for i := range 4 {
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1+i), endpoint([]netip.Addr{server1, server2}[i&1], 1)))
	}
	for _, s := range []netip.Addr{server1, server2} {
		require.Equal(t, natcore.ReasonPortLimit, n.refusal(t, 0, udp, endpoint(hostA, 9), endpoint(s, 1)))
	}
	check(t, n)
}

// TestSetQuota: a quota that is lowered below what is held ends nothing, and is given up again.
func TestSetQuota(t *testing.T) {
	n := newNAT(t)
	for i := range 20 {
		n.out(t, udp, endpoint(hostA, 1000+i), s1p1)
	}
	require.NoError(t, n.SetQuota(0, hostA, &natcore.Quota{Ports: 5}, n.now))
	require.Equal(t, natcore.ReasonPortLimit, n.refusal(t, 0, udp, endpoint(hostA, 2000), s1p1))
	for i := range 20 {
		n.out(t, udp, endpoint(hostA, 1000+i), s1p1)
	}
	require.NoError(t, n.SetQuota(0, hostA, nil, n.now))
	n.out(t, udp, endpoint(hostA, 2000), s1p1)
	err := n.SetQuota(0, netip.MustParseAddr("2001:db8::1"), &natcore.Quota{Ports: -1, ReserveSessions: 3, MappingRate: natcore.Rate{Burst: 3}}, n.now)
	for _, part := range []string{"internal", "Quota.Ports", "Quota.ReserveSessions", "needs traffic", "Quota.MappingRate.Burst"} {
		require.ErrorContains(t, err, part)
	}
	check(t, n)
}

// TestQuotaFaults: all faults at once, each with its path, and the caller's copy is left alone.
func TestQuotaFaults(t *testing.T) {
	cfg := config(nil)
	cfg.Quotas = natcore.Quotas{
		Subscriber: natcore.Quota{Sessions: -1, ReservePorts: 1},
		Realms:     map[natcore.Realm]natcore.Quota{0: {SessionRate: natcore.Rate{PerSecond: 2e9}}},
		Overrides:  []natcore.Override{{Quota: natcore.Quota{Blocks: -3}}},
		Reserved:   []natcore.Traffic{{Remote: netip.MustParsePrefix("2001:db8::/32")}},
	}
	_, err := natcore.New(cfg, began)
	require.Error(t, err)
	for _, field := range []string{
		"Quotas.Subscriber.Sessions = -1", "Quotas.Subscriber.ReservePorts = 1", "Quotas.Realms[0].SessionRate.PerSecond",
		"Quotas.Overrides[0].Internal", "Quotas.Overrides[0].Quota.Blocks = -3", "Quotas.Reserved[0].Remote", "Log",
	} {
		require.Contains(t, err.Error(), field)
	}
	require.Zero(t, cfg.Quotas.Realms[0].SessionRate.Burst)
	require.Equal(t, 7, strings.Count(err.Error(), "natcore: "), err)
}

// TestQuotaRandom holds the engine against a plain count of what was let through.
func TestQuotaRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := natcore.Quota{
			Ports: rapid.IntRange(0, 6).Draw(t, "ports"), Sessions: rapid.IntRange(0, 9).Draw(t, "sessions"),
			MappingRate: natcore.Rate{PerSecond: rapid.IntRange(0, 3).Draw(t, "rate")},
		}
		realm := natcore.Quota{Ports: rapid.IntRange(0, 9).Draw(t, "realm ports"), Sessions: rapid.IntRange(0, 12).Draw(t, "realm sessions")}
		n := newNAT(t, quotas(natcore.Quotas{Subscriber: limit, Realms: map[natcore.Realm]natcore.Quota{0: realm}}))
		type flow struct{ src, dst netip.AddrPort }
		live, ports := map[flow]time.Time{}, map[netip.AddrPort]bool{}
		made := map[netip.Addr][]time.Time{}
		of := func(h netip.Addr) (p, s int) {
			for a := range ports {
				if !h.IsValid() || a.Addr() == h {
					p++
				}
			}
			for f := range live {
				if !h.IsValid() || f.src.Addr() == h {
					s++
				}
			}
			return p, s
		}
		for range rapid.IntRange(1, 80).Draw(t, "packets") {
			n.wait(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 100, 333, 500, 1000, 400000}).Draw(t, "ms")) * time.Millisecond)
			n.expire()
			for f, at := range live {
				if n.now.Sub(at) >= 300*time.Second {
					delete(live, f)
				}
			}
			clear(ports)
			for f := range live {
				ports[f.src] = true
			}
			f := flow{
				endpoint(host(2+rapid.IntRange(0, 2).Draw(t, "host")), 1+rapid.IntRange(0, 3).Draw(t, "port")),
				endpoint(server1, 1+rapid.IntRange(0, 2).Draw(t, "remote")),
			}
			_, known := live[f]
			p, s := of(f.src.Addr())
			allP, allS := of(netip.Addr{})
			want := known
			if !known {
				want = (limit.Sessions == 0 || s < limit.Sessions) && (realm.Sessions == 0 || allS < realm.Sessions)
				if want && !ports[f.src] {
					want = (limit.Ports == 0 || p < limit.Ports) && (realm.Ports == 0 || allP < realm.Ports)
					// A token bucket, by its definition: it fills with the rate up to the burst.
					tokens, last := float64(limit.MappingRate.PerSecond), began
					for _, at := range made[f.src.Addr()] {
						tokens = min(tokens+at.Sub(last).Seconds()*float64(limit.MappingRate.PerSecond), float64(limit.MappingRate.PerSecond)) - 1
						last = at
					}
					tokens = min(tokens+n.now.Sub(last).Seconds()*float64(limit.MappingRate.PerSecond), float64(limit.MappingRate.PerSecond))
					if want && limit.MappingRate.PerSecond > 0 && tokens < 0.9999 {
						want = false
					}
					if want {
						made[f.src.Addr()] = append(made[f.src.Addr()], n.now)
					}
				}
			}
			why := n.refusal(t, 0, udp, f.src, f.dst)
			require.Equal(t, want, why == natcore.ReasonNone, "%v: %v", f, why)
			if want {
				live[f] = n.now
			}
			require.NoError(t, n.CheckInvariants())
		}
	})
}

// TestQuotaRefusalCostsNothing: a packet that another limit refuses takes no token.
func TestQuotaRefusalCostsNothing(t *testing.T) {
	rate := natcore.Rate{PerSecond: 1, Burst: 20}
	n := newNAT(t, small(1024, 1039, 16), quotas(natcore.Quotas{
		Subscriber: natcore.Quota{MappingRate: rate, SessionRate: rate}, Realms: map[natcore.Realm]natcore.Quota{0: {MappingRate: rate}},
	}))
	for i := range 16 {
		n.out(t, udp, endpoint(hostA, 1+i), s1p1)
	}
	for i := range 100 {
		require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 100+i), s1p1))
	}
	for i := range 4 { // of another space: 20 in all
		n.out(t, tcp, endpoint(hostA, 1+i), s1p1)
	}
	require.Equal(t, natcore.ReasonSessionRate, n.refusal(t, 0, tcp, endpoint(hostA, 5), s1p1))
	require.Equal(t, natcore.ReasonMappingRate, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
	check(t, n)
}
