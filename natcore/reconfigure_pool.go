package natcore

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// poolChange is what a reconfiguration does to one pool.
type poolChange struct {
	number int
	p      *pool // nil for a further one, until it is made
	fresh  bool  // it is a further one
	gone   bool  // the configuration leaves it out
	want   [][2]uint32
	stays  [][2]uint32 // addresses that are withdrawn and in use, or rest
	added  [][2]uint32
	drop   [][2]uint32
	remap  bool // the map changes
}

// plan compares a pool with what it is to be.
func (c *change) plan(v *poolChange) {
	next := &c.cfg.Pools[v.number]
	path := fmt.Sprintf("Pools[%d].", v.number)
	if v.p == nil {
		p, err := c.newPool(v.number)
		if err != nil {
			c.faults = append(c.faults, err)
			return
		}
		p.statics, p.now = &c.e.statics, c.now
		v.p, v.fresh = p, true
		v.want = members(p.alloc)
		c.report.PoolsAdded = append(c.report.PoolsAdded, next.Name)
		c.report.AddressesAdded += size(v.want)
		return
	}
	p := v.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(c.now)
	if v.gone {
		if len(members(p.alloc)) > 0 {
			c.report.PoolsWithdrawn = append(c.report.PoolsWithdrawn, next.Name)
		}
	} else {
		c.samePool(path, &c.e.cfg.Pools[v.number], next)
		v.remap = p.cfg.Map != nil && next.Map != nil && p.identity()[5] != (&pool{cfg: *next}).identity()[5]
		if v.remap {
			c.planMap(path, p, next)
		}
		want, err := alloc.New(alloc.Config{Ranges: next.Addresses, Exclude: next.Exclude})
		if err != nil {
			c.faults = append(c.faults, prefixed(path, err))
			return
		}
		if v.want = members(want); len(v.want) == 0 {
			c.faults.add(path+"Exclude", next.Exclude, "must leave at least one address")
		}
		if p.layout != nil {
			if _, err := p.layout.NewReserved(next.Blocks.Reserved); err != nil {
				c.faults = append(c.faults, prefixed(path+"Blocks.", err))
			}
		}
	}
	have := members(p.alloc)
	v.added, v.drop = without(v.want, have), without(have, v.want)
	if next.Select.Fields() != 0 && !v.gone && len(v.added)+len(v.drop) > 0 {
		c.faults.add(path+"Addresses", next.Addresses, "cannot change where Select chooses addresses by their places")
	}
	if p.alloc.Positions()+size(v.added) > 1<<32-1 {
		c.faults.add(path+"Addresses", next.Addresses, "makes more than 2^32 places, with those that were withdrawn")
	} else if !p.bearable(p.alloc.Positions() + size(v.added)) {
		c.faults.add(path+"Addresses", next.Addresses, mostBlocksRule)
	}
	c.report.AddressesAdded += size(v.added)
	c.report.AddressesWithdrawn += size(v.drop)
	v.stays = without(p.busy(), v.want)
	c.report.Draining += p.leasedOutside(v.want)
	if p.layout != nil && !v.gone && !v.remap {
		c.report.Reserved += c.reservedLive(v, next)
	}
}

// samePool checks what cannot change of a pool.
func (c *change) samePool(path string, old, next *PoolConfig) {
	blocks := func(p *PoolConfig) portblock.Config {
		b := p.Blocks
		b.Reserved = nil
		return b
	}
	for _, v := range []struct {
		name    string
		was, is any
	}{
		{"ID", old.ID, next.ID}, {"Mapping", old.Mapping, next.Mapping}, {"Select", old.Select, next.Select}, {"Remotes", old.Remotes, next.Remotes},
		{"SubscribersPerAddress", old.SubscribersPerAddress, next.SubscribersPerAddress},
		{"Map", old.Map == nil, next.Map == nil}, {"Blocks", blocks(old), blocks(next)},
	} {
		if !reflect.DeepEqual(v.was, v.is) {
			c.faults.add(path+v.name, v.is, "cannot change on a live engine, only Overload, Filtering, Addresses, Exclude, Blocks.Reserved, Map and Epoch can: make another pool")
		}
	}
}

