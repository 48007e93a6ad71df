package mapping

import "math/bits"

// A segment is a hash table of groups of eight records. Each group has a word with a tag byte a record: seven
// bits of the record's hash, never zero, or zero where the slot is empty. A look-up compares all eight tags at
// once and reads the records whose tags agree, so a record that is not there is missed, but for one
// group in twenty, without touching any record.
//
// A record whose group is full lies in the next group with room. Each group counts the records that went
// past it, and the top bit of its word says that there are any: a look-up ends at the first group without. So removal
// empties a slot and moves nothing.
const (
	groupSlots = 8
	// A segment grows through sizes of 8, 16, 32, 40, 56 and 64 groups, and then splits in two. It is at most nine tenths full.
	groupsMin = 8
	groupsMax = 64

	// A unit is the records of 8 groups: 4 KiB.
	unitGroups = 8
	unitSlots  = unitGroups * groupSlots

	tagBits    = 0x7f7f7f7f7f7f7f7f
	topBits    = 0x8080808080808080
	lowBits    = 0x0101010101010101
	passedFlag = 0x80 // the top bit of the first tag of a group
)

type segment struct {
	units  [groupsMax / unitGroups]*unit // as many as it has groups
	groups uint32
	used   uint32
	// next is a lower bound of all due hints; scanned is when Expire last saw all records; stale says that the
	// hints mean nothing, because timeouts have changed.
	next    hint
	stale   bool
	depth   uint8 // how many leading hash bits all its records share
	scanned Tick
	tags    [groupsMax]uint64
	passed  [groupsMax]uint8 // records that found the group full; 255 stays
	due     []hint           // one for each slot
}

type unit [unitSlots]record

// at returns the record of a slot.
func (s *segment) at(slot int) *record {
	return &s.units[uint(slot)/unitSlots%uint(len(s.units))][uint(slot)%unitSlots]
}

// slots returns the number of slots.
func (s *segment) slots() int { return int(s.groups) * groupSlots }

// home returns the group at which the search for a hash begins, and tag the hash's tag.
func home(h uint64, groups uint32) uint32 { return uint32(uint64(uint32(h)) * uint64(groups) >> 32) }

func tagOf(h uint64) uint64 { return (h>>32&0xffff)*127>>16 + 1 }

// matches returns a word with the top bit set in each byte whose tag is the given one.
func matches(word, tag uint64) uint64 { return (topBits - (word&tagBits ^ tag*lowBits)) & topBits }

// full says at which number of records a segment has to grow.
func full(groups uint32) uint32 { return groups * groupSlots * 9 / 10 }

// place takes an empty slot for a hash. There is one: the segment is not full.
func (s *segment) place(h uint64) int {
	g := home(h, s.groups)
	for {
		w := s.tags[g]
		if m := matches(w, 0); m != 0 {
			n := bits.TrailingZeros64(m) >> 3
			s.tags[g] = w | tagOf(h)<<(n*8)
			s.used++
			return int(g)*groupSlots + n
		}
		s.tags[g] |= passedFlag
		if s.passed[g] < 255 {
			s.passed[g]++
		}
		if g++; g == s.groups {
			g = 0
		}
	}
}

// vacate empties a slot, whose record has the hash.
func (s *segment) vacate(h uint64, slot int) {
	at := uint32(slot) / groupSlots
	for g := home(h, s.groups); g != at; {
		if s.passed[g] < 255 {
			if s.passed[g]--; s.passed[g] == 0 {
				s.tags[g] &^= passedFlag
			}
		}
		if g++; g == s.groups {
			g = 0
		}
	}
	s.tags[at] &^= 0x7f << (slot % groupSlots * 8)
	s.used--
}

// holds reports whether a slot has a record.
func (s *segment) holds(slot int) bool {
	return s.tags[slot/groupSlots]>>(slot%groupSlots*8)&0x7f != 0
}
