package mapping

import (
	"math/bits"
	"sync/atomic"

	"github.com/blocknat/blocknat/internal/keyed"
	"github.com/blocknat/blocknat/internal/prefetch"
	"github.com/blocknat/blocknat/portblock"
)

// side is a hash table of the halves of one direction, which grows in place: the leading bits of a key's hash lead through a directory
// to a segment, other bits to a group within it. A full segment and its neighbours share their halves with a further one (see
// grow), by themselves, so no insertion waits for a rehash of the whole table.
//
// A half whose group is full lies in the next group with room: a search goes on behind full groups only.
type side struct {
	hash keyed.Hash
	dir  []door                 // 6 << n of them, for equal shares of the hashes
	hint atomic.Pointer[[]door] // dir, for prefetch
	// next is the directory that follows when dir is too small, or nil; it leads where the first doubled entries of dir lead.
	next     []door
	doubled  int
	segments int
	// counts says that sessions of mappings are counted here, and that segments have what only Expire and the ends of sessions
	// read: so it is on the outbound side.
	counts bool
	used   int
	moved  int // halves that the last insertion moved

	crowds flat

	strays []stray // halves that found no room where they belong, for a moment
}

// door is an entry of the directory: what a look-up needs of a segment.
type door struct {
	halves atomic.Pointer[[segmentSlots]half] // seg.halves
	seg    *segment
}

func (d *door) slots() *[segmentSlots]half { return prefetch.Known(d.halves.Load()) }

func (d *door) lead(s *segment) {
	d.halves.Store(s.halves)
	d.seg = s
}

// segment holds up to 561 halves. What is here is one cache line.
type segment struct {
	halves *[segmentSlots]half
	blocks *[segmentSlots]BlockID // one for each half, where the side keeps them
	due    *[segmentSlots]hint    // likewise
	used   uint32
	ways   uint32 // the segment serves one of so many equal shares of all hashes
	// next is a lower bound of all due hints; scanned is when Expire last saw all halves.
	scanned Tick
	next    hint
	stale   bool // the hints mean nothing, because timeouts have changed
	// removals counts the halves that went, and may have moved others.
	removals uint32
	_        [20]byte
}

func (s *segment) slots() *[segmentSlots]half { return prefetch.Known(s.halves) }

// group is what a look-up compares at once: two cache lines.
type group [groupSlots]half

const (
	groupSlots = 4
	groupBytes = groupSlots * 32
	// spill is the number of groups at a segment's end that are home to no hash: they take what the last ones have no room for.
	spill = 4
)

const (
	// segmentSlots is a size that Go allocates without a rest and on the boundary of a group.
	segmentSlots = 640
	// segmentFull is the number of halves at which a segment has to grow: 90 % of the slots that hashes are at home in.
	segmentFull = (segmentSlots - spill*groupSlots) * 90 / 100
)

func (x *side) init(key [24]byte, counts bool) {
	x.hash, x.counts, x.crowds = keyed.New(key), counts, newFlat(key)
	x.setDir(make([]door, 6))
	x.lead(0, len(x.dir), x.newSegment(1))
	x.segments = 1
}

func (x *side) newSegment(ways uint32) *segment {
	s := &segment{halves: new([segmentSlots]half), ways: ways}
	if x.counts {
		s.blocks, s.due = new([segmentSlots]BlockID), new([segmentSlots]hint)
	}
	return s
}

// index returns which entry of the directory serves a hash.
func (x *side) index(h uint64) int {
	i, _ := bits.Mul64(h, uint64(len(x.dir)))
	return int(i)
}

func (x *side) door(h uint64) *door { return &x.dir[x.index(h)] }

// home returns the slot at which the search for a hash begins, the first of a group: no hash is at home in the last ones.
func home(h uint64) int {
	const groups = segmentSlots/groupSlots - spill
	return int(uint64(uint32(h))*groups>>32) * groupSlots
}

// free returns a slot that is free, or -1. It has no branches on what is free, for that cannot be predicted.
func (g *group) free() int {
	empty := zero(g[0].peer) | zero(g[1].peer)<<1 | zero(g[2].peer)<<2 | zero(g[3].peer)<<3
	if empty == 0 {
		return -1
	}
	return bits.TrailingZeros64(empty)
}

// zero returns 1 for 0 and else 0.
func zero(v uint64) uint64 { return (v|-v)>>63 ^ 1 }

func (g *group) full() bool {
	return g[0].peer != 0 && g[1].peer != 0 && g[2].peer != 0 && g[3].peer != 0
}

// find returns the half with the hash and key, or nil; mask tells which bits of peer are key. It stays where it is until a half is
// inserted or removed.
func (x *side) find(h, near, peer, mask uint64) *half {
	halves := x.door(h).slots()
	for n := home(h); n < len(halves); n += groupSlots {
		g := (*group)(halves[n:])
		for i := range g {
			if r := &g[i]; r.near == near && (r.peer^peer)&mask == 0 {
				return r
			}
		}
		if !g.full() {
			return nil
		}
	}
	return nil
}

// prefetch asks for the group in which a hash is at home and the one behind it, where a search goes on when the first is full. Unlike all others it
// may be called while the side changes: what it asks for may then be of no use.
func (x *side) prefetch(h uint64) {
	dir := *x.hint.Load()
	i, _ := bits.Mul64(h, uint64(len(dir)))
	prefetch.Four(&dir[i].slots()[home(h)])
}

