package natcore

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// savedOwner is a static mapping or a peering of the saved engine: its name, and what the configuration has of that name.
type savedOwner struct {
	name    string
	peering bool
	static  *static
	peer    *peering
}

// statics reads the sessions of static mappings, peerings and protocols without ports. Those of the first two go on that the configuration still makes: a mapping or a peering of the same name would translate their first packet
// as it was translated. The others have ended.
func (r *reader) statics(clock time.Time) {
	st := &r.e.statics
	st.sources.rnd = rand.NewChaCha8(r.secret())
	st.flows = mapping.NewFlows(mapping.Timeouts{}, 0, clock)
	st.setTimeouts(r.e.timeouts.Load(), r.e.cfg.RefreshInbound, false)
	st.tick, st.now = st.flows.Advance(clock), clock
	owners := r.owners()
	for range r.count(19) {
		r.flow(owners)
	}
	st.others.ending = slices.DeleteFunc(st.others.ending, func(answer mapping.Header) bool { return st.flows.Taken(answer) })
	r.resting()
	for range r.count(6) {
		n, client, to, left := r.u(uint64(len(owners))), r.endpoint(), r.endpoint(), r.u(uint64(mapping.MaxIdle.Milliseconds()))
		switch {
		case r.err != nil || int(n) == len(owners):
			r.bad("a client is of no static mapping")
		case owners[n].static != nil && len(st.affinity) < maxAffinity: // a server that is none any more is not taken
			st.affinity[affinityKey{client, owners[n].static.id}] = affine{to, st.ms() + int64(left)}
		}
	}
	r.uses()
}

// owners reads the names of what has sessions.
func (r *reader) owners() []savedOwner {
	e := r.e
	var all []savedOwner
	for range r.count(2) {
		o := savedOwner{peering: r.u(1) == 1}
		o.name = string(r.bytes(r.count(1)))
		if x := e.statics.index.Load(); x != nil && r.err == nil {
			if o.peering {
				for _, p := range x.peerID {
					if p.cfg.Name == o.name {
						o.peer = p
					}
				}
			} else {
				o.static = x.byName[o.name]
			}
		}
		all = append(all, o)
	}
	return all
}

func (r *reader) header(proto uint8) mapping.Header {
	h := mapping.Header{Proto: proto, External: r.u(1) == 1, Realm: uint16(r.u(most16))}
	src, dst := r.endpoint(), r.endpoint()
	h.Src, h.SrcPort, h.Dst, h.DstPort = src.Addr, src.Port, dst.Addr, dst.Port
	return h
}

// flow reads a session and enters it, with all that it holds, if it may go on.
func (r *reader) flow(owners []savedOwner) {
	st := &r.e.statics
	n, proto := r.u(uint64(len(owners))), uint8(r.u(most8))
	var v mapping.SavedFlow
	v.In, v.Out = r.header(proto), r.header(proto)
	v.Note, v.Policy = uint32(r.u(noteRemote|noteSource)), mapping.FlowPolicy(r.u(uint64(mapping.RefreshByAnswers|mapping.Unsolicited)))
	v.Answered = r.u(1) == 1
	kept := r.u(1) == 1
	v.LastSeen = st.tick - mapping.Tick(r.u(uint64(mapping.MaxIdle.Milliseconds())))
	v.State = mapping.StartOf(proto)
	if proto == rewrite.ProtoTCP {
		v.State, v.Sent = uint8(r.u(most8)), [2]uint32{uint32(r.u(most32)), uint32(r.u(most32))}
	}
	if r.err != nil {
		return
	}
	if int(n) == len(owners) {
		r.portlessFlow(&v)
		return
	}
	o, own := &owners[n], (*sourceOwner)(nil)
	allowed := false
	switch {
	case o.static != nil:
		v.Owner = o.static.id
		own, allowed = o.static.carries(r.e.statics.index.Load(), &v.Flow)
	case o.peer != nil:
		v.Owner = o.peer.id
		own, allowed = o.peer.carries(&v.Flow)
	}
	if !allowed {
		if st.recorded && (!v.In.External || !v.Out.External) {
			r.dropped = append(r.dropped, st.describe(&v.Flow, o.name, o.peering, logging.SessionDeleted, logging.ReasonConfig))
		}
		return
	}
	v.Idle = st.timeouts.flowClass(v.In)
	if st.others.blocked(v.Out.Reverse()) || st.others.blocked(v.In) || own != nil && !st.restoreSource(&v.Flow, own, kept) || !st.flows.Restore(&v, st.tick) {
		r.bad("a static session %v contradicts the rest", v.In)
		return
	}
	st.number++
	if s := o.static; s != nil && v.Note&noteRemote != 0 {
		s.sessions++
	} else if s != nil && s.cfg.Filtering == AddressDependent {
		st.permits[permitOf(&v.Flow)]++
	}
	r.charge(&v.Flow)
}

