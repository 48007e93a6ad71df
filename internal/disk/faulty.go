package disk

import (
	"errors"
	"io"
	"io/fs"
	"sync"
)

// ErrFault is what a Faulty file system fails with.
var ErrFault = errors.New("disk: injected fault")

// Faulty is a file system for tests that is full, or fails, when it is told to. It
// does not wait for a disk: Sync and SyncDir do nothing but fail. Lock holds
// nothing, so that a test can leave a file as a process does that is killed. It is
// safe for concurrent use.
type Faulty struct {
	FS

	mu     sync.Mutex
	faults Faults
	stall  chan struct{}
}

// Faults says what goes wrong.
type Faults struct {
	Limited bool  // Room holds
	Room    int64 // bytes that can be written until the disk is full

	Write, Truncate, Sync, Create, Rename, Remove bool // these fail
}

// Set says what goes wrong from now on.
func (f *Faulty) Set(what Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = what
}

// Stall makes writing block, and go on.
func (f *Faulty) Stall(stall bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case stall && f.stall == nil:
		f.stall = make(chan struct{})
	case !stall && f.stall != nil:
		close(f.stall)
		f.stall = nil
	}
}

func (f *Faulty) now() Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// take waits while writing is stalled and returns how many of n bytes fit.
func (f *Faulty) take(n int) (int, error) {
	f.mu.Lock()
	stall := f.stall
	f.mu.Unlock()
	if stall != nil {
		<-stall
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.faults.Write:
		return 0, ErrFault
	case f.faults.Limited && int64(n) > f.faults.Room:
		n = int(f.faults.Room)
		f.faults.Room = 0
		return n, ErrFault
	}
	f.faults.Room -= int64(n)
	return n, nil
}

func (f *Faulty) give(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.Room += n
}

// Append opens a file whose writing may fail.
func (f *Faulty) Append(name string, create bool, perm fs.FileMode) (File, error) {
	if create && f.now().Create {
		return nil, ErrFault
	}
	g, err := f.FS.Append(name, create, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{g, f}, nil
}

// Rename may fail.
func (f *Faulty) Rename(from, to string) error {
	if f.now().Rename {
		return ErrFault
	}
	return f.FS.Rename(from, to)
}

// Remove may fail. The room of the file is free again.
func (f *Faulty) Remove(name string) error {
	if f.now().Remove {
		return ErrFault
	}
	if i, err := f.FS.Stat(name); err == nil {
		f.give(i.Size())
	}
	return f.FS.Remove(name)
}

// Lock holds nothing.
func (f *Faulty) Lock(string) (io.Closer, error) { return unlocked{}, nil }

// SyncDir may fail as Sync does.
func (f *Faulty) SyncDir(string) error {
	if f.now().Sync {
		return ErrFault
	}
	return nil
}

type faultyFile struct {
	File
	f *Faulty
}

func (g *faultyFile) Write(b []byte) (int, error) {
	n, fault := g.f.take(len(b))
	n, err := g.File.Write(b[:n])
	if fault != nil {
		err = fault
	}
	return n, err
}

func (g *faultyFile) Truncate(size int64) error {
	if g.f.now().Truncate {
		return ErrFault
	}
	if i, err := g.Stat(); err == nil {
		g.f.give(i.Size() - size)
	}
	return g.File.Truncate(size)
}

func (g *faultyFile) Sync() error {
	if g.f.now().Sync {
		return ErrFault
	}
	return nil
}
