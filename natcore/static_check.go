package natcore

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// maxStaticAddresses bounds Static.Addresses, so that no mapping makes a change of the configuration long.
const maxStaticAddresses = 1 << 16

// complete fills in the defaults of a copied Static and tells its faults.
func (s *Static) complete(f *faults, field func(string) string) {
	if s.Name == "" {
		f.add(field("Name"), `""`, "must not be empty: errors and RemoveStatic name the mapping")
	}
	if !s.External.Unmap().Is4() {
		f.add(field("External"), s.External, "must be an IPv4 address")
	}
	s.External, s.Internal = s.External.Unmap(), s.Internal.Unmap()
	s.completePorts(f, field)
	if s.Addresses == 0 {
		s.Addresses = 1
	}
	if s.Addresses < 1 || s.Addresses > maxStaticAddresses {
		f.add(field("Addresses"), s.Addresses, fmt.Sprintf("must be from 1 to %d; zero means 1", maxStaticAddresses))
	} else {
		for _, a := range []struct {
			name string
			addr netip.Addr
		}{{"External", s.External}, {"Internal", s.Internal}} {
			if a.addr.Is4() && uint64(mapping.Number4(a.addr))+uint64(s.Addresses) > 1<<32 {
				f.add(field(a.name), a.addr, "must leave room for Addresses: they pass the last address that there is")
			}
		}
	}
	if len(s.Servers) > 0 {
		s.completeServers(f, field)
	} else {
		if !s.Internal.Is4() {
			f.add(field("Internal"), s.Internal, "must be an IPv4 address, or Servers must be set")
		}
		if s.Affinity != 0 {
			f.add(field("Affinity"), s.Affinity, "must be zero where there is but one server")
		}
	}
	if s.Balance > BySession {
		f.add(field("Balance"), s.Balance, "must be ByClient or BySession")
	}
	if s.Affinity < 0 || s.Affinity > mapping.MaxIdle {
		f.add(field("Affinity"), s.Affinity, fmt.Sprintf("must be from 0 to %v", mapping.MaxIdle))
	}
	switch {
	case s.Filtering > AddressAndPortDependent:
		f.add(field("Filtering"), s.Filtering, "must be one of the three behaviours of RFC 4787 section 5")
	case s.Filtering != EndpointIndependent && (s.InboundOnly || s.identity()):
		f.add(field("Filtering"), s.Filtering, "must be EndpointIndependent where the internal host begins no session by the mapping: Remotes says who may come in")
	}
	for i, r := range s.Remotes {
		if !r.IsValid() || !r.Addr().Is4() {
			f.add(field(fmt.Sprintf("Remotes[%d]", i)), r, "must be an IPv4 prefix")
		}
	}
	checkSources(f, field, s.Sources)
	switch {
	case s.Twice > TwiceSelf:
		f.add(field("Twice"), s.Twice, "must be TwiceAlways or TwiceSelf")
	case s.Twice == TwiceSelf && len(s.Sources) == 0:
		f.add(field("Sources"), "empty", "must hold the addresses that Twice translates sources to")
	case len(s.Sources) > 0 && s.identity():
		f.add(field("Sources"), s.Sources, "must be empty where nothing is translated")
	}
	if s.MaxSessions < 0 {
		f.add(field("MaxSessions"), s.MaxSessions, "must not be negative; zero means no bound of its own")
	}
}

// identity reports whether nothing is translated.
func (s *Static) identity() bool {
	return len(s.Servers) == 0 && s.Internal == s.External && s.InternalPort == s.ExternalPort
}

// whole reports whether the mapping is one of addresses with all their ports.
func (s *Static) whole() bool { return s.Ports == 0 }