// portlessFlow enters a session of Config.Protocols, which goes on where its protocol is still among them; portless has read the rest of it.
func (r *reader) portlessFlow(v *mapping.SavedFlow) {
	e, st := r.e, &r.e.statics
	in := v.In
	o := st.others.sessions[v.Out.Reverse()]
	if o == nil || o.key.addr != in.Src || o.key.realm != in.Realm || in.External || hasPorts(in.Proto) || !plausible(&in) || v.Note != 0 {
		r.bad("a session without ports is nobody's")
		return
	}
	want := in.Outside()
	want.Src = e.shardOf(in.Realm, in.Src).sub(o.key).external
	if v.Out != want {
		r.bad("a session without ports has another address than its subscriber")
		return
	}
	if x := st.index.Load(); x != nil && x.chosen(in.Proto) && !st.flows.Restore(v, st.tick) {
		r.bad("a session %v contradicts the rest", in)
	}
}

// charge counts a restored session for its hosts, whatever the quotas are.
func (r *reader) charge(w *mapping.Flow) {
	of, n := parties(w)
	for i := range n {
		p := &of[i]
		a := r.e.accountAt(r.e.shardOf(p.key.realm, p.key.addr), p.key)
		u := r.e.useOf(a)
		if p.owns {
			u.own[p.place].Add(1)
		} else {
			u.inbound[p.place].Add(1)
		}
		switch {
		case a.realm == nil:
		case p.owns:
			a.realm.sessions[p.place].Add(1)
		default:
			a.realm.inbound[p.place].Add(1)
		}
	}
}

// carries reports whether the mapping would translate a session as it is translated, and returns the source addresses that it takes one of.
func (s *static) carries(x *staticIndex, w *mapping.Flow) (own *sourceOwner, ok bool) {
	in, out := w.In, w.Out
	if s.identity || !plausible(&in) || !plausible(&out) {
		return nil, false
	}
	if w.Note&noteRemote == 0 {
		list, port := listOf(in.Proto, in.SrcPort)
		from, _ := findStatic(x.internal, placeOf(in.Realm, in.Src), list, port)
		return nil, from == s && !in.External && w.Note == 0 && out == s.outward(in)
	}
	port := in.DstPort
	if in.Proto == rewrite.ProtoICMP {
		port = in.SrcPort
	}
	list, port := listOf(in.Proto, port)
	if to, _ := findStatic(x.external, uint64(in.Dst), list, port); to != s || !s.serves(in.Src) {
		return nil, false
	}
	want := s.inward(in, mapping.Endpoint{})
	for _, v := range s.servers {
		if v.at.Addr == out.Dst {
			want = s.inward(in, v.at)
			if want.DstPort == out.DstPort {
				break
			}
		}
	}
	return sourced(w, want, s.sourcesFor(&in, &want))
}

// carries is carries for a peering.
func (p *peering) carries(w *mapping.Flow) (own *sourceOwner, ok bool) {
	in := w.In
	if w.Note&noteRemote == 0 || in.External || in.Realm != p.from.Realm || !plausible(&in) || !plausible(&w.Out) || !p.covers(&in) {
		return nil, false
	}
	return sourced(w, p.translate(in), p.sources)
}

