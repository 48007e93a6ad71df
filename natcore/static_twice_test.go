package natcore_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// servers lists servers at 10.9.0.1, 10.9.0.2 ... with the weights.
func servers(weights ...int) []natcore.Server {
	var all []natcore.Server
	for i, w := range weights {
		all = append(all, natcore.Server{Internal: endpoint(netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 8080), Weight: w})
	}
	return all
}

func balanced(weights ...int) natcore.Static {
	return natcore.Static{Name: "lb", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Servers: servers(weights...)}
}

// client is a remote host.
func client(i, port int) netip.AddrPort {
	return endpoint(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), port)
}

// TestB28_TwoServers: a client lands on one of two servers, the answer has the external endpoint, the session is told with the mapping's name and can
// be ended.
//
// Rows: B28, B29, B107.
func TestB28_TwoServers(t *testing.T) {
	n := newNAT(t, withStatic(balanced(70, 30)), func(c *natcore.Config) { c.Rules = []natcore.Rule{{Action: natcore.Exempt}} })
	c := client(1, 4000)
	m := n.comes(t, tcp, c, at("203.0.113.5:80"), synFlags)
	require.Equal(t, natcore.Forward, m.verdict)
	require.Contains(t, []netip.AddrPort{at("10.9.0.1:8080"), at("10.9.0.2:8080")}, m.dst)
	require.Equal(t, moved{at("203.0.113.5:80"), c, natcore.Forward, 0, 0}, n.leaves(t, 0, tcp, m.dst, c, synAckFlags))
	// The server itself stays as it is for everybody else.
	require.Equal(t, natcore.Bypass, n.comes(t, tcp, client(2, 4000), m.dst, synFlags).verdict)
	require.Equal(t, natcore.Bypass, n.leaves(t, 0, tcp, m.dst, client(2, 4000), synAckFlags).verdict)

	info := n.only(t)
	require.Equal(t, "lb", info.Static)
	require.Equal(t, []netip.AddrPort{m.dst, at("203.0.113.5:80"), c, c}, []netip.AddrPort{info.Internal, info.External, info.Remote, info.Seen})
	require.True(t, n.EndSession(info, n.now))
	require.False(t, n.EndSession(info, n.now))
	require.Zero(t, n.Stats().StaticSessions)
	require.Equal(t, dropped(natcore.ReasonNoSession), n.comes(t, tcp, c, at("203.0.113.5:80"), ackFlags))
	check(t, n)
}

// TestB30_Affinity: all sessions of a client go to one server, one after the other and at once; BySession spreads them. With an
// affinity in time a client keeps its server when others come.
//
// Rows: B30.
func TestB30_Affinity(t *testing.T) {
	for _, affinity := range []time.Duration{0, time.Hour} {
		s := balanced(1, 1)
		s.Affinity = affinity
		n := newNAT(t, withStatic(s))
		first := n.comes(t, tcp, client(1, 1000), at("203.0.113.5:80"), synFlags).dst
		require.True(t, n.EndSession(n.only(t), n.now))
		for i := range 70 {
			require.Equal(t, first, n.comes(t, tcp, client(1, 1001+i), at("203.0.113.5:80"), synFlags).dst)
		}
	}
	s := balanced(1, 1)
	s.Balance = natcore.BySession
	n := newNAT(t, withStatic(s))
	seen := map[netip.AddrPort]int{}
	for i := range 70 {
		seen[n.comes(t, tcp, client(1, 1001+i), at("203.0.113.5:80"), synFlags).dst]++
	}
	require.Len(t, seen, 2)

	s = balanced(1)
	s.Affinity = time.Minute
	n = newNAT(t, withStatic(s))
	for i := range 20 {
		n.comes(t, tcp, client(i, 1000), at("203.0.113.5:80"), synFlags)
	}
	require.NoError(t, n.SetServers("lb", servers(1, 1000), n.now))
	for i := range 20 {
		require.Equal(t, at("10.9.0.1:8080"), n.comes(t, tcp, client(i, 1001), at("203.0.113.5:80"), synFlags).dst)
	}
	n.wait(time.Minute)
	moved := 0
	for i := range 20 {
		if n.comes(t, tcp, client(i, 1002), at("203.0.113.5:80"), synFlags).dst == at("10.9.0.2:8080") {
			moved++
		}
	}
	require.Greater(t, moved, 15)
}

