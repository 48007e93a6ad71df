package logging

import "errors"

// Errors that callers branch on. Logs wrap them, so errors.Is finds them.
var (
	// ErrFull means that a bounded log has no room for the record now.
	ErrFull = errors.New("logging: full")
	// ErrClosed means that the log takes no records any more.
	ErrClosed = errors.New("logging: closed")
	// ErrRecord means that the log can never take this record, because a rule
	// is broken or its format cannot say it. To offer it again is of no use.
	ErrRecord = errors.New("logging: record cannot be logged")

	// errNoLog is what refuses in the place of a Log that is nil.
	errNoLog = errors.New("logging: nil was given for a Log: Discard runs without records")
)

// A Log takes records, each as a whole or not at all.
//
// Append returns nil when the record is accepted: from then on it is not lost
// within what the log promises in its documentation (memory, a file, a disk
// that was synced). An error means that the record is not accepted, and the
// caller does not use what the record was to announce: a block is recorded
// first, then used. A record that was refused may be offered again; a record
// may thus arrive more than once (a release after an answer that got lost), and
// readers take equal records as one.
//
// Append neither keeps r nor changes it, so the caller may use one Record again
// and again. It is safe for concurrent use, returns quickly (it never waits for
// a network), and never calls the engine that appends.
type Log interface {
	Append(r *Record) error
}

// An Encoder appends records to a byte slice. One call appends one whole record
// (for line formats: one line with its line feed). It reads no clock: times come
// in the record. An Encoder that says so is safe for concurrent use.
type Encoder interface {
	AppendRecord(dst []byte, r *Record) []byte
}

// Discard accepts every record and keeps none.
var Discard Log = discard{}

type discard struct{}

func (discard) Append(*Record) error { return nil }

// given returns l, or a Log that refuses every record where none was given.
func given(l Log) Log {
	if l == nil {
		return LogFunc(func(*Record) error { return errNoLog })
	}
	return l
}

// LogFunc makes a Log of a function, which must keep Log's contract.
type LogFunc func(r *Record) error

// Append calls f.
func (f LogFunc) Append(r *Record) error { return f(r) }
