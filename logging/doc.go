// Package logging holds the records of a NAT: what was allocated to whom and
// when, in a form that answers "who used 198.51.100.7 port 20481 at 02:30:10Z
// last May?" from the records alone.
//
// # What it has
//
// A Record is one event: a block of ports allocated, released or still held, and
// the events of RFC 8158 besides. A Log takes records, each as a whole or not at
// all; the engine records a block first and uses it then. Encoders append a
// record to a byte slice (JSON, CSV, CEF here; packages syslog and ipfix), and
// an Index answers from records.
//
//	engine --Append(r)--> Log: Limiter -> Fanout -+-> Writer (an Encoder to an io.Writer)
//	        <--nil or why not--                   +-> Queue -> a slow or failing Log
//	                                              +-> filesink.Sink, spool.Spool (a disk)
//	                                              +-> netsink.Sink (UDP, TCP, TLS)
//	                                              +-> ipfix.Exporter, slogsink.Log
//	                                              +-> journal.Journal: on the disk, with its own query
//	                                              +-> Index, Memory
//
// # What it has not
//
// No clock is read: times come in the records. Nothing starts by itself except
// the one goroutine of a Queue. There are no sockets and no files here: package
// netsink has the first, with goroutines and a clock, packages filesink and spool
// the second. Remote endpoints are recorded only when the operator asks for them
// (RFC 6888 REQ-12).
//
// # Intervals
//
// The records of one block make an interval, from its allocation to its release,
// both included. A release and an interim record repeat the time of the
// allocation, so each stands alone and an archive may begin in the middle. An
// interval that nothing ended is open and found like the others.
//
// A search for events near an instant misses a block that was allocated days
// before; the Index finds the interval around it. It answers with all candidates:
// none, one or several. As long as clocks differ by less than half the guard
// time, during which a released block rests, at most one subscriber fits (RFC
// 7768 section 3). Verify finds where records break that.
//
// Static mappings are intervals of a kind of their own, which neither end those of
// blocks nor are ended by them. At a port of theirs inside a block the answer is
// theirs alone (Shadowed); the servers that share an endpoint are all named.
//
// # Promises
//
// An accepted record is not lost within what its log promises: Memory, Index and
// Queue keep it while the process lives, a Writer has handed it to the io.Writer,
// a spool keeps it on a disk until a collector has it.
// A refusal is an error, and the engine then gives out no block, unless a policy
// (QueueConfig.Policy, Member.Optional) was told otherwise; then the loss is
// counted. A record may arrive twice, never half: a torn line is ended by the
// next one and reported by readers.
//
// # Sizes
//
// A Record takes 272 bytes of memory beside its text, which is shared; a line of
// JSON about 340 bytes, a line of syslog 370, a data record of IPFIX 33 with all
// its elements and 21 with the mandatory ones.
//
// # References
//
// RFC 8158 (events and elements), RFC 7768 (blocks and their logs), RFC 6888
// (REQ-11 to REQ-14), RFC 7422 section 3 (configuration epochs), RFC 6302 (what
// servers log), RFC 6269 section 12 (traceability), RFC 3339, RFC 4180, RFC 8259.
package logging
