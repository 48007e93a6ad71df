package natcore

import (
	"fmt"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// staticSessions yields the sessions of static mappings, peerings and protocols without ports, as Sessions does the others.
func (e *Engine) staticSessions(yield func(SessionInfo) bool) bool {
	st := &e.statics
	var page []mapping.Flow
	for part := 0; part >= 0; {
		st.mu.Lock()
		page, part = st.flows.Append(page[:0], part)
		now := e.time()
		tick := st.advance(now)
		infos := make([]SessionInfo, len(page))
		for i := range page {
			infos[i] = st.info(&page[i], now, tick)
		}
		st.mu.Unlock()
		for _, info := range infos {
			if !yield(info) {
				return false
			}
		}
	}
	return true
}

// info describes a session. The caller holds mu.
func (st *statics) info(w *mapping.Flow, now time.Time, tick mapping.Tick) SessionInfo {
	inner, outer, phase := w.In, w.Out, w.Phase
	if w.In.External {
		inner, outer = w.Out.Reverse(), w.In.Reverse()
		switch phase { // the table takes the first end for the internal one
		case mapping.FinInternal:
			phase = mapping.FinRemote
		case mapping.FinRemote:
			phase = mapping.FinInternal
		}
	}
	name := ""
	if s := st.owners[w.Owner]; s != nil {
		name = s.cfg.Name
	} else if p := st.peers[w.Owner]; p != nil {
		name = p.cfg.Name
	}
	return SessionInfo{
		Realm: Realm(inner.Realm), Protocol: inner.Proto, Static: name, Inbound: w.In.External,
		Internal: mapping.Endpoint{Addr: inner.Src, Port: inner.SrcPort}.AddrPort(),
		External: mapping.Endpoint{Addr: outer.Src, Port: outer.SrcPort}.AddrPort(),
		Remote:   mapping.Endpoint{Addr: outer.Dst, Port: outer.DstPort}.AddrPort(),
		Seen:     mapping.Endpoint{Addr: inner.Dst, Port: inner.DstPort}.AddrPort(),
		State:    phase.String(), LastSeen: now.Add(time.Duration(int32(w.LastSeen-tick)) * time.Millisecond),
	}
}

// staticHosts tells to whom sessions of what is static and of protocols without ports are charged.
func (e *Engine) staticHosts() []SubscriberInfo {
	st := &e.statics
	st.mu.Lock()
	defer st.mu.Unlock()
	all := make([]SubscriberInfo, 0, len(st.uses))
	for k, u := range st.uses {
		if !u.idle() {
			all = append(all, SubscriberInfo{Realm: Realm(k.realm), Internal: mapping.Addr4(k.addr), Sessions: int(u.own.total()), Inbound: int(u.inbound.total())})
		}
	}
	return all
}

// EndSession ends a session that Sessions has told, and reports whether it was still there. What its ends
// send afterwards is as of any other packet: a session may begin anew.
func (e *Engine) EndSession(info SessionInfo, now time.Time) bool {
	internal, ok1 := mapping.EndpointOf(info.Internal)
	remote, ok2 := mapping.EndpointOf(info.Remote)
	if !ok1 || !ok2 {
		return false
	}
	c := e.call(now)
	if space := slices.Index(protocols[:], info.Protocol); space >= 0 && info.Static == "" {
		s := c.lock(e.shardOf(uint16(info.Realm), internal.Addr))
		old, ok := s.table.Close(uint16(info.Realm), portblock.Space(space), internal, remote, s.tick)
		if ok {
			e.sessionEnded(s, &old)
		}
		c.unlock()
		return ok
	}
	seen, _ := mapping.EndpointOf(info.Seen)
	h := mapping.Header{
		Src: internal.Addr, SrcPort: internal.Port, Dst: seen.Addr, DstPort: seen.Port,
		Realm: uint16(info.Realm), Proto: info.Protocol,
	}
	st := &e.statics
	st.mu.Lock()
	st.advance(c.now)
	w, ok := st.flows.Close(h)
	if ok {
		st.ended(&w)
	}
	st.mu.Unlock()
	e.finishPortless(c.now)
	return ok
}

// checkFlows holds the counts of statics against the sessions. The caller has locked all shards.
func (e *Engine) checkFlows() error {
	st := &e.statics
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.flows.CheckInvariants(); err != nil {
		return err
	}
	number, live := 0, 0
	charged := map[accountKey]*staticUse{}
	charge := func(p *party) {
		u := charged[p.key]
		if u == nil {
			u = &staticUse{}
			charged[p.key] = u
		}
		if p.owns {
			u.own[p.place].Add(1)
		} else {
			u.inbound[p.place].Add(1)
		}
	}
	begun := map[uint32]int{}
	permits := map[permitKey]uint32{}
	used := map[sourceAddr]map[uint16]bool{}
	take := func(a sourceAddr, port uint16) {
		if used[a] == nil {
			used[a] = map[uint16]bool{}
		}
		used[a][port] = true
	}
	var page []mapping.Flow
	for part := 0; part >= 0; {
		page, part = st.flows.Append(page[:0], part)
		for i := range page {
			w := &page[i]
			if w.Owner == 0 {
				live++
				if !st.others.blocked(w.Out.Reverse()) {
					return fmt.Errorf("natcore: session %v of a protocol without ports is not noted", w.In)
				}
				continue
			}
			number++
			of, n := parties(w)
			for j := range n {
				charge(&of[j])
			}
			s, own := st.owners[w.Owner], (*sourceOwner)(nil)
			if s != nil {
				own = s.sources
				if w.Note&noteRemote != 0 {
					begun[s.id]++
				} else if s.cfg.Filtering == AddressDependent {
					permits[permitOf(w)]++
				}
			} else if p := st.peers[w.Owner]; p != nil {
				own = p.sources
			} else {
				return fmt.Errorf("natcore: static session %v of nobody", w.In)
			}
			if space, ported := spaceOfProto(w.In.Proto); ported && w.Note&noteSource != 0 {
				take(sourceAddr{own.realm, w.Out.Src, space}, w.Out.SrcPort)
			}
		}
	}
	if number != st.number || live+len(st.others.ending) != len(st.others.sessions) {
		return fmt.Errorf("natcore: %d static sessions, counted %d; %d without ports and %d ended, counted %d", number, st.number, live, len(st.others.ending), len(st.others.sessions))
	}
	for id, s := range st.owners {
		if s.sessions != begun[id] {
			return fmt.Errorf("natcore: static mapping %q has %d sessions from outside, counted %d", s.cfg.Name, begun[id], s.sessions)
		}
	}
	if len(permits) != len(st.permits) {
		return fmt.Errorf("natcore: %d permits of static mappings, counted %d", len(permits), len(st.permits))
	}
	for _, r := range st.sources.resting {
		take(r.addr, r.port)
	}
	if len(used) != len(st.sources.used) {
		return fmt.Errorf("natcore: source endpoints of %d addresses, counted %d", len(used), len(st.sources.used))
	}
	for a, ports := range used {
		if b := st.sources.used[a]; b == nil || b.n != len(ports) {
			return fmt.Errorf("natcore: %d source endpoints of %v, counted otherwise", len(ports), mapping.Addr4(a.addr))
		}
	}
	held := map[subscriberKey]int{}
	for _, o := range st.others.sessions {
		held[o.key]++
		charge(o.key.portless())
	}
	if err := e.checkUses(charged); err != nil {
		return err
	}
	for _, s := range e.shards {
		for sub := range s.list.all() {
			if int(sub.others) != held[sub.key] {
				return fmt.Errorf("natcore: subscriber %v has %d sessions without ports, counted %d", mapping.Addr4(sub.key.addr), held[sub.key], sub.others)
			}
			delete(held, sub.key)
		}
	}
	if len(held) > 0 {
		return fmt.Errorf("natcore: %d subscribers with sessions without ports are not there", len(held))
	}
	return nil
}

// checkUses holds what accounts have of what is static against a count of it. The caller has locked all shards and statics.
func (e *Engine) checkUses(charged map[accountKey]*staticUse) error {
	known := 0
	for _, s := range e.shards {
		for a := range s.accounts.all() {
			k := a.key()
			if a.static == nil {
				continue
			}
			known++
			if e.statics.uses[k] != a.static {
				return fmt.Errorf("natcore: the static sessions of %v are counted elsewhere", mapping.Addr4(k.addr))
			}
			want := charged[k]
			if want == nil {
				want = &staticUse{}
			}
			delete(charged, k)
			for i := range want.own {
				if o, in := a.static.own[i].Load(), a.static.inbound[i].Load(); o != want.own[i].Load() || in != want.inbound[i].Load() {
					return fmt.Errorf("natcore: %v has %d own and %d inbound static sessions of place %d, counted %d and %d",
						mapping.Addr4(k.addr), want.own[i].Load(), want.inbound[i].Load(), i, o, in)
				}
			}
		}
	}
	if len(charged) > 0 && !e.stopped.Load() || known != len(e.statics.uses) {
		return fmt.Errorf("natcore: static sessions of %d hosts are not charged, or of %d hosts that have no account", len(charged), len(e.statics.uses)-known)
	}
	return nil
}
