package natcore_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// vectorNAT returns an engine that has one external port, 50000, as the packets below have it.
func vectorNAT(t failer) *nat {
	t.Helper()
	return newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks.Ports = portblock.RangeOf(50000, 50000)
	})
}

// vector is a packet before and after translation, worked out without the engine.
type vector struct{ before, after string }

// The outbound packets of 10.0.0.2:40000 that leave from 203.0.113.5:50000.
var (
	vectorUDP = vector{
		"450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72",
		"450000261c4640004011b83dcb007105c633640ac35000350012ea524e415420766563746f72",
	}
	vectorTCP = vector{
		"4500003c1c4640004006ea360a000002c633640a9c4001bb1122334400000000a002faf0366d0000020405b40402080a000000010000000001030307",
		"4500003c1c4640004006b832cb007105c633640ac35001bb1122334400000000a002faf0dd580000020405b40402080a000000010000000001030307",
	}
	vectorEcho = vector{
		"450000241c4640004001ea530a000002c633640a08005435123400016162636465666768",
		"450000241c4640004001b84fcb007105c633640a0800a318c35000016162636465666768",
	}
)

// send translates the packet of a vector and requires the result, byte for byte.
func (n *nat) send(t failer, d natcore.Direction, v vector) {
	t.Helper()
	b, err := hex.DecodeString(v.before)
	require.NoError(t, err)
	batch := []natcore.Packet{{Bytes: b, Direction: d}}
	n.Process(batch, n.now)
	require.Equal(t, natcore.Forward, batch[0].Verdict, "%v", batch[0].Reason)
	require.Equal(t, v.after, hex.EncodeToString(b))
}

// TestRFC5508_01_Queries: an echo request leaves with a mapped identifier, and the answer comes back with the host's own.
//
// Rows: 5508-10a, 6269-08.
func TestRFC5508_01_Queries(t *testing.T) {
	n := vectorNAT(t)
	n.send(t, natcore.Outbound, vectorEcho)
	echo := endpoint(hostA, 0x1234)
	to, verdict, why := n.in(t, icmp, endpoint(server1, 0), endpoint(netip.MustParseAddr("203.0.113.5"), 50000))
	require.Equal(t, natcore.Forward, verdict, why)
	require.Equal(t, echo, to)
	// An answer that nobody asked for is none, from either side.
	_, verdict, why = n.in(t, icmp, endpoint(server2, 0), endpoint(netip.MustParseAddr("203.0.113.5"), 50000))
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonNoSession, why)
	reply := build(t, icmp, endpoint(hostA, 0), endpoint(server2, 0x1235), nil, tcpFlags{ack: true})
	verdict, why = n.Outbound(reply, n.now)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonNoSession, why)
	t.Run("5508-01a", func(t *testing.T) {
		n := newNAT(t)
		require.Equal(t, n.out(t, icmp, echo, s1p1), n.out(t, icmp, echo, s2p1))
		require.EqualValues(t, 1, n.Stats().Mappings)
	})
	t.Run("5508-01b", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
			c.Pools[0].Blocks.MaxPorts[portblock.ICMP] = 3
		})
		a, b := n.out(t, icmp, echo, s1p1), n.out(t, icmp, endpoint(hostB, 0x1234), s1p1)
		require.NotEqual(t, a, b)
		for _, r := range n.log.Records() {
			id := map[netip.Addr]uint16{hostA: a.Port(), hostB: b.Port()}[r.Subscriber]
			require.True(t, r.First <= id && id <= r.Last, "identifier %d is of the block %d-%d", id, r.First, r.Last)
		}
		n.out(t, icmp, endpoint(hostA, 1), s1p1)
		n.out(t, icmp, endpoint(hostA, 2), s1p1)
		_, verdict, why := n.try(t, icmp, endpoint(hostA, 3), s1p1)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonPortLimit, why)
		n.out(t, udp, endpoint(hostA, 3), s1p1)
		n.out(t, icmp, endpoint(hostB, 3), s1p1)
	})
}

