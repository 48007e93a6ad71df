//go:build !linux

package natcore_test

import "time"

var processStart = time.Now()

// threadTime returns the time of day where that of a thread is not to be had.
func threadTime() time.Duration { return time.Since(processStart) }
