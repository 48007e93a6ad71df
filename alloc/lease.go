package alloc

import "encoding/binary"

// Lease is one subscriber's share of one address: a position and a generation.
// It is small, comparable and copies freely; a copy is the same lease and
// cannot be returned twice. The zero Lease is invalid.
//
// A pool numbers its leases with 32 bits and starts over after 2^32 of them; a
// lease that was returned that many leases ago, and had the same address and
// place in the pool's table, would pass for live.
type Lease struct {
	position uint32
	slot     uint32 // place in Pool.tickets
	serial   uint32 // generation; 0 only in the zero Lease
	pool     uint32 // Pool.tag
}

// IsValid reports whether the lease came from a pool. It may be returned already.
func (l Lease) IsValid() bool { return l.serial != 0 }

// Position returns the place of the leased address in its pool.
func (l Lease) Position() uint32 { return l.position }

// Bytes returns the lease in 16 bytes, big-endian, for snapshots of its holder.
func (l Lease) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], l.position)
	binary.BigEndian.PutUint32(b[4:], l.slot)
	binary.BigEndian.PutUint32(b[8:], l.serial)
	binary.BigEndian.PutUint32(b[12:], l.pool)
	return b
}

// LeaseFromBytes is the inverse of Lease.Bytes. Return checks the outcome as any
// other lease.
func LeaseFromBytes(b [16]byte) Lease {
	return Lease{
		position: binary.BigEndian.Uint32(b[0:]),
		slot:     binary.BigEndian.Uint32(b[4:]),
		serial:   binary.BigEndian.Uint32(b[8:]),
		pool:     binary.BigEndian.Uint32(b[12:]),
	}
}

// Return gives a lease back. A lease that is invalid, of another pool, returned
// already or overtaken changes nothing: *LeaseError that wraps ErrLeaseInvalid,
// ErrLeaseForeign or ErrLeaseStale.
func (p *Pool) Return(l Lease) error {
	if fault := p.fault(l); fault != nil {
		p.refusals.Lease++
		return &LeaseError{Pool: p.name, Lease: l, cause: fault}
	}
	p.version++
	t := p.tickets.at(l.slot)
	ref := t.ref
	*t = ticket{ref: p.tickets.give(l.slot)}
	p.leases--
	if p.limit == 1 {
		p.full--
		if !p.reopen(l.position) {
			p.idle.add(l.position)
		}
		return nil
	}
	p.unshare(ref)
	return nil
}

// Holds reports whether the lease is live in this pool.
func (p *Pool) Holds(l Lease) bool { return p.fault(l) == nil }

// fault tells why a lease is not live.
func (p *Pool) fault(l Lease) error {
	switch {
	case l.serial == 0:
		return ErrLeaseInvalid
	case l.pool != p.tag:
		return ErrLeaseForeign
	case l.slot >= p.tickets.n || p.tickets.blocks[l.slot/slabBlock] == nil:
		return ErrLeaseStale // A restored table is as short as it can be.
	}
	t := p.tickets.at(l.slot)
	if t.serial != l.serial || p.holder(t) != l.position {
		return ErrLeaseStale
	}
	return nil
}

// holder returns the position that a live ticket stands for.
func (p *Pool) holder(t *ticket) uint32 {
	if p.limit == 1 {
		return t.ref
	}
	return p.users.at(t.ref).pos
}

// grant records a new lease of an open position.
func (p *Pool) grant(pos uint32) Lease {
	p.version++
	if p.serial++; p.serial == 0 {
		p.serial = 1
	}
	p.leases++
	ref := pos
	if p.limit == 1 {
		p.full++
		p.free.remove(pos)
	} else {
		ref = p.share(pos)
	}
	slot := p.tickets.take(nextTicket)
	*p.tickets.at(slot) = ticket{ref: ref, serial: p.serial}
	return Lease{position: pos, slot: slot, serial: p.serial, pool: p.tag}
}

// share adds a lease to an open address of a pool with several leases each, and
// returns its entry in users.
func (p *Pool) share(pos uint32) uint32 {
	var i uint32
	if p.fresh.remove(pos) {
		i = p.users.take(nextUser)
		*p.users.at(i) = user{pos: pos, class: unlisted}
		p.byPos[pos] = i
	} else {
		i = p.byPos[pos]
		p.unlist(i)
	}
	u := p.users.at(i)
	u.shares++
	if u.shares == p.limit {
		p.full++
		p.free.remove(pos)
	} else {
		p.list(i)
	}
	return i
}

// unshare takes a lease off the address of user i.
func (p *Pool) unshare(i uint32) {
	u := p.users.at(i)
	pos := u.pos
	wasFull := u.shares == p.limit
	p.unlist(i)
	u.shares--
	if u.shares == 0 {
		delete(p.byPos, pos)
		u.next = p.users.give(i)
	}
	if wasFull {
		p.full--
		p.reopen(pos)
	}
	switch open := p.free.has(pos); {
	case u.shares == 0 && open:
		p.fresh.add(pos)
	case u.shares == 0:
		p.idle.add(pos)
	case open:
		p.list(i)
	}
}

// reopen lets Take give an address again that was at the limit, unless
// something else closes it. It reports whether the address is open.
func (p *Pool) reopen(pos uint32) bool {
	switch {
	case p.closed.Contains(pos):
	case p.room.has(pos):
		p.free.add(pos)
		return true
	default:
		p.starved++
	}
	return false
}
