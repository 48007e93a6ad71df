package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
)

const (
	// fanout is how many segments of one level merge to one of the next.
	fanout = 8
	// maxRows bounds the rows of a merged segment; its index has 56 bytes for each 512.
	maxRows = 1 << 25
)

// level counts how often a segment's generations were merged.
func (s span) level(fanout uint64) int {
	n := s.last - s.first + 1
	level := 0
	for ; n >= fanout; n /= fanout {
		level++
	}
	return level
}

// mergeDue merges runs of segments as long as some are due: fanout of one level
// that follow each other. A level fills up at the end of the list, so records
// are merged once a level.
func (j *Journal) mergeDue() error {
	for !j.stopping() {
		h, err := list(j.fs)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		at := due(h.segs, j.c.fanout, j.spoilt)
		if at < 0 {
			return nil
		}
		segs := h.segs[at : at+j.c.fanout]
		switch err := j.merge(segs); {
		case errors.Is(err, errSkip):
			j.spoilt[segs[0]] = true
		case err != nil:
			return fmt.Errorf("journal: segments %s to %s cannot be merged: %w; they stay as they are, and it is tried again", segs[0].name(), segs[len(segs)-1].name(), err)
		}
	}
	return nil
}

// due returns where fanout segments of one level begin, or -1.
func due(segs []span, fanout int, spoilt map[span]bool) int {
	for at := 0; at+fanout <= len(segs); at++ {
		level := segs[at].level(uint64(fanout))
		if spoilt[segs[at]] {
			continue
		}
		same := func(s span) bool { return s.level(uint64(fanout)) == level }
		run := segs[at : at+fanout]
		if !slices.ContainsFunc(run, func(s span) bool { return !same(s) }) {
			return at
		}
	}
	return -1
}

// errSkip means that segments are not to be merged: they would become too
// large, cover too long a time, or are damaged.
var errSkip = errors.New("journal: segments are left alone")

// merge makes one segment of several that follow each other.
func (j *Journal) merge(spans []span) (err error) {
	var segs []*segment
	damaged := false
	defer func() {
		for _, g := range segs {
			g.Close()
		}
	}()
	rows, sum := uint64(0), summary{minTime: lastTime, maxTime: yearOne}
	for _, s := range spans {
		g, err := openSegment(j.fs, s.name(), s, segMagic, func(d *DamageError) { damaged = true; j.damage(d) })
		if err != nil {
			return err
		}
		segs = append(segs, g)
		rows += g.sum.rows + g.sum.others
		sum.minTime, sum.maxTime = min(sum.minTime, g.sum.minTime), max(sum.maxTime, g.sum.maxTime)
	}
	if damaged || rows > maxRows || rows > 0 && time.Duration(sum.maxTime-sum.minTime)*time.Millisecond > j.spanOf(segs) {
		return errSkip
	}
	whole := span{spans[0].first, spans[len(spans)-1].last}
	f, err := j.fs.Create(whole.name() + tempName)
	if err != nil {
		return err
	}
	err = j.writeMerged(newSegmentWriter(f, segMagic, whole), segs)
	err = errors.Join(err, f.Close())
	if err == nil && damaged {
		err = errSkip
	}
	if err != nil {
		_ = j.fs.Remove(whole.name() + tempName)
		return err
	}
	if err := j.fs.Rename(whole.name()+tempName, whole.name()); err != nil {
		return err
	}
	if err := j.fs.SyncDir(); err != nil {
		return err
	}
	for _, s := range spans {
		_ = j.fs.Remove(s.name()) // passed over in reading
	}
	j.mu.Lock()
	j.stats.Merged++
	j.mu.Unlock()
	return nil
}

// spanOf is the time that a merged segment may cover: SegmentSpan. Records whose
// times are far off, as of a clock that was wrong, would keep their segment from
// ever merging; so segments that alone cover more do not count.
func (j *Journal) spanOf(segs []*segment) time.Duration {
	most := j.c.SegmentSpan
	for _, g := range segs {
		if d := time.Duration(min(int64(g.sum.maxTime-g.sum.minTime), int64(100*365*24*time.Hour/time.Millisecond))) * time.Millisecond; g.sum.rows+g.sum.others > 0 && d > j.c.SegmentSpan {
			return 1<<63 - 1
		}
	}
	return most
}

