package natcore

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// shard reads a shard.
func (r *reader) shard(s *shard) {
	s.rnd = rand.NewChaCha8(r.secret())
	s.now = r.time()
	cursor, phase := r.i(), time.Duration(r.u(tickPhase))*time.Millisecond
	var key [24]byte
	secret := r.secret()
	copy(key[:], secret[:])
	if r.err != nil {
		return
	}
	s.setTable(r.e.newTable(key, s.now.Add(-phase)))
	s.tick = s.table.Advance(s.now)
	next := uint32(r.u(most32))
	var spare []uint32
	free := map[uint32]bool{}
	for range r.count(1) {
		n := uint32(r.u(most32))
		spare, free[n] = append(spare, n), true
		if n >= next {
			r.bad("a number of a subscriber is out of range")
		}
	}
	n := r.count(8)
	if r.err == nil && (len(free) != len(spare) || uint64(len(spare))+uint64(n) != uint64(next) || cursor < 0 || cursor > int64(next)) {
		r.bad("the numbers of subscribers do not add up")
	}
	if r.err != nil {
		return
	}
	s.list.reserve(next, spare)
	s.cursor = int(cursor)
	for range n {
		if r.err == nil {
			r.subscriber(s, free)
		}
	}
	r.accounts(s)
	r.releases(s)
	r.mappings(s)
	r.sessions(s)
	if r.version >= 2 {
		r.rests(s)
	}
	for sub := range s.list.all() {
		if r.err == nil {
			r.whole(s, sub)
		}
	}
}

// subscriber reads a subscriber and its blocks.
func (r *reader) subscriber(s *shard, taken map[uint32]bool) {
	e := r.e
	v := subscriber{index: uint32(r.u(most32)), key: r.key(), external: uint32(r.u(most32))}
	sub := &v // until its place is known to be free
	sub.lease = alloc.LeaseFromBytes([16]byte(r.bytes(16)))
	sub.high = r.u(1) == 1
	others := r.i()
	sub.others = int32(others)
	if r.err != nil {
		return
	}
	p := e.pools[sub.key.pool]
	pool, position, own := e.external.find(sub.external)
	switch {
	case sub.index >= s.list.next || taken[sub.index] || s.sub(sub.key) != nil || e.shardOf(sub.key.realm, sub.key.addr) != s,
		!own || pool != int(sub.key.pool), others < 0, others > math.MaxInt32,
		p.cfg.Map == nil && !p.alloc.Holds(sub.lease), sub.lease.IsValid() && (!p.alloc.Holds(sub.lease) || sub.lease.Position() != position):
		r.bad("subscriber %v contradicts the rest", mapping.Addr4(sub.key.addr))
		return
	}
	taken[sub.index] = true
	if p.cfg.Map != nil {
		ports, err := p.cfg.Map.Forward(mapping.Addr4(sub.key.addr))
		if err != nil || mapping.Number4(ports.External()) != sub.external {
			r.fail(ErrSnapshot, err, "subscriber %v is not the map's", mapping.Addr4(sub.key.addr))
			return
		}
		sub.fixed = &fixedPorts{ports: ports}
		if ports.Len() > 0 {
			sub.fixed.id = s.table.AddBlock(mapping.Block{
				Realm: sub.key.realm, Internal: sub.key.addr, External: sub.external, Owner: sub.index, Ports: uint32(ports.Len()),
			})
		}
	}
	e.subscribers.Add(1)
	sub = s.list.place(v.index)
	*sub = v
	s.known(sub, e.account(s, nil, sub.key))
	if p.layout != nil {
		r.holding(s, p, sub, position)
	}
}

