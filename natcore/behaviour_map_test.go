package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// The tests in behaviour_*_test.go show what an established NAT's own tests expect of it, where that is right for a library. The rows
// are in internal/conformance/rows/30-behaviours.txt.

// oneForAll is a map of 256 hosts to one address, with 252 ports each.
func oneForAll(t *testing.T) *deterministic.Map {
	t.Helper()
	m, err := deterministic.New(deterministic.Config{
		Internal: deterministic.Spans("172.16.255.0/24"), IncludeBoundaryAddresses: true, External: deterministic.Spans("172.17.255.50"),
	})
	require.NoError(t, err)
	return m
}

// TestB3_MapAllProtocols: behind a map TCP, UDP and echo leave with the map's address, from ports of the host's own, the answers come back,
// and the list of sessions tells all three.
//
// Rows: B1, B3.
func TestB3_MapAllProtocols(t *testing.T) {
	n := fixedNAT(t, oneForAll(t))
	h := netip.MustParseAddr("172.16.255.20")
	want := map[uint8][3]netip.AddrPort{}
	for _, k := range []kind{tcp, udp, icmp} {
		remote := s1p1
		if k == icmp {
			remote = endpoint(server1, 0)
		}
		src := endpoint(h, 6303+int(k))
		e := n.out(t, k, src, remote)
		require.Equal(t, "172.17.255.50", e.Addr().String())
		require.GreaterOrEqual(t, e.Port(), uint16(1024+20*252), "ports of host 20")
		require.Less(t, e.Port(), uint16(1024+21*252))
		to, verdict, why := n.in(t, k, remote, e, tcpFlags{syn: k == tcp, ack: true, seq: 5000})
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, src, to)
		want[k.proto()] = [3]netip.AddrPort{src, e, remote}
	}
	got := map[uint8][3]netip.AddrPort{}
	for s := range n.Sessions() {
		got[s.Protocol] = [3]netip.AddrPort{s.Internal, s.External, s.Remote}
	}
	require.Equal(t, want, got)
	require.EqualValues(t, 3, n.Stats().Sessions)
	check(t, n)
}

// TestB4_SamePortOfTwoHosts: two hosts behind a map that use one source port towards one remote get different external ones, and each
// answer reaches its own host. A session that is ended by hand is gone, by whichever end it was found.
//
// Rows: B4, B5, B79.
func TestB4_SamePortOfTwoHosts(t *testing.T) {
	n := fixedNAT(t, oneForAll(t))
	hosts := []netip.AddrPort{netip.MustParseAddrPort("172.16.255.3:6303"), netip.MustParseAddrPort("172.16.255.4:6303")}
	external := map[netip.AddrPort]netip.AddrPort{}
	for _, h := range hosts {
		external[h] = n.out(t, tcp, h, s1p1)
	}
	require.NotEqual(t, external[hosts[0]], external[hosts[1]])
	for h, e := range external {
		require.True(t, n.passes(t, tcp, s1p1, e, h))
	}
	end := func(match func(natcore.SessionInfo) bool) {
		t.Helper()
		ended := 0
		for s := range n.Sessions() {
			if match(s) {
				require.True(t, n.EndSession(s, n.now))
				require.False(t, n.EndSession(s, n.now), "once")
				ended++
			}
		}
		require.Equal(t, 1, ended)
	}
	require.EqualValues(t, 2, n.Stats().Sessions)
	end(func(s natcore.SessionInfo) bool { return s.External == external[hosts[0]] && s.Remote == s1p1 })
	require.EqualValues(t, 1, n.Stats().Sessions)
	end(func(s natcore.SessionInfo) bool { return s.Internal == hosts[1] && s.Remote == s1p1 })
	require.Zero(t, n.Stats().Sessions+n.Stats().Mappings)
	for h, e := range external {
		require.False(t, n.passes(t, tcp, s1p1, e, h))
	}
	check(t, n)
}

// TestB6_ClosedConnectionsStayAWhile: a connection behind a map that was closed from either end is there for its 240 s, in which late segments
// pass, and then gone.
//
// Rows: B6, B7.
func TestB6_ClosedConnectionsStayAWhile(t *testing.T) {
	for _, segments := range []string{">F <FA >A", "<F >FA <A"} {
		n := fixedNAT(t, oneForAll(t))
		c := n.connection()
		c.internal = netip.MustParseAddrPort("172.16.255.20:6303")
		c.play(t, handshake+segments)
		n.lasts(t, 240*time.Second)
	}
}

// TestB8_ShortTimers: with timers of 5 s all sessions have ended after 15 s.
//
// Rows: B8.
func TestB8_ShortTimers(t *testing.T) {
	five := 5 * time.Second
	n := fixedNAT(t, oneForAll(t), func(c *natcore.Config) {
		c.Timeouts = natcore.Timeouts{UDP: five, ICMP: five, TCPEstablished: five, TCPOpening: five, TCPClosing: five, AllowShort: true}
	})
	c := n.connection()
	c.internal = netip.MustParseAddrPort("172.16.255.20:6303")
	c.play(t, handshake)
	n.out(t, udp, c.internal, s1p1)
	n.out(t, icmp, c.internal, s1p1)
	require.EqualValues(t, 3, n.Stats().Sessions)
	n.wait(15 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().Sessions)
}

// TestB9_QuotaOfAHost: with 1000 sessions a host gets no further one: nothing leaves, an ICMP 3/1 comes back that quotes its packet, the
// sessions stay as many, and one record says whose limit it is.
//
// Rows: B9.
func TestB9_QuotaOfAHost(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Limits.SessionsPerSubscriber = 1000
		c.Pools[0].Blocks.MaxBlocks = 16
		c.Events = natcore.Events{}
	})
	for i := range 1000 {
		n.out(t, udp, endpoint(hostA, 1025+i), s1p1)
	}
	sent := build(t, udp, a40000, s1p1, []byte("one too many"), tcpFlags{})
	p := n.raw(natcore.Outbound, 0, sent)
	require.Equal(t, natcore.Drop, p.Verdict)
	require.Equal(t, sent, p.Bytes)
	answers := n.Drain(nil)
	require.Len(t, answers, 1)
	b := answers[0].Bytes
	require.Equal(t, natcore.Inbound, answers[0].Direction)
	require.Equal(t, []byte{3, 1}, b[20:22], "host unreachable")
	require.Equal(t, hostA.AsSlice(), b[16:20])
	require.Equal(t, sent, b[28:], "the quote has the original ports")
	require.EqualValues(t, 1000, n.Stats().Sessions)
	n.expire()
	quota := n.records(t, logging.QuotaExceeded)
	require.Len(t, quota, 1)
	require.Equal(t, []any{hostA, uint32(1000)}, []any{quota[0].Subscriber, quota[0].Max})
	check(t, n)
}
