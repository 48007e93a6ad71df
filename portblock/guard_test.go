package portblock

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

func TestSizes(t *testing.T) {
	for _, v := range []struct {
		name      string
		got, most uintptr
	}{
		{"Range", unsafe.Sizeof(Range{}), 8},
		{"Block", unsafe.Sizeof(Block{}), 12},
		{"Port", unsafe.Sizeof(Port{}), 8},
		{"Set", unsafe.Sizeof(Set{}), 32},
		{"record", unsafe.Sizeof(record{}), 24},
		{"held", unsafe.Sizeof(held{}), 40},
		{"Holding", unsafe.Sizeof(Holding{}), 104},
		{"RoomyHolding", unsafe.Sizeof(RoomyHolding{}), 336},
		{"Address", unsafe.Sizeof(Address{}), 200},
	} {
		if v.got > v.most {
			t.Errorf("%s takes %d bytes, at most %d are planned", v.name, v.got, v.most)
		}
	}
	// A held block of 256 ports: two bitmaps in three spaces, and two records.
	if n := 6*256/8 + unsafe.Sizeof(held{}) + unsafe.Sizeof(record{}); n > 256 {
		t.Errorf("a held block takes %d bytes", n)
	}
}

// heap returns the bytes that f's result keeps on the heap.
func heap(f func() any) int64 {
	var a, b runtime.MemStats
	runtime.GC()
	runtime.GC() // sweeps what the first one found
	runtime.ReadMemStats(&a)
	x := f()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&b)
	runtime.KeepAlive(x)
	return int64(b.HeapAlloc) - int64(a.HeapAlloc)
}

