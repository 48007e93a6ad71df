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
	// Scope is the remote endpoint, masked by the mapping behaviour of
	// RFC 4787 section 4.1: zero for endpoint-independent, the address alone for address-dependent,
	// both for address-and-port-dependent mapping. Where classes of remotes
	// have port spaces of their own it tells the class.
	Scope Endpoint
	// At is the place of External in a block of the internal address.
	At Place
}

// holder finds the record that holds the mapping of an internal endpoint in a scope.
func (t *Table) holder(inner uint64, space portblock.Space, scope Endpoint) (*segment, int) {
	s, i := t.anchor(inner, space)
	if s == nil {
		return nil, 0
	}
	if s.at(i).isOf(scope) {
		return s, i
	}
	if s.at(i).others == 0 {
		return nil, 0
	}
	return t.further(inner, mapped, space, scope)
}

// Mapped looks up the mapping of an internal endpoint in a scope.
func (t *Table) Mapped(realm uint16, space portblock.Space, internal, scope Endpoint) (external Endpoint, ok bool) {
	s, i := t.holder(innerOf(realm, internal), space, scope)
	if s == nil {
		return Endpoint{}, false
	}
	return s.at(i).external(), true
}

// Holder returns the internal endpoint, with its realm, that has a mapping at a place.
func (t *Table) Holder(at Place, space portblock.Space) (internal Endpoint, realm uint16, ok bool) {
	b := t.blocks.at(at.Block)
	port, ok := t.blocks.internalPort(b, space, at.Offset)
	if !ok {
		return Endpoint{}, 0, false
	}
	return Endpoint{b.Internal, port}, b.Realm, true
}

// AddMapping enters a mapping without sessions. It returns false, and changes nothing, when
// the internal endpoint has one in that scope, the place is taken, or its block is of another
// realm, internal or external address.
func (t *Table) AddMapping(m *Mapping, now Tick) bool {
	of, ok := t.Block(m.At.Block)
	if !ok || of.Realm != m.Realm || of.Internal != m.Internal.Addr || of.External != m.External.Addr || uint32(m.At.Offset) >= of.Ports {
		return false
	}
	if t.blocks.taken(m.At, m.Space) {
		return false
	}
	inner := innerOf(m.Realm, m.Internal)
	s, i := t.anchor(inner, m.Space)
	n := record{
		inner: inner, outer: class(anchor, m.Space), ext: m.External.pack() | uint64(m.At.Offset),
		scope: m.Scope.pack() | flagMapping, block: m.At.Block, out: now, in: now,
	}
	switch {
	case s == nil:
		t.add(&n, now)
	case s.at(i).isOf(m.Scope):
		return false
	case s.at(i).others > 0 && t.has(inner, mapped, m.Space, m.Scope):
		return false
	case !s.at(i).hasMapping():
		n.others = s.at(i).others
		*s.at(i) = n
		t.hint(s, i, now)
	default:
		s.at(i).others++
		n.outer = m.Scope.pack() | class(mapped, m.Space)
		t.add(&n, now)
	}
	t.blocks.enter(m.At, m.Space, m.Internal.Port)
	t.mappings++
	return true
}

func (t *Table) has(inner uint64, kind uint64, space portblock.Space, e Endpoint) bool {
	s, _ := t.further(inner, kind, space, e)
	return s != nil
}

// add enters a record.
func (t *Table) add(r *record, now Tick) {
	s, i := t.index.insert(t.index.hashOf(r))
	*s.at(i) = *r
	t.hint(s, i, now)
}

// unmap removes a mapping that nothing uses, and its record where that holds nothing else.
func (t *Table) unmap(s *segment, slot int) Mapping {
	r := s.at(slot)
	m := r.mapping()
	t.blocks.leave(m.At, m.Space)
	t.mappings--
	r.scope &^= flagMapping
	if r.kind() == anchor {
		if r.others == 0 {
			t.index.remove(s, slot)
		}
		return m
	}
	inner := r.inner
	t.index.remove(s, slot)
	t.unanchor(inner, m.Space)
	return m
}

// unanchor tells an anchor that a further record is gone; an anchor that holds nothing goes with the last.
func (t *Table) unanchor(inner uint64, space portblock.Space) (*segment, int) {
	s, i := t.anchor(inner, space)
	r := s.at(i)
	r.others--
	if r.others == 0 && !r.hasMapping() {
		t.index.remove(s, i)
		return nil, 0
	}
	return s, i
}

// Keep gives a mapping an explicit lifetime: it stays until then, with or
// without sessions (RFC 6888 REQ-9). The lifetime is more than 0. It returns false when there is no such mapping.
func (t *Table) Keep(realm uint16, space portblock.Space, internal, scope Endpoint, lifetime time.Duration, now Tick) bool {
	s, i := t.holder(innerOf(realm, internal), space, scope)
	if s == nil {
		return false
	}
	s.at(i).until = now + Tick((min(lifetime, MaxIdle)+time.Millisecond-1)/time.Millisecond)
	s.at(i).scope |= flagExplicit
	t.hint(s, i, now)
	return true
}

// Release ends the explicit lifetime of a mapping. It returns false when there is none.
func (t *Table) Release(realm uint16, space portblock.Space, internal, scope Endpoint, now Tick) bool {
	s, i := t.holder(innerOf(realm, internal), space, scope)
	if s == nil || s.at(i).scope&flagExplicit == 0 {
		return false
	}
	s.at(i).scope &^= flagExplicit
	t.hint(s, i, now)
	return true
}

// lapse ends an explicit lifetime whose time has come, so that it never comes round again.
func (r *record) lapse(now Tick) {
	if r.scope&flagExplicit != 0 && !r.until.after(now) {
		r.scope &^= flagExplicit
	}
}

// Unmap removes a mapping that no session uses, whether it has a lifetime or not.
func (t *Table) Unmap(realm uint16, space portblock.Space, internal, scope Endpoint) (m Mapping, ok bool) {
	s, i := t.holder(innerOf(realm, internal), space, scope)
	if s == nil || !s.at(i).hasMapping() || s.at(i).sessions != 0 {
		return Mapping{}, false
	}
	return t.unmap(s, i), true
}
