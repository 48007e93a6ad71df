package mapping

import "github.com/blocknat/blocknat/portblock"

// Session is one mapping used with one remote endpoint.
type Session struct {
	Realm    uint16
	Space    portblock.Space
	Internal Endpoint
	External Endpoint
	Remote   Endpoint
	Phase    Phase
	// Idle is the class of timeouts, from 0 to IdleClasses-1.
	Idle uint8
}

// Ended is a session that was removed.
type Ended struct {
	Session
	// Block is the block of its external endpoint.
	Block BlockID
	// Unmapped says that the mapping had no other use and was removed as well, Shared that its external endpoint still
	// serves other mappings. An endpoint that is unmapped and not shared is free.
	Unmapped, Shared bool
}

func (r *half) session() Session {
	return Session{
		Realm: r.realm(), Space: r.space(), Internal: r.internal(), External: r.external(),
		Remote: r.remote(), Phase: Phase(r.state() & phaseMask), Idle: r.idleClass(),
	}
}

// Open enters a session of an existing mapping, begun by a packet from the internal end; seg counts for TCP only. It
// returns false, and changes nothing, when the mapping is not there
// or the session is. Close and Expire give it back.
func (t *Table) Open(o *Session, scope Scope, seg *Segment, now Tick) bool {
	near := nearInternal(o.Realm, o.Internal)
	p := t.out.anchor(near, o.Space)
	if p.seg == nil {
		return false
	}
	a := p.half()
	remote := o.Remote.pack()
	if a.hasSession() && (a.peer^remote)&endMask == 0 {
		return false
	}
	m := p
	if of := t.isOf(p, scope); a.crowded() || !of {
		if t.out.session(near, o.Space, remote).seg != nil {
			return false
		}
		if !of {
			if m = t.out.mapping(near, o.Space, scope.key()); m.seg == nil {
				return false
			}
		}
	}
	if m.half().external() != o.External || m.half().pool() != scope.Pool {
		return false
	}
	block := *m.block()
	t.sessions++
	t.blocks.at(block).seen = now

	n := half{
		near: near, peer: remote | what(session, o.Space) | uint64(scope.On)<<scopeShift,
		far: o.External.pack() | uint64(scope.Pool)<<poolShift | uint64(o.Idle&idleMask), seen: now,
	}
	back := half{
		near: nearExternal(o.External, scope.Class), peer: n.peer, far: near, seen: now,
	}
	begin(&n, &back, seg)
	t.in.addSession(&back, scope.On)

	if m == p && !a.hasSession() {
		c := t.out.crowd(a)
		a.take(&n)
		c.sessions++
		t.out.setCrowd(a, c)
		t.hint(p, now)
		return true
	}
	sessions, until, explicit := t.usage(m)
	t.setUsage(m, sessions+1, until, explicit)
	c := t.out.crowd(a)
	c.others++
	t.out.setCrowd(a, c)
	t.enter(&n, block, now)
	return true
}

// take lets an anchor hold a session of its mapping.
func (r *half) take(n *half) {
	r.peer = r.peer&(whatMask|scopeMask|flagMapping|flagCrowd) | n.peer&(endMask|stateMask)
	r.far, r.seen, r.next = n.far, n.seen, n.next
}

// addSession enters the half of a session on the inbound side, whose mapping is there.
func (x *side) addSession(n *half, on Dependence) {
	p := x.anchor(n.near, n.space())
	a := p.half()
	if a.hasMapping() && !a.hasSession() && a.far == n.far && a.remote().as(on) == n.remote().as(on) {
		a.take(n)
		return
	}
	c := x.crowd(a)
	c.others++
	x.setCrowd(a, c)
	x.insert(n)
}

// removeSession takes out the half of a session on the inbound side. Its mapping stays.
func (x *side) removeSession(near uint64, space portblock.Space, remote uint64) {
	p := x.anchor(near, space)
	if a := p.half(); a.hasSession() && (a.peer^remote)&endMask == 0 {
		a.rest()
		return
	}
	x.remove(x.session(near, space, remote))
	x.leave(near, space)
}

// rest lets an anchor hold its mapping without a session.
func (r *half) rest() {
	r.peer = r.remote().as(r.dependence()).pack() | r.peer&(whatMask|scopeMask|flagMapping|flagCrowd)
}

// Close removes a session at once, whether its idle time is over or not.
func (t *Table) Close(realm uint16, space portblock.Space, internal, remote Endpoint, now Tick) (e Ended, ok bool) {
	p := t.session(realm, space, internal, remote)
	if p.seg == nil {
		return Ended{}, false
	}
	return t.end(p, now), true
}

// CloseInbound is Close by the external side, for a session that Inbound did not find because it is over.
func (t *Table) CloseInbound(space portblock.Space, external Endpoint, class uint16, remote Endpoint, now Tick) (e Ended, ok bool) {
	p := t.arriving(space, external, class, remote)
	if p.seg == nil {
		return Ended{}, false
	}
	return t.end(p, now), true
}

// end removes a session, with its mapping when that has no other use.
func (t *Table) end(p spot, now Tick) Ended {
	if e, ok := t.endLast(p); ok {
		return e
	}
	r := p.half()
	e := Ended{Session: r.session(), Block: *p.block()}
	scope := t.scopeOf(p)
	t.sessions--
	t.in.removeSession(nearExternal(e.External, scope.Class), e.Space, e.Remote.pack())
	if r.kind() == anchor {
		c := t.out.crowd(r)
		r.rest()
		c.sessions--
		t.out.setCrowd(r, c)
	} else {
		near := r.near
		t.out.remove(p)
		t.out.leave(near, e.Space)
		p = t.holder(near, e.Space, scope)
		sessions, until, explicit := t.usage(p)
		t.setUsage(p, sessions-1, until, explicit)
	}
	if t.lapse(p, now) {
		m := t.unmap(p)
		e.Unmapped, e.Shared = true, m.Shared
	}
	return e
}
