package mapping

import "github.com/blocknat/blocknat/portblock"

// Ended is what Expire removed: a session, a mapping, or a session and its mapping with it.
type Ended struct {
	Session Session // without Remote and Phase when only a mapping ended
	// Live says that a session ended, Unmapped that the mapping did.
	Live, Unmapped bool
}

// due names an entry of the segment under inspection by its key.
type due struct{ hi, lo uint64 }

// Expire inspects the next segments of the table, until at least budget slots
// are behind it, and removes the sessions whose idle time is over and the
// mappings that nothing uses. It appends what ended to dst and reports whether it
// came to the end of the table; the next call starts over.
//
// A segment is inspected as a whole before anything is removed, so that no
// entry slips past while others move up. Segments that come into being meanwhile are appended,
// and inspected before the round ends.
func (t *Table) Expire(now Tick, budget int, dst []Ended) (ended []Ended, round bool) {
	for budget > 0 {
		if t.cursor >= len(t.flat.segs) {
			t.cursor = 0
			return dst, true
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
				}
			case mappingOut:
				if unused(e, now) {
					t.due = append(t.due, due{e.hi, e.lo})
				}
			}
		}
		for _, d := range t.due {
			if kindOf(d.lo) == sessionOut {
				dst = t.closeSession(d.hi, d.lo, now, dst)
			} else if e := t.flat.find(d.hi, d.lo); e != nil && unused(e, now) {
				dst = append(dst, Ended{Session: t.unmap(*e), Unmapped: true})
			}
		}
	}
	return dst, false
}

// unused reports whether a mapping has neither a session nor a running lifetime.
func unused(e *entry, now Tick) bool {
	return e.v1>>32 == 0 && (e.lo&mappingExplicit == 0 || !Tick(e.v1).after(now))
}

// Close removes a session at once; its mapping goes with it when nothing else uses it.
func (t *Table) Close(realm uint16, space portblock.Space, internal, remote Endpoint, now Tick, dst []Ended) []Ended {
	return t.closeSession(internal.pack()|uint64(realm), remote.pack()|class(sessionOut, space), now, dst)
}

func (t *Table) closeSession(hi, lo uint64, now Tick, dst []Ended) []Ended {
	e := t.flat.find(hi, lo)
	if e == nil {
		return dst
	}
	s := sessionOf(e)
	end := Ended{Session: s, Live: true}
	t.flat.remove(hi, lo)
	t.flat.remove(s.External.pack(), s.Remote.pack()|class(sessionIn, s.Space))
	t.sessions--
	if in := t.flat.find(s.External.pack(), class(mappingIn, s.Space)); in != nil {
		if m := t.flat.find(hi, in.v1|class(mappingOut, s.Space)); m != nil {
			m.v1 -= 1 << 32
			mapping, gone := *m, unused(m, now) // m does not outlive a removal
			if mapping.lo&mappingPermits != 0 {
				t.forbid(&s)
			}
			if gone {
				t.unmap(mapping)
				end.Unmapped = true
			}
		}
	}
	return append(dst, end)
}

// forbid takes back what permit gave.
func (t *Table) forbid(s *Session) {
	key := Endpoint{Addr: s.Remote.Addr}.pack() | class(permit, s.Space)
	if e := t.flat.find(s.External.pack(), key); e != nil {
		if e.v0--; e.v0 == 0 {
			t.flat.remove(s.External.pack(), key)
		}
	}
}

// unmap removes both entries of a mapping, given a copy of the outbound one.
func (t *Table) unmap(m entry) Session {
	s := Session{
		Realm: uint16(m.hi), Space: spaceOf(m.lo), Internal: unpack(m.hi), External: unpack(m.v0),
	}
	t.flat.remove(m.hi, m.lo)
	t.flat.remove(s.External.pack(), class(mappingIn, s.Space))
	t.mappings--
	return s
}

func sessionOf(e *entry) Session {
	return Session{
		Realm: uint16(e.hi), Space: spaceOf(e.lo), Internal: unpack(e.hi), External: unpack(e.v0),
		Remote: unpack(e.lo), Phase: Phase(e.lo & phaseMask),
	}
}
