package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// due names an entry of the segment under inspection by its key.
type due struct{ hi, lo uint64 }

// Sweep is what Expire appends to: the caller owns and empties it.
type Sweep struct {
	// Sessions were removed because their idle time was over. The caller tells the mapping of each by Leave.
	Sessions []Session
	// Mappings were removed because nothing uses them.
	Mappings []Mapping
	// Uses tell which external endpoints had a packet, of either direction, after Since.
	Uses  []Use
	Since Tick
}

// Use is the latest packet of a session in one direction.
type Use struct {
	Realm    uint16
	Space    portblock.Space
	Internal uint32
	External Endpoint
	Remote   Endpoint
	At       Tick
}

// Expire inspects the next segments of the table, until at least budget slots
// are behind it. It removes the sessions whose idle time is over and the
// mappings that nothing uses. It reports whether it
// came to the end of the table; the next call starts over.
//
// A segment is inspected as a whole before anything is removed, so that no
// entry slips past while others move up. Segments that come into being meanwhile are appended,
// and inspected before the round ends.
func (t *Table) Expire(now Tick, budget int, w *Sweep) (round bool) {
	for budget > 0 {
		if t.cursor >= len(t.flat.segs) {
			t.cursor = 0
			return true
		}
		s := &t.flat.segs[t.cursor]
		t.cursor++
		budget -= len(s.slots)
		t.due = t.due[:0]
		for i := range s.slots {
			e := &s.slots[i]
			if e.lo&stateMask == 0 {
				continue
			}
			switch kindOf(e.lo) {
			case sessionOut:
				if t.expired(e, uint8(e.lo), now) {
					t.due = append(t.due, due{e.hi, e.lo})
				} else if at := Tick(e.v1 >> 32); at.after(w.Since) {
					w.Uses = append(w.Uses, Use{uint16(e.hi), spaceOf(e.lo), uint32(e.hi >> 32), unpack(e.v0), unpack(e.lo), at})
				}
			case sessionIn:
				at := Tick(e.v1 >> 32)
				if oldest := now - Tick(MaxIdle/time.Millisecond); oldest.after(at) {
					at = oldest // kept within what ticks can tell, however long the remote end is silent
					e.v1 = uint64(at)<<32 | e.v1&0xffffffff
				}
				if at.after(w.Since) {
					w.Uses = append(w.Uses, Use{uint16(e.v0), spaceOf(e.lo), uint32(e.v0 >> 32), unpack(e.hi), unpack(e.lo), at})
				}
			case mappingOut:
				if e.lo&mappingExplicit != 0 && !Tick(e.v1).after(now) {
					e.lo &^= mappingExplicit // so that the lifetime never comes round again
				}
				if unused(e) {
					t.due = append(t.due, due{e.hi, e.lo})
				}
			}
		}
		for _, d := range t.due {
			e := t.flat.find(d.hi, d.lo)
			if kindOf(d.lo) == sessionOut {
				w.Sessions = append(w.Sessions, t.drop(*e))
			} else {
				w.Mappings = append(w.Mappings, t.unmap(*e))
			}
		}
	}
	return false
}

// unused reports whether a mapping has neither a session nor a lifetime.
func unused(e *entry) bool { return e.v1>>32 == 0 && e.lo&mappingExplicit == 0 }

// Close removes a session at once, whether its idle time is over or not. The caller tells its mapping by Leave.
func (t *Table) Close(realm uint16, space portblock.Space, internal, remote Endpoint) (s Session, ok bool) {
	e := t.flat.find(internal.pack()|uint64(realm), remote.pack()|class(sessionOut, space))
	if e == nil {
		return Session{}, false
	}
	return t.drop(*e), true
}

// CloseInbound is Close by the external side, for a session that Inbound did not find because it is over.
func (t *Table) CloseInbound(space portblock.Space, external, remote Endpoint) (s Session, ok bool) {
	s, ok = t.Peek(space, external, remote)
	if !ok {
		return Session{}, false
	}
	return t.Close(s.Realm, space, s.Internal, remote)
}

// drop removes both halves of a session, given a copy of the outbound one:
// entries move when one is removed.
func (t *Table) drop(e entry) Session {
	s := sessionOf(&e)
	t.flat.remove(e.hi, e.lo)
	t.flat.remove(s.External.pack(), s.Remote.pack()|class(sessionIn, s.Space))
	t.sessions--
	return s
}

// Leave takes a session that was removed off its mapping's count. When nothing
// else uses the mapping, it is removed, and gone is true: its external endpoint is free.
func (t *Table) Leave(realm uint16, space portblock.Space, internal, scope Endpoint, now Tick) (m Mapping, gone bool) {
	e := t.flat.find(internal.pack()|uint64(realm), scope.pack()|class(mappingOut, space))
	if e == nil || e.v1>>32 == 0 {
		return Mapping{}, false
	}
	e.v1 -= 1 << 32
	if e.lo&mappingExplicit != 0 && !Tick(e.v1).after(now) {
		e.lo &^= mappingExplicit
	}
	if !unused(e) {
		return Mapping{}, false
	}
	return t.unmap(*e), true
}

// unmap removes both entries of a mapping, given a copy of the outbound one.
func (t *Table) unmap(e entry) Mapping {
	m := Mapping{
		Realm: uint16(e.hi), Space: spaceOf(e.lo), Internal: unpack(e.hi), External: unpack(e.v0),
		Scope: unpack(e.lo), Class: uint16(e.v0),
	}
	t.flat.remove(e.hi, e.lo)
	t.flat.remove(m.External.pack(), inKey(m.Space, m.Class))
	t.mappings--
	return m
}

func sessionOf(e *entry) Session {
	return Session{
		Realm: uint16(e.hi), Space: spaceOf(e.lo), Internal: unpack(e.hi), External: unpack(e.v0),
		Remote: unpack(e.lo), Phase: Phase(e.lo & phaseMask),
	}
}
