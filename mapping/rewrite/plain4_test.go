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
		var p Plain4
		var q Packet4
		plain, fault := ParsePlain4(b, &p), Parse4(b, &q)
		common := fault == FaultNone && (q.Kind == KindTCP || q.Kind == KindUDP) && q.HeaderLength() == 20 &&
			!q.Fragment() && q.Flags&Truncated == 0
		require.Equal(t, common, plain)
		if !plain {
			return
		}
		same := func() {
			require.Equal(t, [...]uint32{q.Src, q.Dst, q.Seq, q.Ack, uint32(q.SrcPort), uint32(q.DstPort), uint32(q.PayloadLength), uint32(q.ID), uint32(q.Proto), uint32(q.TCPFlags)},
				[...]uint32{p.Src, p.Dst, p.Seq, p.Ack, uint32(p.SrcPort), uint32(p.DstPort), uint32(p.PayloadLength), uint32(p.ID), uint32(p.Proto), uint32(p.TCPFlags)})
			require.Equal(t, q.Flags&DontFragment != 0, p.DontFragment)
		}
		same()
		if p.Partial = rapid.Bool().Draw(t, "partial"); p.Partial {
			q.Flags |= PartialChecksum
		}
		c := append([]byte(nil), b...)
		addr, port := rapid.Uint32().Draw(t, "address"), rapid.Uint16().Draw(t, "port")
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			p.SetSource(b, addr, port)
			q.SetSource(c, addr, port)
		case 1:
			p.SetDestination(b, addr, port)
			q.SetDestination(c, addr, port)
		case 2:
			p.SetID(b, port)
			q.SetID(c, port)
		}
		require.Equal(t, c, b)
		same()
	})
}
