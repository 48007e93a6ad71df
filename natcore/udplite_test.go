package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// udpLite builds a UDP-Lite packet (RFC 3828 section 3.1): the checksum is over the pseudo header with the whole length, and over the
// first coverage bytes; coverage 0 is all.
func udpLite(t failer, src, dst netip.AddrPort, coverage int, payload []byte) []byte {
	t.Helper()
	d := binary.BigEndian.AppendUint16(nil, src.Port())
	d = binary.BigEndian.AppendUint16(d, dst.Port())
	d = binary.BigEndian.AppendUint16(d, uint16(coverage))
	d = append(append(d, 0, 0), payload...)
	binary.BigEndian.PutUint16(d[6:], litesum(src.Addr(), dst.Addr(), d))
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 7, Flags: layers.IPv4DontFragment, Protocol: 136, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice(),
	}
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, gopacket.Payload(d)))
	return bytes.Clone(buf.Bytes())
}

// litesum is the checksum of a datagram, whose own field counts as zero.
func litesum(src, dst netip.Addr, d []byte) uint16 {
	covered := bytes.Clone(d)
	covered[6], covered[7] = 0, 0
	if n := int(binary.BigEndian.Uint16(d[4:])); n != 0 {
		covered = covered[:n]
	}
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, 136), uint16(len(d)))
	c := ^sum(covered, uint32(sum(pseudo, 0)))
	if c == 0 {
		return 0xffff
	}
	return c
}

// readLite reads a UDP-Lite packet and requires right checksums.
func readLite(t failer, b []byte) (src, dst netip.AddrPort) {
	t.Helper()
	require.EqualValues(t, 136, b[9])
	require.EqualValues(t, 0xffff, sum(b[:20], 0))
	s, d := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	require.Equal(t, litesum(s, d, b[20:]), binary.BigEndian.Uint16(b[26:]))
	return netip.AddrPortFrom(s, binary.BigEndian.Uint16(b[20:])), netip.AddrPortFrom(d, binary.BigEndian.Uint16(b[22:]))
}

// lite sends a UDP-Lite packet and returns its endpoints as it leaves.
func (n *nat) lite(t failer, d natcore.Direction, want natcore.Verdict, b []byte) (src, dst netip.AddrPort) {
	t.Helper()
	batch := []natcore.Packet{{Bytes: b, Direction: d}}
	n.Process(batch, n.now)
	require.Equal(t, want, batch[0].Verdict, "%v", batch[0].Reason)
	return readLite(t, b)
}

// TestRFC3828_Translation: UDP-Lite passes both ways and hairpinned, whole or in fragments, whatever its checksum covers; payload and coverage
// stay.
func TestRFC3828_Translation(t *testing.T) {
	payload := bytes.Repeat([]byte("lite"), 31)
	for _, coverage := range []int{0, 8, 9, 12, 100, 8 + len(payload)} {
		t.Run(fmt.Sprint(coverage), func(t *testing.T) {
			n := newNAT(t)
			b := udpLite(t, a40000, s1p1, coverage, payload)
			e, _ := n.lite(t, natcore.Outbound, natcore.Forward, b)
			require.True(t, n.External(e.Addr()))
			require.Equal(t, udpLite(t, e, s1p1, coverage, payload), b)
			b = udpLite(t, s1p1, e, coverage, payload)
			n.lite(t, natcore.Inbound, natcore.Forward, b)
			require.Equal(t, udpLite(t, s1p1, a40000, coverage, payload), b)
			other := endpoint(hostB, 41000)
			b = udpLite(t, other, e, coverage, payload)
			eb, to := n.lite(t, natcore.Outbound, natcore.Hairpin, b)
			require.Equal(t, a40000, to)
			require.Equal(t, udpLite(t, eb, a40000, coverage, payload), b)

			whole := udpLite(t, a40000, s1p1, coverage, payload)
			passed := n.pass(t, natcore.Outbound, natcore.Forward, split(whole, 64))
			require.Equal(t, udpLite(t, e, s1p1, coverage, payload), numbered(join(t, passed), 7))
			check(t, n)
		})
	}
	n := newNAT(t)
	for _, coverage := range []int{1, 7, 9 + len(payload), 65535} {
		b := udpLite(t, a40000, s1p1, 0, payload)
		binary.BigEndian.PutUint16(b[24:], uint16(coverage))
		n.answer(t, natcore.Packet{Bytes: b}, natcore.ReasonMalformed)
	}
}

