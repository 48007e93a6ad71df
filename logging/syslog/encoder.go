package syslog

import (
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/blocknat/blocknat/logging"
)

// An Encoder encodes records as syslog messages. The zero Encoder is ready. It
// is safe for concurrent use as long as its fields are not changed.
type Encoder struct {
	// Facility is the syslog facility, 0 to 23. As kernel messages do not come
	// from here, 0 means LOCAL0 (16), which the draft's users have.
	Facility uint8

	// Host is the HOSTNAME. Empty means that of the record, or "-".
	Host string

	// ProcID is the PROCID. Empty means "-".
	ProcID string

	// Enterprise is the private enterprise number in the id of the second
	// element (RFC 5424 section 7.2.2). 0 means 32473, the one for examples
	// (RFC 5612); who has a number sets it.
	Enterprise uint32

	// Registered writes the draft's element ids with "@" and Enterprise too,
	// as RFC 5424 section 6.3.2 demands for names that IANA does not have.
	Registered bool

	// DraftOnly leaves out the second element where there is a first one.
	DraftOnly bool

	// VPP writes the parameters of mappings and sessions as the NAT of VPP
	// does: SVLAN with the realm's number, or 0, in place of IRLM.
	VPP bool
}

// AppendRecord appends r as a line: a message and a line feed.
func (e Encoder) AppendRecord(dst []byte, r *logging.Record) []byte {
	return append(e.AppendMessage(dst, r), '\n')
}

// AppendFrame appends r as a message with its length in octets and a space in
// front.
func (e Encoder) AppendFrame(dst []byte, r *logging.Record) []byte {
	start := len(dst)
	dst = e.AppendMessage(dst, r)
	var head [21]byte
	h := append(strconv.AppendInt(head[:0], int64(len(dst)-start), 10), ' ')
	dst = append(dst, h...)
	copy(dst[start+len(h):], dst[start:len(dst)-len(h)])
	copy(dst[start:], h)
	return dst
}

// Frames is an Encoder whose AppendRecord is AppendFrame, for a
// logging.MessageWriter to a TLS or TCP connection.
type Frames struct{ Encoder }

// AppendRecord is AppendFrame.
func (f Frames) AppendRecord(dst []byte, r *logging.Record) []byte { return f.AppendFrame(dst, r) }

// Datagrams is an Encoder whose AppendRecord is AppendMessage, for a
// logging.MessageWriter to a connected UDP socket.
type Datagrams struct{ Encoder }

// AppendRecord is AppendMessage.
func (d Datagrams) AppendRecord(dst []byte, r *logging.Record) []byte { return d.AppendMessage(dst, r) }

// AppendMessage appends r as a message.
func (e Encoder) AppendMessage(dst []byte, r *logging.Record) []byte {
	dst = append(dst, '<')
	dst = strconv.AppendUint(dst, e.priority(r.Kind), 10)
	dst = append(dst, ">1 "...)
	dst = r.Time.AppendTo(dst)
	dst = append(dst, ' ')
	host := e.Host
	if host == "" {
		host = r.Host
	}
	dst = appendToken(dst, host, 255)
	dst = append(dst, " NAT "...)
	dst = appendToken(dst, e.ProcID, 128)
	dst = append(dst, ' ')
	msg := draftOf(r.Kind)
	if msg.id == "" {
		dst = append(dst, r.Kind.String()...)
		return e.appendPrivate(append(dst, ' '), r)
	}
	dst = append(dst, msg.id...)
	dst = append(dst, " ["...)
	dst = append(dst, msg.element...)
	if e.Registered {
		dst = e.appendEnterprise(dst)
	}
	dst = e.appendDraft(dst, r)
	dst = append(dst, ']')
	if e.DraftOnly {
		return dst
	}
	return e.appendPrivate(dst, r)
}

// priority is 8 times the facility, plus the severity: informational for what
// is in order, notice for a new configuration, warning for what refuses
// subscribers something or soon will.
func (e Encoder) priority(k logging.Kind) uint64 {
	facility := uint64(e.Facility)
	if facility == 0 || facility > 23 {
		facility = 16
	}
	severity := uint64(6)
	switch k {
	case logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted, logging.ThresholdHigh:
		severity = 4
	case logging.ConfigEpoch:
		severity = 5
	}
	return facility*8 + severity
}

