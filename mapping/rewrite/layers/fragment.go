package layers

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// decodeFirst decodes what a translator needs of a first fragment's transport
// header: gopacket leaves it as bytes (after an IPv6 fragment header even where
// the packet is whole). The layers it makes are written back by encodeFirst.
func (p *packet) decodeFirst() error {
	for p.ip6 != nil && p.proto == uint8(layers.IPProtocolIPv6Destination) {
		var l layers.IPv6Destination
		if l.DecodeFromBytes(p.payload, gopacket.NilDecodeFeedback) != nil {
			return rewrite.FaultTinyFragment
		}
		p.proto = uint8(l.NextHeader)
		p.noteHomeAddress(&l)
		p.payload = l.LayerPayload()
	}
	p.raw = p.payload
	b := p.raw
	need := 0
	switch p.proto {
	case rewrite.ProtoTCP:
		need = 18
	case rewrite.ProtoUDP, rewrite.ProtoUDPLite, rewrite.ProtoICMP, rewrite.ProtoICMPv6:
		need = 8
	}
	if len(b) < need {
		return rewrite.FaultTinyFragment
	}
	switch p.proto {
	case rewrite.ProtoTCP:
		p.tcp = &layers.TCP{SrcPort: layers.TCPPort(word(b, 0)), DstPort: layers.TCPPort(word(b, 2)), Checksum: word(b, 16)}
	case rewrite.ProtoUDP:
		p.udp = &layers.UDP{SrcPort: layers.UDPPort(word(b, 0)), DstPort: layers.UDPPort(word(b, 2)), Checksum: word(b, 6)}
	case rewrite.ProtoUDPLite:
		p.lite = &layers.UDPLite{SrcPort: layers.UDPLitePort(word(b, 0)), DstPort: layers.UDPLitePort(word(b, 2)), Checksum: word(b, 6)}
	case rewrite.ProtoICMP:
		if p.ip4 != nil {
			p.icmp4 = &layers.ICMPv4{TypeCode: layers.ICMPv4TypeCode(word(b, 0)), Checksum: word(b, 2), Id: word(b, 4)}
			p.payload = b[8:]
		}
	case rewrite.ProtoICMPv6:
		if p.ip6 != nil {
			p.icmp6 = &layers.ICMPv6{TypeCode: layers.ICMPv6TypeCode(word(b, 0)), Checksum: word(b, 2)}
			p.payload = b[4:]
		}
	}
	return nil
}

// encodeFirst writes back what the translation changed.
func (p *packet) encodeFirst() {
	b := p.raw
	switch {
	case p.tcp != nil:
		setWord(b, 0, uint16(p.tcp.SrcPort))
		setWord(b, 2, uint16(p.tcp.DstPort))
		setWord(b, 16, p.tcp.Checksum)
	case p.udp != nil:
		setWord(b, 0, uint16(p.udp.SrcPort))
		setWord(b, 2, uint16(p.udp.DstPort))
		setWord(b, 6, p.udp.Checksum)
	case p.lite != nil:
		setWord(b, 0, uint16(p.lite.SrcPort))
		setWord(b, 2, uint16(p.lite.DstPort))
		setWord(b, 6, p.lite.Checksum)
	case p.icmp4 != nil:
		setWord(b, 2, p.icmp4.Checksum)
		setWord(b, 4, p.icmp4.Id)
	case p.icmp6 != nil:
		setWord(b, 2, p.icmp6.Checksum)
	}
}

func word(b []byte, at int) uint16       { return binary.BigEndian.Uint16(b[at:]) }
func setWord(b []byte, at int, v uint16) { binary.BigEndian.PutUint16(b[at:], v) }
