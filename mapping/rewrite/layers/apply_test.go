package layers

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/mapping/rewrite/internal/capture"
)

var (
	a4 = netip.MustParseAddrPort("10.0.0.2:40000")
	e4 = netip.MustParseAddrPort("203.0.113.5:50000")
	s4 = netip.MustParseAddrPort("198.51.100.10:53")
	r4 = netip.MustParseAddrPort("192.0.2.254:0")
	a6 = netip.MustParseAddrPort("[fd00::2]:40000")
	e6 = netip.MustParseAddrPort("[2001:db8:1::5]:50000")
	s6 = netip.MustParseAddrPort("[2001:db8:2::10]:53")
	r6 = netip.MustParseAddrPort("[2001:db8:3::fe]:0")
)

// threeWays builds the shape, translates it as bytes and as layers, and builds the
// translated shape from scratch: all three must agree.
func threeWays(t require.TestingT, s shape, tr rewrite.Translation) {
	in := s.build()
	want := s.translated(tr).build()

	b := bytes.Clone(in)
	require.NoError(t, rewrite.Apply(b, tr))
	require.Equal(t, want, b, "bytes, %+v", s)

	ls := decode(in)
	require.NoError(t, Apply(ls, tr))
	got, err := serialize(ls)
	require.NoError(t, err)
	require.Equal(t, want, got, "layers, %+v", s)
}

// TestFullRecompute compares bytes, layers and gopacket's serializer, which sums
// from scratch, for every protocol, IP version, direction, with and without
// options, odd and even lengths (CK-03, CK-05, RFC 5508 rows 01, 04a, 05a).
func TestFullRecompute(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 511, 1399, 1400} {
		payload := bytes.Repeat([]byte{0xa5, 0x5a, 0xff, 0x00, 0x01}, n)[:n]
		for _, options := range []bool{false, true} {
			for _, v6 := range []bool{false, true} {
				a, e, s, r := a4, e4, s4, r4
				if v6 {
					a, e, s, r = a6, e6, s6, r6
				}
				for _, kind := range []string{"tcp", "udp", "echo", "reply"} {
					t.Run(fmt.Sprintf("kind=%s/v6=%v/options=%v/bytes=%d", kind, v6, options, n), func(t *testing.T) {
						base := shape{kind: kind, src: a, dst: s, payload: payload, options: options}
						threeWays(t, base, rewrite.Translation{Source: e})
						threeWays(t, base, rewrite.Translation{Destination: e})
						threeWays(t, base, rewrite.Translation{Source: e, Destination: a})
						// An error of a router about the packet after translation.
						base.qkind, base.qsrc, base.qdst = kind, e, s
						base.kind, base.src, base.dst = "error", r, e
						threeWays(t, base, rewrite.Translation{Destination: a})
						threeWays(t, base, rewrite.Translation{Source: a, Destination: s})
					})
				}
			}
		}
	}
}

// TestRapidFullRecompute is TestFullRecompute with everything random, among it the
// all-zero and all-one words that CK-03 asks for.
func TestRapidFullRecompute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		addrPort := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			port := rapid.SampledFrom([]uint16{0, 1, 1023, 1024, 65534, 65535}).Draw(t, "port")
			if rapid.Bool().Draw(t, "any port") {
				port = rapid.Uint16().Draw(t, "p")
			}
			raw := [16]byte{15: 1}
			for i := 0; i < 16; i += 2 {
				w := rapid.SampledFrom([]uint16{0, 0xffff, 0xfffe, 1, 0x8000}).Draw(t, "word")
				if rapid.Bool().Draw(t, "any word") {
					w = rapid.Uint16().Draw(t, "w")
				}
				raw[i], raw[i+1] = byte(w>>8), byte(w)
			}
			if v6 {
				raw[0] = 0x20 // never IPv4-mapped
				return netip.AddrPortFrom(netip.AddrFrom16(raw), port)
			}
			raw[0] |= 1 // never 0.0.0.0
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[:4])), port)
		})
		kinds := rapid.SampledFrom([]string{"tcp", "udp", "echo", "reply"})
		s := shape{
			kind: kinds.Draw(t, "kind"), src: addrPort.Draw(t, "src"), dst: addrPort.Draw(t, "dst"),
			payload: rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "payload"),
			options: rapid.Bool().Draw(t, "options"),
		}
		if rapid.Bool().Draw(t, "error") {
			s.qkind, s.kind = s.kind, "error"
			s.qsrc, s.qdst = addrPort.Draw(t, "qsrc"), addrPort.Draw(t, "qdst")
		} else if s.kind == "udp" && !v6 {
			s.noChecksum = rapid.Bool().Draw(t, "none")
		}
		var tr rewrite.Translation
		if rapid.Bool().Draw(t, "set source") {
			tr.Source = addrPort.Draw(t, "to source")
		}
		if rapid.Bool().Draw(t, "set destination") {
			tr.Destination = addrPort.Draw(t, "to destination")
		}
		threeWays(t, s, tr)
	})
}

