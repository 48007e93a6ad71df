package natcore

import "iter"

// registry numbers the subscribers of a shard, or its accounts. A number stays while its item does; a page of the list never moves.
type registry[T any] struct {
	pages []*[registryPage]*T
	spare []uint32
	next  uint32 // numbers below were given out
}

// registryPage is the number of items that share a page.
const registryPage = 512

func (r *registry[T]) at(i uint32) *T { return r.pages[i/registryPage][i%registryPage] }

// len returns the number of items.
func (r *registry[T]) len() int { return int(r.next) - len(r.spare) }

// add enters an item and returns its number.
func (r *registry[T]) add(v *T) (i uint32) {
	if n := len(r.spare); n > 0 {
		i, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		if r.next%registryPage == 0 {
			r.pages = append(r.pages, new([registryPage]*T))
		}
		i = r.next
		r.next++
	}
	r.put(i, v)
	return i
}

// reserve makes room for the numbers below next, of which some are spare.
func (r *registry[T]) reserve(next uint32, spare []uint32) {
	r.next, r.spare = next, spare
	for n := uint32(0); n < next; n += registryPage {
		r.pages = append(r.pages, new([registryPage]*T))
	}
}

// put enters an item under a number that is its own already.
func (r *registry[T]) put(i uint32, v *T) { r.pages[i/registryPage][i%registryPage] = v }

func (r *registry[T]) remove(i uint32) {
	r.put(i, nil)
	r.spare = append(r.spare, i)
}

// all yields the items by their numbers. Those that come or go meanwhile may be missed.
func (r *registry[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range r.next {
			if v := r.at(i); v != nil && !yield(v) {
				return
			}
		}
	}
}
