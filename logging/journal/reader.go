package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// A Reader answers from the directories of one or several journals, also while
// they are written. Answers are as of the last Refresh. It is safe for concurrent
// use.
type Reader struct {
	mu      sync.RWMutex
	stores  []*store
	resolve logging.Resolver
	hosts   map[hostKey][]hostRun // by epoch
	epochs  epochIndex

	damage sync.Mutex // of the stores
}

type hostKey struct {
	host     string
	instance uint32
}

// OpenReader opens the journals in the directories for reading. It writes
// nothing and needs no lock. An empty or new directory is an empty journal; one
// that does not exist, or has other files than a journal's only, is an error.
func OpenReader(dirs ...string) (*Reader, error) {
	r := &Reader{}
	for _, d := range dirs {
		r.stores = append(r.stores, newStore(d, directory(d)))
	}
	return r, r.begin()
}

// NewReader is OpenReader for any file systems, such as a journal that was
// embedded or is in an archive. Files that cannot be read at any place are
// read into memory.
func NewReader(journals ...fs.FS) (*Reader, error) {
	r := &Reader{}
	for i, f := range journals {
		r.stores = append(r.stores, newStore(fmt.Sprintf("journal %d", i+1), f))
	}
	return r, r.begin()
}

func newStore(name string, fsys fs.FS) *store {
	return &store{name: name, fs: fsys, damage: map[DamageError]struct{}{}}
}

// ErrNoJournal means that a directory holds files, but none of a journal.
var ErrNoJournal = errors.New("no journal: it has none of the files of one; name the directory that the journal was opened in")

func (r *Reader) begin() error {
	if len(r.stores) == 0 {
		return errors.New("journal: no directory is named")
	}
	err := r.Refresh()
	for _, s := range r.stores {
		if err != nil {
			break
		}
		if len(s.segs) == 0 && s.open == nil && len(s.wals) == 0 {
			err = s.foreign()
		}
	}
	if err != nil {
		r.Close()
	}
	return err
}

// foreign reports a directory that is not empty and no journal's.
func (s *store) foreign() error {
	entries, err := fs.ReadDir(s.fs, ".")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, e := range entries {
		if e.Name() == lockName || len(arrange([]string{e.Name()}).wals) > 0 {
			return nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return fmt.Errorf("journal: %s is %w", s.name, ErrNoJournal)
}

// Refresh takes up what the journals got since it was called last.
func (r *Reader) Refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.stores {
		if err := s.refresh(r.reporter(s)); err != nil {
			errs = append(errs, fmt.Errorf("journal: %s: %w", s.name, err))
		}
	}
	r.readHosts()
	r.epochs.reset()
	return errors.Join(errs...)
}

// reporter notes damage that is found while a store is read.
func (r *Reader) reporter(s *store) func(*DamageError) {
	return func(d *DamageError) {
		r.damage.Lock()
		defer r.damage.Unlock()
		s.report(d)
	}
}

// Close closes the files.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, s := range r.stores {
		err = errors.Join(err, s.close())
	}
	r.stores = nil
	return err
}

// Damage returns what was found damaged so far: what Refresh came across, and
// what was read since. To look at all that there is, read Intervals and
// Records to the end. The first 10,000 faults of each journal are kept.
func (r *Reader) Damage() []*DamageError {
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.damage.Lock()
	defer r.damage.Unlock()
	var out []*DamageError
	for _, s := range r.stores {
		out = append(out, s.order...)
	}
	return out
}

// JournalStats counts what one journal holds.
type JournalStats struct {
	Journal  string
	Segments int
	// Logs are the write-ahead logs that are not yet in a segment, and
	// Unsealed the records in them.
	Logs, Unsealed int
	// Rows of segments: allocations and what else begins an interval, releases
	// and what else ends one, interim records, and records of other kinds.
	Rows, Begins, Ends, Interims, Others uint64
	// Open counts the intervals that were open after the last sealing.
	Open uint64
	// Bytes of all files; SegmentBytes of segments alone.
	Bytes, SegmentBytes int64
	// Oldest and Newest bound the times of records.
	Oldest, Newest logging.Millis
	// Torn is how many bytes at the end of the last log are no whole record:
	// it is just being written, or a crash cut it before it was accepted.
	Torn int64
}

// Stats counts what the journals hold, without reading it.
func (r *Reader) Stats() ([]JournalStats, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []JournalStats
	for _, s := range r.stores {
		st, err := s.stats()
		if err != nil {
			return nil, fmt.Errorf("journal: %s: %w", s.name, err)
		}
		out = append(out, st)
	}
	return out, nil
}

func (s *store) stats() (JournalStats, error) {
	st := JournalStats{Journal: s.name, Segments: len(s.segs), Logs: len(s.wals), Torn: s.torn}
	oldest, newest := lastTime, yearOne
	for _, g := range s.segs {
		m := &g.sum
		st.Rows += m.rows
		st.Begins += m.begins
		st.Ends += m.ends
		st.Interims += m.interims
		st.Others += m.others
		st.SegmentBytes += g.src.size
		if m.rows+m.others > 0 {
			oldest, newest = min(oldest, m.minTime), max(newest, m.maxTime)
		}
	}
	if g := s.open; g != nil && g.sum.rows > 0 {
		st.Open = g.sum.rows
		oldest, newest = min(oldest, g.sum.minTime), max(newest, g.sum.maxTime)
	}
	if s.load != nil {
		st.Unsealed = len(s.load.rows) + len(s.load.others)
		for i := range s.load.rows {
			w := &s.load.rows[i]
			oldest, newest = min(oldest, w.timeA, w.timeB), max(newest, w.timeA, w.timeB)
		}
		for i := range s.load.others {
			t := s.load.others[i].r.Time
			oldest, newest = min(oldest, t), max(newest, t)
		}
	}
	if oldest <= newest {
		st.Oldest, st.Newest = oldest, newest
	}
	var err error
	st.Bytes, err = bytesOf(s.fs)
	return st, err
}

// Resolve makes f answer for configuration epochs, of which Who tells nothing
// before, as logging.Index.Resolve does.
func (r *Reader) Resolve(f logging.Resolver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resolve = f
	r.epochs.reset()
}

// EpochAt returns the last ConfigEpoch record of host and instance at or before
// the instant.
func (r *Reader) EpochAt(host string, instance uint32, at time.Time) (logging.Record, bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	x, err := r.epochIndex()
	if err != nil {
		return logging.Record{}, false, err
	}
	rec, ok := x.EpochAt(host, instance, at)
	return rec, ok, nil
}
