package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
)

// reader is where Next reads.
type reader struct {
	cursor uint64 // the number of the next record
	gaps   uint64 // gaps below this number were counted
	first  uint64 // the segment that file is
	file   disk.File
	br     *bufio.Reader
	long   []byte
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

// Next copies the record at the cursor to r, moves the cursor behind it, and
// returns its number; ok is false where none waits. Damaged lines are passed over
// and counted.
func (s *Spool) Next(r *logging.Record) (seq uint64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false, logging.ErrClosed
	}
	for s.read.cursor < s.next {
		if err := s.seek(); err != nil {
			return 0, false, fmt.Errorf("spool: %w", err)
		}
		if s.read.file == nil {
			continue
		}
		b, err := readLine(s.read.br, &s.read.long)
		if errors.Is(err, io.EOF) {
			s.skip(s.after(s.read.first))
			s.read.close()
			continue
		}
		if err != nil {
			s.read.close() // and sought again
			return 0, false, fmt.Errorf("spool: %w", err)
		}
		seq, payload, ok := parseLine(b)
		if !ok || seq < s.read.cursor || seq >= s.next {
			continue
		}
		rec, _, err := logging.ParseJSON(payload)
		if err != nil {
			continue
		}
		s.skip(seq)
		s.read.cursor++
		*r = rec
		return seq, true, nil
	}
	return 0, false, nil
}

// seek opens the segment of the cursor, unless it is open. Where that is gone,
// its records are, and the cursor is behind them.
func (s *Spool) seek() error {
	if len(s.segs) == 0 {
		s.skip(s.next)
		return nil
	}
	i := max(s.search(s.read.cursor)-1, 0)
	s.skip(s.segs[i].first)
	if s.read.file != nil && s.read.first == s.segs[i].first {
		return nil
	}
	s.read.close()
	f, err := s.c.FS.Open(s.path(s.segs[i].first))
	if errors.Is(err, fs.ErrNotExist) {
		s.skip(s.after(s.segs[i].first))
		return nil
	}
	if err != nil {
		return err
	}
	s.read.file, s.read.first = f, s.segs[i].first
	if s.read.br == nil {
		s.read.br = bufio.NewReaderSize(f, 1<<16)
	} else {
		s.read.br.Reset(f)
	}
	return nil
}

// after returns the number that follows the records of a segment.
func (s *Spool) after(first uint64) uint64 {
	if i := s.search(first); i < len(s.segs) {
		return s.segs[i].first
	}
	return s.next
}

// search returns the index of the first segment that begins behind number seq.
func (s *Spool) search(seq uint64) int {
	return sort.Search(len(s.segs), func(i int) bool { return s.segs[i].first > seq })
}

// skip moves the cursor to a number and counts what it leaves out as lost, once.
func (s *Spool) skip(to uint64) {
	r := &s.read
	if from := max(r.cursor, r.gaps); to > from {
		s.stats.Lost += to - from
	}
	r.cursor = max(r.cursor, to)
	r.gaps = max(r.gaps, r.cursor)
}

// Rewind moves the cursor back to the first record that is not acked.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read.close()
	s.read.cursor = s.acked + 1
}

// Ack forgets the records up to number seq, as far as Next has read.
func (s *Spool) Ack(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq = min(seq, s.read.cursor-1); s.closed || seq <= s.acked {
		return
	}
	s.acked = seq
	if s.acked-s.saved >= s.c.AckEvery {
		_ = s.save() // counted
	}
	s.trim(false)
}

// Pending returns the number of the first record that is not acked and that of
// the next record to come.
func (s *Spool) Pending() (first, end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked + 1, s.next
}

// trim removes the segments whose records are all acked, the last one too
// where all is.
func (s *Spool) trim(all bool) {
	n := 0
	for n+1 < len(s.segs) && s.segs[n+1].first <= s.acked+1 {
		n++
	}
	if all && n+1 == len(s.segs) && s.acked+1 == s.next {
		n++
	}
	if n == 0 {
		return
	}
	if s.saved < s.acked {
		_ = s.save() // counted; where it fails, the next file's name tells as much
	}
	removed := 0
	for _, g := range s.segs[:n] {
		if removed+1 == len(s.segs) {
			_ = s.closeFile()
			s.torn = false
		}
		if err := s.c.FS.Remove(s.path(g.first)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.stats.SaveFails++
			break
		}
		if s.read.first == g.first {
			s.read.close()
		}
		s.bytes -= g.size
		removed++
	}
	s.segs = append(s.segs[:0], s.segs[removed:]...)
}

// save writes the acked position: a new file in place of the old one.
func (s *Spool) save() error {
	if s.saved == s.acked {
		return nil
	}
	err := s.writePosition()
	if err != nil {
		s.stats.SaveFails++
		return err
	}
	s.saved = s.acked
	return nil
}

func (s *Spool) writePosition() error {
	name := filepath.Join(s.dir, position)
	f, err := s.c.FS.Append(name+".new", true, s.c.Perm)
	if err != nil {
		return err
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.Write(appendPosition(nil, s.acked))
	}
	if err == nil && s.c.Sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return s.c.FS.Rename(name+".new", name)
}
