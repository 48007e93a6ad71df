package portblock

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestPortsOfManyBlocksAreDrawnEvenly: whoever holds few blocks or many, each free port is as likely as any other, and the block with the oldest packet
// gives none while others have some (RFC 6056 section 3.3.1, RFC 7768 section 2).
func TestPortsOfManyBlocksAreDrawnEvenly(t *testing.T) {
	for _, blocks := range []int{4, manyBlocks - 1, manyBlocks, 80} {
		for _, live := range []int{0, 9, 15} { // of 16 ports of a block
			l := mustLayout(t, Config{BlockSize: 16, MaxBlocks: blocks, HoldDown: Off})
			a, h, rnd := l.NewAddress(1), l.NewHolding(), rand.NewChaCha8([32]byte{1})
			var resting Block
			for i := range blocks {
				now := ms(1e12 + int64(i))
				b, err := a.TakeBlock(1, now)
				if err != nil {
					t.Fatal(err)
				}
				if err := h.AddBlock(b, now); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					resting = b // the oldest from now on
					continue
				}
				for p := range live {
					if err := h.TakePortAt(UDP, 1, l.SetOf(b).First()+uint16(p), now); err != nil {
						t.Fatal(err)
					}
				}
			}
			const each = 400
			now := ms(1e12).Add(time.Minute)
			free := (blocks - 1) * (16 - live)
			got := map[uint16]int{}
			for range free * each {
				p, err := h.TakePort(UDP, 0, rnd, now)
				if err != nil {
					t.Fatal(err)
				}
				if l.SetOf(resting).Contains(p.Number) {
					t.Fatalf("%d blocks: port %d is of the block with the oldest packet", blocks, p.Number)
				}
				got[p.Number]++
				if err := h.ReturnPort(UDP, 1, p.Number, now); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != free {
				t.Fatalf("%d blocks, %d live of each: %d of %d free ports were drawn", blocks, live, len(got), free)
			}
			for p, n := range got {
				// Six standard deviations of a binomial distribution.
				if math.Abs(float64(n-each)) > 6*math.Sqrt(each) {
					t.Fatalf("%d blocks, %d live of each: port %d was drawn %d times, and %d on average", blocks, live, p, n, each)
				}
			}
		}
	}
}
