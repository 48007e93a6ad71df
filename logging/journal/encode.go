package journal

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/blocknat/blocknat/logging"
)

// Members of a record that are written only where they are set, in this order.
const (
	hasResource = 1 << iota
	hasSpaces
	hasProtocol
	hasSubscriberBits
	hasPorts
	hasStep
	hasInstance
	hasPoolID
	hasClass
	hasUsed
	hasMax
	hasSuppressed
	hasAllocated
	hasEpoch
	hasSubscriber
	hasExternal
	hasInternal
	hasRemote
	hasSubscriberID
	hasRealm
	hasExternalRealm
	hasHost
	hasPool
	hasDetail
)

// bit returns the flag of a member, and 0 where the member is zero.
func bit[T comparable](v T, m uint32) uint32 {
	var zero T
	if v == zero {
		return 0
	}
	return m
}

func membersOf(r *logging.Record) uint32 {
	m := bit(r.Resource, hasResource) | bit(r.Spaces, hasSpaces) | bit(r.Protocol, hasProtocol) |
		bit(r.SubscriberBits, hasSubscriberBits) | bit(r.First|r.Last, hasPorts) | bit(r.Step, hasStep) |
		bit(r.Instance, hasInstance) | bit(r.PoolID, hasPoolID) | bit(r.Class, hasClass) | bit(r.Used, hasUsed) |
		bit(r.Max, hasMax) | bit(r.Suppressed, hasSuppressed) | bit(r.Allocated, hasAllocated) | bit(r.Epoch, hasEpoch)
	if r.Subscriber.IsValid() {
		m |= hasSubscriber
	}
	if r.External.IsValid() {
		m |= hasExternal
	}
	if r.Internal.Port() != 0 || r.Internal.Addr().IsValid() {
		m |= hasInternal
	}
	if r.Remote.Port() != 0 || r.Remote.Addr().IsValid() {
		m |= hasRemote
	}
	return m | bit(len(r.SubscriberID), hasSubscriberID) | bit(len(r.Realm), hasRealm) | bit(len(r.ExternalRealm), hasExternalRealm) |
		bit(len(r.Host), hasHost) | bit(len(r.Pool), hasPool) | bit(len(r.Detail), hasDetail)
}

// appendRecord appends a record in the binary form of write-ahead logs and of
// frames of other records: kind, reason, three bytes that say which members
// follow, the time, and these members.
func appendRecord(b []byte, r *logging.Record) []byte {
	m := membersOf(r)
	b = append(b, byte(r.Kind), byte(r.Reason), byte(m), byte(m>>8), byte(m>>16))
	b = binary.AppendVarint(b, int64(r.Time))
	if m&(hasResource|hasSpaces|hasProtocol|hasSubscriberBits) != 0 {
		if m&hasResource != 0 {
			b = append(b, byte(r.Resource))
		}
		if m&hasSpaces != 0 {
			b = append(b, byte(r.Spaces))
		}
		if m&hasProtocol != 0 {
			b = append(b, r.Protocol)
		}
		if m&hasSubscriberBits != 0 {
			b = append(b, r.SubscriberBits)
		}
	}
	if m&hasPorts != 0 {
		b = append(b, byte(r.First), byte(r.First>>8), byte(r.Last), byte(r.Last>>8))
	}
	b = appendNumber(b, m&hasStep, uint64(r.Step))
	b = appendNumber(b, m&hasInstance, uint64(r.Instance))
	b = appendNumber(b, m&hasPoolID, uint64(r.PoolID))
	b = appendNumber(b, m&hasClass, uint64(r.Class))
	b = appendNumber(b, m&hasUsed, uint64(r.Used))
	b = appendNumber(b, m&hasMax, uint64(r.Max))
	b = appendNumber(b, m&hasSuppressed, uint64(r.Suppressed))
	if m&hasAllocated != 0 {
		b = binary.AppendVarint(b, int64(r.Time-r.Allocated))
	}
	b = appendNumber(b, m&hasEpoch, r.Epoch)
	if m&hasSubscriber != 0 {
		b = appendAddr(b, r.Subscriber)
	}
	if m&hasExternal != 0 {
		b = appendAddr(b, r.External)
	}
	if m&hasInternal != 0 {
		b = appendAddrPort(b, r.Internal)
	}
	if m&hasRemote != 0 {
		b = appendAddrPort(b, r.Remote)
	}
	if m&hasSubscriberID != 0 {
		b = appendText(b, r.SubscriberID)
	}
	if m&hasRealm != 0 {
		b = appendText(b, r.Realm)
	}
	if m&hasExternalRealm != 0 {
		b = appendText(b, r.ExternalRealm)
	}
	if m&hasHost != 0 {
		b = appendText(b, r.Host)
	}
	if m&hasPool != 0 {
		b = appendText(b, r.Pool)
	}
	if m&hasDetail != 0 {
		b = appendText(b, r.Detail)
	}
	return b
}

