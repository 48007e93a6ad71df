package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Errors that callers branch on.
var (
	// ErrLocked means that another process, or another Journal of this one, has
	// the directory open for writing.
	ErrLocked = errors.New("journal: another writer has it open; close that one, or choose another directory")
	// ErrClosed means that the journal was closed. It is logging.ErrClosed.
	ErrClosed = logging.ErrClosed
)

// A Journal is a logging.Log that keeps records in a directory. It is safe for
// concurrent use. One Journal writes a directory at a time; any number of
// Readers read it meanwhile, in this process or in others.
type Journal struct {
	c    Config
	fs   filesystem
	lock io.Closer

	mu   sync.Mutex
	cond *sync.Cond // batches are done, files free

	wal  walFile
	buf  []byte // frames that are not yet written
	out  []byte // frames that are being written
	cur  *batch // whose records are in buf
	free *batch

	writing bool // a commit has the file
	syncing bool // a synchronisation in the background has the file
	dirty   bool // bytes were written since the last synchronisation
	closed  bool
	fault   error // of the last commit, nil after a success

	ends    map[uint64]uint64 // how much of logs that this process ended counts
	sealed  uint64            // the newest generation in a segment
	first   uint64            // the oldest generation that may still be a log
	stats   Stats
	kick    chan struct{} // the buffer is long
	work    chan struct{} // there may be something to seal
	stop    chan struct{}
	workers sync.WaitGroup

	upkeep sync.Mutex // one seals, merges and deletes at a time
	// spoilt are segments with which no merge begins: it would be too large, or
	// damaged ones stay as they are. upkeep guards it.
	spoilt map[span]bool
}

// walFile is the write-ahead log that takes records.
type walFile struct {
	header
	f    file  // nil: not yet made
	good int64 // up to here the file holds whole, accepted frames
	end  int64 // where the next frame will stand: good and all that waits
	seed uint32
}

// A batch is the records that share one write.
type batch struct {
	done    bool
	err     error
	waiters int
	records uint64
}

// Stats counts what a Journal did since it was opened.
type Stats struct {
	Records  uint64 // accepted
	Refused  uint64
	Bytes    uint64 // written to write-ahead logs
	Syncs    uint64 // of write-ahead logs
	Pending  int    // bytes that wait in memory
	Unsealed uint64 // write-ahead logs that are not yet a segment, the one in use too
	Sealed   uint64 // segments made
	Merged   uint64 // segments made of others
	Deleted  uint64 // segments deleted for age or size
	// Fault is why the last write failed, or nil if it succeeded.
	Fault error
}

// Open opens the journal in the directory for writing. It makes the directory
// if need be. What an earlier process left is taken up: its write-ahead logs
// become segments, an incomplete record at the end of one was never accepted
// and is passed over.
func Open(dir string, c Config) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return open(directory(dir), c)
}

