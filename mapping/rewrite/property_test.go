package rewrite

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// draw4 draws an IPv4 packet of any kind, with right checksums; then, perhaps, it
// spoils, cuts or lengthens it.
func draw4(t *rapid.T) []byte {
	addr := rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{addrA, addrE, addrS, 0xffffffff, 1}))
	port := rapid.OneOf(rapid.Uint16(), rapid.SampledFrom([]uint16{0, 1023, 1024, 65535}))
	payload := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "payload")
	opts := bytes.Repeat([]byte{1}, 4*rapid.IntRange(0, 10).Draw(t, "option words"))
	transport := func(name string) (byte, []byte) {
		sport, dport := port.Draw(t, name+" sport"), port.Draw(t, name+" dport")
		switch rapid.IntRange(0, 4).Draw(t, name+" kind") {
		case 0:
			return 6, tcp4(sport, dport, TCPAck, nil, payload)
		case 1:
			return 17, udp4(sport, dport, payload)
		case 2:
			return 136, udp4(sport, dport, payload)
		case 3:
			typ := rapid.SampledFrom([]byte{0, 8, 13, 14, 15, 16, 17, 18, 42, 43, 9, 10, 30}).Draw(t, name+" type")
			return 1, icmp4(typ, 0, uint32(sport)<<16, payload)
		}
		return rapid.SampledFrom([]byte{47, 50, 132, 0, 255}).Draw(t, name+" proto"), payload
	}
	proto, l4 := transport("outer")
	if rapid.IntRange(0, 3).Draw(t, "error") == 0 {
		qproto, ql4 := transport("quoted")
		quote := ip4(qproto, addr.Draw(t, "quoted src"), addr.Draw(t, "quoted dst"), opts, ql4)
		quote = quote[:rapid.IntRange(min(28, len(quote)), len(quote)).Draw(t, "quote length")]
		typ := rapid.SampledFrom([]byte{3, 4, 5, 11, 12}).Draw(t, "error type")
		proto, l4 = 1, icmp4(typ, 0, rapid.SampledFrom([]uint32{0, 1400, 20 << 16, 32 << 16}).Draw(t, "rest"), quote)
		opts = nil
	}
	b := ip4(proto, addr.Draw(t, "src"), addr.Draw(t, "dst"), opts, l4)
	if rapid.IntRange(0, 3).Draw(t, "fragment") == 0 {
		fragmented(b, 8*rapid.IntRange(0, 5).Draw(t, "offset"), rapid.Bool().Draw(t, "more"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "spoilt bytes") {
		b[rapid.IntRange(10, len(b)-1).Draw(t, "at")] ^= rapid.Byte().Draw(t, "by")
	}
	b = b[:len(b)-rapid.IntRange(0, 20).Draw(t, "cut")]
	return append(b, rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "trailer")...)
}

// TestRule7_Property: out and back restores a packet byte for byte; right
// checksums stay right and wrong ones wrong; a refused packet is unchanged; the
// result is the model's.
func TestRule7_Property(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		in := draw4(t)
		b := bytes.Clone(in)
		tr := both(outsideA, insideB)
		if err := Apply(b, tr); err != nil {
			require.Equal(t, in, b)
			return
		}
		accepted++
		require.Equal(t, goldenApply(in, tr), b)

		b = bytes.Clone(in)
		var p, q Packet4
		Parse4(b, &p)
		h, tp := p.CheckHeader(b), p.CheckTransport(b)
		p.SetSource(b, addrE, 50000)
		p.SetDestination(b, 0x0a000003, 41000)
		require.Equal(t, h, p.CheckHeader(b))
		require.Equal(t, tp, p.CheckTransport(b))
		if p.Kind == KindICMPError && ParseQuoted4(b, &p, &q) == FaultNone {
			qh, qt := q.CheckHeader(b), q.CheckTransport(b)
			p.SetQuotedSource(b, &q, 0x0a000003, 41000)
			p.SetQuotedDestination(b, &q, addrE, 50000)
			require.Equal(t, tp, p.CheckTransport(b))
			require.Equal(t, qh, q.CheckHeader(b))
			require.Equal(t, qt, q.CheckTransport(b))
		}
		b = bytes.Clone(in)
		require.True(t, roundTripRapid(t, b))
		require.Equal(t, sameZero(in), sameZero(b))
	})
	require.NotZero(t, accepted, "the draws reach the code")
	t.Log("accepted", accepted)
}

// roundTripRapid is roundTrip for a rapid.T, which is no testing.TB of its own.
func roundTripRapid(t *rapid.T, b []byte) bool {
	var p, q Packet4
	if Parse4(b, &p) != FaultNone {
		return false
	}
	was := p
	p.SetSource(b, 0x01020304, 5)
	p.SetDestination(b, 0xfffefdfc, 5)
	if p.Kind == KindICMPError {
		require.Equal(t, FaultNone, ParseQuoted4(b, &p, &q))
		qwas := q
		p.SetQuotedDestination(b, &q, 0x01020304, 0)
		p.SetQuotedSource(b, &q, 0xfffefdfc, 65535)
		p.SetQuotedDestination(b, &q, qwas.Dst, qwas.DstPort)
		p.SetQuotedSource(b, &q, qwas.Src, qwas.SrcPort)
	}
	p.SetSource(b, was.Src, was.SrcPort)
	p.SetDestination(b, was.Dst, was.DstPort)
	return true
}
