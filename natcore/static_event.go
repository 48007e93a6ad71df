package natcore

import (
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// staticRefused notes why a host got no session of what is static, or of a protocol without ports: its own, or one from outside. The caller
// holds the shard's lock.
func (e *Engine) staticRefused(s *shard, a *account, p *party, why Reason) {
	if e.cfg.Events.Off {
		return
	}
	q, r := a.quota, a.realm
	v := note{at: s.now, noteKey: noteKey{
		kind: logging.QuotaExceeded, resource: logging.ResourceSubscriberMappings, reason: why, realm: p.key.realm, pool: -1, internal: p.key.addr, inbound: !p.owns,
	}}
	_, used := a.opened(p.place)
	most := least(q.Sessions, q.sessionsOf(p.place))
	if p.owns {
		most = least(int(most), e.cfg.Limits.SessionsPerSubscriber)
	} else if n := least(e.cfg.Limits.InboundPerSubscriber, q.InboundSessions); !a.countInbound || a.static != nil && a.static.inbound.total() >= n {
		used, most = 0, n
		if a.static != nil {
			used = a.static.inbound.total()
		}
	}
	switch why {
	case ReasonSessionRate:
		most = int64(q.SessionRate.PerSecond)
		if !p.owns && q.InboundRate.PerSecond > 0 {
			most = int64(q.InboundRate.PerSecond)
		}
	case ReasonRealmLimit:
		v.resource, v.internal = logging.ResourceSessions, 0
		_, used = r.opened(p.place)
		most = least(r.quota.Sessions, r.quota.sessionsOf(p.place))
		if !p.owns && (!r.countInbound || r.quota.InboundSessions > 0 && r.inbound.total() >= int64(r.quota.InboundSessions)) {
			used, most = r.inbound.total(), int64(r.quota.InboundSessions)
		}
	}
	v.used, v.max = clamp(used), clamp(most)
	s.notes.add(v)
}

// staticsFull notes that a session was refused because a Static or all of them have as many as they may. s is locked.
func (e *Engine) staticsFull(s *shard, w *mapping.Flow, of *static) {
	if e.cfg.Events.Off {
		return
	}
	v := note{at: s.now, noteKey: noteKey{
		kind: logging.QuotaExceeded, resource: logging.ResourceSessions, reason: ReasonSessionLimit, pool: -1, inbound: w.In.External,
	}}
	st := &e.statics
	st.mu.Lock()
	used, most := st.number, st.most
	if of != nil && used < most {
		if now := st.owners[of.id]; now != nil {
			used, most = now.sessions, now.cfg.MaxSessions
		}
		v.realm, v.internal, v.resource = w.Out.Realm, w.Out.Dst, logging.ResourceSubscriberMappings
	}
	st.mu.Unlock()
	v.used, v.max = clamp(int64(used)), clamp(int64(most))
	s.notes.add(v)
}
