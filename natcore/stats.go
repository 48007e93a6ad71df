package natcore

import (
	"iter"
	"net/netip"
	"time"
)

// Stats is a snapshot of the engine's counters and gauges.
type Stats struct {
	// Packets by direction and verdict.
	Packets [2][verdicts]uint64
	// Drops by reason.
	Drops [reasons]uint64
	// Sessions live now, and made since the start.
	Sessions, SessionsCreated uint64
	// Mappings live now, and made since the start.
	Mappings, MappingsCreated uint64
	// Subscribers that hold a block or a session now.
	Subscribers uint64
	// BlocksAllocated and BlocksReleased since the start.
	BlocksAllocated, BlocksReleased uint64
	// RecordsRefused by the log, and RecordsLost under the policy CountLoss.
	RecordsRefused, RecordsLost uint64
	// Fragments followed now.
	Fragments uint64
	// Pools, in the order of the configuration.
	Pools []PoolStats
}

// PoolStats is the state of one pool.
type PoolStats struct {
	Name string
	// Addresses of the pool, and those that serve a subscriber now.
	Addresses, AddressesInUse uint64
	// Blocks by state. Free counts the blocks of all addresses.
	BlocksFree, BlocksHeating, BlocksCooling uint64
	// Subscribers that are paired with an address of the pool.
	Subscribers uint64
}

// Stats sums up the counters of all shards. It takes each shard's lock for a moment.
func (e *Engine) Stats() Stats { return Stats{} }

// SubscriberInfo tells what one subscriber holds.
type SubscriberInfo struct {
	Realm Realm
	// Internal is the subscriber's address.
	Internal netip.Addr
	// External is the address that the subscriber is paired with.
	External netip.Addr
	// Blocks held, ports in use by space (TCP, UDP, ICMP identifiers), and sessions.
	Blocks   int
	Ports    [3]int
	Sessions int
}

// Subscribers yields what each subscriber holds, in no order. No lock is held
// while the loop's body runs; a subscriber that comes or goes meanwhile may be missed.
func (e *Engine) Subscribers() iter.Seq[SubscriberInfo] { return func(func(SubscriberInfo) bool) {} }

// SessionInfo tells one session.
type SessionInfo struct {
	Realm    Realm
	Protocol uint8
	Internal netip.AddrPort
	External netip.AddrPort
	Remote   netip.AddrPort
	// State is "udp", "icmp" or the TCP state (RFC 7857 section 2).
	State string
	// LastSeen is the last packet that kept the session alive.
	LastSeen time.Time
}

// Sessions yields each session, in no order. No lock is held while the loop's body runs; a session that comes or goes meanwhile may be missed.
func (e *Engine) Sessions() iter.Seq[SessionInfo] { return func(func(SessionInfo) bool) {} }

// Verdicts and Reasons list all values, for reports.
func Verdicts() []Verdict {
	vs := make([]Verdict, verdicts)
	for i := range vs {
		vs[i] = Verdict(i)
	}
	return vs
}

// Reasons lists all reasons, for reports.
func Reasons() []Reason {
	rs := make([]Reason, reasons)
	for i := range rs {
		rs[i] = Reason(i)
	}
	return rs
}
