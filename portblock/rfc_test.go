package portblock

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// nat is one address and one subscriber.
type nat struct {
	t   *testing.T
	a   *Address
	h   *Holding
	rnd *rand.ChaCha8
	now time.Time
	// records counts leases: what a log would hold.
	records int
}

func newNAT(t *testing.T, c Config) *nat {
	l := mustLayout(t, c)
	return &nat{t: t, a: l.NewAddress(3), h: l.NewHolding(), rnd: rand.NewChaCha8([32]byte{9}), now: ms(1e12)}
}

// take takes a port, with another block where one is needed.
func (n *nat) take(s Space, internal uint16) (Port, error) {
	p, err := n.h.TakePort(s, internal, n.rnd, n.now)
	if err != ErrNeedBlock {
		return p, err
	}
	b, err := n.a.TakeBlockOf(1, n.h.Want(s), n.now)
	if err != nil {
		return n.h.TakeHeldPort(s, internal, n.rnd, n.now)
	}
	n.records++
	if err := n.h.AddBlockReserved(b, n.a.Reserved(), n.now); err != nil {
		n.t.Fatal(err)
	}
	return n.h.TakePort(s, internal, n.rnd, n.now)
}

func (n *nat) must(s Space) Port {
	n.t.Helper()
	p, err := n.take(s, 40000)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func (n *nat) give(s Space, p Port) {
	n.t.Helper()
	if err := n.h.ReturnPort(s, p.Address, p.Number, n.now); err != nil {
		n.t.Fatal(err)
	}
}

func (n *nat) pass(d time.Duration) { n.now = n.now.Add(d) }

// release removes and cools what is idle, and returns how much that was.
func (n *nat) release() int {
	idle := n.h.AppendIdle(nil, n.now)
	for _, b := range idle {
		if err := errors.Join(n.h.RemoveBlock(b, n.now), n.a.CoolBlock(b, n.now)); err != nil {
			n.t.Fatal(err)
		}
	}
	return len(idle)
}

func TestRFC7768_01_02_03_OneRecordABlock(t *testing.T) {
	n := newNAT(t, Config{})
	seen := map[Port]bool{}
	for i := range 1000 {
		p := n.must(UDP)
		if seen[p] || p.Address != 3 {
			t.Fatalf("port %+v twice, or on another address", p)
		}
		seen[p] = true
		if want := i/256 + 1; n.records != want {
			t.Fatalf("%d records after %d mappings, want %d", n.records, i+1, want)
		}
	}
	for range 256 { // the other spaces use the same blocks
		n.must(TCP)
		n.must(ICMP)
	}
	if n.records != 4 {
		t.Fatalf("%d records", n.records)
	}
}

func TestRFC7768_04_IdleBlockIsReturned(t *testing.T) {
	n := newNAT(t, Config{IdleTimeout: 300 * time.Second})
	p := n.must(TCP)
	n.pass(time.Hour)
	if n.release() != 0 {
		t.Fatal("a block with a live port was idle")
	}
	n.give(TCP, p)
	if at, ok := n.h.NextIdle(); !ok || !at.Equal(n.now.Add(300*time.Second)) {
		t.Fatalf("NextIdle = %v %v", at, ok)
	}
	n.pass(300*time.Second - time.Millisecond)
	if n.release() != 0 {
		t.Fatal("idle a tick early")
	}
	n.pass(time.Millisecond)
	if n.release() != 1 || n.h.Blocks() != 0 {
		t.Fatal("not idle at the tick")
	}
}

func TestRFC7768_06_12_GuardTimeToTheTick(t *testing.T) {
	n := newNAT(t, Config{Ports: RangeOf(1024, 1279), GuardTime: 200 * time.Second})
	b, err := n.a.TakeBlock(1, n.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.a.CoolBlock(b, n.now); err != nil {
		t.Fatal(err)
	}
	if at, ok := n.a.NextFree(); !ok || !at.Equal(n.now.Add(200*time.Second)) {
		t.Fatalf("NextFree = %v %v", at, ok)
	}
	n.pass(200*time.Second - time.Millisecond)
	snap := n.a.AppendSnapshot(nil)
	if _, err := n.a.TakeBlock(2, n.now); err != ErrNoBlock {
		t.Fatalf("reused a tick early: %v", err)
	}
	if o := n.a.Owner(1100, n.now); o.State != Cooling || o.Owner != 1 {
		t.Fatalf("Owner = %+v", o)
	}
	restored, _, err := n.a.Layout().RestoreAddress(snap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restored.TakeBlock(2, n.now); err != ErrNoBlock {
		t.Fatalf("reused a tick early after a restart: %v", err)
	}
	n.pass(time.Millisecond)
	for _, a := range []*Address{n.a, restored} {
		if b2, err := a.TakeBlock(2, n.now); err != nil || b2 == b {
			t.Fatalf("not free at the tick: %v %v", b2, err)
		}
	}
}

func TestRFC7768_08_LongestIdleBlockIsLeftOut(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 16})
	var ports []Port
	for range 48 {
		n.pass(time.Millisecond)
		ports = append(ports, n.must(UDP))
	}
	first, _ := n.h.BlockOf(ports[0].Address, ports[0].Number)
	second, _ := n.h.BlockOf(ports[16].Address, ports[16].Number)
	third, _ := n.h.BlockOf(ports[32].Address, ports[32].Number)
	// Ten ports of each block rest and become free.
	for i, p := range ports {
		if i%16 < 10 {
			n.give(UDP, p)
		}
	}
	n.pass(DefaultHoldDown)
	// 7768-09: a packet in any direction counts. The second is idle longest now.
	n.h.Touch(first, n.now)
	n.pass(time.Millisecond)
	n.h.TouchPort(third.Address(), ports[33].Number, n.now)
	for i := range 30 {
		p := n.must(UDP)
		b, _ := n.h.BlockOf(p.Address, p.Number)
		if (b == second) != (i >= 20) {
			t.Fatalf("port %d came from %v; %v has been idle longest", i, b, second)
		}
	}
}

func TestRFC7768_10_Convergence(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 64})
	var live []Port
	for range 256 {
		live = append(live, n.must(UDP))
	}
	if n.h.Blocks() != 4 {
		t.Fatalf("%d blocks", n.h.Blocks())
	}
	// The load falls to half a block; a port changes every 20 s, so that six
	// more rest.
	for _, p := range live[32:] {
		n.give(UDP, p)
	}
	live = live[:32]
	for range 720 {
		n.pass(20 * time.Second)
		n.give(UDP, live[0])
		live = append(live[1:], n.must(UDP))
		n.release()
	}
	if n.h.Blocks() > 2 {
		t.Fatalf("%d blocks are left", n.h.Blocks())
	}
}

