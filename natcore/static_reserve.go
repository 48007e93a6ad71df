package natcore

import (
	"cmp"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// runOf returns the run of an external address in the index that pools look at, or nil.
func (st *statics) runOf(addr uint32) *addressRun {
	x := st.reserved.Load()
	if x == nil {
		return nil
	}
	i, _ := slices.BinarySearchFunc(x.external, uint64(addr), func(r addressRun, a uint64) int { return cmp.Compare(r.last, a) })
	if i == len(x.external) || x.external[i].first > uint64(addr) {
		return nil
	}
	return &x.external[i]
}

// reservations are the ports of a run of addresses that are static; nil stands for addresses that have none.
func (r *addressRun) reservations() (all []portblock.Reservation) {
	if r == nil {
		return nil
	}
	for space := range protocols {
		for _, p := range r.lists[space] {
			all = append(all, portblock.Reservation{Ports: portblock.RangeOf(p.first, p.last), Spaces: mapping.PortsOf(portblock.Space(space)).Set()})
		}
	}
	return all
}

// reservedAt returns the reserved ports of an address of the pool, or nil where they are the layout's own. The caller holds the lock.
func (p *pool) reservedAt(position uint32) *portblock.Reserved {
	if p.statics == nil || p.layout == nil {
		return nil
	}
	run := p.statics.runOf(mapping.Number4(p.alloc.Address(position)))
	if run == nil && !p.reserves {
		return nil
	}
	if p.latest.set == nil || p.latest.run != run {
		set, err := p.layout.NewReserved(append(slices.Clone(p.cfg.Blocks.Reserved), run.reservations()...))
		if err != nil {
			return nil // not reached: the ranges are valid
		}
		p.latest.run, p.latest.set = run, set // the addresses of a run follow each other and have one set
	}
	return p.latest.set
}

// reserve makes the pools keep the external ports of some static mappings from subscribers, or give them back, as
// the index says that pools look at, and returns the dynamic mappings that hold such ports.
func (e *Engine) reserve(of []*static, now time.Time) []Conflict {
	var conflicts []Conflict
	for _, s := range of {
		for i := range s.addresses {
			number, position, ok := e.external.find(s.external + i)
			if !ok || e.pools[number].layout == nil {
				continue
			}
			p := e.pools[number]
			p.mu.Lock()
			r := p.reservedAt(position)
			used := false
			for class := range p.selection.classes() {
				if a := p.addresses[p.place(position, uint16(class))]; a != nil {
					used = true
					_, _ = a.SetReserved(r, nil, now) // of this layout: cannot fail
				}
			}
			p.alloc.SetRoom(position, true) // found out again when a block is asked for
			p.mu.Unlock()
			if used {
				conflicts = e.tellHoldings(s, p, position, r, conflicts)
			}
		}
	}
	return conflicts
}

// tellHoldings tells all who hold blocks of an address what ports of it are reserved, and appends the mappings
// that hold ports of s.
func (e *Engine) tellHoldings(s *static, p *pool, position uint32, r *portblock.Reserved, conflicts []Conflict) []Conflict {
	external := mapping.Number4(p.external(position))
	var live []portblock.PortConflict
	for _, shard := range e.shards {
		shard.grants.Lock() // a block that is under way has arrived before, or knows what is reserved
		shard.mu.Lock()
		for sub := range shard.list.all() {
			if sub.external != external || sub.key.pool != p.cfg.Blocks.Pool || sub.holding.Blocks() == 0 {
				continue
			}
			live, _ = sub.holding.SetReserved(p.place(position, sub.key.class), r, live[:0], shard.now)
			sub.roomier()
			for _, l := range live {
				for space, protocol := range protocols {
					if mapping.PortsOf(portblock.Space(space)) != l.Space || !s.claims(l.Space, l.Port.Number) {
						continue
					}
					held := mapping.Endpoint{Addr: external, Port: l.Port.Number}
					for _, m := range shard.table.MappingsAt(portblock.Space(space), held, sub.key.class) {
						conflicts = append(conflicts, Conflict{s.cfg.Name, Realm(m.Realm), protocol, m.Internal.AddrPort(), held.AddrPort()})
					}
				}
			}
		}
		shard.mu.Unlock()
		shard.grants.Unlock()
	}
	return conflicts
}

// claims reports whether the mapping is of an external port, which UDP and UDP-Lite share.
func (s *static) claims(space portblock.Space, port uint16) bool {
	for list := range protocols {
		if run, ok := s.runs(list, false); ok && mapping.PortsOf(portblock.Space(list)) == space && run.first <= port && port <= run.last {
			return true
		}
	}
	return false
}

// reserveRestored keeps what a snapshot has brought off the static ports: the configuration may have more of them than that of the saved engine.
func (e *Engine) reserveRestored(now time.Time) {
	if x := e.statics.index.Load(); x != nil && len(x.statics) > 0 {
		e.reserve(x.statics, now)
		e.retire(x, x.statics, false)
	}
}

// retire ends the dynamic mappings, with their sessions, that hold external ports of some static mappings, and those whose internal
// endpoint has one of these, where that is asked for.
func (e *Engine) retire(x *staticIndex, of []*static, inside bool) {
	inWay := func(space portblock.Space, realm uint16, internal, external mapping.Endpoint) bool {
		for list := range protocols {
			if mapping.PortsOf(portblock.Space(list)) == mapping.PortsOf(space) {
				if s, _ := findStatic(x.external, uint64(external.Addr), list, external.Port); s != nil && slices.Contains(of, s) {
					return true
				}
			}
		}
		s, _ := findStatic(x.internal, placeOf(realm, internal.Addr), int(space), internal.Port)
		return inside && s != nil && slices.Contains(of, s)
	}
	for _, s := range e.shards {
		s.mu.Lock()
		var page []mapping.State
		var sessions []mapping.Session
		var held, mappings []mapping.Mapping
		for part := 0; part >= 0; {
			page, part = s.table.AppendSessions(page[:0], part)
			for i := range page {
				if st := &page[i]; inWay(st.Space, st.Realm, st.Internal, st.External) {
					sessions = append(sessions, st.Session)
				}
			}
		}
		for i := range sessions {
			w := &sessions[i]
			if old, ok := s.table.Close(w.Realm, w.Space, w.Internal, w.Remote, s.tick); ok {
				e.sessionEnded(s, &old)
			}
		}
		for part := 0; part >= 0; {
			held, part = s.table.AppendMappings(held[:0], part)
			for i := range held {
				if m := &held[i]; inWay(m.Space, m.Realm, m.Internal, m.External) {
					mappings = append(mappings, *m)
				}
			}
		}
		for _, m := range mappings {
			if old, ok := s.table.Unmap(m.Realm, m.Space, m.Internal, m.Scope); ok {
				e.mappingEnded(s, &old)
			}
		}
		s.mu.Unlock()
	}
}
