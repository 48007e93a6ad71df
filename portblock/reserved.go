package portblock

import (
	"slices"
)

// Reserved is an immutable set of reserved ports by space, cut for one
// layout. It is safe for concurrent use.
//
// It keeps merged ranges, 8 bytes each, and five bits a block (17 where a
// preference is Require); a bitmap over all ports would be 24 KiB, too much
// where many addresses have a set of their own.
type Reserved struct {
	layout *Layout
	ranges [NumSpaces][]Range
	// usable has a bit for each unit with a port that can be given out in
	// the space, kinds the same for the ports of each kind where there are
	// several (Layout.kindOf), any for each with one in some space, full for
	// each whose ports can all be given out in all spaces served.
	usable    unitSets
	kinds     []unitSets
	any, full []uint64
	// uniform says that usable is the same as any in all spaces served.
	uniform bool
}

// unitSets are bitmaps of units by space.
type unitSets [NumSpaces][]uint64

// usableFor returns the units that have a port of the kind that is wanted.
func (r *Reserved) usableFor(w Want) *unitSets {
	if w.Keep && r.kinds != nil {
		return &r.kinds[r.layout.kindOf(w.Internal)]
	}
	return &r.usable
}

// NewReserved returns the set of the given reservations; what the layout
// itself excludes (ports outside its range, port 0, spaces not served) is
// always part of it. Config.Reserved is not, unless given again.
func (l *Layout) NewReserved(rules []Reservation) (*Reserved, error) {
	r := &Reserved{layout: l, uniform: true}
	for _, e := range rules {
		if !e.Ports.IsValid() || e.Spaces&^AllSpaces != 0 {
			return nil, &ConfigError{"Reserved", e, "each entry needs a valid range and existing spaces"}
		}
	}
	for s := range Space(NumSpaces) {
		r.ranges[s] = mergeRanges(l.excluded(s, rules))
	}
	w := wordsFor(l.units)
	counts := make([]int, l.units)
	r.any, r.full = make([]uint64, w), make([]uint64, w)
	for u := range l.units {
		setBit(r.full, u)
	}
	if l.strict() {
		r.kinds = make([]unitSets, portKinds)
	}
	for s := range Space(NumSpaces) {
		r.usable[s] = make([]uint64, w)
		for k := range r.kinds {
			r.kinds[k][s] = make([]uint64, w)
		}
		if !l.cfg.Spaces.Has(s) {
			continue
		}
		clear(counts)
		for free := range gaps(r.ranges[s]) {
			for p := int(free.first); p <= int(free.Last()); p++ {
				if u, _, ok := l.locate(uint16(p)); ok {
					counts[u]++
					if r.kinds != nil {
						setBit(r.kinds[l.kindOf(uint16(p))][s], u)
					}
				}
			}
		}
		for u, n := range counts {
			if n > 0 {
				setBit(r.usable[s], u)
				setBit(r.any, u)
			}
			if n < l.unit {
				clearBit(r.full, u)
			}
		}
	}
	for s := range Space(NumSpaces) {
		if l.cfg.Spaces.Has(s) && !slices.Equal(r.usable[s], r.any) {
			r.uniform = false
		}
	}
	return r, nil
}

// excluded lists all that cannot be given out in space s.
func (l *Layout) excluded(s Space, rules []Reservation) []Range {
	if !l.cfg.Spaces.Has(s) {
		return []Range{RangeOf(0, 65535)}
	}
	var out []Range
	p := l.cfg.Ports
	if p.first > 0 {
		out = append(out, RangeOf(0, p.first-1))
	}
	if p.Last() < 65535 {
		out = append(out, RangeOf(p.Last()+1, 65535))
	}
	if s != ICMP {
		out = append(out, RangeOf(0, 0))
	}
	if a := l.cfg.PSIDOffset; a > 0 {
		out = append(out, RangeOf(0, 1<<(16-a)-1))
	}
	for _, e := range rules {
		if e.Spaces == 0 || e.Spaces.Has(s) {
			out = append(out, e.Ports)
		}
	}
	return out
}

// mergeRanges sorts ranges and joins those that overlap or touch.
func mergeRanges(rs []Range) []Range {
	slices.SortFunc(rs, Range.Compare)
	out := rs[:0]
	for _, r := range rs {
		if n := len(out); n > 0 && uint32(r.first) <= uint32(out[n-1].first)+out[n-1].n {
			out[n-1] = RangeOf(out[n-1].first, max(out[n-1].Last(), r.Last()))
			continue
		}
		out = append(out, r)
	}
	return slices.Clip(out)
}

// gaps yields what lies between merged ranges.
func gaps(rs []Range) func(func(Range) bool) {
	return func(yield func(Range) bool) {
		next := uint32(0)
		for _, r := range rs {
			if uint32(r.first) > next && !yield(RangeOf(uint16(next), r.first-1)) {
				return
			}
			next = uint32(r.first) + r.n
		}
		if next < 1<<16 {
			yield(RangeOf(uint16(next), 65535))
		}
	}
}

// Contains says whether the port cannot be given out in space s, for it is
// reserved, outside the range or in a space that is not served.
func (r *Reserved) Contains(s Space, port uint16) bool {
	if !s.IsValid() {
		return true
	}
	rs := r.ranges[s]
	lo, hi := 0, len(rs)
	for lo < hi {
		if mid := (lo + hi) / 2; rs[mid].Last() < port {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(rs) && rs[lo].Contains(port)
}

// Ranges returns a copy of the merged ranges of space s that cannot be given
// out, rising.
func (r *Reserved) Ranges(s Space) []Range {
	if !s.IsValid() {
		return nil
	}
	return slices.Clone(r.ranges[s])
}
