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
func (t *Table) session(realm uint16, space portblock.Space, internal, remote Endpoint) (*segment, int) {
	var l Lookup
	t.LookOutbound(&l, realm, space, internal, remote)
	return t.find(&l)
}

// arriving finds the record of a session by its external side.
func (t *Table) arriving(at Place, space portblock.Space, external, remote Endpoint) (*segment, int) {
	var l Lookup
	if !t.LookInbound(&l, at, space, external, remote) {
		return nil, 0
	}
	return t.find(&l)
}

// Outbound is LookOutbound and PassOutbound in one.
func (t *Table) Outbound(realm uint16, space portblock.Space, internal, remote Endpoint, seg *Segment, now Tick) (Endpoint, bool) {
	var l Lookup
	t.LookOutbound(&l, realm, space, internal, remote)
	return t.PassOutbound(&l, seg, now)
}

// Inbound is LookInbound and PassInbound in one.
func (t *Table) Inbound(at Place, space portblock.Space, external, remote Endpoint, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	var l Lookup
	if !t.LookInbound(&l, at, space, external, remote) {
		return Endpoint{}, 0, false
	}
	return t.PassInbound(&l, seg, now)
}

// note tells a session's block of a packet, when the one before came long ago.
func (t *Table) note(r *record, last, now Tick) {
	if last>>seenShift != now>>seenShift {
		t.see(r.block, now)
	}
}

func (t *Table) see(id BlockID, now Tick) { t.blocks.at(id).seen = now }

// Peek looks up a session by its external side and changes nothing: for ICMP
// errors, which neither refresh nor end a session (RFC 5508 REQ-6).
func (t *Table) Peek(at Place, space portblock.Space, external, remote Endpoint) (Session, bool) {
	s, i := t.arriving(at, space, external, remote)
	if s == nil {
		return Session{}, false
	}
	return s.at(i).session(), true
}

// PeekOutbound looks up the external endpoint of a session by its internal side and changes nothing.
func (t *Table) PeekOutbound(realm uint16, space portblock.Space, internal, remote Endpoint) (Endpoint, bool) {
	s, i := t.session(realm, space, internal, remote)
	if s == nil {
		return Endpoint{}, false
	}
	return s.at(i).external(), true
}
