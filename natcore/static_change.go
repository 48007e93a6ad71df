package natcore

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// beginStatics checks and sets up what the configuration holds, before there are sessions.
func (e *Engine) beginStatics(cfg *Config) error {
	st := &e.statics
	st.owners, st.peers = map[uint32]*static{}, map[uint32]*peering{}
	var f faults
	cfg.completeStatics(&f)
	if len(f) > 0 || e.external == nil {
		return errors.Join(f...) // what meets what is found where each is right in itself
	}
	var all []*static
	for _, s := range cfg.Static {
		st.lastID++
		all = append(all, newStatic(s, st.lastID))
	}
	places := map[*static]int{}
	for i, s := range all {
		places[s] = i
	}
	var peerings []*peering
	for _, p := range cfg.Peerings {
		st.lastID++
		n := newPeering(p, st.lastID)
		if len(p.Sources) > 0 {
			n.sources = newOwner(sourceRealm{n.to.Realm, n.to.External}, p.Sources, p.SourcePorts)
		}
		peerings = append(peerings, n)
	}
	if err := e.checkStatics(all, peerings, func(s *static) string { return fmt.Sprintf("Static[%d]", places[s]) }); err != nil {
		return err
	}
	for _, s := range all {
		st.owners[s.id] = s
	}
	for _, p := range peerings {
		st.peers[p.id] = p
	}
	x := newIndex(all, peerings, cfg.Protocols, nil)
	st.reserved.Store(x)
	st.index.Store(x)
	return nil
}

// cloneStatics makes a copied configuration one of its own.
func (c *Config) cloneStatics() {
	c.Static, c.Peerings, c.Protocols = slices.Clone(c.Static), slices.Clone(c.Peerings), slices.Clone(c.Protocols)
	for i := range c.Static {
		s := &c.Static[i]
		s.Servers, s.Remotes, s.Sources = slices.Clone(s.Servers), slices.Clone(s.Remotes), slices.Clone(s.Sources)
	}
	for i := range c.Peerings {
		c.Peerings[i].Sources = slices.Clone(c.Peerings[i].Sources)
	}
}

// initStatics sets up the sessions. Its secrets are drawn last, so that what is static changes nothing for the rest.
func (e *Engine) initStatics(secrets *rand.ChaCha8, now time.Time) {
	var seed [32]byte
	_, _ = secrets.Read(seed[:]) // never fails
	idle, _ := e.cfg.Timeouts.table(e.cfg.RefreshInbound)
	e.statics.init(&e.cfg, seed, [2]uint64{secrets.Uint64(), secrets.Uint64()}, idle, now)
}

// expireStatics ends sessions that are over, in a bounded step, and reports whether it came to the last one.
func (e *Engine) expireStatics(now time.Time) (round bool) {
	if round = e.statics.expire(now, sweepStep); round {
		e.finishPortless(now)
	}
	return round
}

// AddStatic adds static mappings while packets flow: all of them, or none. The error tells all faults at once, as that
// of New, or is a *ConflictError.
func (e *Engine) AddStatic(add []Static, how OnConflict, now time.Time) error {
	st := &e.statics
	st.change.Lock()
	defer st.change.Unlock()
	now = e.advance(now)
	var f faults
	if how > RetireConflicts {
		f.add("how", how, "must be RefuseConflicts or RetireConflicts")
	}
	statics := st.list()
	names := map[string]bool{}
	for _, s := range statics {
		names[s.cfg.Name] = true
	}
	var fresh []*static
	places := map[*static]int{}
	for i, s := range add {
		s.Servers, s.Remotes, s.Sources = slices.Clone(s.Servers), slices.Clone(s.Remotes), slices.Clone(s.Sources)
		field := func(name string) string { return fmt.Sprintf("Static[%d].%s", i, name) }
		s.complete(&f, field)
		if names[s.Name] && s.Name != "" {
			f.add(field("Name"), s.Name, "is the name of another static mapping already")
		}
		names[s.Name] = true
		n := newStatic(s, st.lastID+uint32(i)+1)
		fresh, places[n] = append(fresh, n), i
	}
	if err := errors.Join(f...); err != nil {
		return err
	}
	all := append(slices.Clone(statics), fresh...)
	field := func(s *static) string {
		if i, ok := places[s]; ok {
			return fmt.Sprintf("Static[%d]", i)
		}
		return fmt.Sprintf("Static %q", s.cfg.Name)
	}
	if err := e.checkStatics(all, st.peerings(), field); err != nil {
		return err
	}
	st.lastID += uint32(len(add))
	next := st.rebuild(e, all)
	old := st.reserved.Swap(next)
	conflicts := e.reserve(fresh, now)
	if how == RefuseConflicts && len(conflicts) > 0 {
		st.reserved.Store(old)
		e.reserve(fresh, now)
		st.rebuild(e, statics) // the order of shared source addresses is as it was
		return &ConflictError{conflicts}
	}
	if how == RetireConflicts {
		e.retire(next, fresh, true)
	}
	st.mu.Lock()
	for _, s := range fresh {
		st.owners[s.id] = s
	}
	st.mu.Unlock()
	st.index.Store(next)
	return nil
}

