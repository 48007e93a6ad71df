package flowmask

import (
	"errors"
	"strconv"
)

// What callers branch on. The typed errors of this package match these with errors.Is.
var (
	// ErrSyntax is matched by every error of a parser.
	ErrSyntax = errors.New("flowmask: syntax error")
	// ErrDuplicate says that two entries have one masked key.
	ErrDuplicate = errors.New("flowmask: two entries have the same masked key")
	// ErrNotEmpty says that the mask of a filled table was to be set.
	ErrNotEmpty = errors.New("flowmask: the table is not empty; flush it, or use Rebuild")
	// ErrNoKey says that a flow has no key under a mask: see Mask.Apply.
	ErrNoKey = errors.New("flowmask: the flow has no key under this mask")
	// ErrTooManyBits says that a mask selects more bits than an Index may have.
	ErrTooManyBits = errors.New("flowmask: the mask selects too many bits for an index")
	// ErrNotInvertible says that a reply does not carry what the outbound mask selects.
	ErrNotInvertible = errors.New("flowmask: the mask cannot be inverted for replies")
	// ErrReplyConflict says that two outbound entries would receive the same replies.
	ErrReplyConflict = errors.New("flowmask: two outbound entries have the same reply key")
	// ErrSpread says that the instances of a Spread are not legal.
	ErrSpread = errors.New("flowmask: illegal instance")
)

// SyntaxError says where and why a text, or a set of values, is not a legal mask, flow, set
// of fields or script. It matches ErrSyntax.
type SyntaxError struct {
	// Text is the whole text that was parsed; for a script it is the line; it is empty
	// where there is no text.
	Text string
	// Line is the line of a script, counted from 1, or 0 where there are no lines.
	Line int
	// Pos is the offset in bytes from the start of Text at which the fault begins.
	Pos int
	// Field is the flow field that the fault is in, or 0.
	Field Fields
	// Reason says what is wrong.
	Reason string
}

// Error returns the reason with line, position and field.
func (e *SyntaxError) Error() string {
	b := []byte("flowmask: ")
	if e.Line != 0 {
		b = append(b, "line "...)
		b = strconv.AppendInt(b, int64(e.Line), 10)
		b = append(b, ": "...)
	}
	if e.Text != "" {
		b = strconv.AppendQuote(b, clip(e.Text))
		b = append(b, ", position "...)
		b = strconv.AppendInt(b, int64(e.Pos), 10)
		b = append(b, ": "...)
	}
	if n := e.Field.name(); n != "" {
		b = append(b, n...)
		b = append(b, ": "...)
	}
	b = append(b, e.Reason...)
	return string(b)
}

// Is reports whether target is ErrSyntax.
func (e *SyntaxError) Is(target error) bool { return target == ErrSyntax }

// clip bounds a text that goes into an error message.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// DuplicateError names two entries that a mask does not tell apart. It matches
// ErrDuplicate.
type DuplicateError struct {
	Mask Mask
	// Have is the entry in the table, New the one refused, both as they were inserted.
	Have, New Flow
}

// Error names the mask and both entries.
func (e *DuplicateError) Error() string {
	return "flowmask: entries " + e.Have.Text(e.Mask.Fields()) + " and " + e.New.Text(e.Mask.Fields()) +
		" are one key under mask " + e.Mask.String()
}

// Is reports whether target is ErrDuplicate.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// KeyError says why a flow has no key under a mask. It matches ErrNoKey.
type KeyError struct {
	Mask Mask
	Flow Flow
	// Field is the field that stands in the way: an address field when the families differ,
	// a port that is unknown, or 0 when the flow is not valid.
	Field Fields
}

// Error names mask, flow and field.
func (e *KeyError) Error() string {
	why := "the flow is not valid"
	switch {
	case e.Field&(SrcIP|DstIP) != 0:
		why = "mask and flow are of different address families"
	case e.Field != 0:
		why = e.Field.name() + " is unknown"
	}
	return "flowmask: " + e.Flow.String() + " has no key under mask " + e.Mask.String() + ": " + why
}

// Is reports whether target is ErrNoKey.
func (e *KeyError) Is(target error) bool { return target == ErrNoKey }
