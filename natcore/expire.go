package natcore

import (
	"errors"
	"sync"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// sweep is where Expire is on its way round the shards.
type sweep struct {
	mu     sync.Mutex
	shard  int
	tabled bool // the shard's table is done, its subscribers are next
}

// sweepStep bounds what Expire does under one hold of a shard's lock.
const sweepStep = 1024

// Expire ends sessions whose idle time is over, and releases blocks that are
// idle. It looks at about budget table slots and subscribers, and reports
// whether it has come to the end of all shards; the next call begins anew. Call it once every second or so
// with a budget of some tens of thousands, or more often with less; a budget below 1 counts as 1. Loop until it
// returns true to have all that is over end now. A session whose time is over carries no
// outbound packet even before Expire finds it.
func (e *Engine) Expire(now time.Time, budget int) (round bool) {
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	now = e.advance(now)
	budget = max(budget, 1)
	e.frags.expire(now)
	e.answerSYNs(now)
	if now.Sub(e.recorded) >= epochInterval && e.recordEpochs(now) == nil {
		e.recorded = now // refused, it is offered again next time
	}
	for budget > 0 {
		if e.sweep.shard == len(e.shards) {
			if !e.expireStatics(now) {
				budget -= sweepStep
				continue
			}
			e.sweep.shard = 0
			e.refresh()
			e.watchPools()
			e.writeAll(e.shards[0])
			return true
		}
		s := e.shards[e.sweep.shard]
		if !e.sweep.tabled {
			e.sweep.tabled = e.endSessions(s, now)
		} else if e.releaseIdle(s, now) {
			e.writeAll(s)
			e.sweep.tabled = false
			e.sweep.shard++
		}
		budget -= sweepStep
	}
	return false
}

// endSessions inspects a part of a shard's table and reports whether it was the last.
func (e *Engine) endSessions(s *shard, now time.Time) (done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	w := &s.ended
	w.Sessions, w.Mappings = w.Sessions[:0], w.Mappings[:0]
	done = s.table.Expire(s.tick, sweepStep, w)
	for i := range w.Sessions {
		if i%fetchAhead == 0 {
			s.fetchOwners(w.Sessions[i:min(i+fetchAhead, len(w.Sessions))])
		}
		e.endedIn(s, &w.Sessions[i])
	}
	e.sessions.Add(-int64(len(w.Sessions))) // at once: an atomic addition waits for all that was written before
	for i := range w.Mappings {
		e.mappingEnded(s, &w.Mappings[i])
	}
	return done
}

// fetchAhead is the number of sessions that ended whose subscribers are fetched together.
const fetchAhead = 16

// fetchOwners asks for what the ends of some sessions will read of their subscribers, before any of it is read. The caller holds mu.
func (s *shard) fetchOwners(ended []mapping.Ended) {
	var owners [fetchAhead]*subscriber
	for i := range ended {
		b, _ := s.table.Block(ended[i].Block)
		owners[i] = s.list.at(b.Owner)
		owners[i].prefetch(ended[i].Space)
	}
	for _, sub := range owners[:len(ended)] {
		sub.prefetchBehind(s.table)
		sub.holding.PrefetchRests()
	}
}

// sessionEnded gives back what a removed session held: its place in the engine's and the
// subscriber's limit, its permit, and the port of its mapping when that went with it. The caller holds mu.
func (e *Engine) sessionEnded(s *shard, ended *mapping.Ended) {
	e.endedIn(s, ended)
	e.sessions.Add(-1)
}

// endedIn is sessionEnded but for the engine's limit.
func (e *Engine) endedIn(s *shard, ended *mapping.Ended) {
	b, _ := s.table.Block(ended.Block)
	sub := s.list.at(b.Owner)
	sub.sessions--
	s.uses[sub.key.pool].sessions--
	sub.account.closed(ended.Space)
	e.sessionEvent(s, logging.SessionDeleted, int(sub.key.pool), &ended.Session)
	if e.pools[sub.key.pool].cfg.Filtering == AddressDependent {
		s.table.Forbid(ended.Space, ended.External, ended.Remote.Addr, b.Class)
	}
	if ended.Unmapped {
		e.unmapped(s, sub, ended.Space, ended.External.Port, ended.Remote, ended.Shared)
	}
}

// mappingEnded gives back the port of a removed mapping. The caller holds mu.
func (e *Engine) mappingEnded(s *shard, m *mapping.Mapping) {
	b, _ := s.table.Block(m.Block)
	e.unmapped(s, s.list.at(b.Owner), m.Space, m.External.Port, m.Scope.Remote, m.Shared)
}

// unmapped gives back the port of a removed mapping, which served a remote endpoint, to its subscriber, unless other mappings share it. The
// caller holds mu.
func (e *Engine) unmapped(s *shard, sub *subscriber, space portblock.Space, port uint16, remote mapping.Endpoint, shared bool) {
	if shared {
		e.restShared(s, sub, space, port, remote)
	} else {
		e.returnPort(s, sub, space, port)
		sub.account.unmapped(space)
	}
	s.uses[sub.key.pool].mappings--
}

// returnPort gives a port back to where it came from. The caller holds mu.
func (e *Engine) returnPort(s *shard, sub *subscriber, space portblock.Space, port uint16) {
	space = mapping.PortsOf(space)
	if sub.fixed != nil && sub.fixed.giveBack(space, port) {
		return
	}
	place := e.pools[sub.key.pool].place(sub.lease.Position(), sub.key.class)
	_ = sub.holding.ReturnPort(space, place, port, s.now)
}

// releaseIdle looks at some subscribers of a shard, releases the blocks that
// they do not need, and reports whether it came to the last subscriber.
func (e *Engine) releaseIdle(s *shard, now time.Time) (done bool) {
	s.grants.Lock()
	defer s.grants.Unlock()
	var gone []departed
	now, done, gone = e.detach(s, now)
	for _, v := range gone {
		e.subscribers.Add(-1)
		if v.lease.IsValid() {
			e.pools[v.pool].unlease(v.lease)
		}
	}
	_ = e.recordReleases(s, now) // what is refused is counted, and offered again
	return done
}

// departed is what a subscriber that has left leaves to be done.
type departed struct {
	pool  uint16
	lease alloc.Lease
}

// detach takes idle blocks from some subscribers and notes them as pending
// releases. Subscribers that hold nothing any more are removed, and what they leave is returned. The caller holds grants.
func (e *Engine) detach(s *shard, now time.Time) (clock time.Time, done bool, gone []departed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	for range sweepStep / 4 {
		if s.cursor >= int(s.list.next) {
			break
		}
		sub := s.list.find(uint32(s.cursor))
		s.cursor++
		if sub == nil {
			continue
		}
		p := e.pools[sub.key.pool]
		e.settleRests(s, sub)
		s.idle = s.idle[:0]
		if sub.holding.Blocks() > 0 {
			s.idle = sub.holding.AppendIdle(s.idle, s.now)
		}
		why := logging.ReasonIdle
		if len(s.idle) > 0 && p.withdrawn(sub) {
			why = logging.ReasonConfig
		}
		for _, b := range s.idle {
			if sub.holding.RemoveBlock(b, s.now) == nil {
				s.unblock(p, sub, b)
				sub.account.released()
				s.pending = append(s.pending, release{sub.key, sub.external, b, sub.holding.Blocks(), why})
				s.waiting.Add(1)
			}
		}
		e.watch(s, sub)
		if !sub.idle() || !sub.account.rests(s.now) {
			continue
		}
		if sub.fixed != nil {
			s.table.RemoveBlock(sub.fixed.id)
		}
		e.bindingEvent(s, logging.AddressUnbound, sub)
		gone = append(gone, departed{sub.key.pool, sub.lease})
		s.leave(sub)
	}
	if done = s.cursor >= int(s.list.next); done {
		s.cursor = 0
	}
	return s.now, done, gone
}

// unblock takes a block that its subscriber no longer holds out of the table, and off the way of inbound packets. The caller holds mu.
func (s *shard) unblock(p *pool, sub *subscriber, b portblock.Block) {
	p.setOwner(b, 0)
	s.table.RemoveBlock(sub.drop(b))
}

// recordReleases offers the pending releases to the log, in order, until it refuses one. A block whose record
// is accepted starts its guard time; one whose record is refused stays owned, and is offered again
// later, so that no record of another subscriber can overlap. The caller holds grants.
func (e *Engine) recordReleases(s *shard, now time.Time) (err error) {
	var refused, lost, released uint64
	done := 0
	defer func() { // also when the log panics: what was released is not released twice
		s.pending = append(s.pending[:0], s.pending[done:]...)
		s.waiting.Store(int64(len(s.pending)))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counts.recordsRefused += refused
		s.counts.recordsLost += lost
		s.counts.released += released
	}()
	for _, r := range s.pending {
		p := e.pools[r.key.pool]
		since, at := p.times(r.block, now)
		rec := e.record(logging.BlockReleased, r.key, r.external, r.block, r.used, at)
		rec.Reason = r.why
		rec.Allocated = logging.MillisOf(since)
		if err = e.cfg.Log.Append(&rec); err != nil {
			refused++
			if e.cfg.LogPolicy == RefuseBlocks && !errors.Is(err, logging.ErrRecord) {
				return err
			}
			lost++ // by policy, or because the log will never take this record
		}
		p.cool(r.block, at)
		released++
		done++
	}
	return nil
}
