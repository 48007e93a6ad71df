package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sort"

	"github.com/blocknat/blocknat/logging"
)

// A store is one journal opened for reading: its segments, and in memory the
// records of logs that are not sealed.
type store struct {
	name string
	fs   fs.FS

	segs []*segment
	open *segment // or nil

	wals   []*walReader // that are not in a segment
	load   *loader
	fresh  int    // rows of load that are not yet in mem
	mem    []*row // rows of load in order
	sizes  uint32 // size classes of mem
	torn   int64
	damage map[DamageError]struct{}
	order  []*DamageError // in the order of discovery
}

// maxDamage bounds the damage that is kept for reports.
const maxDamage = 10000

func (s *store) report(d *DamageError) {
	d.Journal = s.name
	if _, ok := s.damage[*d]; !ok && len(s.order) < maxDamage {
		s.damage[*d] = struct{}{}
		s.order = append(s.order, d)
	}
}

// refreshTries bounds how often a listing is tried again because a writer
// removed files meanwhile.
const refreshTries = 100

// refresh takes up what the directory has got. On an error the store is as before, or empty.
func (s *store) refresh(report func(*DamageError)) error {
	for try := 0; ; try++ {
		h, err := steady(s.fs)
		if err != nil {
			return err
		}
		if last := h.sealed(); last != 0 && h.open != last {
			report(&DamageError{File: openName(last), What: "the file is missing; intervals that are open after it are known by later records only"})
		}
		err = s.take(&h, report)
		if !errors.Is(err, fs.ErrNotExist) || try == refreshTries {
			return err
		}
	}
}

// take opens what is in force and closes what is not.
func (s *store) take(h *holdings, report func(*DamageError)) (err error) {
	old := s.segs
	segs := make([]*segment, 0, len(h.segs))
	defer func() {
		if err != nil {
			for _, g := range segs {
				if !slices.Contains(old, g) {
					g.Close()
				}
			}
		}
	}()
	for _, p := range h.segs {
		i := slices.IndexFunc(old, func(g *segment) bool { return g.span == p })
		if i >= 0 {
			segs = append(segs, old[i])
			continue
		}
		g, err := openSegment(s.fs, p.name(), p, segMagic, report)
		if err != nil {
			return err
		}
		segs = append(segs, g)
	}
	sealed := len(old) == 0 || h.sealed() != old[len(old)-1].span.last
	opens := s.open
	if have := opens != nil; have != (h.open != 0) || have && opens.span.last != h.open {
		opens = nil
		if h.open != 0 {
			if opens, err = openSegment(s.fs, openName(h.open), span{h.open, h.open}, openMagic, report); err != nil {
				return err
			}
		}
		if s.open != nil {
			s.open.Close()
		}
	}
	for _, g := range old {
		if !slices.Contains(segs, g) {
			g.Close()
		}
	}
	s.segs, s.open = segs, opens
	if sealed || s.load == nil || len(h.wals) < len(s.wals) {
		s.forget()
		s.load = &loader{}
		if opens != nil {
			s.load.open = opens.near
		}
		if n := len(segs); n > 0 && segs[n-1].sum.last != (order{max: yearOne}) {
			s.load.track.last, s.load.track.known = segs[n-1].sum.last, true
		}
	}
	return s.readLogs(h.wals, report)
}

// forget drops the records of logs.
func (s *store) forget() {
	for _, w := range s.wals {
		w.Close()
	}
	s.wals, s.load, s.mem, s.fresh, s.sizes, s.torn = nil, nil, nil, 0, 0, 0
}

// readLogs reads on in the last log that was read, and the logs after it.
func (s *store) readLogs(gens []uint64, report func(*DamageError)) error {
	if n := len(s.wals); n > 0 {
		w := s.wals[n-1]
		if err := w.grow(); err != nil {
			return err
		}
		if len(gens) > n && gens[n] == w.h.first+1 {
			w.limit(endOf(s.fs, w.h.first))
		}
		if err := s.drain(w, report); err != nil {
			return err
		}
	}
	for i := len(s.wals); i < len(gens); i++ {
		gen := gens[i]
		next := i+1 < len(gens) && gens[i+1] == gen+1
		end := uint64(wholeLog)
		if next {
			end = endOf(s.fs, gen)
		}
		w, err := openWAL(s.fs, gen)
		if errors.Is(err, errEmpty) && i+1 == len(gens) {
			break // it may be just being made
		}
		if err != nil {
			if w = lostLog(gen, end, err, report); w == nil {
				return err
			}
		}
		w.limit(end)
		s.wals = append(s.wals, w)
		s.load.begin(gen)
		if err := s.drain(w, report); err != nil {
			return err
		}
	}
	s.index()
	return nil
}

