package alloc

import (
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

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
// the roaring bitmap, in its smallest encoding. Pages that are closed already
// stay encoded; nothing is copied out of them.
func (s *set) compact() {
	closed, opened := roaring.New(), roaring.New()
	var members []uint32
	for i := range s.count {
		i := uint32(i)
		switch g := s.open[i]; {
		case s.uniform(i):
		case g == nil:
			closed.AddRange(s.base(i), s.end(i))
		default:
			members = members[:0]
			for w, x := range g.words {
				for ; x != 0; x &= x - 1 {
					members = append(members, uint32(s.base(i))+uint32(w*64+bits.TrailingZeros64(x)))
				}
			}
			opened.AddMany(members) // They rise, so each is appended.
		}
	}
	s.rest.And(closed)
	s.rest.Or(opened)
	s.rest.RunOptimize()
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
