package natcore_test

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// wholeHost is host A with an address of its own.
var wholeHost = natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}

// TestB19_StaticSessionsAreCharged: sessions that a host begins by a static mapping or a peering are charged to it as its dynamic ones are: each node of the tree
// refuses under its reason, and what has ended is free again.
//
// Rows: 6888-04, 6888-04a.
func TestB19_StaticSessionsAreCharged(t *testing.T) {
	var udpOnly [portblock.NumSpaces]natcore.ProtocolQuota
	udpOnly[portblock.UDP].Sessions = 7
	for name, v := range map[string]struct {
		quota      natcore.Quota
		own, realm natcore.Reason
		tcp        bool // TCP is refused too
	}{
		"sessions": {natcore.Quota{Sessions: 7}, natcore.ReasonSessionLimit, natcore.ReasonRealmLimit, true},
		"protocol": {natcore.Quota{Protocols: udpOnly}, natcore.ReasonSessionLimit, natcore.ReasonRealmLimit, false},
		"rate":     {natcore.Quota{SessionRate: natcore.Rate{PerSecond: 1, Burst: 7}}, natcore.ReasonSessionRate, natcore.ReasonSessionRate, true},
	} {
		for _, level := range []string{"subscriber", "realm", "override", "live"} {
			t.Run(name+"/"+level, func(t *testing.T) {
				q, why := natcore.Quotas{}, v.own
				switch level {
				case "subscriber":
					q.Subscriber = v.quota
				case "realm":
					q.Realms, why = map[natcore.Realm]natcore.Quota{0: v.quota}, v.realm
				case "override":
					q.Subscriber = natcore.Quota{Sessions: 1}
					q.Overrides = []natcore.Override{{Internal: netip.PrefixFrom(hostA, 32), Quota: v.quota}}
				}
				n := newNAT(t, quotas(q), withStatic(wholeHost), withPeerings(natcore.Peering{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}))
				if level == "live" {
					require.NoError(t, n.SetQuota(0, hostA, &v.quota, n.now))
				}
				for range 2 {
					for i := range 4 {
						require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1000+i), s1p1))
					}
					for i := range 3 {
						require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1000), endpoint(ip("172.16.0.9"), 80+i)))
					}
					before := n.Stats()
					require.Equal(t, why, n.refusal(t, 0, udp, endpoint(hostA, 5000), s1p1))
					require.Equal(t, why, n.refusal(t, 0, udp, endpoint(hostA, 5000), endpoint(ip("172.16.0.9"), 80)))
					require.Equal(t, before.StaticSessions, n.Stats().StaticSessions)
					require.Equal(t, v.tcp, n.refusal(t, 0, tcp, endpoint(hostA, 5000), s1p1) != natcore.ReasonNone)
					require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1003), s1p1), "what lives goes on")
					if level != "realm" && level != "override" {
						require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1), "another host")
					}
					x := n.Explain(natcore.Question{Internal: endpoint(hostA, 5000), Remote: s1p1, Protocol: 17}, n.now)
					require.Equal(t, []any{why, "one", at("192.0.2.9:5000")}, []any{x.Reason, x.Static, x.External})
					require.NotEmpty(t, x.Advice)
					x = n.Explain(natcore.Question{Internal: endpoint(hostA, 1003), Remote: s1p1, Protocol: 17}, n.now)
					require.Equal(t, []any{natcore.ReasonNone, "one"}, []any{x.Reason, x.Static})
					x = n.Explain(natcore.Question{Internal: endpoint(hostA, 5000), Remote: at("172.16.0.9:80"), Protocol: 17}, n.now)
					require.Equal(t, []any{why, "p"}, []any{x.Reason, x.Static})
					top := n.Top(1, natcore.BySessions)[0]
					require.Equal(t, []any{hostA, ""}, []any{top.Internal, top.Pool})
					require.GreaterOrEqual(t, top.Sessions, 7)
					check(t, n)
					for range 3 {
						n.wait(3 * time.Hour)
						n.expire()
					}
					check(t, n)
					require.Empty(t, n.Top(1, natcore.BySessions))
				}
			})
		}
	}
}

