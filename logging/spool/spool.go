package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
)

// Config says how a Spool works. The zero Config is ready.
type Config struct {
	// MaxBytes bounds the disk space of records, from 4096. 0 means 1 GiB.
	MaxBytes int64

	// SegmentBytes is the size from which on a file gets no more records, from
	// 1024 to half of MaxBytes. 0 means 8 MiB, or a quarter of MaxBytes where
	// that is less.
	SegmentBytes int64

	// Policy says what happens to a record that has no room, or that the disk
	// does not take: RefuseNew, the default, or DropNew. The oldest ones stay
	// in any case, so DropOld is a fault.
	Policy logging.Policy

	// Sync waits until the disk has a record before it is accepted (fsync).
	// Without it, a crash of the machine loses what the operating system had
	// not written yet; one of the process loses nothing.
	Sync bool

	// AckEvery is after how many acked records the position is saved. 0 means
	// 1024.
	AckEvery uint64

	// Perm are the permissions of new files, before umask. 0 means 0640; the
	// directory, where Open makes it, can besides be searched.
	Perm fs.FileMode

	// FS replaces the operating system's files in tests of this module.
	FS disk.FS
}

// A ConfigError says which field has a value that breaks which rule.
type ConfigError struct {
	Field string
	Value any
	Rule  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("spool: Config.%s is %v: %s", e.Field, e.Value, e.Rule)
}

const (
	minBytes   = 4096
	minSegment = 1024
)

func (c Config) filled() (Config, error) {
	var errs []error
	fault := func(field string, value any, rule string) {
		errs = append(errs, &ConfigError{field, value, rule})
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = min(8<<20, max(c.MaxBytes/4, minSegment))
	}
	if c.MaxBytes < minBytes {
		fault("MaxBytes", c.MaxBytes, "must be at least 4096, or 0 for 1 GiB")
	} else if c.SegmentBytes < minSegment || c.SegmentBytes > c.MaxBytes/2 {
		fault("SegmentBytes", c.SegmentBytes, "must be from 1024 to half of MaxBytes, or 0")
	}
	if c.Policy > logging.DropNew {
		fault("Policy", c.Policy, "must be RefuseNew or DropNew: the oldest records stay")
	}
	if c.AckEvery == 0 {
		c.AckEvery = 1024
	}
	if c.Perm == 0 {
		c.Perm = 0o640
	}
	if c.FS == nil {
		c.FS = disk.OS
	}
	return c, errors.Join(errs...)
}

// A Spool is a logging.Log that keeps records on a disk until they are acked. It
// is a netsink.Store. It is safe for concurrent use by one process.
type Spool struct {
	dir  string
	c    Config
	more chan struct{} // a record came; Deliver waits for it
	lock io.Closer

	mu     sync.Mutex
	segs   []segment // oldest first; the last one is written
	file   disk.File // the last one, or nil where the next Append is to make one
	torn   bool      // the file ends within a line
	bytes  int64     // of all segments
	next   uint64    // the number of the next record
	acked  uint64    // the highest number acked
	saved  uint64    // the same in the file "acked"
	closed bool
	buf    []byte
	read   reader
	stats  Stats
}

// segment is a file: the records from number first on.
type segment struct {
	first uint64
	size  int64
}

// Stats counts what a Spool did since it was opened, and tells what it holds.
type Stats struct {
	Accepted  uint64 // records that Append took, those dropped included
	Refused   uint64 // records that Append did not take
	Dropped   uint64 // records lost by DropNew
	Lost      uint64 // records accepted whose lines are damaged or gone, as far as later numbers tell
	Cut       uint64 // lines that were written in part and cut off again, those of a crash included
	Torn      uint64 // lines that could not be cut off
	Stray     uint64 // whole lines of records that were refused, and that are delivered all the same
	SaveFails uint64 // times that the acked position could not be saved, or a file not be removed
	Waiting   uint64 // records that are not acked
	Bytes     int64  // disk space of records
	Files     int    // files of records
}

// Open opens the spool in a directory, which it makes where it does not exist. A
// spool that another process has open is an error, where the system can tell. The
// error of a configuration joins a *ConfigError for each fault of c.
func Open(dir string, c Config) (*Spool, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, c: c, more: make(chan struct{}, 1)}
	if err := c.FS.MkdirAll(dir, c.Perm|(c.Perm&0o444)>>2); err != nil {
		return nil, err
	}
	if s.lock, err = c.FS.Lock(filepath.Join(dir, lockName)); err != nil {
		return nil, fmt.Errorf("spool: %s: %w", dir, err)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), s.closeFile(), s.lock.Close())
	}
	s.Rewind()
	return s, nil
}

const (
	suffix   = ".spool"
	position = "acked"
	lockName = "lock"
)

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", first, suffix))
}

// load finds out what the directory holds.
func (s *Spool) load() error {
	entries, err := s.c.FS.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), suffix)
		first, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil || first == 0 || first >= maxSeq || len(number) != 20 {
			continue
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		s.segs = append(s.segs, segment{first, i.Size()})
		s.bytes += i.Size()
	}
	slices.SortFunc(s.segs, func(a, b segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	if err := s.loadPosition(); err != nil {
		return err
	}
	s.next = s.acked + 1
	if n := len(s.segs); n > 0 {
		// A file is removed only when its records are acked.
		s.acked = max(s.acked, s.segs[0].first-1)
		if err := s.loadLast(&s.segs[n-1]); err != nil {
			return err
		}
	}
	s.trim(false)
	return nil
}

func (s *Spool) loadPosition() error {
	f, err := s.c.FS.Open(filepath.Join(s.dir, position))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return err
	}
	// A damaged position is none: all records are delivered again.
	if seq, payload, ok := parseLine(b); ok && len(payload) == 0 {
		s.acked, s.saved = seq, seq
	}
	return nil
}

// loadLast opens the last segment for writing, without a torn line at its end.
func (s *Spool) loadLast(g *segment) error {
	f, err := s.c.FS.Append(s.path(g.first), false, s.c.Perm)
	if err != nil {
		return err
	}
	s.file = f
	end, last, behind, err := scan(f)
	if err != nil {
		return err
	}
	if end < g.size {
		if err := f.Truncate(end); err != nil {
			return err
		}
		s.stats.Cut++
		s.bytes -= g.size - end
		g.size = end
	}
	s.next = max(max(last, g.first-1)+uint64(behind), s.acked) + 1
	return nil
}

// Close saves the acked position and closes the files. What comes after is
// refused with logging.ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return logging.ErrClosed
	}
	s.closed = true
	s.read.close()
	err := s.save()
	if s.file != nil {
		err = errors.Join(err, s.file.Sync())
	}
	return errors.Join(err, s.closeFile(), s.lock.Close())
}

func (s *Spool) closeFile() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// Stats returns the counts.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting, st.Bytes, st.Files = s.next-1-s.acked, s.bytes, len(s.segs)
	return st
}
