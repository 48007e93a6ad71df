package natcore_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// rejections are what a forwarder tells senders, with type, code and MTU as the wire has them.
var rejections = []struct {
	why  rewrite.ICMPError
	t, c uint8
	mtu  uint16
}{
	{rewrite.TimeExceeded(), 11, 0, 0}, {rewrite.FragmentationNeeded(1400), 3, 4, 1400}, {rewrite.Unreachable(0), 3, 0, 0},
}

// TestRFC5508_10g_TooLargeAndTooOld: the caller cannot forward a packet, of either direction or hairpinned, before its translation or after it: the
// sender gets the error, and reads about the packet as it sent it.
//
// Rows: 4787-13, 5508-10i.
func TestRFC5508_10g_TooLargeAndTooOld(t *testing.T) {
	inner, outer := netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("192.0.2.1")
	data := bytes.Repeat([]byte("too long"), 190)
	for _, r := range rejections {
		for _, k := range []kind{udp, tcp, icmp} {
			for _, configured := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d-%d/%v/configured=%v", r.t, r.c, k, configured), func(t *testing.T) {
					n := newNAT(t, func(c *natcore.Config) {
						if configured {
							c.ICMP.Internal, c.ICMP.External = inner, outer
						}
					})
					toInside, toOutside := lowest, lowest
					if configured {
						toInside, toOutside = inner, outer
					}
					a, s := endpoint(hostA, 40000), endpoint(server1, 443)
					if k == icmp {
						s = endpoint(server1, 0)
					}
					reject := func(p natcore.Packet) natcore.Packet {
						t.Helper()
						before := bytes.Clone(p.Bytes)
						require.True(t, n.Reject(&p, r.why, n.now))
						require.Equal(t, before, p.Bytes)
						got := n.Drain(nil)
						require.Len(t, got, 1)
						require.Equal(t, natcore.Generated, got[0].Flags)
						return got[0]
					}
					sent := build(t, k, a, s, data, tcpFlags{syn: true, seq: 9})
					inside := natcore.Packet{
						Bytes: ownError(t, toInside, hostA, r.t, r.c, r.mtu, sent), Direction: natcore.Inbound, Verdict: natcore.Forward, Flags: natcore.Generated,
					}
					require.Equal(t, inside, reject(natcore.Packet{Bytes: bytes.Clone(sent)}), "as it came")

					batch := []natcore.Packet{{Bytes: bytes.Clone(sent)}}
					n.Process(batch, n.now)
					require.Equal(t, natcore.Forward, batch[0].Verdict)
					external := read(t, batch[0].Bytes).src
					if toOutside == lowest {
						toOutside = external.Addr()
					}
					require.Equal(t, inside, reject(batch[0]), "translated")

					came := build(t, k, s, external, data, tcpFlags{syn: true, ack: true, seq: 5})
					outside := natcore.Packet{
						Bytes: ownError(t, toOutside, server1, r.t, r.c, r.mtu, came), Direction: natcore.Outbound, Verdict: natcore.Forward, Flags: natcore.Generated,
					}
					require.Equal(t, outside, reject(natcore.Packet{Bytes: bytes.Clone(came), Direction: natcore.Inbound}), "as it came")
					batch = []natcore.Packet{{Bytes: bytes.Clone(came), Direction: natcore.Inbound}}
					n.Process(batch, n.now)
					require.Equal(t, natcore.Forward, batch[0].Verdict)
					outside.Bytes = ownError(t, external.Addr(), server1, r.t, r.c, r.mtu, came)
					require.Equal(t, outside, reject(batch[0]), "translated")
					check(t, n)
				})
			}
		}
	}
}

