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

// Info describes one address.
type Info struct {
	Addr     netip.Addr
	Position uint32
	Shares   uint32 // live leases
	Status   Status
}

// Span is a run of neighbouring addresses of one range with the same status.
type Span struct {
	Range  Range
	Status Status
}

// Counts is a pool in numbers. Reserved, Drained, NoRoom, Used and Full may
// count one address several times.
type Counts struct {
	Addresses uint64 // that belong to the pool
	Open      uint64 // that Take may give
	Whole     uint64 // that belong and have no live lease
	Full      uint64 // at the limit of shares
	NoRoom    uint64 // without room
	Reserved  uint64
	Drained   uint64
	Excluded  uint64 // that have positions and do not serve
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
func (p *Pool) State(addr netip.Addr) (Info, bool) { return Info{}, false }

// StateAt describes the address at a position; false when there is none.
func (p *Pool) StateAt(position uint32) (Info, bool) { return Info{}, false }

// Counts returns the pool in numbers, in constant time.
func (p *Pool) Counts() Counts { return Counts{} }

// Refusals returns the counts of refusals since New or Restore.
func (p *Pool) Refusals() Refusals { return Refusals{} }

// LargestOpenRun returns the largest run of neighbouring open addresses.
func (p *Pool) LargestOpenRun() (Range, uint64) { return Range{}, 0 }

// Addresses iterates over the addresses from a position on, in the order of
// positions. The pool must not change meanwhile; use AppendPage for that.
func (p *Pool) Addresses(from uint32) iter.Seq[Info] { return func(func(Info) bool) {} }

// AppendPage appends up to max addresses from a position on and returns the
// position to go on with; more is false after the last. The pool may change
// between pages.
func (p *Pool) AppendPage(dst []Info, from uint32, max int) (page []Info, next uint32, more bool) {
	return dst, 0, false
}

// Spans iterates over merged runs of addresses with the same status, in the
// order of positions. It skips quickly over what is uniform. The pool must not change meanwhile.
func (p *Pool) Spans(from uint32) iter.Seq[Span] { return func(func(Span) bool) {} }

// Leases iterates over the live leases, in no order. The pool must not change meanwhile.
func (p *Pool) Leases() iter.Seq[Lease] { return func(func(Lease) bool) {} }

// CheckInvariants recomputes everything that the pool keeps derived and returns
// the first contradiction. It is for tests and costs a walk over the pool.
func (p *Pool) CheckInvariants() error { return nil }
