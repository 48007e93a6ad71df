package natcore

import (
	"errors"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// Protocols without ports (Config.Protocols) are translated by their addresses alone: an internal host, in the
// words of a session, has an external address towards one remote address. There is one host for each external
// address, protocol and remote address: the first that writes there, until its session is over.
//
// Nothing in such a packet but the remote address tells hosts apart that share an external address, so a block's record does not trace it. Each session has
// a record of its own: logging.SessionCreated, accepted before the first packet leaves, and logging.SessionDeleted,
// until which nobody else gets that address, protocol and remote address.

// others is the sessions of protocols without ports. The lock of statics guards it.
type others struct {
	sessions map[mapping.Header]*other // by the header of answers: live, about to be, and ended without an accepted record
	perHost  int
	most     int
	ending   []mapping.Header // in the order in which they have ended
}

// other is one session.
type other struct {
	key   subscriberKey
	since logging.Millis
}

func (o *others) init(cfg *Config) {
	o.sessions = map[mapping.Header]*other{}
	o.perHost, o.most = cfg.Limits.ProtocolSessionsPerSubscriber, cfg.Limits.ProtocolSessions
}

// blocked reports whether answers with this header are those of a session, be it ended, whose record is open.
func (o *others) blocked(answer mapping.Header) bool {
	return len(o.sessions) > 0 && o.sessions[answer] != nil
}

// ended notes that a session is over; its place is free when that is recorded.
func (o *others) ended(w *mapping.Flow) { o.ending = append(o.ending, w.Out.Reverse()) }

// portless translates a packet of a protocol without ports; done is false when there is nothing that could.
func (c *call) portless(p *Packet, h *rewrite.Packet4) (verdict Verdict, why Reason, done bool) {
	if h.Proto == 33 || h.Proto == 51 {
		return 0, 0, false
	}
	if p.Direction == Inbound {
		if c.own(h.Src) {
			return Drop, ReasonSpoofed, true
		}
		return c.arrive(p, h)
	}
	if verdict, why, done = c.leave(p, h); done || !c.static.chosen(h.Proto) {
		return verdict, why, done
	}
	r := c.e.match(p.Realm, h.Src, h.Dst, h.Proto)
	switch {
	case r == nil:
		return Drop, ReasonNoRule, true
	case r.action == Exempt:
		return Bypass, ReasonNone, true
	case r.action == Refuse:
		return Drop, ReasonRuleDrop, true
	case c.own(h.Src):
		return Drop, ReasonSpoofed, true
	}
	in := headerOf(h, mapping.Header{Realm: uint16(p.Realm)})
	out, why := c.beginPortless(in, int(r.pool))
	if why != ReasonNone {
		return Drop, why, true
	}
	return c.send(p, h, in, out, true)
}

// beginPortless begins a session: the subscriber gets an external address if it has none, the session is recorded, then
// entered. It lets the shard's lock go.
func (c *call) beginPortless(in mapping.Header, pool int) (out mapping.Header, why Reason) {
	e, st := c.e, &c.e.statics
	c.unlock()
	st.mu.Lock()
	st.closeOver(in, st.advance(c.now))
	late := len(st.others.ending) > 0
	st.mu.Unlock()
	if late {
		e.finishPortless(c.now) // what has ended makes room
	}
	class := e.pools[pool].selection.class(mapping.Endpoint{Addr: in.Dst})
	key := subscriberKey{in.Src, in.Realm, uint16(pool), class}
	s := e.shardOf(in.Realm, in.Src)
	s.grants.Lock()
	defer s.grants.Unlock()
	external, why := e.pair(s, key, in, c.now)
	if why != ReasonNone {
		return out, why
	}
	out = in
	out.Src, out.Realm, out.External = external, 0, true
	answer := out.Reverse()
	now := logging.MillisOf(c.now)
	w := &other{key, now}
	st.mu.Lock()
	switch {
	case st.others.blocked(answer) || st.flows.Taken(answer) || st.flows.Taken(in):
		why = ReasonConflict
	case len(st.others.sessions) >= st.others.most:
		why = ReasonSessionLimit
	default:
		st.others.sessions[answer] = w
	}
	st.mu.Unlock()
	if why != ReasonNone {
		e.unpair(s, key)
		return out, why
	}
	entered := false
	defer func() {
		if !entered { // refused, or the log panics
			st.mu.Lock()
			delete(st.others.sessions, answer)
			st.mu.Unlock()
			e.unpair(s, key)
		}
	}()
	r := e.portlessRecord(logging.SessionCreated, w, answer, c.now)
	r.Reason = logging.ReasonOutbound
	if err := e.cfg.Log.Append(&r); err != nil {
		s.mu.Lock()
		s.counts.recordsRefused++
		if e.cfg.LogPolicy == CountLoss {
			s.counts.recordsLost++
		}
		s.mu.Unlock()
		if e.cfg.LogPolicy != CountLoss {
			return out, ReasonLogRefused
		}
	}
	policy := mapping.FlowPolicy(0)
	if e.cfg.RefreshInbound {
		policy = mapping.RefreshByAnswers
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.flows.Open(&mapping.Flow{In: in, Out: out}, policy, &mapping.Segment{}, st.advance(c.now)) {
		// Not reached but for a peering that another caller has opened with the same answers meanwhile: the record is closed again.
		st.others.ending = append(st.others.ending, answer)
		entered = true
		return out, ReasonConflict
	}
	st.made++
	entered = true
	return out, ReasonNone
}

// pair returns the external address of a subscriber, which it gets where it has none, and counts a session of it, that of a packet. The caller holds
// grants and no other lock.
func (e *Engine) pair(s *shard, key subscriberKey, in mapping.Header, now time.Time) (external uint32, why Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	if e.stopped.Load() {
		return 0, ReasonStopped
	}
	if why = e.charge(s, key.portless(), mapping.Endpoint{Addr: in.Dst}, in.Proto); why != ReasonNone {
		return 0, why
	}
	defer func() {
		if why != ReasonNone {
			e.unchargePortless(s, key, true)
		}
	}()
	sub, p := s.sub(key), e.pools[key.pool]
	if sub == nil && p.cfg.Map != nil {
		if sub, why = e.enrol(s, key); why != ReasonNone {
			return 0, why
		}
	}
	if sub == nil {
		if e.subscribers.Add(1) > int64(e.cfg.Limits.Subscribers) {
			e.subscribers.Add(-1)
			return 0, ReasonSubscriberLimit
		}
		p.mu.Lock()
		lease, err := p.choose(key)
		if err == nil {
			external = mapping.Number4(p.alloc.Address(lease.Position()))
		}
		p.mu.Unlock()
		if err != nil {
			e.subscribers.Add(-1)
			return 0, ReasonAddressesExhausted
		}
		sub = s.enter(key, external, e.account(s, nil, key))
		sub.lease = lease
		sub.holding.Init(p.layout)
		e.bindingEvent(s, logging.AddressBound, sub)
	}
	if int(sub.others) >= e.statics.others.perHost {
		return 0, ReasonSessionLimit
	}
	sub.others++
	return sub.external, ReasonNone
}

// portless returns what is charged with a session without ports of a subscriber.
func (k subscriberKey) portless() *party {
	return &party{accountKey{k.addr, k.realm}, withoutPorts, true}
}

// unchargePortless takes a session without ports off the account of a subscriber, with its tokens where it did not come to be. The caller holds mu.
func (e *Engine) unchargePortless(s *shard, key subscriberKey, unmade bool) {
	st, p := &e.statics, key.portless()
	st.mu.Lock()
	st.giveBack(p)
	st.mu.Unlock()
	if a := s.account(p.key); a != nil && unmade {
		a.refundSession(false)
	}
}

// unpair takes a session off the count of a subscriber. The caller holds grants and no other lock.
func (e *Engine) unpair(s *shard, key subscriberKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.sub(key); sub != nil {
		sub.others--
		e.unchargePortless(s, key, true)
	}
}

// finishPortless records the sessions that have ended, in order, until the log refuses a record, and frees what they held. The
// caller holds no lock.
func (e *Engine) finishPortless(now time.Time) {
	st := &e.statics
	st.finish.Lock()
	defer st.finish.Unlock()
	for {
		st.mu.Lock()
		if len(st.others.ending) == 0 {
			st.mu.Unlock()
			return
		}
		answer := st.others.ending[0]
		w := st.others.sessions[answer]
		st.mu.Unlock()
		r := e.portlessRecord(logging.SessionDeleted, w, answer, now)
		r.Reason, r.Allocated = logging.ReasonIdle, w.since
		err := e.cfg.Log.Append(&r)
		lost := err != nil && (e.cfg.LogPolicy == CountLoss || errors.Is(err, logging.ErrRecord))
		s := e.shardOf(w.key.realm, w.key.addr)
		s.mu.Lock()
		if err != nil {
			s.counts.recordsRefused++
		}
		if lost {
			s.counts.recordsLost++
		}
		if sub := s.sub(w.key); sub != nil && (err == nil || lost) {
			sub.others--
			e.unchargePortless(s, w.key, false)
		}
		s.mu.Unlock()
		if err != nil && !lost {
			return
		}
		st.mu.Lock()
		st.others.ending = st.others.ending[1:]
		delete(st.others.sessions, answer)
		st.mu.Unlock()
	}
}

// portlessRecord returns a record of a session without ports. The remote address is part of it, because nothing else tells hosts apart that share an
// external address.
func (e *Engine) portlessRecord(kind logging.Kind, w *other, answer mapping.Header, now time.Time) logging.Record {
	p := e.pools[w.key.pool]
	remote := mapping.Endpoint{Addr: answer.Src}
	return logging.Record{
		Kind: kind, Time: logging.MillisOf(now), Protocol: answer.Proto,
		Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch,
		PoolID: p.cfg.ID, Pool: p.cfg.Name, Class: uint32(w.key.class), Realm: e.realmName(w.key.realm),
		Subscriber: mapping.Addr4(w.key.addr), External: mapping.Addr4(answer.Dst),
		Internal: mapping.Endpoint{Addr: w.key.addr}.AddrPort(), Remote: remote.AddrPort(),
	}
}
