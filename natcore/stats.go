package natcore

import "time"

// Stats is a snapshot of the engine's counters and gauges.
type Stats struct {
	// Packets by direction and verdict.
	Packets [2][verdicts]uint64
	// Drops by reason.
	Drops [reasons]uint64
	// Sessions live now, and made since the start.
	Sessions, SessionsCreated uint64
	// Mappings live now, and made since the start.
	Mappings, MappingsCreated uint64
	// MappingsShared are those of MappingsCreated that share a port which was in use (PoolConfig.Overload).
	MappingsShared uint64
	// StaticSessions of Static, Peerings and Protocols live now, and made since the start.
	StaticSessions, StaticSessionsCreated uint64
	// Subscribers that hold a block now.
	Subscribers uint64
	// BlocksAllocated and BlocksReleased since the start.
	BlocksAllocated, BlocksReleased uint64
	// ReleasesPending are blocks and static mappings whose release record the log has not accepted yet.
	ReleasesPending uint64
	// RecordsRefused by the log, and RecordsLost under the policy CountLoss.
	RecordsRefused, RecordsLost uint64
	// EventsRecorded are events and sessions whose record the log has accepted, EventsSuppressed those of them that count
	// in another one's record (Events.Interval), EventsLost those for which there was no room.
	EventsRecorded, EventsSuppressed, EventsLost uint64
	// Datagrams is the number of fragmented datagrams followed now,
	// FragmentsHeld the fragments that wait for their first one, and
	// FragmentsLost those that waited in vain since the start.
	Datagrams, FragmentsHeld, FragmentsLost uint64
	// ErrorsBuilt are the ICMP errors that the engine has built since the start, ErrorsSuppressed those that the limits of Config.ICMP
	// forbade, and SYNsHeld the SYNs that wait now.
	ErrorsBuilt, ErrorsSuppressed, SYNsHeld uint64
	// Pools, in the order of the configuration.
	Pools []PoolStats
}

// PoolStats is the state of one pool.
type PoolStats struct {
	Name string
	// Addresses of the pool, those that serve a subscriber now, those that take a further one, and those
	// that are being withdrawn (Engine.Reconfigure).
	Addresses, AddressesInUse, AddressesOpen, AddressesDrained uint64
	// Blocks by state. Free counts the blocks of all addresses.
	BlocksFree, BlocksHeating, BlocksCooling uint64
	// Subscribers that are paired with an address of the pool.
	Subscribers uint64
	// Sessions and Mappings to addresses of the pool.
	Sessions, Mappings uint64
}

// Stats sums up all shards and pools. It takes each one's lock for a moment, so
// the sums of a busy engine are those of slightly different moments.
func (e *Engine) Stats() Stats {
	var t Stats
	for _, s := range e.shards {
		t.ReleasesPending += uint64(s.waiting.Load())
		s.mu.Lock()
		c := &s.counts
		for d := range c.packets {
			for v := range c.packets[d] {
				t.Packets[d][v] += c.packets[d][v]
			}
		}
		for r := range c.drops {
			t.Drops[r] += c.drops[r]
		}
		t.Sessions += uint64(s.table.Sessions())
		t.SessionsCreated += c.sessions
		t.Mappings += uint64(s.table.Mappings())
		t.MappingsCreated += c.mappings
		t.MappingsShared += c.shared
		t.Subscribers += uint64(s.list.len())
		t.BlocksAllocated += c.allocated
		t.BlocksReleased += c.released
		t.RecordsRefused += c.recordsRefused
		t.RecordsLost += c.recordsLost
		s.mu.Unlock()
	}
	t.EventsSuppressed = e.limiter.Suppressed()
	t.EventsRecorded = e.events.recorded.Load() - t.EventsSuppressed
	t.EventsLost = e.events.lost.Load()
	for _, s := range e.shards {
		s.notes.mu.Lock()
		t.EventsLost += s.notes.lost
		s.notes.mu.Unlock()
	}
	e.statics.mu.Lock()
	t.StaticSessions, t.StaticSessionsCreated = uint64(e.statics.flows.Len()), e.statics.made
	e.statics.mu.Unlock()
	tr := &e.statics.traces
	tr.mu.Lock()
	t.ReleasesPending += uint64(len(tr.ending))
	t.RecordsRefused, t.RecordsLost = t.RecordsRefused+tr.refused, t.RecordsLost+tr.lost
	tr.mu.Unlock()
	e.frags.mu.Lock()
	t.Datagrams = uint64(len(e.frags.byID))
	for _, d := range e.frags.byID {
		t.FragmentsHeld += uint64(len(d.waiting))
	}
	t.FragmentsLost = e.frags.dropped
	e.frags.mu.Unlock()
	e.outbox.mu.Lock()
	t.ErrorsBuilt, t.ErrorsSuppressed = e.outbox.built, e.outbox.suppressed
	t.SYNsHeld = uint64(len(e.outbox.syns.queue))
	e.outbox.mu.Unlock()
	now := time.UnixMilli(e.clock.Load())
	for i, p := range e.all() {
		st := p.stats(now)
		for _, s := range e.shards {
			s.mu.Lock()
			st.Sessions, st.Mappings = st.Sessions+uint64(s.uses[i].sessions), st.Mappings+uint64(s.uses[i].mappings)
			s.mu.Unlock()
		}
		t.Pools = append(t.Pools, st)
	}
	return t
}

func (p *pool) stats(now time.Time) PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.alloc.Counts()
	st := PoolStats{
		Name: p.cfg.Name, Addresses: c.Addresses, AddressesInUse: c.Addresses - c.Whole, Subscribers: c.Leases,
		AddressesOpen: c.Open, AddressesDrained: c.Drained,
	}
	if p.layout == nil {
		return st
	}
	st.BlocksFree = (c.Addresses*uint64(p.selection.classes()) - uint64(len(p.addresses))) * uint64(p.fresh)
	for _, a := range p.addresses {
		b := a.Counts(now)
		st.BlocksFree += uint64(b.Free)
		st.BlocksHeating += uint64(b.Heating)
		st.BlocksCooling += uint64(b.Cooling)
	}
	return st
}
