package natcore_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestB66_IdentityErrorsAndHairpin: errors about an identity host's packets pass untouched both ways; it reaches others by their external endpoints, and they it.
//
// Rows: B66.
func TestB66_IdentityErrorsAndHairpin(t *testing.T) {
	same := ip("192.0.2.9")
	n := newNAT(t, withStatic(
		natcore.Static{Name: "same", External: same, Internal: same},
		natcore.Static{Name: "port", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostA},
	))
	left := build(t, udp, endpoint(same, 500), endpoint(server1, 500), []byte("x"), synFlags)
	for _, p := range []natcore.Packet{
		n.raw(natcore.Inbound, 0, icmpError(t, router, same, 3, 1, [4]byte{}, left)),
		n.raw(natcore.Outbound, 0, icmpError(t, same, server1, 3, 3, [4]byte{}, build(t, udp, endpoint(server1, 500), endpoint(same, 500), []byte("x"), synFlags))),
	} {
		require.Equal(t, natcore.Bypass, p.Verdict, "%v", p.Reason)
	}
	require.Equal(t, hairpinned("192.0.2.9:500", "10.0.0.2:80", 0), n.leaves(t, 0, udp, endpoint(same, 500), at("203.0.113.5:80"), synFlags))
	require.Equal(t, hairpinned("203.0.113.5:80", "192.0.2.9:500", 0), n.leaves(t, 0, udp, endpoint(hostA, 80), endpoint(same, 500), synFlags))
	m := n.leaves(t, 0, udp, endpoint(hostB, 4000), endpoint(same, 7), synFlags)
	require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
	require.Equal(t, endpoint(same, 7), m.dst)
	check(t, n)
}

// TestProtocolRefusals: rules exempt and refuse protocols without ports as others; nobody takes an external address as source; a log whose losses are counted stops
// nothing.
func TestProtocolRefusals(t *testing.T) {
	n := newNAT(t, withProtocols(47), func(c *natcore.Config) {
		c.Rules = []natcore.Rule{
			{Internal: prefix("10.0.0.2/32"), Action: natcore.Exempt}, {Internal: prefix("10.0.0.3/32"), Action: natcore.Refuse},
			{Internal: prefix("10.0.0.0/8"), Pool: "cgn"}, {Internal: prefix("203.0.113.0/24"), Pool: "cgn"},
		}
		c.Limits.Subscribers = 1
	})
	require.Equal(t, natcore.Bypass, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).verdict)
	require.Equal(t, dropped(natcore.ReasonRuleDrop), n.sends(t, natcore.Outbound, 0, 47, hostB, server1))
	require.Equal(t, dropped(natcore.ReasonNoRule), n.sends(t, natcore.Outbound, 0, 47, ip("192.168.0.1"), server1))
	require.Equal(t, dropped(natcore.ReasonSpoofed), n.sends(t, natcore.Outbound, 0, 47, ip("203.0.113.5"), server1))
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, ip("10.0.0.9"), server1).verdict)
	require.Equal(t, dropped(natcore.ReasonSubscriberLimit), n.sends(t, natcore.Outbound, 0, 47, ip("10.0.0.8"), server1))
	check(t, n)
	n.Stop()
	require.Equal(t, dropped(natcore.ReasonStopped), n.sends(t, natcore.Outbound, 0, 47, ip("10.0.0.9"), server2))

	log := &refusing{Memory: logging.NewMemory(0), refuse: true}
	n = newNAT(t, withProtocols(47), func(c *natcore.Config) { c.Log, c.LogPolicy = log, natcore.CountLoss })
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).verdict)
	require.EqualValues(t, 1, n.Stats().RecordsLost)
	s := n.only(t)
	require.Equal(t, []any{uint8(47), hostA, server1, "other"}, []any{s.Protocol, s.Internal.Addr(), s.Remote.Addr(), s.State})
	require.True(t, n.EndSession(s, n.now))
	require.EqualValues(t, 2, n.Stats().RecordsLost)
	check(t, n)

	// In a deterministic pool the host leaves with the address of its formula.
	fixed := fixedNAT(t, example(t, nil), withProtocols(47))
	m := fixed.sends(t, natcore.Outbound, 0, 47, ip("198.51.100.3"), server2)
	require.Equal(t, moved{at("192.0.2.1:0"), endpoint(server2, 0), natcore.Forward, 0, 0}, m)
	check(t, fixed)
}

