package portblock

import "time"

// MayTakePort answers what TakePort would answer, and takes nothing.
func (h *Holding) MayTakePort(s Space, internal uint16, now time.Time) error {
	return h.may(s, internal, now, false)
}

// MayTakeHeldPort answers what TakeHeldPort would answer, and takes nothing.
func (h *Holding) MayTakeHeldPort(s Space, internal uint16, now time.Time) error {
	return h.may(s, internal, now, true)
}

// may is choose for who only asks. Of preferences only strict ones refuse.
func (h *Holding) may(s Space, internal uint16, now time.Time, last bool) error {
	l := h.layout
	if !l.cfg.Spaces.Has(s) {
		return ErrInvalid
	}
	h.advance(now)
	if l.limited {
		if err := h.overLimit(s); err != nil {
			return err
		}
	}
	h.settle(s)
	strict, _ := l.cfg.keeps()
	for i := range h.blocks {
		if h.freeMasked(i, s, internal, -1, strict) > 0 {
			return nil
		}
	}
	_, err := h.refusal(s, internal, last)
	return err
}
