package prefetch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingChanges: what is asked for stays as it is, wherever it lies, and what lies behind the end of memory of ours is asked for
// without a fault.
func TestNothingChanges(t *testing.T) {
	words := make([]uint64, 4096)
	for i := range words {
		words[i] = uint64(i)
	}
	before := slices.Clone(words)
	for i := range words {
		Line(&words[i])
		Pair(&words[i])
		Four(&words[i])
		Lines(&words[i], 1+i%9)
	}
	require.Equal(t, before, words)
	var none *uint64
	Line(none)
	Pair(none)
	Four(none)
	Lines(none, 3)
}

func TestNothingIsAllocated(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var here [64]byte
		Line(&here)
		Pair(&here)
		Four(&here)
		Lines(&here, 2)
	}))
}

func TestKnown(t *testing.T) {
	v := 1
	require.Same(t, &v, Known(&v))
	require.Panics(t, func() { Known[int](nil) }, "as a nil pointer does where it is read")
}
