package proof

import (
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
)

// endKey is an external endpoint: TCP ports, UDP ports and ICMP identifiers are spaces of their own.
type endKey struct {
	space layers.IPProtocol
	ext   netip.AddrPort
}

// endUse is the last use of an external endpoint.
type endUse struct {
	internal netip.AddrPort
	at       time.Time
}

// mapKey is an internal endpoint.
type mapKey struct {
	space    layers.IPProtocol
	internal netip.AddrPort
}

// mapUse is what an internal endpoint was last seen as.
type mapUse struct {
	ext     netip.AddrPort
	out     time.Time // last outbound packet: only these keep a mapping alive for certain
	closing time.Time // since when a FIN or RST was seen; zero: none since the last SYN
}

// pairUse is the external address that a subscriber was last seen with.
type pairUse struct {
	ext netip.Addr
	out time.Time
}

// use is one packet at one external endpoint, kept for the records: 24 bytes.
type use struct {
	ms       int64
	ext, sub [4]byte
	port     uint16
	space    layers.IPProtocol
	number   uint32
}

// endpoints notes who used which external endpoint in a packet.
func (p *Proof) endpoints(c Case) {
	original, err := decode(c.Original)
	if err != nil {
		return
	}
	given, _ := decode(c.Given)
	result, _ := decode(c.Result)
	f := original.fieldsOf()
	if f.icmpError {
		p.quotedEndpoints(c, original, given, result)
		return
	}
	// The sender of what goes out, and the receiver of what comes in.
	if c.Way != Inbound {
		internal, ok := original.endpoint(original.src, f.srcPort)
		external, _ := result.endpoint(result.src, f.srcPort)
		if ok {
			p.endpoint(c, original, internal, external, true)
		} else {
			p.pair(c, original.src, result.src, true)
		}
	}
	if c.Way != Outbound {
		internal, ok := original.endpoint(original.dst, f.dstPort)
		external, _ := given.endpoint(given.dst, f.dstPort)
		if ok {
			p.endpoint(c, original, internal, external, false)
		} else {
			p.pair(c, original.dst, given.dst, false)
		}
	}
}

// quotedEndpoints notes the endpoints in the packet that an ICMP error quotes.
// They went the other way: what the error's sender received is the quoted destination.
func (p *Proof) quotedEndpoints(c Case, original, given, result ipv4) {
	qo, ok := original.quotation()
	if !ok {
		return
	}
	qg, _ := given.quotation()
	qr, _ := result.quotation()
	f := qo.fieldsOf()
	if c.Way != Inbound {
		if internal, ok := qo.endpoint(qo.dst, f.dstPort); ok {
			external, _ := qr.endpoint(qr.dst, f.dstPort)
			p.endpoint(c, qo, internal, external, false)
		}
	}
	if c.Way != Outbound {
		if internal, ok := qo.endpoint(qo.src, f.srcPort); ok {
			external, _ := qg.endpoint(qg.src, f.srcPort)
			p.endpoint(c, qo, internal, external, false)
		}
	}
}

// endpoint judges that an internal endpoint was seen as an external one. out
// says that its owner sent the packet.
func (p *Proof) endpoint(c Case, h ipv4, internal, external netip.AddrPort, out bool) {
	key := endKey{h.protocol, external}
	p.owner.Cases++
	p.holdDown.Cases++
	last, seen := p.ends[key]
	switch gap := c.Time.Sub(last.at); {
	case !seen || last.internal == internal:
	case last.internal.Addr() != internal.Addr():
		if gap < p.times.GuardTime {
			p.owner.fail("packet %d: %v %v is used by %v, and by %v %v before", c.Number, h.protocol, external, internal, last.internal, gap)
		}
	case gap < p.times.HoldDown:
		p.holdDown.fail("packet %d: %v %v is used by %v, and by %v %v before", c.Number, h.protocol, external, internal, last.internal, gap)
	}
	p.ends[key] = endUse{internal, c.Time}
	p.uses = append(p.uses, use{ms: c.Time.UnixMilli(), ext: external.Addr().As4(), sub: internal.Addr().As4(),
		port: external.Port(), space: h.protocol, number: uint32(c.Number)})
	p.independence(c, h, internal, external, out)
	p.pair(c, internal.Addr(), external.Addr(), out)
}

// independence judges that the mapping is the one of earlier packets, unless it had time to end.
func (p *Proof) independence(c Case, h ipv4, internal, external netip.AddrPort, out bool) {
	p.independent.Cases++
	key := mapKey{h.protocol, internal}
	m, seen := p.mappings[key]
	if seen && m.ext != external {
		idle := p.idle(h.protocol)
		ended := c.Time.Sub(m.out) >= idle || !m.closing.IsZero() && c.Time.Sub(m.closing) >= idle
		if !ended {
			p.independent.fail("packet %d: %v %v is %v, and was %v %v before", c.Number, h.protocol, internal, external, m.ext, c.Time.Sub(m.out))
		}
		m = mapUse{}
	}
	m.ext = external
	if out || m.out.IsZero() {
		m.out = c.Time
	}
	if h.protocol == layers.IPProtocolTCP && len(h.data) > 13 {
		switch flags := h.data[13]; {
		case flags&0x05 != 0 && m.closing.IsZero(): // FIN, RST
			m.closing = c.Time
		case flags&0x02 != 0: // SYN
			m.closing = time.Time{}
		}
	}
	p.mappings[key] = m
}

// pair judges that the subscriber is seen with the address of earlier packets, unless all its mappings had time to end.
func (p *Proof) pair(c Case, sub, ext netip.Addr, out bool) {
	p.paired.Cases++
	u, seen := p.subs[sub]
	if seen && u.ext != ext && c.Time.Sub(u.out) < min(p.times.UDP, p.times.ICMP, p.times.TCP) {
		p.paired.fail("packet %d: %v is %v, and was %v %v before", c.Number, sub, ext, u.ext, c.Time.Sub(u.out))
	}
	if !seen || out || u.ext != ext {
		p.subs[sub] = pairUse{ext, c.Time}
	}
}

func (p *Proof) idle(space layers.IPProtocol) time.Duration {
	switch space {
	case layers.IPProtocolTCP:
		return p.times.TCP
	case layers.IPProtocolUDP:
		return p.times.UDP
	}
	return p.times.ICMP
}
