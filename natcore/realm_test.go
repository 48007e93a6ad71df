package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// twoRealms translates realms 0 and 7 by one pool.
func twoRealms(c *natcore.Config) {
	c.Rules = []natcore.Rule{{Realm: 7, Pool: "cgn"}, {Pool: "cgn"}}
}

// one processes a packet and requires that it is forwarded.
func (n *nat) one(t failer, p natcore.Packet, want natcore.Verdict) natcore.Packet {
	t.Helper()
	p.Bytes = bytes.Clone(p.Bytes)
	batch := []natcore.Packet{p}
	n.Process(batch, n.now)
	require.Equal(t, want, batch[0].Verdict, "%v", batch[0].Reason)
	return batch[0]
}

// TestRealmOfErrors: an ICMP error comes out in the realm of the packet that it quotes, for sessions and for mappings that let a stranger in.
func TestRealmOfErrors(t *testing.T) {
	for _, realm := range []natcore.Realm{0, 7} {
		n := newNAT(t, twoRealms)
		for _, other := range []natcore.Realm{0, 7} { // the same endpoint in both realms
			n.one(t, natcore.Packet{Bytes: build(t, udp, endpoint(hostA, 5000), endpoint(server2, 80), nil, tcpFlags{}), Realm: other}, natcore.Forward)
		}
		sent := n.one(t, natcore.Packet{Bytes: build(t, udp, endpoint(hostA, 5000), endpoint(server1, 80), nil, tcpFlags{}), Realm: realm}, natcore.Forward)
		external := read(t, sent.Bytes).src
		got := n.one(t, natcore.Packet{Bytes: icmpError(t, router, external.Addr(), 3, 1, [4]byte{}, sent.Bytes), Direction: natcore.Inbound, Realm: 99}, natcore.Forward)
		require.Equal(t, realm, got.Realm)
		// A stranger's packet makes no session; the mapping tells the realm of an error about its answer.
		answer := build(t, udp, external, endpoint(router, 9), nil, tcpFlags{})
		got = n.one(t, natcore.Packet{Bytes: icmpError(t, router, external.Addr(), 3, 1, [4]byte{}, answer), Direction: natcore.Inbound, Realm: 99}, natcore.Forward)
		require.Equal(t, realm, got.Realm)
		// And outbound: an error about what arrived leaves by the mapping of its own realm.
		arrived := n.one(t, natcore.Packet{Bytes: build(t, udp, endpoint(server1, 80), external, nil, tcpFlags{}), Direction: natcore.Inbound}, natcore.Forward)
		require.Equal(t, realm, arrived.Realm)
		left := n.one(t, natcore.Packet{Bytes: icmpError(t, hostA, server1, 3, 3, [4]byte{}, arrived.Bytes), Realm: realm}, natcore.Forward)
		require.Equal(t, external.Addr().AsSlice(), left.Bytes[12:16])
	}
}

// TestRealmOfFragments: later fragments that arrive come out in the realm of the first one, in and out of order.
func TestRealmOfFragments(t *testing.T) {
	n := newNAT(t, twoRealms)
	sent := n.one(t, natcore.Packet{Bytes: build(t, udp, endpoint(hostA, 5000), endpoint(server1, 80), nil, tcpFlags{}), Realm: 7}, natcore.Forward)
	f := halves(t, endpoint(server1, 80), read(t, sent.Bytes).src)
	in := func(b []byte, id int) natcore.Packet {
		return natcore.Packet{Bytes: numbered(b, id), Direction: natcore.Inbound}
	}
	require.EqualValues(t, 7, n.one(t, in(f[0], 1), natcore.Forward).Realm)
	require.EqualValues(t, 7, n.one(t, in(f[1], 1), natcore.Forward).Realm)
	n.one(t, in(f[1], 2), natcore.Held)
	n.one(t, in(f[0], 2), natcore.Forward)
	drained := n.Drain(nil)
	require.Len(t, drained, 1)
	require.EqualValues(t, 7, drained[0].Realm)
	require.Equal(t, natcore.Inbound, drained[0].Direction)
	require.Equal(t, hostA.AsSlice(), drained[0].Bytes[16:20])
}

// TestFragmentsOfTwoRealms: datagrams of two realms that look the same, with the same identification, keep apart.
func TestFragmentsOfTwoRealms(t *testing.T) {
	n := newNAT(t, twoRealms, func(c *natcore.Config) { c.Pools[0].SubscribersPerAddress = 1 })
	f := halves(t, endpoint(hostA, 5000), endpoint(server1, 80))
	source := map[natcore.Realm][]byte{}
	for _, realm := range []natcore.Realm{0, 7} {
		source[realm] = n.one(t, natcore.Packet{Bytes: f[0], Realm: realm}, natcore.Forward).Bytes[12:16]
	}
	require.NotEqual(t, source[0], source[7])
	for _, realm := range []natcore.Realm{0, 7} {
		require.Equal(t, source[realm], n.one(t, natcore.Packet{Bytes: f[1], Realm: realm}, natcore.Forward).Bytes[12:16])
	}
}

// TestRulePrefixesNeedNoMask: the host bits of a rule's prefixes do not count.
func TestRulePrefixesNeedNoMask(t *testing.T) {
	for name, r := range map[string]natcore.Rule{
		"internal": {Internal: netip.MustParsePrefix("10.0.0.3/24"), Action: natcore.Refuse},
		"remote":   {Remote: netip.MustParsePrefix("198.51.100.77/24"), Action: natcore.Refuse},
	} {
		n := newNAT(t, func(c *natcore.Config) { c.Rules = []natcore.Rule{r, {Pool: "cgn"}} })
		for _, h := range []netip.Addr{hostA, hostB} {
			_, verdict, why := n.try(t, udp, endpoint(h, 1), endpoint(server1, 80))
			require.Equal(t, natcore.Drop, verdict, name)
			require.Equal(t, natcore.ReasonRuleDrop, why, name)
		}
		n.out(t, udp, endpoint(netip.MustParseAddr("10.0.1.3"), 1), endpoint(netip.MustParseAddr("198.51.101.77"), 80))
	}
}

// TestExemptTransports: a rule exempts transports that are not translated, in both directions; others are dropped.
func TestExemptTransports(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{
			{Internal: netip.MustParsePrefix("10.0.0.2/32"), Protocol: 47, Action: natcore.Exempt},
			{Pool: "cgn"},
		}
	})
	gre := func(src, dst netip.Addr) []byte {
		b := build(t, udp, endpoint(src, 1), endpoint(dst, 2), []byte("gre"), tcpFlags{})
		b[9] = 47
		return refit(b)
	}
	own := netip.MustParseAddr("203.0.113.5")
	for _, c := range []struct {
		d        natcore.Direction
		src, dst netip.Addr
		want     natcore.Verdict
	}{
		{natcore.Outbound, hostA, server1, natcore.Bypass},
		{natcore.Outbound, hostB, server1, natcore.Drop},
		{natcore.Inbound, server1, hostA, natcore.Bypass},
		{natcore.Inbound, server1, hostB, natcore.Drop},
		{natcore.Inbound, server1, own, natcore.Drop},
	} {
		b := gre(c.src, c.dst)
		got := n.one(t, natcore.Packet{Bytes: b, Direction: c.d}, c.want)
		require.Equal(t, b, got.Bytes)
		if c.want == natcore.Drop {
			require.Equal(t, natcore.ReasonProtocol, got.Reason)
		}
	}
	n.wait(time.Hour)
	n.expire()
	n.empty(t)
}
