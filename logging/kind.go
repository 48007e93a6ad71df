package logging

import "fmt"

// A Kind says what a record reports. The numbers are stable: they are part of
// no wire format here, but callers may store them.
type Kind uint8

// The kinds of records. The zero Kind is no kind and no log accepts it.
const (
	// BlockAllocated reports that a port block has an owner from Time on
	// (RFC 8158 event 16). It is accepted before a port of the block is used.
	BlockAllocated Kind = iota + 1
	// BlockReleased reports that no port of the block is used any more
	// (RFC 8158 event 17). The guard time starts after it.
	BlockReleased
	// BlockInterim repeats a block that is still held, so that an archive
	// that begins after the allocation still answers.
	BlockInterim
	// SessionCreated and SessionDeleted report one session (RFC 8158 events 4
	// to 7). They are off by default, because blocks make them needless.
	SessionCreated
	SessionDeleted
	// MappingCreated and MappingDeleted report one mapping, which RFC 8158
	// calls a BIB entry (events 8 to 11).
	MappingCreated
	MappingDeleted
	// AddressBound and AddressUnbound report that a subscriber is paired with
	// an external address (RFC 8158 events 14 and 15).
	AddressBound
	AddressUnbound
	// QuotaExceeded reports that a limit refused something (event 13).
	QuotaExceeded
	// AddressesExhausted reports that a pool has no address left (event 3).
	AddressesExhausted
	// PortsExhausted reports that an external address has no port left for
	// Protocol (event 12).
	PortsExhausted
	// ThresholdHigh and ThresholdLow report that a level has passed a mark
	// that comes before the limit (event 18).
	ThresholdHigh
	ThresholdLow
	// ConfigEpoch reports the configuration that holds from Time on, in
	// Detail (RFC 7422 section 3).
	ConfigEpoch
	// StaticAdded and StaticRemoved report that an external endpoint, a range
	// of ports or a whole address leads to Subscriber by the configuration.
	// They are written before the mapping takes effect and after it has
	// ended, one for each external address and each of several servers.
	// Pool is then the mapping's name. The ports may lie inside a block of another
	// subscriber, who does not get them meanwhile.
	StaticAdded
	StaticRemoved

	kindEnd
)

var kindNames = [kindEnd]string{
	BlockAllocated:     "block-allocated",
	BlockReleased:      "block-released",
	BlockInterim:       "block-interim",
	SessionCreated:     "session-created",
	SessionDeleted:     "session-deleted",
	MappingCreated:     "mapping-created",
	MappingDeleted:     "mapping-deleted",
	AddressBound:       "address-bound",
	AddressUnbound:     "address-unbound",
	QuotaExceeded:      "quota-exceeded",
	AddressesExhausted: "addresses-exhausted",
	PortsExhausted:     "ports-exhausted",
	ThresholdHigh:      "threshold-high",
	ThresholdLow:       "threshold-low",
	ConfigEpoch:        "config-epoch",
	StaticAdded:        "static-added",
	StaticRemoved:      "static-removed",
}

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool { return k > 0 && k < kindEnd }

// String returns the kind's name, such as "block-allocated", or "kind(200)"
// for a number that is no kind.
func (k Kind) String() string { return nameOf("kind", kindNames[:], uint8(k)) }

// AppendText appends the kind's name to dst.
func (k Kind) AppendText(dst []byte) ([]byte, error) {
	return appendName(dst, "kind", kindNames[:], uint8(k))
}

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return k.AppendText(nil) }

// UnmarshalText sets k to the kind that text names.
func (k *Kind) UnmarshalText(text []byte) error {
	return parseName((*uint8)(k), "kind", kindNames[:], text)
}

// closing returns the kind that ends what k begins.
func (k Kind) closing() (Kind, bool) {
	switch k {
	case BlockAllocated:
		return BlockReleased, true
	case SessionCreated:
		return SessionDeleted, true
	case MappingCreated:
		return MappingDeleted, true
	case AddressBound:
		return AddressUnbound, true
	case StaticAdded:
		return StaticRemoved, true
	}
	return 0, false
}

// hasPorts reports whether records of kind k have external ports.
func (k Kind) hasPorts() bool {
	return k >= BlockAllocated && k <= MappingDeleted || k == StaticAdded || k == StaticRemoved
}

// A Reason says why a record's event happened; None where the kind says it all.
type Reason uint8

