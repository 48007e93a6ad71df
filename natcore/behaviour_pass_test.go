package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestB10_PortUnreachable: to a datagram, a SYN and an echo request the outside answers with port unreachable: outer destination and inner source
// are the internal host's. Time exceeded from beyond is translated in the same way, in both directions.
//
// Rows: B10, B60.
func TestB10_PortUnreachable(t *testing.T) {
	for _, e := range []struct{ icmpType, code uint8 }{{3, 3}, {11, 0}} {
		for _, k := range []kind{udp, tcp, icmp} {
			n := newNAT(t)
			dst := s1p1
			if k == icmp {
				dst = endpoint(server1, 0)
			}
			sent := build(t, k, a40000, dst, []byte("hello"), tcpFlags{syn: true, seq: 1})
			left := n.raw(natcore.Outbound, 0, sent)
			require.Equal(t, natcore.Forward, left.Verdict)
			external := read(t, left.Bytes).src
			p := n.raw(natcore.Inbound, 0, icmpError(t, router, external.Addr(), e.icmpType, e.code, [4]byte{}, left.Bytes))
			require.Equal(t, natcore.Forward, p.Verdict)
			require.Equal(t, icmpError(t, router, hostA, e.icmpType, e.code, [4]byte{}, sent), p.Bytes)

			came := build(t, k, dst, external, []byte("answer"), tcpFlags{syn: true, ack: true, seq: 5})
			arrived := n.raw(natcore.Inbound, 0, came)
			require.Equal(t, natcore.Forward, arrived.Verdict)
			p = n.raw(natcore.Outbound, 0, icmpError(t, hostA, server1, e.icmpType, e.code, [4]byte{}, arrived.Bytes))
			require.Equal(t, natcore.Forward, p.Verdict)
			require.Equal(t, icmpError(t, external.Addr(), server1, e.icmpType, e.code, [4]byte{}, came), p.Bytes)
		}
	}
}

// TestB24_Exempt: what a rule exempts passes untouched in both directions, fragments in any order and ICMP errors too, and leaves no state.
//
// Rows: B18, B24.
func TestB24_Exempt(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Exempt}, {Pool: "cgn"}}
	})
	untouched := func(d natcore.Direction, b []byte) {
		t.Helper()
		p := n.raw(d, 0, b)
		require.Equal(t, natcore.Bypass, p.Verdict, p.Reason)
		require.Equal(t, b, p.Bytes)
	}
	for _, k := range []kind{udp, tcp, icmp} {
		dst := s2p1
		if k == icmp {
			dst = endpoint(server2, 0)
		}
		out := build(t, k, a40000, dst, bytes.Repeat([]byte("data"), 200), tcpFlags{syn: true})
		in := build(t, k, dst, a40000, bytes.Repeat([]byte("data"), 200), tcpFlags{syn: true, ack: true})
		untouched(natcore.Outbound, out)
		untouched(natcore.Inbound, in)
		untouched(natcore.Outbound, icmpError(t, hostA, server2, 3, 3, [4]byte{}, in))
		untouched(natcore.Inbound, icmpError(t, server2, hostA, 3, 3, [4]byte{}, out))
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
			outs, ins := split(out, 272), split(in, 272)
			for _, i := range order {
				for d, fragments := range [][][]byte{outs, ins} {
					p := n.raw(natcore.Direction(d), 0, fragments[i])
					require.Contains(t, []natcore.Verdict{natcore.Bypass, natcore.Held}, p.Verdict)
					require.Equal(t, fragments[i], p.Bytes)
				}
			}
		}
	}
	require.Zero(t, n.Stats().Sessions+n.Stats().Mappings)
}

