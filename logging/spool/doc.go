// Package spool keeps records of package logging on a disk until they are
// delivered: a queue that survives the process, for collectors that are away for
// longer than memory lasts.
//
//	sp, err := spool.Open("/var/spool/nat", spool.Config{MaxBytes: 1 << 30})
//	sink, err := netsink.NewSyslog("tls", "logs.example.net:6514", syslog.Encoder{}, netsink.Config{Store: sp})
//
// A record is accepted when it is in a file and, with Config.Sync, on the disk. It
// stays until it is acked, in the order of acceptance:
//
//	Append ---------------------------------------------------+
//	                                                          v
//	| acked, files removed | acked | read, not acked | waiting |
//	                               ^ Rewind          ^ Next
//
// # At least once
//
// Who delivers (netsink.Sink, or Spool.Deliver into any logging.Log) acks what the
// other side has. After a failure or a restart it begins with the first record
// that is not acked, so that some arrive twice; readers take equal records as
// one. The acked position is saved now and then, with each file that is
// done and by Close; what a crash loses of it only makes more arrive twice.
//
// The oldest records stay, and the disk space is bounded: when Config.MaxBytes
// are used, a new record is refused, or dropped and counted, by Config.Policy.
// Space is given back by whole files, so up to one file of acked records counts
// as used.
//
// # Files
//
// A spool is a directory of its own, used by one process at a time (the file
// "lock", by flock). Its files are text, one record a line, named for the number of the first one:
//
//	00000000000000000001.spool
//	  8a6c2f10 1 {"kind":"block-allocated","time":"2026-11-21T02:30:10.123Z",...}
//	  |        | +- the record as logging.JSON writes it
//	  |        +--- its number, decimal: one more than that of the line before
//	  +------------ CRC-32C of all behind the space that follows, in hexadecimal
//	acked
//	  5c1e9a07 4711
//	           +--- the highest number that was acked; the CRC-32C is that of this number
//
// A line that a crash or a full disk left torn is cut off; where even that fails,
// the next line stands behind "~" and a line feed, which end it. A damaged line costs
// itself: readers go on with the next one, and the gap in the numbers tells how many
// records were lost, which Stats counts. Text that is not UTF-8 is kept as
// logging.JSON writes it.
//
// # Cost
//
// About 370 octets a record on the disk. A Spool has no goroutine and 64 KiB of
// buffer; it is safe for concurrent use, and Append waits for the disk.
//
// References: RFC 6888 REQ-12 (what is logged), RFC 3720 section 12.1 (CRC-32C), RFC 8259 (JSON).
package spool
