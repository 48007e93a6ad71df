package deterministic

import "net/netip"

// Set is a set of maps that share nothing: no internal address of a realm, and
// no external address of an external realm, is in two of them. It never changes
// and is safe for concurrent use.
type Set struct {
	maps []*Map
}

// NewSet checks maps against each other. All overlaps are reported together,
// each an *OverlapError that names both maps.
func NewSet(maps ...*Map) (*Set, error) { return nil, nil }

// Maps returns the maps of the set in the order given to NewSet.
func (s *Set) Maps() []*Map { return s.maps }

// Forward finds the map of the internal address and asks it. ErrRealm if the
// realm has no map, ErrNotSubscriber if no map of it has the address.
func (s *Set) Forward(realm uint32, internal netip.Addr) (Ports, error) { return Ports{}, nil }

// Reverse finds the map of the external address and asks it. ErrRealm if the
// realm has no map, ErrNotInPool if no map of it has the address.
func (s *Set) Reverse(externalRealm uint32, external netip.Addr, port uint16) (*Map, netip.Prefix, error) {
	return nil, netip.Prefix{}, nil
}
