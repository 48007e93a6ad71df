package natcore_test

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// reconfigure changes the configuration that the engine has.
func (n *nat) reconfigure(t failer, change func(*natcore.Config)) natcore.Report {
	t.Helper()
	cfg := n.Config()
	change(&cfg)
	planned, err := n.Plan(cfg, n.now)
	require.NoError(t, err)
	r, err := n.Reconfigure(cfg, n.now)
	require.NoError(t, err)
	require.Equal(t, planned, r, "the plan is what happens")
	require.NoError(t, n.CheckInvariants())
	return r
}

func addresses(text string) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges(text) }
}

// TestReconfigureNothing: the same configuration again changes nothing.
func TestReconfigureNothing(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 9}}}))
	n.out(t, tcp, a40000, s1p1)
	before := held(n)
	require.Zero(t, n.reconfigure(t, func(*natcore.Config) {}))
	require.Equal(t, before, held(n))
	require.Equal(t, 1, n.log.Len())
}

// TestReconfigureRules: sessions that the rules refuse go on until they are told to end; further ones are refused at once.
func TestReconfigureRules(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	n.out(t, udp, a40000, s2p1)
	r := n.reconfigure(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Refuse}, {Pool: "cgn"}}
	})
	require.Equal(t, natcore.Report{Disallowed: 1}, r)
	require.Equal(t, e, n.out(t, udp, a40000, s2p1))
	require.Equal(t, natcore.ReasonRuleDrop, n.refusal(t, 0, udp, a40000, s2p2))
	require.Equal(t, 1, n.EndDisallowed(n.now))
	require.Equal(t, natcore.ReasonRuleDrop, n.refusal(t, 0, udp, a40000, s2p1))
	require.Equal(t, e, n.out(t, udp, a40000, s1p1))
	require.Zero(t, n.EndDisallowed(n.now))
	check(t, n)
}

// TestReconfigureTimeouts: a new idle time counts for live sessions.
func TestReconfigureTimeouts(t *testing.T) {
	n := newNAT(t)
	n.out(t, udp, a40000, s1p1)
	n.wait(250 * time.Second)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Sessions)
	n.reconfigure(t, func(c *natcore.Config) { c.Timeouts.UDP = 200 * time.Second })
	for range 2 {
		n.wait(20 * time.Second) // a lower idle time is noticed within one round, or a further one
		n.expire()
	}
	require.Zero(t, n.Stats().Sessions)
	n.out(t, udp, a40000, s1p1)
	n.reconfigure(t, func(c *natcore.Config) { c.Timeouts.UDP = 1000 * time.Second })
	n.wait(999 * time.Second)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Sessions)
}

// TestReconfigureLimits: limits and quotas count what is held already, and end nothing.
func TestReconfigureLimits(t *testing.T) {
	n := newNAT(t)
	for i := range 10 {
		n.out(t, udp, endpoint(hostA, 1+i), s1p1)
	}
	for name, change := range map[string]func(*natcore.Config){
		"sessions":       func(c *natcore.Config) { c.Limits.Sessions = 5 },
		"per subscriber": func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 5 },
		"realm": func(c *natcore.Config) {
			c.Quotas.Realms = map[natcore.Realm]natcore.Quota{0: {Ports: 10}}
		},
		"subscriber": func(c *natcore.Config) { c.Quotas.Subscriber.Ports = 10 },
		"override": func(c *natcore.Config) {
			c.Quotas.Overrides = []natcore.Override{{Internal: netip.PrefixFrom(hostA, 24), Quota: natcore.Quota{Sessions: 3}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := n.Config()
			n.reconfigure(t, change)
			require.NotEqual(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 1000), s1p1))
			for i := range 10 {
				n.out(t, udp, endpoint(hostA, 1+i), s1p1)
			}
			_, err := n.Reconfigure(old, n.now)
			require.NoError(t, err)
			check(t, n)
		})
	}
	n.out(t, udp, endpoint(hostA, 1000), s1p1)
}

