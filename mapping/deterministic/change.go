package deterministic

import (
	"iter"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Owner says whose an external port is under one map. The zero Owner is nobody.
type Owner struct {
	Subscriber netip.Prefix // valid if the formula gives the port to a subscriber
	Realm      uint32       // the realm of the subscriber
	Dynamic    bool         // the port is in the dynamic range: the log knows
}

// Change is a run of ports of one external address whose owner differs between
// two maps.
type Change struct {
	External netip.Addr
	Ports    portblock.Range
	Old, New Owner
}

// Changes yields the runs of ports whose owner differs between two maps, on all
// external addresses of either: those of the old map in its order, then those
// that only the new map has. It walks all ports, a few milliseconds an address.
func Changes(old, new *Map) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		compare(old, new, func(c Change) bool { return c.Old == c.New || yield(c) })
	}
}

// compare calls f with every run of ports with the same pair of owners.
func compare(old, new *Map, f func(Change) bool) {
	shared := old.cfg.ExternalRealm == new.cfg.ExternalRealm
	for e := range old.ext.total {
		a, n, both := old.ext.at(e), uint64(0), false
		if shared {
			n, both = new.ext.find(a)
		}
		if !address(a, old, e, true, new, n, both, f) {
			return
		}
	}
	for n := range new.ext.total {
		a := new.ext.at(n)
		if shared {
			if _, known := old.ext.find(a); known {
				continue
			}
		}
		if !address(a, old, 0, false, new, n, true, f) {
			return
		}
	}
}

// address compares one external address at position e of old and n of new.
func address(a netip.Addr, old *Map, e uint64, inOld bool, new *Map, n uint64, inNew bool, f func(Change) bool) bool {
	var run Change
	first := 0
	for port := range 65536 {
		c := Change{External: a}
		if inOld {
			c.Old = old.ownerOf(e, uint16(port))
		}
		if inNew {
			c.New = new.ownerOf(n, uint16(port))
		}
		if port > 0 && c != run {
			r := run
			r.Ports = portblock.RangeOf(uint16(first), uint16(port-1))
			if !f(r) {
				return false
			}
			first = port
		}
		run = c
	}
	run.Ports = portblock.RangeOf(uint16(first), 65535)
	return f(run)
}

func (m *Map) ownerOf(e uint64, port uint16) Owner {
	switch i, err := m.owner(e, port); err {
	case nil:
		return Owner{Subscriber: m.Subscriber(i), Realm: m.cfg.Realm}
	case ErrDynamic:
		return Owner{Dynamic: true}
	}
	return Owner{}
}

// Proof says whether two epochs can be confused within the hold-down time: a port
// that an old owner used must rest (RFC 6888 REQ-8) before another one uses it.
type Proof struct {
	// Gap is the time from the end of the old to the beginning of the new epoch;
	// negative if they are in force together, and then for good if the old has no
	// end.
	Gap, HoldDown time.Duration
	// Every external port that either map gives to anybody is counted once. Same:
	// the owner stays (a port that stays dynamic counts here, its rest is the
	// business of the dynamic range). Moved: from one owner to another, also from
	// or to the dynamic range. Freed and Taken: an owner only in the old, only in
	// the new epoch.
	Same, Moved, Freed, Taken uint64
	// First is the first run of ports that moved.
	First Change
}

// Safe reports whether no port changes owner within the hold-down.
func (p Proof) Safe() bool { return p.Moved == 0 || p.Gap >= p.HoldDown }

// Prove compares two epochs port by port. It builds both maps, and fails if
// either is no valid configuration.
func Prove(old, new Epoch, holdDown time.Duration) (Proof, error) {
	a, err := New(old.Config)
	if err != nil {
		return Proof{}, err
	}
	b, err := New(new.Config)
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Gap: -1 << 63, HoldDown: holdDown}
	if !old.Until.IsZero() {
		p.Gap = new.From.Sub(old.Until)
	}
	compare(a, b, func(c Change) bool {
		n := uint64(c.Ports.Len())
		switch {
		case c.Old == c.New:
			if c.Old != (Owner{}) {
				p.Same += n
			}
		case c.Old == (Owner{}):
			p.Taken += n
		case c.New == (Owner{}):
			p.Freed += n
		default:
			if p.Moved == 0 {
				p.First = c
			}
			p.Moved += n
		}
		return true
	})
	return p, nil
}