func TestRFC7768_11_RFC6056_08_BlockOrder(t *testing.T) {
	order := func(c Config) (out []int) {
		n := newNAT(t, c)
		for range 252 {
			b, err := n.a.TakeBlock(1, n.now)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b.Number())
		}
		return out
	}
	a, b := order(Config{OrderKey: [16]byte{1}}), order(Config{OrderKey: [16]byte{2}})
	if slices.Equal(a, b) || !slices.Equal(a, order(Config{OrderKey: [16]byte{1}})) {
		t.Fatal("H7: the key, and only the key, makes the order")
	}
	var want []int
	for i := range 252 {
		want = append(want, i+4)
	}
	if got := order(Config{Order: OrderSequential}); !slices.Equal(got, want) {
		t.Fatalf("H8: sequential order is %v", got)
	}
	slices.Sort(a)
	if !slices.Equal(a, want) {
		t.Fatal("a block came twice or never")
	}
}

func TestRFC6888_08_HoldDownToTheTick(t *testing.T) {
	for _, hold := range []time.Duration{120 * time.Second, 7 * time.Millisecond} {
		n := newNAT(t, Config{BlockSize: 16, MaxBlocks: 1, HoldDown: hold})
		var ports []Port
		for range 16 {
			ports = append(ports, n.must(TCP))
		}
		if _, err := n.take(TCP, 1); err != ErrMaxBlocks {
			t.Fatalf("B117: %v", err)
		}
		n.give(TCP, ports[5])
		n.pass(hold - time.Millisecond)
		h, _, err := n.h.layout.RestoreHolding(n.h.AppendSnapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Holding{n.h, h} {
			if _, err := x.TakePort(TCP, 1, n.rnd, n.now); err != ErrResting {
				t.Fatalf("B118: a tick early: %v", err)
			}
			if x.Resting(TCP, n.now) != 1 {
				t.Fatal("the port does not rest")
			}
			if p, err := x.TakePort(TCP, 1, n.rnd, n.now.Add(time.Millisecond)); err != nil || p != ports[5] {
				t.Fatalf("B118: at the tick: %+v %v", p, err)
			}
		}
	}
}

func TestRFC6888_08d_MaximumOfRestingPorts(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 16, MaxBlocks: 1, MaxResting: 2})
	var ports []Port
	for range 16 {
		ports = append(ports, n.must(UDP))
	}
	for _, p := range ports[:3] {
		n.give(UDP, p)
	}
	if n.h.Resting(UDP, n.now) != 2 || n.must(UDP) != ports[0] {
		t.Fatal("the port returned first is free")
	}
}