// TestReconfigureFiltering: a new filtering holds for live sessions, both ways.
//
// Rows: 6888-07.
func TestReconfigureFiltering(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	n.out(t, udp, a40000, s2p1)
	other := endpoint(server1, 9999)
	for range 2 {
		require.True(t, n.passes(t, udp, endpoint(stranger, 1), e, a40000))
		n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
		require.False(t, n.passes(t, udp, endpoint(stranger, 1), e, a40000))
		require.True(t, n.passes(t, udp, other, e, a40000))
		n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent })
		require.False(t, n.passes(t, udp, other, e, a40000))
		require.True(t, n.passes(t, udp, s1p1, e, a40000))
		n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.EndpointIndependent })
	}
	n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
	n.wait(301 * time.Second)
	n.expire()
	n.out(t, udp, a40000, s2p1)
	check(t, n)
}

// TestReconfigureAddresses: addresses come and go under live sessions. A withdrawn one gives no further block, serves those who have it until
// they hold nothing there, and is gone then.
func TestReconfigureAddresses(t *testing.T) {
	n := newNAT(t, addresses("203.0.113.5"), func(c *natcore.Config) { c.Pools[0].Blocks.BlockSize = 16 })
	e := n.out(t, udp, a40000, s1p1)
	r := n.reconfigure(t, addresses("203.0.113.5,198.18.0.0/30"))
	require.Equal(t, natcore.Report{AddressesAdded: 4}, r)
	used := map[netip.Addr]bool{}
	for i := range 4 {
		used[n.out(t, udp, endpoint(host(10+i), 1), s1p1).Addr()] = true
	}
	require.Len(t, used, 4, "new subscribers get the new addresses")
	require.False(t, used[e.Addr()])

	r = n.reconfigure(t, addresses("198.18.0.0/30"))
	require.Equal(t, natcore.Report{AddressesWithdrawn: 1, Draining: 1, Disallowed: 1}, r)
	require.Equal(t, e, n.out(t, udp, a40000, s1p1), "the session goes on")
	require.True(t, n.passes(t, udp, s1p1, e, a40000))
	for i := range 15 { // the block at hand
		require.Equal(t, e.Addr(), n.out(t, udp, endpoint(hostA, 1+i), s1p1).Addr())
	}
	require.Equal(t, natcore.ReasonWithdrawn, n.refusal(t, 0, udp, endpoint(hostA, 100), s1p1))
	require.Equal(t, natcore.ReasonWithdrawn, n.Explain(natcore.Question{Internal: endpoint(hostA, 100), Remote: s1p1, Protocol: 17}, n.now).Reason)
	require.NotEqual(t, e.Addr(), n.out(t, udp, endpoint(hostB, 1), s1p1).Addr())
	require.EqualValues(t, 1, n.Stats().Pools[0].AddressesDrained)

	snapshot := n.AppendSnapshot(nil) // which goes on draining
	cfg := n.Config()
	cfg.Log = logging.NewMemory(0)
	twin, err := natcore.Restore(cfg, snapshot, n.now)
	require.NoError(t, err)
	require.NoError(t, twin.CheckInvariants())
	require.True(t, twin.External(e.Addr()))
	require.EqualValues(t, 1, twin.Stats().Pools[0].AddressesDrained)

	for range 2 {
		n.wait(10 * time.Minute)
		n.expire()
	}
	released := n.records(t, logging.BlockReleased)
	require.NotEmpty(t, released)
	for _, v := range released {
		require.Equal(t, v.External == e.Addr(), v.Reason == logging.ReasonConfig, v)
	}
	require.False(t, n.External(e.Addr()), "nobody has it any more")
	require.NotEqual(t, e.Addr(), n.out(t, udp, a40000, s1p1).Addr())
	n.reconfigure(t, addresses("203.0.113.5"))
	require.True(t, n.External(e.Addr()))
	require.Equal(t, e.Addr(), n.out(t, udp, endpoint(host(99), 1), s1p1).Addr())
	check(t, n)
}

