package portblock

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var fills = []float64{0, 50, 99, 99.9}

// benchHolding returns a holding of some blocks, filled to a share of its UDP
// ports with at least one left.
func benchHolding(b *testing.B, c Config, blocks int, fill float64) (*Holding, *rand.ChaCha8, time.Time) {
	b.Helper()
	c.MaxBlocks = blocks
	l := mustLayout(b, c)
	a, h := l.NewAddress(1), l.NewHolding()
	rnd := rand.NewChaCha8([32]byte{1})
	now := ms(1e12)
	total := 0
	for range blocks {
		blk, err := a.TakeBlockOf(1, h.Want(UDP), now)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.AddBlock(blk, now); err != nil {
			b.Fatal(err)
		}
		total += l.BlockSize(blocks > 1)
	}
	for range min(int(float64(total)*fill/100+.5), total-1) {
		if _, err := h.TakePort(UDP, 0, rnd, now); err != nil {
			break // a scattered set may have unusable ports
		}
	}
	return h, rnd, now
}

// One port is taken and returned. With hold=on the clock moves by an eighth of
// the hold-down each time, so that ports rest and become free.
func BenchmarkPortTakeReturn(b *testing.B) {
	run := func(name string, c Config, blocks int, fill float64, step time.Duration) {
		b.Run(fmt.Sprintf("%s/blocks=%d/fill=%v", name, blocks, fill), func(b *testing.B) {
			h, rnd, now := benchHolding(b, c, blocks, fill)
			b.ReportAllocs()
			for b.Loop() {
				p, err := h.TakePort(UDP, 0, rnd, now)
				if err != nil {
					b.Fatal(err)
				}
				if err := h.ReturnPort(UDP, p.Address, p.Number, now); err != nil {
					b.Fatal(err)
				}
				now = now.Add(step)
			}
		})
	}
	for _, blocks := range []int{1, 4, 8} {
		for _, fill := range fills {
			run("hold=off", Config{HoldDown: Off, GuardTime: Off}, blocks, fill, 0)
		}
	}
	for _, fill := range []float64{0, 50, 90} {
		run("hold=on", Config{}, 1, fill, DefaultHoldDown/8)
	}
	for _, v := range []struct {
		name string
		c    Config
	}{
		{"layout=psid", Config{Scheme: PSID, PSIDOffset: 6, PSIDLength: 8}},
		{"layout=mask", Config{Scheme: MaskValue, Mask: 0x0ff0}},
		{"layout=crypto", Config{Scheme: Crypto}},
		{"layout=gma", Config{Scheme: GMA, Ratio: 252, Run: 4}},
		{"choice=linear", Config{Choice: ChooseLinear}},
		{"choice=keeping", Config{Preserve: true, Parity: Prefer, Class: Prefer}},
		{"size=4096", Config{BlockSize: 4096}},
	} {
		v.c.HoldDown, v.c.GuardTime = Off, Off
		run(v.name, v.c, 1, 50, 0)
	}
}

func BenchmarkPortRefused(b *testing.B) {
	h, rnd, now := benchHolding(b, Config{HoldDown: Off, GuardTime: Off}, 8, 100)
	if _, err := h.TakePort(UDP, 0, rnd, now); err != nil {
		b.Fatal(err) // benchHolding leaves one
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.TakePort(UDP, 0, rnd, now); err != ErrMaxBlocks {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlockTakeCool(b *testing.B) {
	for _, c := range []Config{{}, {BlockSize: 64}, {BlockSize: 16}, {BlockSize: 64, FirstBlockSize: 512}} {
		for _, fill := range fills {
			b.Run(fmt.Sprintf("size=%d/first=%d/fill=%v", cmp.Or(c.BlockSize, 256), cmp.Or(c.FirstBlockSize, c.BlockSize, 256), fill), func(b *testing.B) {
				c.HoldDown, c.GuardTime = Off, Off
				l := mustLayout(b, c)
				a := l.NewAddress(1)
				now := ms(1e12)
				want := Want{Further: true, Spaces: UDP.Set()}
				n := a.FreeBlocks(now)
				for range min(int(float64(n)*fill/100+.5), n-1) {
					if _, err := a.TakeBlockOf(1, want, now); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					blk, err := a.TakeBlockOf(1, want, now)
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
	b.Run("size=256/guard=on", func(b *testing.B) {
		a := mustLayout(b, Config{}).NewAddress(1)
		now := ms(1e12)
		b.ReportAllocs()
		for b.Loop() {
			blk, err := a.TakeBlock(1, now)
			if err != nil {
				b.Fatal(err)
			}
			if err := a.CoolBlock(blk, now); err != nil {
				b.Fatal(err)
			}
			now = now.Add(time.Second)
		}
	})
}

func BenchmarkBlockRefused(b *testing.B) {
	a := mustLayout(b, Config{}).NewAddress(1)
	now := ms(1e12)
	for range 252 {
		if _, err := a.TakeBlock(1, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.TakeBlock(1, now); err != ErrNoBlock {
			b.Fatal(err)
		}
	}
}

// A subscriber's whole life: block, port, release.
func BenchmarkSubscriber(b *testing.B) {
	b.Run("layout=contiguous", func(b *testing.B) { benchSubscriber(b, Config{}) })
	b.Run("layout=psid", func(b *testing.B) { benchSubscriber(b, Config{Scheme: PSID, PSIDOffset: 6, PSIDLength: 8}) })
}

func benchSubscriber(b *testing.B, c Config) {
	c.HoldDown, c.GuardTime, c.IdleTimeout = Off, Off, Off
	l := mustLayout(b, c)
	a, h := l.NewAddress(1), l.NewHolding()
	rnd := rand.NewChaCha8([32]byte{1})
	now := ms(1e12)
	var idle []Block
	b.ReportAllocs()
	for b.Loop() {
		blk, err := a.TakeBlockOf(1, h.Want(UDP), now)
		if err != nil || h.AddBlock(blk, now) != nil {
			b.Fatal(err)
		}
		p, err := h.TakePort(UDP, 1, rnd, now)
		if err != nil || h.ReturnPort(UDP, p.Address, p.Number, now) != nil {
			b.Fatal(err)
		}
		idle = h.AppendIdle(idle[:0], now)
		if len(idle) != 1 || h.RemoveBlock(blk, now) != nil || a.CoolBlock(blk, now) != nil {
			b.Fatal("not released")
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	a := mustLayout(b, Config{}).NewAddress(1)
	now := ms(1e12)
	for range 200 {
		if _, err := a.TakeBlock(1, now); err != nil {
			b.Fatal(err)
		}
	}
	p := uint16(0)
	for b.Loop() {
		p += 257
		_ = a.Owner(p, now)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	a := mustLayout(b, Config{}).NewAddress(1)
	for range 252 {
		if _, err := a.TakeBlock(1, ms(1)); err != nil {
			b.Fatal(err)
		}
	}
	var buf []byte
	for b.Loop() {
		buf = a.AppendSnapshot(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}
