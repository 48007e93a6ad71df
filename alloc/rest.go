package alloc

import "github.com/RoaringBitmap/roaring/v2"

// page opens page i, if it is closed, and returns it.
func (s *set) page(i uint32) *page {
	if g := s.open[i]; g != nil {
		return g
	}
	var g *page
	if n := len(s.spare); n > 0 {
		g, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		g = new(page)
	}
	s.load(i, g)
	s.open[i] = g
	return g
}

// load writes what page i holds at rest into g.
func (s *set) load(i uint32, g *page) {
	if s.uniform(i) {
		g.fill(int(s.span(i)), s.count[i] != 0)
		return
	}
	*g = page{}
	it := s.rest.Iterator()
	it.AdvanceIfNeeded(uint32(s.base(i)))
	for it.HasNext() {
		v := it.Next()
		if uint64(v) >= s.end(i) {
			break
		}
		b := v & pageMask
		g.words[b/64] |= 1 << (b % 64)
	}
	g.recount()
}

// parkPage notes that page i has become uniform and closes the page that was
// noted parkSize pages ago, if that one is still uniform.
func (s *set) parkPage(i uint32) {
	for _, j := range s.park {
		if j == i {
			return
		}
	}
	slot := &s.park[s.turn%parkSize]
	s.turn++
	if old := *slot; old != unparked && s.open[old] != nil && s.uniform(old) {
		if len(s.spare) < parkSize {
			s.spare = append(s.spare, s.open[old])
		}
		s.open[old] = nil
	}
	*slot = i
}

// compact closes all open pages and leaves every page that is not uniform to
// the roaring bitmap, in its smallest encoding.
func (s *set) compact() {
	const perContainer = (1 << 16) / pageSize
	rest := roaring.New()
	var dense [perContainer * pageWords]uint64
	for first := uint32(0); int(first) < len(s.count); first += perContainer {
		mixed := false
		for k := uint32(0); k < perContainer; k++ {
			words := dense[k*pageWords : (k+1)*pageWords]
			clear(words)
			i := first + k
			if int(i) >= len(s.count) || s.uniform(i) {
				continue
			}
			mixed = true
			g := s.open[i]
			if g == nil {
				g = new(page)
				s.load(i, g)
			}
			copy(words, g.words[:])
		}
		if mixed {
			b := roaring.New()
			b.FromDense(dense[:], true)
			rest.Or(roaring.AddOffset64(b, int64(s.base(first))))
		}
	}
	rest.RunOptimize()
	s.rest = rest
	clear(s.open)
	s.spare = nil
	for i := range s.park {
		s.park[i] = unparked
	}
}

// bytes returns the memory that the set takes, but for the roaring bitmap's
// own bookkeeping.
func (s *set) bytes() uint64 {
	n := uint64(len(s.count)*2+len(s.tree)*4+len(s.open)*8) + s.rest.GetSizeInBytes()
	for _, g := range s.open {
		if g != nil {
			n += pageSize/8 + subCount*2
		}
	}
	return n + uint64(len(s.spare))*(pageSize/8+subCount*2)
}