// TestB65_RetireExplicitMapping: an explicit mapping without a session is in the way as any other, and ends where that is asked for.
//
// Rows: B65.
func TestB65_RetireExplicitMapping(t *testing.T) {
	n := newNAT(t, oneAddress)
	held, err := n.Map(natcore.MapRequest{Internal: endpoint(hostA, 4000), Protocol: 17, Lifetime: time.Hour}, n.now)
	require.NoError(t, err)
	s := natcore.Static{Name: "s", Protocol: 17, External: held.Addr(), ExternalPort: held.Port(), Internal: hostB}
	var conflict *natcore.ConflictError
	require.ErrorAs(t, n.AddStatic([]natcore.Static{s}, natcore.RefuseConflicts, n.now), &conflict)
	require.NoError(t, n.AddStatic([]natcore.Static{s}, natcore.RetireConflicts, n.now))
	require.Zero(t, n.Stats().Mappings)
	require.Equal(t, hostB, n.comes(t, udp, endpoint(server1, 1), held, synFlags).dst.Addr())
	again, err := n.Map(natcore.MapRequest{Internal: endpoint(hostA, 4000), Protocol: 17, Lifetime: time.Hour}, n.now)
	require.NoError(t, err)
	require.NotEqual(t, held, again)
	check(t, n)
}

// TestB5_EndSession: a session is ended by hand, dynamic or static, and what comes then begins anew or is dropped.
//
// Rows: B5.
func TestB5_EndSession(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, tcp, endpoint(hostA, 4000), endpoint(server1, 80))
	require.True(t, n.EndSession(n.only(t), n.now))
	require.False(t, n.EndSession(natcore.SessionInfo{}, n.now))
	require.Zero(t, n.Stats().Sessions)
	require.Equal(t, natcore.Drop, n.comes(t, tcp, endpoint(server1, 80), e, ackFlags).verdict)
	check(t, n)
}

// TestStaticStates: what is told of a connection names its ends as they are, also where the remote one began it; an affinity that is over is forgotten.
func TestStaticStates(t *testing.T) {
	s := balanced(1, 1)
	s.Affinity = time.Second
	n := newNAT(t, withStatic(s))
	c := client(1, 4000)
	m := n.comes(t, tcp, c, at("203.0.113.5:80"), tcpFlags{syn: true, seq: 1})
	n.leaves(t, 0, tcp, m.dst, c, tcpFlags{syn: true, ack: true, seq: 9})
	n.comes(t, tcp, c, at("203.0.113.5:80"), tcpFlags{ack: true, seq: 2})
	require.Equal(t, "established", n.only(t).State)
	n.wait(time.Minute)
	n.expire()
	n.comes(t, tcp, c, at("203.0.113.5:80"), tcpFlags{ack: true, fin: true, seq: 8})
	require.Equal(t, "fin-remote", n.only(t).State)
	require.True(t, n.now.Equal(n.only(t).LastSeen))
	n.leaves(t, 0, tcp, m.dst, c, tcpFlags{ack: true, fin: true, seq: 10})
	require.Equal(t, "closing", n.only(t).State)
	seen := slices.Collect(n.Sessions())
	require.Len(t, seen, 1)
	for range n.Sessions() {
		break // an early stop is no fault
	}
}

// TestStaticICMPFiltering: pings of an address whose filtering depends on the remote address.
func TestStaticICMPFiltering(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{Name: "id", Protocol: 1, External: ip("192.0.2.9"), Ports: 100, Internal: hostA, Filtering: natcore.AddressDependent}))
	require.Equal(t, dropped(natcore.ReasonFiltered), n.comes(t, icmp, endpoint(server1, 0), at("192.0.2.9:0"), tcpFlags{}))
	require.Equal(t, at("192.0.2.9:0"), n.leaves(t, 0, icmp, endpoint(hostA, 0), endpoint(server1, 0), tcpFlags{}).src)
	require.Equal(t, natcore.Forward, n.comes(t, icmp, endpoint(server1, 0), at("192.0.2.9:0"), tcpFlags{}).verdict)
	require.Equal(t, natcore.Drop, n.comes(t, icmp, endpoint(server1, 100), at("192.0.2.9:0"), tcpFlags{}).verdict, "an identifier beyond the range")
	check(t, n)
}

