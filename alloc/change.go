package alloc

import "net/netip"

// SetRoom says whether the address at a position has room for a new
// subscriber. The owner of the ports calls it: false when all blocks are held
// or cooling, true when one is free again. Addresses start with room. Live
// leases are not touched. It reports whether something changed.
func (p *Pool) SetRoom(position uint32, room bool) bool { return false }

// Reserve sets an address aside: no call takes it until Unreserve. The address
// must belong to the pool, be not reserved and have no live lease.
func (p *Pool) Reserve(addr netip.Addr) error { return nil }

// Unreserve ends a reservation.
func (p *Pool) Unreserve(addr netip.Addr) error { return nil }

// Drain stops new leases of an address; live ones stay. Draining again is no error.
func (p *Pool) Drain(addr netip.Addr) error { return nil }

// Undrain ends Drain; on an address that is not drained it is no error.
func (p *Pool) Undrain(addr netip.Addr) error { return nil }

// Remove takes an address without live leases out of the pool. With live
// leases it refuses: *AddressError that wraps ErrInUse and has the count.
func (p *Pool) Remove(addr netip.Addr) error { return nil }

// Exclude takes all addresses of a range that belong to the pool out of it, for
// good until Add. With a live lease on any it changes nothing and refuses:
// *AddressError that wraps ErrInUse, with the first such address and the count of leases.
func (p *Pool) Exclude(r Range) error { return nil }

// Add brings more addresses into the live pool, all or none. Addresses that
// were removed or excluded come back at their old positions; others get new
// ones. Addresses that belong to the pool already are an *OverlapError.
func (p *Pool) Add(ranges ...Range) error { return nil }
