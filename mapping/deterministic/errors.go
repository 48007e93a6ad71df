package deterministic

import (
	"errors"
	"fmt"
	"net/netip"
)

// Refusals of Forward and Reverse. The look-ups return these values themselves and
// allocate nothing when they refuse either; test them with errors.Is, because one
// may match another.
var (
	// ErrNotSubscriber says that the internal address belongs to no subscriber
	// of the map: outside every internal span, excluded, or a boundary address.
	ErrNotSubscriber = errors.New("deterministic: internal address is no subscriber of the map")
	// ErrNotInPool says that the external address is none of the map's.
	ErrNotInPool = errors.New("deterministic: external address is not in the map's pool")
	// ErrReserved says that the port is reserved: no subscriber ever has it.
	ErrReserved = errors.New("deterministic: port is reserved")
	// ErrDynamic says that the port belongs to the dynamic range: who had it is
	// in the log, not in the formula (RFC 7422 section 2, step 4).
	ErrDynamic = errors.New("deterministic: port is in the dynamic range, ask the log")
	// ErrUnused says that the port is neither reserved nor dynamic, and that the
	// formula gives it to nobody. A map returns one of the next two, which both
	// match it; Rule.Reverse returns it as it is.
	ErrUnused = errors.New("deterministic: port belongs to no subscriber")
	// ErrRemainder is the ErrUnused of a port that is in no slot: the division leaves
	// it over, or it is in a set below FirstSlot or behind the last slot
	// (Stats.Remainder).
	ErrRemainder = fmt.Errorf("%w: it is in no slot", ErrUnused)
	// ErrEmptySlot is the ErrUnused of a port whose slot waits for a subscriber: the
	// map has fewer Subscribers than Capacity (Stats.Empty).
	ErrEmptySlot = fmt.Errorf("%w: its slot is empty", ErrUnused)
	// ErrNoEpoch says that no epoch of any map was in force in the realm at the time
	// asked for: the history is silent about that time. Where some map was in force,
	// an address that it has not is ErrNotInPool or ErrNotSubscriber, even if an
	// earlier or a later epoch has it: the history knows that nobody had it then.
	// End returns ErrNoEpoch if there is nothing to end.
	ErrNoEpoch = errors.New("deterministic: no epoch was in force at that time")
	// ErrRealm says that the set has no map in the realm asked for, or none whose
	// addresses on that side are of the family asked for.
	ErrRealm = errors.New("deterministic: no map of that address family in this realm")
	// ErrTime says that an epoch has no beginning or ends before it begins, or that
	// the epochs of one map overlap in time.
	ErrTime = errors.New("deterministic: times are out of order")
	// ErrNumber says that an epoch has no number, or one that another epoch of the
	// same map has: an answer that names map and epoch would name two.
	ErrNumber = errors.New("deterministic: epoch number is missing or taken")
	// ErrSyntax is wrapped by every error of the parsers of this package.
	ErrSyntax = errors.New("deterministic: malformed text")
	// ErrOverlap is wrapped by OverlapError.
	ErrOverlap = errors.New("deterministic: overlap")
)

// FieldError is one fault of a Config or RuleConfig. New and NewRule report all
// faults of a configuration together, joined by errors.Join.
type FieldError struct {
	Field string // the field of the configuration, with its index where it is a list
	Value string // the value found
	Rule  string // the rule it breaks
	Fix   string // what to do about it
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("deterministic: %s = %s: %s; %s", e.Field, e.Value, e.Rule, e.Fix)
}

// OverlapError names both sides of an overlap: two spans of one configuration,
// two maps of a set, or two epochs of a history. It wraps ErrOverlap.
type OverlapError struct {
	Side        string     // "internal" or "external"
	A, B        string     // what overlaps: names of maps, or fields of one configuration
	Realm       uint32     // the realm of the side
	First, Last netip.Addr // the addresses that both claim
}

// Error implements error.
func (e *OverlapError) Error() string {
	return fmt.Sprintf("deterministic: %s and %s overlap: both claim the %s addresses %s-%s in realm %d",
		e.A, e.B, e.Side, e.First, e.Last, e.Realm)
}

// Unwrap makes errors.Is(err, ErrOverlap) true.
func (e *OverlapError) Unwrap() error { return ErrOverlap }