// TestRFC5508_02_QueryTimer: a query's mapping goes with its last session.
//
// Rows: 7857-18.
func TestRFC5508_02_QueryTimer(t *testing.T) {
	n := newNAT(t)
	n.out(t, icmp, a40000, s1p1)
	n.lasts(t, 60*time.Second)
	t.Run("5508-02a", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) { c.Timeouts.ICMP = 90 * time.Second })
		n.out(t, icmp, a40000, s1p1)
		n.lasts(t, 90*time.Second)
		c := config(n.log)
		c.Timeouts.ICMP = 60*time.Second - tick
		_, err := natcore.New(c, began)
		require.Error(t, err)
	})
}

// TestRFC5508_03_Validation: what is looked at in an error that arrives, and what is not.
func TestRFC5508_03_Validation(t *testing.T) {
	n := vectorNAT(t)
	n.send(t, natcore.Outbound, vectorUDP)
	sent, _ := hex.DecodeString(vectorUDP.before)
	left, _ := hex.DecodeString(vectorUDP.after)
	external := netip.MustParseAddr("203.0.113.5")
	t.Run("5508-03a", func(t *testing.T) {
		quote := bytes.Clone(left)
		quote[8]-- // a hop on the way; the quoted header's checksum does not follow
		verdict, why := n.Inbound(icmpError(t, router, external, 3, 3, [4]byte{}, quote), n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonICMPChecksum, why)
	})
	// A router alert stands in the quoted header.
	t.Run("5508-03b", func(t *testing.T) {
		n.send(t, natcore.Inbound, vector{
			"4500003c2b2c000037015991c00002fecb0071050b004715000000004600002a1c46400039112a35cb007105c633640a94040000c35000350012ea52",
			"4500003c2b2c000037018b95c00002fe0a0000020b001511000000004600002a1c46400039115c390a000002c633640a940400009c40003500124367",
		})
	})
	t.Run("5508-03c", func(t *testing.T) {
		quote := bytes.Clone(left)
		quote[len(quote)-1] ^= 0xff // the quoted UDP checksum is wrong now
		want := bytes.Clone(sent)
		want[len(want)-1] ^= 0xff
		b := icmpError(t, router, external, 3, 3, [4]byte{}, quote)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, router, hostA, 3, 3, [4]byte{}, want), b)
	})
	// The length attribute bounds the quote; padding and extension objects pass as they are.
	t.Run("5508-03d", func(t *testing.T) {
		objects := []byte("\x20\x00\x00\x00\x00\x08\x01\x01\x00\x01\x01\xff")
		for quoted, extra := range map[int][]byte{128: objects, 160: append(bytes.Clone(objects), "\x00\x08\x02\x01\xcb\x00\x71\x05"...)} {
			pad := make([]byte, quoted-len(left))
			message := func(quote []byte) []byte { return append(append(bytes.Clone(quote), pad...), extra...) }
			length := [4]byte{0, byte(quoted / 4), 0, 0}
			b := icmpError(t, router, external, 11, 0, length, message(left))
			verdict, why := n.Inbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			require.Equal(t, icmpError(t, router, hostA, 11, 0, length, message(sent)), b)
		}
	})
}

// TestRFC5508_04a_Vectors: errors about what left, as they were worked out by hand: a whole quote (RFC 792 type 3), one that is
// cut to 8 bytes of TCP, one of an echo request whose outer checksum stays the same.
//
// Rows: 5508-04b, 5508-04c, 5508-10h, 4787-12b, CK-05, CK-06.
func TestRFC5508_04a_Vectors(t *testing.T) {
	n := vectorNAT(t)
	n.send(t, natcore.Outbound, vectorUDP)
	n.send(t, natcore.Inbound, vector{
		"450000422b2b00003701f24cc633640acb0071050303636400000000450000261c4640003911bf3dcb007105c633640ac35000350012ea524e415420766563746f72",
		"450000422b2b000037012451c633640a0a0000020303316000000000450000261c4640003911f1410a000002c633640a9c400035001243674e415420766563746f72",
	})
	n = vectorNAT(t)
	n.send(t, natcore.Outbound, vectorTCP)
	n.send(t, natcore.Inbound, vector{
		"45000038010100003c017ec0c00002fecb0071050304ee1000000578450005c81c4640003c06b6a6cb007105c633640ac35001bb11223345",
		"45000038010100003c01b0c4c00002fe0a0000020304152100000578450005c81c4640003c06e8aa0a000002c633640a9c4001bb11223345",
	})
	n = vectorNAT(t)
	n.send(t, natcore.Outbound, vectorEcho)
	n.send(t, natcore.Inbound, vector{
		"450000400007000040017bb2c00002fecb0071050b00f4ff00000000450000241c4640000101f74fcb007105c633640a0800a318c35000016162636465666768",
		"45000040000700004001adb6c00002fe0a0000020b00f4ff00000000450000241c464000010129540a000002c633640a08005435123400016162636465666768",
	})
}

