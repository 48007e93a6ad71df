package natcore

import (
	"strconv"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
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

// staticNote is what the record of a session of what is static has besides.
type staticNote struct {
	name     string
	realm    string // in which the external address lies, where that is not the external one
	why      logging.Reason
	protocol uint8
}

// beginning returns the reason for which a session begins.
func beginning(w *mapping.Flow) logging.Reason {
	if w.In.External {
		return logging.ReasonInbound
	}
	return logging.ReasonOutbound
}

// note notes the begin or the end of a session, where sessions are recorded. The caller holds mu.
func (st *statics) note(w *mapping.Flow, kind logging.Kind, why logging.Reason) {
	if !st.recorded {
		return
	}
	n := st.noteOf(w, kind, why)
	if st.engine.shardOf(n.s.Realm, n.s.Internal.Addr).notes.addSession(n) {
		st.engine.manyNotes.Store(true)
	}
}

// noteOf describes a session as its record does. The internal host is the one that has the static mapping, or the one that writes by a peering. The caller holds mu.
//
//	Static, begun inside     In  10.0.0.2:5000 > r:80    Out 192.0.2.9:5000 > r:80       10.0.0.2:5000  as 192.0.2.9:5000  to r:80
//	Static, begun outside    In  r:5000 > 192.0.2.9:80   Out r:5000 > 10.0.0.2:8080      10.0.0.2:8080  as 192.0.2.9:80    to r:5000
//	Peering                  In  10.0.0.2:5000 > p:80    Out 10.255.0.1:1024 > t:80      10.0.0.2:5000  as 10.255.0.1:1024 to t:80
func (st *statics) noteOf(w *mapping.Flow, kind logging.Kind, why logging.Reason) sessionNote {
	if p := st.peers[w.Owner]; p != nil {
		return st.describe(w, p.cfg.Name, true, kind, why)
	}
	name := ""
	if s := st.owners[w.Owner]; s != nil {
		name = s.cfg.Name
	}
	return st.describe(w, name, false, kind, why)
}

// describe is noteOf for a session of something with a name.
func (st *statics) describe(w *mapping.Flow, name string, peering bool, kind logging.Kind, why logging.Reason) sessionNote {
	inner, outer := w.In, w.Out
	n := staticNote{name: name, why: why, protocol: w.In.Proto}
	if !peering {
		if w.Note&noteRemote != 0 {
			inner, outer = w.Out.Reverse(), w.In.Reverse()
			if w.In.Proto == rewrite.ProtoICMP { // the identifier is that of the end that asks, and the static endpoint's as well
				inner.SrcPort, outer.SrcPort, outer.DstPort = w.Out.SrcPort, w.In.SrcPort, 0
			}
		}
	} else if !outer.External {
		n.realm = strconv.Itoa(int(outer.Realm))
	}
	return sessionNote{at: st.now, kind: kind, static: &n, s: mapping.Session{
		Realm:    inner.Realm,
		Internal: mapping.Endpoint{Addr: inner.Src, Port: inner.SrcPort},
		External: mapping.Endpoint{Addr: outer.Src, Port: outer.SrcPort},
		Remote:   mapping.Endpoint{Addr: outer.Dst, Port: outer.DstPort},
	}}
}

// closeStatics ends all sessions, with their records where sessions are recorded. Nothing begins any more.
func (e *Engine) closeStatics(now time.Time) {
	st := &e.statics
	var notes []sessionNote
	for part := 0; part >= 0; {
		st.mu.Lock()
		st.advance(now)
		notes = notes[:0]
		st.scratch, part = st.flows.Append(st.scratch[:0], part)
		for i := range st.scratch {
			if w := &st.scratch[i]; st.recorded && w.Owner != 0 {
				notes = append(notes, st.noteOf(w, logging.SessionDeleted, logging.ReasonShutdown))
			}
		}
		st.mu.Unlock()
		for i := range notes {
			r := e.sessionRecord(&notes[i])
			if !e.offer(e.cfg.Log, &r) {
				e.events.lost.Add(1)
			}
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.end(func(*mapping.Flow) bool { return true }, logging.ReasonNone, now)
}
