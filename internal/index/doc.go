// Package index has a hash table that finds numbers by the hashes of their keys: what items are called by that lie elsewhere, in a list.
// It keeps no keys. A search yields the numbers whose keys have the hash that is searched for, in 32 of its bits, and the caller looks at the items to
// see whose key it is; with a hash that spreads, the first one is it but for one search in thousands.
//
//	for s := x.Search(h); ; {
//		n, ok := s.Next()
//		if !ok || list[n].key == key {
//			return list[n], ok
//		}
//	}
//
// An entry is 8 bytes, eight of them a cache line, and there are no pointers but one for some hundreds of entries, so that the collector has
// nothing to follow:
//
//	 63             32 31              0
//	+-----------------+----------------+
//	| bits of a hash  |  1 + number    |    0 where the slot is free
//	+-----------------+----------------+
//
// The table is an extendible one. The leading bits of a hash lead through a directory to a segment, the trailing ones of the 32 to a slot in it, from where
// a search goes on to the next free one:
//
//	directory  00 --> segment of 2^2 shares     A segment begins small and doubles. At 1024 slots, three quarters of which are in use, it
//	           01 --> segment of 2^2 shares     splits in two; where its share is that of one entry of the directory, the
//	           10 \                             directory doubles first.
//	           11 --> segment of 2^1 shares
//
// So no insertion moves more than 768 entries, or copies more than a directory of 8 bytes for some 500 of them: a million entries have one
// of 16 KiB. An entry takes 11 to 22 bytes. Segments stay when their entries go.
//
// Keys that others choose need a keyed hash (internal/keyed): who can aim many of them at one hash makes each search for it a long one. The table
// grows on even so, and ends no program.
//
// An Index is not for concurrent use, but for Prefetch, which anybody may call at any time.
package index
