package logging

import (
	"io"
	"iter"
	"net/netip"
	"time"
)

// Index holds intervals in memory and answers who used an external port at an
// instant. It is built from records in any order, which makes it a Log. It does
// no I/O of its own and reads no clock. It is safe for concurrent use.
//
// Records of blocks, mappings and sessions become intervals; configuration
// epochs are kept apart; other kinds are accepted and leave no trace. Equal
// records count once, and intervals released with ReasonCancelled vanish.
type Index struct{}

// NewIndex returns an empty Index.
func NewIndex() *Index { return &Index{} }

// Append adds r. It refuses, with a *FieldError, what Record.Check refuses.
func (x *Index) Append(r *Record) error { return r.Check() }

// Replay adds the records of a stream of JSON lines and returns how many. It
// goes on after damaged lines and records and returns their errors joined, at
// most 100 of them.
func (x *Index) Replay(r io.Reader) (int, error) { return 0, nil }

// Who returns the intervals that meet q: none, one or several, never a choice
// among several. Those that cover the instant come first, then by beginning.
// Two subscribers mean that clocks may be apart more than the guard time, or
// that the records contradict each other; a block, a mapping and sessions of one
// subscriber are intervals of their own.
func (x *Index) Who(q Query) []Candidate { return nil }

// Subscriber returns what the subscriber with this address (or prefix's
// address) held at some instant from from to to, both included, by beginning.
func (x *Index) Subscriber(addr netip.Addr, from, to time.Time) []Interval { return nil }

// SubscriberID is Subscriber for a subscriber with an opaque id.
func (x *Index) SubscriberID(id string, from, to time.Time) []Interval { return nil }

// Intervals yields all intervals, by external address, then by beginning. The
// Index must not be changed meanwhile.
func (x *Index) Intervals() iter.Seq[Interval] { return func(func(Interval) bool) {} }

// Len returns the number of intervals, and Open that of those still open.
func (x *Index) Len() int { return 0 }

// Open returns the number of intervals that no record has ended.
func (x *Index) Open() int { return 0 }

// EpochAt returns the last ConfigEpoch record of host and instance at or before
// the instant.
func (x *Index) EpochAt(host string, instance uint32, at time.Time) (Record, bool) {
	return Record{}, false
}

// A Conflict is a pair of intervals that share an external port and overlap, or
// lie closer together than the guard time.
type Conflict struct {
	Earlier, Later Interval
	// First and Last bound the ports that both have.
	First, Last uint16
	// Gap is the time between them; negative where they overlap.
	Gap time.Duration
}

// Verify returns every pair of intervals of one kind that share an external
// port, port space and class, and overlap or lie closer than guard, in the
// order of External and of the later one's beginning. Sessions and mappings of
// one subscriber may share a port and are no conflict.
func (x *Index) Verify(guard time.Duration) []Conflict { return nil }