// TestB74_TenantPools: each realm uses the pool of its rules, with internal addresses that both have; a realm without a rule gets nothing.
//
// Rows: B74.
func TestB74_TenantPools(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "two", Addresses: alloc.MustParseRanges("192.0.2.1")})
		c.Rules = []natcore.Rule{{Realm: 1, Pool: "cgn"}, {Realm: 2, Pool: "two"}}
	})
	for realm, want := range map[natcore.Realm]netip.Prefix{1: prefix("203.0.113.4/30"), 2: prefix("192.0.2.1/32")} {
		p := n.raw(natcore.Outbound, realm, build(t, udp, a40000, s1p1, nil, tcpFlags{}))
		require.Equal(t, natcore.Forward, p.Verdict)
		e := read(t, p.Bytes).src
		require.True(t, want.Contains(e.Addr()), "realm %d is at %v", realm, e)
		p = n.raw(natcore.Inbound, 0, build(t, udp, s1p1, e, nil, tcpFlags{}))
		require.Equal(t, natcore.Forward, p.Verdict)
		require.Equal(t, realm, p.Realm)
		require.Equal(t, a40000, read(t, p.Bytes).dst)
	}
	require.Equal(t, natcore.ReasonNoRule, n.refusal(t, 99, udp, a40000, s1p1))
}

// TestB108_IncludedPrefixes: sources of the included prefixes are translated, excluded destinations see them as they are, other sources are
// refused; an error about a translated packet comes back to its sender.
//
// Rows: B108.
func TestB108_IncludedPrefixes(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{
			{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Exempt},
			{Internal: netip.PrefixFrom(hostA, 32), Pool: "cgn"},
		}
	})
	require.Equal(t, natcore.Bypass, n.raw(natcore.Outbound, 0, build(t, tcp, a40000, s2p1, nil, tcpFlags{syn: true})).Verdict)
	require.Equal(t, natcore.ReasonNoRule, n.refusal(t, 0, tcp, endpoint(hostB, 40000), s1p1))
	sent := build(t, tcp, a40000, s1p1, nil, tcpFlags{syn: true})
	left := n.raw(natcore.Outbound, 0, sent)
	require.Equal(t, natcore.Forward, left.Verdict)
	p := n.raw(natcore.Inbound, 0, icmpError(t, router, read(t, left.Bytes).src.Addr(), 3, 1, [4]byte{}, left.Bytes))
	require.Equal(t, icmpError(t, router, hostA, 3, 1, [4]byte{}, sent), p.Bytes)
}

// TestB109_LimitsOfRealms: a realm stops at its own limit and another one gets what the limit of all leaves, refusals are counted by
// reason, and after sessions have ended new ones pass.
//
// Rows: B41, B109.
func TestB109_LimitsOfRealms(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Realm: 10, Pool: "cgn"}, {Realm: 20, Pool: "cgn"}}
		c.Quotas.Realms = map[natcore.Realm]natcore.Quota{10: {Sessions: 5}}
		c.Limits.Sessions = 12
		c.ICMP.Off = true
	})
	open := func(realm natcore.Realm, flows int) (passed int) {
		for i := range flows {
			if n.refusal(t, realm, tcp, endpoint(hostA, 5000+i), s1p1) == natcore.ReasonNone {
				passed++
			}
		}
		return passed
	}
	require.Equal(t, 5, open(10, 10))
	require.Equal(t, 7, open(20, 10), "12 in all")
	st := n.Stats()
	require.EqualValues(t, 5, st.Drops[natcore.ReasonRealmLimit])
	require.EqualValues(t, 3, st.Drops[natcore.ReasonSessionLimit])
	n.wait(240 * time.Second)
	n.expire()
	require.Equal(t, 5, open(10, 10))
	check(t, n)
}

// TestB57_EndAll: sessions that are listed can all be ended, by which none is left, their mappings go and subscribers keep their blocks for a while.
//
// Rows: B57.
func TestB57_EndAll(t *testing.T) {
	n := newNAT(t)
	for i := range 300 {
		n.out(t, kind(i%3), endpoint(host(i%7), 5000+i), s1p1)
	}
	for s := range n.Sessions() {
		require.True(t, n.EndSession(s, n.now))
	}
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings)
	n.wait(time.Hour)
	n.expire()
	n.expire()
	require.Zero(t, n.Stats().Subscribers, "with its last block a subscriber goes")
	check(t, n)
}
