package natcore

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
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
	out, known := e.statics.peek(in, e.advance(now))
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
	if x.Static == "" {
		x.Static = e.statics.nameOf(in)
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
		if x.a = s.accounts[p.key]; x.a == nil {
			x.a = &account{key: p.key}
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

// nameOf returns the name of what has the session of a packet, or nothing.
func (st *statics) nameOf(in mapping.Header) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, owner, ok := st.flows.Peek(in, st.tick)
	if !ok {
		return ""
	}
	if s := st.owners[owner]; s != nil {
		return s.cfg.Name
	}
	if p := st.peers[owner]; p != nil {
		return p.cfg.Name
	}
	return ""
}
