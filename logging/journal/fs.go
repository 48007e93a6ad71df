package journal

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// filesystem is what a journal needs of a directory. Tests put one in its place
// that fails and forgets.
type filesystem interface {
	fs.FS
	// Create makes an empty file for appending, in place of one that is there.
	Create(name string) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was created, renamed and removed last.
	SyncDir() error
	// Lock keeps other writers out until it is closed.
	Lock() (io.Closer, error)
}

type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// directory is a filesystem on the disk.
type directory string

func (d directory) Open(name string) (fs.File, error) { return os.DirFS(string(d)).Open(name) }

func (d directory) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(os.DirFS(string(d)), name)
}

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Create(name string) (file, error) {
	return os.OpenFile(d.path(name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o640)
}

func (d directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d directory) Remove(name string) error { return os.Remove(d.path(name)) }

func (d directory) SyncDir() error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synchronised there
	}
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d directory) Lock() (io.Closer, error) { return lock(d.path(lockName)) }

// source is a file opened for reading at any place.
type source struct {
	io.ReaderAt
	size int64
	f    fs.File
}

func (s *source) Close() error { return s.f.Close() }

// length is the file's size now.
func (s *source) length() (int64, error) {
	if b, ok := s.ReaderAt.(memory); ok {
		return int64(len(b)), nil
	}
	info, err := s.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// openSource opens a file of fsys. One that cannot be read at any place is read
// into memory.
func openSource(fsys fs.FS, name string) (*source, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if r, ok := f.(io.ReaderAt); ok {
		return &source{r, info.Size(), f}, nil
	}
	b, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{memory(b), int64(len(b)), f}, nil
}

// memory is an io.ReaderAt of bytes.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
