package portblock

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Holding is the blocks and ports of ONE subscriber.
//
// A port of a held block is free, live, resting or reserved. Two bits in two
// bitmaps say which:
//
//	free live
//	  1   0   free: can be taken
//	  0   1   live
//	  0   0   resting, or dead (a block that retires or is never refilled)
//	  1   1   reserved, or no port at all
//
// A Holding is plain data and not safe for concurrent use. It must not be
// copied after the first AddBlock. A now that lies before the latest one seen
// is taken as that one.
type Holding struct {
	layout *Layout
	rests  *rests // nil until a port rests or is pending
	// blocks has one slot for each block held; a slot keeps its place while
	// the block stays and is used again later. words has the bitmaps: for
	// each slot, by space, free and live side by side.
	blocks []held
	words  []uint64

	now int64 // latest time seen, ms
	// rotateAt is when rotate has work next; far in the future mostly.
	rotateAt int64
	live     [NumSpaces]int32
	count    int16    // blocks held
	retiring int16    // of these, blocks that are closed
	hint     int16    // slot found last
	resting  SpaceSet // in which ports rest: then alone TakePort reads rests
}

// held is one held block: 40 bytes.
type held struct {
	seen    int64 // ms, latest packet
	added   int64 // ms
	emptied uint32
	address uint32
	gen     uint32 // 0 in an empty slot
	free    [NumSpaces]uint16
	live    uint16 // over all spaces
	number  uint16
	flags   uint8
}

const (
	closed = 1 << iota // retiring: no new port is taken
	spent              // never refilled, and one of its spaces is used up
)

// idleSince returns from when on the block has been without port and packet.
// emptied is kept relative to seen, in 4 bytes, and stops at 49 days.
func (b *held) idleSince() int64 { return b.seen + int64(b.emptied) }

// NewHolding returns an empty holding.
func (l *Layout) NewHolding() *Holding {
	h := new(Holding)
	h.Init(l)
	return h
}

// Init makes an embedded Holding empty, keeping the memory it has.
func (h *Holding) Init(l *Layout) {
	*h = Holding{
		layout: l, blocks: h.blocks[:0], words: h.words[:0], rests: h.rests, now: -1 << 60, rotateAt: math.MaxInt64,
	}
	if r := h.rests; r != nil {
		r.pending = r.pending[:0]
		h.unrest()
	}
}

// Layout returns the layout of the holding.
func (h *Holding) Layout() *Layout { return h.layout }

// advance moves the clock and rotates blocks out.
func (h *Holding) advance(now time.Time) {
	if h.tick(now) {
		h.rotate()
	}
}

// tick moves the clock and says whether rotate has work. Unlike advance it is
// inlined.
func (h *Holding) tick(now time.Time) bool {
	h.now = max(h.now, millis(now))
	return h.now >= h.rotateAt
}

// bits returns the free and the live bitmap of a slot and space.
func (h *Holding) bits(slot int, s Space) (free, live []uint64) {
	w, at := h.layout.words, h.layout.liveAt
	i := slot*h.layout.slotWords + 2*int(s)*w
	return h.words[i : i+w : i+w], h.words[i+at : i+at+w : i+at+w]
}

// openBlocks returns the number of blocks that count against MaxBlocks.
func (h *Holding) openBlocks() int { return int(h.count - h.retiring) }

// slotOf finds the slot of a block by its unit. It looks at the slot found
// last first, then at all: a holding has few blocks.
func (h *Holding) slotOf(address uint32, unit int) int {
	if i := int(h.hint); i < len(h.blocks) && h.covers(i, address, unit) {
		return i
	}
	for i := range h.blocks {
		if h.covers(i, address, unit) {
			h.hint = int16(i)
			return i
		}
	}
	return -1
}

func (h *Holding) covers(slot int, address uint32, unit int) bool {
	b := &h.blocks[slot]
	if b.address != address || b.gen == 0 {
		return false
	}
	if b.number&bigBlock != 0 {
		unit &^= h.layout.group - 1
	}
	return int(b.number&^bigBlock) == unit
}

// locate finds slot and offset of a port, or -1. The common case, a contiguous
// layout and the slot found last, is spelled out.
func (h *Holding) locate(address uint32, port uint16) (slot, off int) {
	l := h.layout
	var unit int
	if l.cfg.Scheme == Contiguous {
		unit, off = int(port>>l.unitShift), int(port)&(l.unit-1)
		if i := int(h.hint); i < len(h.blocks) {
			if b := &h.blocks[i]; int(b.number) == unit && b.address == address && b.gen != 0 {
				return i, off
			}
		}
	} else {
		var ok bool
		if unit, off, ok = l.locate(port); !ok {
			return -1, 0
		}
	}
	slot = h.slotOf(address, unit)
	if slot >= 0 && l.group > 1 {
		off += (unit - int(h.blocks[slot].number&^bigBlock)) * l.unit
	}
	return slot, off
}

func (h *Holding) lease(slot int) Block {
	b := &h.blocks[slot]
	return Block{b.address, b.gen, b.number, h.layout.cfg.Pool}
}

func (h *Holding) portOf(slot, off int) Port {
	b, l := &h.blocks[slot], h.layout
	unit := int(b.number &^ bigBlock)
	if l.cfg.Scheme == Contiguous {
		return Port{b.address, uint16(unit<<l.unitShift + off)}
	}
	return Port{b.address, l.portAt(unit, off)}
}

