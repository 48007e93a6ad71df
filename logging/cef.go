package logging

import (
	"net/netip"
	"strconv"
)

// CEF encodes records as lines of the Common Event Format, version 0, without a
// syslog header:
//
//	CEF:0|blocknat|natcore|1|block-allocated|Port block allocated|3|rt=1795228210123 src=100.64.1.10
//	sourceTranslatedAddress=198.51.100.7 sourceTranslatedPort=20480 cn1=20735 cn1Label=lastPort ...
//
// Keys are those of the format's dictionary; what it has no key for is in the
// custom ones: cn1 the last port, cn2 and cn3 the level and the limit, cs1 the
// pool, cs2 the subscriber's id, cs3 the internal realm, cs4 the external realm,
// cs5 the port spaces, cs6 the resource or the detail; IPv6 addresses are in
// c6a2 (internal), c6a3 (remote) and c6a4 (external). The zero CEF is ready. It
// is safe for concurrent use as long as its fields are not changed.
type CEF struct {
	// Vendor, Product and Version of the device in the header. Empty means
	// "blocknat", "natcore" and "1".
	Vendor, Product, Version string
}

var cefNames = [kindEnd]string{
	BlockAllocated:     "Port block allocated",
	BlockReleased:      "Port block released",
	BlockInterim:       "Port block still held",
	SessionCreated:     "Session created",
	SessionDeleted:     "Session deleted",
	MappingCreated:     "Mapping created",
	MappingDeleted:     "Mapping deleted",
	AddressBound:       "External address bound",
	AddressUnbound:     "External address unbound",
	QuotaExceeded:      "Quota exceeded",
	AddressesExhausted: "Addresses exhausted",
	PortsExhausted:     "Ports exhausted",
	ThresholdHigh:      "High threshold reached",
	ThresholdLow:       "Low threshold reached",
	ConfigEpoch:        "Configuration changed",
	StaticAdded:        "Static mapping added",
	StaticRemoved:      "Static mapping removed",
}

// AppendRecord appends r and a line feed to dst.
func (c CEF) AppendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, "CEF:0|"...)
	dst = cefHeader(dst, c.Vendor, "blocknat")
	dst = cefHeader(dst, c.Product, "natcore")
	dst = cefHeader(dst, c.Version, "1")
	dst = append(dst, r.Kind.String()...)
	dst = append(dst, '|')
	if r.Kind.Valid() {
		dst = append(dst, cefNames[r.Kind]...)
	}
	dst = append(dst, '|', cefSeverity(r.Kind), '|')
	dst = strconv.AppendInt(append(dst, "rt="...), int64(r.Time), 10)
	if r.Allocated != 0 {
		dst = strconv.AppendInt(append(dst, " start="...), int64(r.Allocated), 10)
	}
	dst = cefText(dst, " dvchost=", r.Host)
	dst = cefUint(dst, " deviceProcessId=", uint64(r.Instance))
	dst = cefUint(dst, " externalId=", r.Epoch)
	dst = cefAddr(dst, " src=", " c6a2=", " c6a2Label=internalAddress", cefHost(r))
	if r.Internal.IsValid() {
		dst = strconv.AppendUint(append(dst, " spt="...), uint64(r.Internal.Port()), 10)
	}
	dst = cefAddr(dst, " sourceTranslatedAddress=", " c6a4=", " c6a4Label=externalAddress", r.External)
	if r.Kind.hasPorts() {
		dst = strconv.AppendUint(append(dst, " sourceTranslatedPort="...), uint64(r.First), 10)
		dst = strconv.AppendUint(append(dst, " cn1="...), uint64(r.Last), 10)
		dst = append(dst, " cn1Label=lastPort"...)
	}
	if r.Remote.IsValid() {
		dst = cefAddr(dst, " dst=", " c6a3=", " c6a3Label=remoteAddress", r.Remote.Addr())
		dst = strconv.AppendUint(append(dst, " dpt="...), uint64(r.Remote.Port()), 10)
	}
	dst = cefProtocol(dst, r)
	dst = cefCustom(dst, r)
	if r.Suppressed != 0 {
		dst = strconv.AppendUint(append(dst, " cnt="...), uint64(r.Suppressed)+1, 10)
	}
	if r.Reason != ReasonNone {
		dst = append(append(dst, " reason="...), r.Reason.String()...)
	}
	return append(dst, '\n')
}

// cefCustom appends the custom numbers and strings with their labels.
func cefCustom(dst []byte, r *Record) []byte {
	if r.Used != 0 || r.Max != 0 {
		dst = strconv.AppendUint(append(dst, " cn2="...), uint64(r.Used), 10)
		dst = append(dst, " cn2Label=used cn3="...)
		dst = strconv.AppendUint(dst, uint64(r.Max), 10)
		dst = append(dst, " cn3Label=max"...)
	}
	dst = cefLabeled(dst, " cs1=", r.Pool, " cs1Label=pool")
	dst = cefLabeled(dst, " cs2=", r.SubscriberID, " cs2Label=subscriberId")
	dst = cefLabeled(dst, " cs3=", r.Realm, " cs3Label=realm")
	dst = cefLabeled(dst, " cs4=", r.ExternalRealm, " cs4Label=externalRealm")
	if s := r.Spaces & AllSpaces; s != 0 {
		dst = cefLabeled(dst, " cs5=", s.String(), " cs5Label=spaces")
	}
	if r.Detail != "" {
		return cefLabeled(dst, " cs6=", r.Detail, " cs6Label=detail")
	}
	if r.Resource != ResourceNone {
		return cefLabeled(dst, " cs6=", r.Resource.String(), " cs6Label=resource")
	}
	return dst
}

// cefHost returns the internal address that a record names.
func cefHost(r *Record) netip.Addr {
	if r.Internal.IsValid() {
		return r.Internal.Addr()
	}
	return r.Subscriber
}

// cefSeverity returns 3 (low) for what is in order and 6 (medium) for what
// refuses subscribers something or soon will.
func cefSeverity(k Kind) byte {
	switch k {
	case QuotaExceeded, AddressesExhausted, PortsExhausted, ThresholdHigh:
		return '6'
	}
	return '3'
}

func cefProtocol(dst []byte, r *Record) []byte {
	switch SpaceOf(r.Protocol) {
	case TCP:
		return append(dst, " proto=TCP"...)
	case UDP:
		return append(dst, " proto=UDP"...)
	case ICMP:
		return append(dst, " proto=ICMP"...)
	}
	return cefUint(dst, " proto=", uint64(r.Protocol))
}

func cefUint(dst []byte, key string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, key...), v, 10)
}

func cefAddr(dst []byte, key4, key6, label6 string, a netip.Addr) []byte {
	a = a.Unmap()
	switch {
	case a.Is4():
		return appendAddr(append(dst, key4...), a)
	case a.Is6():
		return append(appendAddr(append(dst, key6...), a), label6...)
	}
	return dst
}

func cefLabeled(dst []byte, key, s, label string) []byte {
	if s == "" {
		return dst
	}
	return append(cefText(dst, key, s), label...)
}

// cefText appends a value of the extension: backslash, equal sign and line
// breaks are escaped.
func cefText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(dst, key...)
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '=':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// cefHeader appends a field of the header and its bar: backslash and bar are
// escaped, line breaks become spaces because headers have no escape for them.
func cefHeader(dst []byte, s, empty string) []byte {
	if s == "" {
		s = empty
	}
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '|':
			dst = append(dst, '\\', c)
		case '\n', '\r':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '|')
}
