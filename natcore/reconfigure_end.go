package natcore

import (
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// mapRest is how long the ports of a subscriber to whom a new map gives others rest (RFC 6888 REQ-8).
const mapRest = 120 * time.Second

// move puts a new map in the place of the old one. Who keeps his ports goes on; the others end, and their ports rest.
func (v *poolChange) move(c *change, next *PoolConfig) {
	e, p := c.e, v.p
	for _, s := range e.shards {
		moved := map[*subscriber]bool{}
		for sub := range s.list.all() {
			if int(sub.key.pool) != v.number {
				continue
			}
			if sameSet(sub.fixed.ports, next.Map, sub.key.addr) {
				sub.fixed.ports, _ = next.Map.Forward(mapping.Addr4(sub.key.addr)) // as it was a moment ago
			} else {
				moved[sub], sub.fixed.over = true, true
			}
		}
		e.endAll(s, func(sub *subscriber) bool { return moved[sub] })
		for sub := range moved {
			e.dismiss(s, sub, logging.ReasonConfig)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.previous, p.settled, p.since = p.cfg.Map, c.now.Add(mapRest), c.now
	p.cfg.Map = next.Map
	p.formula.Store(next.Map)
}

// endAll ends the sessions and mappings of some subscribers. The caller holds mu.
func (e *Engine) endAll(s *shard, of func(*subscriber) bool) (sessions int) {
	return e.endSome(s, func(v *mapping.SavedSession, sub *subscriber) bool { return of(sub) }, of)
}

// endSome ends some sessions, and the mappings without sessions of some subscribers. The caller holds mu.
func (e *Engine) endSome(s *shard, session func(*mapping.SavedSession, *subscriber) bool, of func(*subscriber) bool) (ended int) {
	var page, sessions []mapping.SavedSession
	for part := 0; part >= 0; {
		page, part = s.table.AppendSavedSessions(page[:0], part)
		for i := range page {
			b, _ := s.table.Block(page[i].Block)
			if session(&page[i], s.list.at(b.Owner)) {
				sessions = append(sessions, page[i])
			}
		}
	}
	for i := range sessions {
		v := &sessions[i]
		if old, ok := s.table.Close(v.Realm, v.Space, v.Internal, v.Remote, s.tick); ok {
			e.sessionEnded(s, &old)
			ended++
		}
	}
	var held, mappings []mapping.Mapping
	for part := 0; part >= 0; {
		held, part = s.table.AppendMappings(held[:0], part)
		for i := range held {
			b, _ := s.table.Block(held[i].Block)
			if of(s.list.at(b.Owner)) {
				mappings = append(mappings, held[i])
			}
		}
	}
	for _, m := range mappings {
		if old, ok := s.table.Unmap(m.Realm, m.Space, m.Internal, m.Scope); ok {
			e.mappingEnded(s, &old)
		}
	}
	return ended
}

// dismiss takes a subscriber out who has no mappings any more; his blocks are released. One with sessions of
// protocols without ports stays until these end. The caller holds grants and mu.
func (e *Engine) dismiss(s *shard, sub *subscriber, why logging.Reason) {
	p := e.pools[sub.key.pool]
	for len(sub.blocks()) > 0 {
		b := sub.blocks()[0].block
		if sub.holding.RemoveBlock(b, s.now) != nil {
			return // a packet has just got a port with the block, and not locked the shard yet: Expire releases the block in its time
		}
		s.unblock(p, sub, b)
		sub.account.released()
		s.pending = append(s.pending, release{sub.key, sub.external, b, sub.holding.Blocks(), why})
		s.waiting.Add(1)
	}
	if !sub.idle() {
		return
	}
	if sub.fixed != nil {
		s.table.RemoveBlock(sub.fixed.id)
	}
	e.bindingEvent(s, logging.AddressUnbound, sub)
	lease := sub.lease
	s.leave(sub)
	e.subscribers.Add(-1)
	if lease.IsValid() {
		p.unlease(lease)
	}
}
