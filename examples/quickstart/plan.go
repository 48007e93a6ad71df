package main

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
)

// Why a packet of the capture cannot be played.
const (
	noSubscriber   = "neither end is a subscriber"
	noQueryHairpin = "icmp query between subscribers, one identifier for both"
	noQuoted       = "icmp error about a packet that was not played"
	noFirst        = "later fragment to a subscriber without an address"
	noMapping      = "the engine refused an explicit mapping"
)

// A plan is how a packet of the capture is played: what the NAT is given, on which side.
type plan struct {
	way   proof.Way
	given []byte // a copy that the NAT may write on
	why   string // not played, for this reason
}

// plan turns a packet between hosts as the capture has it into the one that
// arrives at the NAT. From a subscriber to a remote host that is the same
// packet. To a subscriber it is the packet that the sender wrote: its
// destination is the external endpoint, the only one that the sender knows.
func (p *player) plan(b []byte) plan {
	out := plan{way: proof.Outbound, given: bytes.Clone(b)}
	ip, ok := parseIPv4(out.given)
	if !ok {
		return out // IPv6 and broken headers are the engine's to refuse
	}
	from, to := p.isSubscriber(ip.src), p.isSubscriber(ip.dst)
	switch {
	case !from && !to:
		return plan{why: noSubscriber}
	case !to:
		return out
	case from:
		out.way = proof.Hairpin
	default:
		out.way = proof.Inbound
	}
	out.why = p.readdress(ip, out.way)
	return out
}

// readdress puts the external endpoint in place of the subscriber's as
// destination, or says why it cannot.
func (p *player) readdress(ip ipv4, way proof.Way) (why string) {
	switch {
	case ip.protocol != tcp && ip.protocol != udp && ip.protocol != icmp:
		ip.setDestination(netip.AddrPortFrom(p.anyAddress(ip.dst), 0))
		return ""
	case ip.isError():
		return p.readdressError(ip)
	case ip.isQuery() && way == proof.Hairpin:
		return noQueryHairpin
	}
	internal, ok := ip.destination()
	if !ok { // a later fragment, or cut before its ports
		address, ok := p.known.address(ip.dst)
		if !ok {
			return noFirst
		}
		ip.setDestination(netip.AddrPortFrom(address, 0))
		return ""
	}
	e := endpoint{ip.protocol, internal}
	external, ok := p.known.find(e, p.now)
	if !ok {
		if external, ok = p.askForMapping(e); !ok {
			return noMapping
		}
	}
	p.known.flags(e, ip, p.now)
	ip.setDestination(external)
	return ""
}

// readdressError does the same for an ICMP error: it quotes the packet that its
// sender received, which came from the subscriber's external endpoint.
func (p *player) readdressError(ip ipv4) (why string) {
	quoted, ok := ip.quotation()
	if !ok || quoted.src != ip.dst {
		return noQuoted
	}
	external := netip.AddrPortFrom(p.anyAddress(ip.dst), 0)
	if quoted.protocol == tcp || quoted.protocol == udp || quoted.protocol == icmp { // others are the engine's to refuse
		internal, ok := quoted.source()
		if !ok {
			return noQuoted
		}
		if external, ok = p.known.find(endpoint{quoted.protocol, internal}, p.now); !ok {
			return noQuoted
		}
	}
	before := bytes.Clone(ip.data())
	quoted.setSource(external)
	correct(ip.data()[2:4], before[4:], ip.data()[4:])
	ip.setDestination(netip.AddrPortFrom(external.Addr(), 0))
	return ""
}

// anyAddress returns an external address for a packet of which only the address counts.
func (p *player) anyAddress(subscriber netip.Addr) netip.Addr {
	if a, ok := p.known.address(subscriber); ok {
		return a
	}
	return p.someExternal
}

// lifetime of explicit mappings (RFC 6887 section 15 lets a server choose).
const lifetime = 10 * time.Minute