// TestB31_ChangingServers: shares follow the weights; a further server gets some clients, and only what it gets moves; one that goes gets no new
// session while its live ones go on.
//
// Rows: B31.
func TestB31_ChangingServers(t *testing.T) {
	n := newNAT(t, withStatic(balanced(90, 10)))
	where := func(port, clients int) map[int]netip.AddrPort {
		got := map[int]netip.AddrPort{}
		for i := range clients {
			got[i] = n.comes(t, tcp, client(i, port), at("203.0.113.5:80"), synFlags).dst
		}
		return got
	}
	count := func(got map[int]netip.AddrPort, server int) (c int) {
		for _, to := range got {
			if to.Addr() == netip.AddrFrom4([4]byte{10, 9, 0, byte(server)}) {
				c++
			}
		}
		return c
	}
	before := where(1000, 2000)
	require.InDelta(t, 1800, count(before, 1), 80)
	require.Equal(t, 2000, count(before, 1)+count(before, 2))

	require.NoError(t, n.SetServers("lb", servers(90, 10, 100), n.now))
	more := where(1001, 2000)
	require.InDelta(t, 1000, count(more, 3), 120)
	for i, to := range more {
		require.True(t, to == before[i] || to == at("10.9.0.3:8080"), "client %d moved from %v to %v", i, before[i], to)
	}

	require.NoError(t, n.SetServers("lb", servers(90, 10, 100)[1:], n.now))
	less := where(1002, 2000)
	require.Zero(t, count(less, 1))
	require.Positive(t, count(less, 2))
	for i, to := range before {
		require.Equal(t, moved{to, client(i, 1000), natcore.Forward, 0, 0}, moved{
			to, client(i, 1000), n.comes(t, tcp, client(i, 1000), at("203.0.113.5:80"), ackFlags).verdict, 0, 0,
		})
		require.Equal(t, at("203.0.113.5:80"), n.leaves(t, 0, tcp, to, client(i, 1000), synAckFlags).src, "a server that is gone keeps its sessions")
	}
	check(t, n)
	require.ErrorContains(t, n.SetServers("lb", nil, n.now), "at least one server")
	require.ErrorContains(t, n.SetServers("other", servers(1), n.now), "must be that of a static mapping")
}

// TestB32_TwiceNAT: a client becomes one of the sources with a port of its own; the answer is restored; the session can be ended. With several
// servers too.
//
// Rows: B32.
func TestB32_TwiceNAT(t *testing.T) {
	single := natcore.Static{Name: "lb", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Internal: ip("10.9.0.1"), InternalPort: 8080}
	for name, s := range map[string]natcore.Static{"one": single, "several": balanced(1, 1)} {
		t.Run(name, func(t *testing.T) {
			s.Sources = alloc.MustParseRanges("10.255.0.0/30")
			n := newNAT(t, withStatic(s))
			seen := map[netip.AddrPort]bool{}
			for i := range 50 {
				c := client(i, 4000)
				m := n.comes(t, tcp, c, at("203.0.113.5:80"), synFlags)
				require.Equal(t, natcore.Forward, m.verdict, "%v", m.why)
				require.True(t, netip.MustParsePrefix("10.255.0.0/30").Contains(m.src.Addr()))
				require.False(t, seen[m.src], "two clients share %v", m.src)
				seen[m.src] = true
				require.Equal(t, moved{at("203.0.113.5:80"), c, natcore.Forward, 0, 0}, n.leaves(t, 0, tcp, m.dst, m.src, synAckFlags))
				require.Equal(t, m, n.comes(t, tcp, c, at("203.0.113.5:80"), ackFlags))
			}
			check(t, n)
			for info := range n.Sessions() {
				require.True(t, seen[info.Seen])
				require.True(t, n.EndSession(info, n.now))
			}
			require.Zero(t, n.Stats().StaticSessions)
			check(t, n)
			// What stood for a client is nobody's now, and never leaves untranslated.
			require.Equal(t, dropped(natcore.ReasonNoSession), n.leaves(t, 0, tcp, at("10.9.0.1:8080"), at("10.255.0.1:2000"), synFlags))
		})
	}
}

// TestB32_OneClientIsSeenAsOne: a client's endpoint has one source for all services, as long as the answers can be told apart, and the source rests after use.
//
// Rows: B32.
func TestB32_OneClientIsSeenAsOne(t *testing.T) {
	s := natcore.Static{
		Name: "two", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 80, Ports: 2, Internal: ip("10.9.0.1"), InternalPort: 8080,
		Sources: alloc.MustParseRanges("10.255.0.1"),
	}
	n := newNAT(t, withStatic(s))
	a := n.comes(t, udp, client(1, 4000), at("203.0.113.5:80"), synFlags)
	b := n.comes(t, udp, client(1, 4000), at("203.0.113.5:81"), synFlags)
	c := n.comes(t, udp, client(1, 4001), at("203.0.113.5:81"), synFlags)
	require.Equal(t, a.src, b.src)
	require.NotEqual(t, a.src, c.src)
	check(t, n)
}

