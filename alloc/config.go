package alloc

import (
	"errors"
	"fmt"
	"slices"
)

// Config describes a pool. New copies what it needs and never changes it.
type Config struct {
	// Name says which pool errors and leases speak of. Leases of pools with
	// different names are told apart. At most 255 bytes. Default: empty.
	Name string

	// Ranges are the pool's addresses, in the order in which they get their
	// positions. They must not overlap (RFC 6888 REQ-3: any mix, not
	// contiguous). An empty list makes a pool that refuses until Add.
	//
	// There are 2^32 positions in all. An IPv6 range with more addresses
	// serves its first 2^32, or what the other ranges leave of them; several
	// such ranges get equal parts of what is left.
	Ranges []Range

	// Exclude are addresses inside Ranges that never serve. They keep
	// positions. Parts outside of Ranges are ignored.
	Exclude []Range

	// Shares is how many subscribers an address serves at once: 1 is exclusive
	// use, 0 means no limit.
	Shares uint32

	// Spill says what a subscriber gets whose address is full: false (default)
	// refuses, as paired pooling asks (RFC 6888 REQ-2, RFC 4787 REQ-2); true
	// lets Pool.Spill take a share of a further address.
	Spill bool

	// Seed keys random choice, the choice among equals and the hash of TakeKey.
	// Draw it from crypto/rand to make choices unpredictable. The same seed
	// and calls give the same choices; the zero seed is legal and meant for
	// tests.
	Seed [32]byte
}

const maxName = 255

// check returns every fault of the configuration, joined.
func (c *Config) check() error {
	var faults []error
	if len(c.Name) > maxName {
		faults = append(faults, &ConfigError{Field: "Name", Value: shorten(c.Name),
			Rule: "at most 255 bytes; shorten it", cause: ErrConfig})
	}
	for _, list := range []struct {
		name   string
		ranges []Range
	}{{"Ranges", c.Ranges}, {"Exclude", c.Exclude}} {
		for i, r := range list.ranges {
			if !r.IsValid() {
				faults = append(faults, &ConfigError{Field: fmt.Sprintf("%s[%d]", list.name, i), Value: "invalid range",
					Rule: "use ParseRange, RangeOf, RangeOfPrefix or RangeOfAddr and check the outcome", cause: ErrConfig})
			}
		}
	}
	faults = append(faults, overlaps(c.Ranges)...)
	if _, err := fit(0, c.Ranges); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// overlaps returns an *OverlapError for every range that overlaps an earlier
// one in the order of addresses.
func overlaps(ranges []Range) []error {
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r Range) bool { return !r.IsValid() })
	slices.SortFunc(sorted, func(a, b Range) int { return a.first.Compare(b.first) })
	var faults []error
	for i, widest := 1, 0; i < len(sorted); i++ {
		if sorted[widest].Overlaps(sorted[i]) {
			faults = append(faults, &OverlapError{A: sorted[widest], B: sorted[i]})
		}
		// Families sort apart, so the range that reaches furthest is the only
		// one that a later range of the family can touch first.
		if sorted[widest].first.BitLen() != sorted[i].first.BitLen() || sorted[widest].last.Less(sorted[i].last) {
			widest = i
		}
	}
	return faults
}

// fit cuts wide IPv6 ranges so that all ranges fit into the positions that are
// left after used. Invalid ranges are passed over.
func fit(used uint64, ranges []Range) ([]Range, error) {
	left, wide := maxPositions-used, uint64(0)
	for i, r := range ranges {
		switch n := r.Len(); {
		case n > maxPositions:
			wide++
		case n > left:
			return nil, &ConfigError{Field: fmt.Sprintf("Ranges[%d]", i), Value: r.String(),
				Rule: "all ranges together must have at most 2^32 addresses; leave some out", cause: ErrTooLarge}
		default:
			left -= n
		}
	}
	out := slices.Clone(ranges)
	for i, r := range out {
		if r.Len() > maxPositions {
			if left/wide == 0 {
				return nil, &ConfigError{Field: fmt.Sprintf("Ranges[%d]", i), Value: r.String(),
					Rule: "the other ranges leave no positions for this one; leave some out", cause: ErrTooLarge}
			}
			out[i] = r.cut(left / wide)
		}
		if out[i].mapped() {
			return nil, &ConfigError{Field: fmt.Sprintf("Ranges[%d]", i), Value: r.String(),
				Rule: "IPv4-mapped addresses (::ffff:0:0/96) must not lie within an IPv6 range; write them as IPv4", cause: ErrConfig}
		}
	}
	return out, nil
}

// mapped reports whether a range of IPv6 addresses holds IPv4-mapped ones. A
// pool would answer for those with the position of the IPv4 address.
func (r Range) mapped() bool {
	return r.IsValid() && !r.first.Is4() && r.Overlaps(Range{v6Addr(0, 0xffff<<32), v6Addr(0, 0xffff<<32|0xffffffff)})
}
