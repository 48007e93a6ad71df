package natcore

import (
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// Reject builds the ICMP error that tells the sender of a packet why the caller does not forward it, such as
// rewrite.TimeExceeded or rewrite.FragmentationNeeded, and reports whether it did; Drain hands it out. The packet may be as it came, with
// the Direction and Realm of its arrival, or as Process left it: then the error goes back through
// the translation, as that of the next router would, and the sender reads about the packet that it sent (RFC 5508 REQ-4, REQ-5). What
// a translation cannot take back stays as it left: the time to live, a clamped MSS, the identification of a datagram that may be fragmented.
//
// There is none about packets that are never answered, and none beyond the limits of Config.ICMP.
func (e *Engine) Reject(p *Packet, why rewrite.ICMPError, now time.Time) bool {
	h, ok := answerable(p)
	if !ok || p.Direction > Inbound {
		return false
	}
	c := e.call(now)
	defer c.unlock()
	fromExternal, toExternal := c.own(h.Src), c.own(h.Dst)
	switch {
	case p.Direction == Outbound && !fromExternal && p.Verdict != Hairpin: // as it came, or exempt from translation
		return e.outbox.send(p.Bytes, &h, e.internalSource(), why, Packet{Direction: Inbound, Realm: p.Realm}, c.now)
	case p.Direction == Inbound && (toExternal || p.Verdict == Bypass):
		return e.outbox.send(p.Bytes, &h, c.externalSource(h.Dst), why, Packet{Direction: Outbound}, c.now)
	}
	return c.rejectTranslated(p, &h, why)
}

// rejectTranslated builds the error about a translated packet and translates it back to the packet's sender.
func (c *call) rejectTranslated(p *Packet, h *rewrite.Packet4, why rewrite.ICMPError) bool {
	e := c.e
	// As an outbound packet, its source is not held against the external addresses.
	a := Packet{
		Bytes: rewrite.AppendICMPError4(nil, p.Bytes, h, e.internalSource(), why), Direction: Outbound, Realm: p.Realm,
	}
	c.generated = true
	var outer rewrite.Packet4
	if rewrite.Parse4(a.Bytes, &outer) != rewrite.FaultNone {
		return false // not reached: it was built a moment ago
	}
	if p.Direction == Outbound && p.Verdict != Hairpin {
		a.Verdict, a.Reason = c.errorIn(&a, &outer)
		a.Direction = Inbound
	} else {
		a.Verdict, a.Reason = c.errorOut(&a, &outer)
	}
	if a.Verdict == Drop {
		return false // the session has ended
	}
	a.Flags = Generated
	o := &e.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	to := a.Direction
	if a.Verdict == Hairpin {
		to = Inbound
	}
	if !o.admit(receiverOf(to, a.Realm, outer.Dst), c.now) {
		return false
	}
	o.put(a)
	return true
}
