package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestRFC5927_01_QuotedSequenceNumbers: an ICMP error about a TCP segment passes when the segment may be on its way: its number is
// at most a window behind the highest that its sender has sent. Both ends, and hairpinned connections.
func TestRFC5927_01_QuotedSequenceNumbers(t *testing.T) {
	const window = 1 << 16
	for _, c := range []struct {
		behind int64
		passes bool
	}{{0, true}, {1, true}, {1000, true}, {window, true}, {window + 1, false}, {1 << 24, false}, {1 << 31, false}, {-1 << 23, false}} {
		t.Run(fmt.Sprint(c.behind), func(t *testing.T) {
			n := newNAT(t, func(c *natcore.Config) { c.ICMP.QuotedWindow = window })
			conn := n.connection().play(t, handshake+">D <A <D >A")
			judge := func(d natcore.Direction, b []byte) {
				t.Helper()
				before := bytes.Clone(b)
				batch := []natcore.Packet{{Bytes: b, Direction: d}}
				n.Process(batch, n.now)
				if c.passes {
					require.NotEqual(t, natcore.Drop, batch[0].Verdict, "%v", batch[0].Reason)
					return
				}
				require.Equal(t, natcore.Drop, batch[0].Verdict)
				require.Equal(t, natcore.ReasonICMPQuote, batch[0].Reason)
				require.Equal(t, before, b)
			}
			for _, et := range []struct{ t, c uint8 }{{3, 1}, {3, 4}, {11, 0}} {
				for _, quoted := range []int{28, 40} {
					mtu := [4]byte{0, 0, 5, 120}
					left := build(t, tcp, conn.external, conn.remote, nil, tcpFlags{ack: true, seq: conn.next[natcore.Outbound] - uint32(c.behind)})
					judge(natcore.Inbound, icmpError(t, router, conn.external.Addr(), et.t, et.c, mtu, left[:quoted]))
					arrived := build(t, tcp, conn.remote, conn.internal, nil, tcpFlags{ack: true, seq: conn.next[natcore.Inbound] - uint32(c.behind)})
					judge(natcore.Outbound, icmpError(t, hostA, conn.remote.Addr(), et.t, et.c, mtu, arrived[:quoted]))
				}
			}
			b := endpoint(hostB, 41000)
			eb := n.out(t, tcp, b, s1p1)
			ea := n.hairpin(t, tcp, a40000, eb, []byte("hello")).src // sequence numbers 5 to 11 with the SYN's
			arrived := build(t, tcp, ea, b, nil, tcpFlags{ack: true, seq: 11 - uint32(c.behind)})
			judge(natcore.Outbound, icmpError(t, hostB, ea.Addr(), 3, 1, [4]byte{}, arrived))
			check(t, n)
		})
	}
	// By default no error about a segment that TCP can have under way is dropped: its largest window is 1 GiB.
	n := newNAT(t)
	conn := n.connection().play(t, handshake)
	for behind, want := range map[uint32]natcore.Verdict{1 << 30: natcore.Forward, 1<<30 + 1: natcore.Drop, 1 << 31: natcore.Drop} {
		left := build(t, tcp, conn.external, conn.remote, nil, tcpFlags{ack: true, seq: conn.next[natcore.Outbound] - behind})
		verdict, why := n.Inbound(icmpError(t, router, conn.external.Addr(), 3, 4, [4]byte{0, 0, 5, 120}, left), n.now)
		require.Equal(t, want, verdict, why)
	}
	// Where a connection was not seen from its beginning, the remote end's numbers are not known before it has spoken.
	n = newNAT(t, func(c *natcore.Config) { c.AdmitNonSYN = true })
	conn = n.connection().play(t, ">D")
	arrived := build(t, tcp, conn.remote, conn.internal, nil, tcpFlags{ack: true, seq: 1 << 31})
	verdict, why := n.Outbound(icmpError(t, hostA, conn.remote.Addr(), 3, 1, [4]byte{}, arrived), n.now)
	require.Equal(t, natcore.Forward, verdict, why)
}

// reports gives the engine an ICMP 3/4 about a packet of a session.
func (n *nat) reports(t failer, d natcore.Direction, mtu uint16, about []byte) (natcore.Verdict, natcore.Reason) {
	t.Helper()
	var rest [4]byte
	binary.BigEndian.PutUint16(rest[2:], mtu)
	src, dst := router, read(t, about).src.Addr()
	if d == natcore.Outbound {
		src = hostA
	}
	b := icmpError(t, src, dst, 3, 4, rest, about)
	return n.fragment(d, b)
}

// TestRFC5927_05_TinyMTUs: an MTU that no link has is not passed on, from either side, and 0, which old routers report, is believed from
// outside.
//
// Rows: 5927-05.
func TestRFC5927_05_TinyMTUs(t *testing.T) {
	for _, k := range []kind{udp, tcp, icmp} {
		n := newNAT(t)
		s := s1p1
		if k == icmp {
			s = endpoint(server1, 0)
		}
		b := build(t, k, a40000, s, make([]byte, 1400), tcpFlags{syn: true})
		_, _ = n.Outbound(b, n.now)
		for mtu, want := range map[uint16]natcore.Verdict{
			0: natcore.Forward, 1: natcore.Drop, 67: natcore.Drop, 68: natcore.Forward, 576: natcore.Forward, 1400: natcore.Forward, 65535: natcore.Forward,
		} {
			verdict, why := n.reports(t, natcore.Inbound, mtu, b)
			require.Equal(t, want, verdict, "%v %d", k, mtu)
			if want == natcore.Drop {
				require.Equal(t, natcore.ReasonICMPQuote, why)
			}
		}
	}
}

// TestATK19_ReportedMTUs: a host tells the outside of no MTU below the least that is believed, which a server would count for all who share the address;
// of others only about its own sessions, and no more often than it may.
//
// Rows: ATK-19.
func TestATK19_ReportedMTUs(t *testing.T) {
	for _, least := range []int{0, 1280} {
		n := newNAT(t, func(c *natcore.Config) { c.ICMP.LeastMTU, c.ICMP.PerReceiver = least, 5 })
		e := n.out(t, udp, a40000, s1p1)
		b := build(t, udp, s1p1, e, make([]byte, 1400), tcpFlags{})
		_, _ = n.Inbound(b, n.now)
		floor := uint16(max(least, 576))
		for _, mtu := range []uint16{0, 1, 68, 552, floor - 1} {
			verdict, why := n.reports(t, natcore.Outbound, mtu, b)
			require.Equal(t, natcore.Drop, verdict, mtu)
			require.Equal(t, natcore.ReasonICMPQuote, why)
		}
		for turn := range 3 {
			passed := 0
			for range 20 {
				switch verdict, why := n.reports(t, natcore.Outbound, floor, b); verdict {
				case natcore.Forward:
					passed++
				default:
					require.Equal(t, natcore.ReasonICMPRate, why)
				}
			}
			require.Equal(t, 5, passed, "turn %d", turn)
			n.wait(time.Second)
		}
		stranger := build(t, udp, s2p2, endpoint(hostB, 9), nil, tcpFlags{})
		verdict, why := n.reports(t, natcore.Outbound, 1400, stranger)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonICMPNoMatch, why)
		// Other errors are not limited, and neither are other hosts.
		for range 20 {
			verdict, why := n.fragment(natcore.Outbound, icmpError(t, hostA, server1, 3, 3, [4]byte{}, b))
			require.Equal(t, natcore.Forward, verdict, why)
		}
	}
}
