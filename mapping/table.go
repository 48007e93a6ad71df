package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Table holds the mappings and sessions of the subscribers of one shard. Each direction finds what it needs of a session in one
// cache line. The table keeps no pointers per session, and an insertion moves what is in at most one small part of it. It is not for
// concurrent use.
type Table struct {
	out, in  side
	blocks   blocks
	permits  flat
	origin   int64                 // Unix time in milliseconds of tick 0
	idle     [IdleClasses][16]Tick // by class and phase
	least    [16]Tick              // the least of all classes, by phase
	inbound  bool                  // inbound packets refresh
	latest   int64                 // what Advance last returned, before it became a Tick
	aged     int64                 // what it was when the last full round of Expire began, or at ageAll
	begun    int64                 // what it was when this round did
	cursor   int                   // next part for Expire
	sessions int
	mappings [spaces]int
}

// NewTable returns an empty table. The key is secret: it keeps others from aiming at one place of it.
func NewTable(key [24]byte, idle Timeouts, now time.Time) *Table {
	t := &Table{permits: newFlat(key), origin: now.UnixMilli()}
	t.out.init(key, true)
	t.in.init(key, false)
	t.SetTimeouts(idle)
	return t
}

// Sessions returns the number of sessions.
func (t *Table) Sessions() int { return t.sessions }

// Mappings returns the number of mappings.
func (t *Table) Mappings() (n int) {
	for _, of := range t.mappings {
		n += of
	}
	return n
}

func nearInternal(realm uint16, internal Endpoint) uint64 { return internal.pack() | uint64(realm) }

func nearExternal(external Endpoint, class uint16) uint64 { return external.pack() | uint64(class) }

// classOf returns the class of remotes of a half of the outbound side.
func (t *Table) classOf(p spot) uint16 {
	if !t.blocks.classes {
		return 0
	}
	return t.blocks.at(*p.block()).Class
}

// scopeOf returns the scope of the mapping of a half of the outbound side.
func (t *Table) scopeOf(p spot) Scope {
	r := p.half()
	s := Scope{Class: t.classOf(p), Pool: r.pool(), On: r.dependence()}
	s.Remote = r.remote().as(s.On)
	return s
}

// isOf reports whether a half of the outbound side holds the mapping of a scope.
func (t *Table) isOf(p spot, scope Scope) bool {
	return p.half().hasMapping() && t.scopeOf(p) == scope
}

// session finds the half of a session on the outbound side.
func (t *Table) session(realm uint16, space portblock.Space, internal, remote Endpoint) spot {
	var l Lookup
	t.LookOutbound(&l, realm, space, internal, remote)
	return t.out.spot(&l)
}

// arriving finds the same by the external side.
func (t *Table) arriving(space portblock.Space, external Endpoint, class uint16, remote Endpoint) spot {
	var l Lookup
	t.LookInbound(&l, space, external, class, remote)
	r := t.in.look(&l)
	if r == nil {
		return spot{}
	}
	return t.leaving(r)
}

// leaving returns the outbound half of the session of an inbound half.
func (t *Table) leaving(r *half) spot {
	var l Lookup
	t.out.begin(&l, r.far, r.space(), r.remote())
	return t.out.spot(&l)
}

// returning returns the inbound half of the session of an outbound half.
func (t *Table) returning(p spot) *half {
	r := p.half()
	var l Lookup
	t.in.begin(&l, nearExternal(r.external(), t.classOf(p)), r.space(), r.remote())
	return t.in.look(&l)
}

// Outbound is LookOutbound and PassOutbound in one.
func (t *Table) Outbound(realm uint16, space portblock.Space, internal, remote Endpoint, seg *Segment, now Tick) (Endpoint, bool) {
	var l Lookup
	t.LookOutbound(&l, realm, space, internal, remote)
	return t.PassOutbound(&l, seg, now)
}

// Inbound is LookInbound and PassInbound in one.
func (t *Table) Inbound(space portblock.Space, external Endpoint, class uint16, remote Endpoint, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	var l Lookup
	t.LookInbound(&l, space, external, class, remote)
	return t.PassInbound(&l, seg, now)
}

// Peek looks up a session by its external side and changes nothing: for ICMP
// errors, which neither refresh nor end a session (RFC 5508 REQ-6).
func (t *Table) Peek(space portblock.Space, external Endpoint, class uint16, remote Endpoint) (Session, bool) {
	p := t.arriving(space, external, class, remote)
	if p.seg == nil {
		return Session{}, false
	}
	return p.half().session(), true
}

// PeekOutbound looks up the external endpoint of a session by its internal side and changes nothing.
func (t *Table) PeekOutbound(realm uint16, space portblock.Space, internal, remote Endpoint) (Endpoint, bool) {
	var l Lookup
	t.LookOutbound(&l, realm, space, internal, remote)
	r := t.out.look(&l)
	if r == nil {
		return Endpoint{}, false
	}
	return r.external(), true
}
