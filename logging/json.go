package logging

import (
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// JSON encodes records as JSON lines: one object a record, field names in
// snake_case, times in RFC 3339 with milliseconds in UTC, fields that are zero
// left out (kind, time and, where a record has ports, first and last are always
// there). ParseJSON reads them back. It has no state and is safe for concurrent
// use.
//
//	{"kind":"block-allocated","time":"2026-11-21T02:30:10.123Z","pool":"cgn",
//	 "subscriber":"100.64.1.10","external":"198.51.100.7","first":20480,
//	 "last":20735,"spaces":["tcp","udp","icmp"],"reason":"outbound","used":1,"max":4}
//
// Text that is not UTF-8 is written with U+FFFD in place of each wrong byte.
// Zones of addresses are left out: a realm says that better.
type JSON struct{}

// AppendRecord appends r and a line feed to dst.
func (JSON) AppendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, `{"kind":"`...)
	dst = append(dst, r.Kind.String()...)
	dst = append(dst, `","time":"`...)
	dst = r.Time.AppendTo(dst)
	dst = append(dst, '"')
	if r.Allocated != 0 {
		dst = append(dst, `,"allocated":"`...)
		dst = r.Allocated.AppendTo(dst)
		dst = append(dst, '"')
	}
	dst = jsonUint(dst, `,"instance":`, uint64(r.Instance))
	dst = jsonText(dst, `,"host":"`, r.Host)
	dst = jsonUint(dst, `,"epoch":`, r.Epoch)
	dst = jsonUint(dst, `,"pool_id":`, uint64(r.PoolID))
	dst = jsonText(dst, `,"pool":"`, r.Pool)
	dst = jsonText(dst, `,"realm":"`, r.Realm)
	if r.Subscriber.IsValid() {
		dst = append(dst, `,"subscriber":"`...)
		dst = appendAddr(dst, r.Subscriber)
		if r.SubscriberBits != 0 {
			dst = append(dst, '/')
			dst = strconv.AppendUint(dst, uint64(r.SubscriberBits), 10)
		}
		dst = append(dst, '"')
	}
	dst = jsonText(dst, `,"subscriber_id":"`, r.SubscriberID)
	dst = jsonEndpoint(dst, `,"internal":"`, r.Internal)
	dst = jsonText(dst, `,"external_realm":"`, r.ExternalRealm)
	if r.External.IsValid() {
		dst = append(dst, `,"external":"`...)
		dst = appendAddr(dst, r.External)
		dst = append(dst, '"')
	}
	if r.Kind.hasPorts() || r.First != 0 || r.Last != 0 {
		dst = append(dst, `,"first":`...)
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		dst = append(dst, `,"last":`...)
		dst = strconv.AppendUint(dst, uint64(r.Last), 10)
	}
	dst = jsonUint(dst, `,"step":`, uint64(r.Step))
	dst = jsonUint(dst, `,"class":`, uint64(r.Class))
	dst = jsonSpaces(dst, r.Spaces)
	dst = jsonUint(dst, `,"protocol":`, uint64(r.Protocol))
	dst = jsonEndpoint(dst, `,"remote":"`, r.Remote)
	if r.Reason != ReasonNone {
		dst = jsonText(dst, `,"reason":"`, r.Reason.String())
	}
	if r.Resource != ResourceNone {
		dst = jsonText(dst, `,"resource":"`, r.Resource.String())
	}
	dst = jsonUint(dst, `,"used":`, uint64(r.Used))
	dst = jsonUint(dst, `,"max":`, uint64(r.Max))
	dst = jsonUint(dst, `,"suppressed":`, uint64(r.Suppressed))
	dst = jsonText(dst, `,"detail":"`, r.Detail)
	return append(dst, '}', '\n')
}

func jsonUint(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, name...), v, 10)
}

// jsonText appends name, which ends with the opening quote, and s.
func jsonText(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return append(appendJSONString(append(dst, name...), s), '"')
}

func jsonEndpoint(dst []byte, name string, ap netip.AddrPort) []byte {
	if !ap.IsValid() {
		return dst
	}
	return append(appendEndpoint(append(dst, name...), ap), '"')
}

func jsonSpaces(dst []byte, s Spaces) []byte {
	if s&AllSpaces == 0 {
		return dst
	}
	dst = append(dst, `,"spaces":[`...)
	if s&TCP != 0 {
		dst = append(dst, `"tcp",`...)
	}
	if s&UDP != 0 {
		dst = append(dst, `"udp",`...)
	}
	if s&ICMP != 0 {
		dst = append(dst, `"icmp",`...)
	}
	dst[len(dst)-1] = ']'
	return dst
}

// appendAddr appends a without its zone, which may hold any byte.
func appendAddr(dst []byte, a netip.Addr) []byte { return a.WithZone("").AppendTo(dst) }

func appendEndpoint(dst []byte, ap netip.AddrPort) []byte {
	return netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port()).AppendTo(dst)
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s with the escapes of RFC 8259 section 7. Bytes that
// need none are copied in runs.
func appendJSONString(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, `\ufffd`...)
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}
