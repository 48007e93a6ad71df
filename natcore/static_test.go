package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// moved is what became of a packet.
type moved struct {
	src, dst netip.AddrPort
	verdict  natcore.Verdict
	why      natcore.Reason
	realm    natcore.Realm
}

var (
	synFlags    = tcpFlags{syn: true, seq: 1000}
	synAckFlags = tcpFlags{syn: true, ack: true, seq: 5000}
	ackFlags    = tcpFlags{ack: true, seq: 1001}
)

// move sends a packet through and requires that checksums and payload stay right, and that a dropped one is as it came.
func (n *nat) move(t failer, d natcore.Direction, realm natcore.Realm, k kind, src, dst netip.AddrPort, f tcpFlags) moved {
	t.Helper()
	p := natcore.Packet{Bytes: build(t, k, src, dst, []byte("static"), f), Direction: d, Realm: realm}
	before := string(p.Bytes)
	batch := []natcore.Packet{p}
	n.Process(batch, n.now)
	p = batch[0]
	if p.Verdict == natcore.Drop {
		require.Equal(t, before, string(p.Bytes), "a dropped packet is as it came")
		return moved{verdict: p.Verdict, why: p.Reason}
	}
	s := read(t, p.Bytes)
	require.True(t, s.right && s.rightIP, "checksums of %x", p.Bytes)
	require.Equal(t, "static", string(s.payload))
	return moved{s.src, s.dst, p.Verdict, natcore.ReasonNone, p.Realm}
}

// comes is a packet from the external realm, leaves one of a realm.
func (n *nat) comes(t failer, k kind, src, dst netip.AddrPort, f tcpFlags) moved {
	t.Helper()
	return n.move(t, natcore.Inbound, 0, k, src, dst, f)
}

func (n *nat) leaves(t failer, realm natcore.Realm, k kind, src, dst netip.AddrPort, f tcpFlags) moved {
	t.Helper()
	return n.move(t, natcore.Outbound, realm, k, src, dst, f)
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func ip(s string) netip.Addr     { return netip.MustParseAddr(s) }

// forwarded is a packet that goes on outside or comes in to a realm.
func forwarded(src, dst string, realm natcore.Realm) moved {
	return moved{at(src), at(dst), natcore.Forward, natcore.ReasonNone, realm}
}

func hairpinned(src, dst string, realm natcore.Realm) moved {
	return moved{at(src), at(dst), natcore.Hairpin, natcore.ReasonNone, realm}
}

func dropped(why natcore.Reason) moved { return moved{verdict: natcore.Drop, why: why} }

func withStatic(s ...natcore.Static) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Static = append(c.Static, s...) }
}

// TestB63_PortForwarding: 1:1 and 1:1 with port, opened from inside and from outside, keep or map ports as set.
//
// Rows: B63.
func TestB63_PortForwarding(t *testing.T) {
	for _, inPool := range []string{"203.0.113.5", "192.0.2.9"} {
		n := newNAT(t, withStatic(natcore.Static{
			Name: "web", Protocol: 6, External: ip(inPool), ExternalPort: 80, Internal: hostA, InternalPort: 8080,
		}))
		require.True(t, n.External(ip(inPool)))
		c := "198.51.100.10:5000"
		require.Equal(t, forwarded(c, "10.0.0.2:8080", 0), n.comes(t, tcp, at(c), endpoint(ip(inPool), 80), synFlags))
		require.Equal(t, forwarded(inPool+":80", c, 0), n.leaves(t, 0, tcp, at("10.0.0.2:8080"), at(c), synAckFlags))
		require.Equal(t, forwarded(c, "10.0.0.2:8080", 0), n.comes(t, tcp, at(c), endpoint(ip(inPool), 80), ackFlags))

		// From inside the same endpoint leaves by the mapping; other ports of the host do not.
		require.Equal(t, forwarded(inPool+":80", "198.51.100.20:443", 0), n.leaves(t, 0, tcp, at("10.0.0.2:8080"), at("198.51.100.20:443"), synFlags))
		other := n.leaves(t, 0, tcp, at("10.0.0.2:8081"), at("198.51.100.20:443"), synFlags)
		require.Equal(t, natcore.Forward, other.verdict)
		require.NotEqual(t, at(inPool+":80"), other.src)

		// UDP of the same port is not the mapping's.
		require.Equal(t, natcore.Drop, n.comes(t, udp, at(c), endpoint(ip(inPool), 80), synFlags).verdict)
		// A segment of no session is not let in.
		require.Equal(t, dropped(natcore.ReasonNoSession), n.comes(t, tcp, at("198.51.100.10:5001"), endpoint(ip(inPool), 80), ackFlags))
		check(t, n)
	}
}

