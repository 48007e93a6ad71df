package alloc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"
)

// golden is the pool as it reads in the documentation: a slice with one struct
// for each position. It is right by reading and calls nothing of the pool.
type golden struct {
	limit  uint32
	spill  bool
	addrs  []goldenAddr
	cursor int // RoundRobin goes on here
	blocks int // ranges added so far
}

type goldenAddr struct {
	addr                                netip.Addr
	member, excluded, reserved, drained bool
	room                                bool
	shares                              uint32
	block                               int // addresses of one range have one number
}

// add appends all addresses from first to last, as a range of their own.
func (g *golden) add(first, last netip.Addr) {
	g.blocks++
	for a := first; ; a = a.Next() {
		g.addrs = append(g.addrs, goldenAddr{addr: a, member: true, room: true, block: g.blocks})
		if a == last {
			return
		}
	}
}

func (g *golden) full(a *goldenAddr) bool { return g.limit != 0 && a.shares == g.limit }

func (g *golden) isOpen(i int) bool {
	a := &g.addrs[i]
	return a.member && !a.reserved && !a.drained && a.room && !g.full(a)
}

// open returns the open positions but for those in hidden.
func (g *golden) open(hidden ...uint32) []int {
	var out []int
	for i := range g.addrs {
		if g.isOpen(i) && !slices.Contains(hidden, uint32(i)) {
			out = append(out, i)
		}
	}
	return out
}

// find returns the position of an address, or -1.
func (g *golden) find(a netip.Addr) int {
	return slices.IndexFunc(g.addrs, func(x goldenAddr) bool { return x.addr == a.Unmap() })
}

// why returns the sentinel for which TakeAddress refuses an address; nil if open.
func (g *golden) why(i int) error {
	if i < 0 {
		return ErrNotInPool
	}
	a := &g.addrs[i]
	switch {
	case a.excluded:
		return ErrExcluded
	case !a.member:
		return ErrNotInPool
	case a.reserved:
		return ErrReserved
	case a.drained:
		return ErrDrained
	case g.full(a):
		return ErrInUse
	case !a.room:
		return ErrNoRoom
	}
	return nil
}

// resource returns what Take would say that it ran out of.
func (g *golden) resource() Resource {
	full := false
	for i := range g.addrs {
		a := &g.addrs[i]
		if a.member && !a.reserved && !a.drained && !a.room && !g.full(a) {
			return ResourceRoom
		}
		full = full || g.full(a) || g.isOpen(i)
	}
	if full {
		return ResourceShares
	}
	return ResourceAddresses
}

func (g *golden) counts() Counts {
	var c Counts
	for i := range g.addrs {
		a := &g.addrs[i]
		if !a.member {
			c.Excluded++
			continue
		}
		c.Addresses++
		for _, x := range []struct {
			on bool
			n  *uint64
		}{{g.isOpen(i), &c.Open}, {a.shares == 0, &c.Whole}, {g.full(a), &c.Full},
			{!a.room, &c.NoRoom}, {a.reserved, &c.Reserved}, {a.drained, &c.Drained}} {
			if x.on {
				*x.n++
			}
		}
		c.Leases += uint64(a.shares)
	}
	return c
}

func (g *golden) status(i int) Status {
	a := &g.addrs[i]
	if a.excluded {
		return StatusExcluded
	}
	if !a.member {
		return 0
	}
	s := StatusMember
	for flag, on := range map[Status]bool{StatusUsed: a.shares > 0, StatusFull: g.full(a),
		StatusNoRoom: !a.room, StatusReserved: a.reserved, StatusDrained: a.drained} {
		if on {
			s |= flag
		}
	}
	return s
}

// sameLoad reports whether the documentation lets LeastLoaded count two loads
// as equal.
func sameLoad(a, b uint32) bool {
	if a > b {
		a, b = b, a
	}
	return a == b || a > 64 && float64(b) <= float64(a)*1.125+1
}

// compareAll fails when pool and model differ in anything that can be seen.
func (g *golden) compareAll(p *Pool) error {
	if got, want := p.Counts(), g.counts(); got != want {
		return fmt.Errorf("counts %+v, want %+v", got, want)
	}
	if p.Positions() != uint64(len(g.addrs)) || p.Len() != g.counts().Addresses {
		return fmt.Errorf("%d positions, %d addresses", p.Positions(), p.Len())
	}
	var infos []Info
	for i, a := range g.addrs {
		if pos, ok := p.Position(a.addr); !ok || pos != uint32(i) {
			return fmt.Errorf("position of %v: %d %v, want %d", a.addr, pos, ok, i)
		}
		info, ok := p.StateAt(uint32(i))
		want := Info{Addr: a.addr, Position: uint32(i), Shares: a.shares, Status: g.status(i)}
		if !ok || info != want {
			return fmt.Errorf("state %+v, want %+v", info, want)
		}
		if want.Status != 0 {
			infos = append(infos, want)
		}
		if p.HasRoom(uint32(i)) != (a.member && a.room) {
			return fmt.Errorf("room of %v", a.addr)
		}
	}
	if got := slices.Collect(p.Addresses(0)); !slices.Equal(got, infos) {
		return fmt.Errorf("Addresses: %v, want %v", got, infos)
	}
	var paged []Info
	for from, more := uint32(0), len(g.addrs) > 0; more; {
		paged, from, more = p.AppendPage(paged, from, 7)
	}
	if !slices.Equal(paged, infos) {
		return fmt.Errorf("AppendPage: %v, want %v", paged, infos)
	}
	return g.compareRuns(p)
}

// compareRuns compares the merged dump and the largest run.
func (g *golden) compareRuns(p *Pool) error {
	adjacent := func(i int) bool { // Whether i continues the range of i-1.
		return i > 0 && g.addrs[i].block == g.addrs[i-1].block
	}
	var spans []Span
	most, run := 0, 0
	for i := range g.addrs {
		s := g.status(i)
		if i > 0 && adjacent(i) && s == g.status(i-1) && s != 0 {
			spans[len(spans)-1].Range.last = g.addrs[i].addr
		} else if s != 0 {
			spans = append(spans, Span{Range{g.addrs[i].addr, g.addrs[i].addr}, s})
		}
		if !adjacent(i) {
			run = 0
		}
		if run++; !g.isOpen(i) {
			run = 0
		}
		most = max(most, run)
	}
	if got := slices.Collect(p.Spans(0)); !slices.Equal(got, spans) {
		return fmt.Errorf("Spans: %v, want %v", got, spans)
	}
	if r, n := p.LargestOpenRun(); n != uint64(most) || r.Len() != n {
		return fmt.Errorf("LargestOpenRun: %v %d, want %d", r, n, most)
	}
	return nil
}

// wantError fails unless err wraps want, or both are nil.
func wantError(t *rapid.T, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}
