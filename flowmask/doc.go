// Package flowmask selects things by masked flow keys: any bits, not only prefixes, of a
// flow's realm, addresses, protocol and ports. It is the scheme of FreeBSD bug 219316 (flow
// tables of ipfw with a wildcard mask), as a library: it picks NAT instances, pools, port
// classes, shards or servers, without a state per flow, the same for the same flow at any
// time.
//
// # The idea
//
// A provider has 10,000 clients in 100.64.0.0/10 and 128 external addresses. Three things
// are wanted at once:
//
//   - a client meets a given service from the same external address, always;
//   - little is logged, since who used which address follows from the configuration;
//   - one external port serves several connections at once, as long as they
//     go to different places, for otherwise 128 addresses run out of ports.
//
// So a packet that leaves is looked at through a mask. Where the mask has a 1 the packet's
// bit counts, where it has a 0 the bit is ignored:
//
//	               client            protocol     server          server's port
//	packet         100.64.9.133      17 (UDP)     198.51.103.77   443
//	mask           255.192.0.127     1            0.0.15.0        3
//	               ------------- AND ----- AND ---------- AND --------
//	masked key     100.64.0.5        1            0.0.7.0         3
//	                        |        |                |           |
//	                 which of 128  TCP or UDP   which of 16    which of 4
//	                   addresses    (2 ways)      classes of    classes of
//	                        |        |            servers       ports
//	                        +--------+-------+--------+-----------+
//	                                         |
//	                one of 128 x 2 x 16 x 4 = 16,384 NAT instances
//	                each has ONE external address and ALL of its ports
//
// Each instance is a NAT with a port space of its own. Instances that share an external
// address never talk to the same server and port by the same protocol, because then they
// would be one instance. So both may use external port 5000 at once, and the answers still
// differ in where they come from:
//
//	client A -> 198.51.103.77:443     instance 1 \
//	                                              } 192.0.2.5:5000   both at once
//	client B -> 203.0.113.9:80        instance 2 /
//
//	answer from 198.51.103.77:443  to 192.0.2.5:5000   can only be A's
//	answer from 203.0.113.9:80     to 192.0.2.5:5000   can only be B's
//
// An answer shows no internal address. But it shows everything else: its source is what was
// the destination, and the external address it comes to tells which of the 128 groups of
// clients is meant. So the mask for answers is the mask for requests turned around:
//
//	outbound   src-ip           proto   dst-ip     dst-port
//	mask       255.192.0.127    1       0.0.15.0   3
//	              |             |         |          |
//	              |  external   |         |          |
//	              |  address    |         |          |
//	              |  of the     |         |          |
//	              |  instance   |         |          |
//	              v             v         v          v
//	mask       255.255.255.255  1       0.0.15.0   3
//	inbound    dst-ip           proto   src-ip     src-port
//
// Mask.Reply makes this mask and ReplyTable the table; they say, with typed errors, when
// answers could not be told apart.
//
// # What is in it
//
//	Flow, Fields, Mask, Key    values: a flow, a set of fields, bits, what is left
//	Table                      masked key -> value, exact match
//	Index                      selected bits -> 0 .. 2^n-1, for a slice as table
//	Classifier                 rules with several masks, the first match wins
//	Spread                     masked key -> one of n named instances with weights
//	Hasher                     keyed hash of flows and keys, symmetric on request
//	ParseIPFW                  ipfw lines that describe tables
//
// It holds no mappings, allocates no ports and knows no time. A type is safe for concurrent
// use where it says so. Nothing here starts goroutines, reads clocks or keeps state between
// values; randomness comes in as keys.
//
// # Fields that a flow lacks
//
// A port of a flow is present, missing or unknown.
//
//	            example                          under a mask that selects its bits
//	present     TCP, UDP                         its bits
//	missing     ICMP, GRE (Flow.Without)         reads as 0, as in ipfw
//	unknown     a fragment but the first         no key: no match, in no table, and a
//	            (Flow.WithUnknown)               Classifier does not look past such a rule
//
// So ICMP has an instance, that of port class 0, and its answers have the same one. A
// fragment gets either the answer that its first fragment got or none; to follow the first
// fragment is the caller's part. A mask that selects no bit of a port does not mind. A flow
// of the other address family has no key under a mask with address fields. A flow with one
// address only has the unspecified address on the other side. The zero Flow, of two
// families or of no address, has no key at all.
//
// The realm is one more field, before the others, which ipfw does not have: tables that do
// not name it do not look at it.
//
// # Order, text, families
//
// Fields have one order: realm, src-ip, proto, src-port, dst-ip, dst-port, in text and in
// an Index, whatever the order in which a type names them: so it is in ipfw. Masks and keys
// are written as there, comma-separated, numbers decimal. A mask with address fields is for
// IPv4 or for IPv6; a table has one mask, thus IPv4 and IPv6 take a table each or a
// Classifier.
//
// # Invariants
//
//   - Two flows have equal keys under a mask exactly if they agree in every selected bit
//     (a missing port counts as 0); Table, Index and Classifier agree with it.
//   - Index.Of(Index.Flow(i)) is i, and every i below Len occurs.
//   - If ReplyTable returns a table, every answer to a flow selects in it the value that
//     the flow selected in the outbound one.
//   - A change of a Spread's instances moves only keys to those that gain and from those that lose.
//   - ParseMask reads what Mask.String wrote, and the other way around.
//
// # Which look-up
//
// An Index with a slice is the fastest and takes 2^n values, used or not. A Table takes an
// entry for what is in use, and misses for what is not; its mask may have any number of
// bits. A Classifier costs one table probe per distinct mask.
//
//	bytes      Flow 40, Key 40, Mask 48, Hasher 80
//	           Table: 40 and the value per entry, and 11 to 22 of slots
//	           Index: 328, and 16 per step over the first eight; the slice is the caller's
//	           Spread: 32 and the name per instance, 2 KiB in all
//
// # Sources
//
// FreeBSD bug 219316 and ipfw(8); RFC 2663 (words), RFC 6888 and RFC 7422 (deterministic
// assignment, small logs); Black et al., UMAC, 1999 (NH); Thaler and Ravishankar, 1998, and
// Schindelhauer and Schomaker, 2005 (rendezvous hashing and weights).
package flowmask
