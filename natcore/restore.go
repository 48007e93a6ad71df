package natcore

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/portblock"
)

// Restore returns an engine that goes on where the one of the snapshot was: no session, mapping, block or rest is lost, and nobody
// notices but by what AppendSnapshot leaves out. The time that has passed meanwhile counts. The configuration is that of the
// saved engine (Engine.Config) in all that Reconfigure cannot change, and in its pools' addresses; other limits, rules, timeouts and quotas hold at once.
// HoldAfterRestart does not count.
//
// Each block that is held is recorded again, by a logging.BlockInterim with ReasonRestart, so that records which begin with this
// start can be read alone; a log that refuses these is counted and stops nothing. Sessions of static mappings and peerings go on where the configuration has one of the
// same name that would make them as they are (Engine.Config leaves out what AddStatic has added: Engine.Statics has all). Those of protocols
// without ports go on where Config.Protocols has the protocol. The others have ended, with their records. Snapshots of version 1 have none of these.
//
// The error joins *FieldErrors, as that of New, or is a *SnapshotError.
func Restore(cfg Config, snapshot []byte, now time.Time) (*Engine, error) {
	cfg.HoldAfterRestart = 0
	e, err := build(cfg, now)
	if err != nil {
		return nil, err
	}
	r := &reader{e: e, b: snapshot, mapped: map[*subscriber]int{}}
	if r.open(); r.err == nil {
		r.engine()
	}
	if r.err != nil {
		return nil, r.err
	}
	e.reserveRestored(e.advance(now))
	if err := e.recordEpochs(now); err != nil {
		return nil, err
	}
	if err := e.traceStatics(e.statics.list(), logging.ReasonRestart, e.advance(now)); err != nil {
		return nil, err
	}
	e.recordRestart(e.advance(now))
	e.recordDropped(r.dropped)
	return e, nil
}

// engine reads all but the header.
func (r *reader) engine() {
	e := r.e
	if print := r.bytes(8); r.err == nil && !bytes.Equal(print, e.cfg.print()) {
		r.other("Seed must be that of the saved engine")
	}
	if n := r.u(maxShards); r.err == nil && int(n) != len(e.shards) {
		r.other("Shards must be %d", n)
	}
	clock := r.i()
	if r.err == nil && (clock < math.MinInt64/1_000_000 || clock > math.MaxInt64/1_000_000) {
		r.bad("its clock is out of range")
	}
	e.clock.Store(clock)
	if n := r.u(maxPools); r.err == nil && int(n) != len(e.all()) {
		r.other("Pools must be those of the saved engine: it had %d", n)
	}
	for i, p := range e.all() {
		if r.err == nil {
			r.pool(p, i)
		}
	}
	if r.err != nil {
		return
	}
	external, err := externalsOf(e.all())
	if err != nil {
		r.fail(ErrSnapshot, err, "addresses of pools overlap")
		return
	}
	e.external.spans.Store(external)
	for range r.count(3) {
		realm, opening, mapping := uint16(r.u(most16)), r.i(), r.i()
		if a := e.quotas.Load().realms[realm]; a != nil {
			a.opening.Store(opening)
			a.mapping.Store(mapping)
		}
	}
	for _, s := range e.shards {
		if r.err == nil {
			r.shard(s)
		}
	}
	r.portless()
	r.identifications(e.began.UnixMilli() - clock)
	if r.version >= 2 {
		r.statics(time.UnixMilli(clock))
	}
	if r.err == nil && r.at != len(r.b) {
		r.bad("bytes are left over")
	}
	for _, p := range e.all() {
		if err := p.checkCounts(e.time()); r.err == nil && err != nil {
			r.fail(ErrSnapshot, err, "a block has no owner")
		}
	}
}

// pool reads a pool and its addresses.
func (r *reader) pool(p *pool, i int) {
	for f, want := range p.identity() {
		got := string(r.bytes(r.count(1)))
		if r.err == nil && got != want {
			r.other("Pools[%d].%s must be %q, that of the saved engine", i, []string{"Name", "ID", "Mapping", "Select", "Remotes", "Map"}[f], got)
			return
		}
	}
	p.now, p.holds = r.time(), r.time()
	p.high = r.u(1) == 1
	part := r.part()
	if r.err != nil {
		return
	}
	a, n, err := alloc.Restore(part, r.secret())
	if err != nil || n != len(part) {
		r.fail(ErrSnapshot, err, "pool %q", p.cfg.Name)
		return
	}
	if !slices.Equal(members(a), members(p.alloc)) {
		r.other("Pools[%d].Addresses must be those of the saved engine: restore with its configuration, then reconfigure", i)
		return
	}
	if a.Positions() > 16*p.alloc.Positions()+1<<16 {
		r.bad("pool %q has more withdrawn addresses than are plausible", p.cfg.Name)
		return
	}
	p.alloc = a
	if p.selection, err = newSelection(&p.cfg, a, ""); err != nil {
		r.fail(ErrSnapshot, err, "pool %q", p.cfg.Name)
		return
	}
	if !p.bearable(a.Positions()) {
		r.bad("pool %q has more blocks than are plausible", p.cfg.Name)
		return
	}
	p.room()
	places := p.places()
	for range r.count(5) {
		part := r.part()
		if p.layout == nil {
			r.bad("pool %q has blocks", p.cfg.Name)
		}
		if r.err != nil {
			return
		}
		x, n, err := p.layout.RestoreAddress(part)
		switch {
		case errors.Is(err, portblock.ErrSnapshotLayout):
			r.fail(ErrSnapshotConfig, err, "Pools[%d].Blocks must be those of the saved engine, and Seed", i)
			return
		case err != nil || n != len(part) || uint64(x.Index()) >= places || p.addresses[x.Index()] != nil:
			r.fail(ErrSnapshot, err, "an address of pool %q", p.cfg.Name)
			return
		}
		p.adopt(x)
	}
	slices.SortStableFunc(p.cooling, func(a, b cooling) int { return a.free.Compare(b.free) })
}

// adopt enters a restored address.
func (p *pool) adopt(a *portblock.Address) {
	if set := p.reservedAt(a.Index() / uint32(p.selection.classes())); set != nil {
		_, _ = a.SetReserved(set, nil, p.now) // of this layout: cannot fail
	}
	p.addresses[a.Index()] = a
	for b := range a.Blocks(p.now) {
		if b.State == portblock.Cooling {
			n := p.unitsOf(b.Block)
			p.resting += n
			p.cooling = append(p.cooling, cooling{a.Index(), int32(n), b.Until})
		}
	}
}

// recordRestart records again what is held, and ends what does not go on.
func (e *Engine) recordRestart(now time.Time) {
	e.finishPortless(now)
	for _, s := range e.shards {
		for sub := range s.list.all() {
			p := e.pools[sub.key.pool]
			for b := range sub.holding.All(s.now) {
				since, at := p.times(b.Block, now)
				r := e.record(logging.BlockInterim, sub.key, sub.external, b.Block, sub.holding.Blocks(), at)
				r.Reason, r.Allocated = logging.ReasonRestart, logging.MillisOf(since)
				if e.cfg.Log.Append(&r) != nil {
					s.counts.recordsRefused++
				}
			}
		}
	}
}
