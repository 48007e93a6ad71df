package natcore

import (
	"iter"
	"slices"
	"strconv"
)

// Realm names an internal addressing domain (RFC 2663 section 2.1). Two
// realms may use the same internal addresses: a subscriber is told by its
// realm and its address together. Realm 0 is as good as any other; records
// leave it out, and give the others as decimal numbers.
type Realm uint16

// Direction says which way a packet travels.
type Direction uint8

const (
	// Outbound packets come from an internal realm.
	Outbound Direction = iota
	// Inbound packets come from the external realm.
	Inbound
)

// String returns "outbound" or "inbound".
func (d Direction) String() string {
	return nameOf("Direction", []string{"outbound", "inbound"}, uint8(d))
}

// Packet is one packet on its way through the engine. The caller fills Bytes,
// Realm, Direction and Flags; the engine rewrites Bytes in place, sets Verdict and Reason, and for an
// inbound or hairpinned packet sets Realm to the realm of its receiver.
// The length of Bytes never changes.
type Packet struct {
	// Bytes start at the IP header. Bytes behind the IP total length are left
	// alone; a total length beyond the bytes is a packet that was cut when it was captured, and is
	// translated as far as it is there.
	Bytes []byte
	// Realm is where an outbound packet comes from, or where an inbound or hairpinned packet goes to.
	Realm Realm
	// Direction is the way that the packet travels.
	Direction Direction
	// Flags say what the caller knows about the packet.
	Flags Flags
	// Verdict says what the caller does with the packet.
	Verdict Verdict
	// Reason says why the verdict is Drop; it is ReasonNone otherwise.
	Reason Reason
}

// Flags are facts about a packet that its bytes do not tell.
type Flags uint8

const (
	// PartialChecksum says that the transport checksum field holds the sum of
	// the pseudo header alone, and that a device or the receiver's kernel
	// completes it (virtio-net's NEEDS_CSUM, Linux's CHECKSUM_PARTIAL).
	PartialChecksum Flags = 1 << iota
	// Generated says that the engine built the packet: an ICMP error, from Drain.
	Generated
)

// Verdict is what the caller does with a packet. The zero value is Drop.
type Verdict uint8

const (
	// Drop: the packet goes nowhere; Reason says why. Its bytes are as they came.
	Drop Verdict = iota
	// Forward: the packet was translated and goes on in its direction.
	Forward
	// Hairpin: the outbound packet is for another internal host; it was
	// translated in both directions and goes back to realm Packet.Realm (RFC 4787 section 6).
	Hairpin
	// Bypass: a rule exempts the packet; it goes on in its direction untouched (RFC 6888 REQ-6).
	Bypass
	// Held: the packet is a fragment that waits for the first one of its
	// datagram. The engine keeps a copy; Drain returns it when that comes.
	Held

	verdicts = iota
)

var verdictNames = [verdicts]string{"drop", "forward", "hairpin", "bypass", "held"}

// String returns the verdict in lower case.
func (v Verdict) String() string {
	return nameOf("Verdict", verdictNames[:], uint8(v))
}

// Reason says why a packet was dropped.
type Reason uint8