// TestB33_SelfTwiceNAT: the source is translated only when the client is the server itself; with several servers it depends on
// which of them serves it.
//
// Rows: B33.
func TestB33_SelfTwiceNAT(t *testing.T) {
	s := natcore.Static{
		Name: "self", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Internal: ip("10.9.0.1"), InternalPort: 8080, InboundOnly: true,
		Sources: alloc.MustParseRanges("10.255.0.1"), Twice: natcore.TwiceSelf,
	}
	exempt := func(c *natcore.Config) { c.Rules = []natcore.Rule{{Action: natcore.Exempt}} }
	n := newNAT(t, withStatic(s), exempt)
	m := n.leaves(t, 0, tcp, at("10.9.0.1:5000"), at("203.0.113.5:80"), synFlags)
	require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
	require.Equal(t, at("10.9.0.1:8080"), m.dst)
	require.Equal(t, ip("10.255.0.1"), m.src.Addr())
	require.Equal(t, hairpinned("203.0.113.5:80", "10.9.0.1:5000", 0), n.leaves(t, 0, tcp, at("10.9.0.1:8080"), m.src, synAckFlags))
	require.Equal(t, m, n.leaves(t, 0, tcp, at("10.9.0.1:5000"), at("203.0.113.5:80"), ackFlags))
	// Another host of the realm, and one from outside, keep their source.
	require.Equal(t, hairpinned("10.9.0.7:5000", "10.9.0.1:8080", 0), n.leaves(t, 0, tcp, at("10.9.0.7:5000"), at("203.0.113.5:80"), synFlags))
	require.Equal(t, client(1, 5000), n.comes(t, tcp, client(1, 5000), at("203.0.113.5:80"), synFlags).src)
	check(t, n)

	s.Internal, s.InternalPort, s.Servers, s.Name = netip.Addr{}, 0, servers(1, 1, 1), "lb"
	n = newNAT(t, withStatic(s), exempt)
	self := 0
	for i := range 3 {
		from := netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)})
		for port := range 20 {
			m := n.leaves(t, 0, tcp, endpoint(from, 5000+port), at("203.0.113.5:80"), synFlags)
			require.Equal(t, natcore.Hairpin, m.verdict)
			require.Equal(t, m.dst.Addr() == from, m.src.Addr() == ip("10.255.0.1"), "%v", m)
			if m.dst.Addr() == from {
				self++
			}
			require.Equal(t, hairpinned("203.0.113.5:80", fmt.Sprintf("%v:%d", from, 5000+port), 0), n.leaves(t, 0, tcp, m.dst, m.src, synAckFlags))
		}
	}
	t.Logf("%d sessions of servers to themselves", self)
	check(t, n)
}

// TestSelfByExternalEndpoint: where a rule translates the server's source it comes with an external endpoint, and nothing else is needed.
//
// Rows: B35.
func TestSelfByExternalEndpoint(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{
		Name: "web", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Internal: ip("10.9.0.1"), InternalPort: 8080, InboundOnly: true,
	}))
	m := n.leaves(t, 0, tcp, at("10.9.0.1:5000"), at("203.0.113.5:80"), synFlags)
	require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
	require.True(t, n.External(m.src.Addr()))
	require.Equal(t, hairpinned("203.0.113.5:80", "10.9.0.1:5000", 0), n.leaves(t, 0, tcp, at("10.9.0.1:8080"), m.src, synAckFlags))
}

// TestStaticLimits: sessions that strangers begin are bounded, for each mapping and in all, and nothing that lives is evicted.
func TestStaticLimits(t *testing.T) {
	s := balanced(1)
	s.MaxSessions = 5
	n := newNAT(t, withStatic(s, natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}), func(c *natcore.Config) {
		c.Limits.StaticSessions = 8
	})
	for i := range 10 {
		m := n.comes(t, tcp, client(i, 4000), at("203.0.113.5:80"), synFlags)
		if i < 5 {
			require.Equal(t, natcore.Forward, m.verdict)
		} else {
			require.Equal(t, dropped(natcore.ReasonSessionLimit), m)
		}
	}
	for i := range 5 {
		require.Equal(t, i < 3, n.leaves(t, 0, udp, endpoint(hostA, 1000+i), client(1, 53), synFlags).verdict == natcore.Forward)
	}
	require.Equal(t, natcore.Forward, n.comes(t, tcp, client(0, 4000), at("203.0.113.5:80"), ackFlags).verdict)
	n.wait(30 * time.Second)
	n.expire()
	require.Equal(t, natcore.Forward, n.comes(t, tcp, client(9, 4000), at("203.0.113.5:80"), synFlags).verdict)
	check(t, n)
}