// prefetchSegment asks for the segment that a hash belongs to, which an insertion reads.
func (x *side) prefetchSegment(h uint64) { prefetch.Line(x.door(h).seg) }

// prefetchNotes asks for what a segment that counts notes of the half of a hash. It reads the segment.
func (x *side) prefetchNotes(h uint64) {
	p := spot{x.door(h).seg, home(h)}
	prefetch.Line(p.block())
	prefetch.Line(p.due())
}

// setDir replaces the directory.
func (x *side) setDir(dir []door) {
	x.dir = dir
	x.hint.Store(&dir)
}

// spot is where a half lies: good until one is inserted or removed. The zero value is nowhere.
type spot struct {
	seg  *segment
	slot int
}

func (p spot) half() *half { return &p.seg.slots()[p.slot] }

// block and due are what a side that counts notes of the half.
func (p spot) block() *BlockID { return &prefetch.Known(p.seg.blocks)[p.slot] }
func (p spot) due() *hint      { return &prefetch.Known(p.seg.due)[p.slot] }

// spotOf returns where a half lies that find has found under the hash.
func (x *side) spotOf(h uint64, r *half) spot {
	if r == nil {
		return spot{}
	}
	p := spot{x.door(h).seg, home(h)}
	for p.half() != r {
		p.slot++
	}
	return p
}

// hashOf returns the hash of a half's key. It has no branches: what kinds come next cannot be predicted.
func (x *side) hashOf(r *half) uint64 {
	kind := r.kind()
	mask := whatMask | -(kind>>1)&endMask | -(kind>>1&kind)&scopeMask
	return x.hash.Sum(r.near, r.peer&mask)
}

// anchor finds the anchor of an endpoint.
func (x *side) anchor(near uint64, space portblock.Space) spot {
	key := what(anchor, space)
	h := x.hash.Sum(near, key)
	return x.spotOf(h, x.find(h, near, key, whatMask))
}

// session finds the half of its own that a session has, and mapping that of a mapping.
func (x *side) session(near uint64, space portblock.Space, remote uint64) spot {
	key := remote | what(session, space)
	h := x.hash.Sum(near, key)
	return x.spotOf(h, x.find(h, near, key, sessionKey))
}

func (x *side) mapping(near uint64, space portblock.Space, scope uint64) spot {
	key := scope | what(mapped, space)
	h := x.hash.Sum(near, key)
	return x.spotOf(h, x.find(h, near, key, mappedKey))
}

// insert enters a half whose key is not in the table. Others may move.
func (x *side) insert(r *half) spot {
	x.moved = 0
	h := x.hashOf(r)
	for {
		s := x.door(h).seg
		if s.used < segmentFull {
			if i := s.place(h); i >= 0 {
				return x.put(spot{s, i}, r)
			}
		}
		x.grow(h)
	}
}

// put enters a half at a free slot.
func (x *side) put(p spot, r *half) spot {
	*p.half() = *r
	p.seg.used++
	x.used++
	return p
}

// claim enters a half unless its key is in the table: then it returns false, and changes nothing. mask tells which bits of peer are key.
func (x *side) claim(h uint64, r *half, mask uint64) (p spot, entered bool) {
	d := x.door(h)
	halves := d.slots() // of the door, so that the search does not wait for the segment
	for n := home(h); n < len(halves); n += groupSlots {
		g := (*group)(halves[n:])
		for i := range g {
			if e := &g[i]; e.near == r.near && (e.peer^r.peer)&mask == 0 {
				return spot{}, false
			}
		}
		if free := g.free(); free >= 0 {
			if d.seg.used >= segmentFull {
				break
			}
			x.moved = 0
			return x.put(spot{d.seg, n + free}, r), true
		}
	}
	return x.insert(r), true
}

// place returns the slot for a hash, or -1 where the segment has no room for it.
func (s *segment) place(h uint64) int {
	halves := s.slots()
	for n := home(h); n < len(halves); n += groupSlots {
		g := (*group)(halves[n:])
		if free := g.free(); free >= 0 {
			return n + free
		}
	}
	return -1
}

// move moves a half to a free slot.
func (s *segment) move(to, from int) {
	old, fresh := spot{s, from}, spot{s, to}
	*fresh.half(), *old.half() = *old.half(), half{}
	if s.due != nil {
		*fresh.due(), *fresh.block() = *old.due(), *old.block()
	}
}

// remove removes a half. Others of its segment may move: into the gap, so that no search ends before what it looks for.
func (x *side) remove(p spot) {
	s := p.seg
	x.used--
	s.used--
	s.removals++
	*p.half() = half{}
	for gap := p.slot; gap >= 0; {
		// Nothing went past a group that was not full.
		first := gap &^ (groupSlots - 1)
		for i := first; i < first+groupSlots; i++ {
			if i != gap && s.slots()[i].peer == 0 {
				return
			}
		}
		from := x.astray(s, first)
		if from >= 0 {
			s.move(gap, from)
		}
		gap = from
	}
}

// astray returns the slot of a half behind the group that begins at first whose search comes by that group, or -1.
func (x *side) astray(s *segment, first int) int {
	halves := s.slots()
	for n := first + groupSlots; n < len(halves); n += groupSlots {
		g := (*group)(halves[n:])
		for i := range g {
			if g[i].peer != 0 && home(x.hashOf(&g[i])) <= first {
				return n + i
			}
		}
		if !g.full() {
			return -1
		}
	}
	return -1
}