// TestRFC3828_PortsAreThoseOfUDP: one block serves UDP and UDP-Lite, no port of it both; their mappings, sessions, filters and quotas of sessions are apart.
func TestRFC3828_PortsAreThoseOfUDP(t *testing.T) {
	n := newNAT(t, small(1024, 1039, 16), func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
	used := map[uint16]bool{}
	take := func(e netip.AddrPort) {
		require.False(t, used[e.Port()], "port %d twice", e.Port())
		used[e.Port()] = true
	}
	var plain, lite netip.AddrPort
	for i := range 8 {
		src := endpoint(hostA, 5000+i)
		plain = n.out(t, udp, src, s1p1)
		take(plain)
		lite, _ = n.lite(t, natcore.Outbound, natcore.Forward, udpLite(t, src, s2p1, 0, nil))
		take(lite)
	}
	check(t, n)
	n.answer(t, natcore.Packet{Bytes: udpLite(t, endpoint(hostA, 9), s1p1, 0, nil)}, natcore.ReasonBlocksExhausted)
	n.refused(t, udp, endpoint(hostA, 9), natcore.ReasonBlocksExhausted)
	n.out(t, tcp, endpoint(hostA, 9), s1p1)
	info := 0
	for s := range n.Sessions() {
		if s.Protocol == 136 {
			require.Equal(t, "udp", s.State)
			info++
		}
	}
	require.Equal(t, 8, info)
	for s := range n.Subscribers() {
		require.Equal(t, [3]int{1, 16, 0}, s.Ports)
	}
	// A port of one protocol is nobody's in the other, and filters are apart.
	in := func(b []byte, want natcore.Reason) {
		t.Helper()
		n.answer(t, natcore.Packet{Bytes: b, Direction: natcore.Inbound}, want)
	}
	in(build(t, udp, s1p1, lite, nil, tcpFlags{}), natcore.ReasonNoMapping)
	in(udpLite(t, s2p1, plain, 0, nil), natcore.ReasonNoMapping)
	in(udpLite(t, s1p1, lite, 0, nil), natcore.ReasonFiltered)
	n.lite(t, natcore.Inbound, natcore.Forward, udpLite(t, s2p2, lite, 0, nil))
	n.wait(300*time.Second - time.Millisecond)
	n.expire()
	require.EqualValues(t, 17-1, n.Stats().Sessions, "the idle time is that of UDP")
	n.wait(time.Millisecond)
	n.expire()
	require.Zero(t, n.Stats().Sessions)
	n.rest()
	n.empty(t)
}

// TestRFC3828_Errors: ICMP errors about UDP-Lite packets, quoted in full or in 8 bytes, pass both ways.
func TestRFC3828_Errors(t *testing.T) {
	for _, quoted := range []int{28, 1000} {
		n := newNAT(t)
		sent := udpLite(t, a40000, s1p1, 12, []byte("payload"))
		left := bytes.Clone(sent)
		e, _ := n.lite(t, natcore.Outbound, natcore.Forward, left)
		b := icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, left[:min(quoted, len(left))])
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, router, hostA, 3, 3, [4]byte{}, sent[:min(quoted, len(sent))]), b)
		came := udpLite(t, s1p1, e, 12, []byte("payload"))
		arrived := bytes.Clone(came)
		n.lite(t, natcore.Inbound, natcore.Forward, arrived)
		b = icmpError(t, hostA, server1, 3, 3, [4]byte{}, arrived[:min(quoted, len(arrived))])
		verdict, why = n.Outbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, e.Addr(), server1, 3, 3, [4]byte{}, came[:min(quoted, len(came))]), b)
	}
}

// TestRFC3828_ExplicitMapping: a mapping can be asked for; what is refused is explained, and Config.Protocols does not take what is translated with its ports.
func TestRFC3828_ExplicitMapping(t *testing.T) {
	n := newNAT(t)
	e, err := n.Map(natcore.MapRequest{Internal: a40000, Protocol: 136, Lifetime: time.Hour}, n.now)
	require.NoError(t, err)
	n.lite(t, natcore.Inbound, natcore.Forward, udpLite(t, s2p2, e, 0, nil))
	require.NotEqual(t, e, n.out(t, udp, a40000, s1p1))
	got, _ := n.lite(t, natcore.Outbound, natcore.Forward, udpLite(t, a40000, s1p1, 0, nil))
	require.Equal(t, e, got)
	require.True(t, n.Unmap(natcore.MapRequest{Internal: a40000, Protocol: 136}, n.now))
	cfg := config(n.log)
	cfg.Protocols = []uint8{136}
	_, err = natcore.New(cfg, began)
	require.ErrorContains(t, err, "UDP-Lite")
	check(t, n)
}

// TestRFC3828_AllocatesNothing: a known session costs no memory.
func TestRFC3828_AllocatesNothing(t *testing.T) {
	n := newNAT(t)
	packet := udpLite(t, a40000, s1p1, 0, []byte("payload"))
	batch, b := make([]natcore.Packet, 1), bytes.Clone(packet)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		copy(b, packet)
		batch[0] = natcore.Packet{Bytes: b}
		n.Process(batch, n.now)
	}))
	require.Equal(t, natcore.Forward, batch[0].Verdict)
}

// TestRFC3828_Snapshot: mappings and sessions of UDP-Lite go on after a restart, beside those of UDP.
func TestRFC3828_Snapshot(t *testing.T) {
	n := newNAT(t)
	lite, _ := n.lite(t, natcore.Outbound, natcore.Forward, udpLite(t, a40000, s1p1, 0, nil))
	plain := n.out(t, udp, a40000, s1p1)
	var err error
	n.Engine, err = natcore.Restore(config(n.log), n.AppendSnapshot(nil), n.now)
	require.NoError(t, err)
	check(t, n)
	_, to := n.lite(t, natcore.Inbound, natcore.Forward, udpLite(t, s1p1, lite, 0, nil))
	require.Equal(t, a40000, to)
	require.True(t, n.passes(t, udp, s1p1, plain, a40000))
	require.EqualValues(t, 2, n.Stats().Sessions)
}
