package natcore

import (
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// mappings reads the mappings of a shard.
func (r *reader) mappings(s *shard) {
	for range r.count(7) {
		sub := r.numbered(s)
		space, internal, scope := portblock.Space(r.u(uint64(mapping.UDPLite))), uint16(r.u(most16)), r.endpoint()
		port, left := uint16(r.u(most16)), time.Duration(r.u(uint64(mapping.MaxIdle.Milliseconds())))*time.Millisecond
		if r.err != nil {
			return
		}
		p := r.e.pools[sub.key.pool]
		m := mapping.Mapping{
			Realm: sub.key.realm, Space: space, Internal: mapping.Endpoint{Addr: sub.key.addr, Port: internal},
			External: mapping.Endpoint{Addr: sub.external, Port: port}, Block: sub.blockOf(p.layout, port),
		}
		m.Scope = mapping.ScopeOf(dependence[p.cfg.Mapping], sub.key.pool, sub.key.class, scope)
		shares := s.table.Taken(space, m.External, sub.key.class) // others have come before
		if m.Block == 0 || !s.table.AddMapping(&m, s.tick) {
			r.bad("a mapping of %v contradicts the rest", m.Internal)
			return
		}
		if sub.fixed != nil && m.Block == sub.fixed.id {
			sub.fixed.use(mapping.PortsOf(space), port)
		}
		if left > 0 {
			s.table.Keep(m.Realm, space, m.Internal, m.Scope, left, s.tick)
		}
		s.uses[sub.key.pool].mappings++
		if shares {
			continue
		}
		r.mapped[sub]++
		sub.account.ports[mapping.PortsOf(space)]++
		if a := sub.account.realm; a != nil {
			a.ports[mapping.PortsOf(space)].Add(1)
		}
	}
}

// numbered reads the number of a subscriber.
func (r *reader) numbered(s *shard) *subscriber {
	n := uint32(r.u(most32))
	if r.err == nil && (n >= s.list.next || s.list.find(n) == nil) {
		r.bad("a subscriber has no such number")
	}
	if r.err != nil {
		return nil
	}
	return s.list.at(n)
}

// sessions reads the sessions of a shard.
func (r *reader) sessions(s *shard) {
	for range r.count(14) {
		sub := r.numbered(s)
		space, internal, scope, remote := portblock.Space(r.u(uint64(mapping.UDPLite))), uint16(r.u(most16)), r.endpoint(), r.endpoint()
		v := mapping.SavedSession{}
		port := uint16(r.u(most16))
		v.State, _ = uint8(r.u(most8)), r.u(mapping.IdleClasses-1) // the class follows from Timeouts
		out, in := r.u(uint64(mapping.MaxIdle.Milliseconds())), r.u(uint64(mapping.MaxIdle.Milliseconds()))
		v.Sent, v.Heard = uint32(r.u(most32)), uint32(r.u(most32))
		if r.err != nil {
			return
		}
		p := r.e.pools[sub.key.pool]
		want, class := p.scope(remote)
		v.Scope = mapping.ScopeOf(want.On, want.Pool, class, scope)
		v.Session = mapping.Session{
			Realm: sub.key.realm, Space: space, Internal: mapping.Endpoint{Addr: sub.key.addr, Port: internal},
			External: mapping.Endpoint{Addr: sub.external, Port: port}, Remote: remote, Idle: r.e.timeouts.Load().class(space, remote),
		}
		v.Out, v.In = s.tick-mapping.Tick(out), s.tick-mapping.Tick(in)
		block := sub.blockOf(p.layout, port)
		if block == 0 || v.Scope != want || class != sub.key.class {
			r.bad("a session of %v is of no block", v.Internal)
			return
		}
		seen := s.table.LastPacket(block)
		if !s.table.RestoreSession(&v, s.tick) {
			r.bad("a session of %v contradicts the rest", v.Internal)
			return
		}
		s.table.RestoreLastPacket(block, seen)
		if p.cfg.Filtering == AddressDependent {
			s.table.Permit(space, v.External, remote.Addr, class)
		}
		sub.sessions++
		s.uses[sub.key.pool].sessions++
		r.e.sessions.Add(1)
		sub.account.sessions[mapping.PortsOf(space)]++
		if a := sub.account.realm; a != nil {
			a.sessions[mapping.PortsOf(space)].Add(1)
		}
	}
}

// whole checks that the live ports of a subscriber are those of its mappings.
func (r *reader) whole(s *shard, sub *subscriber) {
	layout, ports := r.e.pools[sub.key.pool].layout, 0
	for sp := range portblock.Space(portblock.NumSpaces) {
		if sub.fixed != nil {
			ports += sub.fixed.live[sp]
		}
		if layout == nil {
			continue
		}
		for port := range sub.holding.Live(sp) {
			ports++
			if !s.table.Taken(sp, mapping.Endpoint{Addr: sub.external, Port: port.Number}, sub.key.class) {
				r.bad("a port of %v has no mapping", mapping.Addr4(sub.key.addr))
				return
			}
		}
	}
	if ports != r.mapped[sub] {
		r.bad("the mappings of %v are on %d ports, %d are taken", mapping.Addr4(sub.key.addr), r.mapped[sub], ports)
	}
}

// portless reads the sessions of protocols without ports. Those that statics does not find live have ended, and their records are due.
func (r *reader) portless() {
	st := &r.e.statics
	counts := map[*subscriber]int{}
	for range r.count(8) {
		h := mapping.Header{Src: uint32(r.u(most32)), Dst: uint32(r.u(most32)), Proto: uint8(r.u(most8)), External: true}
		o := &other{key: r.key(), since: logging.Millis(r.i())}
		if r.err != nil {
			return
		}
		sub := r.e.shardOf(o.key.realm, o.key.addr).sub(o.key)
		if sub == nil || st.others.sessions[h] != nil {
			r.bad("a session without ports is nobody's")
			return
		}
		counts[sub]++
		r.e.useOf(sub.account).own[withoutPorts].Add(1)
		if a := sub.account.realm; a != nil {
			a.sessions[withoutPorts].Add(1)
		}
		st.others.sessions[h] = o
		st.others.ending = append(st.others.ending, h)
	}
	for _, s := range r.e.shards {
		for sub := range s.list.all() {
			if r.err == nil && int(sub.others) != counts[sub] {
				r.bad("%v has %d sessions without ports and counts %d", mapping.Addr4(sub.key.addr), counts[sub], sub.others)
			}
		}
	}
}
