package alloc

// A slab hands out numbered entries that never move and grows by blocks, so
// that no call waits while a large table is copied. Entries have no pointers.
// Freed entries are used again first; their owners thread the free list
// through a field of the entry.
const slabBlock = 4096

type slab[T any] struct {
	blocks []*[slabBlock]T
	n      uint32 // entries made so far
	free   uint32 // head of the free list
	loose  uint32 // entries in the free list
	lost   uint32 // entries of blocks that were never made, see collect
}

func (s *slab[T]) at(i uint32) *T { return &s.blocks[i/slabBlock][i%slabBlock] }

// take returns a free entry. The caller passes how to read the next free one.
func (s *slab[T]) take(next func(*T) uint32) uint32 {
	if s.loose > 0 {
		i := s.free
		s.free = next(s.at(i))
		s.loose--
		return i
	}
	if s.n%slabBlock == 0 && int(s.n/slabBlock) == len(s.blocks) {
		s.blocks = append(s.blocks, new([slabBlock]T))
	}
	s.n++
	return s.n - 1
}

// give puts entry i at the head of the free list and returns the former head,
// which the caller stores in the entry.
func (s *slab[T]) give(i uint32) uint32 {
	next := s.free
	s.free = i
	s.loose++
	return next
}

// reach returns entry i while a table is restored, whatever entries there are
// before it. Blocks without a restored entry are not made.
func (s *slab[T]) reach(i uint32) *T {
	for int(i/slabBlock) >= len(s.blocks) {
		s.blocks = append(s.blocks, nil)
	}
	if b := &s.blocks[i/slabBlock]; *b == nil {
		*b = new([slabBlock]T)
	}
	s.n = max(s.n, i+1)
	return s.at(i)
}

// collect puts the free entries of a restored table into the free list. The
// entries of blocks that were not made are given up: their numbers are not
// used again.
func (s *slab[T]) collect(isFree func(*T) bool, thread func(*T, uint32)) {
	for k, b := range s.blocks {
		if b == nil {
			s.lost += slabBlock
			continue
		}
		for j := range b {
			i := uint32(k*slabBlock + j)
			if i < s.n && isFree(&b[j]) {
				thread(&b[j], s.give(i))
			}
		}
	}
}

// bytes returns the memory of the table whose entries have the given size.
func (s *slab[T]) bytes(entry uint64) uint64 {
	n := uint64(len(s.blocks)) * 8
	for _, b := range s.blocks {
		if b != nil {
			n += slabBlock * entry
		}
	}
	return n
}

// A ticket is the pool's side of a live lease.
type ticket struct {
	ref    uint32 // position where Shares is 1, else entry in users; next free ticket when free
	serial uint32 // generation; 0 when free
}

func nextTicket(t *ticket) uint32 { return t.ref }

// A user is an address that has live leases, in a pool whose addresses may
// have several. Open ones hang in the list of their load.
type user struct {
	pos    uint32
	shares uint32 // 0 when the entry is free
	prev   uint32
	next   uint32 // next free entry when free
	class  uint16 // load class, or unlisted
}

func nextUser(u *user) uint32 { return u.next }
