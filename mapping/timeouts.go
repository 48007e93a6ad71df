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
	t.least = t.idle[0]
	for c := range t.idle {
		for phase, d := range t.idle[c] {
			t.least[phase] = min(t.least[phase], d)
		}
	}
	t.inbound = idle.RefreshInbound
	t.out.each(func(s *segment) { s.stale = true })
}

// Classify gives each session the class of timeouts that of returns. It looks at the whole table.
func (t *Table) Classify(of func(space portblock.Space, remote Endpoint) uint8) {
	t.out.each(func(s *segment) {
		for i := range s.halves {
			if r := &s.halves[i]; r.hasSession() {
				r.far = r.far&^idleMask | uint64(of(r.space(), r.remote())&idleMask)
			}
		}
		s.stale = true
	})
}

// Advance sets the table's clock and returns it as a Tick. A time before the latest one counts
// as that one. After a pause of more than ten days the clock moves on by ten days and a
// tick only, by when everything is over: so no time in the table ever falls behind by more than ticks can tell. Where Expire has not
// come round for 12 days, it looks at the whole table for that.
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
	if t.latest+ahead-t.aged > neglect {
		t.ageAll()
	}
	t.latest += ahead
}

// Tick converts a wall-clock time.
func (t *Table) Tick(now time.Time) Tick { return Tick(now.UnixMilli() - t.origin) }

// idleOf returns the idle time of the session of a half of the outbound side.
func (t *Table) idleOf(r *half) Tick { return t.idle[r.idleClass()][r.state()&phaseMask] }

// silent reports whether an idle time has passed since a packet.
func silent(since, idle, now Tick) bool { return int32(now-since) >= int32(idle) }

// over reports whether the idle time of the session of a half of the outbound side is over. Inbound packets count only
// where they refresh.
func (t *Table) over(p spot, now Tick) bool {
	idle := t.idleOf(p.half())
	return silent(p.half().seen, idle, now) && (!t.inbound || silent(t.returning(p).seen, idle, now))
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

// hintOf returns the hint of a half of the outbound side.
func (t *Table) hintOf(p spot, now Tick) hint {
	r := p.half()
	ahead := int32(hintSpan << hintShift)
	if r.hasSession() {
		last := r.seen
		if idle := t.idleOf(r); t.inbound && silent(last, idle, now) {
			if in := t.returning(p).seen; in.after(last) {
				last = in
			}
		}
		ahead = min(ahead, int32(last+t.idleOf(r)-now))
	}
	if r.hasMapping() && (!r.hasSession() || r.crowded()) {
		sessions, until, explicit := t.usage(p)
		if explicit {
			ahead = min(ahead, int32(until-now))
		} else if sessions == 0 {
			ahead = 0 // until a session comes, or Expire
		}
	}
	return hintAt(now + Tick(max(ahead, 0)))
}

// hint enters the hint of a half of the outbound side.
func (t *Table) hint(p spot, now Tick) {
	h := t.hintOf(p, now)
	*p.due() = h
	if p.seg.next.after(h) {
		p.seg.next = h
	}
}
