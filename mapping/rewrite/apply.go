package rewrite

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ErrFamily means that a translation's address family is not the packet's.
var ErrFamily = errors.New("rewrite: address family of the translation is not the packet's")

// Translation says what a packet's endpoints become. An AddrPort whose address is
// not valid (the zero AddrPort) leaves that endpoint as it is; a valid one
// replaces address and port, port 0 included. IPv4-mapped IPv6 addresses count as
// IPv4.
//
// An ICMP query's identifier belongs to the host that asks: it is the port of
// Source in a request and the port of Destination in a reply. The other port is
// ignored, as ports are in packets that have none.
//
// An ICMP error quotes a packet that went the other way, so Source becomes the
// outer source address and the quoted destination endpoint, and Destination
// becomes the outer destination address and the quoted source endpoint (RFC 5508
// REQ-4 and REQ-5).
type Translation struct {
	Source, Destination netip.AddrPort
}

// Apply translates the IPv4 or IPv6 packet that b begins with, in place. The
// error is a Fault, or ErrFamily; b is unchanged then.
func Apply(b []byte, t Translation) error {
	if len(b) > 0 && b[0]>>4 == 6 {
		return apply6(b, t)
	}
	return apply4(b, t)
}

func apply4(b []byte, t Translation) error {
	var p, q Packet4
	if f := Parse4(b, &p); f != FaultNone {
		return f
	}
	quoted := p.Kind == KindICMPError
	if quoted {
		if f := ParseQuoted4(b, &p, &q); f != FaultNone {
			return f
		}
	}
	src, hasSrc, ok := endpoint4(t.Source)
	if !ok {
		return ErrFamily
	}
	dst, hasDst, ok := endpoint4(t.Destination)
	if !ok {
		return ErrFamily
	}
	if hasSrc {
		p.SetSource(b, src, ownPort(p.Kind, KindQueryReply, p.SrcPort, t.Source.Port()))
		if quoted {
			p.SetQuotedDestination(b, &q, src, ownPort(q.Kind, KindQueryRequest, q.DstPort, t.Source.Port()))
		}
	}
	if hasDst {
		p.SetDestination(b, dst, ownPort(p.Kind, KindQueryRequest, p.DstPort, t.Destination.Port()))
		if quoted {
			p.SetQuotedSource(b, &q, dst, ownPort(q.Kind, KindQueryReply, q.SrcPort, t.Destination.Port()))
		}
	}
	return nil
}

// ownPort returns the port to write: the present one for the kind of query whose
// identifier belongs to the other endpoint.
func ownPort(k, other Kind, present, port uint16) uint16 {
	if k == other {
		return present
	}
	return port
}

// endpoint4 returns the address, whether there is one, and whether its family fits.
func endpoint4(ap netip.AddrPort) (addr uint32, present, ok bool) {
	if !ap.IsValid() {
		return 0, false, true
	}
	a := ap.Addr().Unmap()
	if !a.Is4() {
		return 0, false, false
	}
	raw := a.As4()
	return binary.BigEndian.Uint32(raw[:]), true, true
}

func apply6(b []byte, t Translation) error {
	var p, q Packet6
	if f := Parse6(b, &p); f != FaultNone {
		return f
	}
	quoted := p.Kind == KindICMPError
	if quoted {
		if f := ParseQuoted6(b, &p, &q); f != FaultNone {
			return f
		}
	}
	src, hasSrc, ok := endpoint6(t.Source)
	if !ok {
		return ErrFamily
	}
	dst, hasDst, ok := endpoint6(t.Destination)
	if !ok {
		return ErrFamily
	}
	if hasSrc {
		p.SetSource(b, src, ownPort(p.Kind, KindQueryReply, p.SrcPort, t.Source.Port()))
		if quoted {
			p.SetQuotedDestination(b, &q, src, ownPort(q.Kind, KindQueryRequest, q.DstPort, t.Source.Port()))
		}
	}
	if hasDst {
		p.SetDestination(b, dst, ownPort(p.Kind, KindQueryRequest, p.DstPort, t.Destination.Port()))
		if quoted {
			p.SetQuotedSource(b, &q, dst, ownPort(q.Kind, KindQueryReply, q.SrcPort, t.Destination.Port()))
		}
	}
	return nil
}

// endpoint6 is endpoint4 for IPv6.
func endpoint6(ap netip.AddrPort) (addr [16]byte, present, ok bool) {
	if !ap.IsValid() {
		return addr, false, true
	}
	if a := ap.Addr().Unmap(); a.Is6() {
		return a.As16(), true, true
	}
	return addr, false, false
}
