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
	"pgregory.net/rapid"
)

// index returns all that the engine has recorded.
func (n *nat) index(t failer) *logging.Index {
	x := logging.NewIndex()
	for _, r := range n.log.Records() {
		require.NoError(t, x.Append(&r))
	}
	return x
}

// spaceOf is the port space of a kind of packet in records.
func spaceOf(k kind) logging.Spaces {
	return [...]logging.Spaces{udp: logging.UDP, tcp: logging.TCP, icmp: logging.ICMP}[k]
}

// traced requires that the records alone lead from an external endpoint to its host: for several servers to all of them, all static.
func (n *nat) traced(t failer, k kind, external netip.AddrPort, internal netip.Addr) {
	x := n.index(t)
	found := x.Who(logging.Query{External: external.Addr(), Port: external.Port(), At: n.now, Spaces: spaceOf(k)})
	require.NotEmpty(t, found, "%v", external)
	has := false
	for i := range found {
		has = has || found[i].Subscriber == internal
		require.True(t, len(found) == 1 || found[i].Source == logging.Static && found[i].Pool == found[0].Pool, "%v of %v: %v", external, internal, found)
	}
	require.True(t, has, "%v is %v, and the records say %v", external, internal, found)
}

// static returns the records of static mappings as a line each.
func (n *nat) statics() (lines []string) {
	for _, r := range n.log.Records() {
		if r.Kind == logging.StaticAdded || r.Kind == logging.StaticRemoved {
			lines = append(lines, r.Kind.String()+" "+r.Reason.String()+" "+r.Pool+" "+r.External.String()+" "+r.Spaces.String()+" "+r.Subscriber.String())
		}
	}
	return lines
}

// TestStaticRecords: what is static is recorded when it begins and when it ends: each address, each server, inbound-only mappings too.
func TestStaticRecords(t *testing.T) {
	n := newNAT(t, withStatic(
		natcore.Static{Name: "two", External: ip("192.0.2.8"), Internal: hostA, Addresses: 2},
		natcore.Static{Name: "port", External: ip("203.0.113.5"), ExternalPort: 2000, Ports: 3, Internal: hostB, InboundOnly: true},
		natcore.Static{Name: "gre", Protocol: 47, External: ip("192.0.2.20"), Internal: hostA, InboundOnly: true},
		balanced(1, 1),
	))
	require.Equal(t, []string{
		"static-added admin two 192.0.2.8 tcp+udp+icmp " + hostA.String(),
		"static-added admin two 192.0.2.9 tcp+udp+icmp " + hostA.Next().String(),
		"static-added admin port 203.0.113.5 tcp+udp " + hostB.String(),
		"static-added admin gre 192.0.2.20 none " + hostA.String(),
		"static-added admin lb 203.0.113.5 tcp 10.9.0.1",
		"static-added admin lb 203.0.113.5 tcp 10.9.0.2",
	}, n.statics())
	first := n.log.Records()[2]
	require.Equal(t, []uint16{2000, 2002, 2000}, []uint16{first.First, first.Last, first.Internal.Port()})

	// The session of a server that is gone goes on, and so does its record.
	n.wait(time.Second)
	c := client(1, 4000)
	to := n.comes(t, tcp, c, at("203.0.113.5:80"), synFlags).dst
	was := len(n.statics())
	require.NoError(t, n.SetServers("lb", servers(1, 1, 1)[2:], n.now))
	require.Equal(t, []string{"static-added admin lb 203.0.113.5 tcp 10.9.0.3"}, n.statics()[was:])
	n.wait(time.Second)
	n.expire()
	n.wait(time.Millisecond)
	n.traced(t, tcp, at("203.0.113.5:80"), to.Addr())
	require.Len(t, n.statics(), was+2, "the one without a session has ended")
	require.True(t, n.EndSession(n.only(t), n.now))
	n.expire()
	require.Equal(t, "static-removed idle lb 203.0.113.5 tcp "+to.Addr().String(), n.statics()[was+2])
	require.Empty(t, n.index(t).Verify(0))

	was = len(n.statics())
	require.True(t, n.RemoveStatic("port", n.now))
	require.NoError(t, n.Close(n.now))
	require.Len(t, n.statics(), was+5)
	require.Zero(t, n.index(t).Open())
}

// TestStaticRecordsAcrossRestart: Stop ends what Restore records again, so that no record of a mapping outlives it.
func TestStaticRecordsAcrossRestart(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "a", External: ip("192.0.2.9"), Internal: hostA}))
	n.Stop()
	require.Zero(t, n.index(t).Open())
	cfg := config(n.log)
	cfg.Static = []natcore.Static{{Name: "a", External: ip("192.0.2.9"), Internal: hostB}}
	e, err := natcore.Restore(cfg, n.AppendSnapshot(nil), n.now.Add(time.Second))
	require.NoError(t, err)
	n.Engine, n.now = e, n.now.Add(2*time.Second)
	require.Contains(t, n.statics(), "static-added restart a 192.0.2.9 tcp+udp+icmp "+hostB.String())
	n.traced(t, udp, at("192.0.2.9:7"), hostB)
}

// fullAfter is a log that takes a number of records and refuses what follows.
type fullAfter struct {
	*logging.Memory
	left int
}

func (r *fullAfter) Append(rec *logging.Record) error {
	if r.left--; r.left < 0 {
		return errors.New("full")
	}
	return r.Memory.Append(rec)
}

