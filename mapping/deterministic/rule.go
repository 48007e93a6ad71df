package deterministic

import (
	"iter"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
)

// RuleConfig is a MAP Basic Mapping Rule (RFC 7597 section 5.2).
type RuleConfig struct {
	// IPv6 is the rule IPv6 prefix.
	IPv6 netip.Prefix
	// IPv4 is the rule IPv4 prefix.
	IPv4 netip.Prefix
	// EABits is o, the length of the embedded address bits. Legal: 0 to 48, and
	// IPv6.Bits()+o at most 64 (128 if PSIDLen and the address need no more).
	EABits int
	// PSIDOffset is a. Legal: 0 to 15. RFC 7597 section 5.1 suggests 6.
	PSIDOffset int
	// PSIDLen and PSID come from elsewhere (DHCP) if the EA bits hold none of
	// them (EABits + IPv4.Bits() is 32 or less). Else PSIDLen must be 0 or the q
	// that follows from the prefixes.
	PSIDLen int
	PSID    uint16
	// DMR is the default mapping rule prefix of MAP-T (RFC 7599), or invalid.
	DMR netip.Prefix
}

// Rule is a checked RuleConfig. It is immutable and safe for concurrent use.
type Rule struct{ cfg RuleConfig }

// CE is what a rule gives to one customer edge.
type CE struct {
	EndUser netip.Prefix // the end-user IPv6 prefix
	IPv4    netip.Prefix // its IPv4 prefix; a /32 for a whole or shared address
	PSID    uint16
	PSIDLen int        // 0: the address is not shared
	Address netip.Addr // the MAP address: RFC 7597 section 6
	offset  uint8
}

// NewRule checks cfg and reports all faults together.
func NewRule(cfg RuleConfig) (*Rule, error) { return nil, nil }

// Config returns the rule's configuration.
func (r *Rule) Config() RuleConfig { return r.cfg }

// EndUserBits returns the length of end-user prefixes.
func (r *Rule) EndUserBits() int { return 0 }

// CE derives IPv4 address, PSID and MAP address of an end-user prefix or of any
// address in it.
func (r *Rule) CE(endUser netip.Addr) (CE, error) { return CE{}, nil }

// Reverse derives the customer edge from an IPv4 address and port: what a border
// relay does with every packet from outside.
func (r *Rule) Reverse(ipv4 netip.Addr, port uint16) (CE, error) { return CE{}, nil }

// CheckSource reports whether a packet from a MAP address may carry that source
// IPv4 address and port (RFC 7597 section 8.1): nil, or why it is spoofed.
func (r *Rule) CheckSource(source, ipv4 netip.Addr, port uint16) error { return nil }

// Map returns the configuration of the deterministic map with the end-user
// prefixes of the rule as subscribers.
func (r *Rule) Map() (Config, error) { return Config{}, nil }

// Len returns the number of ports of the edge on each of its IPv4 addresses.
func (c CE) Len() int { return 0 }

// Contains reports whether the port is in the set of the edge.
func (c CE) Contains(port uint16) bool { return false }

// Ranges yields the port set of the edge as runs.
func (c CE) Ranges() iter.Seq[portblock.Range] { return nil }

// EmbedIPv4 returns the IPv4-embedded IPv6 address of RFC 6052 section 2.2: how
// MAP-T writes outside IPv4 addresses under its default mapping rule prefix.
func EmbedIPv4(prefix netip.Prefix, ipv4 netip.Addr) (netip.Addr, error) { return netip.Addr{}, nil }
