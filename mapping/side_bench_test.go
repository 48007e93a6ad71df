package mapping

import (
	"fmt"
	"testing"
)

// BenchmarkSideInsert is the time of an insertion into a side that grows from nothing, moves and new memory included.
func BenchmarkSideInsert(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 16, 1 << 20} {
		for _, counts := range []bool{true, false} {
			b.Run(fmt.Sprintf("halves=%d/counts=%v", n, counts), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					x := newSide(testKey, counts)
					for i := range uint64(n) {
						r := half{near: i << 16, peer: what(anchor, 1) | 1}
						x.insert(&r)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/half")
			})
		}
	}
}
