package natcore

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// MappingInfo tells one mapping.
type MappingInfo struct {
	Realm    Realm
	Pool     string
	Protocol uint8
	Internal netip.AddrPort
	External netip.AddrPort
	// Remote is what the mapping serves where it depends on the remote endpoint: a remote address, with its port or, for all of its ports
	// and for ICMP, port 0. It is not valid for an endpoint-independent mapping. With PoolConfig.Overload several mappings
	// that differ in it may have one External.
	Remote netip.AddrPort
	// Class is the class of remotes whose port space it is in, where the pool has several.
	Class uint16
	// Lifetime is what is left of an explicit mapping's lifetime (Engine.Map), and 0 of any other mapping.
	Lifetime time.Duration
}

// Mappings yields each mapping, in no order. No lock is held while the loop's body runs; a mapping that comes or goes meanwhile may be missed.
func (e *Engine) Mappings() iter.Seq[MappingInfo] {
	return e.mappings(func(*mapping.SavedMapping, mapping.Tick) bool { return true })
}

// ExplicitMappings yields the mappings whose explicit lifetime runs, as Mappings does.
func (e *Engine) ExplicitMappings() iter.Seq[MappingInfo] {
	return e.mappings(func(m *mapping.SavedMapping, now mapping.Tick) bool { return m.Explicit && int32(m.Until-now) > 0 })
}

func (e *Engine) mappings(wanted func(*mapping.SavedMapping, mapping.Tick) bool) iter.Seq[MappingInfo] {
	return func(yield func(MappingInfo) bool) {
		var page []mapping.SavedMapping
		var infos []MappingInfo
		for _, s := range e.shards {
			for part := 0; part >= 0; {
				s.mu.Lock()
				page, part = s.table.AppendSavedMappings(page[:0], part)
				infos = infos[:0]
				for i := range page {
					if wanted(&page[i], s.tick) {
						infos = append(infos, e.mappingInfo(s, &page[i]))
					}
				}
				s.mu.Unlock()
				for _, i := range infos {
					if !yield(i) {
						return
					}
				}
			}
		}
	}
}

// mappingInfo describes a mapping. The caller holds mu.
func (e *Engine) mappingInfo(s *shard, m *mapping.SavedMapping) MappingInfo {
	b, _ := s.table.Block(m.Block)
	i := MappingInfo{
		Realm: Realm(m.Realm), Protocol: protocols[m.Space], Internal: m.Internal.AddrPort(), External: m.External.AddrPort(), Class: b.Class,
	}
	if pool, _, ok := e.external.find(m.External.Addr); ok {
		i.Pool = e.pools[pool].cfg.Name
	}
	if m.Scope.On != mapping.OnNothing {
		i.Remote = m.Scope.Remote.AddrPort()
	}
	if m.Explicit {
		i.Lifetime = time.Duration(max(int32(m.Until-s.tick), 0)) * time.Millisecond
	}
	return i
}

// BlockInfo tells one block that is held.
type BlockInfo struct {
	Realm    Realm
	Pool     string
	Class    uint16
	Internal netip.Addr
	External netip.Addr
	// First and Last are its ports.
	First, Last uint16
	// Live ports are in use, Resting ones were returned and wait for their hold-down, Free ones can be taken; by space.
	Live, Resting, Free [portblock.NumSpaces]int
	// Retiring says that no new port is taken from it.
	Retiring bool
	// Since is when the subscriber got it, LastPacket about when a packet last used it.
	Since, LastPacket time.Time
}

// Blocks yields each block that a subscriber holds, the blocks of one subscriber after each other, in no order else. No lock is held
// while the loop's body runs; a block that comes or goes meanwhile may be missed.
func (e *Engine) Blocks() iter.Seq[BlockInfo] {
	return func(yield func(BlockInfo) bool) {
		var page []BlockInfo
		for _, s := range e.shards {
			for from := 0; from >= 0; {
				page, from = e.blockPage(s, page[:0], from)
				for _, i := range page {
					if !yield(i) {
						return
					}
				}
			}
		}
	}
}

func (e *Engine) blockPage(s *shard, page []BlockInfo, from int) ([]BlockInfo, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; from < int(s.list.next) && len(page) < pageSize; from++ {
		sub := s.list.find(uint32(from))
		if sub == nil || sub.holding.Blocks() == 0 {
			continue
		}
		s.touch(sub)
		p := e.pools[sub.key.pool]
		for b := range sub.holding.All(s.now) {
			set := p.layout.SetOf(b.Block)
			page = append(page, BlockInfo{
				Realm: Realm(sub.key.realm), Pool: p.cfg.Name, Class: sub.key.class,
				Internal: mapping.Addr4(sub.key.addr), External: mapping.Addr4(sub.external), First: set.First(), Last: set.Last(),
				Live: b.Live, Resting: b.Resting, Free: b.Free, Retiring: b.Retiring, Since: b.Added, LastPacket: b.LastPacket,
			})
		}
	}
	if from >= int(s.list.next) {
		from = -1
	}
	return page, from
}

// AddressInfo tells how one external address is filled.
type AddressInfo struct {
	Pool     string
	External netip.Addr
	// Class is the class of remotes whose port space this is, where the pool has several.
	Class uint16
	// Subscribers are paired with the address.
	Subscribers int
	// Drained says that it takes no new subscribers (Engine.Reconfigure), Full that it has no block or no share left for one.
	Drained, Full bool
	// Blocks by state, in units of the smaller size; zero for a pool without blocks.
	Blocks portblock.BlockCounts
}

// Addresses yields the external addresses of a pool that serve, or have served, a subscriber, in the order of their places. An
// unknown name yields nothing. No lock is held while the loop's body runs.
func (e *Engine) Addresses(pool string) iter.Seq[AddressInfo] {
	return func(yield func(AddressInfo) bool) {
		for _, p := range e.all() {
			if p.cfg.Name != pool {
				continue
			}
			for _, place := range p.used() {
				if i, ok := p.addressInfo(place, e.time()); ok && !yield(i) {
					return
				}
			}
		}
	}
}

// used returns the places of a pool that are or were in use, in order.
func (p *pool) used() []uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	places := slices.Sorted(maps.Keys(p.addresses))
	if p.layout == nil { // no blocks: who has leases is all that is known
		for l := range p.alloc.Leases() {
			places = append(places, l.Position())
		}
		slices.SortFunc(places, func(a, b uint32) int { return cmp.Compare(a, b) })
		places = slices.Compact(places)
	}
	return places
}

func (p *pool) addressInfo(place uint32, now time.Time) (AddressInfo, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	classes := uint32(p.selection.classes())
	info, ok := p.alloc.StateAt(place / classes)
	if !ok {
		return AddressInfo{}, false
	}
	i := AddressInfo{
		Pool: p.cfg.Name, External: info.Addr, Class: uint16(place % classes), Subscribers: int(info.Shares),
		Drained: info.Status&alloc.StatusDrained != 0, Full: info.Status&(alloc.StatusNoRoom|alloc.StatusFull) != 0,
	}
	if a := p.addresses[place]; a != nil {
		i.Blocks = a.Counts(now)
	}
	return i, true
}