const (
	// ReasonNone: the packet was not dropped.
	ReasonNone Reason = iota
	// ReasonMalformed: the header contradicts itself or the packet.
	ReasonMalformed
	// ReasonTruncated: the bytes end before what translation needs.
	ReasonTruncated
	// ReasonTinyFragment: a first fragment too short for its transport
	// header, or a fragment that would overwrite one (RFC 1858, RFC 3128).
	ReasonTinyFragment
	// ReasonIPv6: IPv6 is not translated.
	ReasonIPv6
	// ReasonProtocol: the transport protocol is not translated.
	ReasonProtocol
	// ReasonICMPType: an ICMP message that is neither a query nor an error that is translated (RFC 5508 REQ-11).
	ReasonICMPType
	// ReasonSourceRoute: an outbound ICMP message with a source route, which would tell internal addresses (RFC 5508 REQ-10).
	ReasonSourceRoute
	// ReasonNoRule: no rule says what becomes of this internal source and destination.
	ReasonNoRule
	// ReasonRuleDrop: a rule says drop.
	ReasonRuleDrop
	// ReasonSpoofed: an outbound packet with an external address as source, or an inbound packet that claims one.
	ReasonSpoofed
	// ReasonNotExternal: an inbound packet whose destination is in no pool.
	ReasonNotExternal
	// ReasonNoMapping: an inbound packet to an external endpoint that nobody holds.
	ReasonNoMapping
	// ReasonFiltered: the mapping's filtering does not admit this remote endpoint (RFC 4787 section 5).
	ReasonFiltered
	// ReasonNoSession: a TCP segment without SYN, or an ICMP reply, that belongs to no session (RFC 6146 section 3.5.2.2, CLOSED).
	ReasonNoSession
	// ReasonAddressesExhausted: no external address of the pool has room for a further subscriber.
	ReasonAddressesExhausted
	// ReasonBlocksExhausted: the subscriber's external address has no free block (paired pooling, RFC 7857 section 4).
	ReasonBlocksExhausted
	// ReasonBlockLimit: the subscriber holds as many blocks as it may.
	ReasonBlockLimit
	// ReasonPortLimit: the subscriber holds as many ports or identifiers as it may (RFC 6888 REQ-4).
	ReasonPortLimit
	// ReasonPortsResting: the ports that are left rest for their hold-down (RFC 6888 REQ-8).
	ReasonPortsResting
	// ReasonSessionLimit: the subscriber or the engine holds as many sessions as it may.
	ReasonSessionLimit
	// ReasonNotSubscriber: the pool is deterministic, and its map gives the internal address no ports.
	ReasonNotSubscriber
	// ReasonSubscriberLimit: the engine serves as many subscribers as it may.
	ReasonSubscriberLimit
	// ReasonLogRefused: the log did not accept the record of a new block.
	ReasonLogRefused
	// ReasonICMPNoMatch: an ICMP error quotes a packet of no session (RFC 5508 REQ-4, REQ-5).
	ReasonICMPNoMatch
	// ReasonICMPChecksum: an ICMP error whose checksum, or whose quoted IP header's checksum, is wrong (RFC 5508 REQ-3).
	ReasonICMPChecksum
	// ReasonFragment: a fragment whose first one never came, or for which there is no room to wait.
	ReasonFragment
	// ReasonRealmLimit: the realm holds as many sessions, ports or blocks as it may (Config.Quotas).
	ReasonRealmLimit
	// ReasonSessionRate: the subscriber or its realm opens sessions faster than it may.
	ReasonSessionRate
	// ReasonMappingRate: the subscriber or its realm makes mappings faster than it may (RFC 6888 REQ-4c).
	ReasonMappingRate
	// ReasonReserved: what is left of a quota is kept for other traffic (Quotas.Reserved).
	ReasonReserved
	// ReasonWithdrawn: the subscriber's external address is being withdrawn and gives no further block; the subscriber gets another
	// address when he holds nothing there any more (Engine.Reconfigure).
	ReasonWithdrawn
	// ReasonStopped: the engine is stopped or closed.
	ReasonStopped

	// ReasonConflict: answers could not be told from those of another session, which has the same
	// external address, protocol and remote endpoint.
	ReasonConflict
	// ReasonSourcesExhausted: no source address of the Static or the Peering has a port left.
	ReasonSourcesExhausted
	// ReasonICMPQuote: an ICMP error that quotes a TCP segment which is not under way, or reports an MTU too low to be believed
	// (RFC 5927; Config.ICMP).
	ReasonICMPQuote
	// ReasonICMPRate: an internal host reports MTUs to the outside faster than it may.
	ReasonICMPRate

	reasons = iota
)

var reasonNames = [reasons]string{
	"none", "malformed", "truncated", "tiny fragment", "ipv6 not translated",
	"protocol not translated", "icmp type not translated", "icmp with source route", "no rule", "rule says drop",
	"spoofed source", "destination in no pool", "no mapping", "filtered", "no session",
	"addresses exhausted", "blocks exhausted", "block limit", "port limit", "ports resting",
	"session limit", "no subscriber of the map", "subscriber limit", "log refused", "icmp error without session",
	"icmp error checksum", "fragment without first", "realm limit", "session rate", "mapping rate",
	"rest is reserved", "address withdrawn", "stopped", "session conflict", "sources exhausted",
	"icmp error not under way", "icmp mtu rate",
}

// String returns the reason in a few lower-case words, fit for a report.
func (r Reason) String() string {
	return nameOf("Reason", reasonNames[:], uint8(r))
}

// nameOf returns the name of a value of a small enumeration.
func nameOf(kind string, names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return kind + "(" + strconv.Itoa(int(v)) + ")"
}

// Verdicts lists all verdicts, for reports.
func Verdicts() []Verdict { return slices.Collect(count[Verdict](verdicts)) }

// Reasons lists all reasons, for reports.
func Reasons() []Reason { return slices.Collect(count[Reason](reasons)) }

func count[T ~uint8](n int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range n {
			if !yield(T(i)) {
				return
			}
		}
	}
}