// The bytes that the package doc promises, as the heap sees them.
func TestMemory(t *testing.T) {
	l := mustLayout(t, Config{MaxBlocks: 252})
	const n = 2000
	idle := heap(func() any {
		out := make([]*Address, n)
		for i := range out {
			out[i] = l.NewAddress(uint32(i))
		}
		return out
	}) / n
	const m = 200
	all := heap(func() any {
		out := make([]*Address, m)
		for i := range out {
			out[i] = l.NewAddress(uint32(i))
			for range 252 {
				if _, err := out[i].TakeBlock(1, ms(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out
	}) / m
	var perBlock [9]int64
	for _, blocks := range []int{1, 2, 4, 8} {
		a := l.NewAddress(1)
		var leases []Block
		for range blocks {
			b, _ := a.TakeBlock(1, ms(1))
			leases = append(leases, b)
		}
		perBlock[blocks] = heap(func() any {
			out := make([]Holding, n)
			for i := range out {
				out[i].Init(l)
				for _, b := range leases {
					if err := out[i].AddBlock(b, ms(1)); err != nil {
						t.Fatal(err)
					}
				}
			}
			return out
		})/n - int64(unsafe.Sizeof(Holding{}))
		perBlock[blocks] /= int64(blocks)
	}
	onAddress := (all - idle + 251) / 252
	t.Logf("address %d bytes; a held block %d on the address, in a holding of 1, 2, 4, 8: %v", idle, onAddress, perBlock)
	if idle > 2048 {
		t.Errorf("an address without live blocks takes %d bytes", idle)
	}
	for _, blocks := range []int{1, 2, 4, 8} {
		if sum := perBlock[blocks] + onAddress; sum > 272 {
			t.Errorf("a held block takes %d bytes with %d blocks", sum, blocks)
		}
	}
	var leases [252]Block
	empty := heap(func() any {
		out := make([]*Address, m)
		for i := range out {
			out[i] = l.NewAddress(uint32(i))
			for k := range leases {
				leases[k], _ = out[i].TakeBlock(1, ms(1))
			}
			for _, b := range leases {
				if err := out[i].CancelBlock(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out
	}) / m
	if empty > 2048 {
		t.Errorf("an address whose blocks all came back takes %d bytes", empty)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	l := mustLayout(t, Config{MaxPorts: [3]int{ICMP: 1}})
	a, h := l.NewAddress(1), l.NewHolding()
	rnd := rand.NewChaCha8([32]byte{1})
	now := ms(1e12)
	for range 3 {
		b, _ := a.TakeBlockOf(1, h.Want(TCP), now)
		if err := h.AddBlock(b, now); err != nil {
			t.Fatal(err)
		}
	}
	for range 300 {
		if _, err := h.TakePort(TCP, 1, rnd, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.TakePort(ICMP, 1, rnd, now); err != nil {
		t.Fatal(err)
	}
	keeping := mustLayout(t, Config{Preserve: true, Parity: Prefer, Class: Prefer})
	ka, kh := keeping.NewAddress(1), keeping.NewHolding()
	kb, _ := ka.TakeBlock(1, now)
	if err := kh.AddBlock(kb, now); err != nil {
		t.Fatal(err)
	}
	full := mustLayout(t, Config{Ports: RangeOf(1024, 1279), MaxBlocks: 1}).NewAddress(1)
	if _, err := full.TakeBlock(1, now); err != nil {
		t.Fatal(err)
	}
	var blocks []Block
	var infos []BlockInfo
	snap := make([]byte, 0, 1<<16)
	r := RangeOf(1, 2)
	text := make([]byte, 0, 100)
	set := l.SetOf(kb)
	var sink Port
	for _, v := range []struct {
		name string
		f    func()
	}{
		{"TakePort, ReturnPort", func() {
			p, _ := h.TakePort(TCP, 1, rnd, now)
			_ = h.ReturnPort(TCP, p.Address, p.Number, now)
			now = now.Add(time.Second)
		}},
		{"TakePort, ReturnPort, keeping", func() {
			p, _ := kh.TakePort(UDP, 1025, rnd, now)
			_ = kh.ReturnPort(UDP, p.Address, p.Number, now)
			now = now.Add(time.Second)
		}},
		{"SharePort", func() {
			even := uint16(len(blocks))
			sink, _ = h.SharePort(TCP, 1, rnd, now, func(port uint16) bool { return port%8 == even })
		}},
		{"TakePortAt", func() {
			p, _ := h.TakePort(UDP, 1, rnd, now)
			_ = h.TakePortAt(UDP, p.Address, p.Number, now)
			_ = h.ReturnPort(UDP, p.Address, p.Number, now)
			now = now.Add(time.Second)
		}},
		{"TakeBlock, CoolBlock", func() {
			b, _ := a.TakeBlock(1, now)
			_ = a.CoolBlock(b, now)
			now = now.Add(time.Second)
		}},
		{"TakeBlock, CancelBlock", func() { b, _ := a.TakeBlock(1, now); _ = a.CancelBlock(b) }},
		{"TakeBlock, AddBlock, RemoveBlock, CoolBlock", func() {
			b, _ := a.TakeBlock(1, now)
			_ = h.AddBlock(b, now)
			_ = h.RemoveBlock(b, now)
			_ = a.CoolBlock(b, now)
			now = now.Add(time.Second)
		}},
		{"refused port limit", func() { _, _ = h.TakePort(ICMP, 1, rnd, now) }},
		{"refused block", func() { _, _ = full.TakeBlock(1, now) }},
		{"Owner", func() { _ = a.Owner(5000, now) }},
		{"Touch, TouchPort, BlockOf", func() { h.Touch(kb, now); h.TouchPort(1, 5000, now); h.BlockOf(1, 5000) }},
		{"AppendIdle, NextIdle", func() { blocks = h.AppendIdle(blocks[:0], now); h.NextIdle() }},
		{"FreeBlocks, NextFree, Counts, HasRoom", func() { a.FreeBlocks(now); a.NextFree(); a.Counts(now); a.HasRoom(Want{Spaces: 7}, now) }},
		{"AppendBlocks", func() { infos, _ = a.AppendBlocks(infos[:0], 0, 300, now) }},
		{"AppendSnapshot", func() { snap = a.AppendSnapshot(snap[:0]); snap = h.AppendSnapshot(snap[:0]) }},
		{"AppendTo", func() { text = r.AppendTo(text[:0]); text = kb.AppendTo(text); text = set.AppendTo(text) }},
		{"Live", func() {
			for p := range h.Live(TCP) {
				sink = p
			}
		}},
	} {
		v.f()
		v.f()
		if n := testing.AllocsPerRun(300, v.f); n != 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
	}
	_ = sink
}