// draft is a message of the draft.
type draft struct{ id, element string }

func draftOf(k logging.Kind) draft {
	switch k {
	case logging.BlockAllocated, logging.StaticAdded:
		return draft{"PTADD", "nprng"}
	case logging.BlockReleased, logging.StaticRemoved:
		return draft{"PTDEL", "nprng"}
	case logging.MappingCreated:
		return draft{"APMADD", "napmap"}
	case logging.MappingDeleted:
		return draft{"APMDEL", "napmap"}
	case logging.SessionCreated:
		return draft{"SADD", "nsess"}
	case logging.SessionDeleted:
		return draft{"SDEL", "nsess"}
	case logging.AddressBound:
		return draft{"AMADD", "namap"}
	case logging.AddressUnbound:
		return draft{"AMDEL", "namap"}
	}
	return draft{}
}

func (e Encoder) appendDraft(dst []byte, r *logging.Record) []byte {
	ports := r.Kind >= logging.SessionCreated && r.Kind <= logging.MappingDeleted
	session := r.Kind == logging.SessionCreated || r.Kind == logging.SessionDeleted
	if !e.VPP {
		dst = appendUint(dst, ` NATINST="`, uint64(r.Instance))
	}
	if !e.VPP || !session {
		dst = appendUint(dst, ` SSUBIX="`, subscriberIndex(r.SubscriberID))
	}
	if e.VPP {
		dst = appendUint(dst, ` SVLAN="`, subscriberIndex(r.Realm))
	} else {
		dst = appendParam(dst, ` IRLM="`, r.Realm)
	}
	host, port := r.Subscriber, uint16(0)
	if r.Internal.IsValid() {
		host, port = r.Internal.Addr(), r.Internal.Port()
	}
	dst = appendAddr(dst, ` IATYP="`, ` ISADDR="`, host)
	if ports {
		dst = appendUint(dst, ` ISPORT="`, uint64(port))
	}
	if !e.VPP {
		dst = appendParam(dst, ` XRLM="`, r.ExternalRealm)
	}
	dst = appendAddr(dst, ` XATYP="`, ` XSADDR="`, r.External)
	switch {
	case ports:
		dst = appendUint(dst, ` XSPORT="`, uint64(r.First))
		dst = appendUint(dst, ` PROTO="`, uint64(r.Protocol))
	case r.Kind == logging.BlockAllocated || r.Kind == logging.BlockReleased || r.Kind == logging.StaticAdded || r.Kind == logging.StaticRemoved:
		dst = appendUint(dst, ` PORTMN="`, uint64(r.First))
		dst = appendUint(dst, ` PORTMX="`, uint64(r.Last))
	}
	if session && r.Remote.IsValid() {
		dst = append(appendIP(append(dst, ` XDADDR="`...), r.Remote.Addr()), '"')
		dst = appendUint(dst, ` XDPORT="`, uint64(r.Remote.Port()))
	}
	if t := trigger(r.Reason); t != "" && !e.VPP {
		dst = appendParam(dst, ` TRIG="`, t)
	}
	return dst
}

// subscriberIndex returns s as a number of 32 bits, or 0 where it is none: the
// draft wants an index where records have an opaque id.
func subscriberIndex(s string) uint64 {
	v, n := uint64(0), len(s)
	if n == 0 || n > 10 {
		return 0
	}
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		v = v*10 + uint64(s[i]-'0')
	}
	if v > 1<<32-1 {
		return 0
	}
	return v
}

// trigger returns the draft's word for a reason; it knows four.
func trigger(r logging.Reason) string {
	switch r {
	case logging.ReasonOutbound:
		return "OPKT"
	case logging.ReasonInbound:
		return "IPKT"
	case logging.ReasonAdmin, logging.ReasonConfig, logging.ReasonShutdown:
		return "ADMIN"
	case logging.ReasonAuto, logging.ReasonIdle, logging.ReasonRestart, logging.ReasonCancelled:
		return "AUTO"
	}
	return ""
}

