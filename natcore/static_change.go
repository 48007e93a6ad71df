package natcore

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
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
	e.statics.engine = e
	e.statics.init(&e.cfg, seed, [2]uint64{secrets.Uint64(), secrets.Uint64()}, now)
}

// expireStatics ends sessions that are over, in a bounded step, and reports whether it came to the last one.
func (e *Engine) expireStatics(now time.Time) (round bool) {
	if round = e.statics.expire(now, sweepStep); round {
		e.finishPortless(now)
		e.expireTraces(now)
		e.forgetUses(now)
		if e.cfg.Events.Sessions { // what has ended is noted in all shards
			for _, s := range e.shards {
				e.writeAll(s)
			}
		}
	}
	return round
}

// AddStatic adds static mappings while packets flow: all of them, or none. The error tells all faults at once, as that
// of New, is a *ConflictError, or says that the log refuses the records of the mappings (LogPolicy): they are written before anything takes effect.
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
	undo := func() {
		st.reserved.Store(old)
		e.reserve(fresh, now)
		st.rebuild(e, statics) // the order of shared source addresses is as it was
	}
	if how == RefuseConflicts && len(conflicts) > 0 {
		undo()
		return &ConflictError{conflicts}
	}
	if err := e.traceStatics(fresh, logging.ReasonAdmin, now); err != nil {
		undo()
		return err
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
	of := func(w *mapping.Flow) bool { return w.Owner == gone.id }
	st.mu.Lock()
	for part := 0; st.recorded && part >= 0; { // in steps, with time to write the records
		part = st.endPart(part, of, logging.ReasonAdmin, now)
		st.mu.Unlock()
		e.writeMany()
		st.mu.Lock()
	}
	st.end(of, logging.ReasonAdmin, now)
	delete(st.owners, gone.id) // a packet that still has the old index opens nothing any more
	st.mu.Unlock()
	e.writeMany()
	_ = e.endTraces(func(t *trace) bool { return t.static.id == gone.id }, logging.ReasonAdmin, now) // what is refused is offered again
	st.reserved.Store(next)
	e.reserve([]*static{gone}, now)
	return true
}

// SetServers replaces the servers of a static mapping that has some. Sessions of servers that are no longer among them go on; new
// ones go to those that are. The error is that of New, says that there is no such mapping, or that the log refuses the records
// of further servers. What is recorded of a server that is gone ends when Expire finds no session of it.
func (e *Engine) SetServers(name string, servers []Server, now time.Time) error {
	st := &e.statics
	st.change.Lock()
	defer st.change.Unlock()
	now = e.advance(now)
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
	traced := *statics[i]
	traced.cfg = cfg
	traced.setServers(cfg.Servers)
	if err := e.replaceTraces(&traced, now); err != nil {
		return err
	}
	st.mu.Lock()
	changed := *statics[i]
	changed.cfg, changed.servers = cfg, traced.servers
	st.owners[changed.id] = &changed
	st.mu.Unlock()
	statics[i] = &changed
	next := st.rebuild(e, statics)
	st.reserved.Store(next)
	st.index.Store(next)
	e.leaveTraces(&changed)
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
func (st *statics) end(match func(*mapping.Flow) bool, why logging.Reason, now time.Time) {
	for part := 0; part >= 0; {
		part = st.endPart(part, match, why, now)
	}
}

// endPart ends those of a part that match, and returns where the next call goes on, or -1 at the end. The caller holds mu.
func (st *statics) endPart(part int, match func(*mapping.Flow) bool, why logging.Reason, now time.Time) (next int) {
	st.advance(now)
	st.scratch, next = st.flows.Append(st.scratch[:0], part)
	for i := range st.scratch {
		if !match(&st.scratch[i]) {
			continue
		}
		if w, ok := st.flows.Close(st.scratch[i].In); ok {
			st.endedBy(&w, why)
		}
	}
	return next
}
