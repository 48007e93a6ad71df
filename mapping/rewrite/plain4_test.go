package rewrite

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestPlain4AgainstPacket4: what ParsePlain4 takes Parse4 takes too and reads alike, and their setters write the same bytes; a
// packet that is whole, without options and of TCP or UDP is taken.
func TestPlain4AgainstPacket4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "bytes")
		if len(b) >= 28 && rapid.IntRange(0, 9).Draw(t, "mend") > 0 {
			b[0] = 0x45
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)-rapid.IntRange(-1, 3).Draw(t, "trailer")))
			b[6], b[7] = rapid.SampledFrom([]byte{0, 0x40, 0x20, 0x80, 1}).Draw(t, "flags"), rapid.SampledFrom([]byte{0, 0, 1}).Draw(t, "offset")
			b[9] = rapid.SampledFrom([]byte{6, 17, 17, 1, 136}).Draw(t, "protocol")
			if b[9] == 17 {
				binary.BigEndian.PutUint16(b[24:], uint16(rapid.IntRange(6, len(b)-18).Draw(t, "length")))
				if rapid.Bool().Draw(t, "no checksum") {
					b[26], b[27] = 0, 0
				}
			} else if len(b) > 32 {
				b[32] = byte(rapid.IntRange(4, 8).Draw(t, "data offset")) << 4
			}
		}
		var q Packet4
		p, plain := ParsePlain4(b)
		fault := Parse4(b, &q)
		common := fault == FaultNone && (q.Kind == KindTCP || q.Kind == KindUDP) && q.HeaderLength() == 20 &&
			!q.Fragment() && q.Flags&Truncated == 0
		require.Equal(t, common, plain)
		if !plain {
			return
		}
		require.Equal(t, [...]uint32{q.Src, q.Dst, uint32(q.SrcPort), uint32(q.DstPort), uint32(q.Proto), uint32(q.TCPFlags)},
			[...]uint32{p.Src(), p.Dst(), uint32(p.SrcPort()), uint32(p.DstPort()), uint32(p.Proto), uint32(p.TCPFlags)})
		require.Equal(t, q.Flags&DontFragment != 0, PlainDontFragment4(b))
		if q.Kind == KindTCP {
			seq, ack, payload := PlainSegment4(b)
			require.Equal(t, [...]uint32{q.Seq, q.Ack, uint32(q.PayloadLength)}, [...]uint32{seq, ack, uint32(payload)})
		}
		partial := rapid.Bool().Draw(t, "partial")
		if partial {
			q.Flags |= PartialChecksum
		}
		c := append([]byte(nil), b...)
		addr, port := rapid.Uint32().Draw(t, "address"), rapid.Uint16().Draw(t, "port")
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			p.SetSource(b, addr, port, partial)
			q.SetSource(c, addr, port)
		case 1:
			p.SetDestination(b, addr, port, partial)
			q.SetDestination(c, addr, port)
		case 2:
			SetPlainID4(b, port)
			q.SetID(c, port)
		}
		require.Equal(t, c, b)
	})
}
