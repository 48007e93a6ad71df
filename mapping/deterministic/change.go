package deterministic

import (
	"iter"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
	"time"
)

// Change is a run of ports of one external address that two maps give to
// different owners. An invalid prefix means: no subscriber.
type Change struct {
	External netip.Addr
	Ports    portblock.Range
	Old, New netip.Prefix
}

// Changes yields the runs of ports whose subscriber differs between two maps, on
// all external addresses of either, in the order of the old map's addresses and
// then of the new one's.
func Changes(old, new *Map) iter.Seq[Change] { return nil }

// Proof says whether two epochs can be confused within the hold-down time.
type Proof struct {
	// Gap is the time from the end of the old to the beginning of the new epoch.
	Gap, HoldDown time.Duration
	// Same, Moved, Freed and Taken count external ports: with the same subscriber
	// in both, with another one, with one only in the old, only in the new epoch.
	Same, Moved, Freed, Taken uint64
	// First is the first run of ports that moved.
	First Change
}

// Safe reports whether no port changes owner within the hold-down.
func (p Proof) Safe() bool { return p.Moved == 0 || p.Gap >= p.HoldDown }

// Prove compares two epochs port by port.
func Prove(old, new Epoch, holdDown time.Duration) (Proof, error) { return Proof{}, nil }
