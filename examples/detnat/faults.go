package main

import (
	"errors"
	"fmt"
	"strings"
)

// fault is one thing that is wrong, where it is, and what to do about it.
type fault struct {
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Block string `json:"block,omitempty"` // map "name" or rule "name"
	Field string `json:"field,omitempty"` // a setting or a flag
	Value string `json:"value,omitempty"`
	Text  string `json:"fault"`
	Fix   string `json:"fix,omitempty"`
}

// Error writes FILE:LINE: block: field value: text; fix.
func (f *fault) Error() string {
	var b strings.Builder
	switch {
	case f.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	case f.File != "":
		fmt.Fprintf(&b, "%s: ", f.File)
	}
	if f.Block != "" {
		fmt.Fprintf(&b, "%s: ", f.Block)
	}
	if f.Field != "" {
		b.WriteString(f.Field)
		if f.Value != "" {
			b.WriteByte(' ')
			b.WriteString(f.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Text)
	if f.Fix != "" {
		b.WriteString("; ")
		b.WriteString(f.Fix)
	}
	return b.String()
}

// maxFaults bounds what a hopeless file prints.
const maxFaults = 50

// faultsOf flattens joined errors. Errors that are no faults become one each.
func faultsOf(err error) []*fault {
	var out []*fault
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				walk(one)
			}
			return
		}
		var f *fault
		if !errors.As(err, &f) {
			f = &fault{Text: err.Error()}
		}
		out = append(out, f)
	}
	walk(err)
	if more := len(out) - maxFaults; more > 0 {
		out = append(out[:maxFaults:maxFaults], &fault{Text: fmt.Sprintf("and %d faults more", more)})
	}
	return out
}
