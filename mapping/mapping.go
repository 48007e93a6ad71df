package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Mapping ties an internal endpoint to an external one.
type Mapping struct {
	Realm    uint16
	Space    portblock.Space
	Internal Endpoint
	External Endpoint
	// Scope says which remote endpoints it serves.
	Scope Scope
	// Block is the block that External is of.
	Block BlockID
	// Shared says, of a mapping that was removed, that its external endpoint still serves others.
	Shared bool
}

// holder finds the half that holds the mapping of an internal endpoint in a scope.
func (t *Table) holder(near uint64, space portblock.Space, scope Scope) spot {
	p := t.out.anchor(near, space)
	if p.seg == nil || t.isOf(p, scope) {
		return p
	}
	if !p.half().crowded() {
		return spot{}
	}
	if p = t.out.mapping(near, space, scope.key()); p.seg == nil || p.half().pool() != scope.Pool {
		return spot{}
	}
	return p
}

// Mapped looks up the mapping of an internal endpoint in a scope.
func (t *Table) Mapped(realm uint16, space portblock.Space, internal Endpoint, scope Scope) (external Endpoint, ok bool) {
	p := t.holder(nearInternal(realm, internal), space, scope)
	if p.seg == nil {
		return Endpoint{}, false
	}
	return p.half().external(), true
}

// Holder returns the internal endpoint, with its realm, whose mapping serves a remote endpoint at an external one; class is that
// of the remote endpoint. Where there is a single mapping that serves others only, it is that one's: filtering is for the caller.
func (t *Table) Holder(space portblock.Space, external Endpoint, class uint16, remote Endpoint) (internal Endpoint, realm uint16, ok bool) {
	near := nearExternal(external, class)
	p := t.in.anchor(near, space)
	if p.seg == nil {
		return Endpoint{}, 0, false
	}
	r := p.half()
	if on := r.dependence(); r.crowded() && (!r.hasMapping() || r.remote().as(on) != remote.as(on)) {
		if p = t.in.mapping(near, space, ScopeOf(on, 0, class, remote).arrivingKey()); p.seg != nil {
			r = p.half()
		} else if c := t.in.crowd(r); c.sessions > 0 {
			if r.hasMapping() || c.sessions > 1 {
				return Endpoint{}, 0, false
			}
			r = t.in.mapping(near, space, c.keys).half()
		}
	}
	return unpack(r.far), uint16(r.far), true
}

// Taken reports whether an external port has any mapping, of this space or of another one that has the same ports.
func (t *Table) Taken(space portblock.Space, external Endpoint, class uint16) bool {
	for s := range portblock.Space(spaces) {
		if PortsOf(s) == PortsOf(space) && t.in.anchor(nearExternal(external, class), s).seg != nil {
			return true
		}
	}
	return false
}

// Fits reports whether an external port can have a mapping of a scope: it has none, or others which all depend on the remote
// endpoint as this one does, and on other ones (port overloading, RFC 4787 section 4.2.1; RFC 7857 section 3).
func (t *Table) Fits(space portblock.Space, external Endpoint, scope Scope) bool {
	near := nearExternal(external, scope.Class)
	if t.sharing(space) && t.others(near, space) {
		return false
	}
	p := t.in.anchor(near, space)
	if p.seg == nil {
		return true
	}
	r := p.half()
	if scope.On == OnNothing || r.dependence() != scope.On || r.hasMapping() && r.remote().as(scope.On) == scope.Remote {
		return false
	}
	return !r.crowded() || t.in.mapping(near, space, scope.arrivingKey()).seg == nil
}

