package portblock

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// shareables lists the live ports of open blocks that strict preferences allow and that are not reserved since they were taken, by the ledger.
func (w *world) shareables(i int, s Space, internal uint16) map[goldPort]Block {
	c := &w.l.cfg
	out := map[goldPort]Block{}
	for _, b := range w.open(i) {
		for _, p := range w.blocks[b].ports {
			if w.state(b, s, p) == "live" && w.usable(b.Address(), s, p) && w.keeps(p, internal, c.Parity == Require, c.Class == Require) {
				out[goldPort{s, b.Address(), p}] = b
			}
		}
	}
	return out
}

// share asks for a live port, of which some fit, and checks that the best of them is found whenever there is one.
func (w *world) share(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "subscriber")
	h, s := w.hold[i], Space(rapid.IntRange(0, 2).Draw(t, "space"))
	internal := uint16(rapid.SampledFrom([]int{0, 1, 1023, 1024, 1031, 4097, 65535}).Draw(t, "internal"))
	var rnd rand.Source = w.rnd
	if rapid.IntRange(0, 4).Draw(t, "nil source") == 0 {
		rnd = nil
	}
	every := rapid.SampledFrom([]int{1, 2, 7, 40}).Draw(t, "one of so many fits")
	fitting := func(p int) bool { return p*31%every == 0 }
	var best map[goldPort]Block
	all := w.shareables(i, s, internal)
	for k, b := range all {
		if fitting(k.port) {
			if best == nil {
				best = map[goldPort]Block{}
			}
			best[k] = b
		}
	}
	w.wasOpen = w.open(i)
	before, asked := h.AppendSnapshot(nil), 0
	p, ok := h.SharePort(s, internal, rnd, ms(w.now), func(port uint16) bool {
		asked++
		return fitting(int(port))
	})
	if ok != (len(best) > 0) {
		t.Fatalf("found: %v, while %d of %d live ports fit", ok, len(best), len(all))
	}
	if asked > 4*(shareTries+len(all))*2+1 {
		t.Fatalf("%d questions about %d ports", asked, len(all))
	}
	if !ok {
		if !slices.Equal(settled(h, before), h.AppendSnapshot(nil)) {
			t.Fatal("a refusal changed the state")
		}
		return
	}
	k := goldPort{s, p.Address, int(p.Number)}
	if _, fits := best[k]; !fits {
		t.Fatalf("%+v does not fit", p)
	}
	if rnd != nil && w.l.cfg.Choice == ChooseRandom {
		w.chosenWell(t, i, internal, k, best, false)
	}
	w.blocks[best[k]].seen = w.now
	w.blocks[best[k]].idle = w.now
}

// TestH25_SharedPortsAreDrawnEvenly: each live port that fits is as likely as any other, however few fit, so that nobody can guess which comes.
func TestH25_SharedPortsAreDrawnEvenly(t *testing.T) {
	l := mustLayout(t, Config{})
	a, h, rnd := l.NewAddress(1), l.NewHolding(), rand.NewChaCha8([32]byte{5})
	b, _ := a.TakeBlock(1, ms(1))
	if err := h.AddBlock(b, ms(1)); err != nil {
		t.Fatal(err)
	}
	for range 256 {
		if _, err := h.TakePort(UDP, 1, rnd, ms(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, every := range []uint16{1, 2, 4} {
		counts, n := map[uint16]int{}, 256/int(every)
		for range n * 100 {
			p, ok := h.SharePort(UDP, 1, rnd, ms(1), func(port uint16) bool { return port%every == 0 })
			if !ok {
				t.Fatal("a port that fits was not found")
			}
			counts[p.Number]++
		}
		if len(counts) != n {
			t.Errorf("one in %d fits: %d of %d ports came", every, len(counts), n)
		}
		for p, c := range counts {
			if c < 50 || c > 170 { // 100 expected, five deviations
				t.Errorf("one in %d fits: port %d came %d times of %d", every, p, c, n*100)
			}
		}
	}
}

// BenchmarkSharePort chooses among 256 live ports of which few fit, or none: then each is asked for twice, and eight drawn.
func BenchmarkSharePort(b *testing.B) {
	l, err := NewLayout(Config{})
	if err != nil {
		b.Fatal(err)
	}
	a, h, rnd := l.NewAddress(1), l.NewHolding(), rand.NewChaCha8([32]byte{5})
	block, _ := a.TakeBlock(1, ms(1))
	_ = h.AddBlock(block, ms(1))
	for range 256 {
		_, _ = h.TakePort(UDP, 1, rnd, ms(1))
	}
	for _, fit := range []uint16{256, 128, 16, 1, 0} {
		b.Run(fmt.Sprintf("fit=%d", fit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = h.SharePort(UDP, 1, rnd, ms(1), func(port uint16) bool { return port%256 < fit })
			}
		})
	}
}