func (s *Static) completePorts(f *faults, field func(string) string) {
	switch {
	case s.Protocol == 33 || s.Protocol == 51:
		f.add(field("Protocol"), s.Protocol, "must be another one: checksums of DCCP and AH cover addresses, which a translator cannot keep right")
	case s.Protocol != 0 && !hasPorts(s.Protocol) && (s.ExternalPort != 0 || s.Ports != 0 || s.InternalPort != 0):
		f.add(field("Protocol"), s.Protocol, "must be TCP (6), UDP (17), UDP-Lite (136) or ICMP (1) where ports are given")
	}
	if s.Ports == 0 && s.ExternalPort != 0 {
		s.Ports = 1
	}
	if s.Ports < 0 || s.Ports > 65536 {
		f.add(field("Ports"), s.Ports, "must be from 1 to 65536; zero means one, or all where ExternalPort is zero too")
		return
	}
	if s.Ports == 0 {
		if s.InternalPort != 0 {
			f.add(field("InternalPort"), s.InternalPort, "must be zero where ExternalPort is: all ports stay")
		}
		return
	}
	if s.InternalPort == 0 {
		s.InternalPort = s.ExternalPort
	}
	if s.ExternalPort == 0 && s.Protocol != 1 {
		f.add(field("ExternalPort"), s.ExternalPort, "must not be 0: only ICMP has an identifier 0")
	}
	if int(s.ExternalPort)+s.Ports > 65536 {
		f.add(field("ExternalPort"), s.ExternalPort, fmt.Sprintf("must leave room for %d ports", s.Ports))
	}
	if int(s.InternalPort)+s.Ports > 65536 {
		f.add(field("InternalPort"), s.InternalPort, fmt.Sprintf("must leave room for %d ports", s.Ports))
	}
}

func (s *Static) completeServers(f *faults, field func(string) string) {
	s.InboundOnly = true
	if s.Internal.IsValid() || s.InternalPort != s.ExternalPort {
		f.add(field("Internal"), s.Internal, "must not be set, nor InternalPort, where Servers is")
	}
	if s.Addresses > 1 {
		f.add(field("Addresses"), s.Addresses, "must be 1 where Servers share an address")
	}
	seen := map[netip.AddrPort]int{}
	for i := range s.Servers {
		v := &s.Servers[i]
		name := fmt.Sprintf("Servers[%d]", i)
		addr, port := v.Internal.Addr().Unmap(), v.Internal.Port()
		if port == 0 {
			port = s.ExternalPort
		}
		v.Internal = netip.AddrPortFrom(addr, port)
		switch {
		case !addr.Is4():
			f.add(field(name+".Internal"), v.Internal, "must be an IPv4 address, with a port or port 0 for the external one")
		case s.whole() && port != 0:
			f.add(field(name+".Internal"), v.Internal, "must have port 0 where the mapping is of all ports")
		case int(port)+s.Ports > 65536:
			f.add(field(name+".Internal"), v.Internal, fmt.Sprintf("must leave room for %d ports", s.Ports))
		}
		if v.Weight == 0 {
			v.Weight = 1
		}
		if v.Weight < 1 || v.Weight > 65535 {
			f.add(field(name+".Weight"), v.Weight, "must be from 1 to 65535; zero means 1")
		}
		if j, known := seen[v.Internal]; known {
			f.add(field(name+".Internal"), v.Internal, fmt.Sprintf("is Servers[%d] already: give it once, with a higher weight", j))
		}
		seen[v.Internal] = i
	}
}

func checkSources(f *faults, field func(string) string, sources []alloc.Range) {
	for i, r := range sources {
		if !r.IsValid() || !r.First().Is4() {
			f.add(field(fmt.Sprintf("Sources[%d]", i)), r, "must be IPv4 addresses")
		}
	}
}

