package natcore

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// fragments follows fragmented datagrams: later fragments have no ports, so
// they take the translation of the first one (RFC 4787 REQ-14). Those that come before the
// first one wait for it, within the limits. It is shared by all shards: a
// fragment's source and destination do not tell the shard of an inbound datagram.
//
// A datagram is forgotten when its time is over, or when all of it has passed from its beginning to its end without a gap. Those
// whose first fragment was not seen take half of the room at most, so that a flood of them hinders no
// datagram that comes in order (RFC 4787 REQ-14 A). A party has its share: an internal host what it sends and gets, a
// remote address what it sends before anybody knows for whom.
type fragments struct {
	mu          sync.Mutex
	now         time.Time // the latest seen
	timeout     time.Duration
	total, each room // limits
	used        room
	headless    int // datagrams whose first fragment was not seen
	byID        map[fragmentKey]*datagram
	parties     map[uint64]room
	first, last *datagram // in the order in which they expire
	ready       []Packet  // for Drain
	dropped     uint64    // fragments that waited in vain
}

// room is what datagrams take: their number, and the bytes of the fragments that wait, for their first one or for Drain.
type room struct{ datagrams, bytes int }

// fragmentKey tells a datagram by its untranslated header (RFC 791 section 3.2).
type fragmentKey struct {
	src, dst  uint32
	id        uint16
	realm     Realm
	proto     uint8
	direction Direction
}

// datagram is what is known of one: its translation once the first fragment
// was seen, and the fragments that wait for it until then.
type datagram struct {
	key        fragmentKey
	party      uint64
	expires    time.Time
	prev, next *datagram
	known      bool
	src, dst   uint32
	id         uint16
	verdict    Verdict
	reason     Reason
	realm      Realm
	// passed counts the payload bytes that went on from the beginning without a gap, of end in all; end is 0
	// until the last fragment has come.
	passed, end int
	waiting     []waitingFragment
}

type waitingFragment struct {
	Packet
	offset uint16
}

// heldCost is what a held fragment costs on top of its bytes.
const heldCost = 64

func costOf(b []byte) int { return len(b) + heldCost }

func (f *fragments) init(c *Config) {
	f.limit(c)
	f.byID, f.parties = map[fragmentKey]*datagram{}, map[uint64]room{}
}

// limit sets the bounds.
func (f *fragments) limit(c *Config) {
	l := &c.Limits
	f.timeout = c.Timeouts.Fragment
	f.total = room{l.Fragments, l.FragmentBytes}
	f.each = room{l.FragmentsPerSubscriber, l.FragmentBytesPerSubscriber}
}

func keyOf(p *Packet, h *rewrite.Packet4) fragmentKey {
	k := fragmentKey{src: h.Src, dst: h.Dst, id: h.ID, proto: h.Proto, direction: p.Direction}
	if p.Direction == Outbound {
		k.realm = p.Realm
	}
	return k
}

// sender is the party that a datagram is charged to before its first fragment was seen.
func (k *fragmentKey) sender() uint64 { return receiverOf(1-k.direction, k.realm, k.src) }

// enter follows a further datagram; nil says that there is no room. The caller holds the lock.
func (f *fragments) enter(key fragmentKey, party uint64, known bool) *datagram {
	switch {
	case f.used.datagrams >= f.total.datagrams, f.parties[party].datagrams >= f.each.datagrams,
		!known && f.headless >= max(1, f.total.datagrams/2):
		return nil
	}
	d := &datagram{key: key, party: party, expires: f.now.Add(f.timeout), known: known, prev: f.last}
	if f.last != nil {
		f.last.next = d
	} else {
		f.first = d
	}
	f.last = d
	f.byID[key] = d
	f.charge(party, 1, 0)
	if !known {
		f.headless++
	}
	return d
}

// charge changes what a party and all together take.
func (f *fragments) charge(party uint64, datagrams, bytes int) {
	f.used.datagrams += datagrams
	f.used.bytes += bytes
	r := f.parties[party]
	r.datagrams += datagrams
	r.bytes += bytes
	if r == (room{}) {
		delete(f.parties, party)
	} else {
		f.parties[party] = r
	}
}

