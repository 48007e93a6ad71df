package logging

import (
	"net/netip"
	"strconv"
	"strings"
)

// CSV encodes records as comma-separated values (RFC 4180, lines ended by a line
// feed), one column for each field of JSON, with empty values where JSON leaves
// a field out. A Writer writes the names of the columns first. It has no state
// and is safe for concurrent use.
type CSV struct{}

// AppendHeader appends the names of the columns and a line feed to dst.
func (CSV) AppendHeader(dst []byte) []byte {
	for i, name := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
	}
	return append(dst, '\n')
}

// AppendRecord appends r and a line feed to dst.
func (CSV) AppendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, r.Kind.String()...)
	dst = r.Time.AppendTo(append(dst, ','))
	dst = append(dst, ',')
	if r.Allocated != 0 {
		dst = r.Allocated.AppendTo(dst)
	}
	dst = csvUint(dst, uint64(r.Instance))
	dst = csvText(dst, r.Host)
	dst = csvUint(dst, r.Epoch)
	dst = csvUint(dst, uint64(r.PoolID))
	dst = csvText(dst, r.Pool)
	dst = csvText(dst, r.Realm)
	dst = append(dst, ',')
	if r.Subscriber.IsValid() {
		dst = appendAddr(dst, r.Subscriber)
		if r.SubscriberBits != 0 {
			dst = strconv.AppendUint(append(dst, '/'), uint64(r.SubscriberBits), 10)
		}
	}
	dst = csvText(dst, r.SubscriberID)
	dst = csvEndpoint(dst, r.Internal)
	dst = csvText(dst, r.ExternalRealm)
	dst = append(dst, ',')
	if r.External.IsValid() {
		dst = appendAddr(dst, r.External)
	}
	if r.Kind.hasPorts() || r.First != 0 || r.Last != 0 {
		dst = strconv.AppendUint(append(dst, ','), uint64(r.First), 10)
		dst = strconv.AppendUint(append(dst, ','), uint64(r.Last), 10)
	} else {
		dst = append(dst, ',', ',')
	}
	dst = csvUint(dst, uint64(r.Step))
	dst = csvUint(dst, uint64(r.Class))
	dst = append(dst, ',')
	if s := r.Spaces & AllSpaces; s != 0 {
		dst = append(dst, s.String()...)
	}
	dst = csvUint(dst, uint64(r.Protocol))
	dst = csvEndpoint(dst, r.Remote)
	dst = append(dst, ',')
	if r.Reason != ReasonNone {
		dst = append(dst, r.Reason.String()...)
	}
	dst = append(dst, ',')
	if r.Resource != ResourceNone {
		dst = append(dst, r.Resource.String()...)
	}
	dst = csvUint(dst, uint64(r.Used))
	dst = csvUint(dst, uint64(r.Max))
	dst = csvUint(dst, uint64(r.Suppressed))
	dst = csvText(dst, r.Detail)
	return append(dst, '\n')
}

func csvUint(dst []byte, v uint64) []byte {
	dst = append(dst, ',')
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(dst, v, 10)
}

func csvEndpoint(dst []byte, ap netip.AddrPort) []byte {
	dst = append(dst, ',')
	if !ap.IsValid() {
		return dst
	}
	return appendEndpoint(dst, ap)
}

// csvText appends a comma and s, in quotes where it has a character that CSV
// gives a meaning. A line break stays inside the quotes, as RFC 4180 allows.
func csvText(dst []byte, s string) []byte {
	dst = append(dst, ',')
	if !strings.ContainsAny(s, "\",\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
