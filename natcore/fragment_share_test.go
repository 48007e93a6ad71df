package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// fragment gives a packet of either direction to the engine.
func (n *nat) fragment(d natcore.Direction, b []byte) (natcore.Verdict, natcore.Reason) {
	batch := []natcore.Packet{{Bytes: bytes.Clone(b), Direction: d}}
	n.Process(batch, n.now)
	return batch[0].Verdict, batch[0].Reason
}

// TestATK10_FragmentsPerSubscriber: a host has its share of datagrams and of bytes, and others have theirs; so it is with remote hosts, and with
// what a host gets. What a share refuses comes back when the time of a datagram is over or it has passed.
//
// Rows: ATK-10.
func TestATK10_FragmentsPerSubscriber(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Limits.FragmentsPerSubscriber, c.Limits.FragmentBytesPerSubscriber = 8, 1500
	})
	e := n.out(t, udp, a40000, s1p1)
	for name, c := range map[string]struct {
		d    natcore.Direction
		from func(host int) [][]byte
	}{
		"outbound": {natcore.Outbound, func(h int) [][]byte { return halves(t, endpoint(host(h), 1), s1p1) }},
		"inbound": {natcore.Inbound, func(h int) [][]byte {
			return halves(t, endpoint(netip.AddrFrom4([4]byte{198, 18, 0, byte(h)}), 1), e)
		}},
	} {
		for h := range 3 {
			f := c.from(h)
			held := 0
			for id := range 50 {
				switch verdict, why := n.fragment(c.d, numbered(f[1], id)); verdict {
				case natcore.Held:
					held++
				default:
					require.Equal(t, natcore.ReasonFragment, why)
				}
			}
			require.Equal(t, 8, held, "%s: datagrams of host %d", name, h)
		}
		n.wait(10 * time.Second)
		f := c.from(9)
		held := 0
		for range 50 {
			if verdict, _ := n.fragment(c.d, f[1]); verdict == natcore.Held {
				held++
			}
		}
		require.Equal(t, 1500/(len(f[1])+64), held, "%s: bytes", name)
		n.wait(10 * time.Second)
		n.expire()
		require.Zero(t, n.Stats().Datagrams)
	}
	// What a host gets is charged to it, whoever sent it.
	for i := range 20 {
		f := halves(t, endpoint(netip.AddrFrom4([4]byte{198, 18, 1, byte(i)}), 1), e)
		verdict, _ := n.fragment(natcore.Inbound, f[0])
		require.Equal(t, natcore.Forward, verdict)
	}
	require.EqualValues(t, 8, n.Stats().Datagrams)
	n.wait(10 * time.Second)
	n.expire()
	require.Zero(t, n.Stats().Datagrams)
	check(t, n)
}

// TestRFC4787_14a_HeadlessTakeHalf: a flood of fragments whose first one never comes fills half of the room; datagrams that come in order pass
// through the other half as if nothing were, any number of them one after the other.
func TestRFC4787_14a_HeadlessTakeHalf(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Limits.Fragments = 20 })
	for i := range 1000 {
		n.fragment(natcore.Outbound, numbered(halves(t, endpoint(host(i), 1), s1p1)[1], i))
	}
	require.EqualValues(t, 10, n.Stats().Datagrams)
	for i := range 200 {
		whole := build(t, udp, endpoint(host(2000+i%5), 7), s1p1, bytes.Repeat([]byte{byte(i)}, 100), tcpFlags{})
		pieces := split(whole, 32)
		for j := range pieces {
			pieces[j] = numbered(pieces[j], i)
		}
		passed := n.pass(t, natcore.Outbound, natcore.Forward, pieces)
		require.Len(t, passed, 4)
		require.True(t, read(t, join(t, passed)).right)
	}
	require.EqualValues(t, 10, n.Stats().Datagrams, "what has passed makes room at once")
}