// TestCapturesLayers applies every packet of the captures as layers and as bytes,
// where gopacket can serialise what it decoded: same result, or same refusal.
func TestCapturesLayers(t *testing.T) {
	ps, err := capture.All("../../../data")
	require.NoError(t, err)
	compared, skipped := 0, 0
	kinds := map[string]int{}
	for _, p := range ps {
		tr := rewrite.Translation{Source: e4, Destination: a4}
		if p.Data[0]>>4 == 6 {
			tr = rewrite.Translation{Source: e6, Destination: a6}
		}
		b := bytes.Clone(p.Data)
		if rewrite.Apply(b, tr) != nil {
			continue
		}
		plain, err := serialize(decode(p.Data))
		if err != nil || len(plain) == 0 || len(plain) > len(p.Data) || !bytes.Equal(plain, p.Data[:len(plain)]) {
			skipped++ // gopacket does not give back what it read
			continue
		}
		ls := decode(p.Data)
		err = Apply(ls, tr)
		if _, failed := ls[len(ls)-1].(gopacket.ErrorLayer); err != nil && failed {
			skipped++ // gopacket did not decode the transport layer
			continue
		}
		require.NoError(t, err, "%s %d %x", p.File, p.Index, p.Data)
		got, err := serialize(ls)
		require.NoError(t, err)
		if !bytes.Equal(b[:len(got)], got) {
			require.Equal(t, b[:len(got)], got, "%s %d %v %x", p.File, p.Index, ls, p.Data)
		}
		compared++
		for _, l := range ls {
			kinds[l.LayerType().String()]++
		}
	}
	t.Log("compared", compared, "skipped", skipped, kinds)
	require.Greater(t, compared, 40000)
	require.Greater(t, kinds["Fragment"], 1000)
	require.Greater(t, kinds["ICMPv4"], 200)
	require.Greater(t, kinds["ICMPv6"], 200)
}

// TestRefusals: what is refused is not changed.
func TestRefusals(t *testing.T) {
	require.ErrorIs(t, Apply(nil, rewrite.Translation{}), ErrNoIP)
	require.ErrorIs(t, Apply([]gopacket.Layer{&layers.Ethernet{}}, rewrite.Translation{}), ErrNoIP)

	in := shape{kind: "udp", src: a4, dst: s4}.build()
	ls := decode(in)
	require.ErrorIs(t, Apply(ls, rewrite.Translation{Source: e6}), rewrite.ErrFamily)
	got, err := serialize(ls)
	require.NoError(t, err)
	require.Equal(t, in, got)

	require.ErrorIs(t, Apply(ls[:1], rewrite.Translation{Source: e4}), rewrite.FaultTruncated, "UDP layer is missing")

	nested := shape{kind: "error", src: r4, dst: e4, qkind: "udp", qsrc: e4, qdst: s4}
	in = nested.build()
	in[28+9], in[28+20] = rewrite.ProtoICMP, 3
	ls = decode(in)
	require.ErrorIs(t, Apply(ls, rewrite.Translation{Destination: a4}), rewrite.FaultNestedError)
	got, err = serialize(ls)
	require.NoError(t, err)
	require.Equal(t, in, got)
}

// TestDecodedUDPLite: gopacket decodes UDP-Lite and cannot serialise it, so the
// fields are compared with the bytes.
func TestDecodedUDPLite(t *testing.T) {
	b := shape{kind: "udp", src: a4, dst: s4, payload: []byte("coverage")}.build()
	b[9] = rewrite.ProtoUDPLite
	ls := decode(b)
	tr := rewrite.Translation{Source: e4, Destination: a4}
	require.NoError(t, rewrite.Apply(b, tr))
	require.NoError(t, Apply(ls, tr))
	l := ls[1].(*layers.UDPLite)
	require.Equal(t, []byte{byte(l.SrcPort >> 8), byte(l.SrcPort), byte(l.DstPort >> 8), byte(l.DstPort)}, b[20:24])
	require.Equal(t, []byte{byte(l.Checksum >> 8), byte(l.Checksum)}, b[26:28])
}

