package rewrite

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	addr6A = netip.MustParseAddr("fd00::2").As16()
	addr6E = netip.MustParseAddr("2001:db8:1::5").As16()
	addr6S = netip.MustParseAddr("2001:db8:2::10").As16()
	addr6R = netip.MustParseAddr("2001:db8:3::fe").As16()
)

// ip6 builds an IPv6 packet: exts are extension headers whose first byte is filled
// in here, protos are their numbers and last the transport's. The checksum covers
// pseudoSrc and pseudoDst.
func ip6(src, dst, pseudoSrc, pseudoDst [16]byte, protos []byte, exts [][]byte, transport []byte) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, protos[0], 64
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	for i, e := range exts {
		e = bytes.Clone(e)
		e[0] = protos[i+1]
		b = append(b, e...)
	}
	l4 := len(b)
	b = append(b, transport...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	proto := protos[len(protos)-1]
	t := b[l4:]
	at := map[byte]int{6: 16, 17: 6, 136: 6, 58: 2}[proto]
	if at == 0 || len(t) < at+2 {
		return b
	}
	t[at], t[at+1] = 0, 0
	ph := append(append(append([]byte{}, pseudoSrc[:]...), pseudoDst[:]...), 0, 0, byte(len(t)>>8), byte(len(t)), 0, 0, 0, proto)
	c := ^uint16(refFold(append(ph, t...)))
	if c == 0 && (proto == 17 || proto == 136) {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], c)
	return b
}

func plain6(proto byte, src, dst [16]byte, transport []byte) []byte {
	return ip6(src, dst, src, dst, []byte{proto}, nil, transport)
}

