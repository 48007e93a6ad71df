package mapping

// Sweep is what Expire appends to: the caller owns and empties it.
type Sweep struct {
	// Sessions were removed because their idle time was over.
	Sessions []Ended
	// Mappings were removed because nothing uses them: no session ended with them.
	Mappings []Mapping
}

// skipCost is what a segment that is skipped counts against Expire's budget, in halves.
const skipCost = 16

// Expire inspects the next segments of the table, until at least budget slots
// are behind it. It removes the sessions whose idle time is over and the
// mappings that nothing uses. It reports whether it
// came to the end of the table; the next call starts over.
//
// A segment in which nothing can be over yet is skipped, and of the others only the halves whose hints are due are
// looked at.
func (t *Table) Expire(now Tick, budget int, w *Sweep) (round bool) {
	t.blocks.age(blocksAged, now)
	if t.cursor == 0 {
		t.begun = t.latest
	}
	for budget > 0 {
		s, next := t.out.part(t.cursor)
		t.in.age(t.cursor, next, now)
		if t.cursor = next; next >= parts {
			t.cursor, round = 0, true
		}
		all := s.stale || now-s.scanned >= hintSpan<<hintShift
		if all || !s.next.after(hintAt(now)) {
			t.scan(s, all, now, w)
			budget -= len(s.halves)
		} else {
			budget -= skipCost
		}
		if round {
			t.aged = t.begun
			return true
		}
	}
	return false
}

// scan removes what is over in a segment. Of halves that are not due only the hints are read. Removal may move other halves of the segment, so that a pass misses
// some: it is repeated until one removes nothing.
func (t *Table) scan(s *segment, all bool, now Tick, w *Sweep) {
	at := hintAt(now)
	for again := true; again; {
		removals := s.removals
		next := at + hintSpan
		for i, due := range s.due {
			if i%scanWindow == 0 {
				t.foresee(s, i, all, at)
			}
			if !all && due.after(at) {
				if next.after(due) {
					next = due
				}
				continue
			}
			if s.halves[i].peer == 0 {
				s.due[i] = at + hintSpan // so that only hints are read for it, for long
				continue
			}
			before := s.removals
			if t.inspect(spot{s, i}, now, w); s.removals != before {
				continue
			}
			s.due[i] = t.hintOf(spot{s, i}, now)
			if next.after(s.due[i]) {
				next = s.due[i]
			}
		}
		s.next = next
		again = s.removals != removals
	}
	if all {
		s.stale, s.scanned = false, now
	}
}

// inspect removes what is over in a half. It stays where it is when no half of its segment was removed.
func (t *Table) inspect(p spot, now Tick, w *Sweep) {
	removals := p.seg.removals
	r := p.half()
	if r.hasSession() {
		if t.over(p, now) {
			w.Sessions = append(w.Sessions, t.end(p, now))
			if p.seg.removals != removals {
				return
			}
		} else {
			r.age(now)
		}
	}
	if r.hasMapping() && (!r.hasSession() || r.crowded()) && t.lapse(p, now) {
		w.Mappings = append(w.Mappings, t.unmap(p))
	}
}

// age keeps the time of a session's last packet within what ticks can tell, however long its end is silent.
func (r *half) age(now Tick) {
	if oldest := now - ticks(MaxIdle); oldest.after(r.seen) {
		r.seen = oldest
	}
}

// agePeriod is how often all halves of the inbound side are looked at, whose times Expire does not see: once a day.
const agePeriod = 24 * 60 * 60 * 1000

// age ages the halves that serve some parts.
func (x *side) age(from, to int, now Tick) {
	for from < to {
		var s *segment
		s, from = x.part(from)
		if now-s.scanned < agePeriod {
			continue
		}
		s.scanned = now
		for i := range s.halves {
			if r := &s.halves[i]; r.hasSession() {
				r.age(now)
			}
		}
	}
}
