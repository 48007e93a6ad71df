package natcore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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

// has reports whether an address is of any pool.
func (x *externals) has(addr uint32) bool {
	spans := *x.spans.Load()
	if len(spans) == 1 {
		return addr-spans[0].first <= spans[0].last-spans[0].first
	}
	_, _, ok := x.find(addr)
	return ok
}

// find returns the pool and position of an address. One span costs one compare, many a binary search.
func (x *externals) find(addr uint32) (pool int, position uint32, ok bool) {
	spans := nearest(*x.spans.Load(), addr)
	if len(spans) == 0 {
		return 0, 0, false
	}
	s := &spans[0]
	if addr-s.first > s.last-s.first {
		return 0, 0, false
	}
	return s.pool, s.position + (addr - s.first), true
}

// nearest narrows spans, in order, to the one that an address can be in.
func nearest(spans []span, addr uint32) []span {
	for len(spans) > 1 {
		half := len(spans) / 2
		if addr < spans[half].first {
			spans = spans[:half]
		} else {
			spans = spans[half:]
		}
	}
	return spans
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

// members returns the addresses of a pool that are not being withdrawn, as merged ranges in order.
func members(a *alloc.Pool) [][2]uint32 {
	var all [][2]uint32
	for s := range a.Spans(0) {
		if s.Status&alloc.StatusMember != 0 && s.Status&alloc.StatusDrained == 0 {
			all = append(all, [2]uint32{mapping.Number4(s.Range.First()), mapping.Number4(s.Range.Last())})
		}
	}
	slices.SortFunc(all, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && merged[n-1][1] != math.MaxUint32 && merged[n-1][1]+1 == r[0] {
			merged[n-1][1] = r[1]
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// externalsOf indexes the addresses that pools have now, those that are being withdrawn included.
func externalsOf(pools []*pool) (*[]span, error) {
	var all []span
	for i, p := range pools {
		p.mu.Lock()
		for s := range p.alloc.Spans(0) {
			if s.Status&alloc.StatusMember == 0 {
				continue
			}
			position, _ := p.alloc.Position(s.Range.First())
			v := span{mapping.Number4(s.Range.First()), mapping.Number4(s.Range.Last()), i, position}
			if n := len(all); n > 0 && all[n-1].pool == i && all[n-1].last != math.MaxUint32 && all[n-1].last+1 == v.first &&
				all[n-1].position+(v.first-all[n-1].first) == v.position {
				all[n-1].last = v.last
				continue
			}
			all = append(all, v)
		}
		p.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; b.first <= a.last {
			return nil, fmt.Errorf("%v is of pools %q and %q", mapping.Addr4(b.first), pools[a.pool].cfg.Name, pools[b.pool].cfg.Name)
		}
	}
	return &all, nil
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
