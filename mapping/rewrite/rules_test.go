package rewrite

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	addrA = 0x0a000002
	addrE = 0xcb007105
	addrS = 0xc633640a
	addrR = 0xc00002fe
)

// ip4 builds an IPv4 packet with checksums computed word by word: for TCP, UDP and
// UDP-Lite with the pseudo header, for ICMP without.
func ip4(proto byte, src, dst uint32, opts, transport []byte) []byte {
	b := make([]byte, 20, 20+len(opts)+len(transport))
	b = append(append(b, opts...), transport...)
	b[0] = 0x40 | byte(5+len(opts)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], 0x1c46)
	b[8], b[9] = 64, proto
	binary.BigEndian.PutUint32(b[12:], src)
	binary.BigEndian.PutUint32(b[16:], dst)
	sumHeader(b)
	t := b[20+len(opts):]
	pseudo := append(append([]byte{}, b[12:20]...), 0, proto, byte(len(t)>>8), byte(len(t)))
	at := map[byte]int{6: 16, 17: 6, 136: 6, 1: 2}[proto]
	if at == 0 || len(t) < at+2 {
		return b
	}
	t[at], t[at+1] = 0, 0
	cover := t
	if proto == 136 {
		if n := int(binary.BigEndian.Uint16(t[4:])); n >= 8 && n <= len(t) {
			cover = t[:n]
		}
	}
	if proto == 1 {
		pseudo = nil
	}
	c := ^uint16(refFold(append(pseudo, cover...)))
	if c == 0 && proto != 6 && proto != 1 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], c)
	return b
}

func sumHeader(b []byte) {
	n := int(b[0]&15) * 4
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^uint16(refFold(b[:n])))
}

// fragmented sets the fragment field: offset in bytes, and the MF bit.
func fragmented(b []byte, offset int, more bool) []byte {
	w := uint16(offset / 8)
	if more {
		w |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], w)
	sumHeader(b)
	return b
}

func udp4(sport, dport uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

func tcp4(sport, dport uint16, flags byte, opts, payload []byte) []byte {
	b := make([]byte, 20, 60)
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint32(b[4:], 0x11223344)
	binary.BigEndian.PutUint32(b[8:], 0x55667788)
	b[12], b[13] = byte(5+len(opts)/4)<<4, flags
	return append(append(b, opts...), payload...)
}

func icmp4(typ, code byte, rest uint32, body []byte) []byte {
	b := []byte{typ, code, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], rest)
	return append(b, body...)
}

func mustParse(t testing.TB, b []byte) (p Packet4) {
	t.Helper()
	require.Equal(t, FaultNone, Parse4(b, &p), "%x", b)
	return p
}

// both checksums of the packet are right.
func requireRight(t testing.TB, b []byte) {
	t.Helper()
	p := mustParse(t, b)
	require.Equal(t, CheckRight, p.CheckHeader(b))
	require.Equal(t, CheckRight, p.CheckTransport(b))
	h, tr := func() (int, int) { r := walk(b, 0, len(b)); return r.residues(b) }()
	require.Zero(t, h)
	require.Zero(t, tr)
}

func TestParse4Fields(t *testing.T) {
	b := ip4(6, addrA, addrS, nil, tcp4(40000, 443, TCPSyn|TCPAck, nil, []byte("hello")))
	b[6] |= 0x40
	sumHeader(b)
	p := mustParse(t, b)
	require.Equal(t, Packet4{
		Src: addrA, Dst: addrS, SrcPort: 40000, DstPort: 443, Seq: 0x11223344, Ack: 0x55667788, PayloadLength: 5,
		ID: 0x1c46, TotalLength: 45, Transport: 20, checksum: 36, end: 45,
		Flags: DontFragment, Kind: KindTCP, Proto: 6, TTL: 64, TCPFlags: TCPSyn | TCPAck,
	}, p)
	require.Equal(t, 20, p.HeaderLength())
	require.True(t, p.Atomic())
	require.False(t, p.Fragment())

	b = ip4(1, addrA, addrS, []byte{148, 4, 0, 0}, icmp4(8, 0, 0x12340001, nil))
	p = mustParse(t, b)
	require.Equal(t, KindQueryRequest, p.Kind)
	require.Equal(t, [2]uint16{0x1234, 0x1234}, [2]uint16{p.SrcPort, p.DstPort})
	require.Equal(t, uint8(8), p.ICMPType)
	require.Equal(t, 24, p.HeaderLength())
	require.False(t, p.Atomic())

	p = mustParse(t, ip4(47, addrA, addrS, nil, []byte{0, 0}))
	require.Equal(t, KindOther, p.Kind, "an unknown protocol is no fault")
}

