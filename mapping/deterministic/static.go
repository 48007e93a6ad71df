package deterministic

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/blocknat/blocknat/portblock"
)

// Endpoints is every port of a range on every address of a span: one side of a
// Static map. Its endpoints are numbered address by address, ports rising. The
// zero Ports means whole addresses: ports 0 to 65535, the port never changes if
// the other side is whole, too.
type Endpoints struct {
	Addrs Span
	Ports portblock.Range
}

// StaticConfig pairs internal with external endpoints by their numbers: the
// n-th internal endpoint is the n-th external one. It covers static NAT between
// prefixes of unequal sizes and port forwarding of whole ranges.
type StaticConfig struct {
	// Internal and External have equally many endpoints in total, at most 2^48, of
	// one family a side, none of them twice. Ranges that hold port 0 are refused
	// unless Ports is the zero Range.
	Internal, External []Endpoints
	// InternalExclude and ExternalExclude take whole addresses out of the
	// numbering. They leave no gap.
	InternalExclude, ExternalExclude []Span
}

// Static is a one-to-one map of endpoints. It never changes and is safe for
// concurrent use; its size does not depend on the number of endpoints.
type Static struct{ in, out sideOf }

// sideOf numbers the endpoints of one side: runs of addresses that have the same
// ports, in the order of numbers, and again in the order of addresses and ports.
type sideOf struct {
	byBase, byKey []slab
	is4           bool
	total         uint64
}

// slab is a rectangle of endpoints: n addresses by width ports.
type slab struct {
	key   u128
	n     uint64
	first uint32
	width uint32
	base  uint64
}