// planMap checks a new map, and counts whom it moves.
func (c *change) planMap(path string, p *pool, next *PoolConfig) {
	if p.cfg.Map.Config().Realm != next.Map.Config().Realm {
		c.faults.add(path+"Map", next.Map.Config().Realm, "must be of the same realm")
	}
	if next.Epoch <= p.cfg.Epoch {
		c.faults.add(path+"Epoch", next.Epoch, fmt.Sprintf("must be above %d, for the map has changed", p.cfg.Epoch))
	}
	if !reflect.DeepEqual(p.cfg.Blocks.Reserved, next.Blocks.Reserved) {
		c.faults.add(path+"Map", "", "must have the same dynamic range")
	}
	for _, s := range c.e.shards {
		for sub := range s.list.all() {
			if c.e.pools[sub.key.pool] != p || sameSet(sub.fixed.ports, next.Map, sub.key.addr) {
				continue
			}
			if c.report.Moved++; sub.others > 0 {
				c.faults.add(path+"Map", mapping.Addr4(sub.key.addr), "must not move a subscriber with sessions of protocols without ports: wait for their end")
			}
		}
	}
}

// sameSet reports whether a map gives a subscriber the ports that he has.
func sameSet(have deterministic.Ports, m *deterministic.Map, internal uint32) bool {
	next, err := m.Forward(mapping.Addr4(internal))
	if err != nil || next.Len() != have.Len() || next.External() != have.External() {
		return false
	}
	for i := range next.Len() {
		if next.Port(i) != have.Port(i) {
			return false
		}
	}
	return true
}