func appendNumber(b []byte, present uint32, v uint64) []byte {
	if present == 0 {
		return b
	}
	return binary.AppendUvarint(b, v)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Forms of an address.
const (
	addrNone = 0
	addr4    = 4
	addr6    = 6 // also an IPv4 address mapped into IPv6
	addrZone = 7 // an IPv6 address with a zone
)

func appendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return append(b, addr4, v[0], v[1], v[2], v[3])
	case !a.IsValid():
		return append(b, addrNone)
	}
	v := a.As16()
	if zone := a.Zone(); zone != "" {
		return appendText(append(append(b, addrZone), v[:]...), zone)
	}
	return append(append(b, addr6), v[:]...)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	b = appendAddr(b, a.Addr())
	return append(b, byte(a.Port()), byte(a.Port()>>8))
}

// errFormat is what a frame that passes its checksum but breaks the format gives:
// it was written by another version, or forged.
var errFormat = errors.New("journal: bytes that are not in the format")

// A decoder reads values one after the other; after a fault it gives zeroes.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if v := d.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// number reads an unsigned number that is at most most.
func (d *decoder) number(most uint64) uint64 {
	v := d.uvarint()
	if v > most {
		d.bad = true
		return 0
	}
	return v
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) addr() netip.Addr {
	switch d.byte() {
	case addrNone:
		return netip.Addr{}
	case addr4:
		if v := d.take(4); v != nil {
			return netip.AddrFrom4([4]byte(v))
		}
	case addr6:
		if v := d.take(16); v != nil {
			return netip.AddrFrom16([16]byte(v))
		}
	case addrZone:
		if v := d.take(16); v != nil {
			a := netip.AddrFrom16([16]byte(v))
			if zone := d.text(); zone != "" {
				return a.WithZone(zone)
			}
		}
	}
	d.bad = true
	return netip.Addr{}
}

func (d *decoder) addrPort() netip.AddrPort {
	a := d.addr()
	return netip.AddrPortFrom(a, d.uint16())
}

// parseRecord reads what appendRecord wrote; nothing may follow it.
func parseRecord(b []byte, r *logging.Record) error {
	d := decoder{b: b}
	*r = logging.Record{Kind: logging.Kind(d.byte()), Reason: logging.Reason(d.byte())}
	m := uint32(d.byte()) | uint32(d.byte())<<8 | uint32(d.byte())<<16
	r.Time = logging.Millis(d.varint())
	has := func(member uint32) bool { return m&member != 0 && !d.bad }
	if has(hasResource) {
		r.Resource = logging.Resource(d.byte())
	}
	if has(hasSpaces) {
		r.Spaces = logging.Spaces(d.byte())
	}
	if has(hasProtocol) {
		r.Protocol = d.byte()
	}
	if has(hasSubscriberBits) {
		r.SubscriberBits = d.byte()
	}
	if has(hasPorts) {
		r.First, r.Last = d.uint16(), d.uint16()
	}
	if has(hasStep) {
		r.Step = uint16(d.number(1<<16 - 1))
	}
	for _, f := range [...]struct {
		member uint32
		v      *uint32
	}{{hasInstance, &r.Instance}, {hasPoolID, &r.PoolID}, {hasClass, &r.Class}, {hasUsed, &r.Used}, {hasMax, &r.Max}, {hasSuppressed, &r.Suppressed}} {
		if has(f.member) {
			*f.v = uint32(d.number(1<<32 - 1))
		}
	}
	if has(hasAllocated) {
		r.Allocated = r.Time - logging.Millis(d.varint())
	}
	if has(hasEpoch) {
		r.Epoch = d.uvarint()
	}
	if has(hasSubscriber) {
		r.Subscriber = d.addr()
	}
	if has(hasExternal) {
		r.External = d.addr()
	}
	if has(hasInternal) {
		r.Internal = d.addrPort()
	}
	if has(hasRemote) {
		r.Remote = d.addrPort()
	}
	for _, f := range [...]struct {
		member uint32
		v      *string
	}{{hasSubscriberID, &r.SubscriberID}, {hasRealm, &r.Realm}, {hasExternalRealm, &r.ExternalRealm}, {hasHost, &r.Host}, {hasPool, &r.Pool}, {hasDetail, &r.Detail}} {
		if has(f.member) {
			*f.v = d.text()
		}
	}
	if d.bad || len(d.b) != 0 || r.Check() != nil {
		return errFormat
	}
	return nil
}
