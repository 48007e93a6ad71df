package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// Tick counts milliseconds since a table's origin, modulo 2^32 (49.7 days).
// Ticks are compared by their signed difference, so all times that a table
// keeps lie within 24 days of now.
type Tick uint32

func (t Tick) after(u Tick) bool { return int32(t-u) > 0 }

// MaxIdle bounds timeouts and lifetimes, so that signed differences of ticks keep their meaning. Longer ones count as this.
const MaxIdle = 10 * 24 * time.Hour

// Timeouts are the idle times after which sessions end, by phase. Each is at
// most ten days.
type Timeouts struct {
	UDP, ICMP                              time.Duration
	TCPOpening, TCPEstablished, TCPClosing time.Duration
	// RefreshInbound lets inbound packets restart the idle time as well (RFC 4787 REQ-6a).
	RefreshInbound bool
}

// Table holds the mappings and sessions of the subscribers of one shard. Each
// direction finds a session by one look-up. It keeps no pointers per session, and an
// insertion rehashes at most one small part of it. It is not for concurrent use.
type Table struct {
	flat     flat
	origin   int64 // Unix time in milliseconds of tick 0
	idle     [phases]Tick
	inbound  bool  // inbound packets refresh
	latest   int64 // what Advance last returned, before it became a Tick
	cursor   int   // next segment for Expire
	sessions int
	mappings int
	due      []due // scratch of Expire
}

// NewTable returns an empty table. The key is secret: it keeps others from aiming at one place of it.
func NewTable(key [24]byte, idle Timeouts, now time.Time) *Table {
	t := &Table{flat: newFlat(key), origin: now.UnixMilli()}
	t.SetTimeouts(idle)
	return t
}

// SetTimeouts changes the idle times, on live sessions too.
func (t *Table) SetTimeouts(idle Timeouts) {
	ms := func(d time.Duration) Tick { return Tick(min(d, MaxIdle) / time.Millisecond) }
	t.idle = [phases]Tick{
		Active: ms(idle.UDP), Query: ms(idle.ICMP), Opening: ms(idle.TCPOpening),
		Established: ms(idle.TCPEstablished), FinInternal: ms(idle.TCPEstablished),
		FinRemote: ms(idle.TCPEstablished), Closing: ms(idle.TCPClosing), Reset: ms(idle.TCPClosing),
	}
	t.inbound = idle.RefreshInbound
}

// Advance sets the table's clock and returns it as a Tick. A time before the latest one counts
// as that one. After a pause of more than ten days the clock moves on by ten days and a
// tick only, by when everything is over: so no time in the table ever falls behind by more than ticks can tell.
func (t *Table) Advance(now time.Time) Tick {
	const most = int64(MaxIdle/time.Millisecond) + 1
	ms := now.UnixMilli() - t.origin
	ahead := ms - t.latest
	if ahead <= 0 {
		return Tick(t.latest)
	}
	if ahead > most {
		t.origin += ahead - most
		ahead = most
	}
	t.latest += ahead
	return Tick(t.latest)
}

// Tick converts a wall-clock time.
func (t *Table) Tick(now time.Time) Tick { return Tick(now.UnixMilli() - t.origin) }

// Sessions returns the number of sessions.
func (t *Table) Sessions() int { return t.sessions }

// Mappings returns the number of mappings.
func (t *Table) Mappings() int { return t.mappings }

// Outbound looks up the session of a packet that leaves and returns the
// external endpoint that its source becomes. It restarts the idle time and
// tracks the TCP state; seg counts for TCP only. A session whose idle time is
// over is not found.
func (t *Table) Outbound(realm uint16, space portblock.Space, internal, remote Endpoint, seg *Segment, now Tick) (Endpoint, bool) {
	e := t.flat.find(internal.pack()|uint64(realm), remote.pack()|class(sessionOut, space))
	if e == nil {
		return Endpoint{}, false
	}
	state := uint8(e.lo)
	if t.expired(e, state, now) {
		return Endpoint{}, false
	}
	if space == portblock.TCP {
		state, _ = t.track(e, state, seg, false, now)
		if seg.Flags&FlagRST != 0 {
			return unpack(e.v0), true // a RST keeps nothing alive (RFC 7857 section 7.1)
		}
	}
	if refreshes(state) {
		e.v1 = uint64(now)<<32 | e.v1&0xffffffff
	}
	return unpack(e.v0), true
}

// Inbound looks up the session of a packet that arrives and returns the
// internal endpoint that its destination becomes, with its realm. It tracks the TCP state and,
// where inbound packets refresh, restarts the idle time. A session that is over is found until Expire has met it,
// unless it was silent for all its idle time or has ended: then CloseInbound removes it.
func (t *Table) Inbound(space portblock.Space, external, remote Endpoint, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	e := t.flat.find(external.pack(), remote.pack()|class(sessionIn, space))
	if e == nil {
		return Endpoint{}, 0, false
	}
	state := uint8(e.lo)
	if int32(now-Tick(e.v1>>32)) >= int32(t.idle[state&phaseMask]) && t.overInbound(e, state, now) {
		return Endpoint{}, 0, false
	}
	if space == portblock.TCP {
		var fitted bool
		state, fitted = t.track(e, state, seg, true, now)
		if !fitted || seg.Flags&FlagRST != 0 {
			return unpack(e.v0), uint16(e.v0), true // whoever sent it may be a stranger
		}
	}
	if refreshes(state) {
		e.v1 = uint64(now)<<32 | e.v1&0xffffffff
	}
	return unpack(e.v0), uint16(e.v0), true
}

