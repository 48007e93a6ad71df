package ipfix

import "github.com/blocknat/blocknat/logging"

// A shape is a set of elements that some records need. Each shape that is used
// gets a template.
type shape uint8

const (
	shapeBlock4 shape = iota
	shapeBlock6
	shapeBlockProtocol4 // blocks that do not cover all port spaces
	shapeBlockProtocol6
	shapeAddresses
	shapePorts
	shapeSession4
	shapeSession6
	shapeMapping4
	shapeMapping6
	shapeBinding4
	shapeBinding6
	shapeMaxSessions
	shapeMaxBIB
	shapeMaxPerUser4
	shapeMaxPerUser6
	shapeMaxSubscribers
	shapeMaxFragments4
	shapeMaxFragments6
	shapePoolHigh
	shapePoolLow
	shapeMappingHigh
	shapePerUserHigh4
	shapePerUserHigh6
	shapeGlobalHigh
	shapeRemote4 // sessions with their remote endpoint
	shapeRemote6

	shapeCount
	shapeNone = shapeCount // the record has no event in RFC 8158
)

// mandatory are the elements that RFC 8158 section 4.6 demands, in the order in
// which they are sent; portRangeEnd is among them because the text of 4.6.10
// demands it, though its table does not.
var mandatory = [shapeCount][]uint16{
	shapeBlock4:         {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4, iePortStart, iePortEnd},
	shapeBlock6:         {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4, iePortStart, iePortEnd},
	shapeBlockProtocol4: {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4, iePortStart, iePortEnd, ieProtocol},
	shapeBlockProtocol6: {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4, iePortStart, iePortEnd, ieProtocol},
	shapeAddresses:      {ieTime, ieEvent, iePoolID},
	shapePorts:          {ieTime, ieEvent, iePostSourceIPv4, ieProtocol},
	shapeSession4:       {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4, ieProtocol, ieSourcePort, iePostSourcePort},
	shapeSession6:       {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4, ieProtocol, ieSourcePort, iePostSourcePort},
	shapeMapping4:       {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4},
	shapeMapping6:       {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4},
	shapeBinding4:       {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4},
	shapeBinding6:       {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4},
	shapeMaxSessions:    {ieTime, ieEvent, ieQuotaEvent, ieMaxSessions},
	shapeMaxBIB:         {ieTime, ieEvent, ieQuotaEvent, ieMaxBIB},
	shapeMaxPerUser4:    {ieTime, ieEvent, ieQuotaEvent, ieMaxPerUser, ieSourceIPv4},
	shapeMaxPerUser6:    {ieTime, ieEvent, ieQuotaEvent, ieMaxPerUser, ieSourceIPv6},
	shapeMaxSubscribers: {ieTime, ieEvent, ieQuotaEvent, ieMaxSubscribers},
	shapeMaxFragments4:  {ieTime, ieEvent, ieQuotaEvent, ieMaxFragments, ieSourceIPv4},
	shapeMaxFragments6:  {ieTime, ieEvent, ieQuotaEvent, ieMaxFragments, ieSourceIPv6},
	shapePoolHigh:       {ieTime, ieEvent, ieThresholdEvent, iePoolHigh, iePoolID},
	shapePoolLow:        {ieTime, ieEvent, ieThresholdEvent, iePoolLow, iePoolID},
	shapeMappingHigh:    {ieTime, ieEvent, ieThresholdEvent, ieMappingHigh},
	shapePerUserHigh4:   {ieTime, ieEvent, ieThresholdEvent, ieMappingPerUser, ieSourceIPv4},
	shapePerUserHigh6:   {ieTime, ieEvent, ieThresholdEvent, ieMappingPerUser, ieSourceIPv6},
	shapeGlobalHigh:     {ieTime, ieEvent, ieThresholdEvent, ieGlobalAddressHigh},
	shapeRemote4:        {ieTime, ieEvent, ieSourceIPv4, iePostSourceIPv4, ieProtocol, ieSourcePort, iePostSourcePort, ieDestIPv4, iePostDestIPv4, ieDestPort, iePostDestPort},
	shapeRemote6:        {ieTime, ieEvent, ieSourceIPv6, iePostSourceIPv4, ieProtocol, ieSourcePort, iePostSourcePort, iePostDestIPv4, iePostDestPort},
}

// optional are the elements that are sent besides unless Config.Mandatory is
// set. Realms, which have no fixed length, are added by Config.Realms.
func optional(s shape) []uint16 {
	switch s {
	case shapeBlock4, shapeBlock6, shapeBlockProtocol4, shapeBlockProtocol6:
		return []uint16{iePortStep, iePortCount, iePoolID, ieInstance}
	case shapeMapping4, shapeMapping6:
		return []uint16{ieProtocol, ieSourcePort, iePostSourcePort, ieInstance}
	}
	return []uint16{ieInstance}
}

