package nattest

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// TestPacketsAsGopacketWritesThem compares the bytes of random packets with those that gopacket writes, and reads them back.
func TestPacketsAsGopacketWritesThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	for range 3000 {
		p := &packet{
			tos: byte(r.Uint32()), ttl: byte(1 + r.IntN(255)), id: uint16(r.Uint32()), df: r.IntN(2) == 0,
			proto: []byte{protoICMP, protoTCP, protoUDP}[r.IntN(3)],
			src:   at(address(), r.IntN(65536)), dst: at(address(), r.IntN(65536)),
			payload: make([]byte, r.IntN(60)),
		}
		for i := range p.payload {
			p.payload[i] = byte(r.Uint32())
		}
		ip := &layers.IPv4{
			Version: 4, TOS: p.tos, Id: p.id, TTL: p.ttl, Protocol: layers.IPProtocol(p.proto),
			SrcIP: p.src.Addr().AsSlice(), DstIP: p.dst.Addr().AsSlice(),
		}
		if p.df {
			ip.Flags = layers.IPv4DontFragment
		}
		if r.IntN(3) == 0 {
			p.options = []byte{1, 1, 1, 0}
			ip.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
		}
		var transport gopacket.SerializableLayer
		switch p.proto {
		case protoUDP:
			l := &layers.UDP{SrcPort: layers.UDPPort(p.src.Port()), DstPort: layers.UDPPort(p.dst.Port())}
			require.NoError(t, l.SetNetworkLayerForChecksum(ip))
			transport = l
		case protoTCP:
			p.flags, p.seq, p.ack = byte(r.IntN(32)), r.Uint32(), r.Uint32()
			l := &layers.TCP{
				SrcPort: layers.TCPPort(p.src.Port()), DstPort: layers.TCPPort(p.dst.Port()), Seq: p.seq, Ack: p.ack, Window: 1024,
				FIN: p.flags&fin != 0, SYN: p.flags&syn != 0, RST: p.flags&rst != 0, PSH: p.flags&psh != 0, ACK: p.flags&ack != 0,
			}
			if r.IntN(3) == 0 {
				p.tcpOptions = []byte{1, 1, 1, 0}
				l.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
			}
			require.NoError(t, l.SetNetworkLayerForChecksum(ip))
			transport = l
		case protoICMP:
			p.icmp, p.rest, p.dst = echoRequest, uint32(r.IntN(65536)), at(p.dst.Addr(), int(p.src.Port()))
			transport = &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(echoRequest, 0), Id: p.src.Port(), Seq: uint16(p.rest)}
		}
		buf := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			ip, transport, gopacket.Payload(p.payload)))
		b := p.bytes()
		if p.proto == protoUDP && b[headerLen(b)+6] == 0xff && b[headerLen(b)+7] == 0xff {
			continue // gopacket writes a computed zero as it is (RFC 768)
		}
		require.Equal(t, buf.Bytes(), b)

		q, err := parse(b)
		require.NoError(t, err)
		require.True(t, q.headerOK && q.sumOK && !q.zeroSum)
		require.Equal(t, b, q.bytes(), "what parse reads is not what was written")

		damaged := bytes.Clone(b)
		damaged[headerLen(b)+r.IntN(len(b)-headerLen(b))] ^= 1 << r.IntN(8)
		if q, err := parse(damaged); err == nil && !q.zeroSum {
			require.False(t, q.sumOK, "%x", damaged)
		}
	}
}

// TestCutAndJoin cuts packets and puts them together again, in any order; what lacks a part makes no whole.
func TestCutAndJoin(t *testing.T) {
	p := &packet{ttl: 9, proto: protoUDP, src: a40000, dst: s1p1, payload: bytes.Repeat([]byte("datagram"), 100), options: []byte{1, 1, 1, 0}}
	b := p.bytes()
	parts := cut(b, 200)
	require.Len(t, parts, 5)
	for _, f := range parts {
		q, err := parse(f)
		require.NoError(t, err)
		require.True(t, q.headerOK)
		require.Equal(t, layers.LayerTypeIPv4, gopacket.NewPacket(f, layers.LayerTypeIPv4, gopacket.Default).Layers()[0].LayerType())
	}
	require.Equal(t, b, join(parts))
	slices.Reverse(parts)
	require.Equal(t, b, join(parts))
	for i := range parts {
		require.Nil(t, join(slices.Delete(slices.Clone(parts), i, i+1)))
	}
}

// FuzzParse reads anything without harm.
func FuzzParse(f *testing.F) {
	f.Add((&packet{ttl: 1, proto: protoTCP, src: a40000, dst: s1p1, flags: syn}).bytes())                            // a segment
	f.Add((&packet{ttl: 1, proto: protoICMP, icmp: unreachable, src: a40000, dst: s1p1}).bytes())                    // an error without quote
	f.Add(cut((&packet{ttl: 1, proto: protoUDP, src: a40000, dst: s1p1, payload: make([]byte, 64)}).bytes(), 32)[1]) // a later fragment
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parse(b); err == nil {
			_ = name(p)
			join(cut(b, 8))
			parse(p.bytes())
		}
	})
}