// AddMapping enters a mapping without sessions. It returns false, and changes nothing, when the internal endpoint has one in that
// scope, or one towards the same remote endpoint alone in another pool, the external endpoint cannot have it (see Fits), or its block is of another realm, internal or external address, or class.
func (t *Table) AddMapping(m *Mapping, now Tick) bool {
	if !t.belongs(m) || !t.Fits(m.Space, m.External, m.Scope) {
		return false
	}
	near := nearInternal(m.Realm, m.Internal)
	p := t.out.anchor(near, m.Space)
	n := half{near: near, far: m.External.pack() | uint64(m.Scope.Pool)<<poolShift}
	flags := uint64(m.Scope.On)<<scopeShift | flagMapping
	switch {
	case p.seg == nil:
		n.peer = m.Scope.Remote.pack() | what(anchor, m.Space) | flags
		n.seen = now
		t.enter(&n, m.Block, now)
	case t.isOf(p, m.Scope) || p.half().crowded() && t.out.mapping(near, m.Space, m.Scope.key()).seg != nil:
		return false
	case !p.half().hasMapping():
		a := p.half()
		a.peer, a.far = m.Scope.Remote.pack()|what(anchor, m.Space)|flags|a.peer&flagCrowd, n.far
		a.seen, a.next = now, 0
		*p.block() = m.Block
		t.hint(p, now)
	default:
		c := t.out.crowd(p.half())
		c.others++
		t.out.setCrowd(p.half(), c)
		n.peer = m.Scope.key() | what(mapped, m.Space) | flags
		t.enter(&n, m.Block, now)
	}
	t.in.addMapping(m, now)
	t.blocks.at(m.Block).live++
	t.mappings[m.Space]++
	return true
}

// enter enters a half on the outbound side.
func (t *Table) enter(r *half, block BlockID, now Tick) {
	p := t.out.insert(r)
	*p.block() = block
	t.hint(p, now)
}

// arrivingKey is key for the inbound side, where external endpoints tell pools and classes.
func (s Scope) arrivingKey() uint64 {
	s.Class, s.Pool = 0, 0
	return s.key()
}

// addMapping enters a mapping on the inbound side, where it fits.
func (x *side) addMapping(m *Mapping, now Tick) {
	near := nearExternal(m.External, m.Scope.Class)
	n := half{
		near: near, peer: m.Scope.Remote.pack() | what(anchor, m.Space) | uint64(m.Scope.On)<<scopeShift | flagMapping,
		far: nearInternal(m.Realm, m.Internal), seen: now,
	}
	p := x.anchor(near, m.Space)
	if p.seg == nil {
		x.insert(&n)
		return
	}
	a := p.half()
	if !a.hasMapping() {
		n.peer |= a.peer & flagCrowd
		*a = n
		return
	}
	c := x.crowd(a)
	c.others++
	c.sessions++
	c.keys ^= m.Scope.arrivingKey()
	x.setCrowd(a, c)
	n.peer = m.Scope.arrivingKey() | what(mapped, m.Space) | flagMapping
	x.insert(&n)
}

// removeMapping takes out a mapping without sessions, and reports whether the external endpoint serves others still.
func (x *side) removeMapping(m *Mapping) (shared bool) {
	near := nearExternal(m.External, m.Scope.Class)
	p := x.anchor(near, m.Space)
	a := p.half()
	if a.hasMapping() && a.far == nearInternal(m.Realm, m.Internal) && a.remote().as(m.Scope.On) == m.Scope.Remote {
		if a.crowded() {
			a.peer &= whatMask | scopeMask | flagCrowd
			return true
		}
		x.remove(p)
		return false
	}
	x.remove(x.mapping(near, m.Space, m.Scope.arrivingKey()))
	a = x.anchor(near, m.Space).half()
	c := x.crowd(a)
	c.sessions--
	c.keys ^= m.Scope.arrivingKey()
	x.setCrowd(a, c)
	return !x.leave(near, m.Space)
}

// leave tells an anchor that a further half is gone. An anchor that holds nothing goes with the last: then it returns true.
func (x *side) leave(near uint64, space portblock.Space) (gone bool) {
	p := x.anchor(near, space)
	a := p.half()
	c := x.crowd(a)
	c.others--
	x.setCrowd(a, c)
	if c.others > 0 || a.hasMapping() {
		return false
	}
	x.remove(p)
	return true
}

