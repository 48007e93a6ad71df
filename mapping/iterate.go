package mapping

import (
	"fmt"

	"github.com/blocknat/blocknat/portblock"
)

// State is a session with the time of the last packet that kept it alive.
type State struct {
	Session
	LastSeen Tick
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
		dst = append(dst, State{sessionOf(e), Tick(e.v1 >> 32)})
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
			dst = append(dst, holderOf(e))
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
	sessionsOf, countedBy := map[users]uint64{}, map[users]uint64{}
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
					sessionsOf[users{e.hi, e.v0, spaceOf(e.lo)}]++
				}
			case mappingOut:
				in := t.flat.find(unpack(e.v0).pack(), inKey(spaceOf(e.lo), uint16(e.v0)))
				if in == nil || in.v0 != e.hi || in.v1 != e.lo&^0xffff {
					return fmt.Errorf("mapping: mapping of %v: its two halves differ", unpack(e.hi))
				}
				countedBy[users{e.hi, unpack(e.v0).pack(), spaceOf(e.lo)}] += e.v1 >> 32
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
	for u, n := range sessionsOf {
		if countedBy[u] != n {
			return fmt.Errorf("mapping: %v to %v has %d sessions, and its mappings count %d", unpack(u.internal), unpack(u.external), n, countedBy[u])
		}
		delete(countedBy, u)
	}
	for u, n := range countedBy {
		if n != 0 {
			return fmt.Errorf("mapping: mapping of %v counts %d sessions that are not there", unpack(u.internal), n)
		}
	}
	return nil
}

// users are all mappings of an internal to an external endpoint: one in each scope that
// uses the same external endpoint.
type users struct {
	internal, external uint64
	space              portblock.Space
}
