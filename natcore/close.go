package natcore

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// Stop drops all packets from now on, with ReasonStopped, and keeps all state: for a snapshot that nothing comes
// after. When it returns no packet changes anything any more. It cannot be undone. The log gets the end of static mappings, which
// Restore records again.
func (e *Engine) Stop() {
	unlock := e.lockAll()
	e.stopped.Store(true)
	unlock()
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	_ = e.stopTraces() // what is refused is offered again by Close and Expire
}

// CloseError says that the log does not take all records of a Close yet.
type CloseError struct {
	// Pending is the number of blocks and static mappings whose release is not recorded.
	Pending int
	// Err is what the log said last.
	Err error
}

// Error implements error.
func (c *CloseError) Error() string {
	return fmt.Sprintf("natcore: %d blocks or static mappings without a release record, call Close again: %v", c.Pending, c.Err)
}

// Unwrap returns what the log said.
func (c *CloseError) Unwrap() error { return c.Err }

// Close ends all sessions and mappings and releases all blocks and static mappings, each with a record whose reason is ReasonShutdown. Packets
// are dropped from now on, with ReasonStopped. Where the log refuses, the error is a *CloseError: a further
// call goes on with what is left, and so does Expire. Under the policy CountLoss refused records are counted in Stats.RecordsLost.
//
// Who restarts with a snapshot calls Stop and AppendSnapshot in place of Close: the blocks stay with their subscribers.
func (e *Engine) Close(now time.Time) error {
	e.Stop()
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	now = e.advance(now)
	for _, s := range e.shards {
		e.closeSessions(s)
	}
	e.closeStatics(now)
	e.finishPortless(now)
	unlock := e.lockShards()
	for _, s := range e.shards {
		s.advance(now)
		e.abandon(s, logging.ReasonShutdown)
		var key [24]byte
		_, _ = s.rnd.Read(key[:]) // never fails
		s.setTable(e.newTable(key, s.now))
		s.tick = s.table.Advance(s.now)
	}
	e.sessions.Store(0)
	e.subscribers.Store(0)
	e.statics.mu.Lock()
	clear(e.statics.uses) // with the accounts
	e.statics.mu.Unlock()
	unlock()
	e.frags.clear()
	left := &CloseError{}
	for _, s := range e.shards {
		s.grants.Lock()
		if err := e.recordReleases(s, now); err != nil {
			left.Err = err
		}
		left.Pending += len(s.pending)
		s.grants.Unlock()
		e.writeAll(s)
	}
	if err := e.stopTraces(); err != nil {
		left.Err = err
		left.Pending += e.statics.traces.waiting()
	}
	if left.Pending > 0 {
		return left
	}
	return nil
}

// closeSessions records the end of all sessions of a shard, where sessions are recorded. Nothing changes any more.
func (e *Engine) closeSessions(s *shard) {
	if !e.cfg.Events.Sessions || e.cfg.Events.Off {
		return
	}
	e.writeAll(s) // what began before is told before
	var page []mapping.State
	for part := 0; part >= 0; {
		s.mu.Lock()
		page, part = s.table.AppendSessions(page[:0], part)
		now := s.now
		s.mu.Unlock()
		for i := range page {
			pool, _, _ := e.external.find(page[i].External.Addr)
			r := e.sessionRecord(&sessionNote{now, logging.SessionDeleted, uint16(pool), page[i].Session, nil})
			r.Reason = logging.ReasonShutdown
			if !e.offer(e.cfg.Log, &r) {
				e.events.lost.Add(1)
			}
		}
	}
}

// abandon takes everything from all subscribers of a shard; their blocks wait for their release records. The caller
// holds grants and mu, and sets the counts of the engine.
func (e *Engine) abandon(s *shard, why logging.Reason) {
	for sub := range s.list.all() {
		left := sub.holding.Blocks()
		for b := range sub.holding.All(s.now) {
			left--
			e.pools[sub.key.pool].setOwner(b.Block, 0)
			s.pending = append(s.pending, release{sub.key, sub.external, b.Block, left, why})
			s.waiting.Add(1)
		}
		if sub.lease.IsValid() {
			e.pools[sub.key.pool].unlease(sub.lease)
		}
		e.bindingEvent(s, logging.AddressUnbound, sub)
		s.leave(sub)
	}
	for a := range s.accounts.all() {
		a.realm = nil // a packet that is under way may have one still
		s.strike(a)
	}
	clear(s.uses[:])
	for _, r := range e.quotas.Load().realms {
		for sp := range r.ports {
			r.ports[sp].Store(0)
			r.sessions[sp].Store(0)
			r.inbound[sp].Store(0)
		}
		r.blocks.Store(0)
	}
	s.cursor = 0
}

// lockAll locks all shards, and Expire out, and returns what unlocks them.
func (e *Engine) lockAll() (unlock func()) {
	e.sweep.mu.Lock()
	shards := e.lockShards()
	return func() {
		shards()
		e.sweep.mu.Unlock()
	}
}

// lockShards locks all shards: no block is granted or released, no packet is translated meanwhile. The caller holds the lock of sweep.
func (e *Engine) lockShards() (unlock func()) {
	for _, s := range e.shards {
		s.grants.Lock()
	}
	for _, s := range e.shards {
		s.mu.Lock()
	}
	return func() {
		for _, s := range e.shards {
			s.mu.Unlock()
			s.grants.Unlock()
		}
	}
}

// time returns the engine's clock.
func (e *Engine) time() time.Time { return time.UnixMilli(e.clock.Load()) }