// TestB62_WholeAddress: a 1:1 host is reached with all ports and pings, which keep their identifiers, and leaves with its address.
//
// Rows: B62, B19.
func TestB62_WholeAddress(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}))
	c := "198.51.100.10:5000"
	for _, k := range []kind{udp, tcp} {
		require.Equal(t, forwarded(c, "10.0.0.2:7777", 0), n.comes(t, k, at(c), at("192.0.2.9:7777"), synFlags))
		require.Equal(t, forwarded("192.0.2.9:7777", c, 0), n.leaves(t, 0, k, at("10.0.0.2:7777"), at(c), synAckFlags))
		require.Equal(t, forwarded("192.0.2.9:1", "198.51.100.20:53", 0), n.leaves(t, 0, k, at("10.0.0.2:1"), at("198.51.100.20:53"), synFlags))
		require.Equal(t, forwarded("198.51.100.20:53", "10.0.0.2:1", 0), n.comes(t, k, at("198.51.100.20:53"), at("192.0.2.9:1"), synAckFlags))
	}
	ping := n.comes(t, icmp, endpoint(server1, 77), endpoint(ip("192.0.2.9"), 0), tcpFlags{})
	require.Equal(t, forwarded("198.51.100.10:77", "10.0.0.2:77", 0), ping)
	reply := n.leaves(t, 0, icmp, endpoint(hostA, 0), endpoint(server1, 77), tcpFlags{ack: true})
	require.Equal(t, forwarded("192.0.2.9:77", "198.51.100.10:77", 0), reply)
	require.EqualValues(t, 5, n.Stats().StaticSessions)
	check(t, n)
}

// TestB66_Identity: an identity mapping passes untouched and makes no session.
//
// Rows: B66, B43.
func TestB66_Identity(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "same", Realm: 3, External: ip("192.0.2.9"), Internal: ip("192.0.2.9")}))
	m := n.leaves(t, 3, udp, at("192.0.2.9:500"), at("198.51.100.10:500"), synFlags)
	require.Equal(t, moved{at("192.0.2.9:500"), at("198.51.100.10:500"), natcore.Bypass, 0, 3}, m)
	m = n.comes(t, udp, at("198.51.100.10:500"), at("192.0.2.9:500"), synFlags)
	require.Equal(t, moved{at("198.51.100.10:500"), at("192.0.2.9:500"), natcore.Bypass, 0, 3}, m)
	require.Zero(t, n.Stats().StaticSessions)
}

// TestB27_InboundOnly: inbound is translated and answered; the internal host's own sessions and direct traffic are not the mapping's.
//
// Rows: B27, B34.
func TestB27_InboundOnly(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{
		Name: "web", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostA, InternalPort: 8080, InboundOnly: true,
	}), func(c *natcore.Config) { c.Rules = []natcore.Rule{{Action: natcore.Exempt}} })
	c := "198.51.100.10:5000"
	require.Equal(t, forwarded(c, "10.0.0.2:8080", 0), n.comes(t, tcp, at(c), at("203.0.113.5:80"), synFlags))
	require.Equal(t, forwarded("203.0.113.5:80", c, 0), n.leaves(t, 0, tcp, at("10.0.0.2:8080"), at(c), synAckFlags))
	// Another client writes to the server itself: the rule exempts both directions.
	direct := n.comes(t, tcp, at("198.51.100.20:6000"), at("10.0.0.2:8080"), synFlags)
	require.Equal(t, moved{at("198.51.100.20:6000"), at("10.0.0.2:8080"), natcore.Bypass, 0, 0}, direct)
	direct = n.leaves(t, 0, tcp, at("10.0.0.2:8080"), at("198.51.100.20:6000"), synAckFlags)
	require.Equal(t, moved{at("10.0.0.2:8080"), at("198.51.100.20:6000"), natcore.Bypass, 0, 0}, direct)
}