// TestFaults4 has one packet for each way to be wrong. RFC4787_15 rows are tiny
// fragments.
func TestFaults4(t *testing.T) {
	good := ip4(17, addrA, addrS, nil, udp4(1, 2, []byte("payload!")))
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	tcp := ip4(6, addrA, addrS, nil, tcp4(1, 2, 0, nil, []byte("12345678")))
	for _, c := range []struct {
		name string
		b    []byte
		want Fault
	}{
		{"empty", nil, FaultShort},
		{"19 bytes", good[:19], FaultShort},
		{"version 6", edit(func(b []byte) []byte { b[0] = 0x65; return b }), FaultVersion},
		{"one byte of version 6", []byte{0x60}, FaultVersion},
		{"header length 16", edit(func(b []byte) []byte { b[0] = 0x44; return b }), FaultHeaderLength},
		{"header beyond total", edit(func(b []byte) []byte { b[0] = 0x4f; return b }), FaultTotalLength},
		{"total length 0", edit(func(b []byte) []byte { b[2], b[3] = 0, 0; return b }), FaultTotalLength},
		{"total length 19", edit(func(b []byte) []byte { b[2], b[3] = 0, 19; return b }), FaultTotalLength},
		{"options beyond the capture", append([]byte{0x46, 0, 0, 24}, good[4:20]...), FaultTruncated},
		{"UDP cut to 7", good[:27], FaultTruncated},
		{"UDP of 7", ip4(17, addrA, addrS, nil, make([]byte, 7)), FaultTruncated},
		{"UDP length 7", edit(func(b []byte) []byte { b[25] = 7; return b }), FaultUDPLength},
		{"UDP length beyond", edit(func(b []byte) []byte { b[25] = 17; return b }), FaultUDPLength},
		{"UDP-Lite coverage 7", edit(func(b []byte) []byte { b[9], b[25] = 136, 7; return b }), FaultUDPLength},
		{"UDP-Lite coverage beyond", edit(func(b []byte) []byte { b[9], b[25] = 136, 17; return b }), FaultUDPLength},
		{"TCP cut before its checksum", tcp[:37], FaultTruncated},
		{"TCP of 19", ip4(6, addrA, addrS, nil, make([]byte, 19)), FaultTruncated},
		{"TCP offset 4", ip4(6, addrA, addrS, nil, append(tcp4(1, 2, 0, nil, nil)[:12], 0x40, 0, 0, 0, 0, 0, 0, 0)), FaultTCPOffset},
		{"TCP offset beyond", ip4(6, addrA, addrS, nil, append(tcp4(1, 2, 0, nil, nil)[:12], 0x60, 0, 0, 0, 0, 0, 0, 0)), FaultTCPOffset},
		{"echo of 7", ip4(1, addrA, addrS, nil, icmp4(8, 0, 0, nil)[:7]), FaultTruncated},
		{"error of 7", ip4(1, addrA, addrS, nil, icmp4(3, 0, 0, nil)[:7]), FaultTruncated},
		{"ICMP of 3", ip4(1, addrA, addrS, nil, []byte{9, 0, 0}), FaultTruncated},
		{"B11 UDP of 7 and a trailer", append(ip4(17, addrA, addrS, nil, make([]byte, 7)), 0, 8, 0, 0), FaultTruncated},
		{"B11 TCP of 19 and a trailer", append(ip4(6, addrA, addrS, nil, make([]byte, 19)), 0, 8, 0, 0), FaultTruncated},
		{"B11 echo of 7 and a trailer", append(ip4(1, addrA, addrS, nil, icmp4(8, 0, 0, nil)[:7]), 0, 8, 0, 0), FaultTruncated},
		{"RFC4787_15 TCP first fragment of 16", fragmented(ip4(6, addrA, addrS, nil, make([]byte, 16)), 0, true), FaultTinyFragment},
		{"RFC4787_15 TCP fragment at 8", fragmented(ip4(6, addrA, addrS, nil, make([]byte, 16)), 8, false), FaultTinyFragment},
		{"RFC4787_15 UDP first fragment of 7", fragmented(ip4(17, addrA, addrS, nil, make([]byte, 7)), 0, true), FaultTinyFragment},
		{"echo first fragment of 7", fragmented(ip4(1, addrA, addrS, nil, icmp4(8, 0, 0, nil)[:7]), 0, true), FaultTinyFragment},
		{"fragment beyond 65535", fragmented(ip4(17, addrA, addrS, nil, make([]byte, 16)), 65528, false), FaultFragment},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Packet4
			in := bytes.Clone(c.b)
			require.Equal(t, c.want, Parse4(c.b, &p))
			err := Apply(c.b, from(outsideA))
			require.Error(t, err)
			if c.want != FaultVersion { // Apply takes version 6 for IPv6
				require.ErrorIs(t, err, c.want)
			}
			require.Equal(t, in, c.b, "a refused packet is unchanged")
		})
	}
	var p Packet4
	require.Equal(t, FaultNone, Parse4(fragmented(ip4(17, addrA, addrS, nil, make([]byte, 16)), 8, false), &p), "UDP at 8 is no attack")
	require.Equal(t, FaultNone, Parse4(tcp[:38], &p), "cut just behind the TCP checksum")
	require.NotZero(t, p.Flags&Truncated)
	require.Equal(t, uint16(8), mustParse(t, tcp).PayloadLength)
}