// find returns the slot of a lease.
func (h *Holding) find(b Block) (int, error) {
	if b.gen == 0 {
		return -1, ErrInvalid
	}
	if b.pool != h.layout.cfg.Pool {
		return -1, ErrForeign
	}
	i := h.slotOf(b.address, b.Number())
	switch {
	case i < 0:
		return -1, ErrNotHeld
	case h.blocks[i].gen != b.gen || h.blocks[i].number != b.number:
		return -1, ErrStale
	}
	return i, nil
}

// TakePortAt takes one port by name. It fails with ErrNotHeld (no held block
// has it, or the block retires), ErrInUse, ErrResting, ErrReserved,
// ErrMaxPorts or ErrInvalid and then changes nothing.
func (h *Holding) TakePortAt(s Space, address uint32, port uint16, now time.Time) error {
	if !h.layout.cfg.Spaces.Has(s) {
		return ErrInvalid
	}
	h.advance(now)
	h.settle(s)
	slot, off := h.locate(address, port)
	if slot < 0 || h.blocks[slot].flags&closed != 0 {
		return ErrNotHeld
	}
	if h.layout.limited {
		if err := h.overLimit(s); err != nil {
			return err
		}
	}
	free, live := h.bits(slot, s)
	switch f, v := getBit(free, off), getBit(live, off); {
	case f && v:
		return ErrReserved
	case v:
		return ErrInUse
	case !f:
		return ErrResting
	}
	h.take(slot, off, s)
	return nil
}

// take makes a free port live.
func (h *Holding) take(slot, off int, s Space) Port {
	free, live := h.bits(slot, s)
	clearBit(free, off)
	setBit(live, off)
	return h.taken(slot, off, s)
}

// taken counts a free port that became live.
func (h *Holding) taken(slot, off int, s Space) Port {
	b := &h.blocks[slot]
	b.free[s]--
	if b.free[s] == 0 && h.layout.cfg.NoRefill {
		b.flags |= spent
		h.rotate()
	}
	return h.enliven(slot, off, s)
}

// enliven counts a port that became live.
func (h *Holding) enliven(slot, off int, s Space) Port {
	b := &h.blocks[slot]
	b.live++
	b.seen, b.emptied = h.now, 0
	h.live[s]++
	return h.portOf(slot, off)
}

// ReturnPort gives a port back; it rests for the hold-down. It fails with
// ErrInvalid or with ErrNotHeld when the port is not live here (double or
// foreign return) and then changes nothing.
func (h *Holding) ReturnPort(s Space, address uint32, port uint16, now time.Time) error {
	if !h.layout.cfg.Spaces.Has(s) {
		return ErrInvalid
	}
	slot, off := h.locate(address, port)
	if slot < 0 {
		return ErrNotHeld
	}
	l := h.layout
	i := slot*l.slotWords + 2*int(s)*l.words + off>>6
	free, live := &h.words[i], &h.words[i+l.liveAt]
	m := uint64(1) << (off & 63)
	if *live&^*free&m == 0 {
		return ErrNotHeld
	}
	if h.tick(now) {
		h.rotate()
	}
	*live &^= m
	h.live[s]--
	b := &h.blocks[slot]
	b.live--
	if b.live == 0 {
		b.emptied = uint32(min(h.now-b.seen, math.MaxUint32))
	}
	switch {
	case b.flags&closed != 0 || l.cfg.NoRefill:
		h.dropPending(slot, off, s)
	case l.hold == 0 && h.rests == nil:
		*free |= m
		b.free[s]++
	case l.hold == 0:
		h.free(slot, off, s)
	default:
		q := h.push(s, entry(h.now, slot, off))
		if m := l.cfg.MaxResting; m > 0 && int(q.n) > m {
			h.freeOldest(s)
		}
	}
	return nil
}

// free makes a port that is neither free nor live free, or reserved when it
// is to be.
func (h *Holding) free(slot, off int, s Space) {
	free, live := h.bits(slot, s)
	setBit(free, off)
	if h.rests != nil && h.dropPending(slot, off, s) {
		setBit(live, off)
		return
	}
	h.blocks[slot].free[s]++
}

// pendingKey orders pending ports by slot.
func pendingKey(slot, off int, s Space) uint64 { return uint64(slot)<<16 | uint64(off)<<2 | uint64(s) }

func (h *Holding) dropPending(slot, off int, s Space) bool {
	if h.rests == nil {
		return false
	}
	i, ok := slices.BinarySearch(h.rests.pending, pendingKey(slot, off, s))
	if ok {
		h.rests.pending = slices.Delete(h.rests.pending, i, i+1)
	}
	return ok
}

func (h *Holding) overLimit(s Space) error {
	if e := h.layout.limit[s]; e != nil && int(h.live[s]) >= e.Limit {
		return e
	}
	if e := h.layout.limitAll; e != nil && int(h.live[TCP]+h.live[UDP]+h.live[ICMP]) >= e.Limit {
		return e
	}
	return nil
}

// Ports returns the number of live ports of space s.
func (h *Holding) Ports(s Space) int {
	if !s.IsValid() {
		return 0
	}
	return int(h.live[s])
}

// FreePorts returns the number of ports of space s that can be taken at now
// from the blocks at hand, before limits and preferences.
func (h *Holding) FreePorts(s Space, now time.Time) int {
	if !s.IsValid() {
		return 0
	}
	h.advance(now)
	h.settle(s)
	n := 0
	for i := range h.blocks {
		if b := &h.blocks[i]; b.gen != 0 && b.flags&closed == 0 {
			n += int(b.free[s])
		}
	}
	return n
}

// restingIn counts the ports of a slot that are neither free nor live.
func (h *Holding) restingIn(slot int, s Space) int {
	free, live := h.bits(slot, s)
	n := 0
	for i := range free {
		n += bits.OnesCount64(^(free[i] | live[i]))
	}
	return n
}
