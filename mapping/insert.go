package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Mapping is the tie between an internal endpoint and an external one
// (RFC 2663 section 2.6). It lives while a session uses it, and while an explicit
// lifetime lasts.
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
	// Class is the class of remotes whose port space External belongs to; 0
	// where there is one port space for all. The same external endpoint may be
	// held once in each class.
	Class uint16
}

// Mapped looks up the mapping of an internal endpoint in a scope.
func (t *Table) Mapped(realm uint16, space portblock.Space, internal, scope Endpoint) (external Endpoint, ok bool) {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil {
		return Endpoint{}, false
	}
	return unpack(e.v0), true
}

// Holder looks up the mapping that holds an external endpoint in a class of remotes.
func (t *Table) Holder(space portblock.Space, external Endpoint, remotes uint16) (m Mapping, ok bool) {
	e := t.flat.find(external.pack(), inKey(space, remotes))
	if e == nil {
		return Mapping{}, false
	}
	return holderOf(e), true
}

// inKey is the second half of the key of a mapping's inbound entry.
func inKey(space portblock.Space, remotes uint16) uint64 {
	return uint64(remotes)<<32 | class(mappingIn, space)
}

func holderOf(e *entry) Mapping {
	return Mapping{
		Realm: uint16(e.v0), Space: spaceOf(e.lo), Internal: unpack(e.v0), External: unpack(e.hi),
		Scope: unpack(e.v1), Class: uint16(e.lo >> 32),
	}
}

// AddMapping enters a mapping without sessions. It returns false, and changes nothing, when
// the internal endpoint has one in that scope or the external endpoint is held in that class.
func (t *Table) AddMapping(m Mapping) bool {
	in := m.Internal.pack() | uint64(m.Realm)
	if t.flat.find(in, m.Scope.pack()|class(mappingOut, m.Space)) != nil ||
		t.flat.find(m.External.pack(), inKey(m.Space, m.Class)) != nil {
		return false
	}
	t.flat.insert(entry{in, m.Scope.pack() | class(mappingOut, m.Space) | mappingLive, m.External.pack() | uint64(m.Class), 0})
	t.flat.insert(entry{m.External.pack(), inKey(m.Space, m.Class) | mappingLive, in, m.Scope.pack()})
	t.mappings++
	return true
}

// The state byte of a mapping's outbound entry: it is never zero, and says
// whether an explicit lifetime runs.
const (
	mappingLive     = 1
	mappingExplicit = 2
)

// Release ends the explicit lifetime of a mapping. It returns false when there is none.
func (t *Table) Release(realm uint16, space portblock.Space, internal, scope Endpoint) bool {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil || e.lo&mappingExplicit == 0 {
		return false
	}
	e.lo &^= mappingExplicit
	return true
}

// Keep gives a mapping an explicit lifetime: it stays until then, with or
// without sessions (RFC 6888 REQ-9). The lifetime is more than 0. It returns false when there is no such mapping.
func (t *Table) Keep(realm uint16, space portblock.Space, internal, scope Endpoint, lifetime time.Duration, now Tick) bool {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil {
		return false
	}
	until := now + Tick((min(lifetime, MaxIdle)+time.Millisecond-1)/time.Millisecond)
	e.lo |= mappingExplicit
	e.v1 = e.v1&^0xffffffff | uint64(until)
	return true
}

// Session is one mapping used with one remote endpoint.
type Session struct {
	Realm    uint16
	Space    portblock.Space
	Internal Endpoint
	External Endpoint
	Remote   Endpoint
	Phase    Phase
}

// Open enters a session of an existing mapping, begun by a packet from the internal end; seg counts for TCP only. It
// returns false, and changes nothing, when the mapping is not there
// or the session is. Close and Expire give the session back; Leave then tells the mapping.
func (t *Table) Open(s *Session, scope Endpoint, seg *Segment, now Tick) bool {
	in := s.Internal.pack() | uint64(s.Realm)
	m := t.flat.find(in, scope.pack()|class(mappingOut, s.Space))
	if m == nil || unpack(m.v0) != s.External ||
		t.flat.find(in, s.Remote.pack()|class(sessionOut, s.Space)) != nil {
		return false
	}
	m.v1 += 1 << 32
	state, sent, heard := uint8(Active), uint64(0), uint64(0)
	switch s.Space {
	case portblock.TCP:
		state = opened(seg.Flags)
		sent, heard = uint64(seg.end()), uint64(seg.Ack)
	case portblock.ICMP:
		state = uint8(Query)
	}
	at := uint64(now) << 32
	t.flat.insert(entry{in, s.Remote.pack() | class(sessionOut, s.Space) | uint64(state), s.External.pack(), at | sent})
	t.flat.insert(entry{s.External.pack(), s.Remote.pack() | class(sessionIn, s.Space) | uint64(state), in, at | heard})
	t.sessions++
	return true
}

// Permit lets all ports of a remote address in that a session of the external endpoint
// reaches, in a class of remotes (address-dependent filtering, RFC 4787 section 5). Each call is undone by one of Forbid.
func (t *Table) Permit(space portblock.Space, external Endpoint, remote uint32, remotes uint16) {
	key := Endpoint{remote, remotes}.pack() | class(permit, space)
	if e := t.flat.find(external.pack(), key); e != nil {
		e.v0++
		return
	}
	t.flat.insert(entry{external.pack(), key | 1, 1, 0})
}

// Forbid takes back one Permit.
func (t *Table) Forbid(space portblock.Space, external Endpoint, remote uint32, remotes uint16) {
	key := Endpoint{remote, remotes}.pack() | class(permit, space)
	if e := t.flat.find(external.pack(), key); e != nil {
		if e.v0--; e.v0 == 0 {
			t.flat.remove(external.pack(), key)
		}
	}
}

// Permitted reports whether the remote address has a Permit of the external endpoint.
func (t *Table) Permitted(space portblock.Space, external Endpoint, remote uint32, remotes uint16) bool {
	return t.flat.find(external.pack(), Endpoint{remote, remotes}.pack()|class(permit, space)) != nil
}
