package logging

import (
	"net/netip"
	"time"
)

// An Interval is what the records of one block, mapping or session say
// together: who held which external ports from when to when.
type Interval struct {
	// Kind is the kind that began it: BlockAllocated, MappingCreated,
	// SessionCreated or StaticAdded, or ConfigEpoch where a Resolver computed it.
	Kind Kind
	// Open means that no release was recorded; To is then 0.
	Open bool
	// Confirmed means that the record of the beginning itself was read, and
	// not only a later record that repeats its time.
	Confirmed bool

	Spaces         Spaces
	Protocol       uint8
	SubscriberBits uint8

	First, Last, Step uint16

	Instance, PoolID, Class uint32

	// From and To are the first and the last instant, both included.
	From, To Millis
	// Seen is the time of the latest record about it, so that an open interval
	// tells until when it is known and not assumed.
	Seen  Millis
	Epoch uint64

	Subscriber, External netip.Addr
	Internal, Remote     netip.AddrPort

	SubscriberID, Realm, ExternalRealm, Host, Pool string
}

// HasPort reports whether port is one of the interval's ports.
func (v *Interval) HasPort(port uint16) bool { return hasPort(v.First, v.Last, v.Step, port) }

// A Query asks who used an external address and port at an instant, with what a
// server logs that keeps to RFC 6302.
type Query struct {
	External netip.Addr
	Port     uint16
	// AnyPort asks for all who held ports of External (RFC 7768 section 3).
	// Port is then not looked at.
	AnyPort bool
	At      time.Time
	// Tolerance is how far the clocks of the asker and of the NAT may be
	// apart. A negative one counts as 0.
	Tolerance time.Duration
	// Spaces narrows to intervals that cover one of them; 0 means any.
	Spaces Spaces
	// ExternalRealm narrows to one realm where ByRealm is set.
	ExternalRealm string
	ByRealm       bool
	// Class narrows to one class of remotes where ByClass is set.
	Class   uint32
	ByClass bool
}

// A Candidate is one answer to a Query.
type Candidate struct {
	Interval
	Certainty Certainty
	Source    Source
}

// Source says what an answer rests on.
type Source uint8

const (
	// Recorded means records of the interval itself.
	Recorded Source = iota + 1
	// Computed means the formula of a configuration epoch (see Index.Resolve).
	Computed
	// Static means records of a static mapping.
	Static
)

// String returns the source's name.
func (s Source) String() string {
	switch s {
	case Recorded:
		return "recorded"
	case Computed:
		return "computed"
	case Static:
		return "static"
	}
	return "unknown"
}

// Certainty says how an interval and the instant of a query meet.
type Certainty uint8

const (
	// Inside means that the interval covers the instant and the tolerance
	// around it.
	Inside Certainty = iota + 1
	// Edge means that the interval covers the instant but not all of the
	// tolerance around it.
	Edge
	// Near means that the interval lies within the tolerance only.
	Near
)

// String returns the certainty's name.
func (c Certainty) String() string {
	switch c {
	case Inside:
		return "inside"
	case Edge:
		return "edge"
	case Near:
		return "near"
	}
	return "unknown"
}