func (j *Journal) writeMerged(w *segmentWriter, segs []*segment) error {
	var cursors []*cursor
	for _, g := range segs {
		cursors = append(cursors, newCursor(g))
		w.sum.runs = append(w.sum.runs, g.sum.runs...)
		if w.sum.last.compare(g.sum.last) < 0 {
			w.sum.last = g.sum.last
		}
	}
	n := 0
	err := mergeRows(cursors, func(r *row, _ bool) bool {
		w.add(r)
		n++
		return w.err == nil && (n&0xffff != 0 || !j.stopping())
	})
	if err == nil && j.stopping() {
		err = errSkip
	}
	if err != nil {
		return err
	}
	// Orders of one segment come after those of the one before it.
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	for sort := range uint8(2) {
		for _, g := range segs {
			for i := range g.sum.refs {
				if g.sum.refs[i].sort != sort {
					continue
				}
				if err := g.others(i, sc, func(o *other) { w.addOther(o) }); err != nil {
					return err
				}
			}
		}
	}
	return w.finish()
}

// deleteDue deletes what MaxAge and MaxBytes say.
func (j *Journal) deleteDue() error {
	if j.c.MaxAge > 0 {
		if _, err := j.deleteBefore(logging.MillisOf(j.c.Now().Add(-j.c.MaxAge))); err != nil {
			return err
		}
	}
	if j.c.MaxBytes == 0 {
		return nil
	}
	h, err := list(j.fs)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	total, err := bytesOf(j.fs)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for i := 0; i+1 < len(h.segs) && total > j.c.MaxBytes; i++ {
		info, err := fs.Stat(j.fs, h.segs[i].name())
		if err == nil {
			err = j.remove(h.segs[i])
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		total -= info.Size()
	}
	return nil
}

// bytesOf is the size of all files of the directory.
func bytesOf(fsys fs.FS) (total int64, err error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

func (j *Journal) remove(s span) error {
	if err := j.fs.Remove(s.name()); err != nil {
		return err
	}
	j.mu.Lock()
	j.stats.Deleted++
	j.mu.Unlock()
	return j.fs.SyncDir()
}

// DeleteBefore deletes the segments of which every record and every interval's
// end lies before t, and returns how many. The newest segment stays. Open
// intervals stay, whatever their age.
func (j *Journal) DeleteBefore(t time.Time) (int, error) {
	j.upkeep.Lock()
	defer j.upkeep.Unlock()
	return j.deleteBefore(logging.MillisOf(t))
}

// DeleteWithin deletes the segments of which every record and every interval,
// from its beginning to its end, lies between from and to, both included, and returns how
// many. The newest segment stays, and so do open intervals.
func (j *Journal) DeleteWithin(from, to time.Time) (int, error) {
	first, last := logging.MillisOf(from), logging.MillisOf(to)
	j.upkeep.Lock()
	defer j.upkeep.Unlock()
	return j.delete(func(s *summary) bool {
		return min(s.minFrom, s.minTime) >= first && max(s.maxReach, s.maxTime) <= last
	})
}

func (j *Journal) deleteBefore(t logging.Millis) (int, error) {
	return j.delete(func(s *summary) bool { return max(s.maxReach, s.maxTime) < t })
}

// delete deletes the segments that due picks, but for the newest one.
func (j *Journal) delete(due func(*summary) bool) (n int, err error) {
	h, err := list(j.fs)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	for i := 0; i+1 < len(h.segs); i++ {
		s := h.segs[i]
		g, err := openSegment(j.fs, s.name(), s, segMagic, j.damage)
		if err != nil {
			return n, fmt.Errorf("journal: %w", err)
		}
		gone := due(&g.sum) && !g.partial
		g.Close()
		if !gone {
			continue
		}
		if err := j.remove(s); err != nil {
			return n, fmt.Errorf("journal: %w", err)
		}
		n++
	}
	return n, nil
}
