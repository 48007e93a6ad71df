package flowmask

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConcurrentLookups: look-ups may run beside one another; the race detector watches.
func TestConcurrentLookups(t *testing.T) {
	mask := MustParseMask(reportMask, reportFields)
	table := NewTable[int](mask, [16]byte{1})
	class := NewClassifier[int]([16]byte{2})
	for i, f := range reportInstances()[:512] {
		require.NoError(t, table.Insert(f, i))
		require.NoError(t, class.Insert(Rule[int]{uint32(i), mask, f, i}))
	}
	x, err := NewIndex(mask)
	require.NoError(t, err)
	spread := mustSpread(t, nats(5)...)
	h := NewHasher([16]byte{3})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, f := range reportFlows(500, false) {
				a, _ := table.Lookup(f)
				b, _ := class.Lookup(f)
				if a != b {
					t.Errorf("table %d, classifier %d", a, b)
				}
				_, _ = x.Of(f)
				_ = spread.Pick(mask.Apply(f))
				_ = h.Symmetric(f)
			}
		})
	}
	wg.Wait()
}
