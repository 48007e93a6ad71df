package natcore_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// withStatics is a configuration with something static of each kind; nothing of it is drawn at random.
func withStatics(t failer, shards int) natcore.Config {
	cfg := saved(t, "blocks", natcore.EndpointIndependent, shards)
	cfg.Events.Destinations = true
	cfg.Rules = []natcore.Rule{{Realm: 0, Pool: "cgn"}, {Realm: 1, Pool: "cgn"}}
	cfg.Quotas.Subscriber.InboundRate = natcore.Rate{PerSecond: 3}
	cfg.Quotas.Subscriber.InboundSessions = 20
	cfg.Timeouts.Ports = []natcore.PortTimeout{portTimeout(17, 53, 53, 10*time.Second)}
	cfg.Protocols = []uint8{47}
	cfg.Static = []natcore.Static{
		{Name: "one", External: ip("192.0.2.9"), Internal: host(9), Filtering: natcore.AddressDependent},
		{Name: "lb", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 1080, Servers: servers(1, 2, 3), Affinity: time.Minute, MaxSessions: 12},
	}
	cfg.Peerings = []natcore.Peering{
		{Name: "p", From: 0, To: 1, Source: prefix("10.0.0.0/24"), SourceAs: prefix("10.200.0.0/24"), Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24")},
	}
	return cfg
}

// TestStaticsGoOnAfterRestore: an engine that was restored in the middle of random traffic to and from static mappings and peerings answers each further packet as the one does that went
// on, byte for byte, holds the same, refuses the same, and writes the same records of sessions.
//
// Rows: 6888-08e.
func TestStaticsGoOnAfterRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := withStatics(t, rapid.SampledFrom([]int{1, 4}).Draw(t, "shards"))
		a := &nat{log: logging.NewMemory(0), now: began}
		cfg.Log = a.log
		var err error
		a.Engine, err = natcore.New(cfg, began)
		require.NoError(t, err)
		both, mark := []*nat{a}, 0
		pass := func(d natcore.Direction, realm natcore.Realm, packet []byte) {
			var first natcore.Packet
			for i, n := range both {
				batch := []natcore.Packet{{Bytes: bytes.Clone(packet), Direction: d, Realm: realm}}
				n.Process(batch, n.now)
				if i == 0 {
					first = batch[0]
					continue
				}
				require.Equal(t, first, batch[0], "the restored engine differs")
			}
		}
		send := func(d natcore.Direction, realm natcore.Realm, k kind, src, dst netip.AddrPort, f tcpFlags) {
			pass(d, realm, build(t, k, src, dst, []byte("x"), f))
		}
		step := func() {
			k := kind(rapid.IntRange(0, 2).Draw(t, "kind"))
			flags := tcpFlags{syn: rapid.IntRange(0, 2).Draw(t, "syn") > 0, ack: rapid.Bool().Draw(t, "ack"), fin: rapid.IntRange(0, 3).Draw(t, "fin") == 0, rst: rapid.IntRange(0, 4).Draw(t, "rst") == 0, seq: rapid.SampledFrom([]uint32{1000, 1001, 1002, 5_000_000}).Draw(t, "seq")}
			remote := client(rapid.IntRange(0, 4).Draw(t, "client"), rapid.SampledFrom([]int{53, 80}).Draw(t, "port"))
			port := 4000 + rapid.IntRange(0, 3).Draw(t, "port")
			switch rapid.SampledFrom([]string{"out", "in", "in", "server", "answer", "answer", "peer", "back", "gre", "gre back", "time", "expire", "end"}).Draw(t, "action") {
			case "out":
				send(natcore.Outbound, 0, k, endpoint(host(9), port), remote, flags)
			case "in":
				send(natcore.Inbound, 0, k, remote, endpoint(ip("192.0.2.9"), port), flags)
			case "server":
				send(natcore.Inbound, 0, tcp, remote, at("203.0.113.5:1080"), flags)
			case "answer":
				for s := range a.Sessions() {
					if s.Static != "" && rapid.IntRange(0, 2).Draw(t, "which") == 0 {
						if s.Static == "p" {
							send(natcore.Outbound, 1, kindOf(s.Protocol), s.Remote, s.External, flags)
						} else {
							send(natcore.Outbound, s.Realm, kindOf(s.Protocol), s.Internal, s.Remote, flags)
						}
						return
					}
				}
			case "peer":
				send(natcore.Outbound, 0, k, endpoint(host(2+port%4), port), endpoint(ip("172.16.0.3"), 53), flags)
			case "back":
				send(natcore.Outbound, 1, k, endpoint(host(3), 53), endpoint(ip("10.200.0.5"), port), flags)
			case "gre":
				pass(natcore.Outbound, 0, portless(47, host(2+port%4), remote.Addr()))
			case "gre back":
				pass(natcore.Inbound, 0, portless(47, remote.Addr(), netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + port%2)})))
			case "time":
				d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 9 * time.Second, 29 * time.Second, 2 * time.Minute, 5 * time.Minute}).Draw(t, "time")
				for _, n := range both {
					n.wait(d)
				}
			case "expire":
				for _, n := range both {
					n.expire()
				}
			case "end":
				for s := range a.Sessions() {
					if s.Static != "" || s.Protocol == 47 {
						for _, n := range both {
							require.True(t, n.EndSession(s, n.now))
						}
						return
					}
				}
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			step()
		}
		a.expire() // what is noted for the log is no part of a snapshot
		b := a.restored(t, cfg)
		both, mark = append(both, b), len(a.log.Records())
		require.Equal(t, held(a), held(b))
		require.Equal(t, a.Stats().StaticSessions, b.Stats().StaticSessions)
		for i := range rapid.IntRange(0, 60).Draw(t, "after") {
			if step(); i%8 == 0 {
				for _, n := range both {
					require.NoError(t, n.CheckInvariants())
				}
			}
		}
		require.Equal(t, held(a), held(b))
		tell := func(n *nat, from int) (lines []string) {
			for _, r := range n.log.Records()[from:] {
				if r.Kind == logging.SessionCreated || r.Kind == logging.SessionDeleted {
					lines = append(lines, fmt.Sprint(r))
				}
			}
			slices.Sort(lines)
			return lines
		}
		for _, n := range both {
			require.NoError(t, n.Close(n.now))
		}
		require.Equal(t, tell(a, mark), tell(b, 0))
	})
}

