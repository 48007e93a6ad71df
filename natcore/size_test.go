package natcore

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestSizes holds what a subscriber takes: the sizes are those of Go's size classes, so that memory of subscribers begins with a cache line, and
// the ports of each space are one.
func TestSizes(t *testing.T) {
	const line = 64
	var s subscriber
	require.EqualValues(t, 7*line, unsafe.Sizeof(s))
	require.LessOrEqual(t, unsafe.Offsetof(s.touched)+unsafe.Sizeof(s.touched), uintptr(line), "what a session needs but ports")
	require.EqualValues(t, 7*line, unsafe.Offsetof(s.holding)+unsafe.Sizeof(s.holding), "the holding ends with the ports")
	require.LessOrEqual(t, unsafe.Sizeof(account{}), uintptr(80))
	require.LessOrEqual(t, unsafe.Sizeof(subscriberKey{}), uintptr(12))
}