// TestStaticConflict: two mappings to one server cannot serve one remote endpoint at once: answers could not be told apart. Twice NAT can.
func TestStaticConflict(t *testing.T) {
	for _, sources := range []string{"", "10.255.0.1"} {
		a := natcore.Static{Name: "a", Protocol: 17, External: ip("192.0.2.1"), ExternalPort: 80, Internal: hostA, InboundOnly: true}
		if sources != "" {
			a.Sources = alloc.MustParseRanges(sources)
		}
		b := a
		b.Name, b.External = "b", ip("192.0.2.2")
		n := newNAT(t, withStatic(a, b))
		x := n.comes(t, udp, client(1, 4000), at("192.0.2.1:80"), synFlags)
		require.Equal(t, natcore.Forward, x.verdict)
		y := n.comes(t, udp, client(1, 4000), at("192.0.2.2:80"), synFlags)
		if sources == "" {
			require.Equal(t, dropped(natcore.ReasonConflict), y)
		} else {
			require.Equal(t, at("192.0.2.2:80"), n.leaves(t, 0, udp, y.dst, y.src, synFlags).src)
			require.Equal(t, at("192.0.2.1:80"), n.leaves(t, 0, udp, x.dst, x.src, synFlags).src)
		}
		check(t, n)
	}
	// A dynamic session of the server to the same remote endpoint is in the way as well.
	n := newNAT(t, withStatic(natcore.Static{Name: "a", Protocol: 17, External: ip("192.0.2.1"), ExternalPort: 80, Internal: hostA, InboundOnly: true}))
	n.out(t, udp, endpoint(hostA, 80), client(1, 4000))
	require.Equal(t, dropped(natcore.ReasonConflict), n.comes(t, udp, client(1, 4000), at("192.0.2.1:80"), synFlags))
	require.Equal(t, natcore.Forward, n.comes(t, udp, client(2, 4000), at("192.0.2.1:80"), synFlags).verdict)
}

// TestRFC3828_Static: UDP-Lite through a port of all protocols, a 1:1 address and twice NAT: ports are translated, payload and coverage stay.
func TestRFC3828_Static(t *testing.T) {
	n := newNAT(t, withStatic(
		natcore.Static{Name: "port", External: ip("203.0.113.5"), ExternalPort: 2000, Internal: ip("10.9.0.1"), InternalPort: 80, Sources: alloc.MustParseRanges("10.255.0.1")},
		natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostB},
		natcore.Static{Name: "udp", Protocol: 17, External: ip("203.0.113.6"), ExternalPort: 2000, Internal: ip("10.9.0.1"), InternalPort: 81},
		natcore.Static{Name: "lite", Protocol: 136, External: ip("203.0.113.6"), ExternalPort: 2000, Internal: ip("10.9.0.2"), InternalPort: 81},
	))
	payload := []byte("some words")
	c := client(1, 4000)
	for _, to := range []struct{ external, internal string }{
		{"203.0.113.5:2000", "10.9.0.1:80"}, {"192.0.2.9:7", "10.0.0.3:7"}, {"203.0.113.6:2000", "10.9.0.2:81"},
	} {
		b := udpLite(t, c, at(to.external), 9, payload)
		src, dst := n.lite(t, natcore.Inbound, natcore.Forward, b)
		require.Equal(t, at(to.internal), dst)
		require.Equal(t, udpLite(t, src, dst, 9, payload), b)
		b = udpLite(t, dst, src, 0, payload)
		n.lite(t, natcore.Outbound, natcore.Forward, b)
		require.Equal(t, udpLite(t, at(to.external), c, 0, payload), b)
	}
	require.Equal(t, at("10.9.0.1:81"), n.comes(t, udp, c, at("203.0.113.6:2000"), synFlags).dst)
	check(t, n)

	// A dynamic mapping of UDP-Lite is in the way of a static port of UDP: they share the ports.
	b := udpLite(t, endpoint(hostA, 4000), c, 0, payload)
	held, _ := n.lite(t, natcore.Outbound, natcore.Forward, b)
	s := natcore.Static{Name: "late", Protocol: 17, External: held.Addr(), ExternalPort: held.Port(), Internal: hostB, InboundOnly: true}
	var conflict *natcore.ConflictError
	require.ErrorAs(t, n.AddStatic([]natcore.Static{s}, natcore.RefuseConflicts, n.now), &conflict)
	require.EqualValues(t, 136, conflict.Conflicts[0].Protocol)
	require.NoError(t, n.AddStatic([]natcore.Static{s}, natcore.RetireConflicts, n.now))
	check(t, n)
	again, _ := n.lite(t, natcore.Outbound, natcore.Forward, udpLite(t, endpoint(hostA, 4000), c, 0, payload))
	require.NotEqual(t, held, again)
}
