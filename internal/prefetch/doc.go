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

// Four asks for four cache lines from that of p on.
func Four[T any](p *T) { four(unsafe.Pointer(p)) }

// Lines asks for n cache lines from that of p on; n is at least 1.
func Lines[T any](p *T, n int) { lines(unsafe.Pointer(p), n) }

// Known returns p, which is not nil. Who takes the address of something far behind p goes through it: else Go's compiler makes sure
// that p is not nil by reading what it points to, and that is a miss of its own where it has nothing to do with what is wanted.
//
//	prefetch.Line(&page.items[i])                 // waits for the page's first line
//	prefetch.Line(&prefetch.Known(page).items[i]) // waits for nothing
func Known[T any](p *T) *T {
	if p == nil {
		panic("prefetch: a nil pointer is not known")
	}
	return p
}
