package alloc

import (
	"github.com/RoaringBitmap/roaring/v2"
)

// A set holds positions below its size. At rest they live in a roaring bitmap;
// the pages on which members come and go are open, as plain words.
//
// Why two forms: a roaring container changes its encoding as it fills and
// empties. A run container is walked on every change, and one that stands at a
// border between encodings is rebuilt, with an allocation, at every other change.
// An open page costs the same at any fill. Uniform pages (none or all of their
// positions are members) need neither form: their count says it.
//
//	page      0      1      2      3      4 ...
//	count  [8192] [   0] [8190] [  77] [8192]
//	form   uniform uniform open  rest   uniform
//	                        |      |
//	                        |      roaring bitmap "rest"
//	                        words
//
// The bitmap speaks only for pages that are closed and not uniform; what it
// holds of other pages is left over and never read. A page that becomes uniform
// is parked: the last parkSize of them stay open, so that an address that is
// taken and returned over and over does not open and close its page each time.
//
// Invariants: tree is the Fenwick tree of count; total its sum; count of an
// open page is the number of its bits.
type set struct {
	size  uint64
	total uint64
	count []uint16 // members of each page, 0 to pageSize
	tree  []uint32 // Fenwick tree over count; tree[i] covers the pages that end with i
	open  []*page  // nil: closed
	rest  *roaring.Bitmap
	spare []*page // closed pages to open again
	park  [parkSize]uint32
	turn  uint32
}

const (
	parkSize = 16
	unparked = ^uint32(0)
)

func (s *set) init(size uint64, all bool) {
	*s = set{rest: roaring.New()}
	for i := range s.park {
		s.park[i] = unparked
	}
	s.grow(size, all)
}

// initFrom makes a set of the members of a bitmap, which it keeps. It opens no
// page, however the members lie. The caller compacts it.
func (s *set) initFrom(size uint64, members *roaring.Bitmap) {
	s.init(0, false)
	s.size = size
	pages := (size + pageMask) >> pageShift
	s.count, s.open = make([]uint16, pages), make([]*page, pages)
	for i := range s.count {
		s.count[i] = uint16(members.CardinalityInRange(s.base(uint32(i)), s.end(uint32(i))))
	}
	s.rest = members
	s.reindex()
}

// grow makes room for positions up to size and adds the further ones if all is true.
func (s *set) grow(size uint64, all bool) {
	old := s.size
	if size <= old {
		return
	}
	if last := uint32(old >> pageShift); old&pageMask != 0 && s.count[last] != 0 {
		s.page(last) // It may stop being uniform, and nothing else says what it holds.
	}
	s.size = size
	more := int((size+pageMask)>>pageShift) - len(s.count)
	s.count = append(s.count, make([]uint16, more)...)
	s.open = append(s.open, make([]*page, more)...)
	if all {
		s.fillRange(old, size, true)
	}
	s.reindex()
}

// fillRange makes all positions from first to end (excluded) members, or none
// of them. Tree and total are stale until reindex. Whole pages cost nothing but
// their count.
func (s *set) fillRange(first, end uint64, on bool) {
	for first < end {
		i := uint32(first >> pageShift)
		stop := min(end, s.end(i))
		if stop-first == s.span(i) {
			s.count[i] = 0
			if on {
				s.count[i] = uint16(s.span(i))
			}
			if g := s.open[i]; g != nil {
				g.fill(int(s.span(i)), on)
			}
		} else {
			g := s.page(i)
			g.setRange(int(first-s.base(i)), int(stop-s.base(i)), on)
			s.count[i] = g.recount()
		}
		first = stop
	}
}

// reindex derives the tree and the total from the counts.
func (s *set) reindex() {
	s.total = 0
	s.tree = make([]uint32, len(s.count)+1)
	for i, n := range s.count {
		s.total += uint64(n)
		s.tree[i+1] += uint32(n)
		// A node hands its sum on to the node that covers it. Sums wrap only
		// at 2^32, which the root of a full pool alone reaches: see step.
		if up := (i + 1) + ((i + 1) & -(i + 1)); up < len(s.tree) {
			s.tree[up] += s.tree[i+1]
		}
	}
}

func (s *set) base(i uint32) uint64 { return uint64(i) << pageShift }
func (s *set) end(i uint32) uint64  { return min(s.base(i)+pageSize, s.size) }
func (s *set) span(i uint32) uint64 { return s.end(i) - s.base(i) }

func (s *set) uniform(i uint32) bool {
	return s.count[i] == 0 || uint64(s.count[i]) == s.span(i)
}

// has reports whether pos is a member; false for positions beyond the size.
func (s *set) has(pos uint32) bool {
	i := pos >> pageShift
	if uint64(pos) >= s.size {
		return false
	}
	if g := s.open[i]; g != nil {
		return g.has(pos & pageMask)
	}
	if s.count[i] == 0 {
		return false
	}
	return uint64(s.count[i]) == s.span(i) || s.rest.Contains(pos)
}

