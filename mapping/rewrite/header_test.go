package rewrite

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHeaderViews reads every field of known packets.
func TestHeaderViews(t *testing.T) {
	b := unhex(t, vectors[3].before)
	h := IPv4Header(b)
	require.Equal(t, []any{uint8(4), 20, uint8(0), uint16(60), uint16(0x1c46), true, false, 0, uint8(64), uint8(6), uint16(0xea36), "10.0.0.2", "198.51.100.10"},
		[]any{h.Version(), h.HeaderLength(), h.TOS(), h.TotalLength(), h.ID(), h.DontFragment(), h.MoreFragments(), h.FragmentOffset(), h.TTL(), h.Protocol(), h.Checksum(), h.Source().String(), h.Destination().String()})
	require.Equal(t, uint16(0xea36), h.CalculateChecksum())
	h.SetChecksum(0x1234)
	require.Equal(t, uint16(0x1234), h.Checksum())
	require.Equal(t, uint16(0xea36), h.CalculateChecksum())
	fragmented(b, 16, true)
	require.True(t, h.MoreFragments())
	require.Equal(t, 16, h.FragmentOffset())

	tcp := TCPHeader(b[20:])
	require.Equal(t, []any{uint16(40000), uint16(443), uint32(0x11223344), uint32(0), 40, uint8(TCPSyn), uint16(0x366d)},
		[]any{tcp.SourcePort(), tcp.DestinationPort(), tcp.Sequence(), tcp.Acknowledgment(), tcp.DataOffset(), tcp.Flags(), tcp.Checksum()})

	udp := UDPHeader(unhex(t, vectors[0].before)[20:])
	require.Equal(t, []any{uint16(40000), uint16(53), uint16(18), uint16(0x4367)},
		[]any{udp.SourcePort(), udp.DestinationPort(), udp.Length(), udp.Checksum()})

	icmp := ICMPHeader(unhex(t, vectors[4].before)[20:])
	require.Equal(t, []any{uint8(8), uint8(0), uint16(0x5435), uint16(0x1234), uint32(0x12340001)},
		[]any{icmp.Type(), icmp.Code(), icmp.Checksum(), icmp.Identifier(), icmp.RestOfHeader()})

	ip6 := IPv6Header(plain6(17, addr6A, addr6S, udp4(1, 2, nil)))
	require.Equal(t, []any{uint8(6), uint16(8), uint8(17), uint8(64), "fd00::2", "2001:db8:2::10"},
		[]any{ip6.Version(), ip6.PayloadLength(), ip6.NextHeader(), ip6.HopLimit(), ip6.Source().String(), ip6.Destination().String()})
}
