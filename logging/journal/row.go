package journal

import (
	"cmp"
	"math/bits"
	"net/netip"

	"github.com/blocknat/blocknat/logging"
)

// A row is what a segment keeps of one or two records of a block, a mapping or
// a session: the beginning, the end, or both. Rows of one interval have the same
// place and identity, and together they give what is known of it.
type row struct {
	shape    *shape
	ext, sub number
	first    uint16
	usedA    uint32
	usedB    uint32
	from     logging.Millis // the interval's beginning
	timeA    logging.Millis // of the record of the beginning
	timeB    logging.Millis // of the record of the end, or the interim one; in an open row when it was seen last
	lagA     uint64
	rankA    uint64
	lagB     uint64
	rankB    uint64
	state    state
	id       string     // SubscriberID
	ends     *endpoints // nil: none
}

// number is an address as a number; IPv4 is in lo.
type number struct{ hi, lo uint64 }

// endpoints are the internal and the remote endpoint of a session or a mapping.
type endpoints struct {
	internal, remote         number
	internalPort, remotePort uint16
}

var noEndpoints endpoints

func (w *row) endpoints() *endpoints {
	if w.ends == nil {
		return &noEndpoints
	}
	return w.ends
}

// A form says which records a row stands for.
type form uint8

const (
	formBegin   form = iota + 1 // the record of the beginning
	formPair                    // beginning and end
	formEnd                     // the end
	formInterim                 // an interim record
	formHeld                    // none: an open interval whose records stand elsewhere
)

func (f form) hasA() bool { return f == formBegin || f == formPair }
func (f form) hasB() bool { return f == formPair || f == formEnd || f == formInterim }

// A family says what kind of address a number is.
type family uint8

const (
	familyNone   family = 0
	family4      family = 4
	familyMapped family = 5 // IPv4 mapped into IPv6; the number is the IPv4 address
	family6      family = 6
)

// plain is the family without the mapping, by which addresses are compared.
func (f family) plain() family {
	if f == familyMapped {
		return family4
	}
	return f
}

func (f family) valid() bool { return f == familyNone || f >= family4 && f <= family6 }

// A shape is all that rows next to each other mostly share.
type shape struct {
	form                       form
	kind                       logging.Kind // the kind that begins the interval
	spaces                     logging.Spaces
	protocol, subscriberBits   uint8
	ext, sub, internal, remote family
	span, step                 uint16 // span is Last - First
	instance, pool, class      uint32
	a, b                       event
	extZone, subZone           string
	internalZone, remoteZone   string
	realm, extRealm            string
	host, poolName             string
}

// event is what a shape says of one record.
type event struct {
	flags           uint8
	reason          logging.Reason
	resource        logging.Resource
	max, suppressed uint32
	epoch           uint64
	era             uint64
	detail          string
}

// Flags of an event.
const (
	// allocatedSet: the record's Allocated is the row's from; else it is 0.
	allocatedSet = 1 << iota
	// beforeFrom: the record's time is before the row's from, and the column of
	// durations has how much.
	beforeFrom

	allFlags = 1<<iota - 1
)

// size is the size class of the ports: rows of one class and address are
// searched together, because none is wider than the class.
func (s *shape) size() uint8 { return uint8(bits.Len16(s.span)) }

func numberOf(a netip.Addr) (number, family) {
	switch {
	case !a.IsValid():
		return number{}, familyNone
	case a.Is4() || a.Is4In6():
		b := a.As16()
		f := family4
		if !a.Is4() {
			f = familyMapped
		}
		return number{0, uint64(b[12])<<24 | uint64(b[13])<<16 | uint64(b[14])<<8 | uint64(b[15])}, f
	}
	b := a.As16()
	var n number
	for i := range 8 {
		n.hi = n.hi<<8 | uint64(b[i])
		n.lo = n.lo<<8 | uint64(b[i+8])
	}
	return n, family6
}

func (n number) addr(f family, zone string) netip.Addr {
	switch f {
	case family4:
		return netip.AddrFrom4([4]byte{byte(n.lo >> 24), byte(n.lo >> 16), byte(n.lo >> 8), byte(n.lo)})
	case family6, familyMapped:
		var b [16]byte
		for i := range 8 {
			b[i], b[i+8] = byte(n.hi>>(56-8*i)), byte(n.lo>>(56-8*i))
		}
		if f == familyMapped {
			b[8], b[9], b[10], b[11] = 0, 0, 0xff, 0xff
		}
		a := netip.AddrFrom16(b)
		if zone != "" {
			a = a.WithZone(zone)
		}
		return a
	}
	return netip.Addr{}
}

