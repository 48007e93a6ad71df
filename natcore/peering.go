package natcore

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// ExternalRealm names the external realm where a Peering leads to it. It is no internal realm there.
const ExternalRealm Realm = 0xffff

// Peering translates sessions that go from one realm to another, source and destination together (twice NAT, RFC 2663
// section 4.3). The hosts of From address those of To by Destination, and are seen by them as Sources or as SourceAs.
// So both realms may use the same internal addresses. A session is begun from From alone; for the other
// direction there is another Peering. Packets go in as Outbound ones of realm From and come out with the verdict Hairpin and the
// realm To, or with Forward where To is ExternalRealm.
//
// A session is charged to the host that begins it, and as an inbound one to the internal host that it goes to (Quotas).
//
// Of several peerings that cover a packet the one with the longest Destination counts, then the longest Source, then one
// that names the protocol, then the first.
type Peering struct {
	// Name names the peering in errors and SessionInfo. It must not be empty and is unique among peerings.
	Name string
	// From and To are the realms. They differ.
	From, To Realm
	// Protocol is the IP protocol number. 0 means all, those without ports too where DestinationPorts is not set.
	Protocol uint8
	// Source holds the hosts that may begin a session. The zero prefix holds all.
	Source netip.Prefix
	// Destination holds what the hosts of From write to.
	Destination netip.Prefix
	// DestinationPorts are the ports of TCP, UDP or UDP-Lite that they may write to. The zero range means all.
	DestinationPorts portblock.Range
	// Target is what Destination becomes in To: a prefix of the same length, one by one. Default: Destination itself.
	Target netip.Prefix
	// TargetPort is what the first of DestinationPorts becomes, and the others in turn. Default: ports stay.
	TargetPort uint16
	// Sources are the addresses by which To sees the hosts, many behind one, with a port each. Peerings
	// to one realm may declare the same addresses or some of them: they then share one space of ports, and each takes from
	// addresses that it alone declares first. Towards different realms the same addresses are different ones.
	Sources []alloc.Range
	// SourcePorts are the ports of Sources that are used. Default: 1024 to 65535, and all identifiers.
	SourcePorts portblock.Range
	// SourceAs is what Source becomes in To: a prefix of the same length, one by one. Of Sources and SourceAs at
	// most one is set; with none, the source stays.
	SourceAs netip.Prefix
}

// peering is a Peering as numbers.
type peering struct {
	cfg                  Peering
	id                   uint32
	from, to             mapping.Header // the realm of each side
	source, sourceMask   uint32
	dest, destMask       uint32
	target, sourceAs     uint32
	targetPort           uint16
	shiftsPort, asPrefix bool
	sources              *sourceOwner
}

func side(r Realm) mapping.Header {
	if r == ExternalRealm {
		return mapping.Header{External: true}
	}
	return mapping.Header{Realm: uint16(r)}
}

// newPeering turns a checked Peering into numbers.
func newPeering(cfg Peering, id uint32) *peering {
	p := &peering{cfg: cfg, id: id, from: side(cfg.From), to: side(cfg.To)}
	if cfg.Source.IsValid() {
		p.sourceMask = mask4(cfg.Source.Bits())
		p.source = mapping.Number4(cfg.Source.Addr()) & p.sourceMask
	}
	p.destMask = mask4(cfg.Destination.Bits())
	p.dest = mapping.Number4(cfg.Destination.Addr()) & p.destMask
	p.target = mapping.Number4(cfg.Target.Addr()) & p.destMask
	if cfg.SourceAs.IsValid() {
		p.asPrefix, p.sourceAs = true, mapping.Number4(cfg.SourceAs.Addr())&p.sourceMask
	}
	if cfg.TargetPort != 0 {
		p.shiftsPort, p.targetPort = true, cfg.TargetPort-cfg.DestinationPorts.First()
	}
	return p
}

// covers reports whether a packet of the realm From begins a session of the peering.
func (p *peering) covers(h *mapping.Header) bool {
	return h.Dst&p.destMask == p.dest && h.Src&p.sourceMask == p.source &&
		(p.cfg.Protocol == 0 || p.cfg.Protocol == h.Proto) &&
		(!p.cfg.DestinationPorts.IsValid() || h.Proto != 1 && hasPorts(h.Proto) && p.cfg.DestinationPorts.Contains(h.DstPort))
}

// sortPeerings brings peerings into the order in which they are tried.
func sortPeerings(all []*peering) {
	bits := func(p netip.Prefix) int {
		if !p.IsValid() {
			return 0
		}
		return p.Bits()
	}
	named := func(p *peering) int { return min(int(p.cfg.Protocol), 1) }
	slices.SortStableFunc(all, func(a, b *peering) int {
		return cmp.Or(
			cmp.Compare(b.cfg.Destination.Bits(), a.cfg.Destination.Bits()),
			cmp.Compare(bits(b.cfg.Source), bits(a.cfg.Source)),
			cmp.Compare(named(b), named(a)),
		)
	})
}

// translate returns the header with which a packet of a new session leaves, but for a source out of Sources.
func (p *peering) translate(in mapping.Header) mapping.Header {
	out := in
	out.Realm, out.External = p.to.Realm, p.to.External
	out.Dst = in.Dst&^p.destMask | p.target
	if p.shiftsPort {
		out.DstPort += p.targetPort
	}
	if p.asPrefix {
		out.Src = in.Src&^p.sourceMask | p.sourceAs
	}
	return out
}