// hasRealms reports whether records of shape s name a host, and so its realm.
func hasRealms(s shape) bool {
	return s <= shapeBlockProtocol6 || s >= shapeSession4 && s <= shapeBinding6 || s >= shapeRemote4
}

// event is what a record is in the words of RFC 8158.
type event struct {
	shape  shape
	number byte   // natEvent
	sub    uint32 // natQuotaExceededEvent or natThresholdEvent
}

// classify returns the event of r, as of an IPv4 host; family6
// turns it into that of an IPv6 host.
func classify(r *logging.Record) event {
	switch r.Kind {
	case logging.BlockAllocated, logging.BlockInterim, logging.StaticAdded:
		return event{shape: blockShape(r), number: evBlockAllocate}
	case logging.BlockReleased, logging.StaticRemoved:
		return event{shape: blockShape(r), number: evBlockRelease}
	case logging.SessionCreated:
		return event{shape: shapeSession4, number: evSessionCreate}
	case logging.SessionDeleted:
		return event{shape: shapeSession4, number: evSessionDelete}
	case logging.MappingCreated:
		return event{shape: shapeMapping4, number: evBIBCreate}
	case logging.MappingDeleted:
		return event{shape: shapeMapping4, number: evBIBDelete}
	case logging.AddressBound:
		return event{shape: shapeBinding4, number: evBindingCreate}
	case logging.AddressUnbound:
		return event{shape: shapeBinding4, number: evBindingDelete}
	case logging.AddressesExhausted:
		return event{shape: shapeAddresses, number: evAddressesExhausted}
	case logging.PortsExhausted:
		return event{shape: shapePorts, number: evPortsExhausted}
	case logging.QuotaExceeded:
		return quota(r.Resource)
	case logging.ThresholdHigh, logging.ThresholdLow:
		return threshold(r.Kind, r.Resource)
	}
	return event{shape: shapeNone}
}

func blockShape(r *logging.Record) shape {
	if r.Spaces == logging.AllSpaces {
		return shapeBlock4
	}
	return shapeBlockProtocol4
}

func quota(what logging.Resource) event {
	switch what {
	case logging.ResourceSessions:
		return event{shapeMaxSessions, evQuota, 1}
	case logging.ResourceMappings:
		return event{shapeMaxBIB, evQuota, 2}
	case logging.ResourceSubscriberMappings:
		return event{shapeMaxPerUser4, evQuota, 3}
	case logging.ResourceSubscribers:
		return event{shapeMaxSubscribers, evQuota, 4}
	case logging.ResourceFragments:
		return event{shapeMaxFragments4, evQuota, 5}
	}
	return event{shape: shapeNone}
}

// threshold returns the event of a mark. Only a pool has a low one: RFC 8158 has
// an element for the low mark of mappings (479) and no event that carries it.
// For one subscriber element 480 is sent, though table 18 lists 478 and 479,
// which are those of all mappings.
func threshold(kind logging.Kind, what logging.Resource) event {
	if kind == logging.ThresholdLow {
		if what == logging.ResourcePool {
			return event{shapePoolLow, evThreshold, 2}
		}
		return event{shape: shapeNone}
	}
	switch what {
	case logging.ResourcePool:
		return event{shapePoolHigh, evThreshold, 1}
	case logging.ResourceMappings:
		return event{shapeMappingHigh, evThreshold, 3}
	case logging.ResourceSubscriberMappings:
		return event{shapePerUserHigh4, evThreshold, 4}
	case logging.ResourceAddresses:
		return event{shapeGlobalHigh, evThreshold, 5}
	}
	return event{shape: shapeNone}
}

// family6 returns e for an IPv6 host: the shape that follows and, for sessions
// and mappings, the event of NAT64.
func (e event) family6() event {
	switch e.shape {
	case shapeBlock4, shapeBlockProtocol4, shapeBinding4, shapeMaxPerUser4, shapeMaxFragments4, shapePerUserHigh4:
		e.shape++
	case shapeSession4, shapeMapping4, shapeRemote4:
		e.shape++
		e.number += nat64
	}
	return e
}

// needsHost reports whether a record of shape s carries a source address.
func needsHost(s shape) bool {
	switch s {
	case shapeAddresses, shapePorts, shapeMaxSessions, shapeMaxBIB, shapeMaxSubscribers, shapePoolHigh, shapePoolLow, shapeMappingHigh, shapeGlobalHigh:
		return false
	}
	return true
}

// needsExternal reports whether a record of shape s carries the external address.
func needsExternal(s shape) bool {
	return s <= shapeBlockProtocol6 || s >= shapePorts && s <= shapeBinding6 || s >= shapeRemote4
}
