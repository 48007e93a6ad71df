// Package disk is what the logs on a disk use of the file system, as an
// interface, so that tests can make it full or faulty at any byte (Faulty).
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// File is a file that is written at its end.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// FS is the part of a file system that the logs use.
type FS interface {
	// Append opens a file for writing at its end, and makes it where create
	// is true and it does not exist.
	Append(name string, create bool, perm fs.FileMode) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, perm fs.FileMode) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock makes a file and holds it for this process, or fails with ErrLocked
	// where another one does. Some systems cannot tell.
	Lock(name string) (io.Closer, error)
}

// ErrLocked means that another process holds a lock.
var ErrLocked = errors.New("disk: another process holds it")

// unlocked is a lock that holds nothing.
type unlocked struct{}

func (unlocked) Close() error { return nil }

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Append(name string, create bool, perm fs.FileMode) (File, error) {
	flag := os.O_RDWR | os.O_APPEND
	if create {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // a nil *os.File in a File is not nil
	}
	return f, nil
}

func (osFS) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFS) Rename(from, to string) error                 { return os.Rename(from, to) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

func (osFS) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be opened for that
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
