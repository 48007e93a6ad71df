package natcore

import (
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// allows reports whether rules would begin a session in the pool in which it is.
func allows(rules []rule, v *mapping.Session, sub *subscriber) bool {
	for i := range rules {
		r := &rules[i]
		if r.realm == v.Realm && r.covers(v.Internal.Addr, v.Remote.Addr, protocols[v.Space]) {
			return r.action == Translate && int(r.pool) == int(sub.key.pool)
		}
	}
	return false
}

// count counts the sessions that the new configuration does not allow, but for those that a new map ends. It looks at a part of a
// shard's sessions under one hold of its lock, while packets flow: a session that comes or goes meanwhile may be missed.
func (c *change) count() {
	var page []mapping.SavedSession
	for _, s := range c.e.shards {
		for part := 0; part >= 0; {
			s.mu.Lock()
			page, part = s.table.AppendSavedSessions(page[:0], part)
			for i := range page {
				b, _ := s.table.Block(page[i].Block)
				sub := s.list.at(b.Owner)
				if v := &c.pools[sub.key.pool]; v.remap && !sameSet(sub.fixed.ports, c.cfg.Pools[v.number].Map, sub.key.addr) {
					continue
				}
				if !inRanges(c.pools[sub.key.pool].want, sub.external) || !allows(c.rules, &page[i].Session, sub) {
					c.report.Disallowed++
				}
			}
			s.mu.Unlock()
		}
	}
}

// EndDisallowed ends what the configuration does not allow any more, and returns the number of sessions that it has ended: sessions that the rules would not
// begin, all that is on addresses that are withdrawn. Their blocks are released, with records whose reason is ReasonConfig, and who had them
// gets another address with his next packet. Sessions of protocols without ports end by themselves.
func (e *Engine) EndDisallowed(now time.Time) (sessions int) {
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	now = e.advance(now)
	for _, s := range e.shards {
		s.grants.Lock()
		s.mu.Lock()
		s.advance(now)
		rules := *e.rules.Load()
		withdrawn := func(sub *subscriber) bool { return e.pools[sub.key.pool].withdrawn(sub) }
		sessions += e.endSome(s, func(v *mapping.SavedSession, sub *subscriber) bool {
			return withdrawn(sub) || !allows(rules, &v.Session, sub)
		}, withdrawn)
		for sub := range s.list.all() {
			if withdrawn(sub) {
				e.dismiss(s, sub, logging.ReasonConfig)
			}
		}
		s.mu.Unlock()
		_ = e.recordReleases(s, now) // what is refused is counted, and offered again
		s.grants.Unlock()
	}
	e.refresh()
	return sessions
}

// withdrawn reports whether the address that a subscriber is paired with is being withdrawn.
func (p *pool) withdrawn(sub *subscriber) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sub.lease.IsValid() && p.drained(sub.lease)
}

// refresh makes packets know the addresses that have gone for good. The caller holds the lock of sweep.
func (e *Engine) refresh() {
	gone := false
	for _, p := range e.all() {
		p.mu.Lock()
		gone, p.shrunk = gone || p.shrunk, false
		p.mu.Unlock()
	}
	if !gone {
		return
	}
	if external, err := externalsOf(e.all()); err == nil { // always: pools share no address
		e.external.spans.Store(external)
	}
}
