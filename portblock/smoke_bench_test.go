package portblock

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkPortTakeReturn(b *testing.B) {
	for _, c := range []struct {
		name   string
		blocks int
	}{{"blocks=1", 1}, {"blocks=4", 4}, {"blocks=8", 8}} {
		for _, fill := range []float64{0, .5, .99, .999} {
			b.Run(c.name+"/fill="+fillName(fill), func(b *testing.B) {
				l := mustLayout(b, Config{HoldDown: Off, GuardTime: Off})
				a := l.NewAddress(1)
				h := l.NewHolding()
				rnd := rand.NewChaCha8([32]byte{1})
				now := ms(1e12)
				for range c.blocks {
					blk, err := a.TakeBlockOf(1, h.Want(UDP), now)
					if err != nil {
						b.Fatal(err)
					}
					if err := h.AddBlock(blk, now); err != nil {
						b.Fatal(err)
					}
				}
				n := min(int(float64(c.blocks*256)*fill+.5), c.blocks*256-1)
				for range n {
					if _, err := h.TakePort(UDP, 0, rnd, now); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					p, err := h.TakePort(UDP, 0, rnd, now)
					if err != nil {
						b.Fatal(err)
					}
					if err := h.ReturnPort(UDP, p.Address, p.Number, now); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func fillName(f float64) string {
	switch f {
	case 0:
		return "0"
	case .5:
		return "50"
	case .99:
		return "99"
	}
	return "99.9"
}

func BenchmarkBlockTakeCool(b *testing.B) {
	for _, fill := range []float64{0, .5, .99, .999} {
		b.Run("fill="+fillName(fill), func(b *testing.B) {
			l := mustLayout(b, Config{HoldDown: Off, GuardTime: Off})
			a := l.NewAddress(1)
			now := ms(1e12)
			for range min(int(252*fill+.5), 251) {
				if _, err := a.TakeBlock(1, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				blk, err := a.TakeBlock(1, now)
				if err != nil {
					b.Fatal(err)
				}
				if err := a.CoolBlock(blk, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
