package mapping

import "github.com/blocknat/blocknat/internal/keyed"

// entry is one 32-byte slot of a flat table: a 16-byte key and a 16-byte value, half a
// cache line, without pointers. The low byte of lo is no part of the key: it
// holds the entry's state, and zero there means that the slot is empty.
type entry struct{ hi, lo, v0, v1 uint64 }

const (
	// A segment starts small, doubles up to flatSlots and then splits in
	// two. Splitting rehashes at most 768 entries, so no insertion waits for
	// a rehash of the whole table.
	flatSlots    = 1024
	flatSlotsMin = 32
)

// flatSegment is an open-addressing table with linear probing and backward-shift
// deletion. Its load never exceeds three quarters.
type flatSegment struct {
	slots []entry
	used  int
	depth uint8 // how many leading hash bits all its entries share
}

// flat is an extendible hash table: the leading bits of a key's hash choose a
// segment through the directory, the trailing ones a slot within it.
type flat struct {
	hash  keyed.Hash
	dir   []uint32 // indices of segments; len(dir) = 1 << depth
	depth uint8
	segs  []flatSegment
	used  int
}

func newFlat(key [24]byte) flat {
	return flat{
		hash: keyed.New(key),
		dir:  []uint32{0},
		segs: []flatSegment{{slots: make([]entry, flatSlotsMin)}},
	}
}

// home returns the slot at which the search for a hash begins. The slot count is a power of two.
func (s *flatSegment) home(h uint64) int { return int(uint32(h)) & (len(s.slots) - 1) }

func (t *flat) segment(h uint64) *flatSegment { return &t.segs[t.dir[h>>(64-t.depth)]] }

// find returns the entry with the key, or nil. The low byte of lo does not
// count. The pointer is good until the next insertion or deletion.
func (t *flat) find(hi, lo uint64) *entry {
	lo &^= stateMask
	h := t.hash.Sum(hi, lo)
	s := t.segment(h)
	mask := len(s.slots) - 1
	for i := s.home(h); ; i = (i + 1) & mask {
		e := &s.slots[i&mask]
		if e.hi == hi && (e.lo^lo) <= stateMask && e.lo&stateMask != 0 {
			return e
		}
		if e.lo&stateMask == 0 {
			return nil
		}
	}
}

// insert adds an entry whose key is not in the table and whose state is not zero.
func (t *flat) insert(n entry) {
	h := t.hash.Sum(n.hi, n.lo&^stateMask)
	for {
		s := t.segment(h)
		if s.used < len(s.slots)/4*3 {
			s.place(h, n)
			t.used++
			return
		}
		if len(s.slots) < flatSlots {
			t.enlarge(s)
		} else {
			t.split(h)
		}
	}
}

func (s *flatSegment) place(h uint64, n entry) {
	mask := len(s.slots) - 1
	i := s.home(h)
	for s.slots[i].lo&stateMask != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = n
	s.used++
}

func (t *flat) enlarge(s *flatSegment) {
	old := s.slots
	s.slots, s.used = make([]entry, 2*len(old)), 0
	for _, e := range old {
		if e.lo&stateMask != 0 {
			s.place(t.hash.Sum(e.hi, e.lo&^stateMask), e)
		}
	}
}

// split deals the entries of the segment that serves the hash out to two segments by the next bit of
// their hashes.
func (t *flat) split(hash uint64) {
	i := t.dir[hash>>(64-t.depth)]
	if t.segs[i].depth == t.depth {
		dir := make([]uint32, 2*len(t.dir))
		for j, seg := range t.dir {
			dir[2*j], dir[2*j+1] = seg, seg
		}
		t.dir, t.depth = dir, t.depth+1
	}
	old := t.segs[i].slots
	depth := t.segs[i].depth + 1
	t.segs[i] = flatSegment{slots: make([]entry, flatSlots), depth: depth}
	t.segs = append(t.segs, flatSegment{slots: make([]entry, flatSlots), depth: depth})
	low, high := &t.segs[i], &t.segs[len(t.segs)-1]
	bit := uint64(1) << (64 - depth)
	for _, e := range old {
		if e.lo&stateMask == 0 {
			continue
		}
		h := t.hash.Sum(e.hi, e.lo&^stateMask)
		if h&bit == 0 {
			low.place(h, e)
		} else {
			high.place(h, e)
		}
	}
	// The directory entries that named the old segment form one run, aligned
	// to its length; the upper half of the run names the new segment.
	run := 1 << (t.depth - (depth - 1))
	first := int(hash>>(64-t.depth)) &^ (run - 1)
	for j := first + run/2; j < first+run; j++ {
		t.dir[j] = uint32(len(t.segs) - 1)
	}
}

// remove deletes the entry with the key and reports whether there was one.
// Entries behind it move up, so that a search never meets a gap.
func (t *flat) remove(hi, lo uint64) bool {
	lo &^= stateMask
	h := t.hash.Sum(hi, lo)
	s := t.segment(h)
	mask := len(s.slots) - 1
	i := s.home(h)
	for {
		e := &s.slots[i]
		if e.lo&stateMask == 0 {
			return false
		}
		if e.hi == hi && (e.lo^lo) <= stateMask {
			break
		}
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; s.slots[j].lo&stateMask != 0; j = (j + 1) & mask {
		e := &s.slots[j]
		home := s.home(t.hash.Sum(e.hi, e.lo&^stateMask))
		// The entry at j may fill the gap at i when its home is not in (i, j].
		if (j-home)&mask >= (j-i)&mask {
			s.slots[i] = *e
			i = j
		}
	}
	s.slots[i] = entry{}
	s.used--
	t.used--
	return true
}
