package portblock

import "iter"

// Set is a set of ports in one of the shapes of Scheme: a small comparable
// value that describes itself in records. The zero Set is empty.
//
// A Set is immutable and safe for concurrent use.
type Set struct{ scheme Scheme }

// Scheme returns the shape of the set.
func (s Set) Scheme() Scheme { return s.scheme }

// IsValid says whether the set was made by one of the constructors.
func (s Set) IsValid() bool { return false }

// Len returns the number of ports.
func (s Set) Len() int { return 0 }

// First and Last return the lowest and the highest port.
func (s Set) First() uint16 { return 0 }

// Last returns the highest port.
func (s Set) Last() uint16 { return 0 }

// Step returns the distance between the starts of the set's ranges, and Run
// their length, where the set is regular; Step is 0 for a contiguous set and
// for sets that two numbers do not describe.
func (s Set) Step() int { return 0 }

// Run returns the number of contiguous ports of each range of a regular set.
func (s Set) Run() int { return 0 }

// Contains says whether the port is in the set.
func (s Set) Contains(port uint16) bool { return false }

// At returns port number i of the set, 0 <= i < Len.
func (s Set) At(i int) (uint16, bool) { return 0, false }

// Ranges yields the maximal runs of contiguous ports, rising.
func (s Set) Ranges() iter.Seq[Range] { return func(func(Range) bool) {} }

// AppendTo appends the text form.
func (s Set) AppendTo(dst []byte) []byte { return dst }

// String returns the text form of AppendTo.
func (s Set) String() string { return string(s.AppendTo(nil)) }
