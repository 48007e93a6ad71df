// Package alloc decides which external addresses of a NAT are open for another
// subscriber.
//
// A [Pool] is made of any mix of prefixes, ranges and single addresses, IPv4
// and IPv6, with exclusions. [Pool.Take] gives a share of an open address as a
// [Lease], and [Pool.Return] takes it back. Each address serves as many
// subscribers as [Config.Shares] says, and none while the owner of its ports
// reports that it has no room ([Pool.SetRoom]).
//
// # What it is not
//
// It knows no ports, no subscribers, no time and no log. Which blocks an
// address has left, and how long they rest, its owner knows and tells through
// SetRoom; who holds a lease, the holder knows. It starts no goroutine, reads
// no clock and does no input or output.
//
// # Positions
//
// Every address has a position, a uint32 that it keeps for the pool's life.
// Ranges get positions in the order in which they are given, further ones by
// [Pool.Add] after them. Removed and excluded addresses keep theirs, so that a
// position never leads to another address. There are 2^32 positions: of a wider
// IPv6 prefix the first addresses serve, as [Config.Ranges] tells.
//
//	192.0.2.0/30          203.0.113.9-203.0.113.11   2001:db8::/126
//	+----+----+----+----+ +----+----+----+           +----+----+----+----+
//	|  0 |  1 |  2 |  3 | |  4 |  5 |  6 |           |  7 |  8 |  9 | 10 |
//	+----+----+----+----+ +----+----+----+           +----+----+----+----+
//
// # States
//
// An address is open when it belongs to the pool and nothing closes it. How
// many leases it has, and what closes it, are independent of one another:
//
//	               Take             Take (last share)
//	+-----------+ ------> +------+ ------------------> +------+
//	|   whole   |         | used |                     | full |  never open
//	+-----------+ <------ +------+ <------------------ +------+
//	  |       ^    Return              Return
//	  |       |
//	  |       | Add                 closed as long as any of these holds:
//	  v       |                       no room    SetRoom(false) .. SetRoom(true)
//	+-----------+                     drained    Drain .......... Undrain
//	| no member |                     reserved   Reserve ........ Unreserve
//	+-----------+                                (only a whole one)
//
//	Remove and Exclude lead from whole to no member, and nowhere else from.
//
// # Representation
//
// Sets of positions say what is open (free), what has room, what has no lease
// but is not open (idle), and what has no lease and is open (fresh; where Shares
// is 1 it is the same as free and not kept). What is whole is idle or fresh; no
// set says it again, so that where Shares is 1 a take or a return changes one
// set, free, as long as nothing closes the address.
//
// At rest a set is a roaring bitmap; where members come and go, pages of 8192
// positions are plain words. A page whose positions are all members, or none,
// is only a count. A Fenwick tree over the counts finds the member of a given rank, and
// the next member, in a number of steps that grows with the logarithm of the
// pool, at any fill. Random choice is exactly uniform for that reason: it draws
// a rank, not an address.
//
// Where addresses have several shares, those in use hang in lists by their
// load, so that a least loaded one is found without a look at the others.
//
// A lease is live if the pool's table holds its generation at its place. Double,
// foreign and stale returns are detected by that and change nothing.
//
// # Invariants
//
//   - Take gives no address that is full, without room, reserved, drained,
//     excluded or removed, and it gives one whenever one is open.
//   - An address has never more live leases than shares.
//   - A refusal changes no state but the counts of refusals.
//   - A position stands for one address for good.
//   - free is what the states say. idle and fresh have no member in common and
//     hold the addresses without a lease, between them. Counts are those of
//     the sets. CheckInvariants recomputes all of it.
//
// # Cost
//
//	a live lease             8 bytes in the pool, 16 with its holder
//	an address in use        about 40 bytes more where Shares is not 1
//	8192 neighbouring        14 bytes a set; 1 KiB a set while some but not all
//	positions                of them are members and change
//	a range                  about 80 bytes
//
// There are three sets where Shares is 1, else four. A pool of 2^24 free
// addresses takes about 100 KiB, one of 2^32 positions 22 MiB (29 MiB with
// shares). Nothing is allocated when an address is taken, returned or refused,
// except when tables grow or a page opens.
//
// # RFCs
//
//   - RFC 4787 REQ-2, RFC 6888 REQ-2: paired pooling. A subscriber keeps its
//     lease; [Pool.Spill] is refused unless [Config.Spill] allows it.
//   - RFC 6888 REQ-3: pools of any size that need not be contiguous.
//   - RFC 6888 REQ-10: counts, states and refusals can be listed.
//   - RFC 6888 REQ-11: a refusal takes nothing from anybody, also at 100 %.
//   - RFC 6056, RFC 6888 REQ-15: choices that cannot be guessed, by a ChaCha8
//     stream and a keyed hash, both seeded by the caller.
//   - RFC 7768 section 2: further blocks on the same address; see SetRoom.
package alloc
