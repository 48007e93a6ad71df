package logging

import (
	"fmt"
	"io"
	"iter"
)

// A SyntaxError says where a JSON line is not a record.
type SyntaxError struct {
	Line   int64  // line number from 1, or 0 where the line was given alone
	Offset int64  // byte offset in the line, or in the stream where Line is set
	Msg    string // what is wrong
}

func (e *SyntaxError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("logging: line %d (byte %d): %s", e.Line, e.Offset, e.Msg)
	}
	return fmt.Sprintf("logging: byte %d: %s", e.Offset, e.Msg)
}

// ParseJSON decodes the JSON line that b begins with. It returns the record and
// the bytes used, the line feed included where there is one. Unknown fields are
// skipped; a field given twice, or a value that the field cannot have, is a
// *SyntaxError, with the length of the damaged line as the bytes used. Nothing
// is checked beyond the form of each field: see Record.Check.
func ParseJSON(b []byte) (Record, int, error) { return Record{}, 0, nil }

// ReadJSON yields the records of a stream of JSON lines in order. A damaged line
// gives an error (a *SyntaxError) and the reading goes on behind it; an error of
// r ends it. Empty lines are skipped; a line above 64 KiB counts as damaged.
func ReadJSON(r io.Reader) iter.Seq2[Record, error] { return func(func(Record, error) bool) {} }
