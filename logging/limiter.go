package logging

import (
	"net/netip"
	"sync"
	"time"
)

// LimiterConfig says how often records may repeat.
type LimiterConfig struct {
	// Interval is the least time between two records of one event. 0 means 10
	// seconds; less than 0 lets all pass.
	Interval time.Duration

	// Keys bounds how many events are kept apart, so that a flood of
	// subscribers over their quota does not take memory without end. Records
	// of further events share one interval for each kind. 0 means 4096.
	Keys int
}

// A Limiter is a Log that lets records of quotas, thresholds and exhaustion pass
// once an interval each and counts those that it holds back (RFC 8158 section
// 5.2); all other kinds pass always. A record that passes says in Suppressed how
// many like it were held back since the last one. Suppressed records are
// accepted: they are not lost but counted. Time is that of the records.
//
// Records are alike when kind, resource, instance, pool, external address,
// protocol and subscriber are equal. It is safe for concurrent use.
type Limiter struct {
	next     Log
	interval Millis
	keys     int

	mu         sync.Mutex
	events     map[eventKey]*eventState
	suppressed uint64
}

type eventKey struct {
	kind                 Kind
	resource             Resource
	protocol             uint8
	instance, pool       uint32
	external, subscriber netip.Addr
	id                   string
}

type eventState struct {
	last  Millis
	count uint32
}

// NewLimiter returns a Limiter in front of next.
func NewLimiter(next Log, c LimiterConfig) *Limiter {
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.Keys <= 0 {
		c.Keys = 4096
	}
	return &Limiter{next: given(next), interval: Millis(c.Interval.Milliseconds()), keys: c.Keys, events: map[eventKey]*eventState{}}
}

// Append hands r on or counts it.
func (l *Limiter) Append(r *Record) error {
	switch r.Kind {
	case QuotaExceeded, AddressesExhausted, PortsExhausted, ThresholdHigh, ThresholdLow:
	default:
		return l.next.Append(r)
	}
	if l.interval < 0 {
		return l.next.Append(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.state(r)
	// A clock that was set back by more than an interval does not silence.
	if d := r.Time - s.last; known && d < l.interval && d > -l.interval {
		s.count += 1 + r.Suppressed // what r holds for is held back with it
		l.suppressed++
		return nil
	}
	out := *r
	out.Suppressed += s.count
	if err := l.next.Append(&out); err != nil {
		return err
	}
	s.last, s.count = r.Time, 0
	return nil
}

// state returns the state of r's event, and whether one passed before.
func (l *Limiter) state(r *Record) (s *eventState, known bool) {
	k := eventKey{r.Kind, r.Resource, r.Protocol, r.Instance, r.PoolID, r.External, r.Subscriber, r.SubscriberID}
	if s := l.events[k]; s != nil {
		return s, true
	}
	if len(l.events) >= l.keys {
		l.forget(r.Time)
	}
	if len(l.events) >= l.keys {
		k = eventKey{kind: r.Kind}
		if s := l.events[k]; s != nil {
			return s, true
		}
	}
	s = &eventState{}
	l.events[k] = s
	return s, false
}

// forget drops the events whose interval is over and that held nothing back.
func (l *Limiter) forget(now Millis) {
	for k, s := range l.events {
		if s.count == 0 && now-s.last >= l.interval {
			delete(l.events, k)
		}
	}
}

// Suppressed returns how many records were held back in all.
func (l *Limiter) Suppressed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suppressed
}
