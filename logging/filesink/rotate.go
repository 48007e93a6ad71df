package filesink

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/blocknat/blocknat/logging"
)

// due reports whether r, encoded in buf, belongs in a new file.
func (s *Sink) due(r *logging.Record) bool {
	if s.size == 0 {
		return false
	}
	age := logging.Millis(s.c.MaxAge.Milliseconds())
	return s.c.MaxBytes > 0 && s.size+int64(len(s.buf)) > s.c.MaxBytes ||
		age > 0 && s.first != 0 && r.Time-s.first >= age
}

// Rotate renames the file, with the given time in its new name, and begins a
// new one, whatever its size and age. An empty file stays. After an error
// the old file is written on.
func (s *Sink) Rotate(at logging.Millis) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file == nil:
		return logging.ErrClosed
	case s.size == 0:
		return nil
	}
	return s.rotate(at)
}

func (s *Sink) rotate(at logging.Millis) error {
	if s.c.Sync {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	to, err := s.rotated(at)
	if err != nil {
		return err
	}
	if err := s.c.FS.Rename(s.path, to); errors.Is(err, fs.ErrNotExist) {
		return s.reopen() // somebody took the file away
	} else if err != nil {
		return err
	}
	old, size, first, torn := s.file, s.size, s.first, s.torn
	f, err := s.open()
	if err != nil {
		s.size, s.first, s.torn = size, first, torn
		return errors.Join(err, s.c.FS.Rename(to, s.path))
	}
	s.file = f
	s.stats.Rotated++
	_ = old.Close() // all of it was written, and synced where that was asked for
	return nil
}

// rotated returns a name that no file has.
func (s *Sink) rotated(at logging.Millis) (string, error) {
	stamp := strings.NewReplacer("-", "", ":", "").Replace(at.String())
	for i := range 1000 {
		name := s.path + "." + stamp
		if i > 0 {
			name += fmt.Sprintf("-%03d", i)
		}
		_, err := s.c.FS.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("filesink: %s has 1000 files of %s", filepath.Dir(s.path), stamp)
}

// Reopen opens the path anew, for callers whose logrotate has renamed the file,
// and closes the old one. After an error the old file is written on.
func (s *Sink) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return logging.ErrClosed
	}
	return s.reopen()
}

func (s *Sink) reopen() error {
	old, size, first, torn := s.file, s.size, s.first, s.torn
	f, err := s.open()
	if err != nil {
		s.size, s.first, s.torn = size, first, torn
		return err
	}
	s.file = f
	return errors.Join(old.Sync(), old.Close())
}
