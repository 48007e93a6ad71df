package portblock

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
)

// heldBytes is the length of a held block in a snapshot, without bitmaps.
const heldBytes = 4 + 4 + 2 + 1 + 8 + 8 + 4

// AppendSnapshot appends the state, resting ports with the time of their
// return included, with version and checksum.
func (h *Holding) AppendSnapshot(dst []byte) []byte {
	start := len(dst)
	be := binary.BigEndian
	dst = h.layout.appendHeader(dst, holdingMagic)
	dst = be.AppendUint64(dst, uint64(h.now))
	dst = be.AppendUint16(dst, uint16(len(h.blocks)))
	for i := range h.blocks {
		b := &h.blocks[i]
		dst = be.AppendUint32(dst, b.gen)
		if b.gen == 0 {
			continue
		}
		dst = be.AppendUint32(dst, b.address)
		dst = be.AppendUint16(dst, b.number)
		dst = append(dst, b.flags)
		dst = be.AppendUint64(dst, uint64(b.seen))
		dst = be.AppendUint64(dst, uint64(b.added))
		dst = be.AppendUint32(dst, b.emptied)
		for word := range h.savedWords(i) {
			dst = be.AppendUint64(dst, *word)
		}
	}
	for s := range Space(NumSpaces) {
		dst = be.AppendUint32(dst, uint32(h.restingCount(s)))
		for e := range h.restingOf(s) {
			dst = be.AppendUint64(dst, e)
		}
	}
	dst = be.AppendUint32(dst, uint32(len(h.pending())))
	for _, k := range h.pending() {
		dst = be.AppendUint64(dst, k)
	}
	return seal(dst, start)
}

