package alloc

import (
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// check recomputes counts, tree and total of a set.
func (s *set) check() error {
	total := uint64(0)
	var g page
	for i := range s.count {
		i := uint32(i)
		total += uint64(s.count[i])
		if uint64(s.count[i]) > s.span(i) {
			return fmt.Errorf("page %d has %d members of %d", i, s.count[i], s.span(i))
		}
		if s.open[i] != nil {
			g = *s.open[i]
		} else {
			s.load(i, &g)
		}
		kept := g.sub
		g.recount()
		n := 0
		for _, c := range g.sub {
			n += int(c)
		}
		if kept != g.sub || n != int(s.count[i]) {
			return fmt.Errorf("page %d: count %d, bits %d", i, s.count[i], n)
		}
		if b := g.next(uint32(s.span(i))); b >= 0 {
			return fmt.Errorf("page %d: bit %d beyond its end", i, b)
		}
		if got := s.before(i + 1); got != total {
			return fmt.Errorf("tree says %d members up to page %d, counts say %d", got, i, total)
		}
	}
	if total != s.total {
		return fmt.Errorf("total %d, sum of counts %d", s.total, total)
	}
	return nil
}

// checkStates compares the sets with the states of every position.
func (p *Pool) checkStates() error {
	union := roaring.FastOr(p.reserved, p.drained, p.excluded, p.removed)
	out := roaring.Or(p.excluded, p.removed)
	switch {
	case !union.Equals(p.closed):
		return errors.New("alloc: closed is not the union of the states")
	case p.excluded.Intersects(p.removed):
		return errors.New("alloc: an address is excluded and removed")
	case p.reserved.Intersects(out) || p.drained.Intersects(out):
		return errors.New("alloc: a former member is reserved or drained")
	case p.members != p.index.n-out.GetCardinality():
		return errors.New("alloc: count of members is wrong")
	case p.limit != 1 && uint64(len(p.byPos)) != p.members-p.wholeTotal():
		return errors.New("alloc: users and whole addresses do not add up")
	}
	var full, starved, leases uint64
	for pos := uint64(0); pos < p.index.n; pos++ {
		n, pos := p.sharesOf(uint32(pos)), uint32(pos)
		leases += uint64(n)
		if p.atLimit(pos) {
			full++
		}
		if p.starving(pos) {
			starved++
		}
		open := !p.closed.Contains(pos) && p.room.has(pos) && !p.atLimit(pos)
		if p.free.has(pos) != open {
			return fmt.Errorf("alloc: position %d: free %v, open %v", pos, !open, open)
		}
		if !p.member(pos) && (p.idle.has(pos) || p.room.has(pos)) {
			return fmt.Errorf("alloc: position %d is no member, and idle or with room", pos)
		}
		// That idle and fresh have no more than they may is seen here; that
		// they have all that they must, by the count of leases below.
		if p.idle.has(pos) && (open || n > 0) {
			return fmt.Errorf("alloc: position %d: idle, open %v, %d leases", pos, open, n)
		}
		if p.limit == 1 {
			continue
		}
		if p.fresh.has(pos) != (open && n == 0) {
			return fmt.Errorf("alloc: position %d: fresh is wrong", pos)
		}
		if n > 0 {
			u := p.users.at(p.byPos[pos])
			if u.pos != pos || (u.class != unlisted) != open || open && u.class != loadClass(n) {
				return fmt.Errorf("alloc: position %d: listed under %d with %d leases", pos, u.class, n)
			}
		}
	}
	if full != p.full || starved != p.starved || leases != p.leases {
		return fmt.Errorf("alloc: full %d, starved %d, leases %d; kept %d, %d, %d",
			full, starved, leases, p.full, p.starved, p.leases)
	}
	return p.checkLeases()
}

// checkLeases counts live tickets by address, and walks the lists and free lists.
func (p *Pool) checkLeases() error {
	byPos := map[uint32]uint32{}
	for l := range p.Leases() {
		if !p.Holds(l) {
			return fmt.Errorf("alloc: live ticket %d is not held", l.slot)
		}
		byPos[l.position]++
	}
	live := uint64(0)
	for pos, n := range byPos {
		live += uint64(n)
		if p.sharesOf(pos) != n {
			return fmt.Errorf("alloc: position %d: %d leases, %d tickets", pos, p.sharesOf(pos), n)
		}
	}
	if live != p.leases || live+uint64(p.tickets.loose)+uint64(p.tickets.lost) != uint64(p.tickets.n) {
		return fmt.Errorf("alloc: %d live tickets, %d free, %d made, %d leases", live, p.tickets.loose, p.tickets.n, p.leases)
	}
	for i, k := p.tickets.free, uint32(0); k < p.tickets.loose; k++ {
		if p.tickets.at(i).serial != 0 {
			return fmt.Errorf("alloc: live ticket %d in the free list", i)
		}
		i = p.tickets.at(i).ref
	}
	return p.checkLists()
}

func (p *Pool) checkLists() error {
	listed := 0
	for c := range p.loads.ends {
		if p.loads.busy[c/64]>>(c%64)&1 == 0 {
			continue
		}
		prev := nobody
		for i := p.loads.ends[c].head; i != nobody; i = p.users.at(i).next {
			u := p.users.at(i)
			if int(u.class) != c || u.prev != prev || u.shares == 0 {
				return fmt.Errorf("alloc: list %d is broken at user %d", c, i)
			}
			prev = i
			if listed++; listed > len(p.byPos) {
				return fmt.Errorf("alloc: list %d is a ring", c)
			}
		}
		if prev == nobody || p.loads.ends[c].tail != prev {
			return fmt.Errorf("alloc: list %d has a wrong tail", c)
		}
	}
	if p.limit != 1 && uint64(listed) != p.free.total-p.fresh.total {
		return fmt.Errorf("alloc: %d listed, %d open and %d of them fresh", listed, p.free.total, p.fresh.total)
	}
	return nil
}