// TestStaticAndDynamicShareAQuota: a host's sessions of both kinds, and those of protocols without ports, have one bound.
func TestStaticAndDynamicShareAQuota(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{Sessions: 6}}), withProtocols(47), withStatic(
		natcore.Static{Name: "port", Protocol: 17, External: ip("192.0.2.9"), ExternalPort: 1000, Ports: 100, Internal: hostA}))
	for i := range 2 {
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1000+i), s1p1)) // static
		require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 2000+i), s1p1)) // dynamic
		require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostA, client(i, 0).Addr()).verdict)
	}
	require.Equal(t, natcore.ReasonSessionLimit, n.refusal(t, 0, udp, endpoint(hostA, 1010), s1p1))
	require.Equal(t, natcore.ReasonSessionLimit, n.refusal(t, 0, udp, endpoint(hostA, 2010), s1p1))
	require.Equal(t, dropped(natcore.ReasonSessionLimit), n.sends(t, natcore.Outbound, 0, 47, hostA, client(9, 0).Addr()))
	check(t, n)
	for s := range n.Sessions() {
		require.True(t, n.EndSession(s, n.now))
	}
	check(t, n)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 2010), s1p1))
	require.NoError(t, n.Close(n.now))
	check(t, n)
}

// TestStrangersAndTheirServer: sessions that strangers begin are bounded for each host, with a reason, a record and an explanation, and take nothing from
// what the host may begin itself, unless CountInbound says so.
func TestStrangersAndTheirServer(t *testing.T) {
	server := natcore.Static{Name: "web", Protocol: 6, External: ip("192.0.2.9"), ExternalPort: 80, Internal: hostA}
	other := natcore.Static{Name: "other", Protocol: 6, External: ip("192.0.2.9"), ExternalPort: 81, Internal: hostB}
	flood := func(n *nat, to string, refused natcore.Reason, fits int) {
		for i := range 20 {
			m := n.comes(t, tcp, client(i, 4000), at(to), synFlags)
			if i < fits {
				require.Equal(t, natcore.Forward, m.verdict, "%d: %v", i, m.why)
			} else {
				require.Equal(t, dropped(refused), m)
			}
		}
	}
	own := func(n *nat, sessions int) (why natcore.Reason) {
		for i := range sessions {
			if why = n.refusal(t, 0, udp, endpoint(hostA, 5000), endpoint(server1, 100+i)); why != natcore.ReasonNone {
				return why
			}
		}
		return why
	}
	quota := natcore.Quota{Sessions: 5, InboundSessions: 8}
	t.Run("apart", func(t *testing.T) {
		n := newNAT(t, quotas(natcore.Quotas{Subscriber: quota}), withStatic(server, other), events(natcore.Events{}))
		flood(n, "192.0.2.9:80", natcore.ReasonSessionLimit, 8)
		flood(n, "192.0.2.9:81", natcore.ReasonSessionLimit, 8)
		require.Equal(t, natcore.ReasonNone, own(n, 5), "strangers have taken nothing from the server")
		require.Equal(t, natcore.ReasonSessionLimit, own(n, 6))
		n.expire()
		inbound := 0
		for _, r := range n.records(t, logging.QuotaExceeded) {
			if r.Reason == logging.ReasonInbound {
				inbound++
				require.Equal(t, []any{uint32(8), uint32(8), "session limit"}, []any{r.Used, r.Max, r.Detail})
			}
		}
		require.Equal(t, 2, inbound)
		top := n.Top(2, natcore.BySessions)
		require.Equal(t, 8, top[0].Inbound)
		check(t, n)
		n.wait(30 * time.Second)
		n.expire()
		flood(n, "192.0.2.9:80", natcore.ReasonSessionLimit, 8)
	})
	t.Run("together", func(t *testing.T) {
		n := newNAT(t, quotas(natcore.Quotas{Subscriber: quota, CountInbound: true}), withStatic(server, other))
		require.Equal(t, natcore.ReasonNone, own(n, 2))
		flood(n, "192.0.2.9:80", natcore.ReasonSessionLimit, 3)
		require.Equal(t, natcore.ReasonSessionLimit, own(n, 3))
		flood(n, "192.0.2.9:81", natcore.ReasonSessionLimit, 5)
		check(t, n)
	})
	t.Run("rate", func(t *testing.T) {
		n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{InboundRate: natcore.Rate{PerSecond: 2, Burst: 4}}}), withStatic(server, other))
		flood(n, "192.0.2.9:80", natcore.ReasonSessionRate, 4)
		n.wait(500 * time.Millisecond)
		require.Equal(t, natcore.Forward, n.comes(t, tcp, client(30, 4000), at("192.0.2.9:80"), synFlags).verdict)
		require.Equal(t, dropped(natcore.ReasonSessionRate), n.comes(t, tcp, client(31, 4000), at("192.0.2.9:80"), synFlags))
		require.Equal(t, natcore.ReasonNone, own(n, 9))
		flood(n, "192.0.2.9:81", natcore.ReasonSessionRate, 4)
		check(t, n)
	})
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprint("realm ", together), func(t *testing.T) {
			q := natcore.Quotas{Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 9, InboundSessions: 6}}, CountInbound: together}
			n := newNAT(t, quotas(q), withStatic(server, other))
			require.Equal(t, natcore.ReasonNone, own(n, 4))
			flood(n, "192.0.2.9:80", natcore.ReasonRealmLimit, map[bool]int{false: 6, true: 5}[together])
			flood(n, "192.0.2.9:81", natcore.ReasonRealmLimit, 0)
			require.Equal(t, map[bool]natcore.Reason{false: natcore.ReasonNone, true: natcore.ReasonRealmLimit}[together], own(n, 5))
			check(t, n)
		})
	}
	t.Run("limits", func(t *testing.T) {
		n := newNAT(t, withStatic(server, other, natcore.Static{Name: "one", External: ip("192.0.2.10"), Internal: hostB, Realm: 1}), func(c *natcore.Config) {
			c.Limits.InboundPerSubscriber, c.Limits.SessionsPerSubscriber = 6, 3
		})
		flood(n, "192.0.2.9:80", natcore.ReasonSessionLimit, 6)
		flood(n, "192.0.2.9:81", natcore.ReasonSessionLimit, 6)
		for i := range 5 {
			require.Equal(t, i < 3, n.refusal(t, 1, udp, endpoint(hostB, 1000+i), s1p1) == natcore.ReasonNone)
		}
		check(t, n)
	})
}

