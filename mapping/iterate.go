package mapping

import (
	"fmt"
)

// State is a session with the time of the last packet that kept it alive.
type State struct {
	Session
	LastSeen Tick
	// Heard is when the last packet of the remote end came.
	Heard Tick
}

// AppendSessions appends the sessions of one part of the table to dst and
// returns where the next call goes on, or -1 at the end. Start with 0. A
// session that comes, goes or moves between two calls may be missed or seen twice; all others are
// seen once.
func (t *Table) AppendSessions(dst []State, part int) (states []State, next int) {
	if part < 0 || part >= len(t.flat.segs) {
		return dst, -1
	}
	slots := t.flat.segs[part].slots
	for i := range slots {
		e := &slots[i]
		if e.lo&stateMask == 0 || kindOf(e.lo) != sessionOut {
			continue
		}
		st := State{Session: sessionOf(e), LastSeen: Tick(e.v1 >> 32)}
		st.Heard = st.LastSeen
		if in := t.other(e, false); in != nil {
			st.Heard = Tick(in.v1 >> 32)
		}
		dst = append(dst, st)
	}
	if part++; part == len(t.flat.segs) {
		part = -1
	}
	return dst, part
}

// AppendMappings does for mappings what AppendSessions does for sessions.
func (t *Table) AppendMappings(dst []Mapping, part int) (mappings []Mapping, next int) {
	if part < 0 || part >= len(t.flat.segs) {
		return dst, -1
	}
	slots := t.flat.segs[part].slots
	for i := range slots {
		e := &slots[i]
		if e.lo&stateMask != 0 && kindOf(e.lo) == mappingIn {
			dst = append(dst, Mapping{
				Realm: uint16(e.v0), Space: spaceOf(e.lo), Internal: unpack(e.v0),
				External: unpack(e.hi), Scope: unpack(e.v1),
			})
		}
	}
	if part++; part == len(t.flat.segs) {
		part = -1
	}
	return dst, part
}

// CheckInvariants walks the whole table and reports the first contradiction:
// every half has its other half with the same state, every session its mapping, every mapping the
// number of sessions that it counts, every entry the place where a look-up finds it. It is for tests.
func (t *Table) CheckInvariants() error {
	var kinds [permit + 1]int
	sessionsOf := map[due]uint64{}
	used := 0
	for i := range t.flat.segs {
		s := &t.flat.segs[i]
		n := 0
		for j := range s.slots {
			e := &s.slots[j]
			if e.lo&stateMask == 0 {
				continue
			}
			n++
			if t.flat.find(e.hi, e.lo) != e {
				return fmt.Errorf("mapping: segment %d slot %d: a look-up of its key leads elsewhere", i, j)
			}
			kinds[kindOf(e.lo)]++
			switch kindOf(e.lo) {
			case sessionOut, sessionIn:
				o := t.other(e, kindOf(e.lo) == sessionIn)
				if o == nil || o.lo&stateMask != e.lo&stateMask {
					return fmt.Errorf("mapping: session %v: its two halves differ", sessionOf(e))
				}
				if kindOf(e.lo) == sessionOut {
					in := t.flat.find(unpack(e.v0).pack(), class(mappingIn, spaceOf(e.lo)))
					if in == nil || in.v0 != e.hi {
						return fmt.Errorf("mapping: session %v: it has no mapping", sessionOf(e))
					}
					sessionsOf[due{e.hi, in.v1 | class(mappingOut, spaceOf(e.lo))}]++
				}
			case mappingOut:
				in := t.flat.find(e.v0, class(mappingIn, spaceOf(e.lo)))
				if in == nil || in.v0 != e.hi || in.v1 != e.lo&^0xffff {
					return fmt.Errorf("mapping: mapping of %v: its two halves differ", unpack(e.hi))
				}
			}
		}
		if n != s.used {
			return fmt.Errorf("mapping: segment %d holds %d entries and counts %d", i, n, s.used)
		}
		used += n
	}
	if used != t.flat.used || kinds[sessionOut] != t.sessions || kinds[sessionIn] != t.sessions ||
		kinds[mappingOut] != t.mappings || kinds[mappingIn] != t.mappings {
		return fmt.Errorf("mapping: %d entries %v, counted %d sessions and %d mappings", used, kinds, t.sessions, t.mappings)
	}
	for d, n := range sessionsOf {
		if m := t.flat.find(d.hi, d.lo); m == nil || m.v1>>32 != n {
			return fmt.Errorf("mapping: mapping of %v does not count its %d sessions", unpack(d.hi), n)
		}
	}
	return nil
}
