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
	timeout  time.Duration
	most     int
	mostHeld int // bytes
	held     int // bytes
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

// firstFragment translates a first fragment as a whole packet and remembers
// how, for those that follow.
func (c *call) firstFragment(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	key := keyOf(p, h)
	verdict, why := c.whole(p, h)
	f := &c.e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.datagram(key, c.now)
	if d == nil {
		return verdict, why
	}
	d.known, d.src, d.dst, d.verdict, d.reason, d.realm = true, h.Src, h.Dst, verdict, why, p.Realm
	for _, w := range d.waiting {
		f.held -= len(w.Bytes)
		var wh rewrite.Packet4
		if rewrite.Parse4(w.Bytes, &wh) != rewrite.FaultNone {
			continue // not reached: it was parsed before it was held
		}
		if w.Verdict, w.Reason = d.apply(&w, &wh); w.Verdict == Drop {
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
	f := &c.e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.datagram(keyOf(p, h), c.now)
	if d == nil {
		return Drop, ReasonFragment
	}
	if d.known {
		return d.apply(p, h)
	}
	if f.held+len(p.Bytes) > f.mostHeld {
		return Drop, ReasonFragment
	}
	f.held += len(p.Bytes)
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
		p.Realm = d.realm
	}
	return d.verdict, d.reason
}

// datagram returns the entry of a datagram, made where it is missing; nil when there is no room.
func (f *fragments) datagram(key fragmentKey, now time.Time) *datagram {
	if d := f.byID[key]; d != nil && now.Before(d.expires) {
		return d
	}
	f.clean(now)
	if len(f.byID) >= f.most {
		return nil
	}
	d := &datagram{expires: now.Add(f.timeout)}
	f.byID[key] = d
	f.queue = append(f.queue, key)
	return d
}

func (f *fragments) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clean(now)
}

// clean forgets the datagrams whose time is over. The caller holds the lock.
func (f *fragments) clean(now time.Time) {
	n := 0
	for ; n < len(f.queue); n++ {
		d := f.byID[f.queue[n]]
		if now.Before(d.expires) {
			break
		}
		for _, w := range d.waiting {
			f.held -= len(w.Bytes)
			f.dropped++
		}
		delete(f.byID, f.queue[n])
	}
	f.queue = f.queue[n:]
}

// Drain appends to dst the packets that the engine has for the caller to send
// on: fragments whose first one came after them, with verdict Forward, Hairpin or Bypass. Their
// Bytes belong to the caller from then on. A caller that sees the verdict Held calls it
// after each batch.
func (e *Engine) Drain(dst []Packet) []Packet {
	f := &e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	dst = append(dst, f.ready...)
	clear(f.ready)
	f.ready = f.ready[:0]
	return dst
}
