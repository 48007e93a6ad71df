package portblock

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. The calls that carry traffic return them
// bare, so that a refusal allocates nothing; Address.Explain and
// Holding.Explain add who, where and how many to them.
var (
	// ErrInvalid is returned for a zero or malformed Block, Space or size.
	ErrInvalid = errors.New("portblock: invalid argument")
	// ErrForeign is returned for a Block of another pool or address.
	ErrForeign = errors.New("portblock: block belongs to another address or pool")
	// ErrStale is returned for a Block that is no longer held: it was
	// cancelled, cooled, removed or taken again since.
	ErrStale = errors.New("portblock: block is not held any more")
	// ErrNotInRange is returned for a port that no block of the layout holds.
	ErrNotInRange = errors.New("portblock: port is outside the usable range")
	// ErrReserved is returned for a port or block that is reserved.
	ErrReserved = errors.New("portblock: port is reserved")

	// ErrNoBlock says that the address has no free block of the wanted size.
	ErrNoBlock = errors.New("portblock: no free block on the address")
	// ErrCooling says that the named block waits for its guard time.
	ErrCooling = errors.New("portblock: block is in its guard time")
	// ErrInUse says that the named block or port is held.
	ErrInUse = errors.New("portblock: in use")

	// ErrNeedBlock says that no held block has a free port, and that the
	// holding may get another block. It is no failure yet.
	ErrNeedBlock = errors.New("portblock: another block is needed")
	// ErrMaxBlocks says that no held block has a free port and that the
	// holding has its maximum of blocks.
	ErrMaxBlocks = errors.New("portblock: maximum of blocks reached")
	// ErrMaxPorts says that a maximum of ports is reached; errors.As finds
	// the LimitError that names it.
	ErrMaxPorts = errors.New("portblock: maximum of ports reached")
	// ErrResting says that the ports that are left wait for their hold-down,
	// and that no further block is to be had.
	ErrResting = errors.New("portblock: only resting ports are left")
	// ErrNotHeld is returned for a port or block that the holding has not.
	ErrNotHeld = errors.New("portblock: not held")
	// ErrPortsLive refuses to remove a block in which a port is live.
	ErrPortsLive = errors.New("portblock: block has live ports")

	// ErrSnapshot is returned for bytes that are no snapshot, damaged, cut
	// short or of an unknown version.
	ErrSnapshot = errors.New("portblock: bad snapshot")
	// ErrSnapshotLayout is returned for a snapshot of another layout.
	ErrSnapshotLayout = errors.New("portblock: snapshot of another layout")
)

// LimitError says which maximum of ports is reached. It is ErrMaxPorts for
// errors.Is.
type LimitError struct {
	// Total is true for the maximum over all spaces; Space counts otherwise.
	Total bool
	Space Space
	// Limit is the maximum, in ports.
	Limit int
}

// Error implements error.
func (e *LimitError) Error() string {
	if e.Total {
		return fmt.Sprintf("portblock: maximum of %d ports over all spaces reached", e.Limit)
	}
	return fmt.Sprintf("portblock: maximum of %d %s ports reached", e.Limit, e.Space)
}

// Is makes errors.Is(err, ErrMaxPorts) true.
func (e *LimitError) Is(target error) bool { return target == ErrMaxPorts }

// ConfigError is one fault of a Config.
type ConfigError struct {
	// Field is the name of the field, Value what it holds.
	Field string
	Value any
	// Rule says what is legal.
	Rule string
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("portblock: Config.%s = %v: %s", e.Field, e.Value, e.Rule)
}

// RefusalError tells why an Address refused and how its blocks stand. It
// wraps the sentinel.
type RefusalError struct {
	Err     error
	Pool    uint16
	Address uint32
	Counts  BlockCounts
}

// Error implements error.
func (e *RefusalError) Error() string {
	return fmt.Sprintf("%v (pool %d, address %d: %d free, %d heating, %d cooling, %d unusable)",
		e.Err, e.Pool, e.Address, e.Counts.Free, e.Counts.Heating, e.Counts.Cooling, e.Counts.Unusable)
}

// Unwrap returns the sentinel.
func (e *RefusalError) Unwrap() error { return e.Err }

// HoldingError tells why a Holding refused and how it stands. It wraps the
// sentinel.
type HoldingError struct {
	Err             error
	Space           Space
	Blocks          int // blocks from which ports are taken
	Retiring        int // blocks that only wait for their last port
	Live, Resting   int // ports of Space
	MaxBlocks       int
	MaxPorts        int // of Space, 0 = no maximum
	LiveAll, MaxAll int // over all spaces
}

// Error implements error.
func (e *HoldingError) Error() string {
	return fmt.Sprintf("%v (%s: %d live, %d resting; %d of %d blocks, %d retiring; %d ports in all)",
		e.Err, e.Space, e.Live, e.Resting, e.Blocks, e.MaxBlocks, e.Retiring, e.LiveAll)
}

// Unwrap returns the sentinel.
func (e *HoldingError) Unwrap() error { return e.Err }
