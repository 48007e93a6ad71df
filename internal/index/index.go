package index

import (
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/blocknat/blocknat/internal/prefetch"
)

const (
	slotsMin = 32
	// slotsMax is the number of slots at which a segment splits.
	slotsMax = 1024
	// depthMax is the number of leading bits that the directory may go by: those behind are what slots go by.
	depthMax = 32 - 10
	// sparse bounds the entries of the directory for each that as many numbers need: hashes that spread never come near.
	sparse = 16
)

// Index is the table. It must not be copied after Init.
type Index struct {
	dir   []door                 // 1 << depth of them
	hint  atomic.Pointer[[]door] // dir, for Prefetch
	depth uint8
	used  int
}

// door is an entry of the directory.
type door struct{ seg atomic.Pointer[segment] }

// segment is an open-addressing table with linear probing. Its slots stay where they are: one that grows is a new one.
type segment struct {
	slots []uint64 // a power of two
	used  int
	depth uint8 // how many leading bits all its hashes share
}

// Init makes an index empty.
func (x *Index) Init() {
	x.depth, x.used = 0, 0
	x.setDir(make([]door, 1))
	x.dir[0].seg.Store(newSegment(slotsMin, 0))
}

func newSegment(slots int, depth uint8) *segment {
	return &segment{slots: make([]uint64, slots), depth: depth}
}

// setDir replaces the directory.
func (x *Index) setDir(dir []door) {
	x.dir = dir
	x.hint.Store(&dir)
}

// tagOf returns the bits of a hash that are kept.
func tagOf(h uint64) uint32 { return uint32(h >> 32) }

func entryOf(tag, n uint32) uint64 { return uint64(tag)<<32 | uint64(n) + 1 }

func entryTag(e uint64) uint32 { return uint32(e >> 32) }

// door returns the entry of the directory for a hash.
func (x *Index) door(tag uint32) *door { return &x.dir[tag>>(32-x.depth)] }

func (s *segment) home(tag uint32) int { return int(tag) & (len(s.slots) - 1) }

// full reports whether a segment has to grow before it takes another entry.
func (s *segment) full() bool { return s.used >= len(s.slots)/4*3 }

// Len returns the number of entries.
func (x *Index) Len() int { return x.used }

// Prefetch asks for the memory in which a search for the hash begins, and reads none that others write. It may be called
// while the index changes: what it asks for may then be of no use.
func (x *Index) Prefetch(h uint64) {
	dir := *x.hint.Load()
	s := dir[uint64(tagOf(h))*uint64(len(dir))>>32].seg.Load()
	prefetch.Line(&s.slots[s.home(tagOf(h))])
}

// Search is a search that has begun. It is good until the index changes.
type Search struct {
	slots []uint64
	at    int
	tag   uint32
}

// Search begins a search for the numbers under a hash.
func (x *Index) Search(h uint64) Search {
	tag := tagOf(h)
	s := x.door(tag).seg.Load()
	return Search{s.slots, s.home(tag), tag}
}

// Next returns the next number, or false where there is none.
func (s *Search) Next() (number uint32, ok bool) {
	for {
		e := s.slots[s.at&(len(s.slots)-1)]
		if e == 0 {
			return 0, false
		}
		s.at++
		if entryTag(e) == s.tag {
			return uint32(e) - 1, true
		}
	}
}

// Insert enters a number, below 2^32-1, under the hash of its key. It must not be there under that hash.
func (x *Index) Insert(h uint64, n uint32) {
	tag := tagOf(h)
	s := x.door(tag).seg.Load()
	for s.full() {
		if len(s.slots) < slotsMax || !x.splits(s) {
			x.enlarge(tag, s)
		} else {
			x.split(tag, s)
		}
		s = x.door(tag).seg.Load()
	}
	s.put(entryOf(tag, n))
	x.used++
}

// put enters an entry at the first slot that is free.
func (s *segment) put(e uint64) {
	i := s.home(entryTag(e))
	for s.slots[i] != 0 {
		i = (i + 1) & (len(s.slots) - 1)
	}
	s.slots[i] = e
	s.used++
}

// splits reports whether a segment may split. Where many hashes are alike to the last bit that would not help, and the directory would
// grow without end: then the segment does.
func (x *Index) splits(s *segment) bool {
	return s.depth < x.depth || s.depth < depthMax && len(x.dir) <= sparse*(1+x.used/(slotsMax/4))
}

