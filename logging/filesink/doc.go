// Package filesink writes the records of package logging to a file, one line each,
// and begins a new file when the old one is large or old.
//
//	sink, err := filesink.Open("/var/log/nat/blocks.json", filesink.Config{MaxBytes: 256 << 20, MaxAge: 24 * time.Hour})
//
//	blocks.json.20261120T000000.123Z  blocks.json.20261121T000000.007Z  blocks.json
//	      \________ whole, never written again ________/                 written at its end
//
// A record is accepted when its whole line is written and, where Config.Sync is
// set, on the disk. A line that the disk takes only in part, as when it is full,
// is cut off again: the file has whole lines only. (Where even that fails, the
// next line begins with a line feed, and readers report one bad line.) A file
// that a crash left with a torn line is cut when it is opened; nobody was told
// that this line is accepted.
//
// A file is rotated when a record comes that makes it too large or that is later
// than its first one by MaxAge, by the times of the records: no clock is read and
// nothing runs in the background. The rename is atomic, so every reader sees
// each line in one of the files. Rotated files are never deleted: how long
// records are kept is for the operator, and for the law.
//
// With a logrotate of one's own, leave MaxBytes and MaxAge 0 and call Reopen
// after it, as on SIGHUP.
//
// A Sink is safe for concurrent use and has no goroutine. Append waits for the
// disk; put a logging.Queue or a spool before it where that may stall.
//
// Reference: RFC 6888 REQ-12 (what is logged).
package filesink
