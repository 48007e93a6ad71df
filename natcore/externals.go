package natcore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
)

// maxPools bounds the number of pools: a subscriber's key has 16 bits for its pool.
const maxPools = 1024

// externals tells which pool an external address belongs to, and where in it.
// It is read without a lock: its spans are replaced as a whole.
type externals struct {
	spans atomic.Pointer[[]span]
}

// span is a run of addresses of one pool, whose positions follow each other.
type span struct {
	first, last uint32
	pool        int
	position    uint32
}

// find returns the pool and position of an address. One span costs one compare, many a binary search.
func (x *externals) find(addr uint32) (pool int, position uint32, ok bool) {
	spans := *x.spans.Load()
	for len(spans) > 1 {
		half := len(spans) / 2
		if addr < spans[half].first {
			spans = spans[:half]
		} else {
			spans = spans[half:]
		}
	}
	if len(spans) == 0 {
		return 0, 0, false
	}
	s := &spans[0]
	if addr-s.first > s.last-s.first {
		return 0, 0, false
	}
	return s.pool, s.position + (addr - s.first), true
}

// newExternals indexes the addresses of all pools, and reports pools that
// share an address.
func newExternals(c *Config, pools []*pool) (*externals, error) {
	x := &externals{}
	var all []span
	for i := range c.Pools {
		if i >= len(pools) || pools[i] == nil {
			continue // its faults are told already
		}
		for _, r := range c.Pools[i].Addresses {
			position, ok := pools[i].alloc.Position(r.First())
			if !ok {
				continue // the pool's own constructor has reported it
			}
			first := mapping.Number4(r.First())
			all = append(all, subtract([]span{{first, mapping.Number4(r.Last()), i, position}}, c.Pools[i].Exclude)...)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var f faults
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if b.first > a.last {
			continue
		}
		if b.pool < a.pool {
			a, b = b, a
		}
		f.add(fmt.Sprintf("Pools[%d].Addresses", b.pool),
			fmt.Sprintf("%v-%v", mapping.Addr4(b.first), mapping.Addr4(b.last)),
			fmt.Sprintf("shares addresses with pool %q: one port space has one allocator", c.Pools[a.pool].Name))
	}
	if len(f) > 0 {
		// Addresses that overlap within a pool were refused before, so two
		// neighbours in order overlap wherever two spans do.
		return nil, errors.Join(f...)
	}
	x.spans.Store(&all)
	return x, nil
}

// subtract cuts ranges out of spans.
func subtract(spans []span, cuts []alloc.Range) []span {
	for _, c := range cuts {
		if !c.IsValid() || !c.First().Is4() {
			continue
		}
		first, last := mapping.Number4(c.First()), mapping.Number4(c.Last())
		var rest []span
		for _, s := range spans {
			if last < s.first || first > s.last {
				rest = append(rest, s)
				continue
			}
			if s.first < first {
				rest = append(rest, span{s.first, first - 1, s.pool, s.position})
			}
			if last < s.last {
				rest = append(rest, span{last + 1, s.last, s.pool, s.position + (last + 1 - s.first)})
			}
		}
		spans = rest
	}
	return spans
}

func mask4(bits int) uint32 {
	return uint32(0xffffffff) << (32 - bits)
}
