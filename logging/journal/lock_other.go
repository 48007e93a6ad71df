//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package journal

import (
	"io"
	"os"
)

// lock makes the lock's file. Locks are not implemented here: who opens a
// journal twice for writing damages it.
func lock(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
}
