package natcore

import (
	"cmp"
	"slices"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// static is a Static as numbers. What changes of it is guarded by statics.mu.
type static struct {
	cfg                Static
	id                 uint32
	external, internal uint32
	addresses          uint32
	whole              bool
	first, firstInside uint16
	ports              uint32
	identity           bool
	servers            []server
	remotes            [][2]uint32 // address, mask
	sources            *sourceOwner
	sessions           int // begun by remote ends
}

// server is a Server as numbers.
type server struct {
	at     mapping.Endpoint
	weight float64
}

// The port lists of an address: one for each space of a table, UDP-Lite among them, and one for protocols without ports, whose
// numbers stand there for ports.
const otherProtocols = len(protocols)

// portRun is a run of ports of one list that leads to a static mapping.
type portRun struct {
	first, last uint16
	static      *static
}

// addressRun is a run of addresses (behind their realm) with the same static mappings.
type addressRun struct {
	first, last uint64
	lists       [otherProtocols + 1][]portRun
}

// staticIndex is what packets look at without a lock. It is immutable; a change makes another one.
type staticIndex struct {
	statics   []*static
	byName    map[string]*static
	owners    map[uint32]*static // by id
	peerings  map[uint16][]*peering
	peerID    map[uint32]*peering
	external  []addressRun // by external address
	internal  []addressRun // by realm and internal address, of mappings that serve both ways
	hosts     [][2]uint64  // realms and addresses that static sessions may come from, merged
	receivers [maxRealms / 64]uint64
	sources   [][2]uint64 // addresses that peerings take towards the external realm, merged
	guests    map[uint16][][2]uint64
	protocols [4]uint64 // chosen ones without ports
}

const maxRealms = 1 << 16

// place is an address behind its realm.
func placeOf(realm uint16, addr uint32) uint64 { return uint64(realm)<<32 | uint64(addr) }

// runs returns the ports of the mapping in a list, on one side: the external one, or the internal one.
func (s *static) runs(list int, inside bool) (portRun, bool) {
	first, n := s.first, s.ports
	if inside {
		first = s.firstInside
	}
	run := portRun{first, first + uint16(n-1), s}
	switch p := s.cfg.Protocol; {
	case list == otherProtocols && s.whole && p == 0:
		return portRun{0, 255, s}, true
	case list == otherProtocols:
		return portRun{uint16(p), uint16(p), s}, s.whole && !hasPorts(p)
	case p == 0:
		return run, s.whole || list != int(portblock.ICMP)
	default:
		return run, protocols[list] == p
	}
}

func hasPorts(protocol uint8) bool { return slices.Contains(protocols[:], protocol) }

// indexStatics returns the runs of addresses of one side, and calls overlap for each pair of mappings that claim
// the same endpoint.
func indexStatics(statics []*static, inside bool, overlap func(a, b *static)) []addressRun {
	var of []*static
	var spans [][2]uint64
	for _, s := range statics {
		first := uint64(s.external)
		if inside {
			if s.cfg.InboundOnly {
				continue
			}
			first = placeOf(uint16(s.cfg.Realm), s.internal)
		}
		of, spans = append(of, s), append(spans, [2]uint64{first, first + uint64(s.addresses) - 1})
	}
	var runs []addressRun
	for _, r := range decompose(spans) {
		run := addressRun{first: r.first, last: r.last}
		for list := range run.lists {
			for _, o := range r.owners {
				if ports, ok := of[o].runs(list, inside); ok {
					run.lists[list] = append(run.lists[list], ports)
				}
			}
			l := run.lists[list]
			slices.SortFunc(l, func(a, b portRun) int { return cmp.Compare(a.first, b.first) })
			furthest := 0 // of those before, the one that reaches furthest
			for i := 1; i < len(l); i++ {
				if l[i].first <= l[furthest].last {
					overlap(l[furthest].static, l[i].static)
				}
				if l[i].last > l[furthest].last {
					furthest = i
				}
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// findStatic returns the mapping of an endpoint, or nil, and whether the address has any.
func findStatic(runs []addressRun, addr uint64, list int, port uint16) (s *static, known bool) {
	i, _ := slices.BinarySearchFunc(runs, addr, func(r addressRun, a uint64) int { return cmp.Compare(r.last, a) })
	if i == len(runs) || runs[i].first > addr {
		return nil, false
	}
	l := runs[i].lists[list]
	j, _ := slices.BinarySearchFunc(l, port, func(r portRun, p uint16) int { return cmp.Compare(r.last, p) })
	if j == len(l) || l[j].first > port {
		return nil, true
	}
	return l[j].static, true
}

// merge sorts runs of numbers and joins those that overlap or touch.
func merge(runs [][2]uint64) [][2]uint64 {
	slices.SortFunc(runs, func(a, b [2]uint64) int { return cmp.Compare(a[0], b[0]) })
	var out [][2]uint64
	for _, r := range runs {
		if n := len(out); n > 0 && r[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], r[1])
			continue
		}
		out = append(out, r)
	}
	return out
}

// within reports whether a number lies in one of some merged runs.
func within(runs [][2]uint64, v uint64) bool {
	i, _ := slices.BinarySearchFunc(runs, v, func(r [2]uint64, v uint64) int { return cmp.Compare(r[1], v) })
	return i < len(runs) && runs[i][0] <= v
}

// newIndex makes the index. lingering are servers that are in no set any more and may have live sessions. It
// returns nil where there is nothing to look for.
func newIndex(statics []*static, peerings []*peering, chosen []uint8, lingering [][2]uint64) *staticIndex {
	if len(statics)+len(peerings)+len(chosen)+len(lingering) == 0 {
		return nil
	}
	x := &staticIndex{
		statics: statics, byName: map[string]*static{}, owners: map[uint32]*static{},
		peerings: map[uint16][]*peering{}, peerID: map[uint32]*peering{}, guests: map[uint16][][2]uint64{},
	}
	none := func(*static, *static) {}
	x.external, x.internal = indexStatics(statics, false, none), indexStatics(statics, true, none)
	x.hosts = slices.Clone(lingering)
	var owners []*sourceOwner
	for _, s := range statics {
		x.byName[s.cfg.Name], x.owners[s.id] = s, s
		realm := uint16(s.cfg.Realm)
		if len(s.servers) == 0 {
			first := placeOf(realm, s.internal)
			x.hosts = append(x.hosts, [2]uint64{first, first + uint64(s.addresses) - 1})
		}
		for _, v := range s.servers {
			x.hosts = append(x.hosts, [2]uint64{placeOf(realm, v.at.Addr), placeOf(realm, v.at.Addr)})
		}
		if s.sources != nil {
			owners = append(owners, s.sources)
		}
	}
	x.hosts = merge(x.hosts)
	for _, p := range peerings {
		x.peerings[p.from.Realm] = append(x.peerings[p.from.Realm], p)
		x.peerID[p.id] = p
		if p.cfg.To != ExternalRealm {
			x.receivers[p.cfg.To/64] |= 1 << (p.cfg.To % 64)
		} else if p.asPrefix {
			x.sources = append(x.sources, [2]uint64{uint64(p.sourceAs), uint64(p.sourceAs | ^p.sourceMask)})
		}
		if p.sources != nil {
			owners = append(owners, p.sources)
		}
	}
	for _, l := range x.peerings {
		sortPeerings(l)
	}
	x.arrangeSources(owners)
	x.sources = merge(x.sources)
	for _, p := range chosen {
		x.protocols[p/64] |= 1 << (p % 64)
	}
	return x
}

// arrangeSources gives each owner of source addresses its order of them. Owners are copied first, as packets read
// the old index meanwhile.
func (x *staticIndex) arrangeSources(owners []*sourceOwner) {
	byRealm := map[sourceRealm][]*sourceOwner{}
	for _, o := range owners {
		byRealm[o.realm] = append(byRealm[o.realm], o)
	}
	for realm, list := range byRealm {
		var runs [][2]uint64
		var of []int
		for i, o := range list {
			for _, s := range o.declared {
				runs, of = append(runs, s), append(of, i)
			}
		}
		if realm.external {
			x.sources = append(x.sources, runs...)
		} else {
			x.guests[realm.realm] = merge(slices.Clone(runs))
		}
		arrange(list, runs, of)
	}
}

// owns reports whether an address is external by a static mapping or a peering.
func (x *staticIndex) owns(addr uint32) bool {
	_, known := findStatic(x.external, uint64(addr), 0, 0)
	return known || within(x.sources, uint64(addr))
}

// own reports whether an address is one that the engine translates to.
func (c *call) own(addr uint32) bool {
	if c.plainOwn {
		return addr-c.ownFirst <= c.ownRest
	}
	return c.e.external.has(addr) || c.static != nil && c.static.owns(addr)
}