// TestRejectHairpin: a hairpinned packet is too large for the way to its receiver.
func TestRejectHairpin(t *testing.T) {
	data := make([]byte, 1480)
	for _, r := range rejections {
		for _, k := range []kind{udp, tcp} {
			n := newNAT(t)
			a, b := endpoint(hostA, 40000), endpoint(hostB, 41000)
			eb := n.out(t, k, b, endpoint(server1, 443))
			sent := build(t, k, a, eb, data, tcpFlags{syn: true, seq: 1})
			batch := []natcore.Packet{{Bytes: bytes.Clone(sent)}}
			n.Process(batch, n.now)
			require.Equal(t, natcore.Hairpin, batch[0].Verdict)
			require.True(t, n.Reject(&batch[0], r.why, n.now))
			require.Equal(t, []natcore.Packet{{
				Bytes:     ownError(t, eb.Addr(), hostA, r.t, r.c, r.mtu, sent),
				Direction: natcore.Outbound, Verdict: natcore.Hairpin, Flags: natcore.Generated,
			}}, n.Drain(nil))
			check(t, n)
		}
	}
}

// TestRejectExempt: packets that a rule exempts are answered without translation, to where they came from.
func TestRejectExempt(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Realm: 3, Remote: netip.PrefixFrom(server1, 32), Action: natcore.Exempt}, {Realm: 3, Pool: "cgn"}}
	})
	for _, batch := range [][]natcore.Packet{
		{{Bytes: build(t, udp, a40000, s1p1, make([]byte, 1480), tcpFlags{}), Realm: 3}},
		{{Bytes: build(t, udp, s1p1, a40000, make([]byte, 1480), tcpFlags{}), Direction: natcore.Inbound}},
	} {
		n.Process(batch, n.now)
		require.Equal(t, natcore.Bypass, batch[0].Verdict)
		require.True(t, n.Reject(&batch[0], rewrite.FragmentationNeeded(1400), n.now))
		s := read(t, batch[0].Bytes)
		want := natcore.Packet{
			Bytes:   ownError(t, lowest, s.src.Addr(), 3, 4, 1400, batch[0].Bytes),
			Verdict: natcore.Forward, Flags: natcore.Generated,
		}
		if batch[0].Direction == natcore.Outbound {
			want.Direction, want.Realm = natcore.Inbound, 3
		}
		require.Equal(t, []natcore.Packet{want}, n.Drain(nil))
	}
}

// TestRejectNobodys: packets that were never translated and claim external addresses, sessions that are over,
// and bytes that are no packet give no error. The limits are those of all errors.
func TestRejectNobodys(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.ICMP.PerReceiver = 2 })
	no := func(p natcore.Packet) {
		t.Helper()
		require.False(t, n.Reject(&p, rewrite.TimeExceeded(), n.now))
		require.Empty(t, n.Drain(nil))
	}
	no(natcore.Packet{})
	no(natcore.Packet{Bytes: []byte("no packet")})
	no(natcore.Packet{Bytes: build(t, udp, a40000, s1p1, nil, tcpFlags{}), Direction: 5})
	no(natcore.Packet{Bytes: build(t, udp, endpoint(lowest, 2000), s1p1, nil, tcpFlags{}), Verdict: natcore.Forward})
	no(natcore.Packet{Bytes: build(t, udp, s1p1, a40000, nil, tcpFlags{}), Direction: natcore.Inbound, Verdict: natcore.Forward})
	b := build(t, udp, a40000, s1p1, nil, tcpFlags{})
	for i := range 5 {
		require.Equal(t, i < 2, n.Reject(&natcore.Packet{Bytes: b}, rewrite.TimeExceeded(), n.now))
	}
	n.wait(time.Second)
	batch := []natcore.Packet{{Bytes: b}}
	n.Process(batch, n.now)
	for i := range 5 {
		require.Equal(t, i < 2, n.Reject(&batch[0], rewrite.TimeExceeded(), n.now))
	}
}

// TestRejectIsBelieved: what the limits of errors from others forbid, a low MTU and a segment that is not under way, does not
// concern the caller's own.
func TestRejectIsBelieved(t *testing.T) {
	n := newNAT(t)
	conn := n.connection().play(t, handshake)
	for _, d := range []natcore.Direction{natcore.Outbound, natcore.Inbound} {
		b := build(t, tcp, conn.internal, conn.remote, make([]byte, 400), tcpFlags{ack: true, seq: 1 << 31})
		if d == natcore.Inbound {
			b = build(t, tcp, conn.remote, conn.external, make([]byte, 400), tcpFlags{ack: true, seq: 1 << 31})
		}
		for range 20 { // more than a host may report
			batch := []natcore.Packet{{Bytes: bytes.Clone(b), Direction: d}}
			n.Process(batch, n.now)
			require.Equal(t, natcore.Forward, batch[0].Verdict)
			require.True(t, n.Reject(&batch[0], rewrite.FragmentationNeeded(300), n.now))
			require.Len(t, n.Drain(nil), 1)
			n.wait(200 * time.Millisecond)
		}
	}
}

