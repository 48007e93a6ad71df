package journal

import (
	"errors"
	"fmt"

	"github.com/blocknat/blocknat/logging"
)

// commit writes what waits in the buffer, synchronises it if told to, and tells
// the batch. The caller holds j.mu, which is released while the disk works, and
// has seen that nobody writes.
//
// After an error the file ends where it ended before, or is given up: then the
// next log's header says how much of it counts. A batch that callers wait for is
// refused; the records of a Buffered journal stay in the buffer and are tried
// again.
func (j *Journal) commit(sync bool) error {
	b := j.cur
	if len(j.buf) == 0 && !(sync && j.dirty) {
		return nil
	}
	j.writing = true
	j.out, j.buf = j.buf, j.out[:0]
	alone := b.records == 0 // a synchronisation alone: the batch takes what comes meanwhile
	if !alone {
		j.cur = j.newBatch()
	}
	err := j.write(sync)
	switch {
	case alone:
	case err == nil:
		b.done = true
		j.stats.Records += b.records
	case j.c.Commit == Buffered:
		// Back to the front, with what came meanwhile behind it.
		later := j.buf
		j.buf = append(j.out, later...)
		j.out = later[:0]
		if b != j.cur {
			b.records += j.cur.records
			j.cur = b
		}
		j.reframe(j.buf)
	default:
		b.done, b.err = true, err
		j.stats.Refused += b.records
		j.reframe(j.buf)
	}
	j.fault = err
	j.out = j.out[:0]
	if b.done && b.waiters == 0 && b != j.cur {
		j.free = b
	}
	if err == nil && j.wal.good >= int64(j.c.WALSize) && !j.syncing && !j.closed && !j.backlog() {
		j.cond.Broadcast() // the batch is done
		j.roll()
	}
	j.writing = false
	j.cond.Broadcast()
	return err
}

func (j *Journal) newBatch() *batch {
	if b := j.free; b != nil {
		j.free = nil
		*b = batch{}
		return b
	}
	return &batch{}
}

// write brings j.out to the file.
func (j *Journal) write(sync bool) error {
	w, out, good := j.wal.f, j.out, j.wal.good
	h := j.wal.header
	j.mu.Unlock()
	var n int
	var err error
	if w == nil {
		if w, err = j.create(h); err != nil {
			j.mu.Lock()
			return refusal(err)
		}
	}
	if len(out) > 0 {
		n, err = w.Write(out)
		if err == nil && n < len(out) {
			err = errors.New("short write without an error")
		}
	}
	spoilt := false
	if err != nil {
		spoilt = w.Truncate(good) != nil
	} else if sync {
		// Nobody knows what of a file is on the disk after a failed
		// synchronisation, and a second one may falsely succeed.
		err = w.Sync()
		spoilt = err != nil
	}
	if spoilt {
		_ = w.Truncate(good)
		w.Close()
	}
	j.mu.Lock()
	if err != nil {
		if spoilt {
			for j.syncing {
				j.cond.Wait()
			}
			j.begin(j.wal.first+1, uint64(good))
			j.wake()
		}
		if !spoilt {
			j.wal.f = w
		}
		return refusal(err)
	}
	j.wal.f = w
	j.wal.good += int64(n)
	j.stats.Bytes += uint64(n)
	if sync {
		j.dirty = false
		j.stats.Syncs++
	} else {
		j.dirty = true
	}
	return nil
}

// refusal makes an error of the disk one of a log, which keeps what it was.
func refusal(err error) error {
	return fmt.Errorf("%w: the journal cannot be written: %w; make room or repair the disk, the journal goes on by itself", logging.ErrFull, err)
}

// create makes the file of the write-ahead log that begin decided on.
func (j *Journal) create(h header) (file, error) {
	name := walName(h.first)
	f, err := j.fs.Create(name)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(h.append(nil))
	if err == nil && !j.c.NoSync {
		if err = f.Sync(); err == nil {
			err = j.fs.SyncDir()
		}
	}
	if err != nil {
		f.Close()
		_ = j.fs.Remove(name)
		return nil, err
	}
	return f, nil
}

// roll ends the log in use, which holds something, and decides on the next one.
// The caller holds j.mu, which is released meanwhile, and has set j.writing.
func (j *Journal) roll() {
	w := j.wal.f
	if w == nil {
		return
	}
	sync := !j.c.NoSync && j.dirty
	j.mu.Unlock()
	if sync {
		if err := w.Sync(); err != nil && j.c.OnError != nil {
			j.c.OnError(fmt.Errorf("journal: %s cannot be synchronised: %w", walName(j.wal.first), err))
		}
	}
	w.Close()
	j.mu.Lock()
	j.dirty = false
	j.begin(j.wal.first+1, uint64(j.wal.good))
	j.wake()
}

// flush is what the journal's goroutine does every Interval: it writes what a
// Buffered journal holds, and synchronises what a Written one wrote, without
// holding up those who append.
func (j *Journal) flush(long bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing || j.syncing {
		j.cond.Wait()
	}
	if j.closed {
		return nil
	}
	if len(j.buf) > 0 {
		return j.commit(!j.c.NoSync && !long)
	}
	if !j.dirty || j.c.NoSync || j.wal.f == nil {
		return nil
	}
	w := j.wal.f
	j.dirty, j.syncing = false, true
	j.mu.Unlock()
	err := w.Sync()
	j.mu.Lock()
	j.syncing = false
	j.stats.Syncs++
	j.cond.Broadcast()
	if err != nil {
		// What was written since may be lost with the power. The log is ended,
		// so that later records do not stand behind a gap.
		err = fmt.Errorf("journal: %s cannot be synchronised; a loss of power would lose its last records: %w", walName(j.wal.first), err)
		for j.writing {
			j.cond.Wait()
		}
		if j.wal.f == w {
			w.Close()
			j.begin(j.wal.first+1, uint64(j.wal.good))
			j.wake()
		}
	}
	return err
}