func kindOf(protocol uint8) kind {
	return map[uint8]kind{17: udp, 6: tcp, 1: icmp}[protocol]
}

// TestSourcesAfterRestore: sessions whose source is translated too keep their source endpoint across a restart; nobody else gets it, nor one that rests, for as long as it would have rested. A client comes
// back to its source and to its server.
//
// Rows: 6888-08e.
func TestSourcesAfterRestore(t *testing.T) {
	cfg := config(nil)
	cfg.Static = []natcore.Static{{
		Name: "lb", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Ports: 2, Servers: servers(1), Affinity: time.Hour, Sources: alloc.MustParseRanges("10.255.0.1"),
	}}
	cfg.Peerings = []natcore.Peering{{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1"), SourcePorts: portblock.RangeOf(2000, 2003)}}
	n := &nat{log: logging.NewMemory(0), now: began}
	cfg.Log = n.log
	var err error
	n.Engine, err = natcore.New(cfg, began)
	require.NoError(t, err)
	came := map[netip.AddrPort]moved{}
	for i := range 20 {
		c := client(i, 4000)
		came[c] = n.comes(t, tcp, c, at("203.0.113.5:80"), synFlags)
		n.leaves(t, 0, tcp, came[c].dst, came[c].src, synAckFlags)
	}
	cfg.Static[0].Servers = servers(1, 1, 1)
	require.NoError(t, n.SetServers("lb", cfg.Static[0].Servers, n.now)) // clients stay with the first for their affinity
	peer := func(n *nat, port int) moved {
		return n.leaves(t, 0, udp, endpoint(hostA, port), at("172.16.0.3:80"), synFlags)
	}
	for i := range 4 {
		require.Equal(t, natcore.Hairpin, peer(n, i+1).verdict)
	}
	for s := range n.Sessions() { // two rest, for different times
		if s.Static == "p" && (s.Internal.Port() == 1 || s.Internal.Port() == 2) {
			require.True(t, n.EndSession(s, n.now))
			n.wait(30 * time.Second)
		}
	}
	n.Stop()
	b := n.restored(t, cfg)
	require.Equal(t, held(n), held(b))
	for c, m := range came {
		require.Equal(t, m, b.comes(t, tcp, c, at("203.0.113.5:80"), ackFlags))
		require.Equal(t, moved{at("203.0.113.5:80"), c, natcore.Forward, 0, 0}, b.leaves(t, 0, tcp, m.dst, m.src, ackFlags))
		again := b.comes(t, tcp, c, at("203.0.113.5:81"), synFlags)
		require.Equal(t, m.src, again.src, "one client is seen as one")
		require.Equal(t, m.dst.Addr(), again.dst.Addr(), "and comes to its server")
	}
	check(t, b)
	require.Equal(t, natcore.ReasonSourcesExhausted, peer(b, 9).why)
	b.wait(60*time.Second - time.Millisecond)
	require.Equal(t, natcore.ReasonSourcesExhausted, peer(b, 9).why)
	b.wait(time.Millisecond)
	require.Equal(t, natcore.Hairpin, peer(b, 9).verdict)
	require.Equal(t, natcore.ReasonSourcesExhausted, peer(b, 10).why)
	b.wait(30 * time.Second)
	require.Equal(t, natcore.Hairpin, peer(b, 10).verdict)
	check(t, b)
}

// TestRestoreEndsWhatIsNoLongerStatic: sessions whose mapping or peering the configuration does not have any more, or has otherwise, end with the restart, with their records; the others go on.
func TestRestoreEndsWhatIsNoLongerStatic(t *testing.T) {
	whole := withStatics(t, 2)
	begin := func() *nat {
		n := &nat{log: logging.NewMemory(0), now: began}
		cfg := whole
		cfg.Log = n.log
		var err error
		n.Engine, err = natcore.New(cfg, began)
		require.NoError(t, err)
		require.NoError(t, n.AddStatic([]natcore.Static{{Name: "added", External: ip("192.0.2.77"), Internal: host(3), Realm: 1}}, natcore.RefuseConflicts, n.now))
		require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, endpoint(host(9), 4000), s1p1, synFlags).verdict)
		require.Equal(t, natcore.Forward, n.comes(t, udp, s1p2, at("192.0.2.9:4000"), synFlags).verdict)
		for i := range 3 {
			require.Equal(t, natcore.Forward, n.comes(t, tcp, client(i, 4000), at("203.0.113.5:1080"), synFlags).verdict)
		}
		require.Equal(t, natcore.Hairpin, n.leaves(t, 0, udp, endpoint(hostA, 4000), at("172.16.0.3:53"), synFlags).verdict)
		require.Equal(t, natcore.Forward, n.comes(t, udp, s1p1, at("192.0.2.77:5"), synFlags).verdict)
		n.expire()
		return n
	}
	count := func(n *nat) map[string]int {
		all := map[string]int{}
		for s := range n.Sessions() {
			all[s.Static]++
		}
		return all
	}
	n := begin()
	require.Equal(t, map[string]int{"one": 2, "lb": 3, "p": 1, "added": 1}, count(n))
	for name, v := range map[string]struct {
		change func(c *natcore.Config)
		want   map[string]int
	}{
		"as it was":      {func(*natcore.Config) {}, map[string]int{"one": 2, "lb": 3, "p": 1}},
		"what was added": {func(c *natcore.Config) { c.Static = n.Statics() }, map[string]int{"one": 2, "lb": 3, "p": 1, "added": 1}},
		"nothing static": {func(c *natcore.Config) { c.Static, c.Peerings = nil, nil }, map[string]int{}},
		"other host":     {func(c *natcore.Config) { c.Static[0].Internal = host(8) }, map[string]int{"lb": 3, "p": 1}},
		"inbound only":   {func(c *natcore.Config) { c.Static[0].InboundOnly, c.Static[0].Filtering = true, 0 }, map[string]int{"one": 1, "lb": 3, "p": 1}},
		"other remotes":  {func(c *natcore.Config) { c.Static[0].Remotes = []netip.Prefix{prefix("198.51.99.0/24")} }, map[string]int{"one": 1, "lb": 3, "p": 1}},
		"other name":     {func(c *natcore.Config) { c.Static[1].Name, c.Peerings[0].Name = "x", "y" }, map[string]int{"one": 2}},
		"other servers":  {func(c *natcore.Config) { c.Static[1].Servers = []natcore.Server{{Internal: at("10.9.1.1:8080")}} }, map[string]int{"one": 2, "p": 1}},
		"twice":          {func(c *natcore.Config) { c.Static[1].Sources = alloc.MustParseRanges("10.255.0.1") }, map[string]int{"one": 2, "p": 1}},
		"other target":   {func(c *natcore.Config) { c.Peerings[0].Target = prefix("10.7.0.0/24") }, map[string]int{"one": 2, "lb": 3}},
		"lower limits": {func(c *natcore.Config) {
			c.Limits.StaticSessions, c.Limits.InboundPerSubscriber, c.Static[1].MaxSessions = 1, 1, 1
		}, map[string]int{"one": 2, "lb": 3, "p": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := whole
			cfg.Static, cfg.Peerings = slices.Clone(whole.Static), slices.Clone(whole.Peerings)
			v.change(&cfg)
			b := n.restored(t, cfg)
			require.Equal(t, v.want, count(b))
			total := 0
			for _, c := range v.want {
				total += c
			}
			require.Len(t, b.records(t, logging.SessionDeleted), 7-total, "the records that the saved engine has begun come to their end")
			for _, r := range b.records(t, logging.SessionDeleted) {
				require.Equal(t, logging.ReasonConfig, r.Reason)
			}
			for range 3 {
				b.wait(3 * time.Hour)
				b.expire()
			}
			require.Empty(t, count(b))
			require.Len(t, b.records(t, logging.SessionDeleted), 7)
			check(t, b)
		})
	}
}

