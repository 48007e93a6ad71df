package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Table holds the mappings and sessions of the subscribers of one shard. Each
// direction finds a session in one record. It keeps no pointers per session, and an
// insertion moves the records of at most one small part of it. It is not for concurrent use.
type Table struct {
	index    index
	blocks   blocks
	permits  flat
	origin   int64                 // Unix time in milliseconds of tick 0
	idle     [IdleClasses][16]Tick // by class and phase
	inbound  bool                  // inbound packets refresh
	latest   int64                 // what Advance last returned, before it became a Tick
	cursor   int                   // next part for Expire
	sessions int
	mappings int
}

// NewTable returns an empty table. The key is secret: it keeps others from aiming at one place of it.
func NewTable(key [24]byte, idle Timeouts, now time.Time) *Table {
	t := &Table{index: newIndex(key), permits: newFlat(key), origin: now.UnixMilli()}
	t.SetTimeouts(idle)
	return t
}

// Sessions returns the number of sessions.
func (t *Table) Sessions() int { return t.sessions }

// Mappings returns the number of mappings.
func (t *Table) Mappings() int { return t.mappings }

func innerOf(realm uint16, internal Endpoint) uint64 { return internal.pack() | uint64(realm) }

// anchor finds the anchor of an internal endpoint.
func (t *Table) anchor(inner uint64, space portblock.Space) (*segment, int) {
	outer := class(anchor, space)
	return t.index.find(t.index.hash.sum(inner, outer), inner, outer, kindMask)
}

// further finds a record of an internal endpoint that has one of its own.
func (t *Table) further(inner uint64, kind uint64, space portblock.Space, e Endpoint) (*segment, int) {
	outer := e.pack() | class(kind, space)
	return t.index.find(t.index.hash.sum(inner, outer), inner, outer, keyMask)
}

// session finds the record of a session.
func (t *Table) session(inner uint64, space portblock.Space, remote Endpoint) (*segment, int) {
	s, i := t.anchor(inner, space)
	if s == nil {
		return nil, 0
	}
	r := &s.recs[i]
	if (r.outer^remote.pack())&partMask == 0 && r.hasSession() {
		return s, i
	}
	if r.others == 0 {
		return nil, 0
	}
	return t.further(inner, session, space, remote)
}

// arriving finds the record of a session by its external side.
func (t *Table) arriving(at Place, space portblock.Space, external, remote Endpoint) (*segment, int) {
	b := t.blocks.at(at.Block)
	port, ok := t.blocks.internalPort(b, space, at.Offset)
	if !ok {
		return nil, 0
	}
	s, i := t.session(innerOf(b.Realm, Endpoint{b.Internal, port}), space, remote)
	if s == nil || (s.recs[i].ext^external.pack())&partMask != 0 {
		return nil, 0 // the session belongs to another mapping of the internal endpoint
	}
	return s, i
}

// Outbound looks up the session of a packet that leaves and returns the
// external endpoint that its source becomes. It restarts the idle time and
// tracks the TCP state; seg counts for TCP only. A session whose idle time is
// over is not found.
func (t *Table) Outbound(realm uint16, space portblock.Space, internal, remote Endpoint, seg *Segment, now Tick) (Endpoint, bool) {
	s, i := t.session(innerOf(realm, internal), space, remote)
	if s == nil {
		return Endpoint{}, false
	}
	r := &s.recs[i]
	if t.over(r, now) {
		return Endpoint{}, false
	}
	if space == portblock.TCP {
		t.track(s, i, seg, false, now)
		if seg.Flags&FlagRST != 0 {
			return r.external(), true // a RST keeps nothing alive (RFC 7857 section 7.1)
		}
	}
	if refreshes(r.state()) {
		t.note(r, r.out, now)
		r.out = now
	}
	return r.external(), true
}

// Inbound looks up the session of a packet that arrives at a place, which is that of the external endpoint, and returns the
// internal endpoint that its destination becomes, with its realm. It tracks the TCP state and,
// where inbound packets refresh, restarts the idle time. A session that is over is found until Expire has met it,
// unless it was silent for all its idle time or has ended: then CloseInbound removes it.
func (t *Table) Inbound(at Place, space portblock.Space, external, remote Endpoint, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	s, i := t.arriving(at, space, external, remote)
	if s == nil {
		return Endpoint{}, 0, false
	}
	r := &s.recs[i]
	if silent(r.in, t.idleOf(r), now) && t.over(r, now) {
		return Endpoint{}, 0, false
	}
	if space == portblock.TCP {
		if !t.track(s, i, seg, true, now) || seg.Flags&FlagRST != 0 {
			return r.internal(), r.realm(), true // whoever sent it may be a stranger
		}
	}
	if refreshes(r.state()) {
		t.note(r, r.in, now)
		r.in = now
	}
	return r.internal(), r.realm(), true
}

// note tells a session's block of a packet, when the one before came long ago.
func (t *Table) note(r *record, last, now Tick) {
	if last>>seenShift != now>>seenShift {
		t.blocks.at(r.block).seen = now
	}
}

// Peek looks up a session by its external side and changes nothing: for ICMP
// errors, which neither refresh nor end a session (RFC 5508 REQ-6).
func (t *Table) Peek(at Place, space portblock.Space, external, remote Endpoint) (Session, bool) {
	s, i := t.arriving(at, space, external, remote)
	if s == nil {
		return Session{}, false
	}
	return s.recs[i].session(), true
}

// PeekOutbound looks up the external endpoint of a session by its internal side and changes nothing.
func (t *Table) PeekOutbound(realm uint16, space portblock.Space, internal, remote Endpoint) (Endpoint, bool) {
	s, i := t.session(innerOf(realm, internal), space, remote)
	if s == nil {
		return Endpoint{}, false
	}
	return s.recs[i].external(), true
}