// TestRFC5508_05_NothingLeaksInside: an internal host's error that quotes nobody's packet does not leave.
//
// Rows: 5927-02.
func TestRFC5508_05_NothingLeaksInside(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	for name, quote := range map[string][]byte{
		"another port":   build(t, udp, s1p1, endpoint(hostA, 40001), nil, tcpFlags{}),
		"another host":   build(t, udp, s1p1, endpoint(hostB, 40000), nil, tcpFlags{}),
		"another space":  build(t, tcp, s1p1, a40000, nil, tcpFlags{syn: true}),
		"his own packet": build(t, udp, a40000, s1p1, nil, tcpFlags{}),
	} {
		b := icmpError(t, hostA, server1, 3, 3, [4]byte{}, quote)
		verdict, why := n.Outbound(b, n.now)
		require.Equal(t, natcore.Drop, verdict, name)
		require.Equal(t, natcore.ReasonICMPNoMatch, why, name)
	}
	for name, quote := range map[string][]byte{
		"another external port": build(t, udp, endpoint(e.Addr(), int(e.Port())^1), s1p1, nil, tcpFlags{}),
		"the internal endpoint": build(t, udp, a40000, s1p1, nil, tcpFlags{}),
	} {
		verdict, why := n.Inbound(icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, quote), n.now)
		require.Equal(t, natcore.Drop, verdict, name)
		require.Equal(t, natcore.ReasonICMPNoMatch, why, name)
	}
	// What does match leaves from the mapping's address, with everything else as it was.
	t.Run("5508-05a", func(t *testing.T) {
		for code := range uint8(3) {
			rest := [4]byte{9, 0, 0, code}
			b := icmpError(t, hostA, server1, 12, code, rest, build(t, udp, s1p1, a40000, []byte("x"), tcpFlags{}))
			verdict, why := n.Outbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			require.Equal(t, icmpError(t, e.Addr(), server1, 12, code, rest, build(t, udp, s1p1, e, []byte("x"), tcpFlags{})), b)
		}
	})
	t.Run("5508-05c", func(t *testing.T) {
		inside := netip.MustParseAddr("10.0.0.1") // a router that has no mapping
		b := icmpError(t, inside, server1, 11, 0, [4]byte{}, build(t, udp, s1p1, a40000, []byte("x"), tcpFlags{}))
		verdict, why := n.Outbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, e.Addr(), netip.AddrFrom4([4]byte(b[12:16])))
	})
}

// TestRFC5508_06_ErrorsDoNotRefresh: errors about a query change nothing of its session.
func TestRFC5508_06_ErrorsDoNotRefresh(t *testing.T) {
	n := vectorNAT(t)
	n.send(t, natcore.Outbound, vectorEcho)
	before := n.only(t)
	left, _ := hex.DecodeString(vectorEcho.after)
	n.wait(59 * time.Second)
	for _, et := range everyError() {
		_, _ = n.Inbound(icmpError(t, router, netip.MustParseAddr("203.0.113.5"), et.t, et.c, [4]byte{}, left), n.now)
		require.Equal(t, before, n.only(t))
	}
	n.lasts(t, time.Second)
}

// message builds an ICMP message that is no echo.
func message(t failer, src, dst netip.Addr, icmpType uint8, id uint16, rest []byte) []byte {
	t.Helper()
	return icmpError(t, src, dst, icmpType, 0, [4]byte{byte(id >> 8), byte(id), 0, 1}, rest)
}

// TestRFC5508_10b_Timestamps: timestamp and address mask queries are mapped as echo is.
func TestRFC5508_10b_Timestamps(t *testing.T) {
	for _, query := range []struct{ request, reply uint8 }{{13, 14}, {17, 18}} {
		n := newNAT(t)
		body := make([]byte, 12)
		b := message(t, hostA, server1, query.request, 7, body)
		verdict, why := n.Outbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		e := read(t, b).src
		require.Equal(t, message(t, e.Addr(), server1, query.request, e.Port(), body), b)
		b = message(t, server1, e.Addr(), query.reply, e.Port(), body)
		verdict, why = n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, message(t, server1, hostA, query.reply, 7, body), b)
	}
}