// hold lets a copy of a fragment wait for the first one, if there is room.
func (f *fragments) hold(d *datagram, p *Packet, offset uint16) bool {
	cost := costOf(p.Bytes)
	if f.used.bytes+cost > f.total.bytes || f.parties[d.party].bytes+cost > f.each.bytes {
		return false
	}
	f.charge(d.party, 0, cost)
	d.waiting = append(d.waiting, waitingFragment{
		Packet{Bytes: slices.Clone(p.Bytes), Realm: p.Realm, Direction: p.Direction, Flags: p.Flags}, offset,
	})
	return true
}

// learn notes the translation of a datagram's first fragment and lets the others go, in their order. From then on
// the datagram is charged to a party that may be another one; where that has its share already, it is not followed.
func (f *fragments) learn(d *datagram, party uint64, p *Packet, h *rewrite.Packet4, verdict Verdict, why Reason) {
	if !d.known {
		f.headless--
	}
	d.known, d.src, d.dst, d.id, d.verdict, d.reason, d.realm = true, h.Src, h.Dst, h.ID, verdict, why, p.Realm
	for _, w := range d.waiting {
		f.charge(d.party, 0, -costOf(w.Bytes))
	}
	full := false
	if party != d.party {
		full = f.parties[party].datagrams >= f.each.datagrams
		f.charge(d.party, -1, 0)
		d.party = party
		f.charge(d.party, 1, 0)
	}
	d.passes(h)
	slices.SortStableFunc(d.waiting, func(a, b waitingFragment) int { return cmp.Compare(a.offset, b.offset) })
	for _, w := range d.waiting {
		var wh rewrite.Packet4
		fault := rewrite.Parse4(w.Bytes, &wh) // none: it was parsed before it was held
		if w.Verdict, w.Reason = d.apply(&w.Packet, &wh); w.Verdict == Drop || fault != rewrite.FaultNone {
			f.dropped++
			continue
		}
		f.used.bytes += costOf(w.Bytes)
		f.ready = append(f.ready, w.Packet)
	}
	d.waiting = nil
	if full || d.whole() {
		f.forget(d)
	}
}

// apply gives a later fragment the addresses, the identification and the verdict of its first one.
func (d *datagram) apply(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if d.verdict == Forward || d.verdict == Hairpin {
		h.SetSource(p.Bytes, d.src, 0)
		h.SetDestination(p.Bytes, d.dst, 0)
		h.SetID(p.Bytes, d.id)
		p.Realm = d.realm
	}
	d.passes(h)
	return d.verdict, d.reason
}

// passes notes that a fragment goes on.
func (d *datagram) passes(h *rewrite.Packet4) {
	from := int(h.FragmentOffset)
	to := from + int(h.TotalLength) - h.HeaderLength()
	if h.Flags&rewrite.MoreFragments == 0 {
		d.end = to
	}
	if from <= d.passed {
		d.passed = max(d.passed, to)
	}
}

// whole reports whether all of the datagram has gone on. Those that are dropped, and those that came with a gap that
// was filled later, are followed until their time is over.
func (d *datagram) whole() bool { return d.end > 0 && d.passed >= d.end && d.verdict != Drop }

// forget ends a datagram.
func (f *fragments) forget(d *datagram) {
	for _, w := range d.waiting {
		f.charge(d.party, 0, -costOf(w.Bytes))
		f.dropped++
	}
	f.charge(d.party, -1, 0)
	if !d.known {
		f.headless--
	}
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		f.first = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		f.last = d.prev
	}
	d.prev, d.next = nil, nil
	delete(f.byID, d.key)
}

func (f *fragments) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(now)
}

// advance sets the clock and forgets the datagrams whose time is over: all of
// them have the same time to live, so they end in the order in which they came; when that time is shortened, the later ones end with those before them. The caller holds the lock.
func (f *fragments) advance(now time.Time) {
	if now.After(f.now) {
		f.now = now
	}
	for f.first != nil && !f.now.Before(f.first.expires) {
		f.forget(f.first)
	}
}

// drain appends to dst the fragments that need not wait any more.
func (f *fragments) drain(dst []Packet) []Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.ready {
		f.used.bytes -= costOf(p.Bytes)
	}
	dst = append(dst, f.ready...)
	clear(f.ready)
	f.ready = f.ready[:0]
	return dst
}

// clear drops all fragments.
func (f *fragments) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.first != nil {
		f.forget(f.first)
	}
	clear(f.ready)
	f.ready, f.used = nil, room{}
}
