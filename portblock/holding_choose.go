package portblock

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// TakePort takes a free port of space s by the layout's policy. The internal
// port steers Preserve, Parity and Class. rnd must be unpredictable to
// outsiders (ChaCha8); with nil the choice is the linear one.
//
// A refusal changes nothing: ErrNeedBlock (add a block and ask again),
// ErrMaxBlocks, a LimitError (ErrMaxPorts), ErrResting, ErrInvalid.
func (h *Holding) TakePort(s Space, internal uint16, rnd rand.Source, now time.Time) (Port, error) {
	return h.choose(s, internal, rnd, now, false)
}

// TakeHeldPort is like TakePort for a caller that cannot get another block:
// where TakePort answers ErrNeedBlock it applies Config.Resting and answers
// ErrResting or ErrNoBlock.
func (h *Holding) TakeHeldPort(s Space, internal uint16, rnd rand.Source, now time.Time) (Port, error) {
	return h.choose(s, internal, rnd, now, true)
}

func (h *Holding) choose(s Space, internal uint16, rnd rand.Source, now time.Time, last bool) (Port, error) {
	l := h.layout
	if !l.cfg.Spaces.Has(s) {
		return Port{}, ErrInvalid
	}
	if h.tick(now) {
		h.rotate()
	}
	if l.limited {
		if err := h.overLimit(s); err != nil {
			return Port{}, err
		}
	}
	if h.resting.Has(s) {
		h.settle(s)
	}

	if len(h.blocks) >= manyBlocks && rnd != nil && !l.keeping && l.cfg.Choice != ChooseLinear && int(h.live[s]) < len(h.blocks)*l.unit*3/4 {
		if slot, off, ok := h.draw(s, rnd); ok {
			return h.take(slot, off, s), nil
		}
	}

	// One pass over the blocks: how many ports are free, and which block has
	// the oldest packet.
	total, open, idle, oldest := 0, 0, -1, int64(math.MaxInt64)
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.gen == 0 || b.flags&closed != 0 {
			continue
		}
		open++
		total += int(b.free[s])
		if b.seen < oldest {
			oldest, idle = b.seen, i
		}
	}
	if total == 0 {
		return h.refuse(s, internal, last)
	}
	if open < 2 || l.cfg.KeepIdleInUse {
		idle = -1
	}
	if l.keeping {
		slot, off := h.chooseKeeping(s, internal, rnd, idle)
		if slot < 0 && idle >= 0 {
			slot, off = h.chooseKeeping(s, internal, rnd, -1)
		}
		if slot < 0 {
			return h.refuse(s, internal, last)
		}
		return h.take(slot, off, s), nil
	}
	if idle >= 0 {
		if n := total - int(h.blocks[idle].free[s]); n > 0 {
			total = n
		} else {
			idle = -1 // no other block has room
		}
	}
	slot, r := 0, 0
	if l.cfg.Choice == ChooseLinear || rnd == nil {
		slot = h.firstBlock(s, idle)
	} else {
		r = int(uniform(rnd, uint64(total)))
		for n := h.freeOf(0, s, idle); r >= n; n = h.freeOf(slot, s, idle) {
			r -= n
			slot++
		}
	}
	return h.takeNth(slot, s, r), nil
}

const (
	// manyBlocks is the number of blocks from which draw goes before the pass over all of them, unless hardly a port is left.
	manyBlocks = 32
	// draws is how often draw tries: it fails with three ports of four in use one time in ten.
	draws = 8
)

// draw chooses a free port of many blocks by drawing from all ports until one is free, so that each free port is as likely as any other. It
// keeps away from the block that has the oldest packet, and gives up after a few draws.
func (h *Holding) draw(s Space, rnd rand.Source) (slot, off int, ok bool) {
	l := h.layout
	for range draws {
		v := rnd.Uint64()
		slot = int(v >> 32 * uint64(len(h.blocks)) >> 32)
		off = int(v & math.MaxUint32 * uint64(l.words*64) >> 32)
		if h.freeOf(slot, s, -1) == 0 {
			continue
		}
		free, live := h.bits(slot, s)
		if (free[off/64]&^live[off/64])>>(off%64)&1 != 0 && (l.cfg.KeepIdleInUse || !h.oldestBlock(slot)) {
			return slot, off, true
		}
	}
	return 0, 0, false
}

// oldestBlock reports whether a block has the oldest packet of all that give ports. Of most blocks one of the first others that it looks at
// tells.
func (h *Holding) oldestBlock(slot int) bool {
	seen := h.blocks[slot].seen
	for i := range h.blocks {
		b := &h.blocks[i]
		if (b.seen < seen || b.seen == seen && i < slot) && b.gen != 0 && b.flags&closed == 0 {
			return false
		}
	}
	return true
}

