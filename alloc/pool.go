package alloc

import "net/netip"

// Pool knows which external addresses are open for another subscriber. It
// serves IPv4 and IPv6 addresses, up to 2^32 in all, and tells them apart by
// position: a uint32 that an address keeps for the pool's whole life.
//
// A Pool is plain data and not safe for concurrent use; Locked is.
type Pool struct {
}

// New builds a pool. It reports every fault of the configuration at once: the
// error joins *ConfigError and *OverlapError values.
func New(cfg Config) (*Pool, error) { return nil, nil }

// Name returns the name that the configuration gave the pool.
func (p *Pool) Name() string { return "" }

// Len returns how many addresses belong to the pool now: neither excluded nor
// removed, whatever their state.
func (p *Pool) Len() uint64 { return 0 }

// Positions returns the number of positions given out so far; every position
// is smaller. It counts excluded and removed addresses, for they keep theirs.
func (p *Pool) Positions() uint64 { return 0 }

// Position returns the place of an address in the pool. It is true also for an
// address that is excluded or was removed: those keep their positions, so that
// late packets still find their way; State tells whether an address belongs.
// IPv4-mapped IPv6 addresses count as IPv4. Cost: O(log ranges).
func (p *Pool) Position(addr netip.Addr) (uint32, bool) { return 0, false }

// Position4 is Position for an IPv4 address as a big-endian number. It allocates
// nothing; in a pool of one contiguous range it is a subtraction and a compare.
func (p *Pool) Position4(ip uint32) (uint32, bool) { return 0, false }

// Address returns the address at a position, or the zero Addr when there is none.
func (p *Pool) Address(position uint32) netip.Addr { return netip.Addr{} }
