//go:build amd64 || arm64

package prefetch

import "unsafe"

//go:noescape
func line(p unsafe.Pointer)

//go:noescape
func pair(p unsafe.Pointer)

//go:noescape
func four(p unsafe.Pointer)

//go:noescape
func lines(p unsafe.Pointer, n int)
