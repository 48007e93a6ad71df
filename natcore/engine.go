package natcore

import (
	"net/netip"
	"time"
)

// Engine is a NAT44: it holds the mappings and sessions of all subscribers and
// translates their packets. All its methods are safe for concurrent use;
// packets of one session are best given by one caller, in order.
type Engine struct{}

// New returns an engine with the configuration, or all faults of the
// configuration at once as errors of type *FieldError under errors.Join.
func New(cfg Config) (*Engine, error) { return nil, nil }

// Process translates a batch of packets of either direction, in order. It
// sets Verdict, Reason and Realm of each and rewrites its bytes in place.
func (e *Engine) Process(batch []Packet, now time.Time) {}

// Outbound translates one packet of realm 0 that leaves. b starts at the IP header and is rewritten in place.
func (e *Engine) Outbound(b []byte, now time.Time) (Verdict, Reason) { return 0, 0 }

// Inbound translates one packet that arrives from the external realm. b starts at the IP header and is rewritten in place.
func (e *Engine) Inbound(b []byte, now time.Time) (Verdict, Reason) { return 0, 0 }

// Drain appends to dst the packets that the engine has for the caller to send:
// fragments that waited for their first one (verdict Forward or Hairpin). Their Bytes belong to the caller.
func (e *Engine) Drain(dst []Packet, now time.Time) []Packet { return dst }

// Expire ends sessions whose idle time is over and releases blocks that are
// idle, in at most about budget steps (one step looks at one table entry), and
// returns true when it has come round all tables once since it last returned
// true. Call it every second or so with a budget of a few thousand, or more often with less.
func (e *Engine) Expire(now time.Time, budget int) (round bool) { return true }

// External reports whether the address belongs to a pool.
func (e *Engine) External(a netip.Addr) bool { return false }

// MapRequest asks for an explicit mapping (RFC 6888 REQ-9; the core of a PCP server, RFC 6887).
type MapRequest struct {
	// Realm and Internal are the internal endpoint; for ICMP the port is the identifier.
	Realm    Realm
	Internal netip.AddrPort
	// Protocol is 6 (TCP), 17 (UDP) or 1 (ICMP).
	Protocol uint8
	// Lifetime is how long the mapping stays without traffic. It must be positive.
	Lifetime time.Duration
}

// Map makes or renews an explicit mapping and returns its external endpoint.
// An internal endpoint that has a mapping keeps it. Errors are *RefusalError.
func (e *Engine) Map(r MapRequest, now time.Time) (netip.AddrPort, error) { return netip.AddrPort{}, nil }

// Unmap ends the explicit lifetime of a mapping; it goes when its last session goes.
// It returns false when there is no such mapping.
func (e *Engine) Unmap(r MapRequest, now time.Time) bool { return false }
