package natcore_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// icmpError builds an ICMP error that quotes the first bytes of a packet.
func icmpError(t failer, src, dst netip.Addr, icmpType, code uint8, rest [4]byte, quote []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TTL: 60, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolICMPv4, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
	message := append([]byte{icmpType, code, 0, 0, rest[0], rest[1], rest[2], rest[3]}, quote...)
	c := ^sum(message, 0)
	message[2], message[3] = byte(c>>8), byte(c)
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	require.NoError(t, gopacket.SerializeLayers(buf, opts, ip, gopacket.Payload(message)))
	return bytes.Clone(buf.Bytes())
}

// errorTypes are the ICMP errors that RFC 4787 REQ-12 and RFC 5382 REQ-10 speak of.
var errorTypes = []struct{ t, c uint8 }{{3, 0}, {3, 1}, {3, 3}, {3, 4}, {3, 13}, {11, 0}, {11, 1}, {12, 0}}

// TestRFC5508_04_ErrorsAboutWhatLeft: a router's error about a packet that
// left comes to the sender; the quote is the packet as he sent it, the rest of the
// message is as it was, and all checksums are right. Quotes are whole or cut to 8 bytes of transport header.
func TestRFC5508_04_ErrorsAboutWhatLeft(t *testing.T) {
	for _, k := range []kind{udp, tcp, icmp} {
		for _, quoted := range []int{1000, 28} {
			for _, et := range errorTypes {
				t.Run(fmt.Sprintf("%v/%d-%d/quote=%d", k, et.t, et.c, quoted), func(t *testing.T) {
					n := newNAT(t)
					src, dst := endpoint(hostA, 40000), endpoint(server1, 443)
					if k == icmp {
						dst = endpoint(server1, 0)
					}
					sent := build(t, k, src, dst, []byte("payload"), tcpFlags{syn: true, seq: 1})
					left := bytes.Clone(sent)
					verdict, why := n.Outbound(left, n.now)
					require.Equal(t, natcore.Forward, verdict, why)
					external := read(t, left).src.Addr()
					cut := min(quoted, len(left))
					rest := [4]byte{0, 0, 5, 120}
					b := icmpError(t, router, external, et.t, et.c, rest, left[:cut])
					verdict, why = n.Inbound(b, n.now)
					require.Equal(t, natcore.Forward, verdict, why)
					require.Equal(t, icmpError(t, router, hostA, et.t, et.c, rest, sent[:cut]), b)
					check(t, n)
				})
			}
		}
	}
}

// TestRFC5508_05_ErrorsAboutWhatArrived: an internal host's error about a packet that
// arrived leaves with the mapping's address as source and quotes the packet as the remote
// end sent it (RFC 5508 REQ-5), also when an internal router sends it.
func TestRFC5508_05_ErrorsAboutWhatArrived(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		for _, sender := range []netip.Addr{hostA, netip.MustParseAddr("10.0.0.1")} {
			n := newNAT(t)
			src, dst := endpoint(hostA, 40000), endpoint(server1, 443)
			e := n.out(t, k, src, dst)
			sent := build(t, k, dst, e, []byte("answer"), tcpFlags{syn: true, ack: true, seq: 1})
			arrived := bytes.Clone(sent)
			verdict, why := n.Inbound(arrived, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			b := icmpError(t, sender, server1, 3, 3, [4]byte{}, arrived)
			verdict, why = n.Outbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			require.Equal(t, icmpError(t, e.Addr(), server1, 3, 3, [4]byte{}, sent), b)
		}
	}
}

