package layers

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// ErrNoIP means that there is no IPv4 or IPv6 layer to translate.
var ErrNoIP = errors.New("rewrite/layers: no IP layer")

// Apply translates the layers of one packet, outermost first, as rewrite.Apply
// does its bytes: packet.Layers() of a gopacket.Packet, or the layers that a
// DecodingLayerParser filled, with a gopacket.Payload or gopacket.Fragment last
// where there is one. The error is ErrNoIP, rewrite.ErrFamily or a rewrite.Fault;
// nothing is changed then.
func Apply(ls []gopacket.Layer, t rewrite.Translation) error {
	for i, l := range ls {
		var p packet
		switch ip := l.(type) {
		case *layers.IPv4:
			p = packet{ip4: ip, proto: uint8(ip.Protocol)}
			if err := p.read4(ip); err != nil {
				return err
			}
		case *layers.IPv6:
			p = packet{ip6: ip, proto: uint8(ip.NextHeader)}
		default:
			continue
		}
		if err := p.find(ls[i+1:]); err != nil {
			return err
		}
		return p.translate(t)
	}
	return ErrNoIP
}

// packet is what was found of one packet.
type packet struct {
	ip4 *layers.IPv4
	ip6 *layers.IPv6
	// proto is the protocol after the extension headers.
	proto uint8
	// first is set on a first fragment, later on a non-first one.
	first, later bool
	// routed and home say that the transport checksum does not cover the
	// destination, the source, of the IP header.
	routed, home bool

	tcp   *layers.TCP
	udp   *layers.UDP
	lite  *layers.UDPLite
	icmp4 *layers.ICMPv4
	icmp6 *layers.ICMPv6
	echo  *layers.ICMPv6Echo
	// payload is what follows the last decoded header, in the caller's memory.
	payload []byte
	// raw is the transport header and payload of a first fragment.
	raw []byte
}

func (p *packet) read4(ip *layers.IPv4) error {
	p.later = ip.FragOffset != 0
	p.first = !p.later && ip.Flags&layers.IPv4MoreFragments != 0
	if ip.FragOffset == 1 && ip.Protocol == layers.IPProtocolTCP {
		return rewrite.FaultTinyFragment
	}
	for _, o := range ip.Options {
		// Loose and strict source routes that are not used up (RFC 791).
		if (o.OptionType == 131 || o.OptionType == 137) && len(o.OptionData) >= 5 &&
			int(o.OptionData[0])+3 <= int(o.OptionLength) {
			p.routed = true
		}
	}
	p.payload = ip.LayerPayload()
	return nil
}

// find sorts the layers after the IP layer.
func (p *packet) find(ls []gopacket.Layer) error {
	for _, l := range ls {
		switch l := l.(type) {
		case *layers.IPv6HopByHop:
			p.proto = uint8(l.NextHeader)
		case *layers.IPv6Destination:
			p.proto = uint8(l.NextHeader)
			p.noteHomeAddress(l)
		case *layers.IPv6Routing:
			p.proto = uint8(l.NextHeader)
			p.routed = p.routed || l.SegmentsLeft > 0
		case *layers.IPSecAH:
			p.proto = uint8(l.NextHeader)
		case *layers.IPv6Fragment:
			p.proto = uint8(l.NextHeader)
			p.later = l.FragmentOffset != 0
			p.first = !p.later // gopacket decodes nothing after it, atomic or not
			if l.FragmentOffset == 1 && p.proto == rewrite.ProtoTCP {
				return rewrite.FaultTinyFragment
			}
			p.payload = l.LayerPayload()
		case *layers.TCP:
			p.tcp = l
		case *layers.UDP:
			p.udp = l
		case *layers.UDPLite:
			p.lite = l
		case *layers.ICMPv4:
			p.icmp4, p.payload = l, l.LayerPayload()
		case *layers.ICMPv6:
			p.icmp6, p.payload = l, l.LayerPayload()
		case *layers.ICMPv6Echo:
			p.echo = l
		case *gopacket.Payload:
			p.setPayload(*l)
		case gopacket.Payload:
			p.setPayload(l)
		case *gopacket.Fragment:
			p.payload = *l
		case *layers.IPv4, *layers.IPv6:
			return p.complete() // a tunnel's inner packet
		}
	}
	return p.complete()
}

// noteHomeAddress looks for the option that stands for the source in the transport
// checksum (RFC 6275 section 11.3.1).
func (p *packet) noteHomeAddress(l *layers.IPv6Destination) {
	for _, o := range l.Options {
		p.home = p.home || o.OptionType == 0xc9 && len(o.OptionData) == 16
	}
}

// setPayload notes an explicit payload layer, which is what will be serialised.
// After an ICMPv6Echo it does not begin where the ICMPv6 payload does.
func (p *packet) setPayload(b []byte) {
	if p.echo == nil {
		p.payload = b
	}
}

