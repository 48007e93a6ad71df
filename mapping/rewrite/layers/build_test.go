package layers

import (
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// shape is a packet to build with gopacket's serializer, which sums everything
// from scratch. Both endpoints of the packet are in it, so that the translated
// packet is the same shape with other endpoints.
type shape struct {
	kind     string // tcp, udp, echo, reply, error
	src, dst netip.AddrPort
	// inner endpoints of what an error quotes, and its kind
	qkind      string
	qsrc, qdst netip.AddrPort
	payload    []byte
	options    bool
	noChecksum bool // UDP without a checksum
}

func (s shape) v6() bool { return s.src.Addr().Is6() }

var compute = gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}

// build serialises the shape with checksums computed in full.
func (s shape) build() []byte {
	var ls []gopacket.SerializableLayer
	var network gopacket.NetworkLayer
	proto := map[string]layers.IPProtocol{
		"tcp": layers.IPProtocolTCP, "udp": layers.IPProtocolUDP,
	}[s.kind]
	if proto == 0 {
		proto = layers.IPProtocolICMPv4
		if s.v6() {
			proto = layers.IPProtocolICMPv6
		}
	}
	if s.v6() {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: ipOf(s.src), DstIP: ipOf(s.dst), FlowLabel: 0x12345}
		ls, network = append(ls, ip), ip
		if s.options {
			ip.NextHeader = layers.IPProtocolIPv6Destination
			d := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 30, OptionLength: 4, OptionData: []byte{1, 2, 3, 4}}}}
			d.NextHeader = proto
			ls = append(ls, d)
		}
	} else {
		ip := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: ipOf(s.src), DstIP: ipOf(s.dst)}
		if s.options {
			ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		}
		ls, network = append(ls, ip), ip
	}
	payload := s.payload
	switch s.kind {
	case "tcp":
		t := &layers.TCP{SrcPort: layers.TCPPort(s.src.Port()), DstPort: layers.TCPPort(s.dst.Port()), Seq: 1, Ack: 2, ACK: true, Window: 512}
		if s.options {
			t.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte("abcdefgh")}, {OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop}}
		}
		_ = t.SetNetworkLayerForChecksum(network)
		ls = append(ls, t)
	case "udp":
		u := &layers.UDP{SrcPort: layers.UDPPort(s.src.Port()), DstPort: layers.UDPPort(s.dst.Port())}
		_ = u.SetNetworkLayerForChecksum(network)
		ls = append(ls, u)
	case "echo", "reply":
		id := s.src.Port()
		typ4, typ6 := uint8(layers.ICMPv4TypeEchoRequest), uint8(layers.ICMPv6TypeEchoRequest)
		if s.kind == "reply" {
			id, typ4, typ6 = s.dst.Port(), layers.ICMPv4TypeEchoReply, layers.ICMPv6TypeEchoReply
		}
		if s.v6() {
			i := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ6, 0)}
			_ = i.SetNetworkLayerForChecksum(network)
			ls = append(ls, i, &layers.ICMPv6Echo{Identifier: id, SeqNumber: 9})
		} else {
			ls = append(ls, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ4, 0), Id: id, Seq: 9})
		}
	case "error":
		q := shape{kind: s.qkind, src: s.qsrc, dst: s.qdst, payload: s.payload, options: s.options}
		payload = q.build()
		if s.v6() {
			i := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, 0)}
			_ = i.SetNetworkLayerForChecksum(network)
			ls = append(ls, i)
			payload = append(make([]byte, 4), payload...)
		} else {
			ls = append(ls, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, 3)})
		}
	}
	ls = append(ls, gopacket.Payload(payload))
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, compute, ls...); err != nil {
		panic(err)
	}
	b := buf.Bytes()
	if s.kind == "udp" {
		fixZero(b, s.v6(), s.noChecksum)
	}
	return b
}

// fixZero writes what gopacket's serializer does not know: a UDP checksum that
// computes to 0 is sent as 0xFFFF (RFC 768), and 0 means none.
func fixZero(b []byte, v6, none bool) {
	at := int(b[0]&15)*4 + 6
	if v6 {
		at = 46
		if b[6] == uint8(layers.IPProtocolIPv6Destination) {
			at += 8
		}
	}
	switch {
	case none:
		b[at], b[at+1] = 0, 0
	case b[at] == 0 && b[at+1] == 0:
		b[at], b[at+1] = 0xff, 0xff
	}
}

func ipOf(a netip.AddrPort) net.IP { return net.IP(a.Addr().AsSlice()) }

// translated returns the shape with the endpoints that t gives it.
func (s shape) translated(t rewrite.Translation) shape {
	set := func(at *netip.AddrPort, to netip.AddrPort) {
		if to.IsValid() {
			*at = to
		}
	}
	set(&s.src, t.Source)
	set(&s.dst, t.Destination)
	set(&s.qdst, t.Source)
	set(&s.qsrc, t.Destination)
	return s
}

// serialize writes decoded layers as they are, without computing anything.
func serialize(ls []gopacket.Layer) ([]byte, error) {
	var out []gopacket.SerializableLayer
	for _, l := range ls {
		switch l := l.(type) {
		case *layers.ICMPv6:
			// gopacket loses the bytes after an ICMPv6Echo, the payload has them.
			out = append(out, l, gopacket.Payload(l.LayerPayload()))
		case gopacket.SerializableLayer:
			out = append(out, l)
		default:
			out = append(out, gopacket.Payload(l.LayerContents()))
		}
		if _, ok := l.(*layers.ICMPv6); ok {
			break
		}
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{}, out...)
	return buf.Bytes(), err
}

// decode decodes the bytes of an IP packet into layers that share no memory with
// them.
func decode(b []byte) []gopacket.Layer {
	first := gopacket.Decoder(layers.LayerTypeIPv4)
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	return p.Layers()
}
