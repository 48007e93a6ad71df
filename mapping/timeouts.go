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

// IdleClasses is the number of classes of sessions that may have idle times of their own.
const IdleClasses = 16

// Timeouts are the idle times after which sessions end, by phase. Each is at
// most ten days.
type Timeouts struct {
	UDP, ICMP                              time.Duration
	TCPOpening, TCPEstablished, TCPClosing time.Duration
	// RefreshInbound lets inbound packets restart the idle time as well (RFC 4787 REQ-6a).
	RefreshInbound bool
}

// ticks rounds a duration down to ticks.
func ticks(d time.Duration) Tick { return Tick(min(d, MaxIdle) / time.Millisecond) }

// SetTimeouts changes the idle times, on live sessions too: of class 0, and of classes 1, 2 ... Classes that are not
// given have the times of class 0. RefreshInbound counts in class 0, for all.
func (t *Table) SetTimeouts(idle Timeouts, classes ...Timeouts) {
	for c := range t.idle {
		of := idle
		if c > 0 && c <= len(classes) {
			of = classes[c-1]
		}
		t.idle[c] = [16]Tick{
			Active: ticks(of.UDP), Query: ticks(of.ICMP), Opening: ticks(of.TCPOpening),
			Established: ticks(of.TCPEstablished), FinInternal: ticks(of.TCPEstablished),
			FinRemote: ticks(of.TCPEstablished), Closing: ticks(of.TCPClosing), Reset: ticks(of.TCPClosing),
		}
	}
	t.inbound = idle.RefreshInbound
	t.index.each(func(s *segment) { s.stale = true })
}

// Classify gives each session the class of timeouts that of returns. It looks at the whole table.
func (t *Table) Classify(of func(space portblock.Space, remote Endpoint) uint8) {
	t.index.each(func(s *segment) {
		for i := range s.slots() {
			if r := s.at(i); s.holds(i) && r.hasSession() {
				r.scope = r.scope&^(IdleClasses-1) | uint64(of(r.space(), r.remote())&(IdleClasses-1))
			}
		}
		s.stale = true
	})
}

// Advance sets the table's clock and returns it as a Tick. A time before the latest one counts
// as that one. After a pause of more than ten days the clock moves on by ten days and a
// tick only, by when everything is over: so no time in the table ever falls behind by more than ticks can tell.
func (t *Table) Advance(now time.Time) Tick { return t.AdvanceMillis(now.UnixMilli()) }

// AdvanceMillis is Advance for a time in Unix milliseconds.
func (t *Table) AdvanceMillis(now int64) Tick {
	if ahead := now - t.origin - t.latest; ahead > 0 {
		t.advance(ahead)
	}
	return Tick(t.latest)
}

func (t *Table) advance(ahead int64) {
	const most = int64(MaxIdle/time.Millisecond) + 1
	if ahead > most {
		t.origin += ahead - most
		ahead = most
	}
	t.latest += ahead
}

// Tick converts a wall-clock time.
func (t *Table) Tick(now time.Time) Tick { return Tick(now.UnixMilli() - t.origin) }

// idleOf returns the idle time of a record's session.
func (t *Table) idleOf(r *record) Tick { return t.idle[r.idleClass()][r.state()&phaseMask] }

// silent reports whether an idle time has passed since a packet.
func silent(since, idle, now Tick) bool { return int32(now-since) >= int32(idle) }

// over reports whether the idle time of a session is over. Inbound packets count only
// where they refresh.
func (t *Table) over(r *record, now Tick) bool {
	idle := t.idleOf(r)
	return silent(r.out, idle, now) && (!t.inbound || silent(r.in, idle, now))
}

// hint is a lower bound of the time at which a record may be over, in units of 1,024 ticks, modulo 2^16. A refresh
// leaves it alone; Expire looks at the record when it is due, and takes the next one then. So a
// session is looked at about once in its idle time, and not at each round.
type hint uint16

const (
	hintShift = 10
	// hintSpan bounds how far ahead a hint lies, so that hints can be compared: 4.7 hours. A segment that was not
	// scanned for as long is scanned whole.
	hintSpan = 1 << 14
)

func hintAt(t Tick) hint { return hint(t >> hintShift) }

func (h hint) after(u hint) bool { return int16(h-u) > 0 }

// hintOf returns the hint of a record.
func (t *Table) hintOf(r *record, now Tick) hint {
	ahead := int32(hintSpan << hintShift)
	if r.hasSession() {
		last := r.out
		if t.inbound && r.in.after(last) {
			last = r.in
		}
		ahead = min(ahead, int32(last+t.idleOf(r)-now))
	}
	if r.scope&flagExplicit != 0 {
		ahead = min(ahead, int32(r.until-now))
	}
	if r.hasMapping() && r.unused() {
		ahead = 0 // until a session comes, or Expire
	}
	return hintAt(now + Tick(max(ahead, 0)))
}

// hint enters the hint of a record.
func (t *Table) hint(s *segment, slot int, now Tick) {
	h := t.hintOf(s.at(slot), now)
	s.due[slot] = h
	if s.next.after(h) {
		s.next = h
	}
}
