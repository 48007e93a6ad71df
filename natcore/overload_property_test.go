package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// lane is what has one owner at a time where mappings depend on the remote endpoint: an external endpoint of one transport towards what a
// mapping serves.
type lane struct {
	kind     kind
	external netip.AddrPort
	remote   netip.AddrPort // with port 0 where a mapping serves all ports
}

// lanes is what an observer of packets and of Expire knows. It knows nothing of the engine.
type lanes struct {
	owner map[lane]netip.AddrPort
	until map[lane]time.Time // the mapping certainly lives until then
	gone  map[lane]time.Time // and has certainly ended at this time, once Expire has gone round
	heard map[lane]map[netip.AddrPort]time.Time
}

// seen notes a translated outbound packet and checks who may have used the lane.
func (l *lanes) seen(t failer, u lane, src, dst netip.AddrPort, now time.Time) {
	if o, ok := l.owner[u]; ok && o != src {
		require.False(t, now.Before(l.until[u].Add(holdDown)), "%v of %v goes to %v at %v, before %v", u, o, src, now, l.until[u].Add(holdDown))
	}
	for v, o := range l.owner {
		if v.kind == u.kind && v.external == u.external && o.Addr() != src.Addr() {
			require.False(t, now.Before(l.until[v].Add(holdDown)), "%v serves %v and %v", u.external, o, src)
		}
	}
	if l.owner[u] != src || l.gone[u] != (time.Time{}) {
		l.heard[u] = map[netip.AddrPort]time.Time{}
	}
	l.owner[u], l.until[u] = src, now.Add(u.kind.life())
	l.heard[u][dst] = l.until[u]
	delete(l.gone, u)
}

// expired notes that Expire has gone round.
func (l *lanes) expired(now time.Time) {
	for u, until := range l.until {
		if _, known := l.gone[u]; !known && !now.Before(until) {
			l.gone[u] = now
		}
	}
}

// room counts the ports that a host certainly has in use and that certainly may serve a lane's remote endpoint too.
func (l *lanes) room(k kind, host netip.Addr, remote netip.AddrPort, fits func(netip.AddrPort) bool, now time.Time) (n int) {
	ports := map[netip.AddrPort]bool{}
	for u, o := range l.owner {
		if u.kind == k && o.Addr() == host && now.Before(l.until[u]) && fits(u.external) {
			ports[u.external] = true
		}
	}
	for e := range ports {
		u := lane{k, e, remote}
		if _, used := l.owner[u]; used {
			gone, over := l.gone[u]
			if !over || now.Before(gone.Add(holdDown)) {
				continue
			}
		}
		n++
	}
	return n
}