// opening returns the kind that begins what records of kind k are about, and
// the form of a row of such a record.
func opening(k logging.Kind) (logging.Kind, form) {
	switch k {
	case logging.BlockAllocated, logging.SessionCreated, logging.MappingCreated, logging.StaticAdded:
		return k, formBegin
	case logging.BlockReleased:
		return logging.BlockAllocated, formEnd
	case logging.BlockInterim:
		return logging.BlockAllocated, formInterim
	case logging.SessionDeleted:
		return logging.SessionCreated, formEnd
	case logging.MappingDeleted:
		return logging.MappingCreated, formEnd
	case logging.StaticRemoved:
		return logging.StaticAdded, formEnd
	}
	return 0, 0
}

// closing returns the kind of the records that end what k begins.
func closing(k logging.Kind) logging.Kind {
	switch k {
	case logging.SessionCreated:
		return logging.SessionDeleted
	case logging.MappingCreated:
		return logging.MappingDeleted
	case logging.StaticAdded:
		return logging.StaticRemoved
	}
	return logging.BlockReleased
}

// shapes keeps one of each shape.
type shapes struct {
	m    map[shape]*shape
	last [4]*shape
	next int
}

func (in *shapes) of(s *shape) *shape {
	for _, l := range in.last {
		if l != nil && *l == *s {
			return l
		}
	}
	if in.m == nil || len(in.m) > 1<<16 {
		in.m = map[shape]*shape{}
	}
	l := in.m[*s]
	if l == nil {
		l = new(shape)
		*l = *s
		in.m[*l] = l
	}
	in.last[in.next&3] = l
	in.next++
	return l
}

// makeRow makes the row of one record of an interval that began at from.
func (in *shapes) makeRow(r *logging.Record, from logging.Millis, o order) row {
	kind, form := opening(r.Kind)
	s := shape{
		form: form, kind: kind, spaces: r.Spaces, protocol: r.Protocol, subscriberBits: r.SubscriberBits,
		span: r.Last - r.First, step: r.Step, instance: r.Instance, pool: r.PoolID, class: r.Class,
		realm: r.Realm, extRealm: r.ExternalRealm, host: r.Host, poolName: r.Pool,
	}
	w := row{first: r.First, from: from, id: r.SubscriberID}
	w.ext, s.ext = numberOf(r.External)
	w.sub, s.sub = numberOf(r.Subscriber)
	s.extZone, s.subZone = r.External.Zone(), r.Subscriber.Zone()
	if r.Internal != (netip.AddrPort{}) || r.Remote != (netip.AddrPort{}) {
		e := &endpoints{internalPort: r.Internal.Port(), remotePort: r.Remote.Port()}
		e.internal, s.internal = numberOf(r.Internal.Addr())
		e.remote, s.remote = numberOf(r.Remote.Addr())
		s.internalZone, s.remoteZone = r.Internal.Addr().Zone(), r.Remote.Addr().Zone()
		w.ends = e
	}
	e := event{
		reason: r.Reason, resource: r.Resource, max: r.Max, suppressed: r.Suppressed,
		epoch: r.Epoch, era: o.era, detail: r.Detail,
	}
	if r.Allocated != 0 {
		e.flags = allocatedSet
	}
	lag := uint64(o.max - r.Time)
	if form == formBegin {
		s.a = e
		w.timeA, w.timeB, w.usedA, w.lagA, w.rankA = r.Time, from, r.Used, lag, o.rank
	} else {
		if r.Time < from {
			e.flags |= beforeFrom
		}
		s.b = e
		w.timeA, w.timeB, w.usedB, w.lagB, w.rankB = from, r.Time, r.Used, lag, o.rank
	}
	w.shape = in.of(&s)
	return w
}

// pair makes one row of a beginning and its end, if they agree in all that a row has once.
func (in *shapes) pair(a, b *row) (row, bool) {
	s := *b.shape
	s.form, s.a = formPair, a.shape.a
	same := s
	same.form, same.b = formBegin, event{}
	if same != *a.shape {
		return row{}, false
	}
	w := *b
	w.shape = in.of(&s)
	w.usedA, w.timeA, w.lagA, w.rankA = a.usedA, a.timeA, a.lagA, a.rankA
	return w, true
}

// reach is the last instant of which the row itself tells.
func (w *row) reach() logging.Millis { return max(w.from, w.timeA, w.timeB) }

// record returns the record of the beginning (b false) or of the end or interim record (b true).
func (w *row) record(b bool) logging.Record {
	s, e := w.shape, &w.shape.a
	x := w.endpoints()
	r := logging.Record{
		Kind: s.kind, Spaces: s.spaces, Protocol: s.protocol, SubscriberBits: s.subscriberBits,
		First: w.first, Last: w.first + s.span, Step: s.step, Instance: s.instance, PoolID: s.pool, Class: s.class,
		Used: w.usedA, Time: w.timeA,
		Subscriber: w.sub.addr(s.sub, s.subZone), External: w.ext.addr(s.ext, s.extZone),
		Internal:     netip.AddrPortFrom(x.internal.addr(s.internal, s.internalZone), x.internalPort),
		Remote:       netip.AddrPortFrom(x.remote.addr(s.remote, s.remoteZone), x.remotePort),
		SubscriberID: w.id, Realm: s.realm, ExternalRealm: s.extRealm, Host: s.host, Pool: s.poolName,
	}
	if b {
		e = &s.b
		r.Used, r.Time = w.usedB, w.timeB
		if r.Kind = closing(s.kind); s.form == formInterim {
			r.Kind = logging.BlockInterim
		}
	}
	r.Reason, r.Resource, r.Max, r.Suppressed, r.Epoch, r.Detail = e.reason, e.resource, e.max, e.suppressed, e.epoch, e.detail
	if e.flags&allocatedSet != 0 {
		r.Allocated = w.from
	}
	return r
}