// NewStatic checks cfg and reports all faults together, each a *FieldError or an
// *OverlapError.
func NewStatic(cfg StaticConfig) (*Static, error) {
	var faults faultList
	s := &Static{
		in:  newSide("Internal", cfg.Internal, cfg.InternalExclude, &faults),
		out: newSide("External", cfg.External, cfg.ExternalExclude, &faults),
	}
	if len(faults) == 0 && s.in.total != s.out.total {
		faults.add("External", fmt.Sprintf("%d endpoints", s.out.total),
			fmt.Sprintf("both sides have equally many, Internal has %d", s.in.total), "change spans, ports or exclusions")
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

func newSide(field string, list []Endpoints, exclude []Span, faults *faultList) sideOf {
	var s sideOf
	before := len(*faults)
	if len(list) == 0 {
		faults.add(field, "empty", "at least one entry is needed", "list the endpoints")
		return s
	}
	for i, e := range list {
		switch {
		case !e.Addrs.IsValid():
			faults.add(index(field, i), "invalid Span", "a span has addresses", "use PrefixSpan, RangeSpan or ParseSpan")
		case e.Addrs.first.Is4() != list[0].Addrs.first.Is4():
			faults.add(index(field, i), e.Addrs.String(), "all spans of a side are of one family", "make a map for each family")
		case e.Ports.Contains(0):
			faults.add(index(field, i), e.Ports.String(), "port 0 is nobody's", "begin at port 1, or leave Ports unset for whole addresses")
		}
	}
	for i, x := range exclude {
		if !x.IsValid() || x.first.Is4() != list[0].Addrs.first.Is4() {
			faults.add(index(field+"Exclude", i), x.String(), "an exclusion is valid and of the family of the spans", "correct or remove it")
		}
	}
	if len(*faults) > before {
		return s
	}
	s.is4 = list[0].Addrs.first.Is4()
	holes := keySource{exclude: exclude}.holes(&keyspace{is4: s.is4})
	for i, e := range list {
		first, width := uint32(e.Ports.First()), uint32(e.Ports.Len())
		if width == 0 {
			width = 65536
		}
		k := keyspace{is4: s.is4}
		ok := k.addRun(interval{u128Of(e.Addrs.first), u128Of(e.Addrs.last)}, holes, maxSubscribers/uint64(width))
		if !ok || s.total+k.total*uint64(width) > maxSubscribers {
			faults.add(index(field, i), e.Addrs.String(), "at most 2^48 endpoints a side", "split the map")
			return s
		}
		for _, seg := range k.byBase {
			s.byBase = append(s.byBase, slab{seg.key, seg.n, first, width, s.total})
			s.total += seg.n * uint64(width)
		}
	}
	s.sort(field, faults)
	return s
}

// sort orders the slabs by address, cuts them so that runs of addresses are equal
// or disjoint, orders by port within a run, and adds overlaps to faults.
func (s *sideOf) sort(field string, faults *faultList) {
	var cuts []u128 // where a slab begins, and the address behind its last (0 at the top)
	for _, b := range s.byBase {
		cuts = append(cuts, b.key, b.key.add(u128{0, b.n}))
	}
	slices.SortFunc(cuts, u128.compare)
	cuts = slices.Compact(cuts)
	for _, b := range s.byBase {
		i := sort.Search(len(cuts), func(i int) bool { return b.key.less(cuts[i]) })
		for key := b.key; b.n > 0; i++ {
			n := b.n
			if i < len(cuts) {
				if d := cuts[i].sub(key); d.hi == 0 {
					n = min(n, d.lo)
				}
			}
			s.byKey = append(s.byKey, slab{key, n, b.first, b.width, b.base})
			key, b.n, b.base = key.add(u128{0, n}), b.n-n, b.base+n*uint64(b.width)
		}
	}
	slices.SortFunc(s.byKey, func(a, b slab) int {
		if c := a.key.compare(b.key); c != 0 {
			return c
		}
		return int(a.first) - int(b.first)
	})
	for i := 1; i < len(s.byKey); i++ {
		if a, b := s.byKey[i-1], s.byKey[i]; a.key == b.key && a.first+a.width > b.first {
			name := func(b slab) string { return fmt.Sprintf("%s ports %d-%d", field, b.first, b.first+b.width-1) }
			*faults = append(*faults, &OverlapError{Side: field, A: name(a), B: name(b), First: a.key.addr(s.is4),
				Last: a.key.add(u128{0, a.n - 1}).addr(s.is4)})
		}
	}
}

// number returns the number of an endpoint.
func (s *sideOf) number(ap netip.AddrPort) (uint64, bool) {
	a, port := ap.Addr().Unmap(), uint32(ap.Port())
	if !a.IsValid() || a.Is4() != s.is4 || a.Zone() != "" || len(s.byKey) == 0 {
		return 0, false // byKey is empty where exclusions leave nothing
	}
	key := u128Of(a)
	lo, hi := 0, len(s.byKey)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		m := &s.byKey[mid]
		// A slab lies behind the endpoint if its addresses do, or if it has the
		// address and begins at a higher port.
		if key.less(m.key) || port < m.first && key.sub(m.key).hi == 0 && key.sub(m.key).lo < m.n {
			hi = mid
		} else {
			lo = mid
		}
	}
	b := &s.byKey[lo]
	d, p := key.sub(b.key), port-b.first
	if d.hi != 0 || d.lo >= b.n || p >= b.width {
		return 0, false
	}
	return b.base + d.lo*uint64(b.width) + uint64(p), true
}

// at returns the endpoint with a number below total.
func (s *sideOf) at(i uint64) netip.AddrPort {
	lo, hi := 0, len(s.byBase)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if i < s.byBase[mid].base {
			hi = mid
		} else {
			lo = mid
		}
	}
	b := &s.byBase[lo]
	q, r := divmod(i-b.base, uint64(b.width))
	return netip.AddrPortFrom(b.key.add(u128{0, q}).addr(s.is4), uint16(b.first+uint32(r)))
}

// Len returns the number of endpoints of each side.
func (s *Static) Len() uint64 { return s.in.total }

// Forward returns the external endpoint of an internal one, or
// ErrNotSubscriber. It allocates nothing.
func (s *Static) Forward(internal netip.AddrPort) (netip.AddrPort, error) {
	i, ok := s.in.number(internal)
	if !ok {
		return netip.AddrPort{}, ErrNotSubscriber
	}
	return s.out.at(i), nil
}

// Reverse returns the internal endpoint of an external one, or ErrNotInPool. It
// allocates nothing.
func (s *Static) Reverse(external netip.AddrPort) (netip.AddrPort, error) {
	i, ok := s.out.number(external)
	if !ok {
		return netip.AddrPort{}, ErrNotInPool
	}
	return s.in.at(i), nil
}
