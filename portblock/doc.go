// Package portblock gives subscribers external ports by blocks: fairly,
// traceably, at any fill.
//
// A [Layout] is a checked [Config]: how the ports of an address are cut into
// blocks, and by which rules they are given out. An [Address] keeps the blocks
// of ONE external address. A [Holding] keeps the blocks and ports of ONE
// subscriber. [Range] and [Set] are values that name ports.
//
// It does not choose addresses, keep sessions, write logs, or run anything by
// itself: there is no goroutine, timer or clock here. Every call that depends
// on time takes now; randomness comes in as a key (Config.OrderKey) and as a
// source (the rnd of [Holding.TakePort]). Layouts, Sets, Reserved sets and
// Ciphers are immutable and safe for concurrent use; an Address and a Holding
// are plain data, and their user locks them.
//
// # The life of a block
//
//	               Address.TakeBlock
//	       +----+ ------------------> +---------+
//	       |free|                     | heating | ports are taken from it
//	       +----+ <------------------ +---------+
//	          ^   Address.CancelBlock      |
//	          |   (no port was used)       | Address.CoolBlock
//	guard time|                            v
//	  is over |                       +---------+
//	          +---------------------- | cooling | the owner is kept for tracing
//	                                  +---------+
//
// Between TakeBlock and CoolBlock the block is in a Holding (AddBlock,
// RemoveBlock). There it is open, or it retires: no new port is taken from it
// and its live ports live on, because Config.ActiveTimeout has passed, because
// it is spent (Config.NoRefill), or because it was told to (RetireBlock).
// AppendIdle lists the blocks that can leave: without a live port, and retiring
// or idle. A block that no address can use (reserved as a whole, outside the
// range) is in a fourth state, unusable.
//
// Nothing is freed by a timer: a cooling block is free, and a resting port can
// be taken, when somebody looks at it at or after its time. Both wait in queues
// in the order of their time, so looking costs one comparison, and one step for
// each that has become free. Time is counted in milliseconds. A now that runs
// backwards is taken as the latest one seen.
//
// # The life of a port
//
// Each block has the port spaces TCP, UDP and ICMP (identifiers) with bits of
// their own. A port is free, live, resting (Config.HoldDown after its return,
// RFC 6888 REQ-8) or reserved. TakePort draws it in this order:
//
//  1. Candidates are the free ports of all open blocks but the one with the
//     oldest packet, unless no other has room (RFC 7768 section 2); so blocks
//     come free. [Holding.Touch] tells of packets.
//  2. Among them: the internal port itself (Config.Preserve), then what keeps
//     parity and class, as far as these are asked for.
//  3. Among these: uniformly, or the lowest.
//
// A refusal changes nothing and says what is missing: another block
// (ErrNeedBlock), a higher maximum (ErrMaxBlocks, ErrMaxPorts), time
// (ErrResting). Explain adds the counts, and [Holding.MayTakePort] only asks.
//
// A live port may serve more than once where its user tells the uses apart by the
// remote endpoint (port overloading, RFC 7857 section 3): [Holding.SharePort] chooses
// one by the same policy.
//
// # Theory
//
// Free ports are bits. A uniform choice among n free ports is a number below n
// (Lemire's method, without bias) and the selection of that set bit: popcounts
// find the word, a branch-free selection finds the bit in it. So the cost does
// not depend on the fill, and the last free port is found as the first one is:
// no tries, no scan, and no bias towards the port after a run of used ones, as
// in RFC 6056 algorithm 1. Blocks are drawn in the same way, with SipHash-2-4
// of address and count as the random number: the order is unpredictable
// without the key and repeatable with it.
//
// The cost of TakePort grows with the number of blocks held, by one step each.
//
// # Schemes
//
// Blocks need not be contiguous. All schemes are a pair of functions (port to
// block and offset, and back), so that all else is the same:
//
//	Contiguous  naturally aligned runs; 16 to 4096 ports; a first block may be
//	            of another size than further ones
//	PSID        RFC 7597 section 5.1: [A: a bits][PSID: k bits][j: m bits], a > 0
//	            leaves out A = 0
//	MaskValue   RFC 6431 section 2.1: p AND mask = value, any mask
//	Crypto      RFC 6431 section 2.2: E(K, x) for runs of x (AES Feistel network)
//	GMA         RFC 7597 appendix B: R*M*i + M*PSID + j, R and M of any size
//
// RFC 7768 section 5 warns that scattered sets make logs harder to read where
// these have to protect somebody; [Layout.SetOf] says what a record has to
// name. RFC 6431 advises a key of its own for each address; one Layout has one
// key, so that takes one Layout an address (256 KiB each).
//
// # Invariants
//
//   - A (address, space, port) is live in at most one Holding, if each block is
//     added to the Holding of the owner it was taken for.
//   - A returned port is not taken again before the hold-down, nor a cooled
//     block before the guard time, which is never shorter; both also after
//     AppendSnapshot and Restore. Exceptions are asked for: RestOldest,
//     MaxResting.
//   - If an allowed port or block is free it is found.
//   - A refused call changes nothing but the clock; a lease that is over, of
//     another address or pool, or zero is refused.
//   - Nothing is allocated on the heap for a port, nor for a block but for the
//     growth of slices.
//
// CheckInvariants of both types looks at all that can be seen from inside.
//
// # Bytes
//
//	Address, 256-port blocks        240 and 24 for each block that heats or cools; 512 more from the ninth on
//	Address, 16-port blocks         700 and 24; 8 KiB more from the ninth on (two bytes a block position)
//	Holding                         104; 128 more where ports rest
//	held block of 256 ports         232: two bitmaps in three spaces 192, record 40
//	RoomyHolding                    336: a Holding with one held block
//	resting port                    8, in a ring that doubles
//	Layout                          a few KiB; Crypto 256 KiB more
//	Reserved                        8 a range, and 5 bits a block position
//	Range 8, Block 12, Port 8, Set 32
//
// With two block sizes each held block takes the bitmaps of the larger one.
//
// # Deviations
//
// RFC 4787 REQ-3a (keep the class 0-1023) holds only where Config.Ports has
// such ports; by default it has none. RFC 6888 REQ-13 (fill a block before
// taking the next) and RFC 7768 section 2 (leave out the block that is idle
// longest) agree here: another block is asked for only when none has room.
//
// The guard time is variant 1 of RFC 7768 section 2: mappings have timers of
// their own, and the guard time runs after the last one has ended.
//
// RFCs: 4787 (REQ-1 to REQ-4), 6056, 6431, 6888 (REQ-4, REQ-8, REQ-13 to
// REQ-15), 7597, 7768, 7857 (sections 8 and 9).
package portblock
