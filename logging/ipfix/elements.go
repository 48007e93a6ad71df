package ipfix

// Information elements (RFC 8158 table 1 and the IANA registry of IPFIX).
// NetFlow version 9 uses the same numbers.
const (
	ieProtocol          = 4   // protocolIdentifier, 1 octet
	ieSourcePort        = 7   // sourceTransportPort, 2
	ieSourceIPv4        = 8   // sourceIPv4Address, 4
	ieDestPort          = 11  // destinationTransportPort, 2
	ieDestIPv4          = 12  // destinationIPv4Address, 4
	ieSourceIPv6        = 27  // sourceIPv6Address, 16
	iePostSourceIPv4    = 225 // postNATSourceIPv4Address, 4
	iePostDestIPv4      = 226 // postNATDestinationIPv4Address, 4
	iePostSourcePort    = 227 // postNAPTSourceTransportPort, 2
	iePostDestPort      = 228 // postNAPTDestinationTransportPort, 2
	ieEvent             = 230 // natEvent, 1
	iePoolID            = 283 // natPoolId, 4
	iePoolName          = 284 // natPoolName, text
	ieTime              = 323 // observationTimeMilliseconds, 8
	iePortStart         = 361 // portRangeStart, 2
	iePortEnd           = 362 // portRangeEnd, 2
	iePortStep          = 363 // portRangeStepSize, 2
	iePortCount         = 364 // portRangeNumPorts, 2
	ieInstance          = 463 // natInstanceID, 4
	ieInternalRealm     = 464 // internalAddressRealm, octets
	ieExternalRealm     = 465 // externalAddressRealm, octets
	ieQuotaEvent        = 466 // natQuotaExceededEvent, 4
	ieThresholdEvent    = 467 // natThresholdEvent, 4
	ieMaxSessions       = 471 // maxSessionEntries, 4
	ieMaxBIB            = 472 // maxBIBEntries, 4
	ieMaxPerUser        = 473 // maxEntriesPerUser, 4
	ieMaxSubscribers    = 474 // maxSubscribers, 4
	ieMaxFragments      = 475 // maxFragmentsPendingReassembly, 4
	iePoolHigh          = 476 // addressPoolHighThreshold, 4
	iePoolLow           = 477 // addressPoolLowThreshold, 4
	ieMappingHigh       = 478 // addressPortMappingHighThreshold, 4
	ieMappingPerUser    = 480 // addressPortMappingPerUserHighThreshold, 4
	ieGlobalAddressHigh = 481 // globalAddressMappingHighThreshold, 4
)

// variable is the length in a template of an element whose length is in the
// data (RFC 7011 section 7).
const variable = 0xffff

func lengthOf(ie uint16) uint16 {
	switch ie {
	case ieProtocol, ieEvent:
		return 1
	case ieSourcePort, ieDestPort, iePostSourcePort, iePostDestPort, iePortStart, iePortEnd, iePortStep, iePortCount:
		return 2
	case ieTime:
		return 8
	case ieSourceIPv6:
		return 16
	case ieInternalRealm, ieExternalRealm, iePoolName:
		return variable
	}
	return 4
}

// Values of natEvent (RFC 8158 section 4.3). Those of IPv6 hosts (NAT64) follow
// the ones of NAT44 by two; 0 is reserved and 1 and 2 are historic.
const (
	evAddressesExhausted = 3
	evSessionCreate      = 4
	evSessionDelete      = 5
	evBIBCreate          = 8
	evBIBDelete          = 9
	evPortsExhausted     = 12
	evQuota              = 13
	evBindingCreate      = 14
	evBindingDelete      = 15
	evBlockAllocate      = 16
	evBlockRelease       = 17
	evThreshold          = 18

	nat64 = 2
)