func TestRestingPolicyOldestFirst(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 16, MaxBlocks: 1, Resting: RestOldest})
	var ports []Port
	for range 16 {
		ports = append(ports, n.must(UDP))
	}
	for _, i := range []int{9, 3, 12} {
		n.pass(time.Second)
		n.give(UDP, ports[i])
	}
	for _, i := range []int{9, 3, 12} {
		if p := n.must(UDP); p != ports[i] {
			t.Fatalf("took %+v, %+v has rested longest", p, ports[i])
		}
	}
	if _, err := n.take(UDP, 1); err != ErrMaxBlocks {
		t.Fatal(err)
	}
}

func TestRFC6888_04_Limits(t *testing.T) {
	n := newNAT(t, Config{MaxPorts: [3]int{TCP: 64}, MaxPortsTotal: 100})
	for range 64 {
		n.must(TCP)
	}
	var limit *LimitError
	if _, err := n.take(TCP, 1); !errors.Is(err, ErrMaxPorts) || !errors.As(err, &limit) || limit.Space != TCP || limit.Limit != 64 || limit.Total {
		t.Fatalf("65th port: %v", err)
	}
	for range 36 {
		n.must(UDP)
	}
	if _, err := n.take(ICMP, 1); !errors.As(err, &limit) || !limit.Total || limit.Limit != 100 {
		t.Fatalf("101st port: %v", err)
	}
	other := newNAT(t, Config{MaxPorts: [3]int{TCP: 64}})
	other.must(TCP)
}

