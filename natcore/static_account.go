package natcore

import (
	"time"

	"github.com/blocknat/blocknat/mapping"
)

// Each session of what is static is charged to the internal hosts that are part of it: to the one that begins it as one of its own, to the one
// with which others do as an inbound one (Quotas). What a session is charged to follows from its headers, so no flow keeps it.
//
//	In  external, Out internal     from outside:   inbound of Out.Dst
//	In  internal, Out external     own of In.Src
//	In  internal, Out internal     own of In.Src,  inbound of Out.Dst     (Peering; Static for a host that no rule translates)
//
// A session is counted under the lock of the host's shard, before it is entered, so that no bound is ever passed. It ends under the
// lock of statics alone, so the counts are atomic: they fall at any time, and rise under the shard's lock only.

// staticUse is what an account has of what is static, and of protocols without ports. It exists from the first such session on until Expire finds
// none, and the rates at rest.
type staticUse struct {
	own, inbound counts
	arriving     bucket // of inbound sessions, guarded by the shard's lock
}

func (u *staticUse) idle() bool { return u.own.total()+u.inbound.total() == 0 }

// party is an internal host that is part of a session.
type party struct {
	key   accountKey
	place int // of the protocol among counts
	owns  bool
}

// parties returns the internal hosts that a session is charged to, one or two.
func parties(w *mapping.Flow) (of [2]party, n int) {
	place := placeOfProto(w.In.Proto)
	if !w.In.External {
		of[n] = party{accountKey{w.In.Src, w.In.Realm}, place, true}
		n++
	}
	if !w.Out.External {
		of[n] = party{accountKey{w.Out.Dst, w.Out.Realm}, place, false}
		n++
	}
	return of, n
}

// beginStatic enters a session of a Static or, with s nil, of a Peering, as statics.open does, and charges it. On a refusal nothing has changed.
func (c *call) beginStatic(w *mapping.Flow, s *static, own *sourceOwner, policy mapping.FlowPolicy, seg *mapping.Segment) Reason {
	st := &c.e.statics
	st.mu.Lock()
	st.closeOver(w.In, st.advance(c.now)) // it makes room for this one
	st.mu.Unlock()
	of, n := parties(w)
	for i := range n {
		if why := c.charge(&of[i], w); why != ReasonNone {
			c.refund(of[:i])
			return why
		}
	}
	// The shard of the last party is locked: the engine is not stopped meanwhile.
	why := st.open(w, s, own, policy, seg, c.now)
	if why != ReasonNone {
		c.refund(of[:n])
	}
	if why == ReasonSessionLimit {
		c.e.staticsFull(c.shard, w, s)
	}
	return why
}

// charge counts a session for a host, or changes nothing and says why not. The host's shard is locked on return.
func (c *call) charge(p *party, w *mapping.Flow) Reason {
	e, s := c.e, c.lock(c.e.shardOf(p.key.realm, p.key.addr))
	if e.stopped.Load() {
		return ReasonStopped
	}
	remote := mapping.Endpoint{Addr: w.In.Dst, Port: w.In.DstPort}
	return e.charge(s, p, remote, w.In.Proto)
}

// charge is call.charge for who has locked the shard.
func (e *Engine) charge(s *shard, p *party, remote mapping.Endpoint, protocol uint8) (why Reason) {
	a := e.accountAt(s, p.key)
	if p.owns {
		chosen := e.quotas.Load().chosen(p.key.realm, p.key.addr, remote, protocol)
		if a.static != nil && a.static.own.total() >= int64(e.cfg.Limits.SessionsPerSubscriber) {
			why = ReasonSessionLimit
		} else {
			why = a.begin(p.place, chosen, s.now)
		}
	} else {
		why = a.arrive(p.place, e.cfg.Limits.InboundPerSubscriber, s.now)
	}
	if why != ReasonNone {
		e.staticRefused(s, a, p, why)
		s.forget(a)
		return why
	}
	u := e.useOf(a)
	if p.owns {
		u.own[p.place].Add(1)
	} else {
		u.inbound[p.place].Add(1)
		u.arriving, _ = u.arriving.take(a.quota.InboundRate, s.now)
	}
	return ReasonNone
}

// mayArrive returns why the account can have no further inbound session of a place now, or ReasonNone. most is the limit of one host.
func (a *account) mayArrive(place, most int, now time.Time) Reason {
	var used int64
	var b bucket
	if u := a.static; u != nil {
		used, b = u.inbound.total(), u.arriving
	}
	if why := over(used, int(least(most, a.quota.InboundSessions)), 0, false, ReasonSessionLimit); why != ReasonNone {
		return why
	}
	if _, ok := b.take(a.quota.InboundRate, now); !ok {
		return ReasonSessionRate
	}
	if a.countInbound {
		return a.mayBegin(place, false, now)
	}
	return ReasonNone
}