// TestStaticRefusalsGiveTokensBack: a session that is refused for another reason than its rate costs no token of it, at either end.
func TestStaticRefusalsGiveTokensBack(t *testing.T) {
	rate := natcore.Rate{PerSecond: 1, Burst: 3}
	q := natcore.Quotas{
		Subscriber: natcore.Quota{SessionRate: rate, InboundRate: rate}, CountInbound: true,
		Realms: map[natcore.Realm]natcore.Quota{0: {SessionRate: rate, InboundRate: rate}, 1: {SessionRate: rate, InboundRate: rate}},
	}
	n := newNAT(t, quotas(q), withPeerings(natcore.Peering{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1"), SourcePorts: portblock.RangeOf(2000, 2001)}),
		withStatic(natcore.Static{Name: "b", External: ip("192.0.2.2"), Internal: hostB, Realm: 1, InboundOnly: true}))
	peer := func(port int) natcore.Reason {
		return n.refusal(t, 0, udp, endpoint(hostA, port), at("172.16.0.3:80"))
	}
	require.Equal(t, natcore.ReasonNone, peer(1))
	require.Equal(t, natcore.ReasonNone, peer(2))
	for range 10 {
		require.Equal(t, natcore.ReasonSourcesExhausted, peer(3))
	}
	check(t, n)
	require.Equal(t, natcore.Forward, n.comes(t, udp, client(1, 4000), at("192.0.2.2:80"), synFlags).verdict, "host B has a token of three left")
	require.Equal(t, dropped(natcore.ReasonSessionRate), n.comes(t, udp, client(2, 4000), at("192.0.2.2:80"), synFlags))
	require.Equal(t, natcore.ReasonSessionRate, peer(3), "and now none")
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 4), s1p1), "which took none from host A")
	require.Equal(t, natcore.ReasonSessionRate, n.refusal(t, 0, udp, endpoint(hostA, 5), s1p1))
	check(t, n)
}

// explained holds what Explain has told against what became of the packet. What hairpins meets more than Explain looks at.
func explained(t failer, told natcore.Explanation, m moved, whole bool) {
	switch {
	case m.why == natcore.ReasonConflict || m.why == natcore.ReasonSourcesExhausted:
	case whole || m.verdict != natcore.Drop:
		require.Equal(t, m.why, told.Reason, "%v", told.Limits)
		require.Equal(t, m.why == natcore.ReasonNone, told.Advice == "")
	}
}

// usage is what a host has, counted by hand.
type usage struct{ own, inbound int }

type hostOf struct {
	realm natcore.Realm
	addr  netip.Addr
}

