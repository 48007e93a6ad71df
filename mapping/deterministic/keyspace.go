package deterministic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sort"
)

// segment is a run of keys that are numbered one after the other.
type segment struct {
	key  u128   // first key
	n    uint64 // number of keys
	base uint64 // number of the first key
}

// keyspace numbers the subscribers (or external addresses) of a map: position
// and address follow from each other by two binary searches over its segments,
// whatever the number of addresses. A key is an address without its shift low
// bits. The two slices hold the same segments: in the order of numbers, and in
// the order of keys. Neighbours in both orders are one segment.
type keyspace struct {
	byBase []segment
	byKey  []segment
	shift  int // host bits below a key
	total  uint64
	is4    bool
}

// find returns the number of the key that a belongs to. a must be unmapped.
func (k *keyspace) find(a netip.Addr) (uint64, bool) {
	if a.Is4() != k.is4 {
		return 0, false
	}
	s := &k.byKey[0]
	if k.is4 {
		b := a.As4()
		key := uint64(binary.BigEndian.Uint32(b[:])) >> (k.shift & 31) // the shift of IPv4 is below 32
		if len(k.byKey) > 1 {
			s = k.segment(u128{0, key})
		}
		d := key - s.key.lo // wraps to a large number below the segment
		return s.base + d, d < s.n
	}
	if !a.IsValid() || a.Zone() != "" {
		return 0, false
	}
	key := u128Of(a).shr(k.shift)
	if len(k.byKey) > 1 {
		s = k.segment(key)
	}
	d := key.sub(s.key)
	return s.base + d.lo, d.hi == 0 && d.lo < s.n
}

// segment returns the last segment that does not begin above key, or the first.
func (k *keyspace) segment(key u128) *segment {
	lo, hi := 0, len(k.byKey)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if key.less(k.byKey[mid].key) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return &k.byKey[lo]
}

// at returns the first address of the key with number i < total.
func (k *keyspace) at(i uint64) netip.Addr {
	s := &k.byBase[0]
	if len(k.byBase) > 1 {
		lo, hi := 0, len(k.byBase)
		for hi-lo > 1 {
			mid := int(uint(lo+hi) / 2)
			if i < k.byBase[mid].base {
				hi = mid
			} else {
				lo = mid
			}
		}
		s = &k.byBase[lo]
	}
	if k.is4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32((s.key.lo+i-s.base)<<(k.shift&31)))
		return netip.AddrFrom4(b)
	}
	return s.key.add(u128{0, i - s.base}).shl(k.shift).addr(false)
}

// bits returns the length of the prefix that one key is.
func (k *keyspace) bits() int {
	if k.is4 {
		return 32 - k.shift
	}
	return 128 - k.shift
}

// bounds returns the first and last address of a segment.
func (k *keyspace) bounds(s segment) (first, last u128) {
	first = s.key.shl(k.shift)
	last = s.key.add(u128{0, s.n}).shl(k.shift).dec()
	return first, last
}

// keySource is what a keyspace is built from.
type keySource struct {
	field      string // name of the field of Config, for faults
	side       string // "internal" or "external"
	realm      uint32
	spans      []Span
	exclude    []Span
	bits       int // 0: full length for external, the default for internal
	boundaries bool
	limit      uint64
}

// interval is a run of keys, both ends included.
type interval struct{ first, last u128 }

