package mapping

import "github.com/blocknat/blocknat/portblock"

// State is a session with the time of the last packet that kept it alive.
type State struct {
	Session
	LastSeen Tick
}

// AppendSessions appends the sessions of one part of the table to dst and
// returns where the next call goes on, or -1 at the end. Start with 0. A
// session that comes or goes between two calls may be missed; all others are
// seen once.
func (t *Table) AppendSessions(dst []State, part int) (states []State, next int) {
	next = t.walk(part, func(p spot) {
		if r := p.half(); r.hasSession() {
			dst = append(dst, State{r.session(), r.seen})
		}
	})
	return dst, next
}

// AppendMappings does for mappings what AppendSessions does for sessions.
func (t *Table) AppendMappings(dst []Mapping, part int) (mappings []Mapping, next int) {
	next = t.walk(part, func(p spot) {
		if p.half().hasMapping() {
			dst = append(dst, t.mappingOf(p))
		}
	})
	return dst, next
}

// walk calls f with the halves of the outbound side in the segment that serves a part, and returns the next part or -1.
func (t *Table) walk(part int, f func(spot)) (next int) {
	if part < 0 || part >= parts {
		return -1
	}
	s, next := t.out.part(part)
	for i := range s.halves {
		// Where the table has grown meanwhile the segment has some that were seen.
		if r := &s.halves[i]; r.peer != 0 && (part%(parts/int(s.ways)) == 0 || t.out.partOf(r) >= part) {
			f(spot{s, i})
		}
	}
	if next >= parts {
		return -1
	}
	return next
}

// MappingsAt returns the mappings of an external endpoint: more than one where they share it. It looks at the whole table when there
// is any.
func (t *Table) MappingsAt(space portblock.Space, external Endpoint, class uint16) (mappings []Mapping) {
	if t.in.anchor(nearExternal(external, class), space).seg == nil {
		return nil
	}
	for part := 0; part >= 0; {
		part = t.walk(part, func(p spot) {
			if r := p.half(); r.hasMapping() && r.space() == space && r.external() == external && t.classOf(p) == class {
				mappings = append(mappings, t.mappingOf(p))
			}
		})
	}
	return mappings
}
