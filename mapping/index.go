package mapping

import "math/bits"

// index is an extendible hash table of records: the leading bits of a key's hash lead through a
// directory to a segment, other bits to a group within it. A full segment grows or splits by itself,
// so no insertion waits for a rehash of the whole table.
type index struct {
	hash  hasher
	dir   []door // 1 << depth
	depth uint8  // at least 1
	used  int
	moved int // records that the last insertion moved
	// removals counts what makes a place that was seen before worthless: records that went or moved.
	removals uint32

	hashes [groupsMax * groupSlots]uint64 // scratch of deal
	// Of segments that grew the memory is used again at once: all units are alike, and the table never holds many spare ones.
	spare []*unit
	old   *segment
}

// door is an entry of the directory. It repeats the segment's number of groups, so that the look-up of the tags need not wait
// for the segment's own.
type door struct {
	seg    *segment
	groups uint32
}

func newIndex(key [24]byte) index {
	h := newHasher(key)
	// Removals count from a number that no other table counts from, so that nobody takes a place of one table for one of another.
	x := index{hash: h, depth: 1, removals: uint32(h.k0)}
	s := x.newSegment(groupsMin, 0)
	x.dir = []door{{s, groupsMin}, {s, groupsMin}}
	return x
}

// newSegment returns an empty segment.
func (x *index) newSegment(groups uint32, depth uint8) *segment {
	s := x.old
	if x.old = nil; s == nil {
		s = new(segment)
	}
	s.groups, s.depth = groups, depth
	if len(s.due) != s.slots() {
		s.due = make([]hint, s.slots())
	}
	for i := range groups / unitGroups {
		if n := len(x.spare); n > 0 {
			s.units[i], x.spare = x.spare[n-1], x.spare[:n-1]
		} else {
			s.units[i] = new(unit)
		}
	}
	return s
}

// maxSpare bounds the spare units: what a segment of the largest size has.
const maxSpare = groupsMax / unitGroups

// drop keeps the memory of a segment whose records have moved.
func (x *index) drop(s *segment) {
	for i, u := range s.units[:s.groups/unitGroups] {
		if len(x.spare) < maxSpare {
			x.spare = append(x.spare, u)
		}
		s.units[i] = nil
	}
	clear(s.tags[:])
	clear(s.passed[:])
	s.used = 0
	x.old = s
}

func (x *index) door(h uint64) *door { return &x.dir[h>>(64-x.depth&63)] }

// hashOf returns the hash of a record's key.
func (x *index) hashOf(r *record) uint64 {
	if r.kind() == anchor {
		return x.hash.sum(r.inner, r.outer&kindMask)
	}
	return x.hash.sum(r.inner, r.outer&keyMask)
}

// find returns the segment and slot of the record with the hash and key, or nil; mask tells which bits of outer are key. The
// record is there until it is removed or another one is inserted.
func (x *index) find(h, inner, outer, mask uint64) (*segment, int) {
	d := x.door(h)
	s, groups := d.seg, d.groups
	g, tag := home(h, groups), tagOf(h)
	for range groups {
		w := s.tags[g&(groupsMax-1)]
		for m := matches(w, tag); m != 0; m &= m - 1 {
			i := int(g)*groupSlots + bits.TrailingZeros64(m)>>3
			if r := s.at(i); r.inner == inner && (r.outer^outer)&mask == 0 {
				return s, i
			}
		}
		if w&passedFlag == 0 {
			return nil, 0
		}
		if g++; g == groups {
			g = 0
		}
	}
	return nil, 0
}

// insert returns the segment and slot for a record whose key is not in the table; the caller fills it at once. Slots of
// other records may change.
func (x *index) insert(h uint64) (*segment, int) {
	x.moved = 0
	d := x.door(h)
	for d.seg.used >= full(d.groups) {
		x.grow(h)
		d = x.door(h)
	}
	x.used++
	return d.seg, d.seg.place(h)
}

// remove empties a slot.
func (x *index) remove(s *segment, slot int) {
	s.vacate(x.hashOf(s.at(slot)), slot)
	x.used--
	x.removals++
}

// grow enlarges the segment that serves the hash, or splits it by the next bit of its records' hashes.
func (x *index) grow(h uint64) {
	x.removals++
	old := x.door(h).seg
	groups := old.groups * 2
	switch old.groups {
	case 32:
		groups = 40
	case 40:
		groups = 56
	case 56:
		groups = groupsMax
	case groupsMax:
		x.split(h, old)
		return
	}
	x.hashAll(old, 0)
	s := x.newSegment(groups, old.depth)
	x.deal(old, s, s, 0)
	x.lead(h, old.depth, s)
	x.drop(old)
}

// lead makes the doors of a hash whose leading bits, depth of them, are the same lead to a segment.
func (x *index) lead(h uint64, depth uint8, s *segment) {
	run := 1 << (x.depth - depth)
	first := int(h>>(64-x.depth)) &^ (run - 1)
	for i := first; i < first+run; i++ {
		x.dir[i] = door{s, s.groups}
	}
}

func (x *index) split(h uint64, old *segment) {
	if old.depth == x.depth {
		dir := make([]door, 2*len(x.dir))
		for i, d := range x.dir {
			dir[2*i], dir[2*i+1] = d, d
		}
		x.dir, x.depth = dir, x.depth+1
	}
	depth := old.depth + 1
	bit := uint64(1) << (64 - depth)
	upper := x.hashAll(old, bit)
	low, high := x.newSegment(half(old.used-upper), depth), x.newSegment(half(upper), depth)
	x.deal(old, low, high, bit)
	x.lead(h&^bit, depth, low)
	x.lead(h|bit, depth, high)
	x.drop(old)
}

// half returns the number of groups for a part of a segment that is split. Parts of keyed hashes are alike.
func half(used uint32) uint32 {
	if used < full(40) {
		return 40
	}
	return groupsMax
}

// hashAll notes the hashes of a segment's records, and returns how many have the bit.
func (x *index) hashAll(s *segment, bit uint64) (upper uint32) {
	for i := range s.slots() {
		if s.holds(i) {
			x.hashes[i] = x.hashOf(s.at(i))
			if x.hashes[i]&bit != 0 {
				upper++
			}
		}
	}
	return upper
}

// deal moves the records of a segment to others, by a bit of their hashes.
func (x *index) deal(old, low, high *segment, bit uint64) {
	for _, s := range [...]*segment{low, high} {
		s.next, s.stale, s.scanned = old.next, old.stale, old.scanned
	}
	for i := range old.slots() {
		if !old.holds(i) {
			continue
		}
		s := low
		if x.hashes[i]&bit != 0 {
			s = high
		}
		n := s.place(x.hashes[i])
		*s.at(n), s.due[n] = *old.at(i), old.due[i]
		x.moved++
	}
}

// each calls f with every segment, in the order of the hashes that they serve.
func (x *index) each(f func(*segment)) {
	for i := 0; i < len(x.dir); {
		s := x.dir[i].seg
		f(s)
		i += 1 << (x.depth - s.depth)
	}
}

// parts is the number of parts that a walk over the table may go by: places in the range of hashes, which
// mean the same when segments split meanwhile.
const (
	partBits = 30 // so that an int of 32 bits holds their number
	parts    = 1 << partBits
)

// part returns the segment that serves a part, and the first part behind those that it serves.
func (x *index) part(n int) (s *segment, next int) {
	s = x.door(uint64(n) << (64 - partBits)).seg
	size := parts >> s.depth
	return s, n&^(size-1) + size
}