// TestRFC5508_07_HairpinnedErrors: B answers a hairpinned packet of A with an
// error; A gets it from B's external address, about the packet that A sent (vector P10).
func TestRFC5508_07_HairpinnedErrors(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		n := newNAT(t)
		a, b := endpoint(hostA, 40000), endpoint(hostB, 41000)
		eb := n.out(t, k, b, endpoint(server1, 443))
		sent := build(t, k, a, eb, []byte("hello"), tcpFlags{syn: true, seq: 1})
		arrived := bytes.Clone(sent)
		verdict, why := n.Outbound(arrived, n.now)
		require.Equal(t, natcore.Hairpin, verdict, why)
		s := read(t, arrived)
		require.Equal(t, b, s.dst)
		require.True(t, n.External(s.src.Addr()), "RFC 4787 REQ-9a: the source is external")
		e := icmpError(t, hostB, s.src.Addr(), 3, 3, [4]byte{}, arrived)
		verdict, why = n.Outbound(e, n.now)
		require.Equal(t, natcore.Hairpin, verdict, why)
		require.Equal(t, icmpError(t, eb.Addr(), hostA, 3, 3, [4]byte{}, sent), e)
		check(t, n)
	}
}

// TestRFC4787_12_ErrorsEndNothing: after errors of every type from both sides the session is
// there, with the same idle time as without them (RFC 5382 REQ-10, RFC 5508 REQ-6).
func TestRFC4787_12_ErrorsEndNothing(t *testing.T) {
	lives := map[kind]time.Duration{udp: 300 * time.Second, tcp: 240 * time.Second, icmp: 60 * time.Second}
	for k, life := range lives {
		n := newNAT(t)
		src, dst := endpoint(hostA, 40000), endpoint(server1, 443)
		if k == icmp {
			dst = endpoint(server1, 0)
		}
		left := build(t, k, src, dst, nil, tcpFlags{syn: true, seq: 1})
		arrived := build(t, k, dst, src, nil, tcpFlags{ack: true, seq: 1})
		_, _ = n.Outbound(left, n.now)
		external := read(t, left).src.Addr()
		n.wait(life / 2)
		for _, et := range errorTypes {
			verdict, why := n.Inbound(icmpError(t, router, external, et.t, et.c, [4]byte{}, left), n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			verdict, why = n.Outbound(icmpError(t, hostA, dst.Addr(), et.t, et.c, [4]byte{0, 0, 5, 120}, arrived), n.now)
			require.Equal(t, natcore.Forward, verdict, why)
		}
		n.wait(life/2 - time.Millisecond)
		n.expire()
		require.EqualValues(t, 1, n.Stats().Sessions, "%v: alive a tick before its time", k)
		n.wait(time.Millisecond)
		n.expire()
		require.Zero(t, n.Stats().Sessions, "%v: over at its time", k)
	}
}

// TestRFC5508_03_BadErrorsAreDropped: a wrong ICMP checksum, a wrong checksum in the quoted header, a
// quote of nobody's packet, and an error about an error.
func TestRFC5508_03_BadErrorsAreDropped(t *testing.T) {
	n := newNAT(t)
	src, dst := endpoint(hostA, 40000), endpoint(server1, 443)
	left := build(t, udp, src, dst, nil, tcpFlags{})
	_, _ = n.Outbound(left, n.now)
	external := read(t, left).src
	drop := func(b []byte, want natcore.Reason) {
		t.Helper()
		before := bytes.Clone(b)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, want, why)
		require.Equal(t, before, b)
	}
	b := icmpError(t, router, external.Addr(), 3, 3, [4]byte{}, left)
	b[22] ^= 1
	drop(b, natcore.ReasonICMPChecksum)
	quote := bytes.Clone(left)
	quote[10] ^= 1
	drop(icmpError(t, router, external.Addr(), 3, 3, [4]byte{}, quote), natcore.ReasonICMPChecksum)
	other := build(t, udp, endpoint(external.Addr(), int(external.Port())^1), dst, nil, tcpFlags{})
	drop(icmpError(t, router, external.Addr(), 3, 3, [4]byte{}, other), natcore.ReasonICMPNoMatch)
	nested := icmpError(t, external.Addr(), server1, 3, 3, [4]byte{}, left)
	drop(icmpError(t, router, external.Addr(), 3, 3, [4]byte{}, nested), natcore.ReasonMalformed)
	drop(icmpError(t, router, external.Addr(), 3, 3, [4]byte{}, left[:24]), natcore.ReasonTruncated)
}
