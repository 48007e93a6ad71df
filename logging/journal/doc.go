// Package journal keeps the records of a NAT in a directory, so that they survive
// the process, the power and the years, and answers who used an external
// address and port at an instant from hundreds of millions of them.
//
// # What it has
//
// A Journal is a logging.Log: the engine's records go in, each of any kind, as a
// whole or not at all. A Reader answers from the directories of one or several
// journals: who held a port (Who), what a subscriber held (Subscriber), all
// records in the order of their acceptance (Records), and where intervals contradict each
// other (Verify). Its answers are those of a logging.Index over the same
// records, without holding them in memory.
//
// # What it has not
//
// No dependencies beyond the standard library, no server, no replication: copy
// segments elsewhere, they never change. It does not encrypt: records are
// personal data, so restrict the directory (files are made with mode 0640).
//
// # How it works
//
//	Append --> write-ahead log --seal--> segment --merge--> larger segment --delete--> gone
//	             |                         ^  |
//	             |                         |  v
//	             +----------> open intervals after the last log
//
// A record is a frame with a checksum in the write-ahead log. When the log is
// long enough it is sealed: allocations and releases are paired to intervals, which are
// sorted by external address, port and time and written in packed columns, with
// an index of where they are. What is not released yet goes to a file of open
// intervals, which the next sealing starts from. Each interval stands in the
// segment of its end, so a block that was allocated days before an instant is
// found from its interval, and never by a search near the instant. Segments
// merge to larger ones; nothing else ever writes to one.
//
// FORMAT.md draws every byte.
//
// # Promises
//
// What Append accepted is found after a crash at any byte, within what
// Config.Commit says. Damage costs the frame that it hits (one record of a log,
// up to 512 intervals of a segment) and is reported, by Reader.Damage. A full disk refuses records,
// and the journal goes on when there is room again.
//
// # Sizes
//
// An interval of a block takes 11 to 14 bytes on disk with all its index
// entries, a record in the write-ahead log 40 to 100. A Journal holds
// Config.Pending bytes, and while it seals about ten times Config.WALSize; a
// Reader 64 bytes for each 512 intervals, and the records of unsealed logs.
//
// # References
//
// RFC 6888 REQ-11 to REQ-14 (logs), RFC 7768 section 3 (what a block log must
// answer), RFC 7422 section 3 (configuration epochs), RFC 6302 (what the asker
// knows).
package journal
