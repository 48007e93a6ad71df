package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// SavedSession is all that a table keeps of a session, for snapshots.
type SavedSession struct {
	Session
	// Scope is that of its mapping, At the place of its external endpoint.
	Scope Endpoint
	At    Place
	// State is the phase with what is known of both ends, as the table keeps it.
	State uint8
	// Out and In are the times of its last packets that counted, by direction.
	Out, In Tick
	// Sent and Heard are what the internal and the remote end send next (TCP).
	Sent, Heard uint32
}

// SavedMapping is all that a table keeps of a mapping, but for its sessions.
type SavedMapping struct {
	Mapping
	// Until is the end of its explicit lifetime, where Explicit says that one runs.
	Explicit bool
	Until    Tick
}

// AppendSavedSessions does what AppendSessions does, with all that there is.
func (t *Table) AppendSavedSessions(dst []SavedSession, part int) (sessions []SavedSession, next int) {
	next = t.walk(part, func(r *record) {
		if r.hasSession() {
			dst = append(dst, SavedSession{r.session(), unpack(r.scope), r.place(), r.state(), r.out, r.in, r.sent, r.heard})
		}
	})
	return dst, next
}

// AppendSavedMappings does what AppendMappings does, with all that there is.
func (t *Table) AppendSavedMappings(dst []SavedMapping, part int) (mappings []SavedMapping, next int) {
	next = t.walk(part, func(r *record) {
		if r.hasMapping() {
			dst = append(dst, SavedMapping{r.mapping(), r.scope&flagExplicit != 0, r.until})
		}
	})
	return dst, next
}

// RestoreSession enters a session of an existing mapping as it was saved, with times of this table. It returns false, and changes nothing,
// when Open would, or when the state is none that the session can have.
func (t *Table) RestoreSession(v *SavedSession, now Tick) bool {
	switch p := Phase(v.State & phaseMask); {
	case PortsOf(v.Space) == portblock.UDP && v.State != uint8(Active), v.Space == portblock.ICMP && v.State != uint8(Query),
		v.Space == portblock.TCP && (p < Opening || p >= phases), v.Space >= spaces, v.Out.after(now), v.In.after(now),
		now-v.Out > ticks(MaxIdle)+1, now-v.In > ticks(MaxIdle)+1:
		return false
	}
	if !t.Open(&v.Session, v.Scope, &Segment{}, now) {
		return false
	}
	s, i := t.session(v.Realm, v.Space, v.Internal, v.Remote)
	r := s.at(i)
	r.setState(v.State)
	r.out, r.in, r.sent, r.heard = v.Out, v.In, v.Sent, v.Heard
	t.hint(s, i, now)
	return true
}

// RestoreLastPacket sets what LastPacket returns.
func (t *Table) RestoreLastPacket(id BlockID, at Tick) { t.blocks.at(id).seen = at }

// Lifetime returns how much is left of the explicit lifetime of a mapping, and false when none runs.
func (t *Table) Lifetime(realm uint16, space portblock.Space, internal, scope Endpoint, now Tick) (left time.Duration, ok bool) {
	s, i := t.holder(innerOf(realm, internal), space, scope)
	if s == nil || s.at(i).scope&flagExplicit == 0 || !s.at(i).until.after(now) {
		return 0, false
	}
	return time.Duration(s.at(i).until-now) * time.Millisecond, true
}

// CloseOver is Close for a session whose idle time is over; any other it leaves alone.
func (t *Table) CloseOver(realm uint16, space portblock.Space, internal, remote Endpoint, now Tick) (e Ended, ok bool) {
	s, i := t.session(realm, space, internal, remote)
	if s == nil || !t.over(s.at(i), now) {
		return Ended{}, false
	}
	return t.end(s, i, now), true
}
