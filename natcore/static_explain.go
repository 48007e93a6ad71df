package natcore

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// static looks whether the session is one of what is static, as call.leave does, and at what bounds it; done is false where it is not.
func (x *explanation) static(m *rule, space portblock.Space, internal, remote mapping.Endpoint, now time.Time) (why Reason, done bool) {
	e := x.e
	index := e.statics.index.Load()
	if index == nil {
		return 0, false
	}
	in := mapping.Header{Src: internal.Addr, SrcPort: internal.Port, Dst: remote.Addr, DstPort: remote.Port, Realm: uint16(x.q.Realm), Proto: x.q.Protocol}
	out, known := x.session(in, now)
	if !known {
		if within(index.guests[in.Realm], uint64(in.Dst)) {
			return ReasonNoSession, true
		}
		if m != nil && m.action != Translate && m.remoteMask != 0 {
			return 0, false
		}
		if out, done = x.translator(index, m, in); !done {
			return 0, false
		}
		if out == in { // nothing is translated: no session
			return ReasonNone, true
		}
	}
	if out.External {
		x.External = netip.AddrPortFrom(mapping.Addr4(out.Src), out.SrcPort)
	}
	why = x.staticLimits(space, mapping.Flow{In: in, Out: out}, now)
	if known {
		why = ReasonNone
	}
	return why, true
}

// translator finds what translates a session that begins with a packet, and returns how the packet leaves, but for a source out of Sources and a choice of
// servers. The packet itself stands for one that is not translated.
func (x *explanation) translator(index *staticIndex, m *rule, in mapping.Header) (out mapping.Header, ok bool) {
	for _, p := range index.peerings[in.Realm] {
		if p.covers(&in) {
			x.Static = p.cfg.Name
			return p.translate(in), true
		}
	}
	list, port := listOf(in.Proto, in.SrcPort)
	if s, _ := findStatic(index.internal, placeOf(in.Realm, in.Src), list, port); s != nil {
		x.Static = s.cfg.Name
		if s.identity {
			return in, true
		}
		return s.outward(in), true
	}
	if m != nil && m.action != Exempt {
		return in, false
	}
	list, port = listOf(in.Proto, in.DstPort)
	if s, _ := findStatic(index.external, uint64(in.Dst), list, port); s != nil && s.serves(in.Src) {
		x.Static = s.cfg.Name
		if s.identity || len(s.servers) > 0 {
			return in, true // the choice is not looked at, and so not what bounds the server
		}
		return s.inward(in, mapping.Endpoint{}), true
	}
	return in, false
}

// staticLimits notes what bounds a session of what is static: those who are charged with it, and the number of all.
func (x *explanation) staticLimits(space portblock.Space, w mapping.Flow, now time.Time) Reason {
	e, c := x.e, x.e.call(now)
	defer c.unlock()
	x.space = mapping.PortsOf(space)
	var all []Reason
	of, n := parties(&w)
	for i := range n {
		p := &of[i]
		s := c.lock(e.shardOf(p.key.realm, p.key.addr))
		x.key = subscriberKey{addr: p.key.addr, realm: p.key.realm}
		if x.a = s.account(p.key); x.a == nil {
			x.a = newAccount(p.key)
			e.settle(s, x.a)
		}
		if p.owns {
			own := int64(0)
			if x.a.static != nil {
				own = x.a.static.own.total()
			}
			chosen := e.quotas.Load().chosen(p.key.realm, p.key.addr, mapping.Endpoint{Addr: w.In.Dst, Port: w.In.DstPort}, w.In.Proto)
			all = append(all, x.bound("Limits.SessionsPerSubscriber", own, e.cfg.Limits.SessionsPerSubscriber, 0, chosen, ReasonSessionLimit), x.quotas(chosen, s.now))
			continue
		}
		all = append(all, x.inbound(s.now))
	}
	e.statics.mu.Lock()
	number, most := int64(e.statics.number), e.statics.most
	e.statics.mu.Unlock()
	return first(append(all, x.bound("Limits.StaticSessions", number, most, 0, true, ReasonSessionLimit))...)
}

// inbound notes what bounds the inbound sessions of a host. The caller has locked its shard.
func (x *explanation) inbound(now time.Time) Reason {
	who, q, used, b := fmt.Sprintf("the quota of %v, ", mapping.Addr4(x.key.addr)), x.a.quota, int64(0), bucket(0)
	if u := x.a.static; u != nil {
		used, b = u.inbound.total(), u.arriving
	}
	all := []Reason{
		x.bound("Limits.InboundPerSubscriber", used, x.e.cfg.Limits.InboundPerSubscriber, 0, true, ReasonSessionLimit),
		x.bound(who+"InboundSessions", used, q.InboundSessions, 0, true, ReasonSessionLimit),
		x.rate(who+"InboundRate", b, q.InboundRate, ReasonSessionRate, now),
	}
	if r := x.a.realm; r != nil {
		_, inRealm := x.names()
		all = append(all,
			x.bound(inRealm+"InboundSessions", r.inbound.total(), r.quota.InboundSessions, 0, true, ReasonRealmLimit),
			x.rate(inRealm+"InboundRate", bucket(r.arriving.Load()), r.quota.InboundRate, ReasonSessionRate, now))
	}
	if x.a.countInbound {
		all = append(all, x.quotas(false, now))
	}
	return first(all...)
}

