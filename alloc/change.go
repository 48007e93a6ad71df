package alloc

import (
	"fmt"
	"net/netip"

	"github.com/RoaringBitmap/roaring/v2"
)

// SetRoom says whether the address at a position has room for a new
// subscriber. The owner of the ports calls it: false when all blocks are held
// or cooling, true when one is free again. Addresses start with room. Live
// leases are not touched. It reports whether something changed; a position of
// no member never changes.
func (p *Pool) SetRoom(position uint32, room bool) bool {
	if !p.member(position) || p.room.has(position) == room {
		return false
	}
	p.version++
	was := p.starving(position)
	p.room.put(position, room)
	p.recount(position, was)
	p.settle(position)
	return true
}

// HasRoom returns what SetRoom said last; false for a position of no member.
func (p *Pool) HasRoom(position uint32) bool { return p.room.has(position) }

// Reserve sets an address aside: no call takes it until Unreserve. The address
// must belong to the pool, be not reserved and have no live lease.
func (p *Pool) Reserve(addr netip.Addr) error {
	pos, err := p.find(addr)
	switch {
	case err != nil:
		return err
	case p.reserved.Contains(pos):
		return p.addressError(addr, ErrReserved)
	case !p.isWhole(pos):
		return p.addressError(addr, ErrInUse)
	}
	p.block(pos, p.reserved, true)
	return nil
}

// Unreserve ends a reservation.
func (p *Pool) Unreserve(addr netip.Addr) error {
	pos, err := p.find(addr)
	switch {
	case err != nil:
		return err
	case !p.reserved.Contains(pos):
		return p.addressError(addr, ErrNotReserved)
	}
	p.block(pos, p.reserved, false)
	return nil
}

// Drain stops new leases of an address; live ones stay. Draining again is no error.
func (p *Pool) Drain(addr netip.Addr) error { return p.drain(addr, true) }

// Undrain ends Drain; on an address that is not drained it is no error.
func (p *Pool) Undrain(addr netip.Addr) error { return p.drain(addr, false) }

func (p *Pool) drain(addr netip.Addr, on bool) error {
	pos, err := p.find(addr)
	if err == nil && p.drained.Contains(pos) != on {
		p.block(pos, p.drained, on)
	}
	return err
}

// Remove takes an address without live leases out of the pool. With live
// leases it refuses: *AddressError that wraps ErrInUse and has the count. A
// reservation or a drain ends with the removal.
func (p *Pool) Remove(addr netip.Addr) error {
	pos, err := p.find(addr)
	switch {
	case err != nil:
		return err
	case !p.isWhole(pos):
		return p.addressError(addr, ErrInUse)
	}
	p.expel(pos, p.removed)
	return nil
}

// Exclude takes all addresses of a range that belong to the pool out of it, for
// good until Add. With a live lease on any it changes nothing and refuses:
// *AddressError that wraps ErrInUse, with the first such address and the count
// of leases in the range. A range without any address of the pool is no error;
// an invalid one is a *ConfigError. It looks at all live leases.
func (p *Pool) Exclude(r Range) error {
	if !r.IsValid() {
		return &ConfigError{Field: "Range", Value: r.String(), Rule: "an excluded range must be valid", cause: ErrConfig}
	}
	if first, busy := p.leasesIn(r); busy > 0 {
		return &AddressError{Pool: p.name, Addr: p.Address(first), Shares: busy, cause: ErrInUse}
	}
	p.version++
	for from, end := range p.index.runs(r) {
		p.expelRange(from, end)
	}
	p.reindex()
	return nil
}

// leasesIn counts the live leases in a range and returns the lowest position
// that has one.
func (p *Pool) leasesIn(r Range) (first uint32, n uint64) {
	inside := roaring.New()
	for from, end := range p.index.runs(r) {
		inside.AddRange(from, end)
	}
	for l := range p.Leases() {
		if inside.Contains(l.position) {
			if n == 0 || l.position < first {
				first = l.position
			}
			n++
		}
	}
	return first, n
}