// busy returns the addresses that somebody is paired with, or on which a block is held or rests, merged and in order. The
// caller holds the lock.
func (p *pool) busy() [][2]uint32 {
	var all [][2]uint32
	add := func(position uint32) {
		a := mapping.Number4(p.alloc.Address(position))
		all = append(all, [2]uint32{a, a})
	}
	for l := range p.alloc.Leases() {
		add(l.Position())
	}
	for place, a := range p.addresses {
		if a.InUse(p.now) {
			add(place / uint32(p.selection.classes()))
		}
	}
	slices.SortFunc(all, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
	return slices.Compact(all)
}

// leasedOutside counts the addresses with a lease that are not wanted. The caller holds the lock.
func (p *pool) leasedOutside(want [][2]uint32) uint64 {
	seen := map[uint32]bool{}
	for l := range p.alloc.Leases() {
		if a := mapping.Number4(p.alloc.Address(l.Position())); !inRanges(want, a) {
			seen[a] = true
		}
	}
	return uint64(len(seen))
}

// inRanges reports whether an address is in one of some ranges, which are in order.
func inRanges(ranges [][2]uint32, a uint32) bool {
	i, _ := slices.BinarySearchFunc(ranges, a, func(r [2]uint32, a uint32) int { return cmp.Compare(r[1], a) })
	return i < len(ranges) && ranges[i][0] <= a
}

// reservedLive counts the ports in use that the new configuration reserves.
func (c *change) reservedLive(v *poolChange, next *PoolConfig) (n int) {
	set, err := v.p.layout.NewReserved(next.Blocks.Reserved)
	if err != nil || reflect.DeepEqual(v.p.cfg.Blocks.Reserved, next.Blocks.Reserved) {
		return 0
	}
	old, err := v.p.layout.NewReserved(v.p.cfg.Blocks.Reserved)
	if err != nil {
		return 0
	}
	for _, s := range c.e.shards {
		for sub := range s.list.all() {
			if int(sub.key.pool) != v.number || sub.holding.Blocks() == 0 {
				continue
			}
			for sp := range portblock.Space(portblock.NumSpaces) {
				for port := range sub.holding.Live(sp) {
					if set.Contains(sp, port.Number) && !old.Contains(sp, port.Number) {
						n++
					}
				}
			}
		}
	}
	return n
}

// take makes the change of a pool.
func (v *poolChange) take(c *change) {
	e, next := c.e, &c.cfg.Pools[v.number]
	if v.fresh {
		e.pools[v.number] = v.p
		e.poolCount.Add(1)
		return
	}
	if v.remap {
		v.move(c, next)
	}
	p := v.p
	p.mu.Lock()
	for _, r := range v.added {
		p.join(r)
	}
	for _, r := range v.drop {
		p.withdraw(r)
	}
	p.room()
	filtering := p.cfg.Filtering
	reserved := !v.gone && p.layout != nil && !reflect.DeepEqual(p.cfg.Blocks.Reserved, next.Blocks.Reserved)
	if !v.gone {
		p.cfg.Filtering, p.cfg.Addresses, p.cfg.Exclude, p.cfg.Blocks.Reserved, p.cfg.Epoch = next.Filtering, next.Addresses, next.Exclude, next.Blocks.Reserved, next.Epoch
		p.cfg.Overload = next.Overload
	}
	p.mu.Unlock()
	if reserved {
		v.reserve(c)
	}
	if filtering != p.cfg.Filtering {
		e.refilter(v.number, filtering)
	}
}

// join makes addresses serve. The caller holds the lock.
func (p *pool) join(r [2]uint32) {
	var missing [][2]uint32
	for a := uint64(r[0]); a <= uint64(r[1]); a++ {
		addr := mapping.Addr4(uint32(a))
		if info, ok := p.alloc.State(addr); ok && info.Status&alloc.StatusMember != 0 {
			_ = p.alloc.Undrain(addr) // a member: cannot fail
			continue
		}
		if n := len(missing); n > 0 && uint64(missing[n-1][1])+1 == a {
			missing[n-1][1] = uint32(a)
		} else {
			missing = append(missing, [2]uint32{uint32(a), uint32(a)})
		}
	}
	_ = p.alloc.Add(ranges(missing)...) // none is a member, and there is room: cannot fail
}

// withdraw takes addresses out that serve nobody, and drains the others. The caller holds the lock.
func (p *pool) withdraw(r [2]uint32) {
	for a := uint64(r[0]); a <= uint64(r[1]); a++ {
		addr := mapping.Addr4(uint32(a))
		if p.alloc.Remove(addr) != nil {
			_ = p.alloc.Drain(addr) // a member: cannot fail
		}
	}
}

// drained reports whether the address of a lease is being withdrawn. The caller holds the lock.
func (p *pool) drained(l alloc.Lease) bool {
	if p.alloc.Counts().Drained == 0 {
		return false
	}
	info, ok := p.alloc.StateAt(l.Position())
	return ok && info.Status&alloc.StatusDrained != 0
}

// reserve tells addresses and holdings which ports are reserved from now on.
func (v *poolChange) reserve(c *change) {
	p := v.p
	p.mu.Lock()
	p.reserves, p.latest.set = true, nil
	classes := uint32(p.selection.classes())
	fresh := p.layout.NewAddress(0)
	if set, err := p.layout.NewReserved(p.cfg.Blocks.Reserved); err == nil {
		_, _ = fresh.SetReserved(set, nil, p.now) // of this layout: cannot fail
	}
	p.fresh = int64(fresh.Counts(p.now).Free)
	for place, a := range p.addresses {
		_, _ = a.SetReserved(p.reservedAt(place/classes), nil, p.now) // of this layout: cannot fail
		p.alloc.SetRoom(place/classes, true)                          // found out again when a block is asked for
	}
	p.mu.Unlock()
	for _, s := range c.e.shards {
		for sub := range s.list.all() {
			if int(sub.key.pool) == v.number && sub.holding.Blocks() > 0 {
				place := p.place(sub.lease.Position(), sub.key.class)
				p.mu.Lock()
				set := p.reservedAt(sub.lease.Position())
				p.mu.Unlock()
				_, _ = sub.holding.SetReserved(place, set, nil, s.now)
				sub.roomier()
			}
		}
	}
}

// refilter makes the permits that address-dependent filtering needs, or takes them away.
func (e *Engine) refilter(number int, was Behaviour) {
	p := e.pools[number]
	var page []mapping.State
	for _, s := range e.shards {
		for part := 0; part >= 0; {
			page, part = s.table.AppendSessions(page[:0], part)
			for i := range page {
				v := &page[i]
				if pool, _, ok := e.external.find(v.External.Addr); !ok || pool != number {
					continue
				}
				class := p.selection.class(v.Remote)
				switch {
				case p.cfg.Filtering == AddressDependent:
					s.table.Permit(v.Space, v.External, v.Remote.Addr, class)
				case was == AddressDependent:
					s.table.Forbid(v.Space, v.External, v.Remote.Addr, class)
				}
			}
		}
	}
}