// enlarge puts a segment with twice the slots in the place of one that serves a hash.
func (x *Index) enlarge(tag uint32, s *segment) {
	large := newSegment(2*len(s.slots), s.depth)
	for _, e := range s.slots {
		if e != 0 {
			large.put(e)
		}
	}
	first, n := x.share(tag, s)
	for i := range n {
		x.dir[first+i].seg.Store(large)
	}
}

// split deals the entries of the segment that serves a hash out to two, by the next bit of their hashes.
func (x *Index) split(tag uint32, s *segment) {
	if s.depth == x.depth {
		dir := make([]door, 2*len(x.dir))
		for i := range dir {
			dir[i].seg.Store(x.dir[i/2].seg.Load())
		}
		x.depth++
		x.setDir(dir)
	}
	first, n := x.share(tag, s)
	halves := [2]*segment{newSegment(len(s.slots), s.depth+1), newSegment(len(s.slots), s.depth+1)}
	for _, e := range s.slots {
		if e != 0 {
			halves[entryTag(e)>>(31-s.depth)&1].put(e)
		}
	}
	for i := range n {
		x.dir[first+i].seg.Store(halves[i/(n/2)])
	}
}

// share returns which entries of the directory lead to the segment that serves a hash.
func (x *Index) share(tag uint32, s *segment) (first, n int) {
	n = 1 << (x.depth - s.depth)
	return int(tag>>(32-x.depth)) &^ (n - 1), n
}

// Remove removes a number that is there under the hash, and reports whether it was.
func (x *Index) Remove(h uint64, n uint32) bool {
	tag := tagOf(h)
	s := x.door(tag).seg.Load()
	mask := len(s.slots) - 1
	i := s.home(tag)
	for s.slots[i] != entryOf(tag, n) {
		if s.slots[i] == 0 {
			return false
		}
		i = (i + 1) & mask
	}
	// Entries behind the gap move up, so that a search never meets one.
	for j := (i + 1) & mask; s.slots[j] != 0; j = (j + 1) & mask {
		if home := s.home(entryTag(s.slots[j])); (j-home)&mask >= (j-i)&mask { // its home is not in (i, j]
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = 0
	s.used--
	x.used--
	return true
}

// segments yields the segments in the order of the hashes that they serve, each with the first entry of the directory that leads there.
func (x *Index) segments() iter.Seq2[int, *segment] {
	return func(yield func(int, *segment) bool) {
		for i := 0; i < len(x.dir); {
			s := x.dir[i].seg.Load()
			if !yield(i, s) {
				return
			}
			i += 1 << (x.depth - s.depth)
		}
	}
}

// CheckInvariants reports the first contradiction: of the parts of the index among each other, and of a number with its hash, which hashOf
// returns, with false where there is no such number. It is for tests.
func (x *Index) CheckInvariants(hashOf func(n uint32) (h uint64, ok bool)) error {
	total, ways := 0, 0
	for first, s := range x.segments() {
		n := 1 << (x.depth - s.depth)
		ways += n
		for i := range n {
			if x.dir[first+i].seg.Load() != s {
				return fmt.Errorf("index: the directory leads a share of a segment elsewhere")
			}
		}
		used := 0
		for i, e := range s.slots {
			if e == 0 {
				continue
			}
			used++
			number := uint32(e) - 1
			if h, ok := hashOf(number); !ok || tagOf(h) != entryTag(e) || x.door(entryTag(e)).seg.Load() != s {
				return fmt.Errorf("index: number %d is under another hash than its own", number)
			}
			for at := s.home(entryTag(e)); at != i; at = (at + 1) & (len(s.slots) - 1) {
				if s.slots[at] == 0 {
					return fmt.Errorf("index: a search for number %d ends before it", number)
				}
			}
		}
		if used != s.used || used > len(s.slots)/4*3 {
			return fmt.Errorf("index: a segment of %d slots holds %d entries and counts %d", len(s.slots), used, s.used)
		}
		total += used
	}
	if total != x.used || ways != len(x.dir) || len(x.dir) != 1<<x.depth {
		return fmt.Errorf("index: %d entries are counted as %d, %d of %d entries of the directory lead to segments", total, x.used, ways, len(x.dir))
	}
	return nil
}