// RemoveStatic removes a static mapping and ends its sessions. Its external ports are the pool's again at once. It reports whether there
// was one of that name.
func (e *Engine) RemoveStatic(name string, now time.Time) bool {
	st := &e.statics
	st.change.Lock()
	defer st.change.Unlock()
	now = e.advance(now)
	statics := st.list()
	i := slices.IndexFunc(statics, func(s *static) bool { return s.cfg.Name == name })
	if i < 0 {
		return false
	}
	gone := statics[i]
	next := st.rebuild(e, slices.Delete(slices.Clone(statics), i, i+1))
	st.index.Store(next)
	st.mu.Lock()
	st.end(func(w *mapping.Flow) bool { return w.Owner == gone.id }, now)
	delete(st.owners, gone.id) // a packet that still has the old index opens nothing any more
	st.mu.Unlock()
	st.reserved.Store(next)
	e.reserve([]*static{gone}, now)
	return true
}

// SetServers replaces the servers of a static mapping that has some. Sessions of servers that are no longer among them go on; new
// ones go to those that are. The error is that of New, or says that there is no such mapping.
func (e *Engine) SetServers(name string, servers []Server, now time.Time) error {
	st := &e.statics
	st.change.Lock()
	defer st.change.Unlock()
	e.advance(now)
	statics := slices.Clone(st.list())
	i := slices.IndexFunc(statics, func(s *static) bool { return s.cfg.Name == name })
	if i < 0 || len(statics[i].servers) == 0 {
		return &FieldError{"name", name, "must be that of a static mapping with Servers"}
	}
	cfg := statics[i].cfg
	cfg.Servers = slices.Clone(servers)
	var f faults
	if len(servers) == 0 {
		f.add("Servers", "empty", "must hold at least one server: RemoveStatic removes the mapping")
	}
	cfg.complete(&f, func(name string) string { return name })
	if err := errors.Join(f...); err != nil {
		return err
	}
	st.mu.Lock()
	changed := *statics[i]
	changed.cfg = cfg
	changed.setServers(cfg.Servers)
	st.owners[changed.id] = &changed
	st.mu.Unlock()
	statics[i] = &changed
	next := st.rebuild(e, statics)
	st.reserved.Store(next)
	st.index.Store(next)
	return nil
}

// list returns the static mappings. The caller holds change.
func (st *statics) list() []*static {
	if x := st.index.Load(); x != nil {
		return x.statics
	}
	return nil
}

// peerings returns all peerings. The caller holds change.
func (st *statics) peerings() []*peering {
	st.mu.Lock()
	defer st.mu.Unlock()
	var all []*peering
	for _, p := range st.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *peering) int { return cmp.Compare(a.id, b.id) })
	return all
}

// rebuild makes the index of some static mappings, with the internal hosts of all live sessions. The caller holds change.
func (st *statics) rebuild(e *Engine, all []*static) *staticIndex {
	peerings := st.peerings()
	st.mu.Lock()
	defer st.mu.Unlock()
	var hosts [][2]uint64
	for part := 0; part >= 0; {
		st.scratch, part = st.flows.Append(st.scratch[:0], part)
		for i := range st.scratch {
			if w := &st.scratch[i]; st.owners[w.Owner] != nil && !w.Out.External {
				at := placeOf(w.Out.Realm, w.Out.Dst)
				hosts = append(hosts, [2]uint64{at, at})
			}
		}
	}
	return newIndex(all, peerings, e.cfg.Protocols, merge(hosts))
}

// end ends all sessions that match. The caller holds mu.
func (st *statics) end(match func(*mapping.Flow) bool, now time.Time) {
	st.advance(now)
	var gone []mapping.Header
	for part := 0; part >= 0; {
		st.scratch, part = st.flows.Append(st.scratch[:0], part)
		for i := range st.scratch {
			if match(&st.scratch[i]) {
				gone = append(gone, st.scratch[i].In)
			}
		}
	}
	for _, in := range gone {
		if w, ok := st.flows.Close(in); ok {
			st.ended(&w)
		}
	}
}

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
			for _, l := range live {
				for space, protocol := range protocols {
					if mapping.PortsOf(portblock.Space(space)) != l.Space || !s.claims(l.Space, l.Port.Number) {
						continue
					}
					internal, realm, ok := shard.table.Holder(sub.placeOf(p.layout, l.Port.Number), portblock.Space(space))
					if ok {
						held := mapping.Endpoint{Addr: external, Port: l.Port.Number}
						conflicts = append(conflicts, Conflict{s.cfg.Name, Realm(realm), protocol, internal.AddrPort(), held.AddrPort()})
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