// appendPrivate appends the second element: the fields of JSON lines that the
// draft has not, or all of them where there is no first element.
func (e Encoder) appendPrivate(dst []byte, r *logging.Record) []byte {
	alone := draftOf(r.Kind).id == ""
	dst = append(dst, "[blocknat"...)
	dst = e.appendEnterprise(dst)
	dst = appendParam(dst, ` kind="`, r.Kind.String())
	if r.Allocated != 0 {
		dst = append(r.Allocated.AppendTo(append(dst, ` allocated="`...)), '"')
	}
	if alone {
		dst = appendNonzero(dst, ` instance="`, uint64(r.Instance))
	}
	dst = appendParam(dst, ` host="`, r.Host)
	dst = appendNonzero(dst, ` epoch="`, r.Epoch)
	dst = appendNonzero(dst, ` pool_id="`, uint64(r.PoolID))
	dst = appendParam(dst, ` pool="`, r.Pool)
	if alone {
		dst = appendParam(dst, ` realm="`, r.Realm)
	}
	if r.Subscriber.IsValid() && (alone || r.SubscriberBits != 0 || r.Internal.IsValid() && r.Internal.Addr() != r.Subscriber) {
		dst = appendIP(append(dst, ` subscriber="`...), r.Subscriber)
		if r.SubscriberBits != 0 {
			dst = strconv.AppendUint(append(dst, '/'), uint64(r.SubscriberBits), 10)
		}
		dst = append(dst, '"')
	}
	dst = appendParam(dst, ` subscriber_id="`, r.SubscriberID)
	if alone {
		dst = appendParam(dst, ` external_realm="`, r.ExternalRealm)
		if r.External.IsValid() {
			dst = append(appendIP(append(dst, ` external="`...), r.External), '"')
		}
		if r.Kind == logging.BlockInterim || r.First|r.Last != 0 {
			dst = appendUint(dst, ` first="`, uint64(r.First))
			dst = appendUint(dst, ` last="`, uint64(r.Last))
		}
		dst = appendNonzero(dst, ` protocol="`, uint64(r.Protocol))
	}
	dst = appendNonzero(dst, ` step="`, uint64(r.Step))
	dst = appendNonzero(dst, ` class="`, uint64(r.Class))
	if s := r.Spaces & logging.AllSpaces; s != 0 {
		dst = appendParam(dst, ` spaces="`, s.String())
	}
	if r.Reason != logging.ReasonNone {
		dst = appendParam(dst, ` reason="`, r.Reason.String())
	}
	if r.Resource != logging.ResourceNone {
		dst = appendParam(dst, ` resource="`, r.Resource.String())
	}
	dst = appendNonzero(dst, ` used="`, uint64(r.Used))
	dst = appendNonzero(dst, ` max="`, uint64(r.Max))
	dst = appendNonzero(dst, ` suppressed="`, uint64(r.Suppressed))
	dst = appendParam(dst, ` detail="`, r.Detail)
	return append(dst, ']')
}

func (e Encoder) appendEnterprise(dst []byte) []byte {
	n := uint64(e.Enterprise)
	if n == 0 {
		n = 32473
	}
	return strconv.AppendUint(append(dst, '@'), n, 10)
}

func appendNonzero(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendUint(dst, name, v)
}

func appendUint(dst []byte, name string, v uint64) []byte {
	return append(strconv.AppendUint(append(dst, name...), v, 10), '"')
}

func appendAddr(dst []byte, kind, name string, a netip.Addr) []byte {
	a = a.Unmap()
	switch {
	case a.Is4():
		dst = append(append(dst, kind...), `IPv4"`...)
	case a.Is6():
		dst = append(append(dst, kind...), `IPv6"`...)
	default:
		return dst
	}
	return append(appendIP(append(dst, name...), a), '"')
}

func appendIP(dst []byte, a netip.Addr) []byte { return a.Unmap().WithZone("").AppendTo(dst) }

// appendParam appends a parameter with the escapes of RFC 5424 section 6.3.3.
// Control characters, which would break lines, become "#" and three octal
// digits, as receivers write them; bytes that are no UTF-8 become U+FFFD.
func appendParam(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(dst, name...)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\' || c == ']':
			dst = append(dst, '\\', c)
		case c < 0x20 || c == 0x7f:
			dst = append(dst, '#', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}

// appendToken appends a field of the header: printable ASCII without spaces, at
// most limit of it, or "-" for none.
func appendToken(dst []byte, s string, limit int) []byte {
	if s == "" {
		return append(dst, '-')
	}
	for i := range min(len(s), limit) {
		c := s[i]
		if c <= ' ' || c > '~' {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}
