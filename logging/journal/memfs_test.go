package journal

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing/fstest"
	"time"
)

// memFS is a disk in memory that can be full, fail, die at any byte, and forget
// what was not synchronised.
type memFS struct {
	mu      sync.Mutex
	gate    sync.Mutex // held: writes stall
	files   map[string]*memFile
	durable map[string]*memFile // names as of the last SyncDir
	locked  bool

	// budget is how many bytes and operations still work; below 0 all do. When
	// it is used up the disk is full until it is set anew, or dead for good.
	budget   int
	dies     bool
	dead     bool
	failSync bool
	noCut    bool // Truncate fails
}

type memFile struct {
	data   []byte
	synced int
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*memFile{}, durable: map[string]*memFile{}, budget: -1}
}

var errDisk = errors.New("no space left on the disk")

// spend takes n of the budget and returns how much of it there was.
func (m *memFS) spend(n int) (int, error) {
	if m.dead {
		return 0, errDisk
	}
	if m.budget < 0 {
		return n, nil
	}
	if n <= m.budget {
		m.budget -= n
		return n, nil
	}
	n, m.budget = m.budget, 0
	m.dead = m.dies
	return n, errDisk
}

func (m *memFS) Open(name string) (fs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "." {
		all := fstest.MapFS{}
		for n, f := range m.files {
			all[n] = &fstest.MapFile{Data: f.data}
		}
		return all.Open(".")
	}
	f := m.files[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memReader{m: m, f: f, name: name}, nil
}

func (m *memFS) Create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.spend(1); err != nil {
		return nil, err
	}
	f := &memFile{}
	m.files[name] = f
	return &memWriter{m, f}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.spend(1); err != nil {
		return err
	}
	if m.files[from] == nil {
		return fs.ErrNotExist
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.spend(1); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) SyncDir() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.spend(1); err != nil {
		return err
	}
	m.durable = map[string]*memFile{}
	for n, f := range m.files {
		m.durable[n] = f
	}
	return nil
}

func (m *memFS) Lock() (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, ErrLocked
	}
	m.locked = true
	return closer(func() error { m.locked = false; return nil }), nil
}

type closer func() error

func (c closer) Close() error { return c() }

// after returns the disk as a new process finds it. With power the machine went
// on and all is there; without, what was not synchronised is gone but for tail bytes of each file.
func (m *memFS) after(power bool, tail int) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	from := m.durable
	if power {
		from = m.files
	}
	for name, f := range from {
		data := f.data
		if !power {
			data = data[:min(len(data), f.synced+tail)]
		}
		c := &memFile{slices.Clone(data), len(data)}
		n.files[name], n.durable[name] = c, c
	}
	return n
}

type memWriter struct {
	m *memFS
	f *memFile
}

func (w *memWriter) Write(b []byte) (int, error) {
	w.m.gate.Lock()
	defer w.m.gate.Unlock()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	n, err := w.m.spend(len(b))
	w.f.data = append(slices.Clip(w.f.data), b[:n]...)
	return n, err
}

func (w *memWriter) Sync() error {
	w.m.gate.Lock()
	defer w.m.gate.Unlock()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.m.failSync {
		return errDisk
	}
	if _, err := w.m.spend(1); err != nil {
		return err
	}
	w.f.synced = len(w.f.data)
	return nil
}

func (w *memWriter) Truncate(n int64) error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.m.dead || w.m.noCut {
		return errDisk
	}
	w.f.data = w.f.data[:min(int(n), len(w.f.data))]
	w.f.synced = min(w.f.synced, len(w.f.data))
	return nil
}

func (w *memWriter) Close() error { return nil }

type memReader struct {
	m    *memFS
	f    *memFile
	name string
}

func (r *memReader) bytes() []byte {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	return r.f.data
}

func (r *memReader) ReadAt(p []byte, off int64) (int, error) { return memory(r.bytes()).ReadAt(p, off) }
func (r *memReader) Read([]byte) (int, error)                { return 0, io.EOF }
func (r *memReader) Close() error                            { return nil }
func (r *memReader) Stat() (fs.FileInfo, error)              { return memInfo{r.name, int64(len(r.bytes()))}, nil }

type memInfo struct {
	name string
	size int64
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return 0o640 }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return nil }