func TestFaultNames(t *testing.T) {
	for f := FaultNone; f < faultCount; f++ {
		require.NotEmpty(t, f.String())
	}
	require.NoError(t, FaultNone.Err())
	require.EqualError(t, FaultTinyFragment.Err(), "rewrite: tiny fragment")
	require.Equal(t, "unknown fault", Fault(200).String())
	for k := KindOther; k < kindCount; k++ {
		require.NotEmpty(t, k.String())
	}
}

// TestB11_Trailer: bytes beyond the IP length are neither summed nor touched.
func TestB11_Trailer(t *testing.T) {
	pkt := ip4(1, addrS, addrE, nil, icmp4(0, 0, 0xc3500001, []byte("abc")))
	b := append(bytes.Clone(pkt), 0xde, 0xad, 0xbe, 0xef)
	p := mustParse(t, b)
	require.Equal(t, CheckRight, p.CheckTransport(b))
	p.SetDestination(b, addrA, 0x1234)
	requireRight(t, b)
	require.Equal(t, []byte{0xde, 0xad, 0xbe, 0xef}, b[len(pkt):])
}

// TestRFC768_CK04_Zero: no checksum stays none, a computed 0 is sent as 0xFFFF,
// for every port, and back.
func TestRFC768_CK04_Zero(t *testing.T) {
	b := ip4(17, addrA, addrS, nil, udp4(40000, 53, []byte("x")))
	was := bytes.Clone(b)
	p := mustParse(t, b)
	seen := 0
	for port := range 65536 {
		p.SetSource(b, addrE, uint16(port))
		c := binary.BigEndian.Uint16(b[26:])
		if c == 0 {
			t.Fatalf("port %d: a computed checksum of 0", port)
		}
		if c == 0xffff {
			seen++
			requireRight(t, b)
		}
	}
	require.Equal(t, 1, seen)
	p.SetSource(b, addrA, 40000)
	require.Equal(t, was, b)

	b[26], b[27] = 0, 0
	p.SetSource(b, addrE, 7)
	p.SetDestination(b, addrA, 9)
	require.Zero(t, binary.BigEndian.Uint16(b[26:]))
	require.Equal(t, CheckUnknown, p.CheckTransport(b))
}

