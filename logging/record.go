package logging

import (
	"fmt"
	"net/netip"
)

// A Record is one event of a NAT. It is a plain comparable value: strings are
// shared, nothing in it is written after it was handed to a Log.
//
// Which fields a kind uses is what Check tells; unused fields are zero. No
// remote endpoint is filled in unless the operator asks for it (RFC 6888
// REQ-12).
type Record struct {
	// Kind says what happened.
	Kind Kind
	// Reason says why.
	Reason Reason
	// Resource says what a quota or a threshold counts.
	Resource Resource
	// Spaces are the port spaces that a block covers.
	Spaces Spaces
	// Protocol is the IP protocol number of a session, a mapping or an
	// exhaustion of ports.
	Protocol uint8
	// SubscriberBits is the prefix length where Subscriber stands for a
	// prefix, and 0 where it is one address.
	SubscriberBits uint8

	// First, Last and Step give the external ports First, First+Step, ...,
	// Last. Step 0 and 1 both mean every port. A session has First == Last.
	First, Last, Step uint16

	// Instance is the NAT instance (natInstanceID of RFC 8158).
	Instance uint32
	// PoolID is the pool's number (natPoolId).
	PoolID uint32
	// Class is the class of remotes that the ports serve, where a flow mask
	// gives each class a port space of its own; else 0.
	Class uint32
	// Used and Max are, on block records, the blocks that the subscriber
	// holds after the event and the most it may hold (0: no limit); on
	// quotas and thresholds the level and the limit or mark of Resource.
	Used, Max uint32
	// Suppressed counts the records like this one that a Limiter held back
	// since the last one that passed.
	Suppressed uint32

	// Time is the wall clock at the event.
	Time Millis
	// Allocated is when the block, mapping or session began, repeated on
	// interim and release records so that each stands alone. On the
	// allocation itself it is 0 or equal to Time.
	Allocated Millis
	// Epoch counts the starts, or ownership changes, of Host.
	Epoch uint64

	// Subscriber is the internal address, or the address of the internal
	// prefix, that ports are charged to.
	Subscriber netip.Addr
	// External is the external address.
	External netip.Addr
	// Internal is the internal endpoint of a session or a mapping.
	Internal netip.AddrPort
	// Remote is the remote endpoint of a session; not set by default.
	Remote netip.AddrPort

	// SubscriberID is the subscriber's name elsewhere (a line, an account), in
	// place of Subscriber or beside it.
	SubscriberID string
	// Realm and ExternalRealm name the routing realms of both sides.
	Realm, ExternalRealm string
	// Host is the machine and Pool the pool's name, or the static mapping's.
	Host, Pool string
	// Detail is a ConfigEpoch's configuration as text, or a remark.
	Detail string
}

// Start returns when the block, mapping or session of r began: Allocated where
// it is set, else Time.
func (r *Record) Start() Millis {
	if r.Allocated != 0 {
		return r.Allocated
	}
	return r.Time
}

// HasPort reports whether port is one of First, First+Step, ..., Last.
func (r *Record) HasPort(port uint16) bool { return hasPort(r.First, r.Last, r.Step, port) }

func hasPort(first, last, step, port uint16) bool {
	if port < first || port > last {
		return false
	}
	return step <= 1 || (port-first)%step == 0
}

// A FieldError says which field of a record breaks which rule.
type FieldError struct {
	Kind  Kind   // the record's kind
	Field string // the field's name in Record
	Rule  string // what must hold
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("logging: %v record: %s %s", e.Kind, e.Field, e.Rule)
}

// Is makes a FieldError an ErrRecord.
func (e *FieldError) Is(target error) bool { return target == ErrRecord }

// Check reports the first rule that r breaks, as a *FieldError, or nil. A log
// may refuse a record that Check refuses.
func (r *Record) Check() error {
	if field, rule := r.fault(); field != "" {
		return &FieldError{r.Kind, field, rule}
	}
	return nil
}

