//go:build !amd64 && !arm64

package mapping

import "unsafe"

// prefetch does nothing: the processor is not told ahead what memory a batch needs.
func prefetch(unsafe.Pointer) {}
