package natcore

import (
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// first makes the mapping of an internal endpoint that has none, and its session with it. The caller has locked the shard; it is locked
// again on return, and may have been unlocked meanwhile.
func (c *call) first(s *shard, o *opening) (external mapping.Endpoint, opened bool, why Reason) {
	e := c.e
	a := e.account(s, o.sub, o.key)
	t, why := c.port(s, o.sub, a, o.key, o.space, o.internal.Port, o.remote)
	if why != ReasonNone {
		s.forget(a)
		return external, false, why
	}
	sub := t.sub
	o.sub = sub
	external = mapping.Endpoint{Addr: sub.external, Port: t.port}
	var back mapping.Lookup
	s.table.LookInbound(&back, o.space, external, o.scope.Class, o.remote)
	s.table.PrefetchInbound(&back) // while the session is counted
	s.table.PrefetchFirst(&back, false)
	if why = e.admit(s, sub, o); why != ReasonNone {
		e.untake(s, sub, o.space, &t)
		return mapping.Endpoint{}, false, why
	}
	if e.enterFirst(s, sub, o, &t, &back) {
		return external, true, ReasonNone
	}
	return c.further(s, o) // another caller mapped the endpoint while the shard was unlocked
}

// enterFirst enters the first mapping of an internal endpoint and its session, for which a port was taken and the session counted. back is
// the look-up from the port. Where it returns false, all of that is given back. The caller holds mu.
func (e *Engine) enterFirst(s *shard, sub *subscriber, o *opening, t *taken, back *mapping.Lookup) bool {
	external := mapping.Endpoint{Addr: sub.external, Port: t.port}
	m := mapping.Mapping{Realm: o.key.realm, Space: o.space, Internal: o.internal, External: external, Scope: o.scope, Block: t.block}
	idle := e.timeouts.Load().class(o.space, o.remote)
	if !s.table.AddFirst(&o.look, back, &m, idle, &o.seg, s.tick) {
		e.unadmit(sub, o)
		e.untake(s, sub, o.space, t)
		return false
	}
	sub.took(o.space, t.port, o.scope)
	s.counts.mappings++
	s.uses[o.key.pool].mappings++
	e.sessionBegan(s, sub, o, external, idle)
	return true
}

// begin enters a session of a mapping into the table, within the limits, and reports whether it is new. The
// caller holds mu, and o.sub is up to date.
func (e *Engine) begin(s *shard, o *opening, external mapping.Endpoint) (opened bool, why Reason) {
	sub := o.sub
	if sub == nil {
		return false, ReasonNoMapping // not reached: a mapping holds a port, and a port its subscriber
	}
	if why = e.admit(s, sub, o); why != ReasonNone {
		return false, why
	}
	session := mapping.Session{
		Realm: o.key.realm, Space: o.space, Internal: o.internal, External: external, Remote: o.remote,
		Idle: e.timeouts.Load().class(o.space, o.remote),
	}
	if !s.table.Open(&session, o.scope, &o.seg, s.tick) {
		e.unadmit(sub, o)
		return false, ReasonNone // another caller opened it while the shard was unlocked
	}
	e.sessionBegan(s, sub, o, external, session.Idle)
	return true, ReasonNone
}

// admit counts a session of a subscriber, or changes nothing and says which limit it would pass. The caller holds mu.
func (e *Engine) admit(s *shard, sub *subscriber, o *opening) Reason {
	if e.stopped.Load() {
		return ReasonStopped
	}
	if int(sub.sessions) >= e.cfg.Limits.SessionsPerSubscriber {
		return ReasonSessionLimit
	}
	if e.sessions.Add(1) > int64(e.cfg.Limits.Sessions) {
		e.sessions.Add(-1)
		return ReasonSessionLimit
	}
	why := sub.account.open(o.space, e.chosen(o.key, o.remote, o.space), s.now)
	if why != ReasonNone {
		e.sessions.Add(-1)
		return why
	}
	sub.sessions++
	return ReasonNone
}

// unadmit takes back what admit has counted. The caller holds mu.
func (e *Engine) unadmit(sub *subscriber, o *opening) {
	sub.sessions--
	sub.account.closed(o.space)
	e.sessions.Add(-1)
}

// sessionBegan does what follows a session's entry into the table. The caller holds mu.
func (e *Engine) sessionBegan(s *shard, sub *subscriber, o *opening, external mapping.Endpoint, idle uint8) {
	if e.pools[o.key.pool].cfg.Filtering == AddressDependent {
		s.table.Permit(o.space, external, o.remote.Addr, o.key.class)
	}
	s.uses[o.key.pool].sessions++
	s.counts.sessions++
	if e.cfg.Events.Sessions {
		e.sessionEvent(s, logging.SessionCreated, int(o.key.pool), &mapping.Session{
			Realm: o.key.realm, Space: o.space, Internal: o.internal, External: external, Remote: o.remote, Idle: idle,
		})
	}
}