func open(fsys filesystem, c Config) (*Journal, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	l, err := fsys.Lock()
	if err != nil {
		if errors.Is(err, ErrLocked) {
			return nil, err
		}
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{
		c: c, fs: fsys, lock: l, cur: &batch{}, ends: map[uint64]uint64{}, spoilt: map[span]bool{},
		kick: make(chan struct{}, 1), work: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	j.cond = sync.NewCond(&j.mu)
	h, err := list(fsys)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("journal: %w", err)
	}
	for _, name := range h.garbage {
		// What cannot be removed does no harm: it is passed over in reading.
		_ = fsys.Remove(name)
	}
	j.sealed = h.sealed()
	j.first = h.next()
	if len(h.wals) > 0 {
		j.first = h.wals[0]
	}
	j.begin(h.next(), wholeLog)
	if !c.manual {
		j.workers.Add(1)
		go j.keepUp()
		if c.Commit != Synced || c.Interval > 0 {
			j.workers.Add(1)
			go j.tick()
		}
		j.wake()
	}
	return j, nil
}

// begin decides on the next write-ahead log, which the next commit makes. What
// waits is framed for it. previous is the end of what counts of the log before.
func (j *Journal) begin(gen, previous uint64) {
	if previous != wholeLog {
		j.ends[gen-1] = previous
	}
	var id [8]byte
	rand.Read(id[:])
	j.wal = walFile{header: header{walMagic, id, gen, previous}, good: fileHeader}
	j.wal.seed = j.wal.header.seed()
	j.reframe(j.buf)
}

// reframe gives the frames in b, which follow what is good of the log, the
// checksums of their places.
func (j *Journal) reframe(b []byte) {
	off := j.wal.good
	for at := 0; at < len(b); {
		n := frameHeader + int(uint32(b[at+4])|uint32(b[at+5])<<8|uint32(b[at+6])<<16)
		endFrame(b[:at+n], at, off, j.wal.seed)
		at += n
		off += int64(n)
	}
	j.wal.end = off
}

// maxRecord bounds a record's bytes, which only zones of addresses can exceed.
const maxRecord = 1 << 18

// kickSize is how long the buffer gets before it is written ahead of time.
const kickSize = 1 << 16

// Append accepts r, or refuses it: with a *logging.FieldError what Record.Check
// refuses, with logging.ErrFull while the disk is full, fails, or does not keep
// up, with logging.ErrClosed after Close. What acceptance means is Config.Commit's
// choice. A refused record leaves nothing in the journal.
func (j *Journal) Append(r *logging.Record) error {
	if err := r.Check(); err != nil {
		j.mu.Lock()
		j.stats.Refused++
		j.mu.Unlock()
		return err
	}
	j.mu.Lock()
	if err := j.admit(); err != nil {
		j.stats.Refused++
		j.mu.Unlock()
		return err
	}
	at := len(j.buf)
	j.buf = appendRecord(beginFrame(j.buf), r)
	n := len(j.buf) - at
	if n > maxRecord || at > 0 && len(j.buf) > j.c.Pending {
		j.buf = j.buf[:at]
		j.stats.Refused++
		err := j.full()
		j.mu.Unlock()
		if n > maxRecord {
			err = &logging.FieldError{Kind: r.Kind, Field: "Subscriber", Rule: "and the other addresses must have zones of at most 1024 bytes"}
		}
		return err
	}
	endFrame(j.buf, at, j.wal.end, j.wal.seed)
	j.wal.end += int64(n)
	b := j.cur
	b.records++
	if j.c.Commit == Buffered {
		long := at < kickSize && len(j.buf) >= kickSize
		j.mu.Unlock()
		if long {
			notify(j.kick)
		}
		return nil
	}
	b.waiters++
	lead := j.c.Commit == Written || j.c.Interval == 0 || j.c.manual
	for !b.done {
		if lead && !j.writing {
			j.commit(j.c.Commit == Synced)
		} else {
			j.cond.Wait()
		}
	}
	err := b.err
	if b.waiters--; b.waiters == 0 {
		j.free = b
	}
	j.mu.Unlock()
	return err
}

// admit says why no record can be taken now.
func (j *Journal) admit() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.wal.end >= 2*int64(j.c.WALSize) && j.backlog():
		return fmt.Errorf("%w: %d write-ahead logs wait to become segments; the disk does not keep up, or Stats().Fault and OnError tell more", logging.ErrFull, j.wal.first-j.sealed)
	}
	return nil
}

// backlog reports whether as many logs wait for the sealer as may.
func (j *Journal) backlog() bool { return j.wal.first-max(j.sealed, j.first-1) >= uint64(j.c.Backlog) }

func (j *Journal) full() error {
	if j.fault != nil {
		return fmt.Errorf("%w: %d bytes wait in memory: %w", logging.ErrFull, len(j.buf), j.fault)
	}
	return fmt.Errorf("%w: %d bytes wait in memory for a slow disk", logging.ErrFull, len(j.buf))
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (j *Journal) wake() { notify(j.work) }

// Stats returns the counts.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Pending = len(j.buf) + len(j.out)
	s.Unsealed = j.wal.first - max(j.sealed, j.first-1)
	s.Fault = j.fault
	return s
}

// Sync returns when all that was accepted before is on the disk, or why it is not.
func (j *Journal) Sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing || j.syncing {
		j.cond.Wait()
	}
	if j.closed {
		return ErrClosed
	}
	return j.commit(true)
}

// Close writes and synchronises what waits and ends the journal. It says what
// was not written; that is lost. Records of a Written or Synced journal never
// wait here. A second Close returns logging.ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	for j.writing || j.syncing {
		j.cond.Wait()
	}
	err := j.commit(!j.c.NoSync)
	if err != nil && j.cur.records > 0 {
		err = fmt.Errorf("journal: %d accepted records are lost: %w", j.cur.records, err)
	}
	if j.wal.f != nil {
		err = errors.Join(err, j.wal.f.Close())
		j.wal.f = nil
	}
	j.cond.Broadcast()
	j.mu.Unlock()
	close(j.stop)
	j.workers.Wait()
	return errors.Join(err, j.lock.Close())
}

// tick writes and synchronises every Interval.
func (j *Journal) tick() {
	defer j.workers.Done()
	t := time.NewTicker(j.c.Interval)
	defer t.Stop()
	for {
		long := false
		select {
		case <-j.stop:
			return
		case <-t.C:
		case <-j.kick:
			long = true
		}
		if err := j.flush(long); err != nil && j.c.OnError != nil {
			j.c.OnError(err)
		}
	}
}