// The reasons. Outbound, Inbound, Admin and Auto are the triggers of
// draft-ietf-behave-syslog-nat-logging (OPKT, IPKT, ADMIN, AUTO).
const (
	ReasonNone      Reason = iota
	ReasonOutbound         // an outbound packet needed it
	ReasonInbound          // an inbound packet needed it
	ReasonAdmin            // an operator asked for it
	ReasonAuto             // a timer or a policy of the NAT, such as a reserve
	ReasonIdle             // the last port was freed, or none was used for long
	ReasonConfig           // a new configuration does not allow it any more
	ReasonShutdown         // the NAT stops
	ReasonRestart          // the NAT started and found it in a snapshot
	ReasonCancelled        // the allocation was recorded but refused elsewhere: no port was used

	reasonEnd
)

var reasonNames = [reasonEnd]string{
	ReasonNone:      "none",
	ReasonOutbound:  "outbound",
	ReasonInbound:   "inbound",
	ReasonAdmin:     "admin",
	ReasonAuto:      "auto",
	ReasonIdle:      "idle",
	ReasonConfig:    "config",
	ReasonShutdown:  "shutdown",
	ReasonRestart:   "restart",
	ReasonCancelled: "cancelled",
}

// Valid reports whether r is one of the reasons above, ReasonNone included.
func (r Reason) Valid() bool { return r < reasonEnd }

// String returns the reason's name, such as "outbound".
func (r Reason) String() string { return nameOf("reason", reasonNames[:], uint8(r)) }

// AppendText appends the reason's name to dst.
func (r Reason) AppendText(dst []byte) ([]byte, error) {
	return appendName(dst, "reason", reasonNames[:], uint8(r))
}

// MarshalText returns the reason's name.
func (r Reason) MarshalText() ([]byte, error) { return r.AppendText(nil) }

// UnmarshalText sets r to the reason that text names.
func (r *Reason) UnmarshalText(text []byte) error {
	return parseName((*uint8)(r), "reason", reasonNames[:], text)
}

// A Resource says what a quota or a threshold counts.
type Resource uint8

// The resources, with the values of natQuotaExceededEvent (Q) and
// natThresholdEvent (T) of RFC 8158 sections 4.4 and 4.5 that they become.
const (
	ResourceNone               Resource = iota
	ResourceSessions                    // all sessions (Q 1)
	ResourceMappings                    // all mappings (Q 2, T 3)
	ResourceSubscriberMappings          // the ports or mappings of one subscriber (Q 3, T 4)
	ResourceSubscribers                 // subscribers with a mapping (Q 4)
	ResourceFragments                   // fragments that wait for their first one (Q 5)
	ResourcePool                        // addresses or blocks of a pool (T 1 high, T 2 low)
	ResourceAddresses                   // subscribers paired with an address (T 5)

	resourceEnd
)

var resourceNames = [resourceEnd]string{
	ResourceNone:               "none",
	ResourceSessions:           "sessions",
	ResourceMappings:           "mappings",
	ResourceSubscriberMappings: "subscriber-mappings",
	ResourceSubscribers:        "subscribers",
	ResourceFragments:          "fragments",
	ResourcePool:               "pool",
	ResourceAddresses:          "addresses",
}

// Valid reports whether s is one of the resources above, ResourceNone included.
func (s Resource) Valid() bool { return s < resourceEnd }

// String returns the resource's name, such as "subscriber-mappings".
func (s Resource) String() string { return nameOf("resource", resourceNames[:], uint8(s)) }

// AppendText appends the resource's name to dst.
func (s Resource) AppendText(dst []byte) ([]byte, error) {
	return appendName(dst, "resource", resourceNames[:], uint8(s))
}

// MarshalText returns the resource's name.
func (s Resource) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText sets s to the resource that text names.
func (s *Resource) UnmarshalText(text []byte) error {
	return parseName((*uint8)(s), "resource", resourceNames[:], text)
}

func nameOf(what string, names []string, v uint8) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", what, v)
}

func appendName(dst []byte, what string, names []string, v uint8) ([]byte, error) {
	if int(v) < len(names) && names[v] != "" {
		return append(dst, names[v]...), nil
	}
	return dst, fmt.Errorf("logging: %d is no %s", v, what)
}

func parseName(v *uint8, what string, names []string, text []byte) error {
	for i, n := range names {
		if n != "" && n == string(text) {
			*v = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("logging: %q is no %s", text, what)
}
