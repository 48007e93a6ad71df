package mapping

// neglect is how long a table bears it that Expire does not come round: 12 days, in ticks. Until then the oldest time in it is 11 days
// older than the last round, and Advance moves on by ten days at most.
const neglect = 12 * 24 * 60 * 60 * 1000

// ageAll ages all times of the table at once, for a caller who lets packets go on and does not call Expire: else what is over would not be, once ticks
// have turned over. It is one look at all halves in 12 days.
func (t *Table) ageAll() {
	now := Tick(t.latest)
	t.in.each(func(s *segment) {
		s.scanned = now
		for i := range s.halves {
			if r := &s.halves[i]; r.hasSession() {
				r.age(now)
			}
		}
	})
	t.out.each(func(s *segment) {
		s.stale = true
		for i := range s.halves {
			r := &s.halves[i]
			if r.hasSession() {
				r.age(now)
			}
			if r.hasMapping() && (!r.hasSession() || r.crowded()) {
				t.lapse(spot{s, i}, now) // Expire removes what this leaves unused
			}
		}
	})
	t.blocks.aged, t.blocks.began = 0, now
	t.blocks.age(int(t.blocks.next), now)
	t.aged = t.latest
}

// blocksAged is the number of blocks that a call of Expire ages, as long as it has not come to the last one of a round. Rounds begin a day after
// each other.
const blocksAged = 1024

// age keeps the latest packets of the next n blocks within what ticks can tell.
func (x *blocks) age(n int, now Tick) {
	if x.aged >= x.next {
		if now-x.began < agePeriod {
			return
		}
		x.aged, x.began = 0, now
	}
	oldest := now - ticks(MaxIdle)
	for n = min(n, int(x.next-x.aged)); n > 0; n-- {
		x.aged++
		if b := x.at(x.aged); oldest.after(b.seen) {
			b.seen = oldest
		}
	}
}

// ageAll is that of Table.
func (f *Flows) ageAll() {
	oldest := Tick(f.latest) - ticks(MaxIdle)
	for _, chunk := range f.slots {
		for i := range chunk {
			if s := &chunk[i]; oldest.after(s.seen) {
				s.seen = oldest
			}
		}
	}
	f.aged = f.latest
}
