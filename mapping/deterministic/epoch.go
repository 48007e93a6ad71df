package deterministic

import (
	"fmt"
	"iter"
	"net/netip"
	"time"
)

// Epoch is one version of a map and the time for which it is in force.
type Epoch struct {
	// Number counts the versions of the map of that name, from 1. No two epochs of
	// a History have the same number and name.
	Number uint64
	// From is the first instant, Until the first instant no more. A zero Until
	// means: still in force. A zero From is invalid.
	From, Until time.Time
	// Config holds all parameters, defaults filled in.
	Config Config
}

// validAt reports whether the epoch is in force at the time.
func (e *Epoch) validAt(at time.Time) bool {
	return !at.Before(e.From) && (e.Until.IsZero() || at.Before(e.Until))
}

// meets reports whether two epochs are in force at the same time.
func (e *Epoch) meets(o *Epoch) bool {
	return (o.Until.IsZero() || e.From.Before(o.Until)) && (e.Until.IsZero() || o.From.Before(e.Until))
}

// Answer is what a History knows about an external endpoint or an internal address
// at a time.
type Answer struct {
	Subscriber netip.Prefix
	Map        string // name of the map
	Realm      uint32 // realm of the subscriber
	Epoch      uint64 // number of the epoch
}

// History is a list of epochs of any number of maps. It answers who had what at
// a time, long after, without the engine. Epochs of different maps that are in
// force at the same time share no address, so that an answer is never one of
// two. The zero History is empty and ready for use. It is not safe for
// concurrent use while Begin, End or Add run; look-ups may run together.
type History struct {
	epochs []held
}

// held is an epoch with its map. The map keeps no tables of keys, so that a
// short line of an archive never holds megabytes.
type held struct {
	Epoch
	m *Map
}

func hold(e Epoch, m *Map) held {
	if len(m.keys) > 1 {
		m.keys = []feistel{}
	}
	e.Config = m.cfg.clone()
	return held{e, m}
}

// Begin ends the epoch in force of the map named cfg.Name, if any, at the time
// given, and begins the next one with cfg. If cfg is what is in force already, be
// its spans and reserved ports spelled otherwise, it changes nothing and returns
// that epoch. It refuses, without any change, what New refuses, what overlaps with
// another map (*OverlapError), and a time that is zero or not after the beginning
// of the epoch in force (ErrTime).
//
// It looks at one map at a time. Where maps exchange addresses, and where one gets
// what another one gives up, End must come first for all that give any: until then
// the address is in force elsewhere, and Begin refuses the overlap.
func (h *History) Begin(at time.Time, cfg Config) (Epoch, error) {
	m, err := New(cfg)
	if err != nil {
		return Epoch{}, err
	}
	next := hold(Epoch{From: plain(at)}, m)
	current := -1
	for i := range h.epochs {
		e := &h.epochs[i]
		if e.Config.Name != cfg.Name {
			continue
		}
		next.Number = max(next.Number, e.Number)
		if e.Until.IsZero() {
			current = i
		}
	}
	next.Number++ // to 0 behind the highest number, which admit refuses
	if current >= 0 {
		e := &h.epochs[current]
		if e.m.same(m) && !at.Before(e.From) {
			return e.Epoch, nil
		}
		if !next.From.After(e.From) {
			return Epoch{}, fmt.Errorf("%w: the epoch in force of %q began at %s", ErrTime, cfg.Name, e.From)
		}
	}
	if err := h.admit(&next, current); err != nil {
		return Epoch{}, err
	}
	if current >= 0 {
		h.epochs[current].Until = next.From
	}
	h.epochs = append(h.epochs, next)
	return next.Epoch, nil
}

// End ends the epoch in force of the named map: ErrNoEpoch if there is none,
// ErrTime if it began later.
func (h *History) End(at time.Time, name string) error {
	for i := range h.epochs {
		e := &h.epochs[i]
		if e.Config.Name == name && e.Until.IsZero() {
			if !at.After(e.From) {
				return fmt.Errorf("%w: the epoch in force of %q began at %s", ErrTime, name, e.From)
			}
			e.Until = plain(at)
			return nil
		}
	}
	return ErrNoEpoch
}

// Add adds an epoch as it was archived. It refuses what Begin refuses, an epoch
// that is in force together with another one of the same map (ErrTime), and one
// without number or with the number of another one of the same map (ErrNumber),
// at whatever times.
func (h *History) Add(e Epoch) error {
	m, err := New(e.Config)
	if err != nil {
		return err
	}
	e.From, e.Until = plain(e.From), plain(e.Until)
	if !e.Until.IsZero() && !e.From.Before(e.Until) {
		return fmt.Errorf("%w: epoch %d of %q ends at %s before it begins at %s", ErrTime, e.Number, e.Config.Name, e.Until, e.From)
	}
	next := hold(e, m)
	if err := h.admit(&next, -1); err != nil {
		return err
	}
	h.epochs = append(h.epochs, next)
	return nil
}

