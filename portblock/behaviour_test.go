package portblock

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// H41: one layout, one locked address, many subscribers at once. The ledger
// holds who owns each port; a port taken twice is seen by its swap.
func TestH41_OneOwnerUnderConcurrency(t *testing.T) {
	l := mustLayout(t, Config{Ports: RangeOf(1024, 1024+32*64-1), BlockSize: 64, HoldDown: Off, GuardTime: Off, IdleTimeout: Off, MaxBlocks: 6})
	a := l.NewAddress(1)
	var mu sync.Mutex
	var ledger [NumSpaces][65536]atomic.Uint64
	now := ms(1e12)
	var wg sync.WaitGroup
	for id := uint64(1); id <= 8; id++ {
		wg.Go(func() {
			h := l.NewHolding()
			rnd := rand.NewChaCha8([32]byte{byte(id)})
			r := rand.New(rand.NewPCG(id, 1))
			var live []Port
			for range 4000 {
				if len(live) > 0 && r.IntN(5) < 2 {
					i := r.IntN(len(live))
					p := live[i]
					live[i] = live[len(live)-1]
					live = live[:len(live)-1]
					if !ledger[UDP][p.Number].CompareAndSwap(id, 0) || h.ReturnPort(UDP, 1, p.Number, now) != nil {
						t.Errorf("port %d was not owned by %d", p.Number, id)
						return
					}
					continue
				}
				p, err := h.TakePort(UDP, 1, rnd, now)
				if err == ErrNeedBlock {
					mu.Lock()
					b, err := a.TakeBlockOf(id, h.Want(UDP), now)
					mu.Unlock()
					if err == nil {
						err = h.AddBlock(b, now)
					}
					if err != nil && err != ErrNoBlock {
						t.Error(err)
						return
					}
					continue
				}
				if err == ErrMaxBlocks {
					for _, p := range live[len(live)/3:] {
						ledger[UDP][p.Number].Store(0)
						_ = h.ReturnPort(UDP, 1, p.Number, now)
					}
					live = live[:len(live)/3]
					for _, b := range h.AppendIdle(nil, now) {
						mu.Lock()
						err := errors.Join(h.RemoveBlock(b, now), a.CoolBlock(b, now))
						mu.Unlock()
						if err != nil {
							t.Error(err)
						}
					}
					continue
				}
				if err != nil || !ledger[UDP][p.Number].CompareAndSwap(0, id) {
					t.Errorf("port %d is owned twice: %v", p.Number, err)
					return
				}
				live = append(live, p)
			}
			if err := h.CheckInvariants(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := a.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

// 6888-08e: a start without knowledge of what was in use.
func TestRFC6888_08e_CoolAll(t *testing.T) {
	for _, c := range []Config{{}, {BlockSize: 64, FirstBlockSize: 512}} {
		a := mustLayout(t, c).NewAddress(1)
		now := ms(1e12)
		free := a.FreeBlocks(now)
		if n := a.CoolAll(now); n != free || a.FreeBlocks(now) != 0 {
			t.Fatalf("%d of %d blocks cool", n, free)
		}
		if err := a.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		if a.FreeBlocks(now.Add(DefaultGuardTime-time.Millisecond)) != 0 || a.FreeBlocks(now.Add(DefaultGuardTime)) != free {
			t.Fatal("not free at the tick")
		}
		if _, err := a.TakeBlock(1, now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignReservedIsRefused(t *testing.T) {
	l, other := mustLayout(t, Config{}), mustLayout(t, Config{Ports: RangeOf(5000, 6000)})
	r, err := other.NewReserved(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, h := l.NewAddress(1), l.NewHolding()
	if _, err := a.SetReserved(r, nil, ms(1)); err != ErrForeign || a.Reserved() != l.reserved {
		t.Fatal(err)
	}
	if _, err := h.SetReserved(1, r, nil, ms(1)); err != ErrForeign {
		t.Fatal(err)
	}
	b, _ := a.TakeBlock(1, ms(1))
	if err := h.AddBlockReserved(b, r, ms(1)); err != ErrInvalid {
		t.Fatal(err)
	}
	if _, err := l.NewReserved([]Reservation{{}}); err == nil {
		t.Fatal("an invalid reservation")
	}
}

// H14, H15: reserved ports are merged, overlap freely, and are of one space
// where that is said.
func TestH14_H15_Reserved(t *testing.T) {
	l := mustLayout(t, Config{})
	r, err := l.NewReserved([]Reservation{
		{RangeOf(5000, 5099), 0}, {RangeOf(5050, 5199), TCP.Set()}, {RangeOf(5200, 5200), TCP.Set()}, {RangeOf(10, 20), 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Ranges(TCP); len(got) != 2 || got[0] != RangeOf(0, 1023) || got[1] != RangeOf(5000, 5200) {
		t.Fatal(got)
	}
	if got := r.Ranges(UDP); len(got) != 2 || got[1] != RangeOf(5000, 5099) {
		t.Fatal(got)
	}
	if r.Ranges(9) != nil || !r.Contains(9, 5000) || !r.Contains(TCP, 5200) || r.Contains(UDP, 5200) || r.Contains(TCP, 5201) {
		t.Fatal("Contains")
	}
}

// H40: errors name what is short, and errors.Is finds the class.
func TestH40_ErrorsTell(t *testing.T) {
	l := mustLayout(t, Config{Pool: 4, Ports: RangeOf(1024, 1279), MaxBlocks: 1, MaxPorts: [3]int{UDP: 1}})
	a, h := l.NewAddress(9), l.NewHolding()
	now := ms(1)
	b, err := a.TakeBlock(1, now)
	if err != nil || h.AddBlock(b, now) != nil {
		t.Fatal(err)
	}
	_, err = a.TakeBlock(2, now)
	e := a.Explain(err, now)
	if !errors.Is(e, ErrNoBlock) || e.Pool != 4 || e.Address != 9 || e.Counts.Heating != 1 || e.Counts.RefusedNoBlock != 1 || !strings.Contains(e.Error(), "address 9") {
		t.Fatalf("%+v", e)
	}
	if _, err := h.TakePort(UDP, 1, nil, now); err != nil {
		t.Fatal(err)
	}
	_, err = h.TakePort(UDP, 1, nil, now)
	x := h.Explain(err, UDP, now)
	if !errors.Is(x, ErrMaxPorts) || x.Live != 1 || x.MaxPorts != 1 || x.Blocks != 1 || !strings.Contains(x.Error(), "udp") {
		t.Fatalf("%+v", x)
	}
	for _, s := range []Space{3, 255} {
		if _, err := h.TakePort(s, 1, nil, now); err != ErrInvalid {
			t.Fatal(err)
		}
		if h.TakePortAt(s, 9, 1024, now) != ErrInvalid || h.ReturnPort(s, 9, 1024, now) != ErrInvalid || h.Ports(s) != 0 || h.Resting(s, now) != 0 || h.FreePorts(s, now) != 0 {
			t.Fatal("an invalid space")
		}
	}
	if _, err := a.TakeBlockOf(1, Want{Spaces: 8}, now); err != ErrInvalid {
		t.Fatal(err)
	}
	if _, err := a.TakeBlockAt(1024, 1, Want{Spaces: 8}, now); err != ErrInvalid {
		t.Fatal(err)
	}
}

// H27: a block by name says free, in use, reserved, or not in the range.
func TestH27_TakeBlockAt(t *testing.T) {
	l := mustLayout(t, Config{Reserved: []Reservation{{RangeOf(2000, 2000), 0}, {RangeOf(2001, 2001), TCP.Set()}}})
	a := l.NewAddress(1)
	now := ms(1e12)
	b, err := a.TakeBlockAt(3000, 1, Want{}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		port uint16
		want Want
		err  error
	}{
		{3001, Want{}, ErrInUse}, {2000, Want{}, ErrReserved}, {2001, Want{Spaces: TCP.Set()}, ErrReserved}, {80, Want{}, ErrNotInRange}, {0, Want{}, ErrNotInRange},
	} {
		if _, err := a.TakeBlockAt(v.port, 2, v.want, now); err != v.err {
			t.Errorf("port %d: %v, want %v", v.port, err, v.err)
		}
	}
	if err := a.CoolBlock(b, now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TakeBlockAt(3000, 2, Want{}, now); err != ErrCooling {
		t.Fatal(err)
	}
	if _, err := a.TakeBlockAt(2001, 2, Want{Spaces: UDP.Set()}, now); err != nil {
		t.Fatal(err)
	}
}

// H15 with a whole block: a block of which all TCP ports are reserved serves
// UDP, and is not given to who asks for TCP.
func TestH15_WholeBlockOfOneSpace(t *testing.T) {
	n := newNAT(t, Config{Ports: RangeOf(1024, 1535), Reserved: []Reservation{{RangeOf(1024, 1279), TCP.Set()}}, Order: OrderSequential})
	if p := n.must(TCP); p.Number < 1280 {
		t.Fatalf("TCP port %d is reserved", p.Number)
	}
	for range 511 {
		n.must(UDP)
	}
	n.must(UDP)
	if _, err := n.take(UDP, 1); err != ErrNoBlock {
		t.Fatal(err)
	}
}

// A port that was never taken, for it is reserved or of no use, is not
// returned either.
func TestReturnOfReservedPort(t *testing.T) {
	l := mustLayout(t, Config{Reserved: []Reservation{{RangeOf(1024, 1030), 0}}, Order: OrderSequential, Ports: RangeOf(1020, 65535)})
	a, h := l.NewAddress(1), l.NewHolding()
	b, err := a.TakeBlockAt(1100, 1, Want{}, ms(1))
	if err != nil || h.AddBlock(b, ms(1)) != nil {
		t.Fatal(err)
	}
	for _, p := range []uint16{0, 1019, 1024, 1030, 1031, 65535} {
		if err := h.ReturnPort(TCP, 1, p, ms(1)); err != ErrNotHeld {
			t.Errorf("port %d: %v", p, err)
		}
	}
	if err := h.TakePortAt(TCP, 1, 1024, ms(1)); err != ErrReserved {
		t.Error(err)
	}
	if err := h.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

// A resting port that is reserved meanwhile is not given, oldest first or not,
// and not after its rest.
func TestRestingPortBecomesReserved(t *testing.T) {
	n := newNAT(t, Config{BlockSize: 16, MaxBlocks: 1, Resting: RestOldest})
	var ports []Port
	for range 16 {
		ports = append(ports, n.must(UDP))
	}
	n.give(UDP, ports[0])
	n.pass(time.Second)
	n.give(UDP, ports[1])
	r, err := n.h.layout.NewReserved([]Reservation{{RangeOf(ports[0].Number, ports[0].Number), 0}, {RangeOf(ports[2].Number, ports[2].Number), 0}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.h.SetReserved(3, r, nil, n.now)
	if err != nil || len(c) != 1 || c[0].Port != ports[2] {
		t.Fatalf("%v %v", c, err)
	}
	if p := n.must(UDP); p != ports[1] {
		t.Fatalf("took %+v, which is to be reserved", p)
	}
	if _, err := n.take(UDP, 1); err != ErrResting {
		t.Fatal(err)
	}
	n.give(UDP, ports[2])
	n.pass(DefaultHoldDown)
	if _, err := n.take(UDP, 1); err != ErrMaxBlocks {
		t.Fatal(err)
	}
	if c, err := n.h.SetReserved(3, nil, nil, n.now); err != nil || len(c) != 0 || n.h.FreePorts(UDP, n.now) != 2 {
		t.Fatal("ports that are reserved no more are free")
	}
}

// An embedded holding is used again.
func TestInitAgain(t *testing.T) {
	n := newNAT(t, Config{})
	for range 300 {
		p := n.must(UDP)
		if p.Number%2 == 0 {
			n.give(UDP, p)
		}
	}
	n.h.Init(n.h.layout)
	if n.h.Blocks() != 0 || n.h.Ports(UDP) != 0 || n.h.Resting(UDP, n.now) != 0 {
		t.Fatal("not empty")
	}
	if err := n.h.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	n.must(UDP)
	if n.h.Blocks() != 1 || n.h.FreePorts(UDP, n.now.Add(DefaultHoldDown)) != 255 {
		t.Fatal("not as new")
	}
}

// With MaxRetiring blocks waiting, the next one is rotated out when one of
// them leaves; also after a restart.
func TestRotationWaitsForRoom(t *testing.T) {
	for _, restart := range []bool{false, true} {
		n := newNAT(t, Config{BlockSize: 16, ActiveTimeout: time.Hour, MaxBlocks: 2, MaxRetiring: 1})
		for range 32 {
			n.must(UDP)
		}
		n.pass(time.Hour)
		if n.h.FreePorts(UDP, n.now) != 0 || n.h.Retiring() != 1 || n.h.Blocks() != 2 {
			t.Fatalf("%d of %d blocks retire", n.h.Retiring(), n.h.Blocks())
		}
		if restart {
			h, _, err := n.h.layout.RestoreHolding(n.h.AppendSnapshot(nil))
			if err != nil {
				t.Fatal(err)
			}
			n.h = h
		}
		for b := range n.h.All(n.now) {
			if !b.Retiring {
				continue
			}
			for p := range n.h.Live(UDP) {
				if in, _ := n.h.BlockOf(p.Address, p.Number); in == b.Block {
					n.give(UDP, p)
				}
			}
		}
		if n.release() != 1 {
			t.Fatal("the empty one leaves")
		}
		n.h.FreePorts(UDP, n.now)
		if n.h.Retiring() != 1 || n.h.Blocks() != 1 {
			t.Fatal("the next one is not rotated out")
		}
	}
}

// The timer of rotation is known after a restart.
func TestRotationAfterRestart(t *testing.T) {
	n := newNAT(t, Config{ActiveTimeout: time.Hour})
	n.must(UDP)
	h, _, err := n.h.layout.RestoreHolding(n.h.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	n.pass(time.Hour)
	if h.FreePorts(UDP, n.now) != 0 || h.Retiring() != 1 {
		t.Fatal("not rotated out")
	}
}

// H20, H21: leases that are over, foreign or zero, at a holding.
func TestH20_H21_LeasesOfHoldings(t *testing.T) {
	l, other := mustLayout(t, Config{Pool: 1}), mustLayout(t, Config{Pool: 2})
	a, h := l.NewAddress(1), l.NewHolding()
	now := ms(1)
	b, _ := a.TakeBlock(1, now)
	copied := b
	if err := h.AddBlock(b, now); err != nil {
		t.Fatal(err)
	}
	if !a.Holds(b) || a.Holds(Block{}) || b.Generation() != 1 || b.Pool() != 1 {
		t.Fatal("the lease")
	}
	foreign, _ := other.NewAddress(1).TakeBlock(1, now)
	stale := b
	stale.gen += 5
	elsewhere := b
	elsewhere.address = 7
	for _, v := range []struct {
		b   Block
		err error
	}{{Block{}, ErrInvalid}, {foreign, ErrForeign}, {stale, ErrStale}, {elsewhere, ErrNotHeld}} {
		if err := h.RemoveBlock(v.b, now); err != v.err {
			t.Errorf("RemoveBlock(%v) = %v, want %v", v.b, err, v.err)
		}
		if err := h.RetireBlock(v.b, now); err != v.err {
			t.Errorf("RetireBlock(%v) = %v, want %v", v.b, err, v.err)
		}
		if h.Touch(v.b, now) {
			t.Errorf("Touch(%v)", v.b)
		}
	}
	if h.AddBlock(foreign, now) != ErrForeign || h.AddBlock(Block{}, now) != ErrInvalid || h.AddBlock(Block{gen: 1, number: 256, pool: 1}, now) != ErrInvalid {
		t.Error("AddBlock of a bad lease")
	}
	if err := errors.Join(h.RemoveBlock(copied, now), a.CoolBlock(copied, now)); err != nil {
		t.Fatal(err)
	}
	if err := a.CoolBlock(b, now); err != ErrStale {
		t.Errorf("a copy of the lease cools it twice: %v", err)
	}
	if h.TouchPort(1, 5000, now) {
		t.Error("TouchPort")
	}
}

func TestTexts(t *testing.T) {
	l := mustLayout(t, Config{Pool: 3, FirstBlockSize: 512})
	b, _ := l.NewAddress(8).TakeBlock(1, ms(1))
	for got, want := range map[string]string{
		Block{}.String(): "invalid", Block{address: 8, gen: 2, number: 40 | bigBlock, pool: 3}.String(): "3/8/40#2",
		TCP.String() + UDP.String() + ICMP.String() + Space(7).String(): "tcpudpicmpinvalid",
		AllSpaces.String(): "tcp+udp+icmp", SpaceSet(0).String(): "none", Space(9).Set().String(): "none",
		Free.String() + Heating.String() + Cooling.String() + Unusable.String() + State(9).String():        "freeheatingcoolingunusableinvalid",
		(&LimitError{Total: true, Limit: 3}).Error():                                                       "portblock: maximum of 3 ports over all spaces reached",
		(&LimitError{Space: UDP, Limit: 4}).Error():                                                        "portblock: maximum of 4 udp ports reached",
		(&HoldingError{Err: ErrResting, Space: TCP, Live: 1, Resting: 2, Blocks: 3, MaxBlocks: 4}).Error(): "portblock: only resting ports are left (tcp: 1 live, 2 resting; 3 of 4 blocks, 0 retiring; 0 ports in all)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if l.SetOf(b).Len() != 512 || l.BlockSize(false) != 512 || l.BlockSize(true) != 256 || l.SetOf(b).Scheme() != Contiguous || l.SetOf(b).Param() != 0 {
		t.Error("the first block is the larger one")
	}
}

// fixed gives the same numbers again and again.
type fixed []uint64

func (f *fixed) Uint64() uint64 {
	v := (*f)[0]
	*f = append((*f)[1:], v)
	return v
}

// 6056-11: a draw that would favour small numbers is drawn again.
func TestUniformRejects(t *testing.T) {
	f := &fixed{0, 1 << 63}
	if v := uniform(f, 3); v != 1 {
		t.Fatalf("uniform = %d: the first draw is biased", v)
	}
	if v := uniform(&fixed{^uint64(0)}, 3); v != 2 {
		t.Fatalf("uniform = %d", v)
	}
}
