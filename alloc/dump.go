package alloc

import (
	"iter"
	"net/netip"
)

// Status is the state of an address as flags. An address with none of them but
// StatusMember serves nobody and is open.
type Status uint8

const (
	// StatusMember: the address belongs to the pool.
	StatusMember Status = 1 << iota
	// StatusUsed: it has a live lease (it is not whole).
	StatusUsed
	// StatusFull: it has as many leases as Config.Shares allows.
	StatusFull
	// StatusNoRoom: the owner of its ports says that it has no room.
	StatusNoRoom
	// StatusReserved: Reserve set it aside.
	StatusReserved
	// StatusDrained: Drain stopped new leases.
	StatusDrained
	// StatusExcluded: it is excluded; never with StatusMember.
	StatusExcluded
)

// String returns the names of the flags, separated by commas.
func (s Status) String() string {
	if s == 0 {
		return "removed"
	}
	out := ""
	for i, name := range [...]string{"member", "used", "full", "no room", "reserved", "drained", "excluded"} {
		if s>>i&1 != 0 {
			out += "," + name
		}
	}
	if out == "" {
		return "unknown status"
	}
	return out[1:]
}

// Info describes one address.
type Info struct {
	Addr     netip.Addr
	Position uint32
	Shares   uint32 // live leases
	Status   Status
}

// Counts is a pool in numbers. Full, NoRoom, Reserved and Drained may count one
// address several times.
type Counts struct {
	Addresses uint64 // that belong to the pool
	Open      uint64 // that Take may give
	Whole     uint64 // that belong and have no live lease
	Full      uint64 // at the limit of shares
	NoRoom    uint64 // without room
	Reserved  uint64
	Drained   uint64
	Excluded  uint64 // that have positions and do not belong: excluded or removed
	Leases    uint64 // live leases
}

// Refusals counts what Take, TakeKey, TakeAddress and Spill refused, by reason.
type Refusals struct {
	Addresses, Shares, Room uint64 // ErrExhausted, by resource
	Paired                  uint64 // ErrPaired
	ByName                  uint64 // TakeAddress of an address that was not open
	Lease                   uint64 // Return of an invalid, foreign or stale lease
}

// State describes the address; false when it has no position in the pool.
func (p *Pool) State(addr netip.Addr) (Info, bool) {
	pos, ok := p.index.position(addr)
	if !ok {
		return Info{}, false
	}
	return p.StateAt(pos)
}

// StateAt describes the address at a position; false when there is none.
func (p *Pool) StateAt(position uint32) (Info, bool) {
	if uint64(position) >= p.index.n {
		return Info{}, false
	}
	return Info{Addr: p.index.address(position), Position: position,
		Shares: p.sharesOf(position), Status: p.status(position)}, true
}

// status returns the flags of a position.
func (p *Pool) status(pos uint32) Status {
	switch {
	case p.excluded.Contains(pos):
		return StatusExcluded
	case p.removed.Contains(pos):
		return 0
	}
	s := StatusMember
	for _, f := range [...]struct {
		on   bool
		flag Status
	}{
		{!p.isWhole(pos), StatusUsed},
		{p.atLimit(pos), StatusFull},
		{!p.room.has(pos), StatusNoRoom},
		{p.reserved.Contains(pos), StatusReserved},
		{p.drained.Contains(pos), StatusDrained},
	} {
		if f.on {
			s |= f.flag
		}
	}
	return s
}

// Counts returns the pool in numbers, without a walk over it.
func (p *Pool) Counts() Counts {
	return Counts{
		Addresses: p.members,
		Open:      p.free.total,
		Whole:     p.wholeTotal(),
		Full:      p.full,
		NoRoom:    p.members - p.room.total,
		Reserved:  p.reserved.GetCardinality(),
		Drained:   p.drained.GetCardinality(),
		Excluded:  p.index.n - p.members,
		Leases:    p.leases,
	}
}

// Refusals returns the counts of refusals since New or Restore.
func (p *Pool) Refusals() Refusals { return p.refusals }

// LargestOpenRun returns the largest run of neighbouring open addresses within
// one of the pool's ranges, and its length; the first among equals.
func (p *Pool) LargestOpenRun() (Range, uint64) {
	var best Range
	most := uint64(0)
	for pos := p.free.next(0); pos >= 0; {
		b := p.index.block(uint64(pos))
		end := min(p.free.change(uint32(pos)), b.base+b.r.Len())
		if n := end - uint64(pos); n > most {
			most = n
			best = Range{b.r.offset(uint64(pos) - b.base), b.r.offset(end - 1 - b.base)}
		}
		if end >= p.index.n {
			break
		}
		pos = p.free.next(uint32(end))
	}
	return best, most
}

// Addresses iterates over the addresses from a position on, in the order of
// positions; those that were removed are left out. The pool must not change
// meanwhile; use AppendPage for that.
func (p *Pool) Addresses(from uint32) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for pos := uint64(from); pos < p.index.n; pos++ {
			info, _ := p.StateAt(uint32(pos))
			if info.Status != 0 && !yield(info) {
				return
			}
		}
	}
}

// AppendPage appends up to max addresses from a position on and returns the
// position to go on with; more is false after the last. It looks at no more
// than 64 positions for each address asked for, so that a page may come out
// short where many addresses were removed. The pool may change between pages.
func (p *Pool) AppendPage(dst []Info, from uint32, max int) (page []Info, next uint32, more bool) {
	const effort = 64
	if max < 0 {
		max = 0
	}
	end := min(p.index.n, uint64(from)+uint64(max)*effort)
	pos := uint64(from)
	for ; pos < end && max > 0; pos++ {
		if info, _ := p.StateAt(uint32(pos)); info.Status != 0 {
			dst = append(dst, info)
			max--
		}
	}
	return dst, uint32(pos), pos < p.index.n
}

// Leases iterates over the live leases, in no order. The pool must not change meanwhile.
func (p *Pool) Leases() iter.Seq[Lease] {
	return func(yield func(Lease) bool) {
		for k, b := range p.tickets.blocks {
			if b == nil {
				continue
			}
			for j := range b {
				t := &b[j]
				if t.serial == 0 {
					continue
				}
				l := Lease{position: p.holder(t), slot: uint32(k*slabBlock + j), serial: t.serial, pool: p.tag}
				if !yield(l) {
					return
				}
			}
		}
	}
}
