// Package mapping holds the mappings and sessions of a NAT44: which external
// endpoint an internal one has, which remote endpoints it is used with, until when, and where
// their TCP connections are. It allocates no ports, rewrites no packets and knows no
// subscribers; packages portblock, rewrite and natcore do.
//
// # What a table holds
//
// A Mapping ties an internal endpoint to an external one (RFC 2663 section 2.6). A Session
// is one mapping used with one remote endpoint. With endpoint-independent mapping (RFC 4787
// section 4.1) one mapping has many sessions:
//
//	internal endpoint        external endpoint          remote endpoints
//	100.64.0.7:40000  <--->  203.0.113.5:20481  <--+--> 198.51.100.10:443   session
//	       realm 0              TCP space          +--> 198.51.100.20:443   session
//
// Mappings that depend on the remote endpoint have a scope: the remote address, or address and port, or a
// class of remotes. An internal endpoint has one mapping in each scope.
//
// # Use
//
// A Block is a set of external ports that belong to one internal address: a port block, or a deterministic set. The caller
// enters blocks, and finds the Place of an external endpoint, which is its block and its number within that:
//
//	at := mapping.Place{Block: table.AddBlock(mapping.Block{Internal: host, External: address, Ports: 256}), Offset: 17}
//	table.AddMapping(&mapping.Mapping{Space: portblock.UDP, Internal: in, External: out, At: at}, now)
//	table.Open(&mapping.Session{Space: portblock.UDP, Internal: in, External: out, Remote: remote}, scope, nil, now)
//	table.Outbound(realm, portblock.UDP, in, remote, nil, now) // gives out
//	table.Inbound(at, portblock.UDP, out, remote, nil, now)    // gives in
//
// Flows is a table of its own, for sessions whose ends may both be translated: see there.
//
// # Representation
//
// One record of 64 bytes, a cache line without pointers, serves both directions. There are three kinds:
//
//	anchor    one for each internal endpoint in use: its first mapping, and that one's first session
//	session   a further session, of any of its mappings
//	mapping   a further mapping
//
// The anchor is found under the internal endpoint alone; the others under its remote endpoint or scope as
// well. An anchor counts the others of its endpoint, so that where there are none, as for most, nothing else is looked for: a known
// flow costs one look-up, a flow of an unknown endpoint one that fails.
//
//	outbound   internal endpoint ---------------------------------------------+
//	                                                                          v
//	inbound    external endpoint -> block -> port array -> internal endpoint -> record
//	                                owner    2 bytes a port                     64 bytes
//
// An inbound packet's block knows the internal address, and an array of the block, for each port space that is
// used, the internal ports. Blocks and arrays are small and dense and stay in the caches, so each direction
// has one miss, that of the record.
//
// Records lie in segments of up to 64 groups of eight. A group has a word with a tag of seven bits for each
// record: a look-up compares eight tags at once and reads a record only where its tag agrees. A directory leads
// from the leading bits of a key's hash to its segment. A segment that is nine tenths full moves into a larger one, of 40, 56 or 64 groups, or
// splits in two. So the table grows without ever being rehashed as a whole: the most that an insertion does is to move
// 460 records, or to double a directory of 16 bytes a segment. Removal empties a slot and moves nothing. Hashes are keyed
// (ATK-17 in CONFORMANCE.md).
//
//	bytes    64 a session with its mapping, at loads from 0.64 to 0.9; 4 to 5 for tags and hints; segments are not given back
//	         2.1 a port of a block, in each port space in use; 44 a block
//	         16 a segment in the directory, and 2 pointers: all that the collector sees
//
// # Time
//
// The caller passes the time as a Tick: milliseconds, modulo 2^32. A record keeps when its session was last
// refreshed; its end is that time plus the idle time of its phase and class, so new timeouts count at once. Advance keeps all
// times within ten days of each other, however long the pauses. An outbound packet does not find a session that is over;
// an inbound one does not where the remote end was silent too, else it finds it until Expire has passed.
//
// Expire walks the table in steps and removes what is over. For each record there is a hint, a lower bound of its end in two bytes,
// and for each segment the least of its hints: segments in which nothing can be over are skipped, and of the others
// only the records that are due are read. A refresh leaves the hint alone. So a session is looked at about once in its idle
// time, however often Expire comes by.
//
// # TCP
//
// Phases follow RFC 7857 section 2, with RFC 6146 section 3.5.2.2 in the gaps; see Phase. Each end's sequence
// numbers are tracked to its highest. A segment whose sequence number lies outside a window around that
// changes nothing (RFC 5382 section 9), and a RST counts only when it is the very next segment (RFC 5961
// section 3.2): sprayed RSTs cannot shorten a session (ATK-01). An attacker who hits the window with data, one in a
// thousand tries, can then reset; the session stays 240 s in Reset, and any segment of its ends brings it back.
//
// # Invariants
//
//   - An internal endpoint has at most one mapping in a scope, a place at most one in a port space.
//   - A session has its mapping, and the mapping counts its sessions.
//   - An internal endpoint that has any record has its anchor, which counts the others.
//   - A mapping without sessions and without a lifetime goes with its last session, or is removed by Expire.
//   - RSTs, inbound packets that are out of window, and packets after both FINs do not extend a session.
//
// # Sources
//
// RFC 2663, RFC 4787, RFC 5382, RFC 5508, RFC 5961, RFC 6146, RFC 6888, RFC 7857.
package mapping
