package journal

import (
	"slices"

	"github.com/blocknat/blocknat/logging"
)

// A loader turns the records of write-ahead logs into rows of one record each.
type loader struct {
	shapes shapes
	track  tracker
	rows   []row
	others []other
	runs   []run

	// open returns the open intervals of segments that may have the identity of
	// a row. It is asked about ends that do not say when their interval began.
	open func(w *row) ([]row, error)
	// byPlace finds rows for such ends; nil while there was none.
	byPlace map[uint64][]int32
}

func (l *loader) begin(gen uint64) { l.track.begin(gen) }

func (l *loader) add(r *logging.Record) error {
	fresh := l.track.fresh
	o := l.track.next(r.Time)
	if n := len(l.runs); fresh || n == 0 {
		l.runs = append(l.runs, run{l.track.gen, o, o})
	} else {
		l.runs[n-1].last = o
	}
	kind, form := opening(r.Kind)
	if kind == 0 {
		l.others = append(l.others, other{o, *r})
		return nil
	}
	from := r.Start()
	if r.Allocated == 0 && form == formEnd {
		var err error
		if from, err = l.startOf(r); err != nil {
			return err
		}
	}
	l.rows = append(l.rows, l.shapes.makeRow(r, from, o))
	if l.byPlace != nil {
		l.enter(len(l.rows) - 1)
	}
	return nil
}

func (l *loader) enter(i int) {
	h := placeHash(&l.rows[i])
	l.byPlace[h] = append(l.byPlace[h], int32(i))
}

// placeHash is the same for rows of one identity and first port.
func placeHash(w *row) uint64 {
	h := hashNumber(w.shape.ext, w.ext)
	h = mix(h ^ uint64(w.first))
	return mix(h ^ hashNumber(w.shape.sub, w.sub))
}

// startOf returns the beginning of the interval that an end without one closes,
// as logging.Index does: the one that began at that time, else the latest open
// one; without any its own time.
func (l *loader) startOf(r *logging.Record) (logging.Millis, error) {
	if l.byPlace == nil {
		l.byPlace = map[uint64][]int32{}
		for i := range l.rows {
			l.enter(i)
		}
	}
	probe := l.shapes.makeRow(r, r.Time, order{max: r.Time})
	same := func(w *row) bool {
		return w.first == probe.first && compareNumber(w.shape.ext, w.ext, probe.shape.ext, probe.ext) == 0 && compareIdentity(w, &probe) == 0
	}
	starts := map[logging.Millis]*state{}
	note := func(w *row) {
		st := starts[w.from]
		if st == nil {
			st = &state{}
			starts[w.from] = st
		}
		st.add(w)
	}
	if l.open != nil {
		rows, err := l.open(&probe)
		if err != nil {
			return 0, err
		}
		for i := range rows {
			if same(&rows[i]) {
				note(&rows[i])
			}
		}
	}
	for _, i := range l.byPlace[placeHash(&probe)] {
		w := &l.rows[i]
		if !same(w) {
			continue
		}
		if w.shape.form == formEnd && w.shape.b.flags&allocatedSet == 0 && w.timeB == r.Time {
			return w.from, nil // the same record again
		}
		note(w)
	}
	if starts[r.Time] != nil {
		return r.Time, nil
	}
	best, found := logging.Millis(0), false
	for from, st := range starts {
		if from <= r.Time && st.open() && (!found || from > best) {
			best, found = from, true
		}
	}
	if !found {
		return r.Time, nil
	}
	return best, nil
}

// sorted returns the rows in the order of a segment. The loader is empty afterwards.
func (l *loader) sorted() []*row {
	out := make([]*row, len(l.rows))
	for i := range l.rows {
		out[i] = &l.rows[i]
	}
	slices.SortFunc(out, compareRow)
	return out
}
