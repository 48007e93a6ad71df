// Package testpacket builds IPv4 packets for tests, with gopacket's serializer,
// so that no code under test makes its own input.
package testpacket

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Flags of a TCP segment.
const (
	SYN = 1 << iota
	ACK
	FIN
	RST
)

// UDP returns a datagram between two endpoints, as in "100.64.0.1:5000".
func UDP(src, dst, payload string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	u := &layers.UDP{SrcPort: layers.UDPPort(s.Port()), DstPort: layers.UDPPort(d.Port())}
	ip := header(s.Addr(), d.Addr(), layers.IPProtocolUDP)
	must(u.SetNetworkLayerForChecksum(ip))
	return serialize(ip, u, gopacket.Payload(payload))
}

// TCP returns a segment between two endpoints.
func TCP(src, dst string, flags int, payload string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	t := &layers.TCP{SrcPort: layers.TCPPort(s.Port()), DstPort: layers.TCPPort(d.Port()), Seq: 1000, Ack: 2000, Window: 65535,
		SYN: flags&SYN != 0, ACK: flags&ACK != 0, FIN: flags&FIN != 0, RST: flags&RST != 0}
	ip := header(s.Addr(), d.Addr(), layers.IPProtocolTCP)
	must(t.SetNetworkLayerForChecksum(ip))
	return serialize(ip, t, gopacket.Payload(payload))
}

// ICMP returns a message of a type, with identifier and sequence number.
func ICMP(src, dst string, typ uint8, id, seq uint16, payload string) []byte {
	i := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, 0), Id: id, Seq: seq}
	return serialize(header(netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocolICMPv4), i, gopacket.Payload(payload))
}

// Unreachable returns an ICMP error, port unreachable, that quotes a packet.
func Unreachable(src, dst string, quoted []byte) []byte {
	i := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}
	return serialize(header(netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocolICMPv4), i, gopacket.Payload(quoted))
}

// Other returns a packet of any protocol.
func Other(src, dst string, protocol uint8, payload string) []byte {
	ip := header(netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocol(protocol))
	return serialize(ip, gopacket.Payload(payload))
}

// Fragments cuts a packet into fragments of at most size bytes of data, a multiple of 8.
func Fragments(b []byte, size int) [][]byte {
	var out [][]byte
	data := b[20:]
	for at := 0; at < len(data); at += size {
		end := min(at+size, len(data))
		f := append(bytes.Clone(b[:20]), data[at:end]...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		offset := uint16(at / 8)
		if end < len(data) {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], offset)
		var ip layers.IPv4
		must(ip.DecodeFromBytes(f, gopacket.NilDecodeFeedback))
		out = append(out, serialize(&ip, gopacket.Payload(f[20:])))
	}
	return out
}

func header(src, dst netip.Addr, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 4711, Flags: layers.IPv4DontFragment, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func serialize(ls ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	must(gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...))
	return buffer.Bytes()
}

// must panics: a test that builds a packet that cannot be is wrong itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