// Add brings more addresses into the live pool, all or none. Addresses that
// were removed or excluded come back at their old positions, with room; others
// get new ones. Addresses that belong to the pool already are an
// *OverlapError. Wide IPv6 ranges are cut as Config.Ranges says.
func (p *Pool) Add(ranges ...Range) error {
	c := Config{Name: p.name, Ranges: ranges}
	if err := c.check(); err != nil {
		return err
	}
	var fresh []Range
	for _, r := range ranges {
		for first, end := range p.index.runs(r) {
			if p.absent(first, end) < end-first {
				return &OverlapError{A: p.index.block(first).r, B: r}
			}
		}
		fresh = append(fresh, p.index.missing(r)...)
	}
	fresh, err := fit(p.index.n, fresh)
	if err != nil {
		return err
	}
	p.version++
	for _, r := range ranges {
		for first, end := range p.index.runs(r) {
			p.readmit(first, end)
		}
	}
	before := p.index.n
	p.index.add(fresh)
	p.members += p.index.n - before
	p.extend()
	p.reindex()
	return nil
}

// absent counts the former members in a run of positions.
func (p *Pool) absent(first, end uint64) uint64 {
	return p.removed.CardinalityInRange(first, end) + p.excluded.CardinalityInRange(first, end)
}

// member reports whether the address at a position belongs to the pool.
func (p *Pool) member(pos uint32) bool {
	return uint64(pos) < p.index.n && !p.removed.Contains(pos) && !p.excluded.Contains(pos)
}

// find returns the position of a member, or an *AddressError.
func (p *Pool) find(addr netip.Addr) (uint32, error) {
	pos, ok := p.index.position(addr)
	switch {
	case !ok || p.removed.Contains(pos):
		return 0, p.addressError(addr, ErrNotInPool)
	case p.excluded.Contains(pos):
		return 0, p.addressError(addr, ErrExcluded)
	}
	return pos, nil
}

func (p *Pool) addressError(addr netip.Addr, cause error) error {
	e := &AddressError{Pool: p.name, Addr: addr.Unmap(), cause: cause}
	if pos, ok := p.index.position(addr); ok {
		e.Shares = uint64(p.sharesOf(pos))
	}
	return e
}

// block sets or clears one of the states that close an address.
func (p *Pool) block(pos uint32, in *roaring.Bitmap, on bool) {
	p.version++
	was := p.starving(pos)
	if on {
		in.Add(pos)
		p.closed.Add(pos)
	} else {
		in.Remove(pos)
		if !p.reserved.Contains(pos) && !p.drained.Contains(pos) {
			p.closed.Remove(pos)
		}
	}
	p.recount(pos, was)
	p.settle(pos)
}

// expel ends the membership of a whole address.
func (p *Pool) expel(pos uint32, in *roaring.Bitmap) {
	p.version++
	was := p.starving(pos)
	p.reserved.Remove(pos)
	p.drained.Remove(pos)
	in.Add(pos)
	p.closed.Add(pos)
	p.room.remove(pos)
	p.recount(pos, was)
	p.settle(pos)
	p.idle.remove(pos)
	p.members--
}

// expelRange excludes the members among a run of positions, none of which has
// a lease. The sets need a reindex afterwards.
func (p *Pool) expelRange(first, end uint64) {
	gone := roaring.New()
	gone.AddRange(first, end)
	gone.AndNot(p.removed)
	gone.AndNot(p.excluded)
	p.members -= gone.GetCardinality()
	p.starved -= p.starvedIn(first, end)
	p.excluded.Or(gone)
	p.closed.Or(gone)
	p.reserved.RemoveRange(first, end)
	p.drained.RemoveRange(first, end)
	p.fillRange(first, end, false)
}