// TestReconfigureRestsStay: an address that comes back, in its pool or in another one, gives no port before its rest is over.
//
// Rows: 6888-08, 7768-03.
func TestReconfigureRestsStay(t *testing.T) {
	n := newNAT(t, addresses("203.0.113.5"), func(c *natcore.Config) {
		c.Pools[0].Blocks = portblock.Config{BlockSize: 16, Ports: portblock.RangeOf(1024, 1039), IdleTimeout: portblock.Off}
	})
	n.out(t, udp, a40000, s1p1)
	n.reconfigure(t, addresses("203.0.113.6"))
	require.Equal(t, 1, n.EndDisallowed(n.now)) // the block rests from here on
	require.False(t, n.External(netip.MustParseAddr("203.0.113.5")))
	cfg := n.Config()
	cfg.Pools = append(cfg.Pools, natcore.PoolConfig{Name: "two", Addresses: alloc.MustParseRanges("203.0.113.5")})
	_, err := n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, `Pools[1].Addresses = 203.0.113.5-203.0.113.5: is still in use or rests in pool "cgn"`)
	n.wait(120*time.Second - time.Millisecond)
	n.reconfigure(t, addresses("203.0.113.5"))
	require.Equal(t, natcore.ReasonAddressesExhausted, n.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
	n.reconfigure(t, addresses("203.0.113.6"))
	n.wait(time.Millisecond)
	_, err = n.Reconfigure(cfg, n.now)
	require.NoError(t, err, "free by now")
	check(t, n)
}

// TestReconfigurePools: pools come and go; a rule that sends a host to another pool moves further sessions only.
func TestReconfigurePools(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	r := n.reconfigure(t, func(c *natcore.Config) {
		c.Pools = append([]natcore.PoolConfig{{Name: "new", Addresses: alloc.MustParseRanges("198.18.0.1"), Filtering: natcore.AddressDependent}}, c.Pools...)
		c.Rules = []natcore.Rule{{Pool: "new"}}
	})
	require.Equal(t, natcore.Report{PoolsAdded: []string{"new"}, AddressesAdded: 1, Disallowed: 1}, r)
	require.Equal(t, e, n.out(t, udp, a40000, s1p1))
	moved := n.out(t, udp, a40000, s2p1)
	require.Equal(t, "198.18.0.1", moved.Addr().String())
	require.True(t, n.passes(t, udp, s2p1, moved, a40000))
	require.Len(t, n.Stats().Pools, 2)
	records := n.records(t, logging.BlockAllocated)
	require.Equal(t, []any{"new", uint32(2)}, []any{records[1].Pool, records[1].PoolID})

	r = n.reconfigure(t, func(c *natcore.Config) { c.Pools = c.Pools[:1] })
	require.Equal(t, natcore.Report{PoolsWithdrawn: []string{"cgn"}, AddressesWithdrawn: 2, Draining: 1, Disallowed: 1}, r)
	require.Equal(t, e, n.out(t, udp, a40000, s1p1))
	require.Equal(t, 1, n.EndDisallowed(n.now))
	require.False(t, n.External(e.Addr()))
	require.Equal(t, moved, n.out(t, udp, a40000, s1p1))
	r = n.reconfigure(t, func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5-203.0.113.6")})
	})
	require.EqualValues(t, 2, r.AddressesAdded, "a pool that was withdrawn comes back in its place")
	check(t, n)
}

