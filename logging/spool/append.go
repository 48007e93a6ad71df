package spool

import (
	"errors"
	"fmt"
	"io"

	"github.com/blocknat/blocknat/logging"
)

// Append writes r behind the other records. It refuses, or drops, r as the policy
// says with logging.ErrFull where there is no room and with the disk's error
// where that fails; a record that Record.Check refuses it refuses in any case.
func (s *Spool) Append(r *logging.Record) error {
	err := r.Check()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
	case s.closed:
		err = logging.ErrClosed
	default:
		if err = s.append(r); err != nil && s.c.Policy == logging.DropNew {
			s.stats.Dropped++
			err = nil
		}
	}
	if err != nil {
		s.stats.Refused++
		return err
	}
	s.stats.Accepted++
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

func (s *Spool) append(r *logging.Record) error {
	s.encode(r)
	if s.bytes+int64(len(s.buf)) > s.c.MaxBytes {
		if s.trim(true); s.bytes+int64(len(s.buf)) > s.c.MaxBytes {
			return fmt.Errorf("spool: %w: %d octets of records that are not acked", logging.ErrFull, s.bytes)
		}
	}
	if n := len(s.segs); s.file == nil || s.segs[n-1].size > 0 && s.segs[n-1].size+int64(len(s.buf)) > s.c.SegmentBytes {
		if err := s.begin(); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	s.encode(r)
	g := &s.segs[len(s.segs)-1]
	n, err := s.file.Write(s.buf)
	n = min(max(n, 0), len(s.buf))
	if n == len(s.buf) {
		err = nil
		if s.c.Sync {
			err = s.file.Sync()
		}
	} else if err == nil {
		err = io.ErrShortWrite
	}
	if err != nil && (n == 0 || s.file.Truncate(g.size) == nil) {
		if n > 0 {
			s.stats.Cut++
		}
		return fmt.Errorf("spool: %w", err)
	}
	g.size += int64(n)
	s.bytes += int64(n)
	if s.torn = n < len(s.buf); s.torn {
		s.stats.Torn++
		return fmt.Errorf("spool: %w", err)
	}
	s.next++
	if err != nil { // the line is there and will be delivered
		s.stats.Stray++
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// spoiler ends a torn line, so that it is none even where it lacks nothing but
// its line feed: its record was refused, and its number is the next one's.
const spoiler = "~\n"

// encode makes buf what is written for r. A torn line is ended first.
func (s *Spool) encode(r *logging.Record) {
	s.buf = s.buf[:0]
	if s.torn {
		s.buf = append(s.buf, spoiler...)
	}
	s.buf = appendLine(s.buf, s.next, r)
}

// begin makes a new segment the last one.
func (s *Spool) begin() error {
	name := s.path(s.next)
	f, err := s.c.FS.Append(name, true, s.c.Perm)
	if err != nil {
		return err
	}
	err = f.Truncate(0) // a file of that number has no record
	if err == nil && s.c.Sync {
		err = s.c.FS.SyncDir(s.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_ = s.closeFile() // all of it was written, and synced where that was asked for
	if n := len(s.segs); n > 0 && s.segs[n-1].first == s.next {
		s.bytes -= s.segs[n-1].size
		s.segs = s.segs[:n-1]
		s.read.close()
	}
	s.file, s.torn = f, false
	s.segs = append(s.segs, segment{first: s.next})
	s.trim(false)
	return nil
}