// TestB17_StaticBesideExemption: with an exemption of all, the mapped host is translated and another host is not.
//
// Rows: B17.
func TestB17_StaticBesideExemption(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}), func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Remote: netip.MustParsePrefix("198.51.100.20/32"), Action: natcore.Exempt}, {Action: natcore.Exempt}}
	})
	require.Equal(t, forwarded("192.0.2.9:4000", "198.51.100.10:80", 0), n.leaves(t, 0, udp, at("10.0.0.2:4000"), at("198.51.100.10:80"), synFlags))
	require.Equal(t, natcore.Bypass, n.leaves(t, 0, udp, at("10.0.0.3:4000"), at("198.51.100.10:80"), synFlags).verdict)
	// A rule about certain remotes goes first.
	require.Equal(t, natcore.Bypass, n.leaves(t, 0, udp, at("10.0.0.2:4000"), at("198.51.100.20:80"), synFlags).verdict)
}

// TestH51_PortRanges: ranges of ports and of addresses lead one by one, both ways.
//
// Rows: H51.
func TestH51_PortRanges(t *testing.T) {
	n := newNAT(t, withStatic(
		natcore.Static{Name: "range", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 30000, Ports: 100, Internal: hostA, InternalPort: 100},
		natcore.Static{Name: "net", External: ip("192.0.2.16"), Addresses: 16, Internal: ip("10.1.0.240")},
	))
	for i := range 100 {
		c := endpoint(server1, 4000)
		got := n.comes(t, udp, c, endpoint(ip("203.0.113.5"), 30000+i), synFlags)
		require.Equal(t, moved{c, endpoint(hostA, 100+i), natcore.Forward, 0, 0}, got)
		got = n.leaves(t, 0, udp, endpoint(hostA, 100+i), endpoint(server2, 9), synFlags)
		require.Equal(t, endpoint(ip("203.0.113.5"), 30000+i), got.src)
	}
	for i := range 16 {
		external, internal := netip.AddrFrom4([4]byte{192, 0, 2, byte(16 + i)}), netip.AddrFrom4([4]byte{10, 1, 0, byte(240 + i)})
		require.True(t, n.External(external))
		require.Equal(t, endpoint(internal, 53), n.comes(t, udp, endpoint(server1, 4000), endpoint(external, 53), synFlags).dst)
		require.Equal(t, endpoint(external, 1000), n.leaves(t, 0, udp, endpoint(internal, 1000), endpoint(server1, 9), synFlags).src)
	}
	require.False(t, n.External(ip("192.0.2.32")))
	require.False(t, n.External(ip("192.0.2.15")))
	check(t, n)
}

// TestB64_Realms: a mapping is of its realm's host alone; the same internal address in another realm is another host.
//
// Rows: B64, B68, H31.
func TestB64_Realms(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Realm: 1, Pool: "cgn"}, {Realm: 2, Pool: "cgn"}}
		c.Static = []natcore.Static{
			{Name: "one", Realm: 1, External: ip("192.0.2.1"), Internal: hostA},
			{Name: "two", Realm: 2, External: ip("192.0.2.2"), Internal: hostA},
		}
	})
	for realm, external := range map[natcore.Realm]string{1: "192.0.2.1:4000", 2: "192.0.2.2:4000"} {
		require.Equal(t, at(external), n.leaves(t, realm, udp, at("10.0.0.2:4000"), at("198.51.100.10:80"), synFlags).src)
		require.Equal(t, forwarded("198.51.100.10:80", "10.0.0.2:4000", realm), n.comes(t, udp, at("198.51.100.10:80"), at(external), synFlags))
	}
	// Hairpin from one realm to the other, by the external address.
	require.Equal(t, hairpinned("192.0.2.1:4001", "10.0.0.2:4001", 2), n.leaves(t, 1, udp, at("10.0.0.2:4001"), at("192.0.2.2:4001"), synFlags))
	require.Equal(t, hairpinned("192.0.2.2:4001", "10.0.0.2:4001", 1), n.leaves(t, 2, udp, at("10.0.0.2:4001"), at("192.0.2.1:4001"), synFlags))
	require.Equal(t, dropped(natcore.ReasonNoRule), n.leaves(t, 3, udp, at("10.0.0.2:4000"), at("198.51.100.10:80"), synFlags))
}

