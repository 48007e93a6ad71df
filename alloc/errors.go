package alloc

import (
	"errors"
	"fmt"
	"net/netip"
)

// Sentinels that callers branch on with errors.Is.
var (
	// ErrExhausted: no address of the pool is open for a new subscriber.
	ErrExhausted = errors.New("alloc: pool exhausted")
	// ErrPaired: another address would be needed and the pool does not spill.
	ErrPaired = errors.New("alloc: address full and pool is paired")
	// ErrNotInPool: the address does not belong to the pool.
	ErrNotInPool = errors.New("alloc: address not in pool")
	// ErrExcluded: the address is excluded from the pool.
	ErrExcluded = errors.New("alloc: address excluded")
	// ErrReserved: the address is reserved.
	ErrReserved = errors.New("alloc: address reserved")
	// ErrNotReserved: the address is not reserved.
	ErrNotReserved = errors.New("alloc: address not reserved")
	// ErrDrained: the address takes no new leases.
	ErrDrained = errors.New("alloc: address drained")
	// ErrNoRoom: all blocks of the address are held or cooling.
	ErrNoRoom = errors.New("alloc: address without room")
	// ErrInUse: the address has as many leases as it may have, or has live
	// leases where none may be.
	ErrInUse = errors.New("alloc: address in use")
	// ErrLeaseInvalid: the lease is the zero Lease.
	ErrLeaseInvalid = errors.New("alloc: lease invalid")
	// ErrLeaseForeign: the lease belongs to another pool.
	ErrLeaseForeign = errors.New("alloc: lease of another pool")
	// ErrLeaseStale: the lease was returned already.
	ErrLeaseStale = errors.New("alloc: lease returned already")
	// ErrTooLarge: more than 2^32 positions would be needed.
	ErrTooLarge = errors.New("alloc: more than 2^32 positions")
	// ErrOverlap: two ranges share addresses.
	ErrOverlap = errors.New("alloc: ranges overlap")
	// ErrSnapshot: the bytes are not an intact snapshot of a pool.
	ErrSnapshot = errors.New("alloc: bad snapshot")
	// ErrConfig: a field of the configuration breaks its rule.
	ErrConfig = errors.New("alloc: bad configuration")
)

// Resource names what ran out.
type Resource uint8

const (
	// ResourceAddresses: the pool has no addresses, or all are reserved or drained.
	ResourceAddresses Resource = iota
	// ResourceShares: every address serves as many subscribers as it may.
	ResourceShares
	// ResourceRoom: addresses have shares left, and none of them a free block.
	ResourceRoom
)

// String returns the name of the resource.
func (r Resource) String() string {
	switch r {
	case ResourceAddresses:
		return "addresses"
	case ResourceShares:
		return "shares"
	case ResourceRoom:
		return "room"
	}
	return "unknown resource"
}

// ExhaustedError tells why a pool refused. It wraps ErrExhausted, or ErrPaired
// when Spill is not allowed. It does not change after it was returned.
type ExhaustedError struct {
	Pool     string   // name of the pool
	Resource Resource // what ran out
	Counts   Counts   // the pool at the time of refusal

	cause error
}

// Error implements error.
func (e *ExhaustedError) Error() string {
	c := &e.Counts
	return fmt.Sprintf("%v: pool %q is out of %v: %d addresses, %d open, %d full, %d without room, %d reserved, %d drained; %d leases",
		e.cause, e.Pool, e.Resource, c.Addresses, c.Open, c.Full, c.NoRoom, c.Reserved, c.Drained, c.Leases)
}

// Unwrap returns ErrExhausted or ErrPaired.
func (e *ExhaustedError) Unwrap() error { return e.cause }

// AddressError tells why an operation on one address was refused.
type AddressError struct {
	Pool   string     // name of the pool
	Addr   netip.Addr // the address
	Shares uint64     // live leases, of the address or the range asked for
	cause  error
}

// Error implements error.
func (e *AddressError) Error() string {
	return fmt.Sprintf("%v: pool %q, address %v, %d leases", e.cause, e.Pool, e.Addr, e.Shares)
}

// Unwrap returns the sentinel.
func (e *AddressError) Unwrap() error { return e.cause }

// LeaseError tells why Return refused a lease.
type LeaseError struct {
	Pool  string // name of the pool
	Lease Lease  // the lease
	cause error
}

// Error implements error.
func (e *LeaseError) Error() string {
	return fmt.Sprintf("%v: pool %q, position %d", e.cause, e.Pool, e.Lease.position)
}

// Unwrap returns the sentinel.
func (e *LeaseError) Unwrap() error { return e.cause }

// RangeError tells what is wrong with a range. It wraps ErrConfig.
type RangeError struct {
	Value string // the range as given
	Rule  string // the rule that it breaks and what to do
}

// Error implements error.
func (e *RangeError) Error() string {
	return fmt.Sprintf("alloc: range %q: %s", e.Value, e.Rule)
}

// Unwrap returns ErrConfig.
func (e *RangeError) Unwrap() error { return ErrConfig }

// ConfigError tells which field of a Config breaks which rule. It wraps ErrConfig.
type ConfigError struct {
	Field string // name and index of the field
	Value string // its value
	Rule  string // the rule that it breaks and what to do
	cause error
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("alloc: Config.%s = %s: %s", e.Field, e.Value, e.Rule)
}

// Unwrap returns the cause: ErrConfig, or ErrTooLarge.
func (e *ConfigError) Unwrap() error { return e.cause }

// OverlapError names two ranges that share addresses. It wraps ErrOverlap and ErrConfig.
type OverlapError struct {
	A, B Range
}

// Error implements error.
func (e *OverlapError) Error() string {
	return fmt.Sprintf("alloc: ranges %v and %v overlap; cut or leave out one of them", e.A, e.B)
}

// Unwrap returns ErrOverlap and ErrConfig.
func (e *OverlapError) Unwrap() []error { return []error{ErrOverlap, ErrConfig} }

// SnapshotError tells what is wrong with the bytes of a snapshot. It wraps ErrSnapshot.
type SnapshotError struct {
	Offset int    // byte at which the fault was seen
	Rule   string // what does not hold
}

// Error implements error.
func (e *SnapshotError) Error() string {
	return fmt.Sprintf("alloc: bad snapshot at byte %d: %s", e.Offset, e.Rule)
}

// Unwrap returns ErrSnapshot.
func (e *SnapshotError) Unwrap() error { return ErrSnapshot }
