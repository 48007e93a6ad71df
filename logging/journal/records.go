package journal

import (
	"fmt"
	"iter"
	"slices"

	"github.com/blocknat/blocknat/logging"
)

// Records yields all records, journal by journal, in the order in which each
// accepted them. It holds the records of one generation in memory, about ten
// times Config.WALSize, and reads the segments that a generation's records are in once for
// each. What is damaged is left out and told by Damage; an error means that a
// file could not be read, and ends the records of its journal.
//
// The Reader must not be refreshed or closed before the end; no other method
// waits for it.
func (r *Reader) Records() iter.Seq2[logging.Record, error] {
	return func(yield func(logging.Record, error) bool) {
		for _, s := range r.list() {
			for _, w := range s.windows() {
				events, err := s.events(w)
				if err != nil {
					if !yield(logging.Record{}, fmt.Errorf("journal: %s: %w", s.name, err)) {
						return
					}
					break
				}
				for i := range events {
					if !yield(events[i].record(), nil) {
						return
					}
				}
			}
		}
	}
}

func (r *Reader) list() []*store {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.stores
}

// A frame of time in the order of records: those after one and up to another one.
type orderSpan struct {
	gen         uint64
	after, last order
	unsealed    bool
}

func (u *orderSpan) has(o order) bool { return o.compare(u.after) > 0 && o.compare(u.last) <= 0 }

var (
	firstOrder = order{max: yearOne - 1}
	lastOrder  = order{1<<64 - 1, lastTime, 1<<64 - 1}
)

// windows returns spans that hold the records of one generation each, in order.
// Where a segment lost something, records of its generations that stand in others
// fall between them, and there are spans for those too.
func (s *store) windows() []orderSpan {
	var out []orderSpan
	partial := s.open != nil && s.open.partial
	after := firstOrder
	for _, g := range s.segs {
		partial = partial || g.partial
		for _, u := range g.sum.runs {
			if u.last.compare(after) > 0 {
				out = append(out, orderSpan{u.gen, after, u.last, false})
				after = u.last
			}
		}
	}
	var logs []run
	if s.load != nil {
		logs = s.load.runs
	}
	if partial {
		between := lastOrder
		if len(logs) > 0 {
			between = logs[0].first
			if between.rank > 0 {
				between.rank--
			} else {
				between.max, between.rank = between.max-1, 1<<64-1
			}
		}
		out = append(out, orderSpan{0, after, between, false})
		after = between
	}
	for _, u := range logs {
		out = append(out, orderSpan{u.gen, after, u.last, true})
		after = u.last
	}
	return out
}

// eventRef is one record of a span.
type eventRef struct {
	order
	w *row            // with b: the row's second record
	r *logging.Record // where w is nil
	b bool
}

func (e *eventRef) record() logging.Record {
	if e.w == nil {
		return *e.r
	}
	return e.w.record(e.b)
}

// events returns the records of a span in order.
func (s *store) events(u orderSpan) ([]eventRef, error) {
	var out []eventRef
	addRow := func(w *row) {
		if w.shape.form.hasA() && u.has(w.orderA()) {
			out = append(out, eventRef{order: w.orderA(), w: w})
		}
		if w.shape.form.hasB() && u.has(w.orderB()) {
			out = append(out, eventRef{order: w.orderB(), w: w, b: true})
		}
	}
	if u.unsealed {
		for i := range s.load.rows {
			addRow(&s.load.rows[i])
		}
		for i := range s.load.others {
			if o := &s.load.others[i]; u.has(o.order) {
				out = append(out, eventRef{order: o.order, r: &o.r})
			}
		}
	}
	if !u.unsealed {
		sc := scratches.Get().(*scratch)
		defer scratches.Put(sc)
		segs := s.segs
		if s.open != nil {
			segs = append(slices.Clone(segs), s.open)
		}
		for _, g := range segs {
			// A record's time is not after the latest time up to it.
			if g.span.last < u.gen || g.sum.minTime > u.last.max {
				continue
			}
			if err := g.events(&u, sc, addRow, func(o *other) {
				r := o.r
				out = append(out, eventRef{order: o.order, r: &r})
			}); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(out, func(a, b eventRef) int { return a.order.compare(b.order) })
	return out, nil
}

// events calls addRow for each row with a record of the span, and more for each
// record of the span that makes no row. Rows stay good.
func (g *segment) events(u *orderSpan, sc *scratch, addRow func(*row), more func(*other)) error {
	for i := range g.sum.chunks {
		ok, err := g.chunk(i, sc)
		if err != nil {
			return err
		}
		for k := 0; ok && k < sc.c.n; k++ {
			if s := sc.c.shapeOf(k); s != nil && !sc.c.mayBeIn(k, s, u) {
				continue
			}
			w := new(row)
			if sc.c.row(k, w) != nil {
				g.lost(i)
				break
			}
			addRow(w)
		}
	}
	for i := range g.sum.refs {
		ref := &g.sum.refs[i]
		if ref.last.compare(u.after) <= 0 || ref.first.compare(u.last) > 0 {
			continue
		}
		if err := g.others(i, sc, func(o *other) {
			if u.has(o.order) {
				more(o)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// mayBeIn reports whether a record of row k may belong to the span, by times alone.
func (c *chunk) mayBeIn(k int, s *shape, u *orderSpan) bool {
	in := func(t logging.Millis) bool { return (t >= u.after.max || u.after.era != u.last.era) && t <= u.last.max }
	from := logging.Millis(c.columns[colFrom].at(k)) + yearOne
	if s.form.hasA() && in(from+logging.Millis(unzigzag(c.columns[colDelayA].at(k)))+logging.Millis(c.columns[colLagA].at(k))) {
		return true
	}
	if !s.form.hasB() {
		return false
	}
	duration := logging.Millis(c.columns[colDuration].at(k))
	if s.b.flags&beforeFrom != 0 {
		duration = -duration
	}
	return in(from + duration + logging.Millis(c.columns[colLagB].at(k)))
}
