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
// class of remotes. Where classes of remotes have port spaces of their own (Mapping.Class), the same
// external endpoint is held once in each.
//
// # Representation
//
// All entries live in one extendible hash table of 32-byte slots without pointers, so that the
// garbage collector never looks inside. A session is two entries, one under the key of each direction:
//
//	         key (16 bytes, but for the state byte)                      value (16 bytes)
//	out      internal addr, port, realm | remote addr, port, kind | st   external addr, port | idle since, sent up to
//	in       external addr, port        | remote addr, port, kind | st   internal addr, port, realm | heard, sent up to
//
// so that a packet of either direction is found by one look-up that touches one cache
// line, most of the time. Both entries hold the same state byte. What only one direction needs is kept in that
// direction's entry. A mapping is two entries as well, with the scope or the class in the remote's place.
//
// Slots are grouped in segments of at most 1,024. A directory leads from the leading bits of a key's hash
// to its segment; a segment that is three quarters full is split in two. So the table grows without ever
// being rehashed as a whole: the most that an insertion does is to move 768 entries, or to double a
// directory of four bytes a segment. Hashes are keyed (ATK-17 in CONFORMANCE.md).
//
//	bytes    32 an entry: 64 a session and 64 a mapping, at loads from 0.375 to 0.75; segments are not given back
//
// # Time
//
// The caller passes the time as a Tick: milliseconds, modulo 2^32. An entry keeps when it was last
// refreshed; its end is that time plus the idle time of its phase, so new timeouts count at once. Expire
// walks the table in steps and removes what is over. Advance keeps all times within ten days of each other, however
// long the pauses. An outbound packet does not find a session that is over; an inbound one does not where the
// remote end was silent too, else it finds it until Expire has passed.
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
//   - An internal endpoint has at most one mapping in a scope, an external one at most one in a class.
//   - A session has its mapping, and the mapping counts its sessions.
//   - A mapping without sessions and without a lifetime is removed by Leave or Expire.
//   - RSTs, inbound packets that are out of window, and packets after both FINs do not extend a session.
//
// # Sources
//
// RFC 2663, RFC 4787, RFC 5382, RFC 5508, RFC 5961, RFC 6146, RFC 6888, RFC 7857.
package mapping
