// Package peer puts different NATs behind one interface: packets in, packets
// out, a clock, expiry. It makes them comparable; it does not make them equal. What each of them leaves
// out is said in its Kind, and the README has the table.
package peer

import "time"

// Direction says which way a packet travels.
type Direction uint8

const (
	// Out is from an internal host to a remote one.
	Out Direction = iota
	// In is from a remote host to an external endpoint.
	In
)

// String returns "out" or "in".
func (d Direction) String() string {
	if d == Out {
		return "out"
	}
	return "in"
}

// NAT is a NAT under test. It is used by one goroutine.
type NAT interface {
	// Translate translates packets of one direction, in order and in place, and returns how many of them were
	// forwarded. Packets start at the IPv4 header. A peer that makes new packets copies their headers back.
	Translate(d Direction, batch [][]byte, now time.Time) (forwarded int)
	// Expire ends all sessions whose idle time is over at now.
	Expire(now time.Time)
	// Sessions returns the number of live sessions, or -1 where the peer does not tell.
	Sessions() int
	// Close frees what the garbage collector does not.
	Close()
}

// Preparer is a NAT that needs something for each flow that is no part of a
// NAT: a socket, for one. It is called before a measurement begins.
type Preparer interface {
	Prepare(internal, remote Endpoint) error
}

// Sharer is a NAT that several goroutines may use at once, each through a handle of its own.
type Sharer interface {
	// Share returns another handle of the same NAT.
	Share() NAT
}

// Endpoint is an IPv4 address and a port.
type Endpoint struct {
	Addr uint32
	Port uint16
}

// Kind describes a peer.
type Kind struct {
	Name string
	// Note says what the peer does, and leaves out, in a line.
	Note string
	// Flows bounds the flows that it can be measured with, by its ports or by the time that it takes.
	Flows int
	// Clock says that it takes the time from the caller, so that expiry can be measured.
	Clock bool
	// TCP says that it translates TCP.
	TCP bool
	// Garbage says that it allocates for each packet, Slow that it takes microseconds for one.
	Garbage, Slow bool
	// Repeatable says that the same packets make it do the same steps, so that what a call takes in every run is its own doing.
	Repeatable bool
	// New returns a NAT whose clock starts at now.
	New func(now time.Time) (NAT, error)
	// NewSmall returns a NAT with one external address; nil where there is none.
	NewSmall func(now time.Time) (NAT, error)
	// NewShared returns a NAT that is a Sharer, set up for many callers; nil where there is none.
	NewShared func(now time.Time) (NAT, error)
}

// IdleTime is longer than the UDP timeout of each peer.
const IdleTime = 400 * time.Second

// Kinds returns all peers, ours first.
func Kinds() []Kind { return []Kind{blocknatKind, goMapKind, gvisorKind, pionKind} }

// None does nothing: it shows what a benchmark's frame costs.
var None = Kind{
	Name: "none", Note: "does nothing: the cost of the frame", Flows: 1 << 30, Clock: true, TCP: true, Repeatable: true,
	New: func(time.Time) (NAT, error) { return none{}, nil },
}

type none struct{}

func (none) Translate(_ Direction, batch [][]byte, _ time.Time) int { return len(batch) }
func (none) Expire(time.Time)                                       {}
func (none) Sessions() int                                          { return 0 }
func (none) Close()                                                 {}