// plain strips the monotonic reading and the zone, which an archive cannot hold.
func plain(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

// admit checks next by itself and against all epochs; the one that it replaces
// may be in force until then.
func (h *History) admit(next *held, replaces int) error {
	switch {
	case next.Number == 0:
		return fmt.Errorf("%w: epoch 0 of map %q has no number", ErrNumber, next.Config.Name)
	case next.From.IsZero():
		return fmt.Errorf("%w: epoch %d of map %q has no beginning", ErrTime, next.Number, next.Config.Name)
	}
	for i := range h.epochs {
		e := &h.epochs[i]
		if e.Number == next.Number && e.Config.Name == next.Config.Name {
			return fmt.Errorf("%w: epoch %d of map %q is there twice", ErrNumber, next.Number, next.Config.Name)
		}
		if i == replaces || !e.meets(&next.Epoch) {
			continue
		}
		if e.Config.Name == next.Config.Name {
			return fmt.Errorf("%w: epochs %d and %d of %q are in force together", ErrTime, e.Number, next.Number, e.Config.Name)
		}
		err := overlapOf("external", e, next, e.Config.ExternalRealm, next.Config.ExternalRealm, e.m.ext, next.m.ext)
		if err == nil {
			err = overlapOf("internal", e, next, e.Config.Realm, next.Config.Realm, e.m.in, next.m.in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlapOf returns the first overlap of two keyspaces as an *OverlapError.
func overlapOf(side string, a, b *held, realmA, realmB uint32, ka, kb *keyspace) error {
	if realmA != realmB || ka.is4 != kb.is4 {
		return nil
	}
	for i, j := 0, 0; i < len(ka.byKey) && j < len(kb.byKey); {
		fa, la := ka.bounds(ka.byKey[i])
		fb, lb := kb.bounds(kb.byKey[j])
		switch {
		case la.less(fb):
			i++
		case lb.less(fa):
			j++
		default:
			if fa.less(fb) {
				fa = fb
			}
			if lb.less(la) {
				la = lb
			}
			name := func(h *held) string { return fmt.Sprintf("epoch %d of map %q", h.Number, h.Config.Name) }
			return &OverlapError{Side: side, A: name(a), B: name(b), Realm: realmA, First: fa.addr(ka.is4), Last: la.addr(ka.is4)}
		}
	}
	return nil
}

// Epochs yields all epochs in the order of their addition. The history must not
// change meanwhile.
func (h *History) Epochs() iter.Seq[Epoch] {
	return func(yield func(Epoch) bool) {
		for i := range h.epochs {
			e := h.epochs[i].Epoch
			e.Config = e.Config.clone()
			if !yield(e) {
				return
			}
		}
	}
}

// Reverse says who had the external port at the time: one subscriber, or a
// refusal. ErrNoEpoch: nothing was in force in that external realm. ErrNotInPool:
// something was, but no map in force had the address. ErrReserved, ErrDynamic, ErrUnused: see
// Map.Reverse; Map and Epoch of the answer are set with them too.
func (h *History) Reverse(externalRealm uint32, external netip.Addr, port uint16, at time.Time) (Answer, error) {
	external, refusal := external.Unmap(), ErrNoEpoch
	for i := range h.epochs {
		e := &h.epochs[i]
		if e.Config.ExternalRealm != externalRealm || !e.validAt(at) {
			continue
		}
		refusal = ErrNotInPool
		if pos, ok := e.m.ext.find(external); ok {
			a := Answer{Map: e.Config.Name, Realm: e.Config.Realm, Epoch: e.Number}
			n, err := e.m.owner(pos, port)
			if err == nil {
				a.Subscriber = e.m.Subscriber(n)
			}
			return a, err
		}
	}
	return Answer{}, refusal
}

// Forward says what the internal address had at the time. ErrNoEpoch: nothing
// was in force in that realm. ErrNotSubscriber: something was, but no map in force
// had the address.
func (h *History) Forward(realm uint32, internal netip.Addr, at time.Time) (Ports, error) {
	_, ports, err := h.ForwardAnswer(realm, internal, at)
	return ports, err
}

// ForwardAnswer is Forward that also says who was asked for and which epoch
// answered, as Reverse does. The Answer is zero with a refusal.
func (h *History) ForwardAnswer(realm uint32, internal netip.Addr, at time.Time) (Answer, Ports, error) {
	internal, refusal := internal.Unmap(), ErrNoEpoch
	for i := range h.epochs {
		e := &h.epochs[i]
		if e.Config.Realm != realm || !e.validAt(at) {
			continue
		}
		refusal = ErrNotSubscriber
		if n, ok := e.m.in.find(internal); ok {
			m := e.m
			if m.cfg.KeyPerAddress { // with its tables, because Ports uses them often
				var err error
				if m, err = New(m.cfg); err != nil {
					return Answer{}, Ports{}, err
				}
			}
			a := Answer{Subscriber: m.Subscriber(n), Map: e.Config.Name, Realm: realm, Epoch: e.Number}
			return a, m.ports(n), nil
		}
	}
	return Answer{}, Ports{}, refusal
}