// complete fills in the defaults of a copied Peering and tells its faults.
func (p *Peering) complete(f *faults, field func(string) string) {
	is4 := func(p netip.Prefix) bool { return p.IsValid() && p.Addr().Is4() }
	if p.Name == "" {
		f.add(field("Name"), `""`, "must not be empty: errors and SessionInfo name the peering")
	}
	if p.From == ExternalRealm {
		f.add(field("From"), p.From, "must be an internal realm: a Static with Sources translates what comes from the external one")
	}
	if p.From == p.To {
		f.add(field("To"), p.To, "must be another realm than From")
	}
	if p.Protocol == 33 || p.Protocol == 51 {
		f.add(field("Protocol"), p.Protocol, "must be another one: checksums of DCCP and AH cover addresses")
	}
	if !is4(p.Destination) {
		f.add(field("Destination"), p.Destination, "must be an IPv4 prefix; 0.0.0.0/0 is all")
	}
	if p.Target == (netip.Prefix{}) {
		p.Target = p.Destination
	}
	if !is4(p.Target) || p.Target.Bits() != p.Destination.Bits() {
		f.add(field("Target"), p.Target, "must be an IPv4 prefix as long as Destination: its addresses stand for each other one by one")
	}
	switch {
	case p.DestinationPorts.IsValid() && p.Protocol != 0 && (p.Protocol == 1 || !hasPorts(p.Protocol)):
		f.add(field("DestinationPorts"), p.DestinationPorts, "must be empty where Protocol is not TCP (6), UDP (17) or UDP-Lite (136)")
	case p.TargetPort != 0 && !p.DestinationPorts.IsValid():
		f.add(field("DestinationPorts"), p.DestinationPorts, "must say which ports TargetPort stands for")
	case p.TargetPort != 0 && int(p.TargetPort)+p.DestinationPorts.Len() > 65536:
		f.add(field("TargetPort"), p.TargetPort, fmt.Sprintf("must leave room for %d ports", p.DestinationPorts.Len()))
	}
	if p.Source != (netip.Prefix{}) && !is4(p.Source) {
		f.add(field("Source"), p.Source, "must be an IPv4 prefix, or the zero prefix for any")
	}
	checkSources(f, field, p.Sources)
	switch as := p.SourceAs; {
	case as != (netip.Prefix{}) && (!is4(as) || !is4(p.Source) || as.Bits() != p.Source.Bits()):
		f.add(field("SourceAs"), as, "must be an IPv4 prefix as long as Source: its addresses stand for each other one by one")
	case as.IsValid() && len(p.Sources) > 0:
		f.add(field("SourceAs"), as, "must be empty where Sources is set, or Sources must be")
	case !as.IsValid() && len(p.Sources) == 0 && p.To == ExternalRealm:
		f.add(field("Sources"), "empty", "must be set, or SourceAs: internal addresses mean nothing in the external realm")
	}
	switch {
	case !p.SourcePorts.IsValid():
		p.SourcePorts = portblock.RangeOf(1024, 65535)
	case p.SourcePorts.First() == 0:
		f.add(field("SourcePorts"), p.SourcePorts, "must not hold port 0")
	}
}

// completeStatics checks all that stands in the configuration for itself. What of it meets something else is found by checkStatics.
func (c *Config) completeStatics(f *faults) {
	names := map[string]int{}
	for i := range c.Static {
		field := func(name string) string { return fmt.Sprintf("Static[%d].%s", i, name) }
		c.Static[i].complete(f, field)
		if j, taken := names[c.Static[i].Name]; taken && c.Static[i].Name != "" {
			f.add(field("Name"), c.Static[i].Name, fmt.Sprintf("is the name of Static[%d] already", j))
		}
		names[c.Static[i].Name] = i
	}
	clear(names)
	for i := range c.Peerings {
		field := func(name string) string { return fmt.Sprintf("Peerings[%d].%s", i, name) }
		c.Peerings[i].complete(f, field)
		if j, taken := names[c.Peerings[i].Name]; taken && c.Peerings[i].Name != "" {
			f.add(field("Name"), c.Peerings[i].Name, fmt.Sprintf("is the name of Peerings[%d] already", j))
		}
		names[c.Peerings[i].Name] = i
	}
	seen := map[uint8]int{}
	for i, p := range c.Protocols {
		field := fmt.Sprintf("Protocols[%d]", i)
		switch {
		case hasPorts(p):
			f.add(field, p, "must be a protocol without ports: TCP, UDP, UDP-Lite and ICMP are always translated")
		case p == 33 || p == 51:
			f.add(field, p, "must be another one: checksums of DCCP and AH cover addresses, which a translator cannot keep right")
		}
		if j, known := seen[p]; known {
			f.add(field, p, fmt.Sprintf("is Protocols[%d] already", j))
		}
		seen[p] = i
	}
}

// newStatic turns a checked Static into numbers.
func newStatic(cfg Static, id uint32) *static {
	s := &static{
		cfg: cfg, id: id, external: mapping.Number4(cfg.External), internal: mapping.Number4(cfg.Internal),
		addresses: uint32(cfg.Addresses), whole: cfg.whole(), first: cfg.ExternalPort, firstInside: cfg.InternalPort,
		ports: uint32(cfg.Ports), identity: cfg.identity(),
	}
	if s.whole {
		s.ports = 65536
	}
	s.setServers(cfg.Servers)
	for _, r := range cfg.Remotes {
		addr, mask := masked(r)
		s.remotes = append(s.remotes, [2]uint32{addr, mask})
	}
	if len(cfg.Sources) > 0 {
		s.sources = newOwner(sourceRealm{realm: uint16(cfg.Realm)}, cfg.Sources, portblock.RangeOf(1024, 65535))
	}
	return s
}

func (s *static) setServers(servers []Server) {
	s.servers = nil
	for _, v := range servers {
		at, _ := mapping.EndpointOf(v.Internal)
		s.servers = append(s.servers, server{at, float64(v.Weight)})
	}
}