// freeOf returns how many ports of a slot are candidates.
func (h *Holding) freeOf(slot int, s Space, without int) int {
	b := &h.blocks[slot]
	if slot == without || b.gen == 0 || b.flags&closed != 0 {
		return 0
	}
	return int(b.free[s])
}

// firstBlock returns the candidate with room that has been held longest.
func (h *Holding) firstBlock(s Space, without int) int {
	best := -1
	for i := range h.blocks {
		if h.freeOf(i, s, without) > 0 && (best < 0 || h.blocks[i].added < h.blocks[best].added) {
			best = i
		}
	}
	return best
}

// takeNth takes free port number r of a slot.
func (h *Holding) takeNth(slot int, s Space, r int) Port {
	l := h.layout
	base := slot*l.slotWords + 2*int(s)*l.words
	free := h.words[base : base+l.words]
	live := h.words[base+l.liveAt:][:len(free)]
	i := 0
	if len(free) == 4 {
		i, r = wordOf4((*[4]uint64)(free), (*[4]uint64)(live), r)
	} else {
		for n := bits.OnesCount64(free[0] &^ live[0]); r >= n; n = bits.OnesCount64(free[i] &^ live[i]) {
			r -= n
			i++
		}
	}
	b := select64(free[i]&^live[i], r)
	free[i] &^= 1 << b
	live[i] |= 1 << b
	// What taken does is spelled out.
	p := &h.blocks[slot]
	p.free[s]--
	p.live++
	p.seen, p.emptied = h.now, 0
	h.live[s]++
	if p.free[s] == 0 && l.cfg.NoRefill {
		p.flags |= spent
		h.rotate()
	}
	return h.portOf(slot, i<<6+b)
}

// wordOf4 finds the word that holds free port number r, and the port's number
// in it, for blocks of 256 ports. It has no branches: which word it is cannot
// be predicted, and a wrong guess costs as much as all the rest.
func wordOf4(free, live *[4]uint64, r int) (word, rest int) {
	n0 := bits.OnesCount64(free[0] &^ live[0])
	n1 := bits.OnesCount64(free[1] &^ live[1])
	n2 := bits.OnesCount64(free[2] &^ live[2])
	// Each mask is -1 when r lies beyond the word, else 0.
	m0 := ^int(int64(r-n0) >> 63)
	m1 := ^int(int64(r-n0-n1) >> 63)
	m2 := ^int(int64(r-n0-n1-n2) >> 63)
	return -(m0 + m1 + m2), r - n0&m0 - n1&m1 - n2&m2
}

// refuse names the reason, or gives a resting port where the policy says so.
func (h *Holding) refuse(s Space, internal uint16, last bool) (Port, error) {
	e, err := h.refusal(s, internal, last)
	if err != nil {
		return Port{}, err
	}
	return h.revive(e, s), nil
}

// refusal names the reason, or the entry of a resting port that the policy gives.
func (h *Holding) refusal(s Space, internal uint16, last bool) (e uint64, err error) {
	full := h.openBlocks() >= h.layout.cfg.MaxBlocks
	if !full && !last {
		return 0, ErrNeedBlock
	}
	if h.resting.Has(s) {
		if h.layout.cfg.Resting == RestOldest {
			if e, ok := h.oldest(s, internal); ok {
				return e, nil
			}
		}
		return 0, ErrResting
	}
	if full {
		return 0, ErrMaxBlocks
	}
	return 0, ErrNoBlock
}

// What of the internal port a choice keeps.
const (
	keepParity = 1 << iota
	keepClass
)

// chooseKeeping chooses by Preserve, Parity and Class, from all open blocks
// but one. It relaxes what is only preferred step by step: both, class
// alone, parity alone, none. It returns slot -1 when the strict preferences
// leave nothing.
func (h *Holding) chooseKeeping(s Space, internal uint16, rnd rand.Source, without int) (slot, off int) {
	c := &h.layout.cfg
	if c.Preserve {
		if slot, off := h.preserved(s, internal, without); slot >= 0 {
			return slot, off
		}
	}
	strict, wishes := c.keeps()
	tried := 0 // bit k: the combination k was tried
	for _, keep := range wishes {
		if keep |= strict; tried>>keep&1 != 0 {
			continue
		}
		tried |= 1 << keep
		if slot, off := h.chooseMasked(s, internal, rnd, without, keep); slot >= 0 {
			return slot, off
		}
	}
	return -1, 0
}

