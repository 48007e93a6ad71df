package journal

import (
	"fmt"

	"github.com/blocknat/blocknat/logging"
)

// A Candidate is one answer of Reader.Who: who held the port, from when to
// when, and what that rests on.
type Candidate struct {
	// Candidate has the interval, with pool, host and epoch, the certainty of
	// time and the source.
	logging.Candidate
	Holding
}

// A Holding is what a journal knows about the end of an interval, and where it
// was found.
type Holding struct {
	// Journal is the directory, or "journal 1", "journal 2" for NewReader.
	Journal string
	// End says how the end is known.
	End End
	// Bound is, where End is Lost, the instant from which on it is certain
	// that the interval was over: the host had started again, or another
	// subscriber held the port. The true end lies between Seen and Bound.
	Bound logging.Millis
}

// A Block is one answer of Reader.Subscriber.
type Block struct {
	logging.Interval
	Holding
}

// An End says how the end of an interval is known.
type End uint8

const (
	// Released means that a record gives the end.
	Released End = iota + 1
	// Held means that no record ends the interval and nothing speaks against
	// it: it is still held, as far as the journal knows. Until Interval.Seen that is
	// recorded, after it assumed.
	Held
	// Lost means that no record gives the end, but that it must have come: the
	// host crashed or lost records. Interim records move Interval.Seen up and
	// so narrow what is not known.
	Lost
)

// String returns the end's name.
func (e End) String() string {
	switch e {
	case Released:
		return "released"
	case Held:
		return "held"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("end(%d)", uint8(e))
}

// Assumed reports whether the interval's hold at the instant is not recorded but
// assumed: no record ends it, and the last one about it is older.
func (c *Candidate) Assumed(at logging.Millis) bool { return c.End != Released && at > c.Seen }