// TestFragmentsLeaveInOrder: those that waited leave in the order of the datagram, however they came (RFC 4787 REQ-13 A).
func TestFragmentsLeaveInOrder(t *testing.T) {
	n := newNAT(t)
	pieces := split(build(t, udp, a40000, s1p1, make([]byte, 300), tcpFlags{}), 32)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(pieces)-1, func(i, j int) { pieces[i+1], pieces[j+1] = pieces[j+1], pieces[i+1] })
	for _, f := range pieces[1:] {
		verdict, _ := n.fragment(natcore.Outbound, f)
		require.Equal(t, natcore.Held, verdict)
	}
	verdict, _ := n.fragment(natcore.Outbound, pieces[0])
	require.Equal(t, natcore.Forward, verdict)
	last := uint16(0)
	for _, p := range n.Drain(nil) {
		at := binary.BigEndian.Uint16(p.Bytes[6:]) & 0x1fff
		require.Greater(t, at, last)
		last = at
	}
	require.EqualValues(t, (300+8)/32*4, last)
	require.Zero(t, n.Stats().Datagrams)
}

// TestRFC4787_15_OverlappingFragments: fragments that overlap, repeat or lie in each other (teardrop) are translated one by one and pass as
// they are: the receiver puts them together, and what comes after the end waits in vain. Those that would overwrite the header of TCP, or end beyond a datagram's longest, are dropped.
//
// Rows: 4787-15.
func TestRFC4787_15_OverlappingFragments(t *testing.T) {
	n := newNAT(t)
	whole := build(t, udp, a40000, s1p1, make([]byte, 128), tcpFlags{})
	e := n.out(t, udp, a40000, s1p1)
	piece := func(from, to int, more bool) []byte {
		f := append(bytes.Clone(whole[:20]), whole[20+from:20+to]...)
		field := uint16(from / 8)
		if more {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], field)
		return refit(f)
	}
	first := piece(0, 40, true)
	for name, later := range map[string][][]byte{
		"inside":    {piece(24, 32, true), piece(8, 40, true)},
		"overlap":   {piece(32, 80, true), piece(24, 136, false)},
		"repeat":    {piece(40, 80, true), piece(40, 80, true), piece(80, 136, false)},
		"no length": {bytes.Clone(whole[:20])},
	} {
		if name == "no length" {
			binary.BigEndian.PutUint16(later[0][6:], 0x2000|5)
			later[0] = refit(later[0])
		}
		for id, order := range [][][]byte{append([][]byte{first}, later...), append(append([][]byte{}, later...), first)} {
			n.wait(11 * time.Second)
			n.expire()
			var passed [][]byte
			for _, b := range order {
				passed = append(passed, n.passAny(t, numbered(b, 100+id))...)
			}
			require.Len(t, passed, len(order), name)
			for _, b := range passed {
				require.Equal(t, idOf(passed[0]), idOf(b))
				require.Equal(t, e.Addr(), netip.AddrFrom4([4]byte(b[12:16])))
				require.EqualValues(t, 0xffff, sum(b[:20], 0))
				from := int(binary.BigEndian.Uint16(b[6:])&0x1fff) * 8
				if from > 0 {
					require.Equal(t, whole[20+from:20+from+len(b)-20], b[20:], "the payload is as it was")
				}
			}
		}
	}
	long := piece(8, 16, false)
	binary.BigEndian.PutUint16(long[6:], 0x1fff)
	long = refit(append(long, make([]byte, 100)...))
	verdict, why := n.fragment(natcore.Outbound, long)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonMalformed, why, "beyond 65,535 bytes")
	over := split(build(t, tcp, a40000, s1p1, make([]byte, 100), tcpFlags{syn: true}), 8)[1]
	verdict, why = n.fragment(natcore.Outbound, over)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonTinyFragment, why)
}

// passAny gives an outbound packet to the engine and returns what leaves, at once or later. Later fragments of
// a datagram that has passed wait.
func (n *nat) passAny(t failer, b []byte) (passed [][]byte) {
	t.Helper()
	batch := []natcore.Packet{{Bytes: bytes.Clone(b)}}
	n.Process(batch, n.now)
	require.NotEqual(t, natcore.Drop, batch[0].Verdict, "%v", batch[0].Reason)
	if batch[0].Verdict == natcore.Forward {
		passed = append(passed, batch[0].Bytes)
	}
	for _, p := range n.Drain(nil) {
		passed = append(passed, p.Bytes)
	}
	return passed
}

