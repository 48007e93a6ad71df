package natcore

import "iter"

// registry numbers the subscribers of a shard. A number stays while its subscriber does; a page of the list never moves.
type registry struct {
	pages [][]*subscriber
	spare []uint32
	next  uint32 // numbers below were given out
}

// registryPage is the number of subscribers that share a page.
const registryPage = 512

func (r *registry) at(i uint32) *subscriber { return r.pages[i/registryPage][i%registryPage] }

func (r *registry) add(s *subscriber) {
	if n := len(r.spare); n > 0 {
		s.index, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		if r.next%registryPage == 0 {
			r.pages = append(r.pages, make([]*subscriber, registryPage))
		}
		s.index = r.next
		r.next++
	}
	r.pages[s.index/registryPage][s.index%registryPage] = s
}

// reserve makes room for the numbers below next, of which some are spare.
func (r *registry) reserve(next uint32, spare []uint32) {
	r.next, r.spare = next, spare
	for n := uint32(0); n < next; n += registryPage {
		r.pages = append(r.pages, make([]*subscriber, registryPage))
	}
}

// put enters a subscriber under the number that it has.
func (r *registry) put(s *subscriber) { r.pages[s.index/registryPage][s.index%registryPage] = s }

func (r *registry) remove(s *subscriber) {
	r.pages[s.index/registryPage][s.index%registryPage] = nil
	r.spare = append(r.spare, s.index)
}

// all yields the subscribers by their numbers. Those that come or go meanwhile may be missed.
func (r *registry) all() iter.Seq[*subscriber] {
	return func(yield func(*subscriber) bool) {
		for i := range r.next {
			if s := r.at(i); s != nil && !yield(s) {
				return
			}
		}
	}
}

// recentSubscribers is the number of subscribers that a shard finds without its map: a packet asks several times for the same one, and
// hosts open sessions in bursts.
const recentSubscribers = 256

// recent is a subscriber with its key, so that no other one's memory is read in search of it.
type recent struct {
	key subscriberKey
	sub *subscriber
}

// recentAt returns the place for a subscriber among the recent ones.
func (s *shard) recentAt(key subscriberKey) *recent {
	return &s.recent[key.addr*0x9e3779b1>>24]
}

// sub returns a subscriber, or nil. The caller holds mu.
func (s *shard) sub(key subscriberKey) *subscriber {
	r := s.recentAt(key)
	if r.sub != nil && r.key == key {
		return r.sub
	}
	sub := s.subs[key]
	if sub != nil {
		*r = recent{key, sub}
	}
	return sub
}

// fetch reads what a new session of a subscriber reads, all at once: the memory behind it is then fetched at the same time. The caller
// holds mu.
func (s *shard) fetch(sub *subscriber) {
	s.fetched += sub.holding.Fetch() + uint64(sub.sessions) + uint64(sub.account.blocks)
	if len(sub.blocks) > 0 {
		s.table.PrefetchBlock(sub.blocks[0].id)
	}
}

// enter makes a subscriber known to its shard. The caller holds mu.
func (s *shard) enter(sub *subscriber, a *account) {
	a.subscribers++
	sub.account = a
	sub.blocks = sub.first[:0]
	s.subs[sub.key] = sub
	s.list.add(sub)
}

// leave removes a subscriber that holds nothing. The caller holds mu.
func (s *shard) leave(sub *subscriber) {
	delete(s.subs, sub.key)
	if r := s.recentAt(sub.key); r.sub == sub {
		*r = recent{}
	}
	s.list.remove(sub)
	sub.account.subscribers--
	s.forget(sub.account)
}