func TestRFC4787_03a_04_ClassAndParity(t *testing.T) {
	n := newNAT(t, Config{Ports: RangeOf(512, 1535), Order: OrderSequential, MaxBlocks: 4, Class: Prefer, Parity: Prefer, KeepIdleInUse: true})
	for range 4 { // two blocks of each class
		b, _ := n.a.TakeBlock(1, n.now)
		if err := n.h.AddBlock(b, n.now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 512 {
		internal := uint16(4000 + i)
		if i%4 < 2 {
			internal = uint16(i)
		}
		p, err := n.take(UDP, internal)
		if err != nil || (p.Number < 1024) != (internal < 1024) || (p.Number^internal)&1 != 0 {
			t.Fatalf("internal %d gave %d, %v", internal, p.Number, err)
		}
	}
	strict := newNAT(t, Config{BlockSize: 16, MaxBlocks: 1, Parity: Require})
	for i := range 9 {
		p, err := strict.take(UDP, 40000)
		if i < 8 && (err != nil || p.Number&1 != 0) || i == 8 && err != ErrMaxBlocks {
			t.Fatalf("even port %d: %+v, %v", i, p, err)
		}
	}
	if p, err := strict.take(UDP, 40001); err != nil || p.Number&1 != 1 {
		t.Fatalf("odd port: %+v, %v", p, err)
	}
}

func TestRFC7857_16_PreserveThenRandom(t *testing.T) {
	n := newNAT(t, Config{Preserve: true, Order: OrderSequential})
	if p, err := n.take(UDP, 1100); err != nil || p.Number != 1100 {
		t.Fatalf("%+v %v", p, err)
	}
	if p, err := n.take(UDP, 1100); err != nil || p.Number == 1100 || p.Number < 1024 || p.Number > 1279 {
		t.Fatalf("conflict: %+v %v", p, err)
	}
	if p, err := n.take(TCP, 1100); err != nil || p.Number != 1100 {
		t.Fatalf("H13, another space: %+v %v", p, err)
	}
}

// H10, H11, H12, H25: the exact drain of an address, by space.
func TestH10_H11_H12_H25_Drain(t *testing.T) {
	for _, c := range []struct {
		ports Range
		s     Space
		want  int
	}{
		{Range{}, TCP, 64512}, {Range{}, UDP, 64512}, {RangeOf(0, 65535), TCP, 65535},
		{RangeOf(0, 65535), UDP, 65535}, {RangeOf(0, 65535), ICMP, 65536},
		{RangeOf(1025, 1027), UDP, 3}, // B82
		{RangeOf(65530, 65535), TCP, 6},
	} {
		n := newNAT(t, Config{Ports: c.ports, MaxBlocks: 512, KeepIdleInUse: true})
		var seen [65536]bool
		got := 0
		for {
			p, err := n.take(c.s, 1)
			if err == ErrNoBlock {
				break
			}
			if err != nil || seen[p.Number] || p.Number == 0 && c.s != ICMP {
				t.Fatalf("port %d: %v", p.Number, err)
			}
			seen[p.Number] = true
			got++
		}
		if got != c.want {
			t.Errorf("%v %v: %d ports, want %d", c.ports, c.s, got, c.want)
		}
	}
}

// 6888-15, 7768-13, 6056-11: the next port is uniform over the free ports of
// the candidate blocks. The bound is p = 0.001 for a fixed seed.
func TestRFC6888_15_UniformChoice(t *testing.T) {
	const seed = 20
	for _, busy := range []int{0, 100, 700} {
		n := newNAT(t, Config{HoldDown: Off, GuardTime: Off, KeepIdleInUse: true})
		n.rnd = rand.NewChaCha8([32]byte{seed, byte(busy)})
		for range 769 { // four blocks, the last one with one live port
			n.must(UDP)
		}
		var all []Port
		for p := range n.h.Live(UDP) {
			all = append(all, p)
		}
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all[busy:] {
			n.give(UDP, p)
		}
		free := 1024 - busy
		counts := map[Port]int{}
		const per = 40
		for range per * free {
			p := n.must(UDP)
			counts[p]++
			n.give(UDP, p)
		}
		chi := 0.0
		for _, c := range counts {
			chi += (float64(c) - per) * (float64(c) - per) / per
		}
		chi += float64(free-len(counts)) * per
		df := float64(free - 1)
		// Wilson-Hilferty: the cube root of chi/df is about normal.
		z := (math.Cbrt(chi/df) - (1 - 2/(9*df))) / math.Sqrt(2/(9*df))
		if z > 3.09 || z < -3.09 || len(counts) > free {
			t.Errorf("seed %d: %d free ports: chi-square %.0f, z = %.2f", seed, free, chi, z)
		}
	}
}

// The order of blocks is uniform too (7768-11).
func TestRFC7768_11_UniformBlocks(t *testing.T) {
	n := newNAT(t, Config{HoldDown: Off, GuardTime: Off, OrderKey: [16]byte{5}})
	counts := map[int]int{}
	const per = 100
	for range per * 252 {
		b, err := n.a.TakeBlock(1, n.now)
		if err != nil {
			t.Fatal(err)
		}
		counts[b.Number()]++
		if err := n.a.CoolBlock(b, n.now); err != nil {
			t.Fatal(err)
		}
	}
	chi := 0.0
	for _, c := range counts {
		chi += (float64(c) - per) * (float64(c) - per) / per
	}
	const df = 251
	if z := (math.Cbrt(chi/df) - (1 - 2.0/(9*df))) / math.Sqrt(2.0/(9*df)); z > 3.09 || z < -3.09 || len(counts) != 252 {
		t.Errorf("%d blocks, chi-square %.0f, z = %.2f", len(counts), chi, z)
	}
}

func TestActiveTimeoutRotatesBlocks(t *testing.T) {
	n := newNAT(t, Config{ActiveTimeout: time.Hour, MaxBlocks: 1})
	p := n.must(TCP)
	old, _ := n.h.BlockOf(p.Address, p.Number)
	n.pass(time.Hour - time.Millisecond)
	if q := n.must(TCP); n.records != 1 || q == p {
		t.Fatal("rotated a tick early")
	}
	n.pass(time.Millisecond)
	q := n.must(TCP)
	if b, _ := n.h.BlockOf(q.Address, q.Number); b == old || n.records != 2 || n.h.Retiring() != 1 {
		t.Fatal("not rotated at the tick")
	}
	if n.h.Ports(TCP) != 3 || n.release() != 0 {
		t.Fatal("live ports live on")
	}
	for r := range n.h.Live(TCP) {
		if b, _ := n.h.BlockOf(r.Address, r.Number); b == old {
			n.give(TCP, r)
		}
	}
	if n.release() != 1 || n.h.Blocks() != 1 {
		t.Fatal("the rotated block is released with its last port")
	}
}

func TestNoRefillLife(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 16, NoRefill: true, HoldDown: Off, GuardTime: Off, MaxBlocks: 1})
	seen := map[Port]bool{}
	for range 64 { // each port of each block once, though each is returned
		p := n.must(UDP)
		if seen[p] {
			t.Fatalf("port %+v twice", p)
		}
		seen[p] = true
		n.give(UDP, p)
		if len(seen)%16 == 0 && n.h.Retiring() != 1 {
			t.Fatal("a spent block does not retire")
		}
		if n.release() == 1 {
			// Its ports may come again with another lease.
			clear(seen)
		}
	}
	if n.records != 4 {
		t.Fatalf("%d blocks for 64 ports", n.records)
	}
}