// TestRFC5508_04_FragmentedErrors: ICMP errors that are cut themselves pass in any order, out, in and hairpinned; put together they
// are what the whole error would be.
//
// Rows: 5508-04a, 5508-05a.
func TestRFC5508_04_FragmentedErrors(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		for _, order := range permutations {
			t.Run(fmt.Sprint(k, order), func(t *testing.T) {
				n := newNAT(t)
				a, b := a40000, endpoint(hostB, 41000)
				long := make([]byte, 500)
				sent := build(t, k, a, s1p1, long, tcpFlags{syn: true, seq: 1})
				left := bytes.Clone(sent)
				_, _ = n.Outbound(left, n.now)
				e := read(t, left).src
				cut := func(d natcore.Direction, v natcore.Verdict, b []byte) []byte {
					t.Helper()
					f := split(b, 192)
					require.Len(t, f, 3)
					return join(t, n.pass(t, d, v, [][]byte{f[order[0]], f[order[1]], f[order[2]]}))
				}
				got := cut(natcore.Inbound, natcore.Forward, icmpError(t, router, e.Addr(), 3, 1, [4]byte{}, left))
				require.Equal(t, icmpError(t, router, hostA, 3, 1, [4]byte{}, sent), got)

				came := build(t, k, s1p1, e, long, tcpFlags{syn: true, ack: true, seq: 1})
				arrived := bytes.Clone(came)
				_, _ = n.Inbound(arrived, n.now)
				got = cut(natcore.Outbound, natcore.Forward, icmpError(t, hostA, server1, 3, 1, [4]byte{}, arrived))
				require.Equal(t, icmpError(t, e.Addr(), server1, 3, 1, [4]byte{}, came), numbered(got, 0))

				eb := n.out(t, k, b, s1p1)
				sent = build(t, k, a, eb, long, tcpFlags{syn: true, seq: 1})
				arrived = bytes.Clone(sent)
				_, _ = n.Outbound(arrived, n.now)
				got = cut(natcore.Outbound, natcore.Hairpin, icmpError(t, hostB, e.Addr(), 3, 1, [4]byte{}, arrived))
				require.Equal(t, icmpError(t, eb.Addr(), hostA, 3, 1, [4]byte{}, sent), numbered(got, 0))
				check(t, n)
			})
		}
	}
}

// TestRFC5508_04_ErrorsAboutFragments: an error that quotes a first fragment comes to its sender, who reads its own
// endpoint, and the identification that it left with; one that quotes a later fragment shows no port and is dropped: no router sends it (RFC 1812 section 4.3.2.7).
//
// Rows: 5508-04a.
func TestRFC5508_04_ErrorsAboutFragments(t *testing.T) {
	for _, k := range []kind{udp, tcp, icmp} {
		n := newNAT(t)
		s := s1p1
		if k == icmp {
			s = endpoint(server1, 0)
		}
		sent := split(build(t, k, a40000, s, make([]byte, 100), tcpFlags{syn: true}), 64)
		left := n.pass(t, natcore.Outbound, natcore.Forward, sent)
		e := netip.AddrFrom4([4]byte(left[0][12:16]))
		for _, et := range []struct{ t, c uint8 }{{11, 1}, {3, 1}, {11, 0}} {
			for _, quoted := range []int{28, 1000} {
				b := icmpError(t, router, e, et.t, et.c, [4]byte{}, left[0][:min(len(left[0]), quoted)])
				verdict, why := n.Inbound(b, n.now)
				require.Equal(t, natcore.Forward, verdict, why)
				want := numbered(sent[0], int(idOf(left[0])))
				require.Equal(t, icmpError(t, router, hostA, et.t, et.c, [4]byte{}, want[:min(len(want), quoted)]), b)
			}
			verdict, why := n.Inbound(icmpError(t, router, e, et.t, et.c, [4]byte{}, left[1]), n.now)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonICMPNoMatch, why)
		}
	}
}