func TestParse6Chains(t *testing.T) {
	hbh := []byte{0, 0, 1, 4, 0, 0, 0, 0}
	opts := []byte{0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	home := append([]byte{0, 2, 1, 2, 0, 0, 0xc9, 16}, addr6R[:]...)
	route := func(typ, left byte) []byte {
		h := append([]byte{0, 4, typ, left, 0, 0, 0, 0}, addr6R[:]...)
		return append(h, addr6S[:]...)
	}
	ah := []byte{0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2}
	seg := tcp4(40000, 443, TCPAck, nil, []byte("odd"))
	for _, c := range []struct {
		name         string
		psrc, pdst   [16]byte
		protos       []byte
		exts         [][]byte
		flags        Flags
		uncheckable  bool
		atomicHeader bool
	}{
		{name: "none", psrc: addr6A, pdst: addr6S, protos: []byte{6}},
		{name: "hop by hop, destination options", psrc: addr6A, pdst: addr6S, protos: []byte{0, 60, 6}, exts: [][]byte{hbh, opts}},
		{name: "home address", psrc: addr6R, pdst: addr6S, protos: []byte{60, 6}, exts: [][]byte{home}, flags: HomeAddress},
		{name: "used route", psrc: addr6A, pdst: addr6S, protos: []byte{43, 6}, exts: [][]byte{route(0, 0)}},
		{name: "route type 0", psrc: addr6A, pdst: addr6S, protos: []byte{43, 6}, exts: [][]byte{route(0, 1)}, flags: SourceRoute},
		{name: "segment route", psrc: addr6A, pdst: addr6R, protos: []byte{43, 6}, exts: [][]byte{route(4, 1)}, flags: SourceRoute},
		{name: "unknown route", psrc: addr6A, pdst: addr6R, protos: []byte{43, 6}, exts: [][]byte{route(3, 1)}, flags: SourceRoute, uncheckable: true},
		{name: "authentication", psrc: addr6A, pdst: addr6S, protos: []byte{51, 6}, exts: [][]byte{ah}},
		{name: "atomic fragment", psrc: addr6A, pdst: addr6S, protos: []byte{44, 6}, exts: [][]byte{{0, 0, 0, 0, 1, 2, 3, 4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := ip6(addr6A, addr6S, c.psrc, c.pdst, c.protos, c.exts, seg)
			was := bytes.Clone(b)
			var p Packet6
			require.Equal(t, FaultNone, Parse6(b, &p))
			require.Equal(t, KindTCP, p.Kind)
			require.Equal(t, c.flags, p.Flags)
			require.Equal(t, uint32(len(b)-len(seg)), p.Transport)
			require.Equal(t, uint16(3), p.PayloadLength)
			want := CheckRight
			if c.uncheckable {
				want = CheckUnknown
			}
			require.Equal(t, want, p.CheckTransport(b))
			p.SetSource(b, addr6E, 50000)
			p.SetDestination(b, addr6R, 80)
			require.Equal(t, want, p.CheckTransport(b))
			require.Equal(t, goldenApply(was, Translation{
				Source:      netip.AddrPortFrom(netip.AddrFrom16(addr6E), 50000),
				Destination: netip.AddrPortFrom(netip.AddrFrom16(addr6R), 80),
			}), b)
		})
	}
}

func TestFaults6(t *testing.T) {
	good := plain6(17, addr6A, addr6S, udp4(1, 2, []byte("payload!")))
	edit := func(at int, v ...byte) []byte { b := bytes.Clone(good); copy(b[at:], v); return b }
	frag := func(w uint16, proto byte, transport []byte) []byte {
		return ip6(addr6A, addr6S, addr6A, addr6S, []byte{44, proto}, [][]byte{{0, 0, byte(w >> 8), byte(w), 0, 0, 0, 9}}, transport)
	}
	many := make([][]byte, 40)
	protos := make([]byte, 41)
	for i := range many {
		many[i], protos[i] = []byte{0, 0, 1, 4, 0, 0, 0, 0}, 60
	}
	protos[40] = 17
	for _, c := range []struct {
		name string
		b    []byte
		want Fault
	}{
		{"empty", nil, FaultShort},
		{"39 bytes", good[:39], FaultShort},
		{"short and version 4", []byte{0x45}, FaultVersion},
		{"version 5", edit(0, 0x50), FaultVersion},
		{"jumbogram", edit(4, 0, 0, 0), FaultTotalLength},
		{"UDP cut", good[:47], FaultTruncated},
		{"UDP length", edit(44, 0, 7), FaultUDPLength},
		{"header beyond the packet", edit(6, 60, 64, 0, 0), FaultUDPLength + 100},
		{"too many headers", ip6(addr6A, addr6S, addr6A, addr6S, protos, many, udp4(1, 2, nil)), FaultExtension},
		{"TCP first fragment of 16", frag(1, 6, make([]byte, 16)), FaultTinyFragment},
		{"TCP fragment at 8", frag(8, 6, make([]byte, 24)), FaultTinyFragment},
		{"chain not in the first fragment", frag(1, 60, []byte{6, 9, 0, 0, 0, 0, 0, 0}), FaultTinyFragment},
		{"echo first fragment of 7", frag(1, 58, []byte{128, 0, 0, 0, 0, 0, 0}), FaultTinyFragment},
		{"fragment beyond 65535", frag(0xfff8, 17, make([]byte, 24)), FaultFragment},
		{"ICMPv6 of 3", plain6(58, addr6A, addr6S, []byte{1, 0, 0}), FaultTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "header beyond the packet" {
				c.b, c.want = edit(6, 60), FaultExtension
				c.b[41] = 9
			}
			var p Packet6
			was := bytes.Clone(c.b)
			require.Equal(t, c.want, Parse6(c.b, &p))
			require.Error(t, Apply(c.b, Translation{}))
			require.Equal(t, was, c.b)
		})
	}
}

func TestFragments6(t *testing.T) {
	seg := udp4(40000, 53, bytes.Repeat([]byte("fragment"), 4))
	whole := plain6(17, addr6A, addr6S, seg)
	for _, first := range []bool{true, false} {
		piece, word := whole[40:64], uint16(1)
		if !first {
			piece, word = whole[64:], 24
		}
		b := ip6(addr6A, addr6S, addr6A, addr6S, []byte{44, 0xfd}, [][]byte{{0, 0, byte(word >> 8), byte(word), 1, 2, 3, 4}}, piece)
		b[40] = 17
		var p Packet6
		require.Equal(t, FaultNone, Parse6(b, &p))
		require.True(t, p.Fragment())
		require.Equal(t, first, p.Kind == KindUDP)
		require.Equal(t, uint32(0x01020304), p.ID)
		p.SetSource(b, addr6E, 50000)
		if first {
			copy(whole[40:64], b[48:])
			copy(whole[8:24], b[8:])
			require.Equal(t, FaultNone, Parse6(whole, &p))
			require.Equal(t, CheckRight, p.CheckTransport(whole))
		} else {
			require.Equal(t, piece, b[48:])
		}
	}
}

// TestRFC4443_Quotes translates inbound ICMPv6 errors, quotes cut at every length,
// with extension headers and RFC 4884 lengths.
func TestRFC4443_Quotes(t *testing.T) {
	dst := []byte{0, 0, 1, 4, 0, 0, 0, 0}
	quotes := map[string][2][]byte{}
	for name, mk := range map[string]func(src [16]byte, port uint16) []byte{
		"tcp": func(a [16]byte, p uint16) []byte {
			return plain6(6, a, addr6S, tcp4(p, 80, TCPAck, nil, []byte("abc")))
		},
		"udp": func(a [16]byte, p uint16) []byte {
			return ip6(a, addr6S, a, addr6S, []byte{60, 17}, [][]byte{dst}, udp4(p, 80, []byte("abc")))
		},
		"echo": func(a [16]byte, p uint16) []byte {
			return plain6(58, a, addr6S, icmp4(128, 0, uint32(p)<<16, []byte("abc")))
		},
	} {
		quotes[name] = [2][]byte{mk(addr6E, 50000), mk(addr6A, 40000)}
	}
	for name, pair := range quotes {
		min := 48
		if name == "udp" {
			min = 56
		}
		for n := range len(pair[0]) + 1 {
			for typ := byte(1); typ <= 4; typ++ {
				b := plain6(58, addr6R, addr6E, icmp4(typ, 0, 0, pair[0][:n]))
				var p, q Packet6
				require.Equal(t, FaultNone, Parse6(b, &p))
				f := ParseQuoted6(b, &p, &q)
				if n < min {
					require.Equal(t, FaultTruncated, f)
					continue
				}
				require.Equal(t, FaultNone, f)
				p.SetDestination(b, addr6A, 0)
				p.SetQuotedSource(b, &q, addr6A, 40000)
				whole := n
				if name == "tcp" && n == 57 {
					whole = 56 // half a checksum cannot be kept
				}
				require.Equal(t, pair[1][:whole], b[48:48+whole], "%s %d", name, n)
				require.Equal(t, CheckRight, p.CheckTransport(b))
			}
		}
		field := make([]byte, 128)
		copy(field, pair[0])
		b := plain6(58, addr6R, addr6E, icmp4(3, 0, 16<<24, append(field, 0x20, 0, 0, 0)))
		require.NoError(t, Apply(b, Translation{Destination: netip.AddrPortFrom(netip.AddrFrom16(addr6A), 40000)}))
		require.Equal(t, pair[1], b[48:48+len(pair[1])])
		b = plain6(58, addr6R, addr6E, icmp4(1, 0, 5<<24, field))
		require.ErrorIs(t, Apply(b, Translation{}), FaultTruncated, "the length attribute ends the quote")
		b = plain6(58, addr6R, addr6E, icmp4(1, 0, uint32(min/8)<<24, field))
		require.NoError(t, Apply(b, Translation{}), "and 8 bytes of transport are enough")
	}
	inner := plain6(58, addr6E, addr6S, icmp4(1, 0, 0, quotes["tcp"][0]))
	require.ErrorIs(t, Apply(plain6(58, addr6R, addr6E, icmp4(1, 0, 0, inner)), Translation{}), FaultNestedError)
	var p, q Packet6
	require.Equal(t, FaultNone, Parse6(quotes["tcp"][0], &p))
	require.Equal(t, FaultNotError, ParseQuoted6(quotes["tcp"][0], &p, &q))
	require.Equal(t, FaultNone, ParseEmbedded6(quotes["tcp"][0], &q))
}

func TestHelpers6(t *testing.T) {
	b := plain6(6, addr6A, addr6S, tcp4(1, 2, TCPSyn, []byte{2, 4, 5, 0x78}, nil))
	var p Packet6
	require.Equal(t, FaultNone, Parse6(b, &p))
	require.True(t, p.ClampMSS(b, 1220))
	require.False(t, p.ClampMSS(b, 1220))
	require.Equal(t, CheckRight, p.CheckTransport(b))
	require.True(t, p.DecrementHopLimit(b))
	require.Equal(t, uint8(63), b[7])
	p.HopLimit = 1
	require.False(t, p.DecrementHopLimit(b))

	binary.BigEndian.PutUint16(b[56:], Fold(PseudoSum6(&addr6A, &addr6S, 6, uint32(len(b)-40))))
	p.Flags |= PartialChecksum
	p.SetSource(b, addr6E, 9)
	require.Equal(t, Fold(PseudoSum6(&addr6E, &addr6S, 6, uint32(len(b)-40))), binary.BigEndian.Uint16(b[56:]))

	b = plain6(17, addr6A, addr6S, udp4(1, 2, nil))
	b[46], b[47] = 0, 0
	require.Equal(t, FaultNone, Parse6(b, &p))
	p.SetSource(b, addr6E, 9)
	require.Equal(t, []byte{0, 0}, b[46:48], "an illegal zero stays")
	require.Equal(t, CheckWrong, p.CheckTransport(b))
}

// TestRFC768_Zero6: a computed 0 is sent as 0xFFFF above IPv6 too, for every port.
func TestRFC768_Zero6(t *testing.T) {
	b := plain6(17, addr6A, addr6S, udp4(40000, 53, []byte("x")))
	var p Packet6
	require.Equal(t, FaultNone, Parse6(b, &p))
	seen := 0
	for port := range 65536 {
		p.SetSource(b, addr6E, uint16(port))
		switch c := binary.BigEndian.Uint16(b[46:]); c {
		case 0:
			t.Fatalf("port %d: a computed checksum of 0", port)
		case 0xffff:
			seen++
			require.Equal(t, CheckRight, p.CheckTransport(b))
		}
	}
	require.Equal(t, 1, seen)
}

func TestApplyFamily(t *testing.T) {
	b4, b6 := ip4(17, addrA, addrS, nil, udp4(1, 2, nil)), plain6(17, addr6A, addr6S, udp4(1, 2, nil))
	v6 := Translation{Source: netip.AddrPortFrom(netip.AddrFrom16(addr6E), 1)}
	require.ErrorIs(t, Apply(b4, v6), ErrFamily)
	require.ErrorIs(t, Apply(b4, Translation{Destination: v6.Source}), ErrFamily)
	require.ErrorIs(t, Apply(b6, from(outsideA)), ErrFamily)
	require.ErrorIs(t, Apply(b6, to(outsideA)), ErrFamily)
	require.NoError(t, Apply(b4, from("[::ffff:203.0.113.5]:50000")), "IPv4-mapped is IPv4")
	requireRight(t, b4)
	require.Equal(t, "203.0.113.5", IPv4Header(b4).Source().String())
}
