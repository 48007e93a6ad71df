package interop

import (
	"net/netip"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

// records returns one record of each kind, and blocks and limits of all other
// sorts: of IPv6 hosts, of one protocol, with a step, each quota and threshold.
func records() []logging.Record {
	out := loggingtest.Records()
	at := out[0].Time
	host6 := netip.MustParseAddr("2001:db8:1::10")
	for _, r := range loggingtest.Records() {
		switch r.Kind {
		case logging.BlockAllocated:
			v := r
			v.Spaces = logging.UDP
			out = append(out, v)
			v.Spaces, v.Step, v.First, v.Last = logging.TCP|logging.ICMP, 4, 1024, 2044
			out = append(out, v)
			v = r
			v.Subscriber = host6
			out = append(out, v)
			v.Spaces = logging.TCP
			out = append(out, v)
		case logging.BlockReleased, logging.AddressBound:
			r.Subscriber = host6
			out = append(out, r)
		case logging.SessionCreated, logging.MappingDeleted:
			r.Subscriber, r.Internal = host6, netip.AddrPortFrom(host6, 40000)
			out = append(out, r)
		case logging.QuotaExceeded:
			for _, what := range []logging.Resource{logging.ResourceSessions, logging.ResourceMappings, logging.ResourceSubscribers, logging.ResourceFragments} {
				r.Resource = what
				out = append(out, r)
			}
		case logging.ThresholdHigh:
			for _, what := range []logging.Resource{logging.ResourceMappings, logging.ResourceSubscriberMappings, logging.ResourceAddresses} {
				r.Resource = what
				out = append(out, r)
			}
		}
	}
	// One millisecond apart, so that collectors do not add them up.
	for i := range out {
		out[i].Time = at + logging.Millis(i)
	}
	return out
}

// elements are values of information elements by number, as octets.
type elements map[uint16]string

// remote is an endpoint that sessions may be with.
var remote = netip.MustParseAddrPort("192.0.2.80:443")

func number(v uint64, octets int) string {
	b := make([]byte, octets)
	for i := range b {
		b[octets-1-i] = byte(v >> (8 * i))
	}
	return string(b)
}

func address(a netip.Addr) string { return string(a.AsSlice()) }

// expected returns what RFC 8158 section 4.6 demands of the events of r, one set
// of elements for each data record, by the tables of the RFC.
func expected(r logging.Record) []elements {
	host := uint16(8)
	session, mapping := uint64(4), uint64(8)
	if r.Subscriber.Is6() {
		host, session, mapping = 27, 6, 10
	}
	e := elements{323: number(uint64(r.Time), 8)}
	event := func(n uint64) { e[230] = number(n, 1) }
	who := func() { e[host] = address(r.Subscriber) }
	external := func() { e[225] = address(r.External) }
	limit := func(ie uint16, sub uint64, value uint16) {
		e[ie], e[value] = number(sub, 4), number(uint64(r.Max), 4)
	}
	each := false // one data record for each protocol
	switch r.Kind {
	case logging.BlockAllocated, logging.BlockReleased, logging.StaticAdded, logging.StaticRemoved:
		event(16)
		if r.Kind == logging.BlockReleased || r.Kind == logging.StaticRemoved {
			event(17)
		}
		who()
		external()
		step := max(r.Step, 1)
		e[361], e[362] = number(uint64(r.First), 2), number(uint64(r.Last), 2)
		e[363], e[364] = number(uint64(step), 2), number(uint64((r.Last-r.First)/step+1), 2)
		e[283], e[463] = number(uint64(r.PoolID), 4), number(uint64(r.Instance), 4)
		each = r.Spaces != logging.AllSpaces
	case logging.SessionCreated, logging.SessionDeleted:
		event(session)
		if r.Kind == logging.SessionDeleted {
			event(session + 1)
		}
		who()
		external()
		e[4], e[7], e[227] = number(17, 1), number(40000, 2), number(uint64(r.First), 2)
	case logging.MappingCreated, logging.MappingDeleted:
		event(mapping)
		if r.Kind == logging.MappingDeleted {
			event(mapping + 1)
		}
		who()
		external()
	case logging.AddressBound, logging.AddressUnbound:
		event(14)
		if r.Kind == logging.AddressUnbound {
			event(15)
		}
		who()
		external()
	case logging.AddressesExhausted:
		event(3)
		e[283] = number(uint64(r.PoolID), 4)
	case logging.PortsExhausted:
		event(12)
		external()
		each = true
	case logging.QuotaExceeded:
		event(13)
		switch r.Resource {
		case logging.ResourceSessions:
			limit(466, 1, 471)
		case logging.ResourceMappings:
			limit(466, 2, 472)
		case logging.ResourceSubscriberMappings:
			limit(466, 3, 473)
			who()
		case logging.ResourceSubscribers:
			limit(466, 4, 474)
		case logging.ResourceFragments:
			limit(466, 5, 475)
			who()
		}
	case logging.ThresholdHigh, logging.ThresholdLow:
		event(18)
		switch {
		case r.Kind == logging.ThresholdLow:
			limit(467, 2, 477)
		case r.Resource == logging.ResourcePool:
			limit(467, 1, 476)
		case r.Resource == logging.ResourceMappings:
			limit(467, 3, 478)
		case r.Resource == logging.ResourceSubscriberMappings:
			limit(467, 4, 480)
			who()
		case r.Resource == logging.ResourceAddresses:
			limit(467, 5, 481)
		}
		if r.Resource == logging.ResourcePool {
			e[283] = number(uint64(r.PoolID), 4)
		}
	default:
		return nil // no event
	}
	if !each {
		return []elements{e}
	}
	var out []elements
	for _, p := range []struct {
		space logging.Spaces
		proto uint64
	}{{logging.TCP, 6}, {logging.UDP, 17}, {logging.ICMP, 1}} {
		if r.Spaces&p.space == 0 {
			continue
		}
		one := elements{4: number(p.proto, 1)}
		for k, v := range e {
			one[k] = v
		}
		out = append(out, one)
	}
	return out
}

func allExpected(list []logging.Record) (out []elements) {
	for _, r := range list {
		out = append(out, expected(r)...)
	}
	return out
}