// TestB69_HairpinByStatic: client and server, server and server, with each protocol, through ports and whole addresses.
//
// Rows: B69, B40.
func TestB69_HairpinByStatic(t *testing.T) {
	n := newNAT(t, withStatic(
		natcore.Static{Name: "port", External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostA, InternalPort: 8080},
		natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostB},
	))
	client := "10.0.0.9:5000"
	for _, k := range []kind{tcp, udp} {
		m := n.leaves(t, 0, k, at(client), at("203.0.113.5:80"), synFlags)
		require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
		require.Equal(t, at("10.0.0.2:8080"), m.dst)
		require.True(t, n.External(m.src.Addr()))
		answer := n.leaves(t, 0, k, at("10.0.0.2:8080"), m.src, synAckFlags)
		require.Equal(t, hairpinned("203.0.113.5:80", client, 0), answer)

		m = n.leaves(t, 0, k, at("10.0.0.3:7000"), at("203.0.113.5:80"), synFlags)
		require.Equal(t, hairpinned("192.0.2.9:7000", "10.0.0.2:8080", 0), m)
		require.Equal(t, hairpinned("203.0.113.5:80", "10.0.0.3:7000", 0), n.leaves(t, 0, k, at("10.0.0.2:8080"), m.src, synAckFlags))
	}
	m := n.leaves(t, 0, icmp, at("10.0.0.9:7"), at("192.0.2.9:0"), tcpFlags{})
	require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
	require.Equal(t, hostB, m.dst.Addr())
	reply := n.leaves(t, 0, icmp, at("10.0.0.3:0"), m.src, tcpFlags{ack: true})
	require.Equal(t, natcore.Hairpin, reply.verdict, "%v", reply.why)
	require.Equal(t, at("10.0.0.9:7"), reply.dst)
	require.Equal(t, ip("192.0.2.9"), reply.src.Addr())

	// A server reaches itself, once and without a loop.
	m = n.leaves(t, 0, udp, at("10.0.0.3:7000"), at("192.0.2.9:7000"), synFlags)
	require.Equal(t, hairpinned("192.0.2.9:7000", "10.0.0.3:7000", 0), m)
	require.Equal(t, dropped(natcore.ReasonNoMapping), n.leaves(t, 0, udp, at(client), at("203.0.113.5:81"), synFlags))
	check(t, n)
}

// TestH55_DynamicNeverTakesStaticPorts: a pool of one address gives out each of its ports but the static ones, of the protocol that they are of.
//
// Rows: H55.
func TestH55_DynamicNeverTakesStaticPorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(1024, 2047), MaxBlocks: 4}
		c.Static = []natcore.Static{
			{Name: "a", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 1500, Ports: 300, Internal: ip("10.9.0.1")},
			{Name: "b", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 1024, Internal: ip("10.9.0.1")},
		}
	})
	for k, want := range map[kind]int{udp: 1024 - 300, tcp: 1023} {
		seen := map[uint16]bool{}
		for i := range 1100 {
			m := n.leaves(t, 0, k, endpoint(hostA, 2000+i), endpoint(server1, 80), synFlags)
			if m.verdict == natcore.Drop {
				break
			}
			require.False(t, seen[m.src.Port()])
			seen[m.src.Port()] = true
			require.False(t, k == udp && m.src.Port() >= 1500 && m.src.Port() < 1800, "%v", m.src)
			require.False(t, k == tcp && m.src.Port() == 1024)
		}
		require.Len(t, seen, want, "%v", k)
	}
	check(t, n)
}

// TestWholeStaticAddressOfPoolServesNobodyElse: the pool's other address serves all subscribers.
func TestWholeStaticAddressOfPoolServesNobodyElse(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "one", External: ip("203.0.113.5"), Internal: ip("10.9.0.1")}))
	for i := range 50 {
		m := n.leaves(t, 0, udp, endpoint(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 4000), endpoint(server1, 80), synFlags)
		require.Equal(t, ip("203.0.113.6"), m.src.Addr(), "%v", m.why)
	}
	check(t, n)
}

