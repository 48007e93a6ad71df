package portblock

import (
	"math"
	"slices"
	"time"
)

// Want says which block to ask an address for when TakePort(s) answered
// ErrNeedBlock: one of the first size if no block is held, and one with a
// usable port of space s.
func (h *Holding) Want(s Space) Want { return Want{Further: h.count > 0, Spaces: s.Set()} }

// AddBlock adds a leased block; its ports can be taken from now on. It fails
// with ErrInvalid, ErrForeign, ErrInUse (the block is held already) or
// ErrMaxBlocks and then changes nothing.
func (h *Holding) AddBlock(b Block, now time.Time) error {
	return h.AddBlockReserved(b, h.layout.reserved, now)
}

// AddBlockReserved is like AddBlock for an address whose reserved ports are
// not the layout's: r is Address.Reserved, nil stands for the layout's.
func (h *Holding) AddBlockReserved(b Block, r *Reserved, now time.Time) error {
	l := h.layout
	if r == nil {
		r = l.reserved
	}
	unit := b.Number()
	n := l.blockUnits(b.number)
	switch {
	case b.gen == 0 || r.layout != l || unit+n > l.units || unit&(n-1) != 0:
		return ErrInvalid
	case b.pool != l.cfg.Pool:
		return ErrForeign
	}
	h.advance(now)
	for u := unit; u < unit+n; u++ {
		if h.slotOf(b.address, u) >= 0 {
			return ErrInUse
		}
	}
	if h.openBlocks() >= l.cfg.MaxBlocks || h.count >= MaxHeldBlocks {
		return ErrMaxBlocks
	}
	slot := h.emptySlot()
	h.blocks[slot] = held{seen: h.now, added: h.now, address: b.address, gen: b.gen, number: b.number}
	h.count++
	h.fill(slot, r)
	if l.active > 0 {
		h.rotateAt = min(h.rotateAt, h.now+l.active)
	}
	return nil
}

// emptySlot finds or makes one. The arrays grow by an eighth, not by
// doubling: most holdings have one or two blocks, and a slot is 232 bytes.
func (h *Holding) emptySlot() int {
	if int(h.count) < len(h.blocks) {
		return slices.IndexFunc(h.blocks, func(b held) bool { return b.gen == 0 })
	}
	n, w := len(h.blocks), h.layout.slotWords
	if n == cap(h.blocks) || (n+1)*w > cap(h.words) {
		c := n + n/8 + 1
		blocks, words := make([]held, n, c), make([]uint64, n*w, c*w)
		copy(blocks, h.blocks)
		copy(words, h.words)
		h.blocks, h.words = blocks, words
	}
	h.blocks, h.words = h.blocks[:n+1], h.words[:(n+1)*w]
	return n
}

// fill sets the bitmaps of a new block.
func (h *Holding) fill(slot int, r *Reserved) {
	l := h.layout
	b := &h.blocks[slot]
	unit, size := int(b.number&^bigBlock), l.blockPorts(b.number)
	whole := true
	for u := unit; u < unit+l.blockUnits(b.number); u++ {
		whole = whole && getBit(r.full, u)
	}
	for s := range Space(NumSpaces) {
		free, live := h.bits(slot, s)
		for i := range free {
			free[i], live[i] = ^uint64(0), ^uint64(0)
		}
		if !l.cfg.Spaces.Has(s) {
			continue
		}
		if whole {
			for i := range size >> 6 {
				live[i] = 0
			}
			if size&63 != 0 {
				live[size>>6] <<= size & 63
			}
			b.free[s] = uint16(size)
			continue
		}
		if h.fillAlike(slot, s, r) {
			continue
		}
		for off := range size {
			if !r.Contains(s, l.portAt(unit, off)) {
				clearBit(live, off)
				b.free[s]++
			}
		}
	}
}

// fillAlike copies the bitmap of an earlier space with the same reserved
// ports: mostly all spaces are alike, and port by port takes microseconds.
func (h *Holding) fillAlike(slot int, s Space, r *Reserved) bool {
	for o := range s {
		if h.layout.cfg.Spaces.Has(o) && slices.Equal(r.ranges[o], r.ranges[s]) {
			_, from := h.bits(slot, o)
			_, to := h.bits(slot, s)
			copy(to, from)
			b := &h.blocks[slot]
			b.free[s] = b.free[o]
			return true
		}
	}
	return false
}

// Touch notes a packet of block b, in either direction (RFC 7768 section 2,
// "longest idle"). The packet may lie in the past: the latest one counts. It says
// whether the block is held.
func (h *Holding) Touch(b Block, at time.Time) bool {
	slot, err := h.find(b)
	if err != nil {
		return false
	}
	h.touch(slot, at)
	return true
}

// TouchPort is like Touch for the block that holds the port.
func (h *Holding) TouchPort(address uint32, port uint16, at time.Time) bool {
	slot, _ := h.locate(address, port)
	if slot < 0 {
		return false
	}
	h.touch(slot, at)
	return true
}

func (h *Holding) touch(slot int, at time.Time) {
	ms := millis(at)
	h.now = max(h.now, ms)
	b := &h.blocks[slot]
	idle := max(b.idleSince(), ms)
	b.seen = max(b.seen, ms)
	b.emptied = uint32(min(idle-b.seen, math.MaxUint32))
}

// Blocks returns the number of blocks held, retiring ones included.
func (h *Holding) Blocks() int { return int(h.count) }

// Retiring returns the number of blocks from which no new port is taken.
func (h *Holding) Retiring() int { return int(h.retiring) }

// BlockOf returns the block that holds the port.
func (h *Holding) BlockOf(address uint32, port uint16) (Block, bool) {
	slot, _ := h.locate(address, port)
	if slot < 0 {
		return Block{}, false
	}
	return h.lease(slot), true
}
