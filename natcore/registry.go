package natcore

import (
	"iter"
	"slices"

	"github.com/blocknat/blocknat/internal/prefetch"
)

// registry numbers the subscribers of a shard and holds them. A number and a place stay while their subscriber does; then both serve
// another one, so only who holds mu or grants may keep a *subscriber: none leaves but under both.
type registry struct {
	pages []*registryPage
	spare []uint32
	next  uint32 // numbers below were given out
}

// registryPageSize is the number of subscribers that share a page: as many as a size class of Go's allocator has room for.
const registryPageSize = 18

// registryPage is what is allocated together, and let go when none of it is in use.
type registryPage struct {
	used uint64
	// Go's allocator puts 8 bytes before memory of this size that has pointers: with them, subscribers begin with a cache line.
	_    [48]byte
	subs [registryPageSize]subscriber
}

// at returns the subscriber of a number, which there is.
func (r *registry) at(i uint32) *subscriber {
	return &prefetch.Known(r.pages[i/registryPageSize]).subs[i%registryPageSize]
}

// find returns the subscriber of a number below next, or nil.
func (r *registry) find(i uint32) *subscriber {
	if r.pages[i/registryPageSize] == nil || !r.at(i).live() {
		return nil
	}
	return r.at(i)
}

// live reports whether a place holds a subscriber.
func (s *subscriber) live() bool { return s.account != nil }

// len returns the number of subscribers.
func (r *registry) len() int { return int(r.next) - len(r.spare) }

// add returns the place of a new subscriber, with its number, for the caller to fill.
func (r *registry) add() *subscriber {
	if n := len(r.spare); n > 0 {
		i := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return r.place(i)
	}
	if r.next%registryPageSize == 0 {
		r.pages = append(r.pages, nil)
	}
	r.next++
	return r.place(r.next - 1)
}

// reserve makes room for the numbers below next, of which some are spare.
func (r *registry) reserve(next uint32, spare []uint32) {
	r.next, r.spare = next, spare
	r.pages = slices.Grow(r.pages, int(next)/registryPageSize+1)[:(int(next)+registryPageSize-1)/registryPageSize]
}

// place returns the place of a number that is given out, and not in use yet.
func (r *registry) place(i uint32) *subscriber {
	p := &r.pages[i/registryPageSize]
	if *p == nil {
		*p = new(registryPage)
	}
	(*p).used++
	s := r.at(i)
	s.index = i
	return s
}

// remove empties the place of a number.
func (r *registry) remove(i uint32) {
	*r.at(i) = subscriber{}
	r.spare = append(r.spare, i)
	p := &r.pages[i/registryPageSize]
	if (*p).used--; (*p).used == 0 {
		*p = nil
	}
}

// all yields the subscribers by their numbers. Those that come or go meanwhile may be missed.
func (r *registry) all() iter.Seq[*subscriber] {
	return func(yield func(*subscriber) bool) {
		for i := range r.next {
			if s := r.find(i); s != nil && !yield(s) {
				return
			}
		}
	}
}
