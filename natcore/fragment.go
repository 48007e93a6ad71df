package natcore

import (
	"slices"
	"sync"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// fragments follows fragmented datagrams: later fragments have no ports, so
// they take the translation of the first one (RFC 4787 REQ-14). Those that come before the
// first one wait for it, within the limits. It is shared by all shards: a
// fragment's source and destination do not tell the shard of an inbound datagram.
type fragments struct {
	mu       sync.Mutex
	now      time.Time // the latest seen
	timeout  time.Duration
	most     int
	mostHeld int // bytes
	held     int // bytes that wait, for their first fragment or for Drain
	byID     map[fragmentKey]*datagram
	queue    []fragmentKey // in the order in which they expire
	ready    []Packet      // for Drain
	dropped  uint64        // fragments that waited in vain
}

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
	expires  time.Time
	known    bool
	src, dst uint32
	id       uint16
	verdict  Verdict
	reason   Reason
	realm    Realm
	waiting  []Packet
}

func (f *fragments) init(c *Config) {
	f.timeout, f.most, f.mostHeld = c.Timeouts.Fragment, c.Limits.Fragments, c.Limits.FragmentBytes
	f.byID = map[fragmentKey]*datagram{}
}

func keyOf(p *Packet, h *rewrite.Packet4) fragmentKey {
	k := fragmentKey{src: h.Src, dst: h.Dst, id: h.ID, proto: h.Proto, direction: p.Direction}
	if p.Direction == Outbound {
		k.realm = p.Realm
	}
	return k
}

// heldCost is what a held fragment costs on top of its bytes.
const heldCost = 64

// firstFragment translates a first fragment as a whole packet and remembers
// how, for those that follow.
func (c *call) firstFragment(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	key := keyOf(p, h)
	verdict, why := c.whole(p, h)
	c.finish(p, h, verdict)
	f := &c.e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(c.now)
	if verdict == Drop && f.byID[key] == nil {
		return verdict, why // nobody waits, and who comes later may wait in vain
	}
	d := f.datagram(key)
	if c.e.ids.counters != nil && key.direction == Outbound && (verdict == Forward || verdict == Hairpin) {
		if d == nil || !d.known {
			h.SetID(p.Bytes, c.e.ids.next(h.Src, h.Dst, h.Proto))
		} else {
			h.SetID(p.Bytes, d.id) // the first fragment again: the same datagram
		}
	}
	if d == nil {
		return verdict, why
	}
	d.known, d.src, d.dst, d.id, d.verdict, d.reason, d.realm = true, h.Src, h.Dst, h.ID, verdict, why, p.Realm
	for _, w := range d.waiting {
		var wh rewrite.Packet4
		fault := rewrite.Parse4(w.Bytes, &wh) // none: it was parsed before it was held
		if w.Verdict, w.Reason = d.apply(&w, &wh); w.Verdict == Drop || fault != rewrite.FaultNone {
			f.held -= len(w.Bytes) + heldCost
			f.dropped++
			continue
		}
		f.ready = append(f.ready, w)
	}
	d.waiting = nil
	return verdict, why
}

// laterFragment translates a fragment that is not the first, or holds a copy of it
// until the first one comes.
func (c *call) laterFragment(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if p.Direction == Inbound {
		if !c.own(h.Dst) {
			return c.exempted(p, h)
		}
		if c.own(h.Src) {
			return Drop, ReasonSpoofed
		}
	}
	f := &c.e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(c.now)
	d := f.datagram(keyOf(p, h))
	if d == nil {
		return Drop, ReasonFragment
	}
	if d.known {
		return d.apply(p, h)
	}
	if f.held+len(p.Bytes)+heldCost > f.mostHeld {
		return Drop, ReasonFragment
	}
	f.held += len(p.Bytes) + heldCost
	d.waiting = append(d.waiting, Packet{
		Bytes: slices.Clone(p.Bytes), Realm: p.Realm, Direction: p.Direction, Flags: p.Flags,
	})
	return Held, ReasonNone
}

// apply gives a later fragment the addresses and the verdict of its first one.
func (d *datagram) apply(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if d.verdict == Forward || d.verdict == Hairpin {
		h.SetSource(p.Bytes, d.src, 0)
		h.SetDestination(p.Bytes, d.dst, 0)
		h.SetID(p.Bytes, d.id)
		p.Realm = d.realm
	}
	return d.verdict, d.reason
}

// datagram returns the entry of a datagram, made where it is missing; nil when there is no room.
func (f *fragments) datagram(key fragmentKey) *datagram {
	if d := f.byID[key]; d != nil {
		return d
	}
	if len(f.byID) >= f.most {
		return nil
	}
	d := &datagram{expires: f.now.Add(f.timeout)}
	f.byID[key] = d
	f.queue = append(f.queue, key)
	return d
}

func (f *fragments) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(now)
}

// advance sets the clock and forgets the datagrams whose time is over: all of
// them have the same time to live, so they end in the order in which they came. The caller holds the lock.
func (f *fragments) advance(now time.Time) {
	if now.After(f.now) {
		f.now = now
	}
	n := 0
	for ; n < len(f.queue); n++ {
		d := f.byID[f.queue[n]]
		if f.now.Before(d.expires) {
			break
		}
		for _, w := range d.waiting {
			f.held -= len(w.Bytes) + heldCost
			f.dropped++
		}
		delete(f.byID, f.queue[n])
	}
	f.queue = f.queue[n:]
}

// drain appends to dst the fragments that need not wait any more.
func (f *fragments) drain(dst []Packet) []Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.ready {
		f.held -= len(p.Bytes) + heldCost
	}
	dst = append(dst, f.ready...)
	clear(f.ready)
	f.ready = f.ready[:0]
	return dst
}

// Drain appends to dst the packets that the engine has for the caller to send
// on, with verdict Forward, Hairpin or Bypass: fragments whose first one came after them, and ICMP errors that the
// engine has built (Config.ICMP, Reject), which have the flag Generated. An Inbound one goes inside, to its Realm. Their
// Bytes belong to the caller from then on. Call it after each batch: what it has counts against
// the limits until then, and another caller's batch may have brought the first fragment.
func (e *Engine) Drain(dst []Packet) []Packet {
	e.answerSYNs(time.UnixMilli(e.clock.Load()))
	return e.outbox.drain(e.frags.drain(dst))
}
