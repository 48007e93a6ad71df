package natcore

import (
	"fmt"

	"github.com/blocknat/blocknat/portblock"
)

// A shard finds its subscribers and accounts by an index of their numbers (internal/index), which leads by the keyed hash of a key to a number, and by the number to
// the item (registry, accountList). Whether the item is the one is read there, where it is needed anyway.
//
// Who has many packets of new sessions asks for the memory of all before he reads any, in three steps, so that the misses of each overlap:
//
//	for each: hash[i] = s.prefetchPlace(key)         // the entry of the index
//	for each: sub[i] = s.prefetchSub(hash[i], space) // reads the entry, asks for the subscriber
//	for each: if sub[i] != nil { sub[i].prefetchBehind(s.table) } // reads the subscriber, asks for its account and block
//	for each: sub := s.subLikely(sub[i], key)
//
// The first three change nothing, and need not be right.

// hashOf returns the hash by which a subscriber is found.
func (s *shard) hashOf(key subscriberKey) uint64 {
	return s.hash.Sum(uint64(key.addr)<<32|uint64(key.realm)<<16|uint64(key.pool), uint64(key.class)<<1)
}

// hashOfAccount returns the hash by which an account is found.
func (s *shard) hashOfAccount(key accountKey) uint64 {
	return s.hash.Sum(uint64(key.addr)<<32|uint64(key.realm)<<16, 1)
}

// prefetchPlace asks for the place where a subscriber's entry is, without reading it, and returns the hash for prefetchSub. It needs no lock.
func (s *shard) prefetchPlace(key subscriberKey) (hash uint64) {
	hash = s.hashOf(key)
	s.subs.Prefetch(hash)
	return hash
}

// prefetchSub asks for the memory of a subscriber that a new session of a space reads, without reading it, and returns the subscriber: by the entry
// alone, so that it may rarely be another one, or nil. It reads the entry, which prefetchPlace has asked for. The caller holds mu.
func (s *shard) prefetchSub(hash uint64, space portblock.Space) *subscriber {
	found := s.subs.Search(hash)
	n, ok := found.Next()
	if !ok {
		return nil
	}
	sub := s.list.at(n)
	sub.prefetch(space)
	return sub
}

// sub returns a subscriber, or nil. The caller holds mu.
func (s *shard) sub(key subscriberKey) *subscriber {
	found := s.subs.Search(s.hashOf(key))
	for {
		n, ok := found.Next()
		if !ok {
			return nil
		}
		if sub := s.list.at(n); sub.key == key {
			return sub
		}
	}
}

// subLikely is sub for who has had a subscriber from prefetchSub, be it another one or one that has left since. The caller holds mu.
func (s *shard) subLikely(sub *subscriber, key subscriberKey) *subscriber {
	if sub != nil && sub.key == key && sub.live() { // what has left is emptied, so this is it
		return sub
	}
	return s.sub(key)
}

// subOf is sub for who begins a session: it asks for all that he will read before it reads the first of it. The caller holds mu.
func (s *shard) subOf(key subscriberKey, space portblock.Space) *subscriber {
	found := s.subs.Search(s.hashOf(key))
	for {
		n, ok := found.Next()
		if !ok {
			return nil
		}
		sub := s.list.at(n)
		sub.prefetch(space)
		if sub.key == key {
			sub.prefetchBehind(s.table)
			return sub
		}
	}
}

// account returns an account, or nil. The caller holds mu.
func (s *shard) account(key accountKey) *account {
	a, _ := s.findAccount(key)
	return a
}

// findAccount returns an account and its number.
func (s *shard) findAccount(key accountKey) (a *account, n uint32) {
	found := s.accountsBy.Search(s.hashOfAccount(key))
	for {
		n, ok := found.Next()
		if !ok {
			return nil, 0
		}
		if a := s.accounts.at(n); a.key() == key {
			return a, n
		}
	}
}

// enter makes a subscriber that is paired with an external address. The caller holds mu, and gives it what it holds.
func (s *shard) enter(key subscriberKey, external uint32, a *account) *subscriber {
	sub := s.list.add()
	sub.key, sub.external = key, external
	s.known(sub, a)
	return sub
}

// known makes the subscriber at a place of the list known to its shard.
func (s *shard) known(sub *subscriber, a *account) {
	a.subscribers++
	sub.account = a
	s.subs.Insert(s.hashOf(sub.key), sub.index)
}

// leave removes a subscriber that holds nothing, and empties its memory. The caller holds mu, and grants.
func (s *shard) leave(sub *subscriber) {
	a := sub.account
	s.subs.Remove(s.hashOf(sub.key), sub.index)
	s.list.remove(sub.index)
	a.subscribers--
	s.forget(a)
}

// forget removes an account to which nothing is charged. The caller holds mu.
func (s *shard) forget(a *account) {
	if a.unused() {
		s.strike(a)
	}
}

// strike removes an account, if it is there still. The caller holds mu.
func (s *shard) strike(a *account) {
	if known, n := s.findAccount(a.key()); known == a {
		s.accountsBy.Remove(s.hashOfAccount(a.key()), n)
		s.accounts.remove(n)
	}
}

// checkFound holds the indices against the lists. The caller holds mu.
func (s *shard) checkFound() error {
	if s.subs.Len() != s.list.len() || s.accountsBy.Len() != s.accounts.len() {
		return fmt.Errorf("%d subscribers and %d accounts are found, of %d and %d", s.subs.Len(), s.accountsBy.Len(), s.list.len(), s.accounts.len())
	}
	if err := s.subs.CheckInvariants(func(n uint32) (uint64, bool) {
		if n >= s.list.next || s.list.find(n) == nil {
			return 0, false
		}
		return s.hashOf(s.list.at(n).key), true
	}); err != nil {
		return err
	}
	return s.accountsBy.CheckInvariants(func(n uint32) (uint64, bool) {
		if n >= s.accounts.next || s.accounts.at(n) == nil {
			return 0, false
		}
		return s.hashOfAccount(s.accounts.at(n).key()), true
	})
}
