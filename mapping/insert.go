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
	// both for address-and-port-dependent mapping.
	Scope Endpoint
}

// Mapped looks up the mapping of an internal endpoint in a scope.
func (t *Table) Mapped(realm uint16, space portblock.Space, internal, scope Endpoint) (external Endpoint, ok bool) {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil {
		return Endpoint{}, false
	}
	return unpack(e.v0), true
}

// Holder looks up the mapping that holds an external endpoint.
func (t *Table) Holder(space portblock.Space, external Endpoint) (m Mapping, ok bool) {
	e := t.flat.find(external.pack(), class(mappingIn, space))
	if e == nil {
		return Mapping{}, false
	}
	return Mapping{Realm: uint16(e.v0), Space: space, Internal: unpack(e.v0), External: external, Scope: unpack(e.v1)}, true
}

// AddMapping enters a mapping without sessions. It returns false, and changes nothing, when
// the internal endpoint has one in that scope or the external endpoint is held.
func (t *Table) AddMapping(m Mapping) bool {
	in := m.Internal.pack() | uint64(m.Realm)
	if t.flat.find(in, m.Scope.pack()|class(mappingOut, m.Space)) != nil ||
		t.flat.find(m.External.pack(), class(mappingIn, m.Space)) != nil {
		return false
	}
	t.flat.insert(entry{in, m.Scope.pack() | class(mappingOut, m.Space) | 1, m.External.pack(), 0})
	t.flat.insert(entry{m.External.pack(), class(mappingIn, m.Space) | 1, in, m.Scope.pack()})
	t.mappings++
	return true
}

// The state byte of a mapping's outbound entry: it is never zero, and says
// whether an explicit lifetime runs and whether sessions left permits.
const (
	mappingLive     = 1
	mappingExplicit = 2
	mappingPermits  = 4
)

// Keep gives a mapping an explicit lifetime: it stays until then, with or
// without sessions (RFC 6888 REQ-9). It returns false when there is no such mapping.
func (t *Table) Keep(realm uint16, space portblock.Space, internal, scope Endpoint, lifetime time.Duration, now Tick) bool {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil {
		return false
	}
	until := now + Tick(min(max(lifetime, 0), maxIdle)/time.Millisecond)
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

// Open enters a session of an existing mapping, begun by a packet from the internal end or, fromRemote,
// from the remote one. With permits it also lets other ports of the remote address in
// (address-dependent filtering, RFC 4787 section 5). It returns false, and changes nothing, when the mapping is not there
// or the session is.
func (t *Table) Open(s *Session, scope Endpoint, seg *Segment, fromRemote, permits bool, now Tick) bool {
	in := s.Internal.pack() | uint64(s.Realm)
	m := t.flat.find(in, scope.pack()|class(mappingOut, s.Space))
	if m == nil || unpack(m.v0) != s.External ||
		t.flat.find(in, s.Remote.pack()|class(sessionOut, s.Space)) != nil {
		return false
	}
	m.v1 += 1 << 32
	if permits {
		m.lo |= mappingPermits
	}
	state, sent, heard := uint8(Active), uint64(0), uint64(0)
	switch s.Space {
	case portblock.TCP:
		state = opened(seg.Flags, fromRemote)
		if sent = uint64(seg.end()); fromRemote {
			sent, heard = 0, sent
		}
	case portblock.ICMP:
		state = uint8(Query)
	}
	at := uint64(now) << 32
	t.flat.insert(entry{in, s.Remote.pack() | class(sessionOut, s.Space) | uint64(state), s.External.pack(), at | sent})
	t.flat.insert(entry{s.External.pack(), s.Remote.pack() | class(sessionIn, s.Space) | uint64(state), in, at | heard})
	if permits {
		t.permit(s)
	}
	t.sessions++
	return true
}

func (t *Table) permit(s *Session) {
	key := Endpoint{Addr: s.Remote.Addr}.pack() | class(permit, s.Space)
	if e := t.flat.find(s.External.pack(), key); e != nil {
		e.v0++
		return
	}
	t.flat.insert(entry{s.External.pack(), key | 1, 1, 0})
}

// Permitted reports whether a session of the external endpoint reaches any port of the
// remote address.
func (t *Table) Permitted(space portblock.Space, external Endpoint, remote uint32) bool {
	return t.flat.find(external.pack(), Endpoint{Addr: remote}.pack()|class(permit, space)) != nil
}
