//go:build !linux

package kernel

import (
	"errors"
	"time"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Path exists on Linux only.
type Path struct{}

// NewPath fails: the kernel is measured on Linux only.
func NewPath(int, bool) (*Path, error) {
	return nil, errors.New("the kernel's path is measured on Linux only: run the command without -kernel")
}

// Send does nothing.
func (*Path) Send([]workload.Flow) (time.Duration, int, error) { return 0, 0, nil }

// Close does nothing.
func (*Path) Close() {}