// TestPeeringRefusals: segments and replies of no session begin none, protocols that no translator can keep right are dropped, and what leaves by prefixes
// comes back by them.
func TestPeeringRefusals(t *testing.T) {
	n := newNAT(t, withPeerings(natcore.Peering{
		Name: "out", From: 1, To: natcore.ExternalRealm, Source: prefix("10.1.0.0/24"), SourceAs: prefix("192.0.2.0/24"), Destination: prefix("0.0.0.0/0"),
	}))
	require.True(t, n.External(ip("192.0.2.255")))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.leaves(t, 1, tcp, at("10.1.0.5:4000"), endpoint(server1, 80), ackFlags))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.leaves(t, 1, icmp, at("10.1.0.5:4000"), endpoint(server1, 80), tcpFlags{ack: true}))
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Outbound, 1, 51, ip("10.1.0.5"), server1))
	require.Equal(t, moved{at("192.0.2.5:0"), endpoint(server1, 0), natcore.Forward, 0, 1}, n.sends(t, natcore.Outbound, 1, 47, ip("10.1.0.5"), server1))
	require.Equal(t, moved{endpoint(server1, 0), at("10.1.0.5:0"), natcore.Forward, 0, 1}, n.sends(t, natcore.Inbound, 0, 47, server1, ip("192.0.2.5")))
	require.Equal(t, forwarded("192.0.2.5:4000", "198.51.100.10:80", 1), n.leaves(t, 1, tcp, at("10.1.0.5:4000"), endpoint(server1, 80), synFlags))
	require.Equal(t, forwarded("198.51.100.10:80", "10.1.0.5:4000", 1), n.comes(t, tcp, endpoint(server1, 80), at("192.0.2.5:4000"), synAckFlags))
	require.Equal(t, dropped(natcore.ReasonNoSession), n.comes(t, tcp, endpoint(server1, 81), at("192.0.2.5:4000"), synFlags))
	check(t, n)
}

// TestSourcesUnderPressure: at the last free port of a range the one that is left is found, wherever it is, and none that rests.
func TestSourcesUnderPressure(t *testing.T) {
	n := newNAT(t, withStatic(natcore.Static{
		Name: "s", Protocol: 17, External: ip("192.0.2.9"), ExternalPort: 80, Internal: hostA, Sources: alloc.MustParseRanges("10.255.0.1"),
	}), func(c *natcore.Config) { c.Limits.InboundPerSubscriber = 100_000 })
	seen := map[uint16]bool{}
	var last moved
	for i := range 64512 {
		m := n.leavesFast(t, i)
		require.False(t, seen[m.src.Port()])
		seen[m.src.Port()], last = true, m
	}
	require.Equal(t, natcore.ReasonSourcesExhausted, n.leavesFast(t, 64512).why)
	require.Equal(t, natcore.Forward, last.verdict)
	check(t, n)
}

// leavesFast is a packet of client i, without the checks of move.
func (n *nat) leavesFast(t failer, i int) moved {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4000)
	p := n.raw(natcore.Inbound, 0, build(t, udp, from, at("192.0.2.9:80"), nil, synFlags))
	if p.Verdict == natcore.Drop {
		return dropped(p.Reason)
	}
	return moved{src: netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.Bytes[12:16])), uint16(p.Bytes[20])<<8|uint16(p.Bytes[21])), verdict: p.Verdict}
}

// TestATK_12_StaticSources: an external address is nobody's source, towards static endpoints too, whether a rule exempts its packets or none is there.
func TestATK_12_StaticSources(t *testing.T) {
	for _, rules := range [][]natcore.Rule{{{Action: natcore.Exempt}}, {{Realm: 9, Action: natcore.Exempt}}} {
		n := newNAT(t, withStatic(natcore.Static{Name: "s", External: ip("192.0.2.9"), Internal: hostA}), func(c *natcore.Config) { c.Rules = rules })
		require.Equal(t, dropped(natcore.ReasonSpoofed), n.leaves(t, 0, udp, at("203.0.113.5:5000"), at("192.0.2.9:80"), synFlags))
		require.Equal(t, dropped(natcore.ReasonSpoofed), n.leaves(t, 0, udp, at("192.0.2.9:5000"), at("192.0.2.9:80"), synFlags))
		require.Equal(t, dropped(natcore.ReasonSpoofed), n.comes(t, udp, at("203.0.113.5:5000"), at("192.0.2.9:80"), synFlags))
		require.Equal(t, dropped(natcore.ReasonSpoofed), n.comes(t, udp, at("192.0.2.9:5000"), at("192.0.2.9:80"), synFlags))
		check(t, n)
	}
}
