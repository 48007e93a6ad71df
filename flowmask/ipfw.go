package flowmask

import (
	"errors"
	"strconv"
	"strings"
)

// IPFWTable is a flow table as lines of ipfw(8) describe it:
//
//	table natout create type flow:src-ip,proto,dst-ip,dst-port valtype nat
//	table natout setmask 255.192.0.127,1,0.0.15.0,3
//	table natout add 100.64.0.1,6,0.0.2.0,1 17
//
// create and add are ipfw's own; setmask is the addition that FreeBSD bug 219316 proposes.
type IPFWTable struct {
	Name   string
	Fields Fields
	// ValType is the list of value types, "nat" or "nat,fib"; empty where the line has
	// none.
	ValType string
	// Limit is the largest number of entries, 0 for no limit.
	Limit int
	// Mask is that of the last setmask line. Without one it selects all bits, for the
	// address family of the first entry, IPv4 if there is none.
	Mask    Mask
	HasMask bool
	Entries []IPFWEntry
	// Line is the number of the create line, from 1.
	Line int
}

// IPFWEntry is one key and value of "table NAME add KEY VALUE".
type IPFWEntry struct {
	Flow Flow
	// Value is as written, empty where the line has none; it fits the table's value types.
	Value string
	Line  int
}

// IPFWLine is a line that is not about a flow table, with its number from 1, without
// comment.
type IPFWLine struct {
	Number int
	Text   string
}

// IPFWError is what goes wrong when a table is built from its description: which entry, and
// the reason (a *DuplicateError, *KeyError or *SyntaxError).
type IPFWError struct {
	Table string
	Line  int
	Err   error
}

// Error names line and table.
func (e *IPFWError) Error() string {
	return "flowmask: line " + strconv.Itoa(e.Line) + ", table " + e.Table + ": " + strings.TrimPrefix(e.Err.Error(), "flowmask: ")
}

// Unwrap returns the reason.
func (e *IPFWError) Unwrap() error { return e.Err }

// Build returns the table that the lines describe, with the first number of each value (0
// where there is none). The key seeds the hash, as that of NewTable. All entries that
// collide under the mask, have no key, exceed the limit or have a value that is no number
// are reported together, joined, up to a bound; each is an *IPFWError.
func (t *IPFWTable) Build(key [16]byte) (*Table[uint32], error) {
	table := NewTable[uint32](t.Mask, key)
	var faults []error
	for _, e := range t.Entries {
		var err error
		first, _, _ := strings.Cut(e.Value, ",")
		n, ok := parseNumber(first, 32)
		switch {
		case !ok && e.Value != "":
			err = &SyntaxError{Text: e.Value, Reason: "the value is not a number"}
		case t.Limit > 0 && table.Len() >= t.Limit:
			err = &SyntaxError{Text: e.Value, Reason: "the table's limit is " + strconv.Itoa(t.Limit)}
		default:
			err = table.Insert(e.Flow, uint32(n))
		}
		if err != nil {
			if faults = append(faults, &IPFWError{t.Name, e.Line, err}); len(faults) == maxReported {
				break
			}
		}
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return table, nil
}

// AppendTo appends the lines that describe the table, without "ipfw", and returns the
// extended buffer.
func (t *IPFWTable) AppendTo(b []byte) []byte {
	head := "table " + t.Name
	b = append(b, head...)
	b = append(b, " create type "...)
	b = t.Fields.AppendTo(b)
	if t.ValType != "" {
		b = append(b, " valtype "...)
		b = append(b, t.ValType...)
	}
	if t.Limit > 0 {
		b = append(b, " limit "...)
		b = strconv.AppendInt(b, int64(t.Limit), 10)
	}
	b = append(b, '\n')
	if t.HasMask {
		b = append(b, head...)
		b = append(b, " setmask "...)
		b = t.Mask.AppendTo(b)
		b = append(b, '\n')
	}
	for _, e := range t.Entries {
		b = append(b, head...)
		b = append(b, " add "...)
		b = e.Flow.AppendTo(b, t.Fields)
		if e.Value != "" {
			b = append(b, ' ')
			b = append(b, e.Value...)
		}
		b = append(b, '\n')
	}
	return b
}