// starvedIn counts starving addresses in a run of positions without leases:
// the members without room that nothing else closes.
func (p *Pool) starvedIn(first, end uint64) uint64 {
	n := uint64(0)
	for pos := first; pos < end; {
		stop := min(end, p.room.change(uint32(pos)))
		if !p.room.has(uint32(pos)) {
			n += stop - pos - p.closed.CardinalityInRange(pos, stop)
		}
		pos = stop
	}
	return n
}

// readmit makes members again of a run of positions that are all former ones.
// The sets need a reindex afterwards.
func (p *Pool) readmit(first, end uint64) {
	for _, b := range []*roaring.Bitmap{p.removed, p.excluded, p.closed} {
		b.RemoveRange(first, end)
	}
	p.members += end - first
	p.fillRange(first, end, true)
}

// sets returns the sets that are kept, in a fixed order.
func (p *Pool) sets() []*set {
	if p.limit == 1 {
		return []*set{&p.free, &p.room, &p.idle}
	}
	return []*set{&p.free, &p.room, &p.idle, &p.fresh}
}

// untouched returns the set of the open positions without a live lease.
func (p *Pool) untouched() *set {
	if p.limit == 1 {
		return &p.free
	}
	return &p.fresh
}

// isWhole reports whether a position is that of a member without a live lease.
func (p *Pool) isWhole(pos uint32) bool { return p.untouched().has(pos) || p.idle.has(pos) }

// wholeTotal counts the members without a live lease.
func (p *Pool) wholeTotal() uint64 { return p.untouched().total + p.idle.total }

// fillRange makes all positions of a run open, or none of them members.
func (p *Pool) fillRange(first, end uint64, on bool) {
	for _, s := range p.sets() {
		s.fillRange(first, end, on && s != &p.idle)
	}
}

func (p *Pool) reindex() {
	for _, s := range p.sets() {
		s.reindex()
	}
}

// sharesOf returns the number of live leases of a position.
func (p *Pool) sharesOf(pos uint32) uint32 {
	switch {
	case !p.member(pos) || p.isWhole(pos):
		return 0
	case p.limit == 1:
		return 1
	}
	return p.users.at(p.byPos[pos]).shares
}

func (p *Pool) atLimit(pos uint32) bool { return p.limit != 0 && p.sharesOf(pos) == p.limit }

// starving reports whether the want of room is all that closes a position.
func (p *Pool) starving(pos uint32) bool {
	return !p.closed.Contains(pos) && !p.room.has(pos) && !p.atLimit(pos)
}

// recount keeps the number of starving addresses after a change.
func (p *Pool) recount(pos uint32, was bool) {
	switch is := p.starving(pos); {
	case is && !was:
		p.starved++
	case was && !is:
		p.starved--
	}
}

// settle brings what choose looks at into line with the states of a position.
func (p *Pool) settle(pos uint32) {
	whole := p.isWhole(pos) // While free is still what it was.
	open := !p.closed.Contains(pos) && p.room.has(pos) && !p.atLimit(pos)
	p.free.put(pos, open)
	p.idle.put(pos, whole && !open)
	if p.limit == 1 {
		return
	}
	p.fresh.put(pos, open && whole)
	if whole || !p.member(pos) {
		return
	}
	i := p.byPos[pos]
	if listed := p.users.at(i).class != unlisted; listed && !open {
		p.unlist(i)
	} else if open && !listed {
		p.list(i)
	}
}

// CheckInvariants recomputes everything that the pool keeps derived and returns
// the first contradiction. It is for tests and costs a walk over the pool.
func (p *Pool) CheckInvariants() error {
	for _, s := range []struct {
		name string
		set  *set
	}{{"free", &p.free}, {"room", &p.room}, {"idle", &p.idle}, {"fresh", &p.fresh}} {
		if err := s.set.check(); err != nil {
			return fmt.Errorf("alloc: set %s: %w", s.name, err)
		}
	}
	return p.checkStates()
}
