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
// enters blocks, chooses ports of them, and says of which block a mapping's port is:
//
//	block := table.AddBlock(mapping.Block{Internal: host, External: address, Ports: 256})
//	table.AddMapping(&mapping.Mapping{Space: portblock.UDP, Internal: in, External: out, Block: block}, now)
//	table.Open(&mapping.Session{Space: portblock.UDP, Internal: in, External: out, Remote: remote}, scope, nil, now)
//	table.Outbound(realm, portblock.UDP, in, remote, nil, now)      // gives out
//	table.Inbound(portblock.UDP, out, class, remote, nil, now)      // gives in
//
// Flows is a table of its own, for sessions whose ends may both be translated: see there.
//
// # Representation
//
// A session is two halves of 32 bytes, without pointers, each in a hash table of its own, its side: packets that leave find the outbound
// half by the internal endpoint, packets that arrive the inbound half by the external one, and each half tells what its endpoint
// becomes. So each direction costs one look-up and one cache line:
//
//	outbound   internal endpoint -> | internal  remote  external | last packet out, next sequence number |
//	inbound    external endpoint -> | external  remote  internal | last packet in,  next sequence number |
//
// Both know the phase of the connection, which changes together, and seldom. There are three kinds of halves on each side:
//
//	anchor    one for each endpoint in use: its first mapping, and that one's first session
//	session   a further session, of any of its mappings
//	mapping   a further mapping
//
// The anchor is found under its endpoint alone; the others under the remote endpoint or scope as
// well. A flag of the anchor says whether there are any, and a small table beside it how many, so that where there are none, as for most,
// nothing else is looked for. On the inbound side several mappings have one external endpoint where they depend on different remote
// ones (port overloading, RFC 4787 section 4.1).
//
// Halves lie in segments of 640 slots, in groups of four: two cache lines. A directory leads
// from the leading bits of a key's hash to its segment; other bits choose the group, of which any slot may hold the half. A segment that is
// 90 % full takes a new one beside it and shares with that and its neighbours (grow.go), so the table grows without ever being rehashed as a
// whole: the most that an insertion does is to move the halves of a few segments of each side, or to double a directory of 32 to 64
// bytes a segment. Removal moves a half or two. Hashes are keyed (ATK-17 in CONFORMANCE.md). A batch asks for the memory of all its packets
// before it reads any (PrefetchOutbound).
//
//	bytes    64 a session with its mapping, at loads from 0.6 to 0.9; 6 for its block and its hint; segments are not given back
//	         32 an endpoint that has more than one session or mapping, or an explicit lifetime; 32 a block
//	         32 to 64 a segment in the directory, in pointers: with three of the segment all that the collector sees
//
// # Time
//
// The caller passes the time as a Tick: milliseconds, modulo 2^32. A session keeps when it was last
// refreshed; its end is that time plus the idle time of its phase and class, so new timeouts count at once. Advance keeps all
// times within ten days of each other, however long the pauses. An outbound packet does not find a session that is over;
// an inbound one does not where the remote end was silent too, else it finds it until Expire has passed.
//
// Expire walks the table in steps and removes what is over. For each outbound half there is a hint, a lower bound of its end in two bytes,
// and for each segment the least of its hints: segments in which nothing can be over are skipped, and of the others
// only the halves that are due are read. A refresh leaves the hint alone. So a session is looked at about once in its idle
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
//   - An internal endpoint has at most one mapping in a scope, and so has an external one in a port space.
//   - A session has its mapping, and the mapping counts its sessions.
//   - An endpoint that has any half has its anchor, which knows of the others.
//   - A session has one half on each side, in the same state.
//   - A mapping without sessions and without a lifetime goes with its last session, or is removed by Expire.
//   - RSTs, inbound packets that are out of window, and packets after both FINs do not extend a session.
//
// # Sources
//
// RFC 2663, RFC 4787, RFC 5382, RFC 5508, RFC 5961, RFC 6146, RFC 6888, RFC 7857.
package mapping
