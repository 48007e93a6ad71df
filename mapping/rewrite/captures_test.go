package rewrite

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/mapping/rewrite/internal/capture"
)

var captures = sync.OnceValues(func() ([]capture.Packet, error) { return capture.All("../../data") })

func loadCaptures(t testing.TB) []capture.Packet {
	t.Helper()
	ps, err := captures()
	require.NoError(t, err)
	return ps
}

// translations are applied to every packet of the captures, by IP version.
func translations(v6 bool) []Translation {
	s, d := netip.MustParseAddrPort("203.0.113.5:50001"), netip.MustParseAddrPort("10.9.8.7:65535")
	if v6 {
		s, d = netip.MustParseAddrPort("[2001:db8:5::ffff:1]:50001"), netip.MustParseAddrPort("[fd00:9:8::7]:65535")
	}
	return []Translation{{Source: s}, {Destination: d}, {Source: s, Destination: d}}
}

// TestCapturesGolden translates every packet of every capture and compares with
// the model byte for byte: what was right stays right, what was wrong stays wrong
// by the same amount, and nothing else changes, trailers included (DESIGN rule 7,
// B11, CK-03, CK-05, RFC 5508 rows 03b, 03c, 03d, 04a, 04b).
func TestCapturesGolden(t *testing.T) {
	accepted, refused := map[Kind]int{}, map[string]int{}
	quoted := 0
	for _, p := range loadCaptures(t) {
		v6 := p.Data[0]>>4 == 6
		for i, tr := range translations(v6) {
			b := bytes.Clone(p.Data)
			if err := Apply(b, tr); err != nil {
				require.Equal(t, p.Data, b, "%s %d: a refused packet is unchanged", p.File, p.Index)
				if i == 0 {
					refused[err.Error()]++
				}
				continue
			}
			if want := goldenApply(p.Data, tr); !bytes.Equal(want, b) {
				require.Equal(t, want, b, "%s %d: %x", p.File, p.Index, p.Data)
			}
			if i == 0 {
				k := kindOf(p.Data)
				accepted[k]++
				if k == KindICMPError {
					quoted++
				}
			}
		}
	}
	t.Log("accepted:", accepted)
	t.Log("refused:", refused)
	require.Greater(t, accepted[KindTCP], 30000)
	require.Greater(t, accepted[KindUDP], 3000)
	require.Greater(t, accepted[KindFragment], 1000)
	require.Greater(t, quoted, 50)
}

func kindOf(b []byte) Kind {
	if b[0]>>4 == 6 {
		var p Packet6
		Parse6(b, &p)
		return p.Kind
	}
	var p Packet4
	Parse4(b, &p)
	return p.Kind
}

// TestCapturesRoundTrip translates every packet with the setters, puts the old
// endpoints back and gets the old bytes back. The one exception is the checksum
// 0xFFFF outside UDP, which comes back as 0x0000, the same value.
func TestCapturesRoundTrip(t *testing.T) {
	n := 0
	for _, p := range loadCaptures(t) {
		b := bytes.Clone(p.Data)
		if !roundTrip(t, b) {
			continue
		}
		n++
		if !bytes.Equal(p.Data, b) {
			require.Equal(t, sameZero(p.Data), sameZero(b), "%s %d", p.File, p.Index)
		}
	}
	require.Greater(t, n, 40000)
}

// sameZero writes 0x0000 where a checksum other than UDP's is 0xFFFF.
func sameZero(in []byte) []byte {
	b := bytes.Clone(in)
	r := walk(b, 0, len(b))
	zero := func(r region) {
		if !r.v6 && be16(b, r.ip+10) == 0xffff {
			b[r.ip+10], b[r.ip+11] = 0, 0
		}
		if r.check != 0 && !r.udp && be16(b, r.check) == 0xffff {
			b[r.check], b[r.check+1] = 0, 0
		}
	}
	zero(r)
	if r.quote != 0 {
		zero(walk(b, r.quote, r.quoteEnd))
	}
	return b
}

// roundTrip translates all endpoints of b and restores them. It reports whether b
// was accepted. Along the way the parsed values must stay what a parse says.
func roundTrip(t testing.TB, b []byte) bool {
	if len(b) > 0 && b[0]>>4 == 6 {
		return roundTrip6(t, b)
	}
	var p, q, was, qwas Packet4
	if Parse4(b, &p) != FaultNone {
		return false
	}
	quotes := p.Kind == KindICMPError
	if quotes && ParseQuoted4(b, &p, &q) != FaultNone {
		return false
	}
	was, qwas = p, q
	set := func(src, dst *Packet4) {
		p.SetSource(b, src.Src, src.SrcPort)
		p.SetDestination(b, src.Dst, src.DstPort)
		if quotes {
			p.SetQuotedDestination(b, &q, dst.Dst, dst.DstPort)
			p.SetQuotedSource(b, &q, dst.Src, dst.SrcPort)
		}
	}
	x := Packet4{Src: 0xcb007105, Dst: 0x01020304, SrcPort: 7, DstPort: 65535}
	y := Packet4{Src: 0x01020304, Dst: 0xcb007105, SrcPort: 65535, DstPort: 7}
	set(&x, &y)
	var again, qagain Packet4
	if f := Parse4(b, &again); f != FaultNone || again != p {
		require.Equal(t, FaultNone, f)
		require.Equal(t, again, p)
	}
	if quotes {
		require.Equal(t, FaultNone, ParseQuoted4(b, &again, &qagain))
		require.Equal(t, qagain, q)
	}
	set(&was, &qwas)
	require.Equal(t, was, p)
	return true
}

func roundTrip6(t testing.TB, b []byte) bool {
	var p, q, was, qwas Packet6
	if Parse6(b, &p) != FaultNone {
		return false
	}
	quotes := p.Kind == KindICMPError
	if quotes && ParseQuoted6(b, &p, &q) != FaultNone {
		return false
	}
	was, qwas = p, q
	set := func(src, dst *Packet6) {
		p.SetSource(b, src.Src, src.SrcPort)
		p.SetDestination(b, src.Dst, src.DstPort)
		if quotes {
			p.SetQuotedDestination(b, &q, dst.Dst, dst.DstPort)
			p.SetQuotedSource(b, &q, dst.Src, dst.SrcPort)
		}
	}
	x := Packet6{Src: [16]byte{0x20, 1, 15: 9}, Dst: [16]byte{0xfd, 7: 3}, SrcPort: 7, DstPort: 65535}
	y := Packet6{Src: x.Dst, Dst: x.Src, SrcPort: 65535, DstPort: 7}
	set(&x, &y)
	var again, qagain Packet6
	require.Equal(t, FaultNone, Parse6(b, &again))
	require.Equal(t, again, p)
	if quotes {
		require.Equal(t, FaultNone, ParseQuoted6(b, &again, &qagain))
		require.Equal(t, qagain, q)
	}
	set(&was, &qwas)
	require.Equal(t, was, p)
	return true
}
