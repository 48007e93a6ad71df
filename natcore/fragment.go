package natcore

import (
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// firstFragment translates a first fragment as a whole packet and remembers
// how, for those that follow.
func (c *call) firstFragment(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	key := keyOf(p, h)
	verdict, why := c.whole(p, h)
	c.finish(p, h, verdict)
	goesOn := verdict == Forward || verdict == Hairpin
	party := key.sender()
	if key.direction == Inbound && goesOn {
		party = receiverOf(Inbound, p.Realm, h.Dst)
	}
	f := &c.e.frags
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(c.now)
	d := f.byID[key]
	if d == nil && verdict == Drop {
		return verdict, why // nobody waits, and who comes later may wait in vain
	}
	if c.e.ids.counters != nil && key.direction == Outbound && goesOn {
		if d != nil && d.known {
			h.SetID(p.Bytes, d.id) // the first fragment again: the same datagram
		} else {
			h.SetID(p.Bytes, c.e.ids.next(h.Src, h.Dst, h.Proto))
		}
	}
	if d == nil {
		d = f.enter(key, party, true)
	}
	if d != nil {
		f.learn(d, party, p, h, verdict, why)
	}
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
	key := keyOf(p, h)
	d := f.byID[key]
	if d != nil && d.known {
		verdict, why := d.apply(p, h)
		if d.whole() {
			f.forget(d)
		}
		return verdict, why
	}
	if d == nil {
		if d = f.enter(key, key.sender(), false); d == nil {
			c.e.fragmentRefused(p, h, key.sender(), c.now)
			return Drop, ReasonFragment
		}
	}
	if !f.hold(d, p, h.FragmentOffset) {
		if len(d.waiting) == 0 {
			f.forget(d)
		}
		c.e.fragmentRefused(p, h, key.sender(), c.now)
		return Drop, ReasonFragment
	}
	return Held, ReasonNone
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