// arrive counts an inbound session in the account's realm and takes the tokens of both but that of InboundRate in the account, or changes nothing and says why not. The caller
// counts it in the account, and takes that token.
func (a *account) arrive(place, most int, now time.Time) Reason {
	if why := a.mayArrive(place, most, now); why != ReasonNone {
		return why
	}
	if r := a.realm; r != nil {
		if why := r.arrive(place, now); why != ReasonNone {
			return why
		}
	}
	if a.countInbound {
		a.opening, _ = a.opening.take(a.quota.SessionRate, now)
	}
	return ReasonNone
}

// arrive counts an inbound session of a realm, or changes nothing and says why not.
func (r *realmAccount) arrive(place int, now time.Time) Reason {
	q := &r.quota
	if !takeShared(&r.arriving, q.InboundRate, now) {
		return ReasonSessionRate
	}
	why := ReasonNone
	if r.countInbound {
		why = r.begin(&r.inbound, place, false, now)
	} else {
		r.inbound[place].Add(1)
	}
	if why == ReasonNone {
		if why = over(r.inbound.total()-1, q.InboundSessions, 0, false, ReasonRealmLimit); why != ReasonNone {
			r.inbound[place].Add(-1)
			if r.countInbound {
				refundShared(&r.opening, q.SessionRate)
			}
		}
	}
	if why != ReasonNone {
		refundShared(&r.arriving, q.InboundRate)
	}
	return why
}

// useOf returns the account's use of what is static, made where it is missing. The caller has locked the shard.
func (e *Engine) useOf(a *account) *staticUse {
	if a.static == nil {
		a.static = &staticUse{}
		e.statics.mu.Lock()
		e.statics.uses[a.key()] = a.static
		e.statics.mu.Unlock()
	}
	return a.static
}

// refund undoes charge for a session that did not come to be, tokens included.
func (c *call) refund(of []party) {
	for i := range of {
		p := &of[i]
		s := c.lock(c.e.shardOf(p.key.realm, p.key.addr))
		st := &c.e.statics
		st.mu.Lock()
		st.giveBack(p)
		st.mu.Unlock()
		if a := s.account(p.key); a != nil {
			a.refundSession(!p.owns)
		}
	}
}

// refundSession gives the tokens of a session back.
func (a *account) refundSession(inbound bool) {
	r := a.realm
	if inbound {
		if a.static != nil {
			a.static.arriving = a.static.arriving.refund(a.quota.InboundRate)
		}
		if r != nil {
			refundShared(&r.arriving, r.quota.InboundRate)
		}
	}
	if !inbound || a.countInbound {
		a.opening = a.opening.refund(a.quota.SessionRate)
		if r != nil {
			refundShared(&r.opening, r.quota.SessionRate)
		}
	}
}

// uncharge takes a session that has ended off the counts. The caller holds mu.
func (st *statics) uncharge(w *mapping.Flow) {
	of, n := parties(w)
	for i := range n {
		st.giveBack(&of[i])
	}
}

// giveBack takes a session off the counts of a host and its realm. The caller holds mu, under which the quotas do not change.
func (st *statics) giveBack(p *party) {
	u := st.uses[p.key]
	if u == nil {
		return // the engine is closed: nothing is counted any more
	}
	r := st.engine.quotas.Load().realms[p.key.realm]
	if p.owns {
		u.own[p.place].Add(-1)
		if r != nil {
			r.sessions[p.place].Add(-1)
		}
		return
	}
	u.inbound[p.place].Add(-1)
	if r != nil {
		r.inbound[p.place].Add(-1)
	}
}

// forgetUses lets go what accounts have of what is static where nothing is left of it.
func (e *Engine) forgetUses(now time.Time) {
	st := &e.statics
	var idle []accountKey
	st.mu.Lock()
	for k, u := range st.uses {
		if u.idle() {
			idle = append(idle, k)
		}
	}
	st.mu.Unlock()
	for _, k := range idle {
		s := e.shardOf(k.realm, k.addr)
		s.mu.Lock()
		s.advance(now)
		// Counts rise under this lock only. Who has no other sessions keeps his account until its rates are at rest.
		a := s.account(k)
		if a != nil && a.static != nil && a.static.idle() && a.rests(s.now) {
			a.static = nil
			st.mu.Lock()
			delete(st.uses, k)
			st.mu.Unlock()
			s.forget(a)
		}
		s.mu.Unlock()
	}
}
