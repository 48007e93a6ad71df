package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// keepUp seals, merges and deletes in the background until the journal is
// closed. What fails, as on a full disk, is tried again after a while.
func (j *Journal) keepUp() {
	defer j.workers.Done()
	var again <-chan time.Time
	for wait := leastWait; ; {
		select {
		case <-j.stop:
			return
		case <-j.work:
		case <-again:
		}
		err := j.maintain()
		if again = nil; err == nil {
			wait = leastWait
			continue
		}
		if j.c.OnError != nil {
			j.c.OnError(err)
		}
		again = time.After(wait)
		wait = min(2*wait, mostWait)
	}
}

// The time between two tries of work in the background.
const (
	leastWait = time.Second
	mostWait  = 30 * time.Second
)

// Seal ends the write-ahead log in use, makes segments of all logs, merges and
// deletes what is due, and returns when that is done. A journal does so by
// itself when a log is long enough; Seal is for those who want to copy segments
// at a time of their choice.
func (j *Journal) Seal() error {
	j.mu.Lock()
	for j.writing || j.syncing {
		j.cond.Wait()
	}
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	err := j.commit(true)
	if err == nil {
		for j.writing || j.syncing {
			j.cond.Wait()
		}
		if !j.closed {
			j.writing = true
			j.roll()
			j.writing = false
			j.cond.Broadcast()
		}
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.maintain()
}

// stopping reports whether the journal was closed: work that may wait is left
// for the next one that opens it.
func (j *Journal) stopping() bool {
	select {
	case <-j.stop:
		return true
	default:
		return false
	}
}

// maintain seals all logs that are not in use, merges and deletes.
func (j *Journal) maintain() error {
	j.upkeep.Lock()
	defer j.upkeep.Unlock()
	j.mu.Lock()
	using := j.wal.first
	j.mu.Unlock()
	h, err := list(j.fs)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, gen := range h.wals {
		if gen >= using || j.stopping() {
			break
		}
		if err := j.seal(gen); err != nil {
			return fmt.Errorf("journal: %s cannot be made a segment: %w; it is kept and tried again", walName(gen), err)
		}
	}
	if !j.stopping() {
		j.mu.Lock()
		j.sealed = max(j.sealed, using-1) // also generations that never became a log
		j.mu.Unlock()
	}
	return errors.Join(j.mergeDue(), j.deleteDue())
}

// damage tells the caller's OnError what was found damaged while sealing.
func (j *Journal) damage(d *DamageError) {
	if j.c.OnError != nil {
		j.c.OnError(d)
	}
}

// leastRecord is what a record of a block takes in a log, with short names.
const leastRecord = 40

// seal makes the segment of one log and the open intervals after it. Names
// appear in an order in which every crash leaves something whole:
//
//	1  both files under other names, synchronised
//	2  the open intervals get their name, which nobody looks at without the segment
//	3  the segment gets its name: from here on the log is not looked at
//	4  the log and the open intervals before are removed
func (j *Journal) seal(gen uint64) error {
	h, err := list(j.fs)
	if err != nil {
		return err
	}
	j.mu.Lock()
	end, known := j.ends[gen]
	j.mu.Unlock()
	if !known {
		end = endOf(j.fs, gen)
	}
	l := &loader{}
	var before *segment
	if h.open != 0 {
		if before, err = openSegment(j.fs, openName(h.open), span{h.open, h.open}, openMagic, j.damage); err != nil {
			return err
		}
		defer before.Close()
		l.open = before.near
	}
	if n := len(h.segs); n > 0 {
		if err := l.resume(j.fs, h.segs[n-1]); err != nil {
			return err
		}
	}
	l.begin(gen)
	if info, err := fs.Stat(j.fs, walName(gen)); err == nil {
		l.rows = make([]row, 0, info.Size()/leastRecord) // growing would take twice the room
	}
	if err := readWAL(j.fs, gen, end, j.damage, l.add); err != nil {
		return err
	}
	if err := j.writeSealed(l, before, gen); err != nil {
		_ = j.fs.Remove(openName(gen) + tempName)
		_ = j.fs.Remove(segName(gen, gen) + tempName)
		return err
	}
	for _, step := range []func() error{
		func() error { return j.fs.Rename(openName(gen)+tempName, openName(gen)) },
		j.fs.SyncDir,
		func() error { return j.fs.Rename(segName(gen, gen)+tempName, segName(gen, gen)) },
		j.fs.SyncDir,
		func() error { return j.fs.Remove(walName(gen)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if h.open != 0 {
		_ = j.fs.Remove(openName(h.open)) // passed over in reading
	}
	j.mu.Lock()
	delete(j.ends, gen)
	j.sealed = gen
	j.stats.Sealed++
	j.mu.Unlock()
	return nil
}

// resume lets orders go on where the segment ended.
func (l *loader) resume(fsys fs.FS, s span) error {
	g, err := openSegment(fsys, s.name(), s, segMagic, func(*DamageError) {})
	if err != nil {
		return err
	}
	defer g.Close()
	if g.sum.last != (order{max: yearOne}) {
		l.track.last, l.track.known = g.sum.last, true
	}
	return nil
}

// near returns the rows that may have the identity of w.
func (g *segment) near(w *row) ([]row, error) {
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	var out []row
	err := g.findSize(w.shape.ext.plain(), w.ext, w.shape.size(), w.first, w.first, yearOne, lastTime, sc, func(w *row) { out = append(out, *w) })
	return out, err
}

func (j *Journal) writeSealed(l *loader, before *segment, gen uint64) error {
	s := span{gen, gen}
	of, err := j.fs.Create(openName(gen) + tempName)
	if err != nil {
		return err
	}
	defer of.Close()
	sf, err := j.fs.Create(s.name() + tempName)
	if err != nil {
		return err
	}
	defer sf.Close()
	m := joiner{
		shapes: &l.shapes, seg: newSegmentWriter(sf, segMagic, s), open: newSegmentWriter(of, openMagic, s), latest: l.track.last.max,
	}
	m.seg.sum.runs, m.seg.sum.last = l.runs, order{max: yearOne}
	if l.track.known {
		m.seg.sum.last = l.track.last
	}
	m.open.sum.last = m.seg.sum.last
	var cursors []*cursor
	if before != nil {
		cursors = append(cursors, newCursor(before))
	}
	if err := m.join(cursors, l.sorted()); err != nil {
		return err
	}
	for i := range l.others {
		m.seg.addOther(&l.others[i])
	}
	return errors.Join(m.seg.finish(), m.open.finish())
}