// holding reads the blocks of a subscriber.
func (r *reader) holding(s *shard, p *pool, sub *subscriber, position uint32) {
	part := r.part()
	if r.err != nil {
		return
	}
	h, n, err := p.layout.RestoreHolding(part)
	if err != nil || n != len(part) {
		r.fail(ErrSnapshot, err, "blocks of subscriber %v", mapping.Addr4(sub.key.addr))
		return
	}
	sub.holding.Holding = *h // the original is gone with this function
	place := p.place(position, sub.key.class)
	if set := p.reservedAt(position); set != nil {
		_, _ = sub.holding.SetReserved(place, set, nil, s.now)
	}
	for b := range sub.holding.All(s.now) {
		if b.Block.Address() != place || p.addresses[place] == nil || !p.addresses[place].Holds(b.Block) || !r.own(s, p, sub, b.Block) {
			r.bad("subscriber %v holds a block that is not its own", mapping.Addr4(sub.key.addr))
			return
		}
	}
	for range r.count(3) {
		address, number, age := uint32(r.u(most32)), int(r.u(most16)), r.u(uint64(mapping.MaxIdle.Milliseconds()))
		i := slices.IndexFunc(sub.blocks(), func(b heldBlock) bool { return b.block.Address() == address && b.block.Number() == number })
		if r.err == nil && i < 0 {
			r.bad("a block of subscriber %v is not held", mapping.Addr4(sub.key.addr))
		}
		if r.err != nil {
			return
		}
		s.table.RestoreLastPacket(sub.blocks()[i].id, s.tick-mapping.Tick(age))
	}
	sub.touched = s.tick + 1
}

// own gives a block to its subscriber, and reports whether nobody else has it.
func (r *reader) own(s *shard, p *pool, sub *subscriber, b portblock.Block) bool {
	p.prepareOwner(b)
	if p.owner(b.Address(), b.Number()) != 0 {
		return false
	}
	id := s.table.AddBlock(mapping.Block{
		Realm: sub.key.realm, Internal: sub.key.addr, External: sub.external, Class: sub.key.class,
		Number: uint16(b.Number()), Owner: sub.index, Ports: uint32(p.layout.PortsOf(b)),
	})
	sub.hold(heldBlock{b, id})
	p.setOwner(b, ownerOf(s.index))
	p.held += p.unitsOf(b)
	sub.account.blocks++
	if a := sub.account.realm; a != nil {
		a.blocks.Add(1)
	}
	return true
}

// accounts reads what rates have used up, and the quotas that were set.
func (r *reader) accounts(s *shard) {
	for range r.count(4) {
		k := accountKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32))}
		opening, making := r.i(), r.i()
		if a := s.account(k); a != nil {
			a.opening, a.mapping = bucket(opening), bucket(making)
		} else if r.err == nil {
			r.bad("an account is nobody's")
		}
	}
	for range r.count(2) {
		k := accountKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32))}
		q := &Quota{}
		for _, n := range q.numbers(r.version) {
			*n = int(r.i())
		}
		var f faults
		if q.complete(&f, "Quota", true); r.err == nil && (len(f) > 0 || r.e.shardOf(k.realm, k.addr) != s) {
			r.fail(ErrSnapshot, errors.Join(f...), "a quota")
		}
		s.overrides[k] = q
		if a := s.account(k); a != nil && r.err == nil {
			a.quota = q
		}
	}
}

// releases reads the blocks whose release is not recorded yet.
func (r *reader) releases(s *shard) {
	for range r.count(9) {
		v := release{key: r.key(), external: uint32(r.u(most32))}
		place, first := uint32(r.u(most32)), uint16(r.u(most16))
		v.used, v.why = int(r.u(most16)), logging.Reason(r.u(most8))
		if r.err != nil {
			return
		}
		p := r.e.pools[v.key.pool]
		a := p.addresses[place]
		if a == nil || !v.why.Valid() {
			r.bad("a block that waits for its release is of no address")
			return
		}
		o := a.Owner(first, p.now)
		if v.block = o.Block; o.State != portblock.Heating || p.owner(place, o.Block.Number()) != 0 ||
			slices.ContainsFunc(s.pending, func(x release) bool { return x.block == v.block }) {
			r.bad("a block that waits for its release is not held")
			return
		}
		p.held += p.unitsOf(v.block)
		s.pending = append(s.pending, v)
	}
	s.waiting.Store(int64(len(s.pending)))
}
