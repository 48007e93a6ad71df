//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package disk

import "io"

// Lock holds nothing where the system has no flock.
func (osFS) Lock(string) (io.Closer, error) { return unlocked{}, nil }