func TestFirstAndFurtherBlockSize(t *testing.T) {
	n := newNAT(t, Config{FirstBlockSize: 512, BlockSize: 64})
	for range 513 {
		n.must(UDP)
	}
	var sizes []int
	for b := range n.h.All(n.now) {
		sizes = append(sizes, n.h.layout.SetOf(b.Block).Len())
	}
	if !slices.Equal(sizes, []int{512, 64}) {
		t.Fatalf("sizes %v", sizes)
	}
	// Small blocks leave whole groups alone while broken ones have room.
	m := newNAT(t, Config{FirstBlockSize: 4096, BlockSize: 64, OrderKey: [16]byte{8}})
	for range 40 {
		if _, err := m.a.TakeBlockOf(1, Want{Further: true}, m.now); err != nil {
			t.Fatal(err)
		}
	}
	for range 15 {
		if _, err := m.a.TakeBlock(1, m.now); err != nil {
			t.Fatalf("small blocks broke up a whole group: %v", err)
		}
	}
}

// 99 % occupancy with random lifetimes: no refusal while a usable port exists.
func TestNoRefusalWhilePortsExist(t *testing.T) {
	n := newNAT(t, Config{HoldDown: Off, GuardTime: Off, MaxBlocks: 16, Ports: RangeOf(1024, 1024+16*256-1)})
	r := rand.New(rand.NewPCG(4, 4))
	var live []Port
	for range 4096 {
		live = append(live, n.must(TCP))
	}
	for range 20000 {
		for range 1 + r.IntN(80) {
			i := r.IntN(len(live))
			n.give(TCP, live[i])
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		for len(live) < 4096 {
			live = append(live, n.must(TCP))
		}
		if _, err := n.take(TCP, 1); err != ErrMaxBlocks {
			t.Fatal(err)
		}
	}
}