// TestReconfigureReserved: ports that are newly reserved are not given again, those in use go on; ports that are reserved no more are given.
func TestReconfigureReserved(t *testing.T) {
	n := newNAT(t, addresses("203.0.113.5"), small(1024, 1055, 16), func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks.IdleTimeout, c.Pools[0].Blocks.HoldDown, c.Pools[0].Blocks.GuardTime = portblock.Off, portblock.Off, portblock.Off
	})
	var low netip.AddrPort
	for i := range 16 {
		e := n.out(t, udp, endpoint(hostA, 1+i), s1p1)
		low = netip.AddrPortFrom(e.Addr(), e.Port()&^15)
	}
	reserve := func(r ...portblock.Reservation) func(*natcore.Config) {
		return func(c *natcore.Config) { c.Pools[0].Blocks.Reserved = r }
	}
	r := n.reconfigure(t, reserve(portblock.Reservation{Ports: portblock.RangeOf(low.Port(), low.Port()+3)}))
	require.Equal(t, natcore.Report{Reserved: 4}, r)
	for i := range 16 {
		n.out(t, udp, endpoint(hostA, 1+i), s1p1)
	}
	n.wait(301 * time.Second)
	n.expire()
	n.expire()
	given := 0
	for h := range 2 {
		for i := range 16 {
			if e, verdict, _ := n.try(t, udp, endpoint(host(50+h), 1+i), s1p1); verdict == natcore.Forward {
				given++
				require.False(t, e.Port() >= low.Port() && e.Port() < low.Port()+4, e)
			}
		}
	}
	require.Equal(t, 28, given)
	require.Zero(t, n.reconfigure(t, reserve()).Reserved)
	n.wait(301 * time.Second)
	n.expire()
	n.expire()
	given = 0
	for h := range 2 {
		for i := range 16 {
			if n.refusal(t, 0, udp, endpoint(host(60+h), 1+i), s1p1) == natcore.ReasonNone {
				given++
			}
		}
	}
	require.Equal(t, 32, given)
	check(t, n)
}

// TestReconfigureMap: the next epoch of a deterministic map takes the place of the old one. Who keeps his ports goes on; the others end, and
// nobody gets a port that another one had before 120 s are over.
//
// Rows: 6888-08, 7422-17.
func TestReconfigureMap(t *testing.T) {
	m := func(internal ...string) *deterministic.Map {
		m, err := deterministic.New(deterministic.Config{
			Internal: deterministic.Spans(internal...), External: deterministic.Spans("203.0.113.5-203.0.113.6"),
			Reserved: []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)}, SharingRatio: 4,
			Algorithm: deterministic.Sequential,
		})
		require.NoError(t, err)
		return m
	}
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0] = natcore.PoolConfig{Name: "cgn", Map: m("10.0.0.0-10.0.0.7")} })
	kept := n.out(t, udp, endpoint(host(1), 1), s1p1)
	ended := n.out(t, udp, endpoint(host(7), 1), s1p1)
	next := func(c *natcore.Config) {
		c.Pools[0].Map, c.Pools[0].Epoch = m("10.0.0.0-10.0.0.5", "10.0.0.7", "10.0.0.9"), 2
	}

	cfg := n.Config()
	next(&cfg)
	n.log.Refuse(errors.New("the disk is full"))
	_, err := n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, "disk is full")
	n.log.Refuse(nil)
	require.Equal(t, ended, n.out(t, udp, endpoint(host(7), 1), s1p1), "nothing has changed")
	cfg.Pools[0].Epoch = 1
	_, err = n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, "Pools[0].Epoch = 1: must be above 1")

	require.Equal(t, natcore.Report{Moved: 1}, n.reconfigure(t, next))
	epochs := n.records(t, logging.ConfigEpoch)
	require.Len(t, epochs, 2)
	require.Equal(t, logging.MillisOf(n.now), epochs[1].Time)
	require.Equal(t, kept, n.out(t, udp, endpoint(host(1), 1), s1p1), "who keeps his ports goes on")
	require.True(t, n.passes(t, udp, s1p1, kept, endpoint(host(1), 1)))
	require.False(t, n.passes(t, udp, s1p1, ended, endpoint(host(7), 1)))
	require.Equal(t, natcore.ReasonPortsResting, n.refusal(t, 0, udp, endpoint(host(7), 1), s1p1))
	require.Equal(t, natcore.ReasonPortsResting, n.refusal(t, 0, udp, endpoint(host(9), 1), s1p1))
	require.Equal(t, natcore.ReasonPortsResting, n.Explain(natcore.Question{Internal: endpoint(host(9), 1), Remote: s1p1, Protocol: 17}, n.now).Reason)
	require.Equal(t, natcore.ReasonNotSubscriber, n.refusal(t, 0, udp, endpoint(host(6), 1), s1p1))
	n.wait(120 * time.Second)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(host(9), 1), s1p1))
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(host(7), 1), s1p1))
	check(t, n)
}

