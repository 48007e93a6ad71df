package portblock

import "time"

// Conflict is a heating block that holds newly reserved ports.
type Conflict struct {
	Owner uint64
	Block Block
}

// SetReserved replaces the reserved ports of this address and appends the
// heating blocks that hold ports reserved by r and not before; their owners'
// Holdings are told by Holding.SetReserved. Nil means the layout's own. A set
// cut for another layout is refused with ErrForeign and changes nothing.
func (a *Address) SetReserved(r *Reserved, dst []Conflict, now time.Time) ([]Conflict, error) {
	a.advance(now)
	if r == nil {
		r = a.layout.reserved
	}
	if r.layout != a.layout {
		return dst, ErrForeign
	}
	old := a.reserved
	a.reserved = r
	a.rebuild()
	for _, rec := range a.recs {
		if rec.number&coolBlock == 0 && a.newlyReserved(old, rec.number) {
			dst = append(dst, Conflict{rec.owner, Block{a.index, rec.gen, rec.number, a.layout.cfg.Pool}})
		}
	}
	return dst, nil
}

func (a *Address) newlyReserved(old *Reserved, number uint16) bool {
	unit := int(number & unitBits)
	for off := range a.layout.blockPorts(number) {
		p := a.layout.portAt(unit, off)
		for s := range Space(NumSpaces) {
			if a.reserved.Contains(s, p) && !old.Contains(s, p) {
				return true
			}
		}
	}
	return false
}

// Reserved returns the reserved ports of the address.
func (a *Address) Reserved() *Reserved { return a.reserved }
