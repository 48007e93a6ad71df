package natcore

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestSizes holds what a subscriber takes: the sizes are those of Go's size classes, so that memory of subscribers begins with a cache line, and
// the ports of each space are one.
func TestSizes(t *testing.T) {
	const line = 64
	var s subscriber
	require.EqualValues(t, 7*line, unsafe.Sizeof(s))
	require.LessOrEqual(t, unsafe.Offsetof(s.touched)+unsafe.Sizeof(s.touched), uintptr(line), "what a session needs but ports")
	require.EqualValues(t, 7*line, unsafe.Offsetof(s.holding)+unsafe.Sizeof(s.holding), "the holding ends with the ports")
	var page registryPage
	require.EqualValues(t, line-8, unsafe.Offsetof(page.subs), "behind the allocator's 8 bytes")
	require.LessOrEqual(t, unsafe.Sizeof(page)+8, uintptr(8192), "a size class")
	require.LessOrEqual(t, unsafe.Sizeof(account{}), uintptr(80))
	require.LessOrEqual(t, unsafe.Sizeof(subscriberKey{}), uintptr(12))
}

// TestLinesOfSubscribers tells whether subscribers begin with a cache line. If the allocator comes to put something else before them, that costs
// speed alone.
func TestLinesOfSubscribers(t *testing.T) {
	var r registry
	for range 3 * registryPageSize {
		if at := uintptr(unsafe.Pointer(r.add())); at%64 != 0 {
			t.Logf("a subscriber begins %d bytes behind the begin of a cache line", at%64)
		}
	}
}

// TestRegistry: places and numbers are used again, what leaves is emptied, and pages that nobody uses are let go.
func TestRegistry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r registry
		want := map[uint32]*subscriber{}
		a := &account{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				s := r.add()
				require.False(t, s.live())
				require.Nil(t, want[s.index])
				s.account = a
				want[s.index] = s
			} else if i := rapid.Uint32Range(0, 60).Draw(t, "number"); want[i] != nil {
				r.remove(i)
				require.False(t, want[i].live())
				delete(want, i)
			}
			require.Equal(t, len(want), r.len())
		}
		for i := range r.next {
			require.Same(t, want[i], r.find(i))
		}
		n := 0
		for s := range r.all() {
			require.Same(t, want[s.index], s)
			n++
		}
		require.Equal(t, len(want), n)
		for i := range want {
			r.remove(i)
		}
		for _, p := range r.pages {
			require.Nil(t, p)
		}
	})
}