// recount counts the sessions of each host by reading the list of all, and the records of those of protocols without ports, which count until their end is recorded.
func recount(n *nat) map[hostOf]usage {
	all := map[hostOf]usage{}
	add := func(h hostOf, own, inbound int) { all[h] = usage{all[h].own + own, all[h].inbound + inbound} }
	for s := range n.Sessions() {
		host := hostOf{s.Realm, s.Internal.Addr()}
		switch {
		case s.Inbound:
			add(host, 0, 1)
		case s.Static != "" || s.Protocol != 47:
			add(host, 1, 0)
		}
		if s.Static == "p" {
			add(hostOf{1, s.Remote.Addr()}, 0, 1)
		}
	}
	for _, r := range n.log.Records() {
		if r.Protocol == 47 && r.Pool == "cgn" {
			add(hostOf{0, r.Subscriber}, map[logging.Kind]int{logging.SessionCreated: 1, logging.SessionDeleted: -1}[r.Kind], 0)
		}
	}
	maps.DeleteFunc(all, func(_ hostOf, u usage) bool { return u == usage{} })
	return all
}

// sessionRecord is what the record of a session tells.
type sessionRecord struct {
	name, realm                string
	protocol                   uint8
	internal, external, remote netip.AddrPort
}

// listed are the sessions that there are, as records would tell them.
func listed(n *nat) map[sessionRecord]int {
	all := map[sessionRecord]int{}
	for s := range n.Sessions() {
		name := s.Static
		if name == "" {
			name = "cgn"
		}
		realm := map[natcore.Realm]string{0: "", 1: "1"}[s.Realm]
		all[sessionRecord{name, realm, s.Protocol, s.Internal, s.External, s.Remote}]++
	}
	return all
}

// recorded are the sessions that have begun by the records and not ended.
func recorded(t failer, n *nat) map[sessionRecord]int {
	all := map[sessionRecord]int{}
	for _, r := range n.log.Records() {
		require.NoError(t, r.Check())
		k := sessionRecord{r.Pool, r.Realm, r.Protocol, r.Internal, netip.AddrPortFrom(r.External, r.First), r.Remote}
		switch r.Kind {
		case logging.SessionCreated:
			all[k]++
		case logging.SessionDeleted:
			require.Positive(t, all[k], "%v ends before it began", k)
			if all[k]--; all[k] == 0 {
				delete(all, k)
			}
		}
	}
	return all
}

