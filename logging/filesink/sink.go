package filesink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
)

// Config says how a Sink writes. The zero Config is ready: JSON lines in one file
// that is never rotated, durable when the operating system says so.
type Config struct {
	// Encoder makes the lines. nil means logging.JSON{}. A
	// logging.HeaderEncoder's header begins each file.
	Encoder logging.Encoder

	// MaxBytes rotates a file before a line that would make it larger. 0 means
	// no bound. A line that is larger gets a file of its own.
	MaxBytes int64

	// MaxAge rotates a file before a record that is this much later than the
	// file's first one, or than the last change of a file that was there
	// before. 0 means no bound.
	MaxAge time.Duration

	// Sync waits until the disk has the line before a record is accepted
	// (fsync). Without it, a crash of the machine loses what the operating
	// system had not written yet; one of the process loses nothing.
	Sync bool

	// Perm are the permissions of new files, before umask. 0 means 0640:
	// records are personal data.
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
	return fmt.Sprintf("filesink: Config.%s is %v: %s", e.Field, e.Value, e.Rule)
}

func (c Config) filled() (Config, error) {
	var errs []error
	if c.MaxBytes < 0 {
		errs = append(errs, &ConfigError{"MaxBytes", c.MaxBytes, "must not be negative; 0 means no bound"})
	}
	if c.MaxAge < 0 {
		errs = append(errs, &ConfigError{"MaxAge", c.MaxAge, "must not be negative; 0 means no bound"})
	}
	if c.Encoder == nil {
		c.Encoder = logging.JSON{}
	}
	if c.Perm == 0 {
		c.Perm = 0o640
	}
	if c.FS == nil {
		c.FS = disk.OS
	}
	return c, errors.Join(errs...)
}

// A Sink is a logging.Log that writes lines to a file. It is safe for concurrent
// use by one process; two must not write to one file.
type Sink struct {
	path string
	c    Config

	mu    sync.Mutex
	file  disk.File // nil: closed
	size  int64
	first logging.Millis // time of the file's first record; 0: it has none
	torn  bool           // the file ends within a line
	buf   []byte
	stats Stats
}

// Stats counts what a Sink did.
type Stats struct {
	Records     uint64 // accepted
	Refused     uint64 // not accepted
	Cut         uint64 // lines that were written in part and cut off again, those of a crash included
	Torn        uint64 // lines that could not be cut off: readers report them
	Stray       uint64 // whole lines of records that were refused, because Sync failed and they could not be cut off
	Rotated     uint64 // files rotated
	NotRotated  uint64 // tries to rotate that failed; the old file was written on
	Bytes       uint64 // written
	CurrentSize int64  // of the file
}

// Open opens the file, or makes it, and cuts off a line that a crash left torn.
// The directory must exist. The error joins a *ConfigError for each fault of c.
func Open(path string, c Config) (*Sink, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	s := &Sink{path: path, c: c}
	s.file, err = s.open()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open opens the file at path for its end, with whole lines only.
func (s *Sink) open() (disk.File, error) {
	f, err := s.c.FS.Append(s.path, true, s.c.Perm)
	if err != nil {
		return nil, err
	}
	i, err := f.Stat()
	if err == nil && i.Mode().IsRegular() {
		err = s.whole(f, i)
	}
	if err == nil && s.c.Sync {
		err = s.c.FS.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// whole cuts off what stands behind the last line feed of f.
func (s *Sink) whole(f disk.File, i fs.FileInfo) error {
	size, end, at := i.Size(), int64(0), int64(0)
	if size > 0 {
		var b [1 << 16]byte
		if k, ok := f.(io.Seeker); ok { // the end of a line is near the end of the file
			at = max(0, size-maxLine)
			if _, err := k.Seek(at, io.SeekStart); err != nil {
				return err
			}
			end = at
		}
		start := at
		for at < size {
			n, err := f.Read(b[:])
			if j := bytes.LastIndexByte(b[:n], '\n'); j >= 0 {
				end = at + int64(j) + 1
			}
			at += int64(n)
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		if end == start && start > 0 {
			return fmt.Errorf("filesink: %s is no file of lines: name another one", s.path)
		}
	}
	if end < size {
		if err := f.Truncate(end); err != nil {
			return fmt.Errorf("filesink: a torn line at the end of %s: %w", s.path, err)
		}
		s.stats.Cut++
	}
	s.size, s.first, s.torn = end, 0, false
	if end > 0 {
		s.first = logging.MillisOf(i.ModTime())
	}
	return nil
}

// maxLine is above the longest line that an encoder makes.
const maxLine = 1 << 20

// Append writes r as one line, after rotating the file where that is due. An
// error means that the file does not have it, with the one exception that Stats
// counts as Stray.
func (s *Sink) Append(r *logging.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.append(r)
	if err != nil {
		s.stats.Refused++
		return err
	}
	s.stats.Records++
	return nil
}

func (s *Sink) append(r *logging.Record) error {
	if s.file == nil {
		return logging.ErrClosed
	}
	s.encode(r)
	if s.due(r) {
		if err := s.rotate(r.Time); err != nil {
			s.stats.NotRotated++
		} else {
			s.encode(r)
		}
	}
	n, err := s.file.Write(s.buf)
	n = min(max(n, 0), len(s.buf))
	s.stats.Bytes += uint64(n)
	if n < len(s.buf) {
		if err == nil {
			err = io.ErrShortWrite
		}
		switch {
		case s.undo(n) || n < len(s.buf)-1:
			return fmt.Errorf("filesink: %w", err)
		case s.c.Sync:
			s.stats.Stray++
			return fmt.Errorf("filesink: %w", err)
		}
		s.stats.Torn-- // it lacks nothing but its line feed: a whole record for readers
	} else if s.size += int64(n); s.c.Sync {
		if err := s.file.Sync(); err != nil {
			s.size -= int64(n)
			if !s.undo(n) {
				s.stats.Stray++
			}
			return fmt.Errorf("filesink: %w", err)
		}
	}
	if s.first == 0 {
		s.first = r.Time
	}
	return nil
}

// encode makes buf what Append writes for r.
func (s *Sink) encode(r *logging.Record) {
	s.buf = s.buf[:0]
	if s.torn {
		s.buf = append(s.buf, '\n')
	}
	if h, ok := s.c.Encoder.(logging.HeaderEncoder); ok && s.size == 0 {
		s.buf = h.AppendHeader(s.buf)
	}
	s.buf = s.c.Encoder.AppendRecord(s.buf, r)
}

// undo cuts off the last n bytes, which begin at size, and reports whether it
// could. A torn line that stays is ended by the next one.
func (s *Sink) undo(n int) bool {
	switch {
	case n == 0:
		return true
	case s.file.Truncate(s.size) == nil:
		s.stats.Cut++
		return true
	}
	s.size += int64(n)
	if s.torn = s.buf[n-1] != '\n'; s.torn {
		s.stats.Torn++
	}
	return false
}

// Close closes the file; what comes after is refused with logging.ErrClosed.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return logging.ErrClosed
	}
	err := errors.Join(s.file.Sync(), s.file.Close())
	s.file = nil
	return err
}

// Sync waits until the disk has all that was accepted.
func (s *Sink) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return logging.ErrClosed
	}
	return s.file.Sync()
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.CurrentSize = s.size
	return st
}