// usage is what keeps a mapping.
func (t *Table) usage(p spot) (sessions uint32, until Tick, explicit bool) {
	r := p.half()
	if r.kind() == mapped {
		return r.next, r.seen, r.far&flagExplicit != 0
	}
	c := t.out.crowd(r)
	return c.sessions, c.until, c.explicit
}

func (t *Table) setUsage(p spot, sessions uint32, until Tick, explicit bool) {
	r := p.half()
	if r.kind() == mapped {
		r.next, r.seen = sessions, until
		if r.far &^= flagExplicit; explicit {
			r.far |= flagExplicit
		}
		return
	}
	c := t.out.crowd(r)
	c.sessions, c.until, c.explicit = sessions, until, explicit
	t.out.setCrowd(r, c)
}

// mappingOf returns the mapping that a half of the outbound side holds.
func (t *Table) mappingOf(p spot) Mapping {
	r := p.half()
	return Mapping{
		Realm: r.realm(), Space: r.space(), Internal: r.internal(), External: r.external(),
		Scope: t.scopeOf(p), Block: *p.block(),
	}
}

// unmap removes a mapping that nothing uses, and its half where that holds nothing else.
func (t *Table) unmap(p spot) Mapping {
	m := t.mappingOf(p)
	t.mappings[m.Space]--
	t.blocks.at(m.Block).live--
	r := p.half()
	switch {
	case r.kind() == mapped:
		near := r.near
		t.out.remove(p)
		t.out.leave(near, m.Space)
	case t.out.crowd(r).others > 0:
		r.peer &= whatMask | flagCrowd
		t.setUsage(p, 0, 0, false)
	default:
		t.setUsage(p, 0, 0, false) // no entry stays
		t.out.remove(p)
	}
	m.Shared = t.in.removeMapping(&m)
	return m
}

// Keep gives a mapping an explicit lifetime: it stays until then, with or
// without sessions (RFC 6888 REQ-9). The lifetime is more than 0. It returns false when there is no such mapping.
func (t *Table) Keep(realm uint16, space portblock.Space, internal Endpoint, scope Scope, lifetime time.Duration, now Tick) bool {
	p := t.holder(nearInternal(realm, internal), space, scope)
	if p.seg == nil {
		return false
	}
	sessions, _, _ := t.usage(p)
	t.setUsage(p, sessions, now+Tick((min(lifetime, MaxIdle)+time.Millisecond-1)/time.Millisecond), true)
	t.hint(p, now)
	return true
}

// Release ends the explicit lifetime of a mapping. It returns false when there is none.
func (t *Table) Release(realm uint16, space portblock.Space, internal Endpoint, scope Scope, now Tick) bool {
	p := t.holder(nearInternal(realm, internal), space, scope)
	if p.seg == nil {
		return false
	}
	sessions, _, explicit := t.usage(p)
	if explicit {
		t.setUsage(p, sessions, 0, false)
		t.hint(p, now)
	}
	return explicit
}

// lapse ends an explicit lifetime whose time has come, so that it never comes round again, and reports whether nothing uses the mapping.
func (t *Table) lapse(p spot, now Tick) (unused bool) {
	sessions, until, explicit := t.usage(p)
	if explicit && !until.after(now) {
		explicit = false
		t.setUsage(p, sessions, 0, false)
	}
	return sessions == 0 && !explicit
}

// Unmap removes a mapping that no session uses, whether it has a lifetime or not.
func (t *Table) Unmap(realm uint16, space portblock.Space, internal Endpoint, scope Scope) (m Mapping, ok bool) {
	p := t.holder(nearInternal(realm, internal), space, scope)
	if p.seg == nil {
		return Mapping{}, false
	}
	if sessions, _, _ := t.usage(p); sessions != 0 {
		return Mapping{}, false
	}
	return t.unmap(p), true
}
