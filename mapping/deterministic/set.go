package deterministic

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
)

// Set is a set of maps that share nothing: no internal address of a realm, and
// no external address of an external realm, is in two of them. It never changes
// and is safe for concurrent use. It finds a map by one look-up for the realm and
// one binary search over the runs of addresses there.
type Set struct {
	maps     []*Map
	internal index128
	external index128
}

// NewSet checks maps against each other. All overlaps are reported together,
// each an *OverlapError that names both maps; a nil map is a *FieldError. An
// external address belongs to one map as a whole: two maps cannot share it, not
// even with other ports, because the address is what a look-up begins with.
func NewSet(maps ...*Map) (*Set, error) {
	s := &Set{maps: slices.Clone(maps)}
	var faults faultList
	for i, m := range maps {
		if m == nil {
			faults.add(index("maps", i), "nil", "a set is made of maps", "build it with New first")
		}
	}
	if len(faults) == 0 {
		s.internal = newIndex("internal", maps, func(m *Map) (uint32, *keyspace) { return m.cfg.Realm, m.in }, &faults)
		s.external = newIndex("external", maps, func(m *Map) (uint32, *keyspace) { return m.cfg.ExternalRealm, m.ext }, &faults)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// Maps returns the maps of the set in the order given to NewSet.
func (s *Set) Maps() []*Map { return slices.Clone(s.maps) }

// Forward finds the map of the internal address and asks it. ErrRealm if the
// realm has no map of that family, ErrNotSubscriber if no map of it has the
// address. Ports.Map says which map answered.
func (s *Set) Forward(realm uint32, internal netip.Addr) (Ports, error) {
	m, ok := s.internal.find(realm, internal.Unmap())
	switch {
	case !ok:
		return Ports{}, ErrRealm
	case m == nil:
		return Ports{}, ErrNotSubscriber
	}
	return m.Forward(internal)
}

// Reverse finds the map of the external address and asks it. ErrRealm if the
// realm has no map of that family, ErrNotInPool if no map of it has the address.
// The map is returned with the refusals that it gives itself, too.
func (s *Set) Reverse(externalRealm uint32, external netip.Addr, port uint16) (*Map, netip.Prefix, error) {
	m, ok := s.external.find(externalRealm, external.Unmap())
	switch {
	case !ok:
		return nil, netip.Prefix{}, ErrRealm
	case m == nil:
		return nil, netip.Prefix{}, ErrNotInPool
	}
	sub, err := m.Reverse(external, port)
	return m, sub, err
}

// index128 finds the map of an address: by realm and family the runs of
// addresses, in rising order. The first addresses are kept apart from the rest,
// so that the search touches 16 bytes a step.
type index128 map[realmKey]*realmIndex

type realmKey struct {
	realm uint32
	is4   bool
}

type realmIndex struct {
	first []u128
	runs  []mapRun
}

type mapRun struct {
	last u128
	m    *Map
}

// newIndex builds the index of one side and adds its overlaps to faults.
func newIndex(side string, maps []*Map, of func(*Map) (uint32, *keyspace), faults *faultList) index128 {
	type run struct {
		interval
		m     *Map
		place int
	}
	gathered := map[realmKey][]run{}
	var order []realmKey
	for i, m := range maps {
		realm, k := of(m)
		key := realmKey{realm, k.is4}
		if gathered[key] == nil {
			order = append(order, key)
		}
		for _, seg := range k.byKey {
			f, l := k.bounds(seg)
			gathered[key] = append(gathered[key], run{interval{f, l}, m, i})
		}
	}
	ix := index128{}
	for _, key := range order {
		rs := gathered[key]
		sort.SliceStable(rs, func(i, j int) bool { return rs[i].first.less(rs[j].first) })
		r := &realmIndex{}
		widest := 0
		for i, x := range rs {
			if w := rs[widest]; i > 0 && !w.last.less(x.first) {
				last := x.last
				if w.last.less(last) {
					last = w.last
				}
				*faults = append(*faults, &OverlapError{Side: side, Realm: key.realm,
					A: nameOf(w.m, w.place), B: nameOf(x.m, x.place), First: x.first.addr(key.is4), Last: last.addr(key.is4)})
			}
			if rs[widest].last.less(x.last) {
				widest = i
			}
			r.first = append(r.first, x.first)
			r.runs = append(r.runs, mapRun{x.last, x.m})
		}
		ix[key] = r
	}
	return ix
}

// nameOf names a map in an error.
func nameOf(m *Map, i int) string {
	if m.cfg.Name != "" {
		return fmt.Sprintf("map %q", m.cfg.Name)
	}
	return fmt.Sprintf("map %d", i)
}

// find returns the map of an unmapped address, nil if none has it; ok is false
// if the realm has no map of that family at all.
func (ix index128) find(realm uint32, a netip.Addr) (m *Map, ok bool) {
	r := ix[realmKey{realm, a.Is4()}]
	if r == nil {
		return nil, false
	}
	key := u128Of(a)
	lo, hi := 0, len(r.first)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if key.less(r.first[mid]) {
			hi = mid
		} else {
			lo = mid
		}
	}
	if key.less(r.first[lo]) || r.runs[lo].last.less(key) {
		return nil, true
	}
	return r.runs[lo].m, true
}
