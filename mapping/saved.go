package mapping

import (
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// SavedSession is all that a table keeps of a session, for snapshots.
type SavedSession struct {
	Session
	// Scope is that of its mapping, Block the block of its external endpoint.
	Scope Scope
	Block BlockID
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
	next = t.walk(part, func(p spot) {
		if r := p.half(); r.hasSession() {
			in := t.returning(p)
			dst = append(dst, SavedSession{r.session(), t.scopeOf(p), *p.block(), r.state(), r.seen, in.seen, r.next, in.next})
		}
	})
	return dst, next
}

// AppendSavedMappings does what AppendMappings does, with all that there is.
func (t *Table) AppendSavedMappings(dst []SavedMapping, part int) (mappings []SavedMapping, next int) {
	next = t.walk(part, func(p spot) {
		if p.half().hasMapping() {
			_, until, explicit := t.usage(p)
			dst = append(dst, SavedMapping{t.mappingOf(p), explicit, until})
		}
	})
	return dst, next
}

// RestoreSession enters a session of an existing mapping as it was saved, with times of this table. It returns false, and changes nothing,
// when Open would, or when the state is none that the session can have.
func (t *Table) RestoreSession(v *SavedSession, now Tick) bool {
	switch p := Phase(v.State & phaseMask); {
	case PortsOf(v.Space) == portblock.UDP && v.State != uint8(Active), v.Space == portblock.ICMP && v.State != uint8(Query),
		v.Space == portblock.TCP && (p < Opening || p > Reset), v.Space >= spaces, v.Out.after(now), v.In.after(now),
		now-v.Out > ticks(MaxIdle)+1, now-v.In > ticks(MaxIdle)+1:
		return false
	}
	if !t.Open(&v.Session, v.Scope, &Segment{}, now) {
		return false
	}
	p := t.session(v.Realm, v.Space, v.Internal, v.Remote)
	r, in := p.half(), t.returning(p)
	r.setState(v.State)
	in.setState(v.State)
	r.seen, in.seen, r.next, in.next = v.Out, v.In, v.Sent, v.Heard
	t.hint(p, now)
	return true
}

// RestoreLastPacket sets what LastPacket returns.
func (t *Table) RestoreLastPacket(id BlockID, at Tick) { t.blocks.at(id).seen = at }

// Lifetime returns how much is left of the explicit lifetime of a mapping, and false when none runs.
func (t *Table) Lifetime(realm uint16, space portblock.Space, internal Endpoint, scope Scope, now Tick) (left time.Duration, ok bool) {
	p := t.holder(nearInternal(realm, internal), space, scope)
	if p.seg == nil {
		return 0, false
	}
	_, until, explicit := t.usage(p)
	if !explicit || !until.after(now) {
		return 0, false
	}
	return time.Duration(until-now) * time.Millisecond, true
}

// CloseOver is Close for a session whose idle time is over; any other it leaves alone.
func (t *Table) CloseOver(realm uint16, space portblock.Space, internal, remote Endpoint, now Tick) (e Ended, ok bool) {
	p := t.session(realm, space, internal, remote)
	if p.seg == nil || !t.over(p, now) {
		return Ended{}, false
	}
	return t.end(p, now), true
}
