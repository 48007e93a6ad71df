package mapping

import "math/bits"

// Sweep is what Expire appends to: the caller owns and empties it.
type Sweep struct {
	// Sessions were removed because their idle time was over.
	Sessions []Ended
	// Mappings were removed because nothing uses them: no session ended with them.
	Mappings []Mapping
}

// skipCost is what a segment that is skipped counts against Expire's budget, in records.
const skipCost = 16

// Expire inspects the next segments of the table, until at least budget slots
// are behind it. It removes the sessions whose idle time is over and the
// mappings that nothing uses. It reports whether it
// came to the end of the table; the next call starts over.
//
// A segment in which nothing can be over yet is skipped, and of the others only the records whose hints are due are
// looked at.
func (t *Table) Expire(now Tick, budget int, w *Sweep) (round bool) {
	for budget > 0 {
		s, next := t.index.part(t.cursor)
		if t.cursor = next; next >= parts {
			t.cursor, round = 0, true
		}
		all := s.stale || now-s.scanned >= hintSpan<<hintShift
		if all || !s.next.after(hintAt(now)) {
			t.scan(s, all, now, w)
			budget -= int(s.groups) * groupSlots
		} else {
			budget -= skipCost
		}
		if round {
			return true
		}
	}
	return false
}

// scan removes what is over in a segment. Removal moves no record, so the slots that are ahead stay what they are,
// or become empty.
func (t *Table) scan(s *segment, all bool, now Tick, w *Sweep) {
	at := hintAt(now)
	next := at + hintSpan
	for g := range s.groups {
		// The tags are read once: a slot that was emptied meanwhile is told by holds.
		for m := ^matches(s.tags[g], 0) & topBits; m != 0; m &= m - 1 {
			i := int(g)*groupSlots + bits.TrailingZeros64(m)>>3
			if due := s.due[i]; !all && due.after(at) {
				if next.after(due) {
					next = due
				}
				continue
			}
			if !s.holds(i) || !t.inspect(s, i, now, w) {
				continue
			}
			s.due[i] = t.hintOf(s.at(i), now)
			if next.after(s.due[i]) {
				next = s.due[i]
			}
		}
	}
	s.next = next
	if all {
		s.stale, s.scanned = false, now
	}
}

// inspect removes what is over in a record and reports whether the record stays.
func (t *Table) inspect(s *segment, slot int, now Tick, w *Sweep) (stays bool) {
	r := s.at(slot)
	if r.hasSession() {
		if t.over(r, now) {
			kind := r.kind()
			w.Sessions = append(w.Sessions, t.end(s, slot, now))
			if kind != anchor || !s.holds(slot) {
				return false
			}
		} else if oldest := now - ticks(MaxIdle); oldest.after(r.in) {
			r.in = oldest // kept within what ticks can tell, however long the remote end is silent
		}
	}
	if r.hasMapping() {
		if r.lapse(now); r.unused() {
			w.Mappings = append(w.Mappings, t.unmap(s, slot))
		}
	}
	return s.holds(slot)
}
