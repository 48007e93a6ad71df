package mapping

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
	next = t.walk(part, func(r *record) {
		if r.hasSession() {
			dst = append(dst, State{r.session(), r.out})
		}
	})
	return dst, next
}

// AppendMappings does for mappings what AppendSessions does for sessions.
func (t *Table) AppendMappings(dst []Mapping, part int) (mappings []Mapping, next int) {
	next = t.walk(part, func(r *record) {
		if r.hasMapping() {
			dst = append(dst, r.mapping())
		}
	})
	return dst, next
}

// walk calls f with the records of the segment that serves a part, and returns the next part or -1.
func (t *Table) walk(part int, f func(*record)) (next int) {
	if part < 0 || part >= parts {
		return -1
	}
	s, next := t.index.part(part)
	for i := range s.slots() {
		if s.holds(i) {
			f(s.at(i))
		}
	}
	if next >= parts {
		return -1
	}
	return next
}