// TestRFC3828_UDPLite: the checksum follows, whatever it covers; illegal zero stays.
func TestRFC3828_UDPLite(t *testing.T) {
	for _, coverage := range []uint16{0, 8, 9, 16, 19} {
		u := udp4(40000, 53, []byte("elevenbytes"))
		binary.BigEndian.PutUint16(u[4:], coverage)
		b := ip4(136, addrA, addrS, nil, u)
		p := mustParse(t, b)
		require.Equal(t, KindUDPLite, p.Kind)
		p.SetSource(b, addrE, 50000)
		p.SetDestination(b, addrA, 1)
		requireRight(t, b)
		b[26], b[27] = 0, 0
		p.SetSource(b, addrE, 50001)
		require.Zero(t, binary.BigEndian.Uint16(b[26:]))
		require.Equal(t, CheckWrong, p.CheckTransport(b))
	}
}

// TestPartialChecksum: with PartialChecksum the field follows the addresses only,
// so that completing it gives a right packet.
func TestPartialChecksum(t *testing.T) {
	for _, proto := range []byte{6, 17} {
		seg := tcp4(40000, 443, TCPAck, nil, []byte("segment"))
		at := 16
		if proto == 17 {
			seg, at = udp4(40000, 443, []byte("segment")), 6
		}
		b := ip4(proto, addrA, addrS, nil, seg)
		binary.BigEndian.PutUint16(b[20+at:], Fold(PseudoSum4(addrA, addrS, proto, uint16(len(b)-20))))
		p := mustParse(t, b)
		p.Flags |= PartialChecksum
		require.Equal(t, CheckUnknown, p.CheckTransport(b))
		p.SetSource(b, addrE, 50000)
		p.SetDestination(b, addrR, 80)
		field := binary.BigEndian.Uint16(b[20+at:])
		require.Equal(t, uint16(refFold([]byte{203, 0, 113, 5, 192, 0, 2, 254, 0, proto, 0, byte(len(b) - 20)})), field)
		// What hardware does: sum from the transport header on, field included.
		binary.BigEndian.PutUint16(b[20+at:], ^uint16(refFold(b[20:])))
		requireRight(t, b)
	}
}

// TestB22_Fragments cuts a datagram into three, translates each piece and puts them
// together again: the datagram is right. B23 takes them in reverse, B26 rewrites
// both endpoints.
func TestB22_B23_B26_Fragments(t *testing.T) {
	body := bytes.Repeat([]byte("fragment"), 12)
	for proto, transport := range map[byte][]byte{
		17: udp4(40000, 53, body), 6: tcp4(40000, 53, TCPAck, nil, body), 1: icmp4(8, 0, 0x9c400001, body), 136: udp4(40000, 53, body),
	} {
		whole := ip4(proto, addrA, addrS, nil, transport)
		var pieces [][]byte
		for _, cut := range [][2]int{{0, 32}, {32, 64}, {64, len(transport)}} {
			f := append(bytes.Clone(whole[:20]), whole[20+cut[0]:20+cut[1]]...)
			binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
			pieces = append(pieces, fragmented(f, cut[0], cut[1] < len(transport)))
		}
		got := bytes.Clone(whole)
		for _, i := range []int{2, 1, 0} {
			f := pieces[i]
			p := mustParse(t, f)
			require.True(t, p.Fragment())
			require.Equal(t, CheckUnknown, p.CheckTransport(f))
			require.Equal(t, i != 0, p.Kind == KindFragment)
			tail := bytes.Clone(f[28:])
			p.SetSource(f, addrE, 50000)
			p.SetDestination(f, addrR, 50000)
			require.Equal(t, CheckRight, p.CheckHeader(f))
			if i != 0 {
				require.Equal(t, tail, f[28:])
				require.Zero(t, p.SrcPort)
			}
			copy(got[20+int(p.FragmentOffset):], f[20:])
		}
		copy(got[12:20], pieces[0][12:20])
		sumHeader(got)
		requireRight(t, got)
		p := mustParse(t, got)
		require.Equal(t, uint16(50000), p.SrcPort)
	}
}

// TestRFC7857_17b_ID: the identification can be rewritten.
func TestRFC7857_17b_ID(t *testing.T) {
	b := ip4(17, addrA, addrS, nil, udp4(1, 2, nil))
	p := mustParse(t, b)
	require.False(t, p.Atomic())
	for _, id := range []uint16{0, 1, 0xffff, 0x1c46} {
		p.SetID(b, id)
		require.Equal(t, id, binary.BigEndian.Uint16(b[4:]))
		requireRight(t, b)
		require.Equal(t, mustParse(t, b), p)
	}
}