// sourced reports whether a session leaves as it should, and with a source out of own where that is set.
func sourced(w *mapping.Flow, want mapping.Header, own *sourceOwner) (*sourceOwner, bool) {
	if own == nil {
		return nil, w.Note == noteRemote && w.Out == want
	}
	ports := own.ports
	if w.In.Proto == rewrite.ProtoICMP {
		ports = own.ids
	}
	_, ported := spaceOfProto(w.In.Proto)
	declared := slices.ContainsFunc(own.declared, func(s [2]uint64) bool { return s[0] <= uint64(w.Out.Src) && uint64(w.Out.Src) <= s[1] })
	want.Src, want.SrcPort = w.Out.Src, w.Out.SrcPort
	return own, w.Note == noteRemote|noteSource && w.Out == want && declared && (!ported || ports.Contains(w.Out.SrcPort))
}

// plausible reports whether a header is one that packets can have: the external realm has no number, and who has no ports has none.
func plausible(h *mapping.Header) bool {
	switch {
	case h.External && h.Realm != 0, h.Proto == 33, h.Proto == 51:
		return false
	case h.Proto == rewrite.ProtoICMP:
		return h.DstPort == 0
	}
	return hasPorts(h.Proto) || h.SrcPort == 0 && h.DstPort == 0
}

// restoreSource enters the source endpoint of a session; kept says that it is the one that its first end comes back to. It returns false when somebody else has it.
func (st *statics) restoreSource(w *mapping.Flow, own *sourceOwner, kept bool) bool {
	space, ported := spaceOfProto(w.In.Proto)
	if !ported {
		return true
	}
	e, key := mapping.Endpoint{Addr: w.Out.Src, Port: w.Out.SrcPort}, sourceKeyOf(w)
	if k, known := st.sources.kept[key]; kept && known {
		if k.as != e {
			return false
		}
		k.sessions++
		st.sources.kept[key] = k
		return true
	}
	if !st.sources.enter(sourceAddr{own.realm, e.Addr, space}, e.Port) {
		return false
	}
	if kept {
		st.sources.kept[key] = keptSource{e, 1}
	}
	return true
}

// resting reads the source endpoints that rest. Those of addresses that nobody declares any more are free.
func (r *reader) resting() {
	st := &r.e.statics
	x := st.index.Load()
	last := int64(0)
	for range r.count(6) {
		a := sourceAddr{realm: sourceRealm{external: r.u(1) == 1}}
		a.realm.realm, a.addr, a.space = uint16(r.u(most16)), uint32(r.u(most32)), portblock.Space(r.u(uint64(portblock.NumSpaces-1)))
		port, left := uint16(r.u(most16)), int64(r.u(uint64(sourceHold.Milliseconds())))
		if r.err == nil && (left < last || a.realm.external && a.realm.realm != 0) {
			r.bad("source endpoints rest in no order")
		}
		last = left
		if r.err != nil {
			return
		}
		if x == nil || a.realm.external && !within(x.sources, uint64(a.addr)) || !a.realm.external && !within(x.guests[a.realm.realm], uint64(a.addr)) {
			continue
		}
		if !st.sources.enter(a, port) {
			r.bad("a source endpoint rests and is in use")
			return
		}
		st.sources.resting = append(st.sources.resting, restingSource{a, port, st.ms() + left})
	}
}

// uses reads what rates of hosts and realms have used up.
func (r *reader) uses() {
	e := r.e
	for range r.count(5) {
		k := accountKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32))}
		opening, making, arriving := bucket(r.i()), bucket(r.i()), bucket(r.i())
		if r.err != nil {
			return
		}
		a := e.accountAt(e.shardOf(k.realm, k.addr), k)
		a.opening, a.mapping, e.useOf(a).arriving = opening, making, arriving
	}
	for range r.count(2) {
		realm, arriving := uint16(r.u(most16)), r.i()
		if a := e.quotas.Load().realms[realm]; a != nil {
			a.arriving.Store(arriving)
		}
	}
}

// recordDropped records the end of the sessions that do not go on, where sessions are recorded.
func (e *Engine) recordDropped(notes []sessionNote) {
	for i := range notes {
		r := e.sessionRecord(&notes[i])
		if !e.offer(e.cfg.Log, &r) {
			e.events.lost.Add(1)
		}
	}
}