// TestOverloadRules drives an engine whose ports may be shared with random traffic, and checks what an observer can: towards one remote endpoint an
// external endpoint has one owner and rests before it has another; a port serves one host alone; a mapping is refused only when
// no port that is in use may serve it; answers reach their hosts and nothing that is late or strange reaches another; what Explain says happens.
func TestOverloadRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		on := natcore.Behaviour(rapid.IntRange(1, 2).Draw(t, "mapping"))
		filtering := natcore.Behaviour(rapid.IntRange(0, 2).Draw(t, "filtering"))
		parity := rapid.SampledFrom([]portblock.Preference{portblock.Ignore, portblock.Prefer, portblock.Require}).Draw(t, "parity")
		quota := rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "ports")
		n := newNAT(t, func(c *natcore.Config) {
			small(1024, 1024+16*4-1, 16)(c)
			c.Shards = rapid.SampledFrom([]int{1, 4}).Draw(t, "shards")
			p := &c.Pools[0]
			p.Mapping, p.Filtering, p.Overload = on, filtering, true
			p.Blocks.MaxBlocks = rapid.IntRange(1, 2).Draw(t, "blocks")
			p.Blocks.Parity, p.Blocks.Preserve = parity, rapid.Bool().Draw(t, "preserve")
			c.Quotas.Subscriber.Ports = quota
		})
		l := &lanes{map[lane]netip.AddrPort{}, map[lane]time.Time{}, map[lane]time.Time{}, map[lane]map[netip.AddrPort]time.Time{}}
		of := func(k kind, external, remote netip.AddrPort) lane {
			if on == natcore.AddressDependent || k == icmp {
				remote = endpoint(remote.Addr(), 0)
			}
			return lane{k, external, remote}
		}
		overload := true
		anyKind := func() kind { return kind(rapid.IntRange(0, 2).Draw(t, "kind")) }
		internal := func() netip.AddrPort {
			return endpoint(host(rapid.IntRange(2, 4).Draw(t, "host")), 40000+rapid.IntRange(0, 24).Draw(t, "port"))
		}
		remote := func() netip.AddrPort {
			return endpoint(rapid.SampledFrom([]netip.Addr{server1, server2}).Draw(t, "server"), rapid.SampledFrom([]int{53, 443}).Draw(t, "remote port"))
		}
		known := func() (u lane, ok bool) {
			var all []lane
			for _, a := range []netip.Addr{server1, server2} {
				for _, port := range []int{0, 53, 443} {
					for e := 1024; e < 1024+64; e++ {
						for k := udp; k <= icmp; k++ {
							v := lane{k, endpoint(netip.MustParseAddr("203.0.113.5"), e), endpoint(a, port)}
							if _, used := l.owner[v]; used {
								all = append(all, v)
							}
						}
					}
				}
			}
			if len(all) == 0 {
				return lane{}, false
			}
			return rapid.SampledFrom(all).Draw(t, "lane"), true
		}
		send := func(k kind, src, dst netip.AddrPort) {
			if k == icmp {
				dst = endpoint(dst.Addr(), 0)
			}
			asked := n.Explain(natcore.Question{Internal: src, Remote: dst, Protocol: k.proto()}, n.now)
			e, verdict, why := n.try(t, k, src, dst)
			if parity != portblock.Require { // Explain does not look at parity
				require.Equal(t, asked.Reason == natcore.ReasonNone, why == natcore.ReasonNone, "%v, by Explain %v: %v", why, asked.Reason, asked.Limits)
			}
			if verdict == natcore.Drop {
				require.Contains(t, []natcore.Reason{
					natcore.ReasonAddressesExhausted, natcore.ReasonBlocksExhausted, natcore.ReasonBlockLimit, natcore.ReasonPortsResting, natcore.ReasonPortLimit,
				}, why)
				if overload {
					fits := func(e netip.AddrPort) bool { return parity != portblock.Require || e.Port()&1 == src.Port()&1 }
					require.Zero(t, l.room(k, src.Addr(), of(k, e, dst).remote, fits, n.now), "refused for %v while ports in use may serve it", why)
				}
				return
			}
			l.seen(t, of(k, e, dst), src, dst, n.now)
			require.Equal(t, []netip.Addr{src.Addr()}, holders(n.blockRecords(), e, 0, n.now), "rules 4 and 5")
		}
		arrive := func(k kind, src, e netip.AddrPort) {
			u := of(k, e, src)
			to, verdict, _ := n.in(t, k, src, e, tcpFlags{syn: k == tcp, ack: true, seq: 9})
			o, used := l.owner[u]
			mine := used && n.now.Before(l.until[u])
			if verdict != natcore.Forward {
				if until, ok := l.heard[u][src]; mine && ok {
					require.False(t, n.now.Before(until), "an answer of %v to %v is dropped", src, o)
				}
				return
			}
			if used && n.now.Before(l.until[u].Add(holdDown)) {
				require.Equal(t, o, to, "%v towards %v is or was of %v", e, src, o)
				return
			}
			if _, over := l.gone[u]; used && !over && o == to {
				return // its mapping is over, and nobody has looked
			}
			for v, other := range l.owner { // a stranger, let in by filtering
				if v.kind == k && v.external == e && n.now.Before(l.until[v]) {
					require.Equal(t, other, to, "a stranger at a port that %v has", other)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"outbound": func(t *rapid.T) { send(anyKind(), internal(), remote()) },
			"burst": func(t *rapid.T) {
				k, src, dst := anyKind(), internal(), remote()
				for i := range 20 {
					send(k, endpoint(src.Addr(), 40000+i), dst)
				}
			},
			"remotes": func(t *rapid.T) {
				k, src := anyKind(), internal()
				for i := range 12 {
					send(k, src, endpoint(server1, 53+i))
					send(k, src, remoteN(i))
				}
			},
			"keep": func(t *rapid.T) { // some that live go on
				if u, ok := known(); ok && n.now.Before(l.until[u]) {
					for dst, until := range l.heard[u] {
						if n.now.Before(until) {
							send(u.kind, l.owner[u], dst)
							return
						}
					}
				}
			},
			"answer": func(t *rapid.T) {
				if u, ok := known(); ok {
					src := u.remote
					if src.Port() == 0 {
						src = endpoint(src.Addr(), rapid.SampledFrom([]int{53, 443, 9}).Draw(t, "from"))
					}
					if u.kind == icmp {
						src = endpoint(src.Addr(), 0)
					}
					arrive(u.kind, src, u.external)
				}
			},
			"stranger": func(t *rapid.T) {
				if u, ok := known(); ok {
					arrive(u.kind, remote(), u.external)
				}
			},
			"time": func(t *rapid.T) {
				n.wait(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, 59999 * time.Millisecond, 60 * time.Second, 119999 * time.Millisecond, 120 * time.Second, 299 * time.Second,
				}).Draw(t, "step"))
			},
			"expire": func(t *rapid.T) {
				n.expire()
				l.expired(n.now)
			},
			"restart": func(t *rapid.T) {
				cfg := n.Config()
				n.Stop()
				var err error
				n.Engine, err = natcore.Restore(cfg, n.AppendSnapshot(nil), n.now)
				require.NoError(t, err)
			},
			"switch": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "which") > 0 { // mostly on
					overload = true
				} else {
					overload = false
				}
				cfg := n.Config()
				cfg.Pools[0].Overload = overload
				_, err := n.Reconfigure(cfg, n.now)
				require.NoError(t, err)
			},
			"": func(t *rapid.T) {
				require.NoError(t, n.CheckInvariants())
				type serving struct {
					protocol         uint8
					external, remote netip.AddrPort
				}
				at, ports := map[serving]netip.AddrPort{}, map[serving]netip.Addr{}
				for m := range n.Mappings() {
					o, twice := at[serving{m.Protocol, m.External, m.Remote}]
					require.False(t, twice, "%v and %v both have %v towards %v", o, m.Internal, m.External, m.Remote)
					at[serving{m.Protocol, m.External, m.Remote}] = m.Internal
					if who, known := ports[serving{m.Protocol, m.External, netip.AddrPort{}}]; known {
						require.Equal(t, who, m.Internal.Addr(), "one port serves one host")
					}
					ports[serving{m.Protocol, m.External, netip.AddrPort{}}] = m.Internal.Addr()
				}
				counted := map[netip.Addr]int{}
				for _, who := range ports {
					counted[who]++
				}
				for s := range n.Subscribers() {
					require.Equal(t, counted[s.Internal], s.Ports[0]+s.Ports[1]+s.Ports[2], "ports in use of %v", s.Internal)
					require.True(t, quota == 0 || counted[s.Internal] <= quota)
				}
			},
		})
		n.runsOut(t)
	})
}