// TestRejectStatic: packets of static mappings are answered as those of others are.
func TestRejectStatic(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Static = []natcore.Static{{Name: "web", Internal: hostB, External: netip.MustParseAddr("192.0.2.80"), Protocol: 6, InternalPort: 8080, ExternalPort: 80, Ports: 1}}
	})
	inside, outside := endpoint(hostB, 8080), endpoint(netip.MustParseAddr("192.0.2.80"), 80)
	data := make([]byte, 1400)
	came := build(t, tcp, s1p1, outside, data, tcpFlags{syn: true, seq: 1})
	require.True(t, n.Reject(&natcore.Packet{Bytes: bytes.Clone(came), Direction: natcore.Inbound}, rewrite.TimeExceeded(), n.now))
	require.Equal(t, ownError(t, outside.Addr(), server1, 11, 0, 0, came), n.Drain(nil)[0].Bytes)
	batch := []natcore.Packet{{Bytes: bytes.Clone(came), Direction: natcore.Inbound}}
	n.Process(batch, n.now)
	require.Equal(t, natcore.Forward, batch[0].Verdict, "%v", batch[0].Reason)
	require.True(t, n.Reject(&batch[0], rewrite.FragmentationNeeded(300), n.now))
	got := n.Drain(nil)
	require.Len(t, got, 1)
	require.Equal(t, natcore.Outbound, got[0].Direction)
	require.Equal(t, came[:548], got[0].Bytes[28:])
	require.Equal(t, server1, netip.AddrFrom4([4]byte(got[0].Bytes[16:20])))
	sent := build(t, tcp, inside, s1p1, data, tcpFlags{syn: true, ack: true, seq: 1})
	batch = []natcore.Packet{{Bytes: bytes.Clone(sent)}}
	n.Process(batch, n.now)
	require.Equal(t, natcore.Forward, batch[0].Verdict, "%v", batch[0].Reason)
	require.True(t, n.Reject(&batch[0], rewrite.FragmentationNeeded(300), n.now))
	require.Equal(t, []natcore.Packet{{
		Bytes: ownError(t, lowest, hostB, 3, 4, 300, sent), Direction: natcore.Inbound, Verdict: natcore.Forward, Flags: natcore.Generated,
	}}, n.Drain(nil))
	check(t, n)
}

// TestRejectPeering: the error about a packet from one realm to another goes back to the realm and the packet of its sender.
func TestRejectPeering(t *testing.T) {
	n := newNAT(t, withPeerings(natcore.Peering{
		Name: "1-2", From: 1, To: 2, Destination: prefix("172.20.2.0/24"), Target: prefix("10.0.0.0/24"), Source: prefix("10.0.0.0/24"), SourceAs: prefix("172.20.1.0/24"),
	}))
	sent := build(t, udp, at("10.0.0.5:4000"), at("172.20.2.9:80"), make([]byte, 1400), tcpFlags{})
	got := n.raw(natcore.Outbound, 1, sent)
	require.Equal(t, natcore.Hairpin, got.Verdict)
	require.True(t, n.Reject(&got, rewrite.FragmentationNeeded(1300), n.now))
	back := n.Drain(nil)
	require.Len(t, back, 1)
	require.Equal(t, natcore.Hairpin, back[0].Verdict)
	require.EqualValues(t, 1, back[0].Realm)
	require.Equal(t, ip("10.0.0.5"), netip.AddrFrom4([4]byte(back[0].Bytes[16:20])))
	require.Equal(t, sent[:548], back[0].Bytes[28:])
	require.EqualValues(t, 0xffff, sum(back[0].Bytes[20:], 0))
	check(t, n)
}