// session looks for the session of a packet, and notes whose it is. One whose time is over ends, as it would for the packet.
func (x *explanation) session(in mapping.Header, now time.Time) (out mapping.Header, known bool) {
	st := &x.e.statics
	st.mu.Lock()
	defer st.mu.Unlock()
	tick := st.advance(x.e.advance(now))
	st.closeOver(in, tick)
	out, owner, known := st.flows.Peek(in, tick)
	if s := st.owners[owner]; known && s != nil {
		x.Static = s.cfg.Name
	} else if p := st.peers[owner]; known && p != nil {
		x.Static = p.cfg.Name
	}
	return out, known
}

// arrival looks at a session that a remote end begins: with a static endpoint, or by the mapping of an internal host, where no limit is met before the
// host answers.
func (x *explanation) arrival(now time.Time) Reason {
	e := x.e
	req := MapRequest{Internal: x.q.External, Protocol: x.q.Protocol, Lifetime: time.Second}
	space, external, rule := req.parse()
	from, ok := mapping.EndpointOf(x.q.Remote)
	if rule != "" || !ok {
		return ReasonMalformed
	}
	c := e.call(now)
	defer c.unlock()
	if e.stopped.Load() {
		return ReasonStopped
	}
	if c.own(from.Addr) {
		return ReasonSpoofed
	}
	x.External = x.q.External
	in := mapping.Header{Src: from.Addr, SrcPort: from.Port, Dst: external.Addr, DstPort: external.Port, Proto: x.q.Protocol, External: true}
	if space == portblock.ICMP {
		in.SrcPort, in.DstPort = external.Port, 0
	}
	if c.static != nil {
		if out, known := x.session(in, now); known {
			x.arrives(out)
			_ = x.staticLimits(space, mapping.Flow{In: in, Out: out}, now)
			return ReasonNone
		}
		list, port := listOf(in.Proto, external.Port)
		if s, _ := findStatic(c.static.external, uint64(in.Dst), list, port); s != nil {
			return x.staticArrival(s, space, in, now)
		}
		if _, _, pooled := e.external.find(in.Dst); !pooled && c.static.owns(in.Dst) {
			return ReasonNoMapping
		}
	}
	remote := remoteOf(space, from.Addr, from.Port)
	s, class, pool, why := c.holder(external, remote)
	if why != ReasonNone {
		return why
	}
	p := e.pools[pool]
	x.Pool = p.cfg.Name
	if w, known := s.table.Peek(space, external, class, remote); known {
		old, over := s.table.CloseOver(w.Realm, space, w.Internal, remote, s.tick)
		if !over {
			x.Internal = w.Internal.AddrPort()
			return ReasonNone
		}
		e.sessionEnded(s, &old) // as a packet would
	}
	internal, _, held := e.holderOf(s, p, class, space, external, remote)
	switch {
	case !held:
		return ReasonNoMapping
	case !p.admits(s.table, space, external, remote, class):
		return ReasonFiltered
	}
	x.Internal = internal.AddrPort()
	return ReasonNone
}

// arrives notes where a session from outside leads to.
func (x *explanation) arrives(out mapping.Header) {
	to := mapping.Endpoint{Addr: out.Dst, Port: out.DstPort}
	if out.Proto == rewrite.ProtoICMP {
		to.Port = out.SrcPort
	}
	x.Internal = to.AddrPort()
}

// staticArrival looks at a session that a remote end begins with a static endpoint.
func (x *explanation) staticArrival(s *static, space portblock.Space, in mapping.Header, now time.Time) Reason {
	e := x.e
	x.Static = s.cfg.Name
	switch {
	case !s.serves(in.Src):
		return ReasonFiltered
	case s.identity:
		x.Internal = x.q.External
		return ReasonNone
	case s.cfg.Filtering != EndpointIndependent && !e.statics.permitted(s, &in):
		return ReasonFiltered
	}
	var to mapping.Endpoint
	if len(s.servers) > 0 {
		to = e.statics.wouldChoose(s, &in, now)
	}
	out := s.inward(in, to)
	x.arrives(out)
	why := x.staticLimits(space, mapping.Flow{In: in, Out: out}, now)
	e.statics.mu.Lock()
	begun := 0
	if live := e.statics.owners[s.id]; live != nil {
		begun = live.sessions
	}
	e.statics.mu.Unlock()
	return first(why, x.bound(fmt.Sprintf("MaxSessions of static mapping %q", s.cfg.Name), int64(begun), s.cfg.MaxSessions, 0, true, ReasonSessionLimit))
}