// TestStaticFiltering: who may begin a session from outside.
func TestStaticFiltering(t *testing.T) {
	mapping := natcore.Static{Name: "one", Protocol: 17, External: ip("192.0.2.9"), ExternalPort: 53, Internal: hostA}
	restricted := mapping
	restricted.Remotes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28")}
	n := newNAT(t, withStatic(restricted))
	require.Equal(t, natcore.Forward, n.comes(t, udp, endpoint(server1, 1), at("192.0.2.9:53"), synFlags).verdict)
	require.Equal(t, dropped(natcore.ReasonFiltered), n.comes(t, udp, endpoint(server2, 1), at("192.0.2.9:53"), synFlags))

	for filtering, want := range map[natcore.Behaviour][2]natcore.Verdict{
		natcore.AddressDependent: {natcore.Forward, natcore.Drop}, natcore.AddressAndPortDependent: {natcore.Drop, natcore.Drop},
	} {
		m := mapping
		m.Filtering = filtering
		n := newNAT(t, withStatic(m))
		require.Equal(t, dropped(natcore.ReasonFiltered), n.comes(t, udp, endpoint(server1, 7), at("192.0.2.9:53"), synFlags))
		require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, endpoint(hostA, 53), endpoint(server1, 7), synFlags).verdict)
		require.Equal(t, natcore.Forward, n.comes(t, udp, endpoint(server1, 7), at("192.0.2.9:53"), synFlags).verdict)
		require.Equal(t, want[0], n.comes(t, udp, endpoint(server1, 8), at("192.0.2.9:53"), synFlags).verdict)
		require.Equal(t, want[1], n.comes(t, udp, endpoint(server2, 7), at("192.0.2.9:53"), synFlags).verdict)
		n.wait(301 * time.Second)
		n.expire()
		require.Equal(t, dropped(natcore.ReasonFiltered), n.comes(t, udp, endpoint(server1, 8), at("192.0.2.9:53"), synFlags))
		require.Zero(t, n.Stats().StaticSessions)
		check(t, n)
	}
}

// TestStaticSessionsEnd: static sessions have the idle times of others; one that a stranger began and nobody answered ends soon.
func TestStaticSessionsEnd(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA}))
	sessions := func() int { n.expire(); return int(n.Stats().StaticSessions) }
	c := "198.51.100.10:5000"
	n.comes(t, udp, at(c), at("192.0.2.9:53"), synFlags)
	n.wait(30 * time.Second)
	require.Zero(t, sessions())
	n.comes(t, udp, at(c), at("192.0.2.9:53"), synFlags)
	n.leaves(t, 0, udp, at("10.0.0.2:53"), at(c), synFlags)
	n.wait(299 * time.Second)
	require.Equal(t, 1, sessions())
	n.wait(time.Second)
	require.Zero(t, sessions())

	// A connection opens, closes with FINs of both ends, and ends 240 s later, whatever its ends still send.
	open := func() {
		n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{syn: true, seq: 100})
		n.leaves(t, 0, tcp, at("10.0.0.2:80"), at(c), tcpFlags{syn: true, ack: true, seq: 900})
		n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{ack: true, seq: 101})
	}
	open()
	n.wait(7439 * time.Second)
	require.Equal(t, 1, sessions())
	n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{ack: true, fin: true, seq: 107})
	n.leaves(t, 0, tcp, at("10.0.0.2:80"), at(c), tcpFlags{fin: true, ack: true, seq: 901})
	n.wait(239 * time.Second)
	require.Equal(t, natcore.Forward, n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{ack: true, seq: 114}).verdict)
	n.wait(time.Second)
	require.Zero(t, sessions())
	require.Equal(t, dropped(natcore.ReasonNoSession), n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{ack: true, seq: 114}))

	// A reset counts only when it is the very next segment.
	open()
	n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{rst: true, seq: 5000})
	n.wait(241 * time.Second)
	require.Equal(t, 1, sessions())
	n.comes(t, tcp, at(c), at("192.0.2.9:80"), tcpFlags{rst: true, seq: 107})
	n.wait(240 * time.Second)
	require.Zero(t, sessions())
}

// TestRFC5508_07b_OneToOneHostsPingEachOther: hosts with addresses of their own ping each other by these; the identifier stays, and the answer finds back.
func TestRFC5508_07b_OneToOneHostsPingEachOther(t *testing.T) {
	n := newNAT(t, withStatic(
		natcore.Static{Name: "a", External: ip("192.0.2.8"), Internal: hostA}, natcore.Static{Name: "b", External: ip("192.0.2.9"), Internal: hostB},
	))
	require.Equal(t, hairpinned("192.0.2.8:77", "10.0.0.3:77", 0), n.leaves(t, 0, icmp, endpoint(hostA, 77), at("192.0.2.9:0"), tcpFlags{}))
	require.Equal(t, hairpinned("192.0.2.9:77", "10.0.0.2:77", 0), n.leaves(t, 0, icmp, endpoint(hostB, 0), at("192.0.2.8:77"), tcpFlags{ack: true}))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.leaves(t, 0, icmp, endpoint(hostB, 0), at("192.0.2.8:78"), tcpFlags{ack: true}))
	check(t, n)
}
