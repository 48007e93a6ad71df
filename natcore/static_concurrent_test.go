package natcore_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestStaticsUnderTraffic: mappings and servers come and go while several callers send and sessions end; all counts hold afterwards, and no call waits for
// another for ever.
func TestStaticsUnderTraffic(t *testing.T) {
	n := newNAT(t, withStatic(balanced(1, 2, 3), natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}), withProtocols(47), func(c *natcore.Config) {
		c.Peerings = []natcore.Peering{{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}}
		c.Quotas = natcore.Quotas{
			Subscriber: natcore.Quota{Sessions: 30, InboundSessions: 8, SessionRate: natcore.Rate{PerSecond: 50}, InboundRate: natcore.Rate{PerSecond: 50}},
			Realms:     map[natcore.Realm]natcore.Quota{0: {Sessions: 100, InboundSessions: 12}, 1: {InboundSessions: 20}}, CountInbound: true,
		}
		c.Events = natcore.Events{Sessions: true}
	})
	var done sync.WaitGroup
	for g := range 4 {
		done.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 400 {
				now := n.now.Add(time.Duration(i) * time.Second)
				host := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rnd.IntN(5))}), 4000+rnd.IntN(9))
				remote := client(rnd.IntN(9), 80)
				batch := []natcore.Packet{
					{Bytes: build(t, udp, host, remote, nil, synFlags)},
					{Bytes: build(t, tcp, remote, at("203.0.113.5:80"), nil, synFlags), Direction: natcore.Inbound},
					{Bytes: build(t, udp, host, at("192.0.2.9:4000"), nil, synFlags)},
					{Bytes: build(t, udp, host, at("172.16.0.5:4000"), nil, synFlags)},
					{Bytes: build(t, udp, remote, endpoint(ip("203.0.113.6"), 1024+rnd.IntN(3000)), nil, synFlags), Direction: natcore.Inbound},
					{Bytes: portless(47, host.Addr(), remote.Addr())},
				}
				n.Process(batch, now)
			}
		})
	}
	done.Go(func() {
		for i := range 60 {
			now := n.now.Add(time.Duration(i) * 6 * time.Second)
			name := fmt.Sprint("s", i%4)
			s := natcore.Static{Name: name, External: ip("203.0.113.6"), ExternalPort: uint16(1024 + 500*(i%4)), Ports: 400, Internal: ip("10.0.0.3"), InboundOnly: true}
			if err := n.AddStatic([]natcore.Static{s}, natcore.RetireConflicts, now); err != nil {
				n.RemoveStatic(name, now)
			}
			_ = n.SetServers("lb", servers(1, 2, 3)[i%2:], now)
			for range n.Sessions() {
			}
			n.Expire(now, 4096)
			n.Stats()
			_ = n.SetQuota(0, hostA, []*natcore.Quota{nil, {Sessions: 10, InboundSessions: 3}}[i%2], now)
			cfg := n.Config()
			cfg.Quotas.CountInbound = i%3 == 0
			_, err := n.Reconfigure(cfg, now)
			require.NoError(t, err)
			n.Explain(natcore.Question{Internal: endpoint(hostA, 4000), Remote: client(1, 80), Protocol: 17}, now)
			n.Top(3, natcore.BySessions)
			for s := range n.Sessions() {
				if s.LastSeen.UnixMilli()%7 == 0 {
					n.EndSession(s, now)
				}
			}
		}
	})
	done.Wait()
	check(t, n)
	n.wait(24 * time.Hour)
	n.expire()
	n.expire()
	require.Zero(t, n.Stats().StaticSessions)
	check(t, n)
}

// TestStaticSessionIsTakenBack: a session that was opened for a packet which then arrives nowhere leaves nothing behind, and the packet is as it came.
func TestStaticSessionIsTakenBack(t *testing.T) {
	n := newNAT(t, withProtocols(47), withStatic(
		natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA},
		natcore.Static{Name: "port", Protocol: 17, External: ip("192.0.2.8"), ExternalPort: 80, Internal: hostB, Remotes: []netip.Prefix{prefix("198.51.100.0/24")}},
	))
	require.Equal(t, dropped(natcore.ReasonNoMapping), n.leaves(t, 0, udp, endpoint(hostA, 1), at("203.0.113.5:2000"), synFlags))
	require.Equal(t, dropped(natcore.ReasonFiltered), n.leaves(t, 0, udp, endpoint(hostA, 1), at("192.0.2.8:80"), synFlags))
	require.Equal(t, dropped(natcore.ReasonNoMapping), n.leaves(t, 0, udp, endpoint(hostA, 1), at("192.0.2.8:81"), synFlags))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.sends(t, natcore.Outbound, 0, 47, hostA, ip("192.0.2.8")))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.sends(t, natcore.Outbound, 0, 47, hostB, ip("192.0.2.8")))
	require.Zero(t, n.Stats().StaticSessions)
	require.Zero(t, n.Stats().Sessions)
	check(t, n)
}

// TestStaticAllocatesNothing: a packet of a known static session allocates no memory, in either direction.
func TestStaticAllocatesNothing(t *testing.T) {
	s := balanced(1, 1)
	s.Sources = alloc.MustParseRanges("10.255.0.1")
	n := newNAT(t, withStatic(s))
	c := client(1, 4000)
	m := n.comes(t, tcp, c, at("203.0.113.5:80"), synFlags)
	in, out := build(t, tcp, c, at("203.0.113.5:80"), nil, ackFlags), build(t, tcp, m.dst, m.src, nil, synAckFlags)
	b := make([]byte, 64)
	batch := make([]natcore.Packet, 2)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		batch[0] = natcore.Packet{Bytes: b[:copy(b, in)], Direction: natcore.Inbound}
		n.Process(batch[:1], n.now)
		if batch[0].Verdict != natcore.Forward {
			t.Fatal(batch[0].Reason)
		}
		batch[1] = natcore.Packet{Bytes: b[:copy(b, out)]}
		n.Process(batch[1:], n.now)
		if batch[1].Verdict != natcore.Forward {
			t.Fatal(batch[1].Reason)
		}
	}))
}