// TestSnapshotOfVersion1: a snapshot that was written before static sessions were part of it is restored with all that it has.
func TestSnapshotOfVersion1(t *testing.T) {
	b, err := os.ReadFile("testdata/snapshot-v1.bin")
	require.NoError(t, err)
	require.EqualValues(t, 1, b[4])
	cfg := saved(t, "blocks", natcore.AddressDependent, 2)
	cfg.Protocols = []uint8{47}
	cfg.Static = []natcore.Static{wholeHost}
	cfg.Static[0].Internal = host(99)
	n := &nat{log: logging.NewMemory(0), now: began.Add(time.Hour)}
	cfg.Log = n.log
	n.Engine, err = natcore.Restore(cfg, b, n.now)
	require.NoError(t, err)
	check(t, n)
	st := n.Stats()
	require.Equal(t, []uint64{28, 29, 3}, []uint64{st.Sessions, st.Mappings, st.Subscribers})
	require.Len(t, n.records(t, logging.SessionDeleted), 1, "of GRE")
	for i := range 45 {
		n.wait(time.Second)
		n.refusal(t, 0, udp, endpoint(hostA, 100+i), s1p1)
	}
	require.Equal(t, natcore.ReasonPortLimit, n.refusal(t, 0, udp, endpoint(hostA, 99), s1p1))
	for i := range n.Subscribers() {
		if i.Internal == hostA {
			require.Equal(t, 44, i.Ports[0]+i.Ports[1]+i.Ports[2], "the quota that was set")
		}
	}
	b[4] = 0
	_, err = natcore.Restore(cfg, b, n.now)
	require.ErrorContains(t, err, "versions 1 to 2")
}