// TestStaticQuotaProperty: under random traffic, changes and restarts the counts of hosts and realms are those of the listed sessions, no quota is ever passed, whatever is refused by a
// quota finds it full, and nothing is left when all is over.
//
// Rows: 6888-04.
func TestStaticQuotaProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		together := rapid.Bool().Draw(rt, "together")
		limit := natcore.Quota{Sessions: 4, InboundSessions: 3}
		realm := natcore.Quota{Sessions: 9, InboundSessions: 5}
		n := newNAT(rt, withProtocols(47), withStatic(wholeHost, balanced(1, 1)), func(c *natcore.Config) {
			c.Quotas = natcore.Quotas{Subscriber: limit, Realms: map[natcore.Realm]natcore.Quota{0: realm, 1: realm}, CountInbound: together}
			c.Shards = rapid.SampledFrom([]int{1, 4}).Draw(rt, "shards")
			c.Events = natcore.Events{Sessions: true, Destinations: true}
			c.Rules = []natcore.Rule{{Realm: 0, Pool: "cgn"}, {Realm: 1, Pool: "cgn"}}
			c.Peerings = []natcore.Peering{{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}}
		})
		var last natcore.Realm
		steps := 1 // a packet that hairpins begins two sessions; when the second is refused the first is taken back
		full := func(t *rapid.T, why natcore.Reason) {
			now, found := recount(n), false
			sums := map[natcore.Realm]usage{}
			for h, u := range now {
				found = found || why == natcore.ReasonSessionLimit && (u.own >= limit.Sessions || u.inbound >= limit.InboundSessions || together && u.own+u.inbound+steps > limit.Sessions)
				sums[h.realm] = usage{sums[h.realm].own + u.own, sums[h.realm].inbound + u.inbound}
			}
			for _, u := range sums {
				found = found || why == natcore.ReasonRealmLimit && (u.own >= realm.Sessions || u.inbound >= realm.InboundSessions || together && u.own+u.inbound+steps > realm.Sessions)
			}
			require.Equal(t, why == natcore.ReasonSessionLimit || why == natcore.ReasonRealmLimit, found, "%v of realm %d: %v", why, last, now)
		}
		sent := func(t *rapid.T, m moved) {
			if m.why == natcore.ReasonSessionLimit || m.why == natcore.ReasonRealmLimit {
				full(t, m.why)
			}
		}
		host := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			return endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rapid.IntRange(0, 2).Draw(t, "host"))}), 4000+rapid.IntRange(0, 3).Draw(t, "port"))
		})
		kinds := rapid.SampledFrom([]kind{udp, tcp})
		rt.Repeat(map[string]func(*rapid.T){
			"out": func(t *rapid.T) {
				last = natcore.Realm(rapid.IntRange(0, 1).Draw(t, "realm"))
				dst := rapid.SampledFrom([]netip.AddrPort{s1p1, s2p1, at("172.16.0.3:80"), at("172.16.0.4:80"), at("192.0.2.9:4000"), at("203.0.113.5:80")}).Draw(t, "to")
				steps = map[bool]int{false: 1, true: 2}[n.External(dst.Addr())]
				k, src := kinds.Draw(t, "kind"), host.Draw(t, "src")
				told := n.Explain(natcore.Question{Realm: last, Internal: src, Remote: dst, Protocol: k.proto()}, n.now)
				m := n.leaves(t, last, k, src, dst, synFlags)
				explained(t, told, m, steps == 1)
				sent(t, m)
			},
			"in": func(t *rapid.T) {
				steps = 1
				dst := rapid.SampledFrom([]netip.AddrPort{at("192.0.2.9:4000"), at("192.0.2.9:4001"), at("203.0.113.5:80")}).Draw(t, "to")
				k, src := kinds.Draw(t, "kind"), client(rapid.IntRange(0, 9).Draw(t, "client"), 80)
				told := n.Explain(natcore.Question{External: dst, Remote: src, Protocol: k.proto()}, n.now)
				m := n.comes(t, k, src, dst, synFlags)
				explained(t, told, m, true)
				if m.verdict == natcore.Forward {
					require.Equal(t, m.dst, told.Internal)
				}
				sent(t, m)
			},
			"gre": func(t *rapid.T) {
				steps = 1
				sent(t, n.sends(t, natcore.Outbound, 0, 47, host.Draw(t, "src").Addr(), client(rapid.IntRange(0, 3).Draw(t, "client"), 80).Addr()))
			},
			"end": func(t *rapid.T) {
				for s := range n.Sessions() {
					if rapid.IntRange(0, 2).Draw(t, "which") == 0 {
						require.True(t, n.EndSession(s, n.now))
						return
					}
				}
			},
			"static": func(t *rapid.T) {
				if !n.RemoveStatic("one", n.now) {
					require.NoError(t, n.AddStatic([]natcore.Static{wholeHost}, natcore.RetireConflicts, n.now))
				}
			},
			"reconfigure": func(t *rapid.T) {
				cfg := n.Config()
				together = rapid.Bool().Draw(t, "together")
				cfg.Quotas.CountInbound = together
				_, err := n.Reconfigure(cfg, n.now)
				require.NoError(t, err)
			},
			"quota": func(t *rapid.T) {
				require.NoError(t, n.SetQuota(0, hostA, &limit, n.now))
			},
			"wait": func(t *rapid.T) {
				n.wait(time.Duration(rapid.SampledFrom([]int{1, 31, 61, 250, 310}).Draw(t, "seconds")) * time.Second)
				if rapid.Bool().Draw(t, "expire") {
					n.expire()
					require.Equal(t, listed(n), recorded(t, n))
				}
			},
			"": func(t *rapid.T) {
				require.NoError(t, n.CheckInvariants())
				want, got := recount(n), map[hostOf]usage{}
				for i := range n.Subscribers() {
					if h := (hostOf{i.Realm, i.Internal}); i.Sessions+i.Inbound > 0 {
						got[h] = usage{got[h].own + i.Sessions, got[h].inbound + i.Inbound}
					}
				}
				require.Equal(t, want, got)
				for h, u := range got {
					require.True(t, u.own <= limit.Sessions && u.inbound <= limit.InboundSessions, "%v has %v", h, u)
				}
			},
		})
		if rapid.Bool().Draw(rt, "close") {
			require.NoError(rt, n.Close(n.now))
		} else {
			for range 3 {
				n.wait(3 * time.Hour)
				n.expire()
			}
		}
		require.NoError(rt, n.CheckInvariants())
		require.Empty(rt, recount(n))
		require.Empty(rt, recorded(rt, n), "each session that has begun has ended")
		for range n.Subscribers() {
			require.Fail(rt, "nobody has anything")
		}
	})
}