func newOwner(realm sourceRealm, ranges []alloc.Range, ports portblock.Range) *sourceOwner {
	o := &sourceOwner{realm: realm, ports: ports, ids: portblock.RangeOf(0, 65535)}
	for _, r := range ranges {
		o.declared = append(o.declared, [2]uint64{uint64(mapping.Number4(r.First())), uint64(mapping.Number4(r.Last()))})
	}
	return o
}

// checkStatics tells where static mappings and peerings meet each other, or what the pools give out by formula.
func (e *Engine) checkStatics(statics []*static, peerings []*peering, field func(s *static) string) error {
	var f faults
	told := map[[2]uint32]bool{}
	overlap := func(side, rest string) func(a, b *static) {
		return func(a, b *static) {
			if b.id < a.id {
				a, b = b, a
			}
			if !told[[2]uint32{a.id, b.id}] {
				told[[2]uint32{a.id, b.id}] = true
				f.add(field(b)+"."+side, b.describe(side), fmt.Sprintf("overlaps %q, which has %s: %s", a.cfg.Name, a.describe(side), rest))
			}
		}
	}
	external := indexStatics(statics, false, overlap("External", "give each external endpoint once"))
	indexStatics(statics, true, overlap("Internal", "make one of them InboundOnly, so that it is clear by which the host's own sessions leave"))
	for _, s := range statics {
		if why := e.formulaHolds(s); why != "" {
			f.add(field(s)+".External", s.describe("External"), why)
		}
	}
	for _, p := range peerings {
		if !p.to.External {
			continue
		}
		var spans [][2]uint64
		if p.sources != nil {
			spans = p.sources.declared
		}
		if p.asPrefix {
			spans = [][2]uint64{{uint64(p.sourceAs), uint64(p.sourceAs | ^p.sourceMask)}}
		}
		for _, r := range spans {
			for _, o := range *e.external.spans.Load() {
				if r[0] <= uint64(o.last) && uint64(o.first) <= r[1] {
					f.add(fmt.Sprintf("Peering %q", p.cfg.Name), mapping.Addr4(max(uint32(r[0]), o.first)), "its source addresses must lie beside the pools: one port space has one allocator")
				}
			}
			for _, o := range external {
				if r[0] <= o.last && o.first <= r[1] {
					f.add(fmt.Sprintf("Peering %q", p.cfg.Name), mapping.Addr4(uint32(max(r[0], o.first))), "its source addresses must not be those of a static mapping")
				}
			}
		}
	}
	return errors.Join(f...)
}

// describe returns one side of a mapping for a report.
func (s *static) describe(side string) string {
	addr, port := s.cfg.External, s.cfg.ExternalPort
	if side == "Internal" {
		addr, port = s.cfg.Internal, s.cfg.InternalPort
	}
	text := addr.String()
	if s.cfg.Addresses > 1 {
		text = fmt.Sprintf("%s and %d more", text, s.cfg.Addresses-1)
	}
	if !s.whole {
		text = fmt.Sprintf("%s ports %v", text, portblock.RangeOf(port, port+uint16(s.ports-1)))
	}
	if s.cfg.Protocol != 0 {
		text = fmt.Sprintf("%s of protocol %d", text, s.cfg.Protocol)
	}
	return text
}

// formulaHolds says why an external endpoint cannot be static, as a deterministic map gives it to a subscriber for good; empty if
// none does.
func (e *Engine) formulaHolds(s *static) string {
	for i := range s.addresses {
		pool, _, ok := e.external.find(s.external + i)
		if !ok {
			continue
		}
		m := e.pools[pool].formula.Load()
		if m == nil {
			continue
		}
		if s.whole || uint64(s.addresses)*uint64(s.ports) > 1<<20 { // more than is worth a look at each port
			return fmt.Sprintf("lies in pool %q, whose ports are its map's: exclude the addresses from the map, or name ports that it leaves out", e.pools[pool].cfg.Name)
		}
		for port := uint32(s.first); port < uint32(s.first)+s.ports; port++ {
			if owner, err := m.Reverse(mapping.Addr4(s.external+i), uint16(port)); err == nil {
				return fmt.Sprintf("port %d is %v's by the map of pool %q: choose ports that the map leaves out, or exclude the address from it",
					port, owner, e.pools[pool].cfg.Name)
			}
		}
	}
	return ""
}
