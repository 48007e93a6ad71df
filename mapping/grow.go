package mapping

import "math/bits"

// Segments come in families that serve neighbouring shares of the hashes: one alone at first, then two or three. When
// one of a family is full, the family of one becomes one of two, that of two one of three, and that of three two of two. Each member
// then gives those of its halves away that a smaller share does not have:
//
//	1 of 1    AAAAAAAAAAAA
//	2         AAAAAABBBBBB         B is new
//	3         AAAACCCCBBBB         C is new, and takes a third of A and B
//	2 and 2   AAACCCDDDBBB         D is new, and takes half of C and a quarter of B; C takes a quarter of A
//
// So a table of any size has half as much room again at most, memory is never given up for larger, and for each half that comes less
// than one moves.

// family returns the number of members that the family of a segment has.
func (s *segment) family() uint32 {
	switch {
	case s.ways == 1:
		return 1
	case s.ways%3 == 0:
		return 3
	}
	return 2
}

// grow makes room in the segment that serves the hash.
func (x *side) grow(h uint64) {
	s := x.door(h).seg
	k := s.family()
	ways := s.ways / k * (k + 1)
	if len(x.dir)%int(ways) != 0 {
		x.double(len(x.dir))
		x.setDir(x.next)
		x.next, x.doubled = nil, 0
	} else if 8*x.segments >= 3*len(x.dir) { // half the way from the last doubling to the next one
		x.double(doubleStep)
	}
	run := len(x.dir) / int(s.ways/k) // what leads to the family
	first := x.index(h) / run * run
	var members [4]*segment
	for i := range int(k) {
		members[i] = x.dir[first+i*run/int(k)].seg
	}
	fresh := (k + 1) / 2
	copy(members[fresh+1:], members[fresh:k])
	members[fresh] = x.newSegment(ways)
	x.segments++
	for i, m := range members[:k+1] {
		m.ways = ways
		x.lead(first+i*run/int(k+1), run/int(k+1), m)
	}
	members[fresh].since(s)
	to := sharing{ways: uint64(ways), first: uint64(first) * uint64(ways) / uint64(len(x.dir)), members: members}
	for i := int(k); i >= 0; i-- { // the last first, so that who takes halves has given its own
		if i != int(fresh) {
			x.give(&to, uint64(i))
		}
	}
	for len(x.strays) > 0 {
		last := len(x.strays) - 1
		v := x.strays[last]
		x.strays = x.strays[:last]
		x.used--
		p := x.insert(&v.half)
		p.keep(v.block, v.due)
		p.seg.takes(v.from)
	}
}

// doubleStep is the number of entries of the directory that one growth doubles ahead: twice as many as it takes to be through in time, so
// that no call pays for all of them.
const doubleStep = 16

// double enters the next entries of the directory in the one that follows it, which has two for each.
func (x *side) double(n int) {
	if x.next == nil {
		x.next = make([]door, 2*len(x.dir))
	}
	for end := min(x.doubled+n, len(x.dir)); x.doubled < end; x.doubled++ {
		s := x.dir[x.doubled].seg
		x.next[2*x.doubled].lead(s)
		x.next[2*x.doubled+1].lead(s)
	}
}

// stray is a half on its way from a segment.
type stray struct {
	half
	block BlockID
	due   hint
	from  *segment
}

// keep notes what a side that counts notes of a half.
func (p spot) keep(block BlockID, due hint) {
	if s := p.seg; s.due != nil {
		*p.block(), *p.due() = block, due
		if s.next.after(due) {
			s.next = due
		}
	}
}

// since notes that a segment takes halves of another one.
func (s *segment) since(from *segment) {
	s.next, s.stale, s.scanned = from.next, from.stale, from.scanned
}

// sharing is a family on its way to shares that are smaller.
type sharing struct {
	ways    uint64 // the shares of all hashes
	first   uint64 // the family's first share
	members [4]*segment
}

// give moves the halves of a member that other members serve. Of those that stay the ones that found no room in their groups move up,
// group by group, to where others have left.
//
// It first hashes all halves and lists those to be moved, in loops without branches on what cannot be predicted.
func (x *side) give(to *sharing, member uint64) {
	s := to.members[member]
	var hashes [segmentSlots]uint64
	var going, staying [segmentSlots]uint16
	gone, stay := 0, 0
	for n := range s.halves {
		r := &s.halves[n]
		h := x.hashOf(r)
		hashes[n] = h
		share, _ := bits.Mul64(h, to.ways)
		taken := zero(r.peer) ^ 1
		leaves := zero(share-to.first-member) ^ 1
		before := below(uint64(home(h)), uint64(n)&^(groupSlots-1))
		going[gone], staying[stay] = uint16(n), uint16(n)
		gone += int(taken & leaves)
		stay += int(taken &^ leaves & before)
	}
	for _, n := range going[:gone] {
		h := hashes[n]
		share, _ := bits.Mul64(h, to.ways)
		x.hand(to.members[share-to.first], s, int(n), h)
	}
	x.moved += gone
	s.used -= uint32(gone)
	for _, n := range staying[:stay] {
		group := int(n) &^ (groupSlots - 1)
		if i := s.place(hashes[n]); i >= 0 && i < group {
			s.move(i, int(n))
		}
	}
}

// below returns 1 where a is less than b and else 0, both less than 1 << 63.
func below(a, b uint64) uint64 { return (a - b) >> 63 }

// hand moves a half to another segment.
func (x *side) hand(to, from *segment, slot int, h uint64) {
	old := spot{from, slot}
	i := to.place(h)
	if i < 0 {
		v := stray{half: *old.half(), from: from}
		if from.due != nil {
			v.block, v.due = *old.block(), *old.due()
		}
		*old.half() = half{}
		x.strays = append(x.strays, v)
		return
	}
	fresh := spot{to, i}
	*fresh.half(), *old.half() = *old.half(), half{}
	to.used++
	if from.due != nil {
		fresh.keep(*old.block(), *old.due())
	}
	to.takes(from)
}

// takes notes that a segment has taken a half of another one: its hint means what it meant there.
func (s *segment) takes(from *segment) {
	s.stale = s.stale || from.stale
	if s.scanned.after(from.scanned) {
		s.scanned = from.scanned
	}
}

// lead makes some entries of the directory lead to a segment.
func (x *side) lead(first, n int, s *segment) {
	for i := first; i < first+n; i++ {
		x.dir[i].lead(s)
		if i < x.doubled {
			x.next[2*i].lead(s)
			x.next[2*i+1].lead(s)
		}
	}
}

// each calls f with every segment, in the order of the hashes that they serve.
func (x *side) each(f func(*segment)) {
	for i := 0; i < len(x.dir); {
		s := x.dir[i].seg
		f(s)
		i += len(x.dir) / int(s.ways)
	}
}

// parts is the number of parts that a walk over a side may go by: equal shares of the hashes, of which each entry of the directory
// has a whole number, so that they mean the same when the side grows meanwhile.
const parts = 3 << 28

// part returns the segment that serves a part, and the first part behind those that it serves.
func (x *side) part(n int) (s *segment, next int) {
	s = x.dir[n/(parts/len(x.dir))].seg
	size := parts / int(s.ways)
	return s, n/size*size + size
}

// partOf returns the part of a half.
func (x *side) partOf(r *half) int {
	n, _ := bits.Mul64(x.hashOf(r), parts)
	return int(n)
}