// TestStaticRecordsRefused: a record that the log refuses refuses the mappings, all of them; the end of one that was recorded is offered again.
// Under CountLoss the loss is counted.
func TestStaticRecordsRefused(t *testing.T) {
	log := &fullAfter{logging.NewMemory(0), 0}
	cfg := config(log)
	cfg.Static = []natcore.Static{{Name: "a", External: ip("192.0.2.9"), Internal: hostA}}
	_, err := natcore.New(cfg, began)
	require.ErrorContains(t, err, "full")

	for _, policy := range []natcore.LogPolicy{natcore.RefuseBlocks, natcore.CountLoss} {
		log.left, log.Memory = 1, logging.NewMemory(0)
		cfg.LogPolicy = policy
		n := &nat{log: log.Memory, now: began}
		n.Engine, err = natcore.New(cfg, n.now)
		require.NoError(t, err)
		log.left = 1
		err = n.AddStatic([]natcore.Static{
			{Name: "b", External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostA, InboundOnly: true},
			{Name: "c", External: ip("203.0.113.5"), ExternalPort: 81, Internal: hostB, InboundOnly: true},
		}, natcore.RefuseConflicts, n.now)
		if policy == natcore.CountLoss {
			require.NoError(t, err)
			require.EqualValues(t, 1, n.Stats().RecordsLost)
			continue
		}
		require.ErrorContains(t, err, "full")
		require.Len(t, n.Statics(), 1)
		require.Equal(t, dropped(natcore.ReasonNoMapping), n.comes(t, tcp, client(1, 1), at("203.0.113.5:80"), synFlags))
		require.EqualValues(t, 1, n.Stats().ReleasesPending)
		log.left = 1
		n.expire()
		require.Zero(t, n.Stats().ReleasesPending)
		require.Equal(t, 1, n.index(t).Len(), "what was recorded of b is cancelled")
		require.True(t, n.RemoveStatic("a", n.now))
		var closing *natcore.CloseError
		require.ErrorAs(t, n.Close(n.now), &closing)
		require.Equal(t, 1, closing.Pending)
		log.left = 1
		require.NoError(t, n.Close(n.now))
		require.Zero(t, n.index(t).Open())
		check(t, n)
	}
}

// TestTracesProperty: random static mappings come and go under random traffic. For every packet that is translated the records alone lead from the
// external endpoint and the time to exactly its internal host, or to the servers of its mapping.
func TestTracesProperty(t *testing.T) {
	kinds := []kind{udp, tcp, icmp}
	translated := map[logging.Source]int{}
	rapid.Check(t, func(rt *rapid.T) {
		n := newNAT(rt, func(c *natcore.Config) {
			c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(1024, 1087), BlockSize: 32, MaxBlocks: 2, HoldDown: time.Second, GuardTime: time.Second}
			c.Rules = []natcore.Rule{{Realm: 0, Pool: "cgn"}, {Realm: 1, Pool: "cgn"}}
		})
		names := 0
		name := func(t *rapid.T) string { return string(rune('a' + rapid.IntRange(0, 7).Draw(t, "name"))) }
		draw := func(t *rapid.T, what string, low, high int) int { return rapid.IntRange(low, high).Draw(t, what) }
		rt.Repeat(map[string]func(*rapid.T){
			"out": func(t *rapid.T) {
				k := rapid.SampledFrom(kinds).Draw(t, "kind")
				src := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(draw(t, "host", 2, 6))}), draw(t, "port", 4000, 4008))
				dst := endpoint(server1, 80)
				if k == icmp {
					dst = endpoint(server1, int(src.Port()))
				}
				m := n.leaves(t, natcore.Realm(draw(t, "realm", 0, 1)), k, src, dst, tcpFlags{syn: k != icmp, seq: 1})
				if m.verdict == natcore.Forward && m.src != src {
					n.traced(t, k, m.src, src.Addr())
					translated[logging.Recorded]++
				}
			},
			"in": func(t *rapid.T) {
				k := rapid.SampledFrom(kinds).Draw(t, "kind")
				to := endpoint(netip.AddrFrom4([4]byte{203, 0, 113, byte(draw(t, "external", 5, 8))}), draw(t, "port", 1020, 1088))
				from := client(1, 4000)
				if k == icmp {
					from = endpoint(from.Addr(), int(to.Port()))
				}
				if m := n.comes(t, k, from, to, tcpFlags{syn: k != icmp, seq: 1}); m.verdict == natcore.Forward && m.dst != to {
					n.traced(t, k, to, m.dst.Addr())
					translated[logging.Static]++
				}
			},
			"add": func(t *rapid.T) {
				s := drawStatic(t, string(rune('a'+names%8)))
				s.Sources = nil
				names++
				_ = n.AddStatic([]natcore.Static{s}, natcore.OnConflict(draw(t, "how", 0, 1)), n.now)
				n.wait(2 * time.Millisecond)
			},
			"remove": func(t *rapid.T) {
				n.RemoveStatic(name(t), n.now)
				n.wait(2 * time.Millisecond)
			},
			"servers": func(t *rapid.T) {
				_ = n.SetServers(name(t), servers(1, 1, 1)[draw(t, "from", 0, 2):], n.now)
				n.wait(2 * time.Millisecond)
			},
			"wait": func(t *rapid.T) {
				n.wait(time.Duration(draw(t, "seconds", 1, 400)) * time.Second)
				n.expire()
				n.wait(2 * time.Millisecond)
			},
			"": func(t *rapid.T) {
				require.Empty(t, n.index(t).Verify(0))
			},
		})
		require.NoError(rt, n.Close(n.now))
		require.Zero(rt, n.index(rt).Open())
	})
	require.Positive(t, translated[logging.Recorded])
	require.Positive(t, translated[logging.Static])
}