// TestVectors replays packet vectors on layers: P3, whose checksum computes to 0;
// P6 and P8, errors with a whole and a cut quote; P11, whose outer checksum stays.
func TestVectors(t *testing.T) {
	a, e, id := netip.MustParseAddrPort("10.0.0.2:40000"), netip.MustParseAddrPort("203.0.113.5:50000"), netip.MustParseAddrPort("10.0.0.2:4660")
	for name, v := range map[string]struct {
		before, after string
		out, back     rewrite.Translation
	}{
		"P3": {"450000261c4640004011ea410a000002c633640a9c400035001259144e4154207665637459c5", "450000261c4640004011b83dcb007105c633640ac35000350012ffff4e4154207665637459c5",
			rewrite.Translation{Source: e}, rewrite.Translation{Source: a}},
		"P6": {"450000422b2b00003701f24cc633640acb0071050303636400000000450000261c4640003911bf3dcb007105c633640ac35000350012ea524e415420766563746f72", "450000422b2b000037012451c633640a0a0000020303316000000000450000261c4640003911f1410a000002c633640a9c400035001243674e415420766563746f72",
			rewrite.Translation{Destination: a}, rewrite.Translation{Destination: e}},
		"P8": {"4500003c2b2c000037015991c00002fecb0071050b004715000000004600002a1c46400039112a35cb007105c633640a94040000c35000350012ea52", "4500003c2b2c000037018b95c00002fe0a0000020b001511000000004600002a1c46400039115c390a000002c633640a940400009c40003500124367",
			rewrite.Translation{Destination: a}, rewrite.Translation{Destination: e}},
		"P11": {"450000400007000040017bb2c00002fecb0071050b00f4ff00000000450000241c4640000101f74fcb007105c633640a0800a318c35000016162636465666768", "45000040000700004001adb6c00002fe0a0000020b00f4ff00000000450000241c464000010129540a000002c633640a08005435123400016162636465666768",
			rewrite.Translation{Destination: id}, rewrite.Translation{Destination: e}},
	} {
		t.Run("TestVector"+name, func(t *testing.T) {
			b, err := hex.DecodeString(v.before)
			require.NoError(t, err)
			ls := decode(b)
			require.NoError(t, Apply(ls, v.out))
			got, err := serialize(ls)
			require.NoError(t, err)
			require.Equal(t, v.after, hex.EncodeToString(got))
			require.NoError(t, Apply(ls, v.back))
			got, err = serialize(ls)
			require.NoError(t, err)
			require.Equal(t, v.before, hex.EncodeToString(got))
		})
	}
}

// TestRFC5508_03d_Length: the RFC 4884 length attribute ends the quote, for the
// types that have one.
func TestRFC5508_03d_Length(t *testing.T) {
	for _, typ := range []byte{3, 5, 11, 12} {
		for words, refused := range map[byte]bool{0: false, 6: true, 7: false} {
			b := shape{kind: "error", src: r4, dst: e4, qkind: "udp", qsrc: e4, qdst: s4, payload: []byte("payload")}.build()
			b[20], b[25] = typ, words
			ls := decode(b)
			tr := rewrite.Translation{Destination: a4}
			err := Apply(ls, tr)
			require.Equal(t, rewrite.Apply(b, tr), err)
			require.Equal(t, refused && typ != 5, err != nil, "type %d words %d", typ, words)
			got, serr := serialize(ls)
			require.NoError(t, serr)
			require.Equal(t, b, got)
		}
	}
	for _, typ := range []byte{1, 2, 3} {
		for words, refused := range map[byte]bool{0: false, 5: true, 6: false} {
			b := shape{kind: "error", src: r6, dst: e6, qkind: "udp", qsrc: e6, qdst: s6, payload: []byte("payload")}.build()
			b[40], b[44] = typ, words
			ls := decode(b)
			tr := rewrite.Translation{Destination: a6}
			err := Apply(ls, tr)
			require.Equal(t, rewrite.Apply(b, tr), err)
			require.Equal(t, refused && typ != 2, err != nil, "type %d words %d", typ, words)
			got, serr := serialize(ls)
			require.NoError(t, serr)
			require.Equal(t, b, got)
		}
	}
}
