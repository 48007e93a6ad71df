// Package natcore is a NAT44 engine: it translates IPv4 packets in place and wires packages alloc
// (external addresses), portblock (their ports), mapping (mappings and sessions), rewrite
// (bytes), flowmask (choice by masked flows) and logging (records). It decides little itself.
//
// # What it does
//
// TCP, UDP, UDP-Lite and ICMP queries, both directions, with endpoint-independent, address-dependent or
// address-and-port-dependent mapping and, apart from it, filtering (RFC 4787, RFC 5382, RFC 5508); paired pooling
// (RFC 6888 REQ-2); ports that mappings share which depend on the remote endpoint, by choice (RFC 7857 section 3); port blocks, so that one record covers a block of ports (RFC 7768), or deterministic ports, which
// need none (RFC 7422), or both; hairpinning; ICMP errors
// in both directions; fragments in any order; explicit mappings; rules that choose pools, exempt or refuse; several realms
// with the same internal addresses; classes of remotes as port spaces of their own.
//
// What stands in the configuration (Config.Static, Peerings, Protocols): port forwarding, 1:1 addresses and ranges, several
// servers behind one endpoint, identity; sources translated too (twice NAT, RFC 2663 section 4.3), between realms as well; protocols
// without ports, by address alone.
//
// Running it: quotas and rates as a tree of realm, subscriber and protocol, with reserves (Config.Quotas, SetQuota) and what-if
// answers (Explain); events as records (Config.Events); change of the live configuration (Reconfigure, Plan,
// EndDisallowed); snapshots and restarts (Stop, AppendSnapshot, Restore, HoldAfterRestart); an end that leaves no block
// without its release record (Close).
//
// # What it does not
//
// It opens no sockets, starts no goroutines, reads no clock and logs nothing but records of
// allocation, through the logging.Log that the caller gives it. It does not route, does not touch the TTL, and sends nothing: ICMP errors of its own
// are built for the caller to send (Config.ICMP, Reject). IPv6, and protocols that are not chosen, are dropped, each under a named reason.
//
// # Use
//
//	packet from the internal side ---> Outbound ---> Forward: send it out
//	                                             \--> Hairpin: send it back inside
//	packet from the external side ---> Inbound  ---> Forward: send it inside (Packet.Realm)
//	                                             \--> Drop, with a Reason; the bytes are as they came
//	every second                  ---> Expire
//	after each batch              ---> Drain: fragments that waited, ICMP errors to send
//	a packet that is too large, or whose TTL is over ---> Reject
//
// Process takes a batch of both directions, locks each shard about once for it, and overlaps what its packets wait for: 64 packets at a time
// are worth it. Packets of one subscriber keep their order. Outbound and Inbound are for one packet of realm 0.
//
// # State
//
//	Engine -- pool ---- alloc.Pool             which addresses have room
//	   |        +------ portblock.Address      blocks of an address: free, heating, cooling
//	   |        +------ owners                 block -> shard, read without a lock
//	   +----- shard --- mapping.Table          mappings and sessions
//	   |        +------ subscriber             portblock.Holding: blocks and ports
//	   +----- statics - index                  static mappings and peerings, read without a lock
//	            +------ mapping.Flows          their sessions, and those of protocols without ports
//
// A subscriber is an internal address of a realm. A keyed hash of both puts it into a shard; all that it
// holds is there, behind one lock. The number of shards changes speed, never what a subscriber can use.
//
// # What is static
//
// A packet of a known dynamic session goes its way first. Else, where anything is static, this is asked in turn: is it of a static session;
// does a rule exempt or refuse certain remotes (its Remote is set); does a Peering cover it; has its source a Static that serves both ways; is its
// destination a static endpoint while no rule translates its source. All other packets are dynamic. What comes to an external address is
// asked for static sessions and endpoints first. So a hairpinning packet may be dynamic at one end and static at the other.
//
// The sessions have the idle times of others, those of Timeouts.Ports too; packets of both ends keep them alive but for those of a remote end to a session that the internal one
// began. One that a stranger began and nobody answers ends after 30 s. Their number is bounded apart from that of dynamic ones (Limits.StaticSessions,
// Static.MaxSessions), so that neither kind takes room from the other, and for each host, which is charged with those that it begins as with its
// dynamic ones, and apart from these with those that others begin with it (Quotas, Limits.InboundPerSubscriber). A port of Sources serves one first end in each realm, and rests for 120 s.
//
// A session without ports (Config.Protocols) is recorded when it begins and when it ends, with its remote address: nothing else tells hosts
// apart that share an external address. Sessions of static mappings and peerings are recorded as dynamic ones are (Events.Sessions), with the name of what
// translates them. A static mapping itself has: StaticAdded before it takes
// effect, StaticRemoved when nothing is translated by it any more, one for each external address and each server, inbound-only ones
// too. The record of a block names all of its ports, also a static one among them, which the block's subscriber never gets: the query
// (logging.Index, logging/journal) answers such a port with the static mapping, so that the records alone tell whose it was. Of
// several servers it names all. A mapping that the log refuses is not added (LogPolicy). The end of one that the log refuses is offered again
// by Expire with the time that it had. Static ports outside PoolConfig.Blocks.Ports (up to 1023, by default) are in no block.
//
// # Bounds and changes
//
// Limits and PoolConfig.Blocks bound each subscriber in each pool, Quotas what an internal address and a realm have over all
// pools and by what is static. A limit refuses and never evicts (RFC 6888 REQ-11). A token bucket is one word. An account takes about 110 bytes, and 72 more where it has
// sessions of what is static.
//
//	               new session                              new mapping
//	Limits.Sessions, SessionsPerSubscriber        quota: protocol, subscriber, rate
//	quota: protocol, subscriber, rate             realm: protocol, all, rate
//	realm: protocol, all, rate                    map's ports, blocks at hand, else a block:
//	                                              Blocks.MaxBlocks, quota, realm, pool
//	                                              else, with PoolConfig.Overload, a port in use
//
//	new session of what is static, of who begins it    and with whom others begin it
//	Limits.SessionsPerSubscriber                       Limits.InboundPerSubscriber
//	quota: protocol, subscriber, rate                  quota: InboundSessions, InboundRate, those of sessions by CountInbound
//	realm: protocol, all, rate                         realm: the same; then Limits.StaticSessions, Static.MaxSessions
//
// A configuration changes all or nothing, while all packets wait; sessions go on that it still allows, and so do, until they end, those that it
// does not. A snapshot has all but fragments, the counters of Stats, and events that are not written. Sessions of
// what is static go on after Restore where the configuration has what makes them, with their source endpoints, rests and affinities.
//
// # Invariants
//
//   - Nothing dynamic holds a static external port, nor a port whose answers a session without ports would get.
//   - An external endpoint belongs to at most one internal endpoint at a time (in each class of remotes, and with
//     PoolConfig.Overload towards each remote endpoint that a mapping serves; to one subscriber even then), and rests for
//     its hold-down, its block for its guard time, before it belongs to another.
//   - No port is used before the record of its block is accepted by the log; a release that the log refuses
//     leaves the block with its subscriber until the record is accepted. (LogPolicy CountLoss counts instead.)
//   - A refusal changes no state and has a reason; nothing that lives is evicted for something new (RFC 6888 REQ-11).
//   - Checksums that were right stay right, wrong ones stay wrong.
//   - Two datagrams that leave and may be fragmented have different identifications between the same addresses, for
//     65,536 datagrams (RFC 6864), and go on after Restore; 256 KiB of counters serve for that. ICMP errors that wait for Drain take up to 1 MiB.
//   - A packet from outside makes no state, but for a fragment that waits and for sessions with a static endpoint: it is of a
//     known session, or passes by a mapping's filtering, or is dropped. The internal host's answer makes the session.
//   - A packet of a known session allocates no memory and calls no interface.
//
// # Sources
//
// RFC 1812, RFC 2663, RFC 3022, RFC 4787, RFC 5382, RFC 5461, RFC 5508, RFC 5927, RFC 6056, RFC 6864, RFC 6888, RFC 7422,
// RFC 7768, RFC 7857, RFC 8158.
package natcore