func (s *store) drain(w *walReader, report func(*DamageError)) error {
	var r logging.Record
	for {
		err := w.next(&r, report)
		if err == io.EOF {
			s.torn = w.frames.torn
			return nil
		}
		if err == nil {
			err = s.load.add(&r)
		}
		if err != nil {
			return err
		}
	}
}

// index brings the rows that were read last in order with the others.
func (s *store) index() {
	rows := s.load.rows
	added := make([]*row, 0, len(rows)-s.fresh)
	for i := s.fresh; i < len(rows); i++ {
		added = append(added, &rows[i])
		s.sizes |= 1 << rows[i].shape.size()
	}
	s.fresh = len(rows)
	if len(added) == 0 {
		return
	}
	slices.SortFunc(added, compareRow)
	merged := make([]*row, 0, len(s.mem)+len(added))
	for len(s.mem) > 0 && len(added) > 0 {
		if compareRow(s.mem[0], added[0]) <= 0 {
			merged, s.mem = append(merged, s.mem[0]), s.mem[1:]
		} else {
			merged, added = append(merged, added[0]), added[1:]
		}
	}
	s.mem = append(append(merged, s.mem...), added...)
}

func (s *store) close() (err error) {
	for _, g := range s.segs {
		err = errors.Join(err, g.Close())
	}
	if s.open != nil {
		err = errors.Join(err, s.open.Close())
	}
	s.forget()
	s.segs, s.open = nil, nil
	return err
}

// memReach is how far a row of a log reaches: what no end is known of, for ever.
func memReach(w *row) logging.Millis {
	if w.shape.form == formEnd {
		return w.reach()
	}
	return forever
}

const forever logging.Millis = 1<<63 - 1

// findMem is segment.findSize for rows in memory.
func (s *store) findMem(fam family, ext number, size uint8, low, high uint16, first, last logging.Millis, f func(*row)) {
	if s.sizes&(1<<size) == 0 {
		return
	}
	compare := func(w *row, port uint16) int {
		if c := compareNumber(w.shape.ext, w.ext, fam, ext); c != 0 {
			return c
		}
		if c := int(w.shape.size()) - int(size); c != 0 {
			return c
		}
		return int(w.first) - int(port)
	}
	at := sort.Search(len(s.mem), func(i int) bool { return compare(s.mem[i], low) >= 0 })
	for ; at < len(s.mem) && compare(s.mem[at], high) <= 0; at++ {
		if w := s.mem[at]; w.from <= last && memReach(w) >= first {
			f(w)
		}
	}
}

// findSize calls f for the rows of all parts of the store that are of the size
// class, begin with a port low to high, begin at or before last and reach first.
func (s *store) findSize(fam family, ext number, size uint8, low, high uint16, first, last logging.Millis, sc *scratch, f func(*row)) error {
	for _, g := range s.segs {
		if g.sum.sizes&(1<<size) == 0 || g.sum.minFrom > last || g.sum.maxReach < first {
			continue
		}
		if err := g.findSize(fam, ext, size, low, high, first, last, sc, f); err != nil {
			return fmt.Errorf("journal: %s: %w", g.name, err)
		}
	}
	if g := s.open; g != nil && g.sum.sizes&(1<<size) != 0 && g.sum.minFrom <= last {
		if err := g.findSize(fam, ext, size, low, high, first, last, sc, f); err != nil {
			return fmt.Errorf("journal: %s: %w", g.name, err)
		}
	}
	s.findMem(fam, ext, size, low, high, first, last, f)
	return nil
}

// sizeMask has the size classes of all rows of the store.
func (s *store) sizeMask() uint32 {
	m := s.sizes
	for _, g := range s.segs {
		m |= g.sum.sizes
	}
	if s.open != nil {
		m |= s.open.sum.sizes
	}
	return m
}

// cursors returns cursors over all rows.
func (s *store) cursors() []*cursor {
	var out []*cursor
	for _, g := range s.segs {
		out = append(out, newCursor(g))
	}
	if s.open != nil {
		out = append(out, newCursor(s.open))
	}
	return append(out, rowsCursor(s.mem))
}
