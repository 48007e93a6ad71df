// Package prefetch asks the processor for memory before it is read, so that many misses are under way at the same time.
//
// What it asks for is a hint: nothing is read, an address that is not there does no harm, and whether the memory has come can be
// told by time alone. So it may name what others write meanwhile. On architectures without a file here nothing is asked for.
package prefetch

import "unsafe"

// Line asks for the cache line that p points into.
func Line[T any](p *T) { line(unsafe.Pointer(p)) }

// Pair asks for two cache lines: that of p, and the next one, 64 bytes on.
func Pair[T any](p *T) { pair(unsafe.Pointer(p)) }

// Lines asks for n cache lines from that of p on; n is at least 1.
func Lines[T any](p *T, n int) { lines(unsafe.Pointer(p), n) }