// comparePlace orders rows as a segment has them: by external address, size
// class, first port and beginning.
func comparePlace(a, b *row) int {
	if c := compareNumber(a.shape.ext, a.ext, b.shape.ext, b.ext); c != 0 {
		return c
	}
	if c := cmp.Compare(a.shape.size(), b.shape.size()); c != 0 {
		return c
	}
	if c := cmp.Compare(a.first, b.first); c != 0 {
		return c
	}
	return cmp.Compare(a.from, b.from)
}

func compareNumber(fa family, a number, fb family, b number) int {
	if c := cmp.Compare(fa.plain(), fb.plain()); c != 0 {
		return c
	}
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

// compareIdentity orders rows of one place by what else identifies an interval:
// it is 0 for records of the same one.
func compareIdentity(a, b *row) int {
	s, t := a.shape, b.shape
	if s != t {
		if c := cmp.Or(
			cmp.Compare(s.kind, t.kind), cmp.Compare(s.spaces, t.spaces), cmp.Compare(s.protocol, t.protocol),
			cmp.Compare(s.span, t.span), cmp.Compare(s.step, t.step), cmp.Compare(s.class, t.class),
			cmp.Compare(s.extRealm, t.extRealm), cmp.Compare(zoneOf(s.ext, s.extZone), zoneOf(t.ext, t.extZone)),
			cmp.Compare(zoneOf(s.sub, s.subZone), zoneOf(t.sub, t.subZone)),
			cmp.Compare(s.internal, t.internal), cmp.Compare(s.internalZone, t.internalZone),
			cmp.Compare(s.remote, t.remote), cmp.Compare(s.remoteZone, t.remoteZone),
		); c != 0 {
			return c
		}
	}
	if c := compareNumber(s.sub, a.sub, t.sub, b.sub); c != 0 {
		return c
	}
	if c := cmp.Compare(a.id, b.id); c != 0 {
		return c
	}
	if a.ends == nil && b.ends == nil {
		return 0
	}
	x, y := a.endpoints(), b.endpoints()
	return cmp.Or(
		cmp.Compare(x.internal.hi, y.internal.hi), cmp.Compare(x.internal.lo, y.internal.lo), cmp.Compare(x.internalPort, y.internalPort),
		cmp.Compare(x.remote.hi, y.remote.hi), cmp.Compare(x.remote.lo, y.remote.lo), cmp.Compare(x.remotePort, y.remotePort),
	)
}

// zoneOf is the zone as far as it tells addresses apart: unmapping drops it.
func zoneOf(f family, zone string) string {
	if f != family6 {
		return ""
	}
	return zone
}

// compareRow orders rows by place, identity and the order of arrival.
func compareRow(a, b *row) int {
	if c := comparePlace(a, b); c != 0 {
		return c
	}
	if c := compareIdentity(a, b); c != 0 {
		return c
	}
	return a.order().compare(b.order())
}

// state counts what was seen of an open interval, as logging.Index does to know
// whether it was cancelled.
type state struct {
	begins, cancels uint32
	held, ended     bool
}

func (s *state) cancelled() bool { return !s.held && s.cancels > 0 && s.cancels >= s.begins }

func (s *state) open() bool { return !s.ended && !s.cancelled() }

// add takes a row's record or records into account.
func (s *state) add(w *row) {
	f := w.shape.form
	if f == formHeld || w.state != (state{}) { // an open row counts what it was made of
		s.begins += w.state.begins
		s.cancels += w.state.cancels
		s.held = s.held || w.state.held
		return
	}
	if f.hasA() {
		s.begins++
	}
	switch {
	case f == formInterim:
		s.held = true
	case !f.hasB():
	case w.shape.b.reason == logging.ReasonCancelled:
		s.cancels++
	default:
		s.held, s.ended = true, true
	}
}

// pack and unpackState bring a state into the column of states.
func (s state) pack() uint64 {
	v := uint64(min(s.begins, 1<<31-1))<<1 | uint64(min(s.cancels, 1<<31-1))<<32
	if s.held {
		v |= 1
	}
	return v
}

func unpackState(v uint64) state {
	return state{begins: uint32(v>>1) & (1<<31 - 1), cancels: uint32(v >> 32), held: v&1 != 0}
}