// RestoreHolding reads a snapshot and returns the holding and the number of
// bytes used. Damaged or foreign bytes give ErrSnapshot or ErrSnapshotLayout.
// The hold-down that counts is the layout's, from the time of a port's return.
func (l *Layout) RestoreHolding(src []byte) (*Holding, int, error) {
	r, err := l.open(src, holdingMagic)
	if err != nil {
		return nil, 0, err
	}
	h := l.NewHolding()
	now, ok := r.time()
	h.now = now
	n := int(r.u16())
	if r.short || !ok || n > MaxHeldBlocks || (len(src)-r.used)/4 < n {
		return nil, 0, fmt.Errorf("%w: bad head of a holding", ErrSnapshot)
	}
	for range n {
		if !h.readBlock(r) {
			return nil, 0, fmt.Errorf("%w: bad block", ErrSnapshot)
		}
	}
	for s := range Space(NumSpaces) {
		for range h.readCount(r) {
			h.push(s, r.u64())
		}
	}
	for range h.readCount(r) {
		p := h.restsNow()
		p.pending = append(p.pending, r.u64())
	}
	if err := r.close(); err != nil {
		return nil, 0, err
	}
	if err := h.CheckInvariants(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	h.rotateAt = math.MinInt64
	return h, r.used, nil
}

// readCount reads a count of 8-byte entries that are all there.
func (h *Holding) readCount(r *snapshotReader) int {
	n := int(r.u32())
	if (len(r.src)-r.used)/8 < n {
		r.short = true
		return 0
	}
	return n
}

// savedWords yields the bitmaps of a slot in the order of snapshots: free by space, then live by space.
func (h *Holding) savedWords(slot int) iter.Seq[*uint64] {
	return func(yield func(*uint64) bool) {
		for i := range 2 * NumSpaces {
			words, live := h.bits(slot, Space(i%NumSpaces))
			if i >= NumSpaces {
				words = live
			}
			for k := range words {
				if !yield(&words[k]) {
					return
				}
			}
		}
	}
}

func (h *Holding) readBlock(r *snapshotReader) bool {
	l := h.layout
	w := l.slotWords
	b := held{gen: r.u32()}
	if b.gen != 0 {
		if len(r.src)-r.used < heldBytes-4+8*w {
			return false
		}
		b.address, b.number, b.flags = r.u32(), r.u16(), r.u8()
		var ok1, ok2 bool
		b.seen, ok1 = r.time()
		b.added, ok2 = r.time()
		b.emptied = r.u32()
		if !ok1 || !ok2 || b.flags&^(closed|spent) != 0 {
			return false
		}
		h.count++
		if b.flags&closed != 0 {
			h.retiring++
		}
	}
	h.blocks = append(h.blocks, b)
	slot := len(h.blocks) - 1
	h.words = append(h.words, make([]uint64, w)...)
	if b.gen == 0 {
		return !r.short
	}
	for word := range h.savedWords(slot) {
		*word = r.u64()
	}
	p := &h.blocks[slot]
	for s := range Space(NumSpaces) {
		free, live := h.bits(slot, s)
		for i := range free {
			p.free[s] += uint16(bits.OnesCount64(free[i] &^ live[i]))
			n := bits.OnesCount64(live[i] &^ free[i])
			p.live += uint16(n)
			h.live[s] += int32(n)
		}
	}
	return !r.short
}

// CheckInvariants returns an error when the state contradicts itself: every
// port is in exactly one state, the counts kept are those counted anew, and
// the queues hold each resting port once, oldest first. It is meant for
// tests.
func (h *Holding) CheckInvariants() error {
	resting := map[[2]int]bool{} // slot<<2 + space, offset
	for s := range Space(NumSpaces) {
		if h.rests != nil && h.resting.Has(s) != (h.rests.queues[s].n > 0) || h.rests == nil && h.resting != 0 {
			return fmt.Errorf("portblock: whether %s ports rest is not what the queue says", s)
		}
		age, i := int64(math.MaxInt64), -1
		for e := range h.restingOf(s) {
			i++
			k := [2]int{entrySlot(e)<<2 | int(s), entryOff(e)}
			a := entryAge(e, h.now)
			if resting[k] || a > age || entrySlot(e) >= len(h.blocks) || h.blocks[entrySlot(e)].gen == 0 {
				return fmt.Errorf("portblock: entry %d of the %s queue is double, late or of no block", i, s)
			}
			age = a
			resting[k] = true
		}
	}
	var live [NumSpaces]int32
	count, retiring := 0, 0
	for slot := range h.blocks {
		if h.blocks[slot].gen == 0 {
			continue
		}
		count++
		if h.blocks[slot].flags&closed != 0 {
			retiring++
		}
		if err := h.checkBlock(slot, resting, &live); err != nil {
			return fmt.Errorf("portblock: block %v: %w", h.lease(slot), err)
		}
	}
	if len(resting) != 0 {
		return fmt.Errorf("portblock: %d queued ports are not resting", len(resting))
	}
	if count != int(h.count) || retiring != int(h.retiring) || live != h.live {
		return fmt.Errorf("portblock: counted %d blocks, %d retiring, %v live; kept %d, %d, %v", count, retiring, live, h.count, h.retiring, h.live)
	}
	return h.checkPending()
}

func (h *Holding) checkBlock(slot int, resting map[[2]int]bool, live *[NumSpaces]int32) error {
	l := h.layout
	b := &h.blocks[slot]
	unit, n := int(b.number&^bigBlock), l.blockUnits(b.number)
	if unit+n > l.units || unit&(n-1) != 0 || n == 1 && b.number&bigBlock != 0 {
		return fmt.Errorf("no such block")
	}
	for i := range slot {
		for u := unit; u < unit+n; u++ {
			if h.covers(i, b.address, u) {
				return fmt.Errorf("held twice")
			}
		}
	}
	if b.seen > h.now || b.added > h.now || b.added > b.seen {
		return fmt.Errorf("times in the future")
	}
	dead := b.flags&closed != 0 || l.cfg.NoRefill
	total := 0
	for s := range Space(NumSpaces) {
		free, alive := h.bits(slot, s)
		size := l.blockPorts(b.number)
		nfree := 0
		for off := range 64 * l.words {
			f, v := getBit(free, off), getBit(alive, off)
			k := [2]int{slot<<2 | int(s), off}
			rests := resting[k]
			delete(resting, k)
			switch {
			case (off >= size || !l.cfg.Spaces.Has(s)) && !(f && v):
				return fmt.Errorf("%s offset %d is no port", s, off)
			case rests && (f || v || dead):
				return fmt.Errorf("%s offset %d is queued and does not rest", s, off)
			case !f && !v && !rests && !dead:
				return fmt.Errorf("%s offset %d rests and is not queued", s, off)
			case f && !v:
				nfree++
			case v && !f:
				total++
				live[s]++
			}
		}
		if nfree != int(b.free[s]) {
			return fmt.Errorf("counted %d free %s ports, kept %d", nfree, s, b.free[s])
		}
	}
	if total != int(b.live) {
		return fmt.Errorf("counted %d live ports, kept %d", total, b.live)
	}
	return nil
}

func (h *Holding) checkPending() error {
	pending := h.pending()
	if !slices.IsSorted(pending) {
		return fmt.Errorf("portblock: pending ports are not sorted")
	}
	for i, k := range pending {
		slot, off, s := int(k>>16), int(k>>2&(1<<offBits-1)), Space(k&3)
		if k>>48 != 0 || slot >= len(h.blocks) || h.blocks[slot].gen == 0 || !s.IsValid() || off >= h.layout.blockPorts(h.blocks[slot].number) ||
			i > 0 && pending[i-1] == k {
			return fmt.Errorf("portblock: pending port %d is no port", i)
		}
		free, live := h.bits(slot, s)
		dead := h.blocks[slot].flags&closed != 0 || h.layout.cfg.NoRefill
		if getBit(free, off) || dead && !getBit(live, off) {
			return fmt.Errorf("portblock: pending port %d is neither live nor resting", i)
		}
	}
	return nil
}