// TestReconfigureFaults: all faults come at once, with what cannot change among them, and nothing has changed.
func TestReconfigureFaults(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "two", Addresses: alloc.MustParseRanges("203.0.113.9")})
	})
	n.out(t, udp, a40000, s1p1)
	before, was := held(n), n.Config()
	cfg := n.Config()
	cfg.Seed[5]++
	cfg.Shards = 2
	cfg.MSS = 1400
	cfg.Timeouts.UDP = time.Second
	cfg.Quotas.Subscriber.Ports = -1
	cfg.Rules = []natcore.Rule{{Pool: "two"}}
	cfg.Static = []natcore.Static{{Name: "web"}}
	cfg.Pools = cfg.Pools[:1]
	cfg.Pools[0].Blocks.BlockSize = 64
	cfg.Pools[0].Mapping = natcore.AddressDependent
	_, err := n.Reconfigure(cfg, n.now)
	for _, field := range []string{
		"Seed", "Shards", "MSS", "Timeouts.UDP", "Quotas.Subscriber.Ports", "Rules[0].Pool", "Static", "Pools[0].Blocks", "Pools[0].Mapping",
	} {
		require.ErrorContains(t, err, "natcore: "+field+" = ")
	}
	require.NotContains(t, err.Error(), "1 2 3", "the secret is not told")
	require.Equal(t, before, held(n))
	require.Equal(t, was, n.Config())
	_, err = n.Reconfigure(natcore.Config{}, n.now)
	require.ErrorContains(t, err, "Pools = empty")
	cfg = n.Config()
	cfg.Pools[1].Addresses = alloc.MustParseRanges("203.0.113.6-203.0.113.9")
	_, err = n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, `Pools[1].Addresses = 203.0.113.6-203.0.113.6: shares addresses with pool "cgn"`)
	check(t, n)
}

// TestReconfigureUnderTraffic: callers at work meanwhile see the one or the other configuration, and nothing else.
func TestReconfigureUnderTraffic(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Sessions: true}), func(c *natcore.Config) { c.MSS = 1200 })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for g := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				src := endpoint(host(2+g*50+i%50), 1+i%500)
				k := kind(i % 2)
				b := build(t, k, src, s1p1, nil, tcpFlags{syn: true})
				if verdict, _ := n.Outbound(b, n.now); verdict == natcore.Forward {
					answer := build(t, k, s1p1, read(t, b).src, nil, tcpFlags{syn: true, ack: true})
					n.Inbound(answer, n.now)
				}
				if i%50 == 0 {
					n.Expire(n.now, 1<<12)
					n.Stats()
				}
			}
		}()
	}
	for i := range 30 {
		cfg := n.Config()
		cfg.Pools[0].Addresses = alloc.MustParseRanges([]string{"203.0.113.5-203.0.113.6", "203.0.113.6-203.0.113.7", "198.18.0.0/29"}[i%3])
		cfg.Pools[0].Filtering = natcore.Behaviour(i % 3)
		cfg.Quotas.Realms = map[natcore.Realm]natcore.Quota{0: {Sessions: 1000 + i}}
		cfg.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Action(i % 2 * 2), Pool: []string{"cgn", ""}[i%2]}, {Pool: "cgn"}}
		_, err := n.Reconfigure(cfg, n.now)
		require.NoError(t, err)
		if i%5 == 0 {
			n.EndDisallowed(n.now)
		}
	}
	close(stop)
	wg.Wait()
	check(t, n)
}
