package journal

import "github.com/blocknat/blocknat/logging"

// A joiner makes a segment and the open intervals after it, from the open
// intervals before it and the rows of a write-ahead log.
type joiner struct {
	shapes *shapes
	seg    *segmentWriter
	open   *segmentWriter
	latest logging.Millis // of any record
}

// ghostAge is how long a cancelled allocation is remembered, in case the same one
// is offered again.
const ghostAge logging.Millis = 600000

// interval takes all rows of one interval: the open row first, if there is one,
// then one row for each record in the order of arrival.
func (j *joiner) interval(rows []*row) {
	var st state
	var begin *row // a beginning that has no end yet
	first := rows[0]
	seen := first.from
	for _, w := range rows {
		st.add(w)
		seen = max(seen, w.timeA, w.timeB)
		switch f := w.shape.form; {
		case f == formBegin && begin == nil:
			begin = w
		case f == formHeld:
		case f == formEnd && begin != nil:
			if p, ok := j.shapes.pair(begin, w); ok {
				j.seg.add(&p)
			} else {
				j.seg.add(alone(begin))
				j.seg.add(w)
			}
			begin = nil
		default:
			j.seg.add(w)
		}
	}
	if st.ended || st.cancelled() && begin == nil && first.from < j.latest-ghostAge {
		if begin != nil {
			j.seg.add(alone(begin))
		}
		return
	}
	var w row
	if begin != nil {
		w = *begin
	} else {
		w = j.held(first)
	}
	w.timeB, w.state = seen, st
	j.open.add(&w)
}

// alone returns the row of a beginning without what an open row has besides.
func alone(w *row) *row {
	c := *w
	c.state, c.timeB = state{}, c.from
	return &c
}

// held returns a row of the interval that stands for no record.
func (j *joiner) held(w *row) row {
	c := *w
	s := *w.shape
	e := s.a
	if !s.form.hasA() && s.form != formHeld {
		e = s.b
	}
	s.form, s.a, s.b = formHeld, event{epoch: e.epoch}, event{}
	c.shape = j.shapes.of(&s)
	c.timeA, c.lagA, c.rankA, c.lagB, c.rankB, c.usedA, c.usedB = c.from, 0, 0, 0, 0, 0, 0
	return c
}

// join takes the rows of a log in order and the open intervals before.
func (j *joiner) join(before []*cursor, rows []*row) error {
	var group []*row
	err := mergeRows(append(before, rowsCursor(rows)), func(w *row, open bool) bool {
		if len(group) > 0 && (comparePlace(group[0], w) != 0 || compareIdentity(group[0], w) != 0) {
			j.interval(group)
			group = group[:0]
		}
		if open && len(group) > 0 { // the open row was there first, whatever its order says
			group = append(group, nil)
			copy(group[1:], group)
			group[0] = w
		} else {
			group = append(group, w)
		}
		return j.seg.err == nil && j.open.err == nil
	})
	if err == nil && len(group) > 0 {
		j.interval(group)
	}
	if err == nil {
		err = j.seg.err
	}
	if err == nil {
		err = j.open.err
	}
	return err
}
