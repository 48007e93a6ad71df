package mapping

// grow gives the segment that serves the hash more room: it moves into a larger one, or splits by the next bit of the hashes.
func (x *side) grow(h uint64) {
	old := x.door(h).seg
	upper := x.hashAll(old)
	for _, groups := range segmentSizes {
		if groups > old.groups() {
			if s := x.deal(old, groups, old.depth, 0, false); s != nil {
				x.lead(h, s, s)
				x.drop(old)
				return
			}
		}
	}
	if int(64-x.shift) == int(old.depth) {
		dir := make([]door, 2*len(x.dir))
		for i, d := range x.dir {
			dir[2*i], dir[2*i+1] = d, d
		}
		x.dir, x.shift = dir, x.shift-1
	}
	depth := old.depth + 1
	bit := uint64(1) << (64 - depth)
	low := x.half(old, old.used-upper, depth, bit, false)
	high := x.half(old, upper, depth, bit, true)
	x.lead(h, low, high)
	x.drop(old)
}

func (s *segment) groups() uint32 { return uint32(len(s.halves) / groupSlots) }

// hashAll notes the hashes of a segment's halves, and returns how many have the bit by which it may split.
func (x *side) hashAll(s *segment) (upper uint32) {
	if x.hashes == nil {
		x.hashes = make([]uint64, segmentMax*groupSlots)
	}
	bit := uint64(1) << (63 - s.depth)
	for i := range s.halves {
		if r := &s.halves[i]; r.peer != 0 {
			x.hashes[i] = x.hashOf(r)
			if x.hashes[i]&bit != 0 {
				upper++
			}
		}
	}
	return upper
}

// half returns a segment with n halves of another one, those that have a bit of their hashes set or not, and some room.
func (x *side) half(old *segment, n uint32, depth uint8, bit uint64, set bool) *segment {
	for _, groups := range segmentSizes {
		if n <= full(groups)-full(groups)/8 {
			if s := x.deal(old, groups, depth, bit, set); s != nil {
				return s
			}
		}
	}
	// Not reached: all halves of a segment find room in one of its own size.
	s := x.newSegment(old.groups(), depth)
	return s
}

// deal copies the halves of a segment that have a bit of their hashes set, or not, to a new one. It returns nil when they do not
// find room there.
func (x *side) deal(old *segment, groups uint32, depth uint8, bit uint64, set bool) *segment {
	s := x.newSegment(groups, depth)
	s.next, s.stale, s.scanned = old.next, old.stale, old.scanned
	for i := range old.halves {
		r := &old.halves[i]
		if r.peer == 0 || (x.hashes[i]&bit != 0) != set {
			continue
		}
		n := s.place(x.hashes[i])
		if n < 0 {
			x.drop(s)
			return nil
		}
		s.halves[n] = *r
		if s.due != nil {
			s.due[n], s.blocks[n] = old.due[i], old.blocks[i]
		}
		s.used++
		x.moved++
	}
	return s
}

// lead makes the directory lead to a segment, or to two where it has split, in place of the one that serves the hash.
func (x *side) lead(h uint64, low, high *segment) {
	depth := x.door(h).seg.depth
	run := 1 << (64 - x.shift - depth) // the entries that name the old segment
	first := int(h>>x.shift) &^ (run - 1)
	for i := range run {
		s := low
		if i >= run/2 {
			s = high
		}
		x.dir[first+i] = doorTo(s)
	}
}

// each calls f with every segment, in the order of the hashes that they serve.
func (x *side) each(f func(*segment)) {
	for i := 0; i < len(x.dir); {
		s := x.dir[i].seg
		f(s)
		i += 1 << (64 - x.shift - s.depth)
	}
}

// parts is the number of parts that a walk over a side may go by: places in the range of hashes, which
// mean the same when segments split meanwhile.
const (
	partBits = 30 // so that an int of 32 bits holds their number
	parts    = 1 << partBits
)

// part returns the segment that serves a part, and the first part behind those that it serves.
func (x *side) part(n int) (s *segment, next int) {
	s = x.door(uint64(n) << (64 - partBits)).seg
	size := parts >> s.depth
	return s, n&^(size-1) + size
}
