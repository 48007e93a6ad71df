package natcore

import (
	"sync"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// outbox holds the ICMP errors that the engine has built until the caller
// fetches them with Drain. It is shared by all shards, and its lock is the last one taken.
type outbox struct {
	mu         sync.Mutex
	cfg        ICMPConfig
	answers    [reasons]rewrite.ICMPError // by the reason of a drop; type 0 is none
	limit      limiter
	ready      []Packet
	built      uint64
	suppressed uint64 // by rate, or because nobody fetches them
	syns       waitingSYNs
}

// outboxRoom is the number of errors that wait to be fetched at most: about 600 bytes each.
const outboxRoom = 1024

func (o *outbox) init(c *ICMPConfig, key uint64) {
	o.cfg = *c
	o.limit = newLimiter(c.PerSecond, c.PerReceiver, key)
	o.syns.init(c)
	if c.Off {
		return
	}
	messages := [...]rewrite.ICMPError{AnswerHost: rewrite.Unreachable(1), AnswerProhibited: rewrite.Unreachable(13)}
	for _, r := range Reasons() {
		switch r {
		case ReasonAddressesExhausted, ReasonBlocksExhausted, ReasonBlockLimit, ReasonPortLimit, ReasonPortsResting,
			ReasonSessionLimit, ReasonNotSubscriber, ReasonSubscriberLimit, ReasonLogRefused,
			ReasonRealmLimit, ReasonSessionRate, ReasonMappingRate, ReasonReserved, ReasonConflict,
			ReasonSourcesExhausted:
			o.answers[r] = messages[c.Exhausted]
		case ReasonNoRule, ReasonRuleDrop:
			o.answers[r] = messages[c.Refused]
		}
	}
}

// dummyAddress is the source of a router without an address of its own (192.0.0.8, RFC 6890).
const dummyAddress = 192<<24 | 8

// internalSource is the source of errors to internal hosts.
func (e *Engine) internalSource() uint32 {
	if a := e.outbox.cfg.Internal; a.IsValid() {
		return mapping.Number4(a)
	}
	if spans := *e.external.spans.Load(); len(spans) > 0 {
		return spans[0].first
	}
	return dummyAddress
}

// externalSource is the source of errors to remote hosts about packets that were sent to an address.
func (c *call) externalSource(sentTo uint32) uint32 {
	if a := c.e.outbox.cfg.External; a.IsValid() {
		return mapping.Number4(a)
	}
	if c.own(sentTo) {
		return sentTo
	}
	return c.e.internalSource()
}

// refused answers a packet that was dropped, where it is to be answered. Its bytes are as they came.
func (c *call) refused(p *Packet) {
	o := &c.e.outbox
	if p.Direction == Inbound {
		if p.Reason == ReasonFiltered || p.Reason == ReasonNoMapping {
			c.holdSYN(p)
		}
		return
	}
	answer := o.answers[p.Reason]
	if answer.Type == 0 {
		return
	}
	if h, ok := answerable(p); ok {
		o.send(p.Bytes, &h, c.e.internalSource(), answer, Packet{Direction: Inbound, Realm: p.Realm}, c.now)
	}
}

// answerable parses a packet and reports whether it may be answered by an ICMP error.
func answerable(p *Packet) (h rewrite.Packet4, ok bool) {
	if rewrite.Parse4(p.Bytes, &h) != rewrite.FaultNone || !h.Answerable(p.Bytes) ||
		h.Kind == rewrite.KindTCP && h.TCPFlags&rewrite.TCPRst != 0 {
		return h, false
	}
	if p.Flags&PartialChecksum != 0 {
		h.Flags |= rewrite.PartialChecksum
	}
	return h, true
}

// send builds the error about a packet and puts it where Drain finds it, within the limits. as has its direction and realm.
func (o *outbox) send(b []byte, h *rewrite.Packet4, source uint32, e rewrite.ICMPError, as Packet, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.admit(receiverOf(as.Direction, as.Realm, h.Src), now) {
		return false
	}
	as.Bytes = rewrite.AppendICMPError4(nil, b, h, source, e)
	as.Verdict, as.Flags = Forward, Generated
	o.put(as)
	return true
}

// admit asks the limits whether a receiver gets a further error. The caller holds the lock.
func (o *outbox) admit(receiver uint64, now time.Time) bool {
	if len(o.ready) < outboxRoom && o.limit.allow(receiver, now) {
		return true
	}
	o.suppressed++
	return false
}

// mayReport asks whether an internal host may report a further MTU to the outside: as many a second as it may get errors (ATK-19 in CONFORMANCE.md).
func (o *outbox) mayReport(realm Realm, internal uint32, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.limit.allowOne(2<<48|receiverOf(Inbound, realm, internal), now)
}

func (o *outbox) put(p Packet) {
	o.built++
	o.ready = append(o.ready, p)
}

// drain appends what is there to dst.
func (o *outbox) drain(dst []Packet) []Packet {
	o.mu.Lock()
	defer o.mu.Unlock()
	dst = append(dst, o.ready...)
	clear(o.ready)
	o.ready = o.ready[:0]
	return dst
}