// TestRFC5508_11_OtherTypes: messages that are neither query nor error of a session are dropped under a reason of their own.
func TestRFC5508_11_OtherTypes(t *testing.T) {
	n := newNAT(t)
	for _, icmpType := range []uint8{1, 2, 6, 7, 9, 10, 19, 30, 37, 40, 253, 255} {
		for _, d := range []natcore.Direction{natcore.Outbound, natcore.Inbound} {
			src, dst := hostA, server1
			if d == natcore.Inbound {
				src, dst = server1, netip.MustParseAddr("203.0.113.5")
			}
			batch := []natcore.Packet{{Bytes: message(t, src, dst, icmpType, 7, make([]byte, 28)), Direction: d}}
			n.Process(batch, n.now)
			require.Equal(t, natcore.Drop, batch[0].Verdict, "type %d %v", icmpType, d)
			require.Equal(t, natcore.ReasonICMPType, batch[0].Reason, "type %d %v", icmpType, d)
		}
	}
	require.Zero(t, n.Stats().Mappings)
}

// TestATK_02_NoAnswersOfItsOwn: the engine does not answer pings of its addresses, also after an ICMP 3/4; that one goes to the host whose packet it quotes.
func TestATK_02_NoAnswersOfItsOwn(t *testing.T) {
	n := vectorNAT(t)
	n.send(t, natcore.Outbound, vectorTCP)
	pool := netip.MustParseAddr("203.0.113.5")
	ping := func() {
		t.Helper()
		for _, id := range []int{0, 50000, 0x1234} {
			b := build(t, icmp, endpoint(stranger, id), endpoint(pool, 0), []byte("ping"), tcpFlags{})
			verdict, why := n.Inbound(b, n.now)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonNoMapping, why)
			require.Empty(t, n.Drain(nil))
		}
	}
	ping()
	left, _ := hex.DecodeString(vectorTCP.after)
	sent, _ := hex.DecodeString(vectorTCP.before)
	mtu := [4]byte{0, 0, 0, 68}
	b := icmpError(t, stranger, pool, 3, 4, mtu, left[:28])
	verdict, why := n.Inbound(b, n.now)
	require.Equal(t, natcore.Forward, verdict, why)
	require.Equal(t, icmpError(t, stranger, hostA, 3, 4, mtu, sent[:28]), b)
	ping()
}

// TestRFC5508_10c_Obsolete: source quench and information requests are not translated.
func TestRFC5508_10c_Obsolete(t *testing.T) {
	n := newNAT(t)
	left := build(t, udp, a40000, s1p1, nil, tcpFlags{})
	_, _ = n.Outbound(left, n.now)
	for name, b := range map[string][]byte{
		"source quench":       icmpError(t, router, read(t, left).src.Addr(), 4, 0, [4]byte{}, left),
		"information request": message(t, hostA, server1, 15, 7, nil),
	} {
		d := natcore.Inbound
		if b[20] == 15 {
			d = natcore.Outbound
		}
		batch := []natcore.Packet{{Bytes: b, Direction: d}}
		n.Process(batch, n.now)
		require.Equal(t, natcore.Drop, batch[0].Verdict, name)
		require.Equal(t, natcore.ReasonICMPType, batch[0].Reason, name)
	}
}

// TestRFC5508_10j_SourceRoute: an ICMP message with a source route would tell internal addresses: it does not leave.
func TestRFC5508_10j_SourceRoute(t *testing.T) {
	for _, option := range []byte{131, 137} {
		n := newNAT(t)
		echo := build(t, icmp, a40000, endpoint(server1, 0), nil, tcpFlags{})
		b := append(append(bytes.Clone(echo[:20]), option, 7, 4, 10, 0, 0, 1, 0), echo[20:]...)
		b[0] = 0x47
		b[2], b[3], b[10], b[11] = 0, byte(len(b)), 0, 0
		c := ^sum(b[:28], 0)
		b[10], b[11] = byte(c>>8), byte(c)
		verdict, _ := n.Outbound(b, n.now)
		require.Equal(t, natcore.Drop, verdict)
	}
}
