package mapping

import "github.com/blocknat/blocknat/portblock"

// Session is one mapping used with one remote endpoint.
type Session struct {
	Realm    uint16
	Space    portblock.Space
	Internal Endpoint
	External Endpoint
	Remote   Endpoint
	Phase    Phase
	// Idle is the class of timeouts, from 0 to IdleClasses-1.
	Idle uint8
}

// Ended is a session that was removed.
type Ended struct {
	Session
	// At is the place of its mapping's external endpoint.
	At Place
	// Unmapped says that the mapping had no other use and was removed as well: its external endpoint is free.
	Unmapped bool
}

// Open enters a session of an existing mapping, begun by a packet from the internal end; seg counts for TCP only. It
// returns false, and changes nothing, when the mapping is not there
// or the session is. Close and Expire give it back.
func (t *Table) Open(o *Session, scope Endpoint, seg *Segment, now Tick) bool {
	inner := innerOf(o.Realm, o.Internal)
	s, i := t.anchor(inner, o.Space)
	if s == nil {
		return false
	}
	a := s.at(i)
	if (a.outer^o.Remote.pack())&partMask == 0 && a.hasSession() {
		return false
	}
	m := a
	if a.others > 0 || !a.isOf(scope) {
		if t.has(inner, session, o.Space, o.Remote) {
			return false
		}
		if !a.isOf(scope) {
			s, i := t.further(inner, mapped, o.Space, scope)
			if s == nil {
				return false
			}
			m = s.at(i)
		}
	}
	if m.external() != o.External {
		return false
	}
	m.sessions++
	t.sessions++
	t.blocks.at(m.block).seen = now
	if m == a && !a.hasSession() {
		a.begin(o, seg, now)
		t.hint(s, i, now)
		return true
	}
	n := record{
		inner: inner, outer: class(session, o.Space), ext: m.ext, block: m.block,
		scope: m.scope & partMask,
	}
	n.begin(o, seg, now)
	a.others++
	t.add(&n, now)
	return true
}

// begin writes the first packet of a session into its record.
func (r *record) begin(o *Session, seg *Segment, now Tick) {
	state := uint8(Active)
	r.sent, r.heard = 0, 0
	switch o.Space {
	case portblock.TCP:
		state = opened(seg.Flags)
		r.sent, r.heard = seg.end(), seg.Ack
	case portblock.ICMP:
		state = uint8(Query)
	}
	r.outer = r.outer&kindMask | o.Remote.pack() | uint64(state)
	r.scope = r.scope&^(IdleClasses-1) | uint64(o.Idle&(IdleClasses-1))
	r.out, r.in = now, now
}

// Close removes a session at once, whether its idle time is over or not.
func (t *Table) Close(realm uint16, space portblock.Space, internal, remote Endpoint, now Tick) (e Ended, ok bool) {
	s, i := t.session(realm, space, internal, remote)
	if s == nil {
		return Ended{}, false
	}
	return t.end(s, i, now), true
}

// CloseInbound is Close by the external side, for a session that Inbound did not find because it is over.
func (t *Table) CloseInbound(at Place, space portblock.Space, external, remote Endpoint, now Tick) (e Ended, ok bool) {
	s, i := t.arriving(at, space, external, remote)
	if s == nil {
		return Ended{}, false
	}
	return t.end(s, i, now), true
}

// end removes a session, with its mapping when that has no other use.
func (t *Table) end(s *segment, slot int, now Tick) Ended {
	r := s.at(slot)
	e := Ended{Session: r.session(), At: r.place()}
	t.sessions--
	if r.kind() == anchor {
		r.outer &= kindMask
	} else {
		inner, scope := r.inner, unpack(r.scope)
		t.index.remove(s, slot)
		s, slot = t.unanchor(inner, e.Space)
		if !s.at(slot).isOf(scope) {
			s, slot = t.further(inner, mapped, e.Space, scope)
		}
		r = s.at(slot)
	}
	r.sessions--
	r.lapse(now)
	if r.unused() {
		t.unmap(s, slot)
		e.Unmapped = true
	}
	return e
}