// add makes pos a member and reports whether it was none.
func (s *set) add(pos uint32) bool {
	i, b := pos>>pageShift, pos&pageMask
	g := s.open[i]
	if g == nil {
		if s.has(pos) {
			return false
		}
		g = s.page(i)
	}
	w, bit := b/64, uint64(1)<<(b%64)
	if g.words[w]&bit != 0 {
		return false
	}
	g.words[w] |= bit
	g.sub[b>>subShift]++
	s.count[i]++
	s.total++
	for j := int(i) + 1; j < len(s.tree); j += j & -j {
		s.tree[j]++
	}
	if uint64(s.count[i]) == s.span(i) {
		s.parkPage(i)
	}
	return true
}

// remove makes pos no member and reports whether it was one.
func (s *set) remove(pos uint32) bool {
	i, b := pos>>pageShift, pos&pageMask
	g := s.open[i]
	if g == nil {
		if !s.has(pos) {
			return false
		}
		g = s.page(i)
	}
	w, bit := b/64, uint64(1)<<(b%64)
	if g.words[w]&bit == 0 {
		return false
	}
	g.words[w] &^= bit
	g.sub[b>>subShift]--
	s.count[i]--
	s.total--
	for j := int(i) + 1; j < len(s.tree); j += j & -j {
		s.tree[j]--
	}
	if s.count[i] == 0 {
		s.parkPage(i)
	}
	return true
}

// put adds or removes.
func (s *set) put(pos uint32, on bool) bool {
	if on {
		return s.add(pos)
	}
	return s.remove(pos)
}

// before returns how many members the pages before page i have.
func (s *set) before(i uint32) uint64 {
	n := uint64(0)
	for j := int(i); j > 0; j &= j - 1 {
		n += s.node(j)
	}
	return n
}

// node returns the sum that node j of the tree covers. A full pool of 2^32
// positions wraps the one node that covers all of it to 0.
func (s *set) node(j int) uint64 {
	if n := s.tree[j]; n != 0 || s.total <= 1<<32-1 {
		return uint64(n)
	}
	if j == len(s.tree)-1 {
		return 1 << 32
	}
	return 0
}

// locate returns the page that holds the member of the given rank, and the
// rank of that member within the page. The rank is below the total.
func (s *set) locate(rank uint64) (uint32, uint32) {
	at, n := 0, len(s.tree)-1
	width := 1
	for width*2 <= n {
		width *= 2
	}
	for ; width > 0; width /= 2 {
		if at+width <= n {
			if c := s.node(at + width); rank >= c {
				rank -= c
				at += width
			}
		}
	}
	return uint32(at), uint32(rank)
}

// pick returns the member of the given rank, counted from 0 in the order of
// positions. The rank is below the total.
func (s *set) pick(rank uint64) uint32 {
	i, r := s.locate(rank)
	if g := s.open[i]; g != nil {
		return uint32(s.base(i)) + g.pick(r)
	}
	if uint64(s.count[i]) == s.span(i) {
		return uint32(s.base(i)) + r
	}
	return uint32(s.base(i)) + s.page(i).pick(r)
}

// next returns the lowest member that is not below pos, or -1.
func (s *set) next(pos uint32) int64 {
	if uint64(pos) >= s.size || s.total == 0 {
		return -1
	}
	i := pos >> pageShift
	if s.count[i] != 0 {
		if g := s.open[i]; g != nil {
			if b := g.next(pos & pageMask); b >= 0 {
				return int64(s.base(i)) + int64(b)
			}
		} else if uint64(s.count[i]) == s.span(i) {
			return int64(pos)
		} else if v := s.rest.NextValue(pos); v >= 0 && uint64(v) < s.end(i) {
			return v
		}
	}
	rank := s.before(i + 1)
	if rank >= s.total {
		return -1
	}
	i, _ = s.locate(rank)
	switch g := s.open[i]; {
	case g != nil:
		return int64(s.base(i)) + int64(g.next(0))
	case uint64(s.count[i]) == s.span(i):
		return int64(s.base(i))
	default:
		return s.rest.NextValue(uint32(s.base(i)))
	}
}

// change returns the lowest position above pos at which membership differs from
// that of pos, or the size. It opens no page; dumps use it.
func (s *set) change(pos uint32) uint64 {
	on := s.has(pos)
	first := uint64(pos)
	for first < s.size {
		i := uint32(first >> pageShift)
		switch g := s.open[i]; {
		case s.uniform(i):
			if (s.count[i] != 0) != on {
				return first
			}
		default:
			if g == nil {
				g = new(page)
				s.load(i, g)
			}
			var b int
			if on {
				b = g.nextAbsent(uint32(first) & pageMask)
			} else {
				b = g.next(uint32(first) & pageMask)
			}
			if b >= 0 && s.base(i)+uint64(b) < s.end(i) {
				return s.base(i) + uint64(b)
			}
		}
		first = s.end(i)
	}
	return s.size
}
