package natcore

import (
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
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
// whether it has come to the end of all shards; the next call begins anew. Call it every second or so
// with a budget of some tens of thousands, or more often with less. A session whose time is over carries no
// outbound packet even before Expire finds it.
func (e *Engine) Expire(now time.Time, budget int) (round bool) {
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	e.frags.expire(now)
	for budget > 0 {
		if e.sweep.shard == len(e.shards) {
			e.sweep.shard = 0
			return true
		}
		s := e.shards[e.sweep.shard]
		if !e.sweep.tabled {
			e.sweep.tabled = e.endSessions(s, now)
		} else if e.releaseIdle(s, now) {
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
	s.ended, done = s.table.Expire(s.tick, sweepStep, s.ended[:0])
	e.settle(s, s.ended)
	return done
}

// settle gives back what ended sessions and mappings held. The caller holds mu.
func (e *Engine) settle(s *shard, ended []mapping.Ended) {
	for i := range ended {
		end := &ended[i]
		pool, position, ok := e.external.find(end.Session.External.Addr)
		if !ok {
			continue // not reached: sessions are of external addresses
		}
		sub := s.subs[subscriberKey{end.Session.Internal.Addr, end.Session.Realm, uint16(pool)}]
		if sub == nil {
			continue // not reached: who has a session has a subscriber
		}
		if end.Live {
			sub.sessions--
			e.sessions.Add(-1)
		}
		if end.Unmapped {
			_ = sub.holding.ReturnPort(end.Session.Space, position, end.Session.External.Port, s.now)
		}
	}
}

// releaseIdle looks at some subscribers of a shard, releases the blocks that
// they do not need, and reports whether it came to the last subscriber.
func (e *Engine) releaseIdle(s *shard, now time.Time) (done bool) {
	s.grants.Lock()
	defer s.grants.Unlock()
	var gone []*subscriber
	now, done, gone = s.detach(now)
	for _, sub := range gone {
		e.subscribers.Add(-1)
		e.pools[sub.key.pool].unlease(sub.lease)
	}
	e.recordReleases(s, now)
	return done
}

// detach takes idle blocks from some subscribers and notes them as pending
// releases. Subscribers that hold nothing any more are removed and returned. The caller holds grants.
func (s *shard) detach(now time.Time) (clock time.Time, done bool, gone []*subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	for range sweepStep / 4 {
		if s.cursor >= len(s.order) {
			break
		}
		sub := s.order[s.cursor]
		s.idle = sub.holding.AppendIdle(s.idle[:0], s.now)
		for _, b := range s.idle {
			if sub.holding.RemoveBlock(b, s.now) == nil {
				s.pending = append(s.pending, release{sub.key, sub.external, b, sub.holding.Blocks()})
			}
		}
		if sub.holding.Blocks() > 0 {
			s.cursor++
			continue
		}
		last := len(s.order) - 1
		s.order[s.cursor] = s.order[last]
		s.order[s.cursor].place = s.cursor
		s.order = s.order[:last]
		delete(s.subs, sub.key)
		gone = append(gone, sub)
	}
	if done = s.cursor >= len(s.order); done {
		s.cursor = 0
	}
	return s.now, done, gone
}

// recordReleases offers the pending releases to the log. A block whose record
// is accepted starts its guard time; one whose record is refused stays owned, and is offered again
// later, so that no record of another subscriber can overlap. The caller holds grants.
func (e *Engine) recordReleases(s *shard, now time.Time) {
	var refused, lost, released uint64
	kept := s.pending[:0]
	for _, r := range s.pending {
		p := e.pools[r.key.pool]
		rec := e.record(logging.BlockReleased, r.key, r.external, r.block, r.used, now)
		rec.Reason = logging.ReasonIdle
		rec.Allocated = logging.MillisOf(p.since(r.block, now))
		if err := e.cfg.Log.Append(&rec); err != nil {
			refused++
			if e.cfg.LogPolicy == RefuseBlocks {
				kept = append(kept, r)
				continue
			}
			lost++
		}
		p.cool(r.block, now)
		released++
	}
	s.pending = kept
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.recordsRefused += refused
	s.counts.recordsLost += lost
	s.counts.released += released
}
