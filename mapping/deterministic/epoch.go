package deterministic

import (
	"iter"
	"net/netip"
	"time"
)

// Epoch is one version of a map and the time for which it is in force.
type Epoch struct {
	// Number counts the versions of the map of that name, from 1.
	Number uint64
	// From is the first instant, Until the first instant no more. A zero Until
	// means: still in force.
	From, Until time.Time
	// Config holds all parameters, defaults filled in.
	Config Config
}

// Answer is what a History knows about an external endpoint at a time.
type Answer struct {
	Subscriber netip.Prefix
	Map        string // name of the map
	Realm      uint32 // realm of the subscriber
	Epoch      uint64 // number of the epoch
}

// History is a list of epochs of any number of maps. It answers who had what at
// a time, long after, without the engine. It is not safe for concurrent use
// while Begin, End or Add run; look-ups may run together.
type History struct {
	epochs []held
}

type held struct {
	Epoch
	m *Map
}

// Begin ends the epoch in force of the map named cfg.Name, if any, at the time
// given, and begins the next with cfg. It refuses what overlaps with an epoch of
// another map, and times that run backwards.
func (h *History) Begin(at time.Time, cfg Config) (Epoch, error) { return Epoch{}, nil }

// End ends the epoch in force of the named map.
func (h *History) End(at time.Time, name string) error { return nil }

// Add adds an epoch as it was archived.
func (h *History) Add(e Epoch) error { return nil }

// Epochs yields all epochs in the order of their addition.
func (h *History) Epochs() iter.Seq[Epoch] { return nil }

// Reverse says who had the external port at the time: one subscriber, or one of
// ErrNoEpoch, ErrReserved, ErrDynamic, ErrUnused.
func (h *History) Reverse(externalRealm uint32, external netip.Addr, port uint16, at time.Time) (Answer, error) {
	return Answer{}, nil
}

// Forward says what the internal address had at the time.
func (h *History) Forward(realm uint32, internal netip.Addr, at time.Time) (Ports, error) {
	return Ports{}, nil
}
