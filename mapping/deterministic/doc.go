// Package deterministic maps subscribers to external addresses and ports by
// formula, in both directions, so that most subscribers need no log at all:
// given an internal address, the external address and ports follow; given an
// external address, port and time, the subscriber follows (RFC 7422).
//
// # What it holds
//
//   - Map: internal prefixes or ranges of any sizes, with holes, onto any mix of
//     external addresses. Forward gives the Ports of a subscriber; Reverse gives
//     the subscriber of a port, or says why there is none: ErrReserved,
//     ErrDynamic, ErrUnused (ErrRemainder or ErrEmptySlot), ErrNotInPool. A subscriber is an IPv4 address or an
//     IPv6 prefix of any length, so NAT64 and DS-Lite use the same maps.
//   - Set: up to thousands of maps, keyed by realm, none of which overlap.
//   - Rule: the Basic Mapping Rule of MAP-E and MAP-T (RFC 7597, RFC 7599).
//   - Static: endpoints one to one, for static NAT and forwarding of port ranges.
//   - Epoch, History, Prove: versions of a map, who had what at a time, and
//     whether a change lets a port change owner before it has rested.
//
// It keeps no session and no port in use: which of its ports a subscriber uses
// is the business of the engine, and so are overflow blocks and their log. It
// translates no packet.
//
// # The formula
//
// Let R be the reserved ports of an external address; the others, U in number,
// have ranks 0 to U-1 in rising order. Let C be the sharing ratio, D the size of
// the dynamic range in sets, and P = floor(U / (C+D)) the ports of a subscriber.
// Subscriber number i has slot s = i mod C of external address e = i div C, and
//
//	Sequential   the ranks s*P .. s*P + P-1
//	Staggered    the ranks n*(C+D) + s, n = 0 .. P-1
//	RoundRobin   the ranks s*q .. s*q + q-1 on each of G addresses, q = P div G
//	Interlaced   the ranks n*(C+D) + s on address (column + n) mod G
//	Crypto       the ports E(K, port of rank s*P + n) (RFC 6431 section 2.2)
//	Random       Sequential, after a keyed permutation of all slots
//	MAP          the ports whose PSID bits are s (RFC 7597 section 5.1)
//	GMA          the ports p with (p div M) mod (C+D) = s (RFC 7597 appendix B)
//	Mask         the ports p with p AND PRM = s spread over PRM (RFC 6431 section 2.1)
//
// RoundRobin and Interlaced are not paired (RFC 6888 REQ-2). Staggered is the
// disjoint reading of the RFC's A=1, whose printed formula gives one port to two
// subscribers.
//
// # A drawing
//
// The example of RFC 7422 section 2.3: a /28 with 14 hosts (its boundary
// addresses do not count), one external address, 1024 reserved ports, D = 2.
// U = 64512, C = 14, P = floor(64512/16) = 4032.
//
//	port  0      1024   5056   9088        53440   57472             65535
//	      |--R---|--.1--|--.2--|--.3-- ... |--.14--|---- dynamic ----|
//	rank         0      4032   8064        52416   56448             64511
//
// 192.0.2.1:2001 has rank 977, 977 div 4032 = 0: it is 198.51.100.1.
// 192.0.2.1:58204 has rank 57180, which is not below 14*4032: ErrDynamic, the log
// knows. 192.0.2.1:80 is in R: ErrReserved. With M = 5040 a subscriber may hold
// floor((5040-4032)/100) = 10 dynamic blocks of 100 ports.
//
// # Nothing is wasted, everything is counted
//
// What P*(C+D) leaves of U goes to the dynamic range if there is one; without
// one the first slots of each address get one port more. Only fixed sizes
// (PortsPerSubscriber) and bit layouts (MAP, GMA, Mask) can leave ports to
// nobody. Config.Remainder chooses otherwise. Stats counts every port once.
//
// # Rules that hold
//
//  1. For every subscriber and each of its ports, Reverse gives that subscriber;
//     for every other port it gives another one or an error.
//  2. The sets of two subscribers share no (address, port).
//  3. A map never changes. New of Map.Config gives an equal one, and so does the
//     archived record. So does the log line with the key, which it lacks; it may
//     spell spans otherwise.
//  4. Port 0 is nobody's. TCP, UDP and ICMP identifiers have the same sets.
//
// # Secrets
//
// Key makes Crypto and Random hard to guess from outside. Whoever has it can
// reverse ports without the log; the archive holds it, the log line does not.
// Random hides the order of subscribers but is no cipher. All other algorithms
// let anybody who knows the parameters tell subscribers apart by port: choose
// ports inside a set at random (RFC 7422 section 2, step 3; RFC 6056).
//
// # Cost
//
// A map takes about 1.2 KB, however many subscribers it has, plus 24 bytes for each
// run of addresses, 768 bytes for a Crypto key (for each address with
// KeyPerAddress). Forward and Reverse do two binary searches over runs of
// addresses and one or two divisions; they allocate nothing, refusals included.
//
// # Standards
//
// RFC 7422 (deterministic mapping), RFC 6431 (port sets by mask and by key), RFC
// 7597 sections 5, 6, 8 and appendices A and B (MAP), RFC 7599 (MAP-T), RFC 6052
// section 2.2 (embedded addresses), RFC 6888 REQ-2 and REQ-8 (paired pooling,
// hold-down).
package deterministic
