package portblock

import (
	"math"
	"slices"
	"time"
)

// rotate retires the blocks that are spent or have passed the active-block
// timeout, as far as MaxRetiring allows, and sets rotateAt. A block that has
// to wait for room is looked at again when a retiring block leaves.
func (h *Holding) rotate() {
	l := h.layout
	h.rotateAt = math.MaxInt64
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.gen == 0 || b.flags&closed != 0 {
			continue
		}
		due := b.flags&spent != 0 || l.active > 0 && h.now-b.added >= l.active
		switch {
		case due && int(h.retiring) < l.cfg.MaxRetiring:
			h.retire(i)
		case !due && l.active > 0:
			h.rotateAt = min(h.rotateAt, b.added+l.active)
		}
	}
}

// retire closes a block: its resting ports are dead from now on, for the
// guard time covers them.
func (h *Holding) retire(slot int) {
	h.forget(slot)
	h.blocks[slot].flags |= closed
	h.retiring++
}

// RetireBlock closes a block by hand: no new port is taken from it (drain).
// It may pass MaxRetiring. A block that retires already stays so. It fails
// with ErrInvalid, ErrForeign, ErrNotHeld or ErrStale.
func (h *Holding) RetireBlock(b Block, now time.Time) error {
	h.advance(now)
	slot, err := h.find(b)
	if err != nil {
		return err
	}
	if h.blocks[slot].flags&closed == 0 {
		h.retire(slot)
	}
	return nil
}

// AppendIdle appends the blocks that are to be released at now: no port is
// live in them, and they are idle for Config.IdleTimeout, rotated out or
// spent. The caller removes each with RemoveBlock.
func (h *Holding) AppendIdle(dst []Block, now time.Time) []Block {
	h.advance(now)
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.gen != 0 && b.live == 0 && (b.flags&closed != 0 || h.now-b.idleSince() >= h.layout.idle) {
			dst = append(dst, h.lease(i))
		}
	}
	return dst
}

// NextIdle returns the earliest time at which AppendIdle has something to say
// if nothing happens until then, and false when no block is without a live
// port.
func (h *Holding) NextIdle() (time.Time, bool) {
	next := int64(math.MaxInt64)
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.gen == 0 || b.live != 0 {
			continue
		}
		t := b.idleSince()
		if b.flags&closed == 0 {
			t += h.layout.idle
			// A block without a port may be rotated out before it is idle.
			if a := h.layout.active; a > 0 && int(h.retiring) < h.layout.cfg.MaxRetiring {
				t = min(t, b.added+a)
			}
		}
		next = min(next, t)
	}
	if next == math.MaxInt64 {
		return time.Time{}, false
	}
	return timeOf(next), true
}

// RemoveBlock takes a block out of the holding; resting ports in it are
// covered by the guard time of Address.CoolBlock from then on. It fails with
// ErrInvalid, ErrForeign, ErrNotHeld, ErrStale or ErrPortsLive and then
// changes nothing.
func (h *Holding) RemoveBlock(b Block, now time.Time) error {
	h.advance(now)
	slot, err := h.find(b)
	if err != nil {
		return err
	}
	if h.blocks[slot].live != 0 {
		return ErrPortsLive
	}
	if h.blocks[slot].flags&closed != 0 {
		h.retiring--
		h.rotateAt = math.MinInt64 // room for a block that waits for it
	} else {
		h.forget(slot)
	}
	h.blocks[slot] = held{}
	h.count--
	if h.count == 0 {
		h.blocks, h.words = h.blocks[:0], h.words[:0]
		h.unrest()
	}
	return nil
}

// isPending says whether a live or resting port is to be reserved.
func (h *Holding) isPending(slot, off int, s Space) bool {
	if h.rests == nil {
		return false
	}
	_, ok := slices.BinarySearch(h.rests.pending, pendingKey(slot, off, s))
	return ok
}

// PortConflict is a live port that is newly reserved.
type PortConflict struct {
	Space Space
	Port  Port
}

// SetReserved tells the holding that the reserved ports of an address are r
// (nil: the layout's own) and appends the live ports that are newly reserved:
// they live on, and are not given again after their return. Ports that are
// reserved no more are free at once. A set cut for another layout is refused
// with ErrForeign and changes nothing.
func (h *Holding) SetReserved(address uint32, r *Reserved, dst []PortConflict, now time.Time) ([]PortConflict, error) {
	h.advance(now)
	l := h.layout
	if r == nil {
		r = l.reserved
	}
	if r.layout != l {
		return dst, ErrForeign
	}
	for slot := range h.blocks {
		b := &h.blocks[slot]
		if b.gen == 0 || b.address != address {
			continue
		}
		for s := range Space(NumSpaces) {
			if l.cfg.Spaces.Has(s) {
				dst = h.reserveIn(slot, s, r, dst)
			}
		}
	}
	return dst, nil
}

func (h *Holding) reserveIn(slot int, s Space, r *Reserved, dst []PortConflict) []PortConflict {
	b := &h.blocks[slot]
	free, live := h.bits(slot, s)
	dead := b.flags&closed != 0 || h.layout.cfg.NoRefill // what is neither free nor live stays so
	for off := range h.layout.blockPorts(b.number) {
		p := h.portOf(slot, off)
		want := r.Contains(s, p.Number)
		switch f, v := getBit(free, off), getBit(live, off); {
		case f && v && !want:
			clearBit(live, off)
			b.free[s]++
		case f && !v && want:
			setBit(live, off)
			b.free[s]--
		case !f && want && (v || !dead) && !h.isPending(slot, off, s):
			k, r := pendingKey(slot, off, s), h.restsNow()
			i, _ := slices.BinarySearch(r.pending, k)
			r.pending = slices.Insert(r.pending, i, k)
			if v {
				dst = append(dst, PortConflict{s, p})
			}
		case !f && !want:
			h.dropPending(slot, off, s)
		}
	}
	return dst
}
