package rewrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// offender builds a UDP or TCP packet with gopacket.
func offender(t *testing.T, proto layers.IPProtocol, options, payload int, tos uint8) []byte {
	t.Helper()
	ip := &layers.IPv4{
		Version: 4, TTL: 9, Id: 4711, TOS: tos, Protocol: proto,
		SrcIP: net.IP{10, 0, 0, 2}, DstIP: net.IP{198, 51, 100, 10},
	}
	if options > 0 {
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	}
	var transport gopacket.SerializableLayer
	if proto == layers.IPProtocolTCP {
		l := &layers.TCP{SrcPort: 40000, DstPort: 443, SYN: true, Seq: 7, Window: 9}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport = l
	} else {
		l := &layers.UDP{SrcPort: 40000, DstPort: 53}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport = l
	}
	buf := gopacket.NewSerializeBuffer()
	data := bytes.Repeat([]byte("datagram"), payload/8+1)[:payload]
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, transport, gopacket.Payload(data)))
	return bytes.Clone(buf.Bytes())
}

// TestRFC1812_AppendICMPError4: gopacket builds the same message, byte for byte, for quotes that are short,
// that are cut at 576 bytes and that have options.
func TestRFC1812_AppendICMPError4(t *testing.T) {
	const source = 0xcb007105
	for _, e := range []ICMPError{Unreachable(1), Unreachable(13), FragmentationNeeded(1400), TimeExceeded()} {
		for _, proto := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP} {
			for _, options := range []int{0, 4} {
				for _, payload := range []int{0, 1, 500, 501, 600, 2000} {
					t.Run(fmt.Sprintf("%d-%d/%v/options=%d/payload=%d", e.Type, e.Code, proto, options, payload), func(t *testing.T) {
						b := offender(t, proto, options, payload, 0xb8|1)
						var p Packet4
						require.Equal(t, FaultNone, Parse4(append(b, "trailer"...), &p))
						got := AppendICMPError4([]byte("before"), append(b, "trailer"...), &p, source, e)
						require.Equal(t, "before", string(got[:6]))
						ip := &layers.IPv4{
							Version: 4, TTL: 64, TOS: 0xb8, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolICMPv4,
							SrcIP: net.IP{203, 0, 113, 5}, DstIP: net.IP{10, 0, 0, 2},
						}
						icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(e.Type, e.Code), Seq: e.MTU}
						buf := gopacket.NewSerializeBuffer()
						opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
						require.NoError(t, gopacket.SerializeLayers(buf, opts, ip, icmp, gopacket.Payload(b[:min(len(b), 548)])))
						require.Equal(t, buf.Bytes(), got[6:])
						require.LessOrEqual(t, len(got)-6, 576)
						var m, q Packet4
						require.Equal(t, FaultNone, Parse4(got[6:], &m))
						require.Equal(t, FaultNone, ParseQuoted4(got[6:], &m, &q))
						require.Equal(t, p.SrcPort, q.SrcPort)
					})
				}
			}
		}
	}
	require.EqualValues(t, 0xffff, FragmentationNeeded(70000).MTU)
	require.Zero(t, FragmentationNeeded(-1).MTU)
}

// TestAppendICMPError4CompletesPartialChecksums: the quote of a packet that an offload has not completed yet is the
// packet as it will be on the wire.
func TestAppendICMPError4CompletesPartialChecksums(t *testing.T) {
	for _, proto := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP} {
		for _, payload := range []int{0, 7, 1000} {
			whole := offender(t, proto, 0, payload, 0)
			b := bytes.Clone(whole)
			at := map[layers.IPProtocol]int{layers.IPProtocolTCP: 36, layers.IPProtocolUDP: 26}[proto]
			pseudo := PseudoSum4(0x0a000002, 0xc633640a, uint8(proto), uint16(len(b)-20))
			binary.BigEndian.PutUint16(b[at:], Fold(pseudo))
			var p Packet4
			require.Equal(t, FaultNone, Parse4(b, &p))
			p.Flags |= PartialChecksum
			before := bytes.Clone(b)
			got := AppendICMPError4(nil, b, &p, 1, TimeExceeded())
			require.Equal(t, whole[:min(len(whole), 548)], got[28:])
			require.Equal(t, before, b)
		}
	}
}

// TestRFC1812_Answerable: what RFC 1812 section 4.3.2.7 forbids to answer.
func TestRFC1812_Answerable(t *testing.T) {
	change := func(f func(b []byte)) bool {
		b := offender(t, layers.IPProtocolUDP, 0, 64, 0)
		f(b)
		var p Packet4
		require.Equal(t, FaultNone, Parse4(b, &p))
		return p.Answerable(b)
	}
	fix := func(b []byte) {
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], Checksum(b[:20]))
	}
	require.True(t, change(func([]byte) {}))
	require.True(t, change(func(b []byte) { b[6] = 0x20; fix(b) }), "a first fragment")
	require.False(t, change(func(b []byte) { b[7] = 9; fix(b) }), "a later fragment")
	require.False(t, change(func(b []byte) { b[10]++ }), "a wrong header checksum")
	for _, c := range []struct {
		a  [4]byte
		ok bool
	}{
		{[4]byte{0, 0, 0, 0}, false}, {[4]byte{0, 1, 2, 3}, false}, {[4]byte{127, 0, 0, 1}, false},
		{[4]byte{224, 0, 0, 1}, false}, {[4]byte{239, 1, 1, 1}, false}, {[4]byte{240, 0, 0, 1}, false},
		{[4]byte{255, 255, 255, 255}, false}, {[4]byte{1, 0, 0, 1}, true}, {[4]byte{126, 0, 0, 1}, true},
		{[4]byte{128, 0, 0, 1}, true}, {[4]byte{223, 255, 255, 255}, true},
	} {
		require.Equal(t, c.ok, change(func(b []byte) { copy(b[12:], c.a[:]); fix(b) }), "source %v", c.a)
		require.Equal(t, c.ok, change(func(b []byte) { copy(b[16:], c.a[:]); fix(b) }), "destination %v", c.a)
	}
	for icmpType, ok := range map[byte]bool{0: true, 8: true, 13: true, 3: false, 4: false, 5: false, 11: false, 12: false, 9: false, 200: false} {
		require.Equal(t, ok, change(func(b []byte) { b[9], b[20] = 1, icmpType; fix(b) }), "icmp type %d", icmpType)
	}
}

func TestAppendICMPError4AllocatesNothing(t *testing.T) {
	b := offender(t, layers.IPProtocolUDP, 0, 1000, 0)
	var p Packet4
	require.Equal(t, FaultNone, Parse4(b, &p))
	room := make([]byte, 0, 600)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if p.Answerable(b) {
			room = AppendICMPError4(room[:0], b, &p, 1, TimeExceeded())
		}
	}))
}