func TestDecrementTTL(t *testing.T) {
	b := ip4(17, addrA, addrS, nil, udp4(1, 2, nil))
	b[8] = 255
	sumHeader(b)
	p := mustParse(t, b)
	for ttl := 254; ttl >= 1; ttl-- {
		require.True(t, p.DecrementTTL(b))
		require.Equal(t, byte(ttl), b[8])
		require.Equal(t, CheckRight, p.CheckHeader(b))
	}
	was := bytes.Clone(b)
	require.False(t, p.DecrementTTL(b))
	require.Equal(t, was, b)
}

// TestB84_MSS: 1400 with a clamp of 1000 becomes 1000, with 1500 it stays; the
// checksum is right, at even and odd places of the option.
func TestB84_MSS(t *testing.T) {
	for _, opts := range [][]byte{
		{2, 4, 0x05, 0x78}, {1, 2, 4, 0x05, 0x78, 1, 1, 0}, {1, 1, 2, 4, 0x05, 0x78, 0, 0}, {3, 3, 7, 2, 4, 0x05, 0x78, 0},
	} {
		b := ip4(6, addrA, addrS, nil, tcp4(1, 2, TCPSyn, opts, nil))
		p := mustParse(t, b)
		was := bytes.Clone(b)
		require.False(t, p.ClampMSS(b, 1500))
		require.False(t, p.ClampMSS(b, 1400))
		require.Equal(t, was, b)
		require.True(t, p.ClampMSS(b, 1000))
		requireRight(t, b)
		i := bytes.Index(b, []byte{2, 4, 0x03, 0xe8})
		require.Greater(t, i, 39)
		b[38]++ // now urgent data: wrong stays wrong
		require.Equal(t, CheckWrong, p.CheckTransport(b))
		require.True(t, p.ClampMSS(b, 536))
		require.Equal(t, CheckWrong, p.CheckTransport(b))
		b[38]--
		requireRight(t, b)
	}
	for name, seg := range map[string][]byte{
		"no SYN":     tcp4(1, 2, TCPAck, []byte{2, 4, 5, 0x78}, nil),
		"no options": tcp4(1, 2, TCPSyn, nil, nil),
		"after end":  tcp4(1, 2, TCPSyn, []byte{0, 0, 0, 0, 2, 4, 5, 0x78}, nil),
		"broken":     tcp4(1, 2, TCPSyn, []byte{9, 0, 0, 0, 2, 4, 5, 0x78}, nil),
		"too long":   tcp4(1, 2, TCPSyn, []byte{9, 99, 0, 0, 2, 4, 5, 0x78}, nil),
		"cut":        tcp4(1, 2, TCPSyn, []byte{1, 1, 1, 2}, nil),
	} {
		b := ip4(6, addrA, addrS, nil, seg)
		p := mustParse(t, b)
		require.False(t, p.ClampMSS(b, 100), name)
	}
}

// TestSourceRoute: the transport checksum covers the last address of an unexpired
// source route, so a new destination does not change it (RFC 5508 row 10j is the
// caller's: the flag says so).
func TestSourceRoute(t *testing.T) {
	opts := []byte{131, 7, 4, 9, 9, 9, 9, 0}
	b := ip4(6, addrA, 0x09090909, opts, tcp4(1, 2, 0, nil, nil)) // summed with the final destination
	binary.BigEndian.PutUint32(b[16:], addrS)
	sumHeader(b)
	p := mustParse(t, b)
	require.NotZero(t, p.Flags&SourceRoute)
	require.Equal(t, CheckRight, p.CheckTransport(b))
	p.SetDestination(b, addrR, 77)
	require.Equal(t, CheckRight, p.CheckTransport(b))
	p.SetSource(b, addrE, 78)
	require.Equal(t, CheckRight, p.CheckTransport(b))
	require.Equal(t, CheckRight, p.CheckHeader(b))

	opts[2] = 8 // used up
	p = mustParse(t, ip4(6, addrA, addrS, opts, tcp4(1, 2, 0, nil, nil)))
	require.Zero(t, p.Flags&SourceRoute)
}