func (r *Record) fault() (field, rule string) {
	switch {
	case !r.Kind.Valid():
		return "Kind", "must be one of the kinds"
	case !r.Reason.Valid():
		return "Reason", "must be one of the reasons"
	case !r.Resource.Valid():
		return "Resource", "must be one of the resources"
	case r.Spaces&^AllSpaces != 0:
		return "Spaces", "must be a set of TCP, UDP and ICMP"
	case !r.Time.valid() || r.Time == 0:
		return "Time", "must be set and lie in the years 1 to 9999"
	case !r.Allocated.valid():
		return "Allocated", "must lie in the years 1 to 9999"
	case r.First > r.Last:
		return "First", "must not be above Last"
	case r.Step > 1 && (r.Last-r.First)%r.Step != 0:
		return "Last", "must be First plus a multiple of Step"
	}
	if field, rule := r.sizeFault(); field != "" {
		return field, rule
	}
	named := r.Subscriber.IsValid() || r.SubscriberID != ""
	switch r.Kind {
	case BlockAllocated, BlockReleased, BlockInterim:
		switch {
		case !r.External.IsValid():
			return "External", "must be the block's address"
		case !named:
			return "Subscriber", "or SubscriberID must be set"
		case r.Spaces == 0:
			return "Spaces", "must name the port spaces that the block covers"
		case r.Kind == BlockInterim && r.Allocated == 0:
			return "Allocated", "must be set on an interim record"
		case r.Kind != BlockAllocated && r.Allocated > r.Time:
			return "Allocated", "must not be after Time"
		}
	case SessionCreated, SessionDeleted, MappingCreated, MappingDeleted:
		switch {
		case !r.External.IsValid():
			return "External", "must be set"
		case !named && !r.Internal.IsValid():
			return "Subscriber", "or SubscriberID or Internal must be set"
		case r.Protocol == 0 && r.Spaces == 0:
			return "Protocol", "must be the IP protocol number"
		case r.First != r.Last:
			return "Last", "must be First"
		}
	case StaticAdded, StaticRemoved:
		switch {
		case !r.External.IsValid():
			return "External", "must be set"
		case !named:
			return "Subscriber", "or SubscriberID must be set"
		case r.Protocol == 0 && r.Spaces == 0:
			return "Spaces", "or Protocol must be set"
		case r.Kind == StaticRemoved && r.Allocated > r.Time:
			return "Allocated", "must not be after Time"
		}
	case AddressBound, AddressUnbound:
		switch {
		case !r.External.IsValid():
			return "External", "must be set"
		case !named:
			return "Subscriber", "or SubscriberID must be set"
		}
	case PortsExhausted:
		if !r.External.IsValid() {
			return "External", "must be the address that has no port left"
		}
	case QuotaExceeded, ThresholdHigh, ThresholdLow:
		if r.Resource == ResourceNone {
			return "Resource", "must say what is counted"
		}
	}
	return "", ""
}

// Lengths of text in bytes.
const (
	maxName   = 1024
	maxDetail = 65535
)

func (r *Record) sizeFault() (field, rule string) {
	const name = "must have at most 1024 bytes"
	switch {
	case r.SubscriberBits != 0 && (!r.Subscriber.IsValid() || int(r.SubscriberBits) > r.Subscriber.BitLen()):
		return "SubscriberBits", "must be a prefix length of Subscriber"
	case len(r.SubscriberID) > maxName:
		return "SubscriberID", name
	case len(r.Realm) > maxName:
		return "Realm", name
	case len(r.ExternalRealm) > maxName:
		return "ExternalRealm", name
	case len(r.Host) > maxName:
		return "Host", name
	case len(r.Pool) > maxName:
		return "Pool", name
	case len(r.Detail) > maxDetail:
		return "Detail", "must have at most 65535 bytes"
	}
	return "", ""
}