// preserved finds the internal port itself among the candidates.
func (h *Holding) preserved(s Space, internal uint16, without int) (slot, off int) {
	unit, _, ok := h.layout.locate(internal)
	if !ok {
		return -1, 0
	}
	for i := range h.blocks {
		if h.freeOf(i, s, without) == 0 || !h.covers(i, h.blocks[i].address, unit) {
			continue
		}
		_, off := h.locateIn(i, internal)
		free, live := h.bits(i, s)
		if getBit(free, off) && !getBit(live, off) {
			return i, off
		}
	}
	return -1, 0
}

// locateIn returns the offset of a port that slot covers.
func (h *Holding) locateIn(slot int, port uint16) (unit, off int) {
	unit, off, _ = h.layout.locate(port)
	return unit, off + (unit-int(h.blocks[slot].number&^bigBlock))*h.layout.unit
}

// chooseMasked draws from the free ports that keep what keep says.
func (h *Holding) chooseMasked(s Space, internal uint16, rnd rand.Source, without, keep int) (slot, off int) {
	total, first := 0, -1
	for i := range h.blocks {
		n := h.freeMasked(i, s, internal, without, keep)
		total += n
		if n > 0 && (first < 0 || h.blocks[i].added < h.blocks[first].added) {
			first = i
		}
	}
	if total == 0 {
		return -1, 0
	}
	r := 0
	if h.layout.cfg.Choice == ChooseLinear || rnd == nil {
		slot = first
	} else {
		r = int(uniform(rnd, uint64(total)))
		for {
			n := h.freeMasked(slot, s, internal, without, keep)
			if r < n {
				break
			}
			r -= n
			slot++
		}
	}
	free, live := h.bits(slot, s)
	for i, f := range free {
		w := f &^ live[i]
		if w != 0 {
			w &= h.mask(slot, i, internal, keep)
		}
		if n := bits.OnesCount64(w); r >= n {
			r -= n
			continue
		}
		return slot, i<<6 + select64(w, r)
	}
	panic("portblock: masked count and bitmap differ") // a broken invariant; no input leads here
}

func (h *Holding) freeMasked(slot int, s Space, internal uint16, without, keep int) int {
	n := h.freeOf(slot, s, without)
	if n == 0 || keep == 0 {
		return n
	}
	n = 0
	free, live := h.bits(slot, s)
	for i, f := range free {
		if w := f &^ live[i]; w != 0 {
			n += bits.OnesCount64(w & h.mask(slot, i, internal, keep))
		}
	}
	return n
}

// mask returns which of the 64 ports of word i of a slot keep what keep says.
// Where offset and port run alike it is computed from the first port; else
// port by port, 64 steps.
func (h *Holding) mask(slot, i int, internal uint16, keep int) uint64 {
	l := h.layout
	unit := int(h.blocks[slot].number &^ bigBlock)
	m := ^uint64(0)
	if keep&keepParity != 0 && l.evenOffsets {
		m = 0x5555555555555555 << (internal & 1)
		keep &^= keepParity
	}
	if keep&keepClass != 0 && l.cfg.Scheme == Contiguous {
		// The ports of a word lie in one class: 1024 is a multiple of 64.
		if wellKnown(l.portAt(unit, i<<6)) != wellKnown(internal) {
			return 0
		}
		keep &^= keepClass
	}
	if keep == 0 {
		return m
	}
	size := l.blockPorts(h.blocks[slot].number)
	for b := range 64 {
		off := i<<6 + b
		if off >= size {
			break
		}
		p := l.portAt(unit, off)
		if keep&keepParity != 0 && (p^internal)&1 != 0 || keep&keepClass != 0 && wellKnown(p) != wellKnown(internal) {
			m &^= 1 << b
		}
	}
	return m
}

// wellKnown says whether a port is of the class 0-1023 (RFC 4787 REQ-3a).
func wellKnown(p uint16) bool { return p < 1024 }

// strict says whether a preference refuses ports.
func (l *Layout) strict() bool { return l.cfg.Parity == Require || l.cfg.Class == Require }

// portKinds is the number of kinds of ports that strict preferences tell apart.
const portKinds = 4

// kindOf returns the kind of a port: 0 where nothing is strict.
func (l *Layout) kindOf(port uint16) (kind int) {
	if l.cfg.Parity == Require {
		kind = int(port & 1)
	}
	if l.cfg.Class == Require && !wellKnown(port) {
		kind |= 2
	}
	return kind
}

// allows says whether the strict preferences allow a port.
func (l *Layout) allows(port, internal uint16) bool { return l.kindOf(port) == l.kindOf(internal) }
