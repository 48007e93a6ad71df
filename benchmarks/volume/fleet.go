package main

import (
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/portblock"
)

// A fleet is external addresses and the subscribers that are paired with them: it gives and takes blocks as the engine's
// pools do. A new subscriber gets the address that serves the fewest; further blocks come from the same
// address (RFC 6888 REQ-2), and are refused when it has none.
type fleet struct {
	layout    *portblock.Layout
	pool      *alloc.Pool
	addresses []*portblock.Address
	holders   []holder
	cooling   []cooled
	Requests  int // blocks asked for
	Refused   int // blocks refused
	// moved, if not nil, is told each block that was taken or released, and how many its subscriber then holds.
	moved func(m *move, b portblock.Block, held int) error
}

// holder is a subscriber's lease of an address, and its blocks.
type holder struct {
	lease  alloc.Lease
	blocks int
	slots  []portblock.Block
}

// cooled is when an address has room again.
type cooled struct {
	position uint32
	free     int64
}

func newFleet(l *portblock.Layout, addresses, subscribers int) (*fleet, error) {
	base := netip.AddrFrom4([4]byte{198, 18, 0, 0})
	last := base.As4()
	n := addresses - 1
	last[1] += byte(n >> 16)
	last[2], last[3] = byte(n>>8), byte(n)
	ranges, err := alloc.RangeOf(base, netip.AddrFrom4(last))
	if err != nil {
		return nil, err
	}
	p, err := alloc.New(alloc.Config{Name: "cgn", Ranges: []alloc.Range{ranges}, Shares: uint32(subscribers), Seed: [32]byte{1}})
	if err != nil {
		return nil, err
	}
	f := &fleet{layout: l, pool: p, holders: make([]holder, subscribers)}
	for i := range addresses {
		f.addresses = append(f.addresses, l.NewAddress(uint32(i)))
	}
	return f, nil
}

// replay plays moves in order of time. With strict it stops at the first refusal.
func (f *fleet) replay(moves []move, strict bool) error {
	for i := range moves {
		m := &moves[i]
		h := &f.holders[m.subscriber]
		f.open(m.at)
		if m.take {
			f.Requests++
			if h.slots = grow(h.slots, int(m.slot)); !f.take(h, m) {
				f.Refused++
				if strict {
					return nil
				}
				continue
			}
			if err := f.tell(m, h.slots[m.slot], h.blocks); err != nil {
				return err
			}
			continue
		}
		if int(m.slot) >= len(h.slots) || !h.slots[m.slot].IsValid() {
			continue // it was refused
		}
		b := h.slots[m.slot]
		if err := f.release(h, m); err != nil {
			return err
		}
		if err := f.tell(m, b, h.blocks); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) tell(m *move, b portblock.Block, held int) error {
	if f.moved == nil {
		return nil
	}
	return f.moved(m, b, held)
}

func grow(slots []portblock.Block, slot int) []portblock.Block {
	for len(slots) <= slot {
		slots = append(slots, portblock.Block{})
	}
	return slots
}

func (f *fleet) take(h *holder, m *move) bool {
	now := time.UnixMilli(m.at)
	for {
		lease := h.lease
		if h.blocks == 0 {
			var err error
			if lease, err = f.pool.Take(alloc.LeastLoaded); err != nil {
				return false
			}
		}
		a := f.addresses[lease.Position()]
		b, err := a.TakeBlock(uint64(m.subscriber), now)
		if a.FreeBlocks(now) == 0 {
			f.pool.SetRoom(lease.Position(), false)
		}
		if err == nil {
			h.lease, h.slots[m.slot], h.blocks = lease, b, h.blocks+1
			return true
		}
		if h.blocks > 0 {
			return false
		}
		if f.pool.Return(lease) != nil {
			return false
		}
	}
}

func (f *fleet) release(h *holder, m *move) error {
	now := time.UnixMilli(m.at)
	if err := f.addresses[h.lease.Position()].CoolBlock(h.slots[m.slot], now); err != nil {
		return err
	}
	f.cooling = append(f.cooling, cooled{h.lease.Position(), m.at + max(0, f.layout.Config().GuardTime.Milliseconds())})
	h.slots[m.slot] = portblock.Block{}
	if h.blocks--; h.blocks == 0 {
		return f.pool.Return(h.lease)
	}
	return nil
}

// open gives addresses room whose blocks are free again.
func (f *fleet) open(at int64) {
	n := 0
	for ; n < len(f.cooling) && f.cooling[n].free <= at; n++ {
		f.pool.SetRoom(f.cooling[n].position, true)
	}
	f.cooling = f.cooling[n:]
}

// peakBlocks is the most blocks that are held or cool at a time.
func peakBlocks(moves []move, guard int64) int {
	var cooling []int64
	peak, n := 0, 0
	for i := range moves {
		for len(cooling) > 0 && cooling[0] <= moves[i].at {
			cooling, n = cooling[1:], n-1
		}
		if moves[i].take {
			n++
			peak = max(peak, n)
		} else {
			cooling = append(cooling, moves[i].at+guard)
		}
	}
	return peak
}

// needed is the fewest addresses with which no block is refused, found by binary search; that more addresses
// serve whenever fewer do is assumed.
func needed(l *portblock.Layout, moves []move, subscribers int) (int, error) {
	guard := max(0, l.Config().GuardTime.Milliseconds())
	peak := peakBlocks(moves, guard)
	free := l.NewAddress(0).FreeBlocks(time.UnixMilli(0))
	low := max(1, (peak+free-1)/free)
	serves := func(n int) (bool, error) {
		f, err := newFleet(l, n, subscribers)
		if err != nil {
			return false, err
		}
		err = f.replay(moves, true)
		return f.Refused == 0, err
	}
	high := low
	for {
		ok, err := serves(high)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		low, high = high+1, high+max(1, high/8)
	}
	for low < high {
		middle := (low + high) / 2
		ok, err := serves(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return high, nil
}

// refusedShare is the share of the blocks asked for that n addresses refuse.
func refusedShare(l *portblock.Layout, moves []move, subscribers, n int) (float64, error) {
	f, err := newFleet(l, n, subscribers)
	if err != nil {
		return 0, err
	}
	err = f.replay(moves, false)
	return float64(f.Refused) / float64(max(1, f.Requests)), err
}

// heldAtPeak returns the most blocks held at a time and how many subscribers hold any then.
func heldAtPeak(moves []move) (blocks, subscribers int) {
	held := map[uint32]int{}
	n := 0
	for _, m := range moves {
		if !m.take {
			n--
			if held[m.subscriber]--; held[m.subscriber] == 0 {
				delete(held, m.subscriber)
			}
			continue
		}
		n++
		held[m.subscriber]++
		if n > blocks {
			blocks, subscribers = n, len(held)
		}
	}
	return blocks, subscribers
}

// shared says how many subscribers one address serves on average.
func shared(subscribers, addresses int) float64 { return float64(subscribers) / float64(addresses) }