// complete reports a transport layer that should be there and is not, because
// gopacket could not decode it or an extension header before it.
func (p *packet) complete() error {
	if p.first || p.later {
		return nil
	}
	missing := false
	switch p.proto {
	case rewrite.ProtoTCP:
		missing = p.tcp == nil
	case rewrite.ProtoUDP:
		missing = p.udp == nil
	case rewrite.ProtoUDPLite:
		missing = p.lite == nil
	case rewrite.ProtoICMP:
		missing = p.ip4 != nil && p.icmp4 == nil
	case rewrite.ProtoICMPv6:
		missing = p.ip6 != nil && p.icmp6 == nil
	case uint8(layers.IPProtocolIPv6HopByHop), uint8(layers.IPProtocolIPv6Routing),
		uint8(layers.IPProtocolIPv6Fragment), uint8(layers.IPProtocolIPv6Destination), uint8(layers.IPProtocolAH):
		if p.ip6 != nil {
			return rewrite.FaultExtension
		}
	}
	if missing {
		return rewrite.FaultTruncated
	}
	return nil
}

// endpoint is one side of a translation in the form the layers need.
type endpoint struct {
	set  bool
	addr netip.Addr
	port uint16
}

func (p *packet) endpoint(ap netip.AddrPort) (endpoint, error) {
	if !ap.IsValid() {
		return endpoint{}, nil
	}
	e := endpoint{set: true, addr: ap.Addr().Unmap().WithZone(""), port: ap.Port()}
	if e.addr.Is4() != (p.ip4 != nil) {
		return e, rewrite.ErrFamily
	}
	return e, nil
}

func (p *packet) translate(t rewrite.Translation) error {
	src, err := p.endpoint(t.Source)
	if err != nil {
		return err
	}
	dst, err := p.endpoint(t.Destination)
	if err != nil {
		return err
	}
	if p.first {
		if err := p.decodeFirst(); err != nil {
			return err
		}
		defer p.encodeFirst()
	}
	q, err := p.quoted()
	if err != nil {
		return err
	}
	addr := p.setAddress(src, true) + p.setAddress(dst, false)
	switch {
	case p.later:
	case p.tcp != nil:
		d := setPort(src, &p.tcp.SrcPort) + setPort(dst, &p.tcp.DstPort)
		p.tcp.Checksum = (addr + d).Update(p.tcp.Checksum)
	case p.udp != nil:
		d := setPort(src, &p.udp.SrcPort) + setPort(dst, &p.udp.DstPort)
		p.udp.Checksum = updateUDP(addr+d, p.udp.Checksum)
	case p.lite != nil:
		d := setPort(src, &p.lite.SrcPort) + setPort(dst, &p.lite.DstPort)
		p.lite.Checksum = updateUDP(addr+d, p.lite.Checksum)
	case p.icmp4 != nil:
		d := p.setQuery4(src, dst) + q.set(src, dst)
		p.icmp4.Checksum = d.Update(p.icmp4.Checksum)
	case p.icmp6 != nil:
		d := p.setQuery6(src, dst) + q.set(src, dst)
		p.icmp6.Checksum = (addr + d).Update(p.icmp6.Checksum)
	}
	return nil
}

// setAddress writes one address of the IP layer and its header checksum, and
// returns what the transport checksum has to follow.
func (p *packet) setAddress(e endpoint, source bool) rewrite.Delta {
	if !e.set {
		return 0
	}
	var field *net.IP
	switch {
	case p.ip4 != nil && source:
		field = &p.ip4.SrcIP
	case p.ip4 != nil:
		field = &p.ip4.DstIP
	case source:
		field = &p.ip6.SrcIP
	default:
		field = &p.ip6.DstIP
	}
	was := *field
	if p.ip4 != nil {
		was = was.To4()
	}
	is := net.IP(e.addr.AsSlice())
	var d rewrite.Delta
	for i := 0; i+1 < len(is) && i+1 < len(was); i += 2 {
		d = d.Word16(binary.BigEndian.Uint16(was[i:]), binary.BigEndian.Uint16(is[i:]))
	}
	// A decoded address is a window on the packet's bytes: it gets a slice of its own.
	*field = is
	if p.ip4 != nil {
		p.ip4.Checksum = d.Update(p.ip4.Checksum)
	}
	if source && p.home || !source && p.routed {
		return 0
	}
	return d
}

// setPort writes a port of any of gopacket's port types.
func setPort[P ~uint16](e endpoint, field *P) rewrite.Delta {
	if !e.set {
		return 0
	}
	d := rewrite.Delta(0).Word16(uint16(*field), e.port)
	*field = P(e.port)
	return d
}

// updateUDP keeps 0, which means no checksum, and never makes one (RFC 768).
func updateUDP(d rewrite.Delta, checksum uint16) uint16 {
	if checksum == 0 {
		return 0
	}
	if c := d.Update(checksum); c != 0 {
		return c
	}
	return 0xffff
}