// expired reports whether the idle time of an outbound half is over. The
// inbound half is asked only when it counts and the outbound one is over.
func (t *Table) expired(e *entry, state uint8, now Tick) bool {
	idle := t.idle[state&phaseMask]
	if int32(now-Tick(e.v1>>32)) < int32(idle) {
		return false
	}
	if !t.inbound {
		return true
	}
	in := t.other(e, false)
	return in == nil || int32(now-Tick(in.v1>>32)) >= int32(idle)
}

// overInbound is expired for an inbound half that was silent for its idle time.
func (t *Table) overInbound(e *entry, state uint8, now Tick) bool {
	out := t.other(e, true)
	return out == nil || t.expired(out, state, now)
}

// other returns the second half of a session.
func (t *Table) other(e *entry, fromRemote bool) *entry {
	remote := e.lo &^ 0xffff
	if fromRemote {
		return t.flat.find(e.v0&^0xffff|uint64(uint16(e.v0)), remote|class(sessionOut, spaceOf(e.lo)))
	}
	return t.flat.find(e.v0&^0xffff, remote|class(sessionIn, spaceOf(e.lo)))
}

// track follows the TCP connection of the half e and returns the new state, and whether the segment
// fits the connection.
// Both halves hold the same state byte; only the sender's half holds how far it has sent.
func (t *Table) track(e *entry, state uint8, seg *Segment, fromRemote bool, now Tick) (uint8, bool) {
	next := uint32(e.v1)
	if !fits(state, seg, next, fromRemote) {
		return state, false
	}
	known, begun := uint8(knownInternal), uint8(ackInternal)
	if fromRemote {
		known, begun = knownRemote, ackRemote
	}
	end := seg.end()
	flags := seg.Flags
	restart := reopens(state, flags, fromRemote)
	switch phase := Phase(state & phaseMask); {
	case phase == Opening && restart && end != next:
		state = opened(flags) // another SYN: what was seen before is of another connection
	case phase == Reset && restart && state&(known|begun) == known && inWindow(seg.Seq, next):
		flags &^= FlagSYN // a late SYN of the same connection, as good as any other segment
		restart = false
	}
	if restart || state&known == 0 || int32(end-next) > 0 {
		e.v1 = e.v1&^0xffffffff | uint64(end)
	}
	changed := advance(state, flags, fromRemote)
	if changed == uint8(e.lo) {
		return changed, true
	}
	before := uint8(e.lo)
	e.lo = e.lo&^stateMask | uint64(changed)
	o := t.other(e, fromRemote)
	if o == nil {
		return changed, true // not reached: a session has two halves
	}
	o.lo = o.lo&^stateMask | uint64(changed)
	if !fromRemote && flags&(FlagSYN|FlagACK) == FlagSYN|FlagACK && Phase(changed&phaseMask) == Opening {
		o.v1 = o.v1&^0xffffffff | uint64(seg.Ack) // what the remote end sends next
	}
	// A change of phase is an event of the connection as a whole: its idle
	// time starts anew, whoever sent the segment.
	if before&phaseMask != changed&phaseMask {
		e.v1 = uint64(now)<<32 | e.v1&0xffffffff
		o.v1 = uint64(now)<<32 | o.v1&0xffffffff
	}
	return changed, true
}

// The kinds of entry. A session has two halves, one under each direction's
// key; so has a mapping.
const (
	sessionOut = iota // (internal, realm | remote) -> external; idle since, sent up to
	sessionIn         // (external | remote) -> (internal, realm); last inbound, sent up to
	mappingOut        // (internal, realm | scope) -> external; number of sessions, stays until
	mappingIn         // (external) -> (internal, realm); scope
	permit            // (external | remote address) -> number of sessions
)

// class is the part of a key that tells kinds and port spaces apart. It leaves the state byte free.
func class(kind uint64, space portblock.Space) uint64 { return (kind<<4 | uint64(space)) << 8 }

func kindOf(lo uint64) uint64           { return lo >> 12 & 0xf }
func spaceOf(lo uint64) portblock.Space { return portblock.Space(lo >> 8 & 0xf) }

// Peek looks up a session by its external side and changes nothing: for ICMP
// errors, which neither refresh nor end a session (RFC 5508 REQ-6).
func (t *Table) Peek(space portblock.Space, external, remote Endpoint) (Session, bool) {
	e := t.flat.find(external.pack(), remote.pack()|class(sessionIn, space))
	if e == nil {
		return Session{}, false
	}
	return Session{
		Realm: uint16(e.v0), Space: space, Internal: unpack(e.v0), External: external, Remote: remote,
		Phase: Phase(e.lo & phaseMask),
	}, true
}

// PeekOutbound looks up the external endpoint of a session by its internal side and changes nothing.
func (t *Table) PeekOutbound(realm uint16, space portblock.Space, internal, remote Endpoint) (Endpoint, bool) {
	e := t.flat.find(internal.pack()|uint64(realm), remote.pack()|class(sessionOut, space))
	if e == nil {
		return Endpoint{}, false
	}
	return unpack(e.v0), true
}
