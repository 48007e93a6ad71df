//go:build !amd64 && !arm64

package prefetch

import "unsafe"

func line(unsafe.Pointer) {}

func pair(unsafe.Pointer) {}

func four(unsafe.Pointer) {}

func lines(unsafe.Pointer, int) {}
