package portblock

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// shareTries is the number of candidates that SharePort draws before it asks for all of them. Where half of them fit it fails in one
// of 256 cases, and what follows is then short.
const shareTries = 8

// SharePort chooses a live port of space s for one more use (port overloading, RFC 4787 section 4.2.1, RFC 7857 section 3). fits says
// whether a port can have it; only the caller knows what tells the uses of a port apart, and he returns the port with its last
// use. Nothing changes but the clock and the latest packet of the block.
//
// The candidates are the live ports of open blocks, but for those that are reserved since they were taken. They are asked for by
// the policy of TakePort: those of the block that is idle longest come last (RFC 7768 section 2), and of the others first the internal port
// itself (Config.Preserve), then what keeps parity and class as far as these are asked for. Among these some are drawn by rnd, which is that
// of TakePort; then all of them are asked for, from one on that is drawn. So a port that fits is found if there is one, and
// no answer takes more than 2 * (8 + n) questions for each of at most four relaxations, with n live ports.
func (h *Holding) SharePort(s Space, internal uint16, rnd rand.Source, now time.Time, fits func(port uint16) bool) (Port, bool) {
	if !h.layout.cfg.Spaces.Has(s) {
		return Port{}, false
	}
	h.advance(now)
	if h.live[s] == 0 {
		return Port{}, false
	}
	idle := h.idlest()
	slot, off := h.shareIn(s, internal, rnd, fits, idle, false)
	if slot < 0 && idle >= 0 {
		slot, off = h.shareIn(s, internal, rnd, fits, idle, true)
	}
	if slot < 0 {
		return Port{}, false
	}
	h.blocks[slot].seen = h.now
	return h.portOf(slot, off), true
}

// idlest returns the open block with the oldest packet, or -1 where no block is left out.
func (h *Holding) idlest() int {
	open, idle, oldest := 0, -1, int64(math.MaxInt64)
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.gen == 0 || b.flags&closed != 0 {
			continue
		}
		open++
		if b.seen < oldest {
			oldest, idle = b.seen, i
		}
	}
	if open < 2 || h.layout.cfg.KeepIdleInUse {
		return -1
	}
	return idle
}

// shareIn chooses from all open blocks but one, or from that one alone, with the preferences of chooseKeeping.
func (h *Holding) shareIn(s Space, internal uint16, rnd rand.Source, fits func(uint16) bool, idle int, alone bool) (slot, off int) {
	c := &h.layout.cfg
	if c.Preserve {
		if unit, _, ok := h.layout.locate(internal); ok {
			for i := range h.blocks {
				if !h.sharesFrom(i, idle, alone) || !h.covers(i, h.blocks[i].address, unit) {
					continue
				}
				_, off := h.locateIn(i, internal)
				if h.liveMasked(i, off>>6, s, internal, 0)>>(off&63)&1 != 0 && h.stays(i, off, s) && fits(internal) {
					return i, off
				}
			}
		}
	}
	strict, wishes := c.keeps()
	tried := 0
	for _, keep := range wishes {
		if keep |= strict; tried>>keep&1 != 0 {
			continue
		}
		tried |= 1 << keep
		if slot, off := h.shareMasked(s, internal, rnd, fits, idle, alone, keep); slot >= 0 {
			return slot, off
		}
	}
	return -1, 0
}

// keeps returns what a choice keeps strictly, and what it tries to keep besides, in turn.
func (c *Config) keeps() (strict int, wishes [4]int) {
	wish := 0
	for _, p := range [...]struct {
		how  Preference
		what int
	}{{c.Parity, keepParity}, {c.Class, keepClass}} {
		switch p.how {
		case Require:
			strict |= p.what
		case Prefer:
			wish |= p.what
		}
	}
	return strict, [4]int{wish, wish &^ keepParity, wish &^ keepClass, 0}
}

// sharesFrom reports whether ports of a slot may be shared: of one block alone, or of all others.
func (h *Holding) sharesFrom(slot, idle int, alone bool) bool {
	b := &h.blocks[slot]
	return (slot == idle) == alone && b.gen != 0 && b.flags&closed == 0
}

// stays reports whether a live port is not to be reserved.
func (h *Holding) stays(slot, off int, s Space) bool {
	return h.rests == nil || !h.isPending(slot, off, s)
}

// shareMasked chooses from the live ports that keep what keep says.
func (h *Holding) shareMasked(s Space, internal uint16, rnd rand.Source, fits func(uint16) bool, idle int, alone bool, keep int) (slot, off int) {
	total := 0
	for i := range h.blocks {
		if h.sharesFrom(i, idle, alone) {
			for word := range h.layout.words {
				total += bits.OnesCount64(h.liveMasked(i, word, s, internal, keep))
			}
		}
	}
	if total == 0 {
		return -1, 0
	}
	first := 0
	if h.layout.cfg.Choice == ChooseRandom && rnd != nil {
		for range min(shareTries, total) {
			r := int(uniform(rnd, uint64(total)))
			if slot, off := h.shareNth(s, internal, fits, idle, alone, keep, r, r+1); slot >= 0 {
				return slot, off
			}
		}
		first = int(uniform(rnd, uint64(total)))
	}
	if slot, off := h.shareNth(s, internal, fits, idle, alone, keep, first, total); slot >= 0 {
		return slot, off
	}
	return h.shareNth(s, internal, fits, idle, alone, keep, 0, first)
}

// shareNth returns the first of the candidates from one number to before another that fits.
func (h *Holding) shareNth(s Space, internal uint16, fits func(uint16) bool, idle int, alone bool, keep, from, to int) (slot, off int) {
	n := 0 // the number of the first candidate of a word
	for slot := range h.blocks {
		if !h.sharesFrom(slot, idle, alone) {
			continue
		}
		for word := range h.layout.words {
			w := h.liveMasked(slot, word, s, internal, keep)
			next := n + bits.OnesCount64(w)
			if next > from {
				r := max(from, n)
				for w &= ^uint64(0) << select64(w, r-n); w != 0 && r < to; w &= w - 1 {
					off := word<<6 + bits.TrailingZeros64(w)
					if h.stays(slot, off, s) && fits(h.portOf(slot, off).Number) {
						return slot, off
					}
					r++
				}
			}
			if n = next; n >= to {
				return -1, 0
			}
		}
	}
	return -1, 0
}

// liveMasked returns the live ports of a word that keep what keep says.
func (h *Holding) liveMasked(slot, word int, s Space, internal uint16, keep int) uint64 {
	i := slot*h.layout.slotWords + 2*int(s)*h.layout.words + word
	w := h.words[i+h.layout.liveAt] &^ h.words[i]
	if w != 0 && keep != 0 {
		w &= h.mask(slot, word, internal, keep)
	}
	return w
}
