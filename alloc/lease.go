package alloc

import "net/netip"

// Lease is one subscriber's share of one address: a position and a generation.
// It is small, comparable and copies freely; a copy is the same lease and
// cannot be returned twice. The zero Lease is invalid.
type Lease struct {
	position uint32
	slot     uint32
	serial   uint32
	pool     uint32
}

// IsValid reports whether the lease came from a pool. It may be returned already.
func (l Lease) IsValid() bool { return l.serial != 0 }

// Position returns the place of the leased address in its pool.
func (l Lease) Position() uint32 { return l.position }

// Bytes returns the lease in 16 bytes, big-endian, for snapshots of its holder.
func (l Lease) Bytes() [16]byte { return [16]byte{} }

// LeaseFromBytes is the inverse of Lease.Bytes. Return checks the outcome as any
// other lease.
func LeaseFromBytes(b [16]byte) Lease { return Lease{} }

// Choice says which open address Take picks.
type Choice uint8

const (
	// Any takes whichever open address is cheapest to find; nothing is promised.
	Any Choice = iota
	// Lowest takes the open address with the lowest position. With Shares above
	// 1 it fills an address before it goes to the next (the compact policy).
	Lowest
	// Random takes each open address with the same probability.
	Random
	// RoundRobin takes the next open address after the one it took last.
	RoundRobin
	// LeastLoaded takes an open address with the fewest shares taken.
	LeastLoaded
)

// Take leases a share of an open address. A refusal is an *ExhaustedError and
// changes no address's state.
func (p *Pool) Take(how Choice) (Lease, error) { return Lease{}, nil }

// TakeKey leases a share of the address that a key leads to: while the pool's
// addresses stay the same and the address is open, a key always finds the same one.
func (p *Pool) TakeKey(key uint64) (Lease, error) { return Lease{}, nil }

// TakeAddress leases a share of the given address. A refusal is an
// *AddressError that wraps ErrNotInPool, ErrExcluded, ErrReserved, ErrDrained,
// ErrNoRoom or ErrInUse.
func (p *Pool) TakeAddress(addr netip.Addr) (Lease, error) { return Lease{}, nil }

// Spill leases a share of an address other than those at the held positions,
// for a subscriber whose address is full. When the configuration does not
// allow it, it refuses with an *ExhaustedError that wraps ErrPaired.
func (p *Pool) Spill(how Choice, held ...uint32) (Lease, error) { return Lease{}, nil }

// Return gives a lease back. A lease that is invalid, of another pool, returned
// already or overtaken changes nothing: *LeaseError that wraps ErrLeaseInvalid,
// ErrLeaseForeign or ErrLeaseStale.
func (p *Pool) Return(l Lease) error { return nil }

// Holds reports whether the lease is live in this pool.
func (p *Pool) Holds(l Lease) bool { return false }