// build returns the keyspace of src. It adds what is wrong to faults; the result
// is nil if anything is.
func (src keySource) build(faults *faultList) *keyspace {
	before := len(*faults)
	if len(src.spans) == 0 {
		faults.add(src.field, "empty", "at least one span is needed", "list the "+src.side+" addresses")
		return nil
	}
	k := &keyspace{}
	for i, s := range src.spans {
		if !s.IsValid() {
			faults.add(index(src.field, i), "invalid Span", "a span has addresses of one family, in order, without zone", "use PrefixSpan, RangeSpan or ParseSpan")
			continue
		}
		if i == 0 {
			k.is4 = s.first.Is4()
		} else if s.first.Is4() != k.is4 && src.spans[0].IsValid() {
			faults.add(index(src.field, i), s.String(), "all spans of a side are of one family", "make a map for each family")
		}
	}
	for i, s := range src.exclude {
		if !s.IsValid() || s.first.Is4() != k.is4 {
			faults.add(index(src.field+"Exclude", i), s.String(), "an exclusion is valid and of the family of the spans", "correct or remove it")
		}
	}
	if len(*faults) > before {
		return nil
	}
	length := 128
	if k.is4 {
		length = 32
	}
	if src.bits < 0 || src.bits > length {
		faults.add("SubscriberBits", fmt.Sprint(src.bits), fmt.Sprintf("between 0 and %d", length), "use 0 for the default")
		return nil
	}
	if src.bits != 0 {
		k.shift = length - src.bits
	}
	src.overlaps(faults)
	host := u128{0, 1}.shl(k.shift).dec()
	for i, s := range src.spans {
		f, l := u128Of(s.first), u128Of(s.last)
		if f.and(host) != (u128{}) || l.and(host) != host {
			faults.add(index(src.field, i), s.String(), fmt.Sprintf("spans begin and end on /%d boundaries", src.bits), "widen the span or raise SubscriberBits")
		}
	}
	if len(*faults) > before {
		return nil
	}
	holes := src.holes(k)
	for _, s := range src.spans {
		run := interval{u128Of(s.first).shr(k.shift), u128Of(s.last).shr(k.shift)}
		if p, ok := s.Prefix(); ok && !src.boundaries && k.is4 && k.shift == 0 && p.Bits() <= 30 {
			run.first, run.last = run.first.inc(), run.last.dec()
		}
		if !k.addRun(run, holes, src.limit) {
			faults.add(src.field, "too many", fmt.Sprintf("at most %d", src.limit), "split the map, or shorten SubscriberBits")
			return nil
		}
	}
	if k.total == 0 {
		faults.add(src.field, "no address", "exclusions and boundaries leave at least one", "remove an exclusion, or set IncludeBoundaryAddresses")
		return nil
	}
	k.byKey = slices.Clone(k.byBase)
	sort.Slice(k.byKey, func(i, j int) bool { return k.byKey[i].key.less(k.byKey[j].key) })
	return k
}

// addRun numbers the keys of run that are in no hole; holes are sorted and
// disjoint. It reports whether the total stays within limit.
func (k *keyspace) addRun(run interval, holes []interval, limit uint64) bool {
	i := sort.Search(len(holes), func(i int) bool { return !holes[i].last.less(run.first) })
	for ; i < len(holes) && !run.last.less(holes[i].first); i++ {
		if run.first.less(holes[i].first) && !k.addSegment(interval{run.first, holes[i].first.dec()}, limit) {
			return false
		}
		if !holes[i].last.less(run.last) {
			return true
		}
		run.first = holes[i].last.inc()
	}
	return k.addSegment(run, limit)
}

func (k *keyspace) addSegment(run interval, limit uint64) bool {
	d := run.last.sub(run.first)
	if d.hi != 0 || d.lo >= limit || k.total+d.lo+1 > limit {
		return false
	}
	n := d.lo + 1
	if len(k.byBase) > 0 {
		prev := &k.byBase[len(k.byBase)-1]
		// The address behind the highest IPv6 address is 0, no neighbour of it.
		if prev.key.add(u128{0, prev.n}) == run.first && run.first != (u128{}) {
			prev.n += n
			k.total += n
			return true
		}
	}
	k.byBase = append(k.byBase, segment{run.first, n, k.total})
	k.total += n
	return true
}

// holes returns the excluded keys, sorted, merged and disjoint. A key that is
// excluded in part is excluded.
func (src keySource) holes(k *keyspace) []interval {
	var out []interval
	for _, s := range src.exclude {
		out = append(out, interval{u128Of(s.first).shr(k.shift), u128Of(s.last).shr(k.shift)})
	}
	slices.SortFunc(out, func(a, b interval) int { return a.first.compare(b.first) })
	n := 0
	for _, h := range out {
		if n > 0 && !out[n-1].last.less(h.first) {
			if out[n-1].last.less(h.last) {
				out[n-1].last = h.last
			}
			continue
		}
		out[n] = h
		n++
	}
	return out[:n]
}

// overlaps adds a fault for every span that overlaps one before it in the order
// of addresses.
func (src keySource) overlaps(faults *faultList) {
	order := make([]int, len(src.spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return src.spans[a].first.Compare(src.spans[b].first) })
	widest := order[0]
	for _, i := range order[1:] {
		s, w := src.spans[i], src.spans[widest]
		if s.first.Compare(w.last) <= 0 {
			last := s.last
			if w.last.Less(last) {
				last = w.last
			}
			*faults = append(*faults, &OverlapError{Side: src.side, A: index(src.field, widest), B: index(src.field, i),
				Realm: src.realm, First: s.first, Last: last})
		}
		if w.last.Less(s.last) {
			widest = i
		}
	}
}

// faultList gathers faults so that all are reported together.
type faultList []error

func (f *faultList) add(field, value, rule, fix string) {
	*f = append(*f, &FieldError{Field: field, Value: value, Rule: rule, Fix: fix})
}

func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
