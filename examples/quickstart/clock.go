package main

import (
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// The idle times after which the engine may end a mapping, by its defaults; for
// TCP the shortest that a connection can be in.
const (
	idleUDP  = 300 * time.Second
	idleICMP = 60 * time.Second
	idleTCP  = 240 * time.Second
)

const (
	// budget is how many steps the engine may take a second to end what is idle.
	budget = 4096
	// sampleEvery and idleEvery are in ticks of a second.
	sampleEvery = 10
	idleEvery   = 64
	// endStep is how the clock ticks after the capture's end, where nothing but time happens.
	endStep = 10 * time.Second
	// patience is how long the engine has at the end to come to rest. The
	// longest idle time is that of an established TCP connection, 2 h 4 min.
	patience = 6 * time.Hour
)

// epoch is the earliest time that is given to the engine: some captures have
// none, and records say "not set" by 1970-01-01T00:00:00Z.
var epoch = time.Unix(1, 0).UTC()

// advance lets time pass until t. Each second the engine ends what is idle. A
// long gap in the capture is skipped once nothing is left to end.
func (p *player) advance(t time.Time) {
	if t.Before(epoch) {
		t = epoch
	}
	if p.now.IsZero() {
		p.now, p.tick = t, t.Add(time.Second)
	}
	for !p.tick.After(t) {
		p.expire(time.Second)
		if p.ticks%idleEvery == 0 && p.atRest() {
			p.tick = t.Add(time.Second)
		}
	}
	if t.After(p.now) {
		p.now = t
	}
}

// expire is one tick of the engine's housekeeping; the next one comes after step.
func (p *player) expire(step time.Duration) {
	p.now = p.tick
	p.clock.startIdle()
	p.engine.Expire(p.now, budget*int(step/time.Second))
	p.clock.stopIdle()
	p.tick = p.tick.Add(step)
	p.ticks++
	if p.ticks%sampleEvery == 0 {
		p.sample()
	}
}

// sample notes how many ports each subscriber holds.
func (p *player) sample() {
	for s := range p.engine.Subscribers() {
		n := s.Ports[0] + s.Ports[1] + s.Ports[2]
		p.peaks[s.Internal] = max(p.peaks[s.Internal], n)
	}
}

// atRest reports whether no session lives and no block is held or rests.
func (p *player) atRest() bool { return quiet(p.engine.Stats()) }

func quiet(s natcore.Stats) bool {
	if s.Sessions != 0 || s.Subscribers != 0 || s.Datagrams != 0 {
		return false
	}
	for _, pool := range s.Pools {
		if pool.BlocksHeating != 0 || pool.BlocksCooling != 0 {
			return false
		}
	}
	return true
}

// finish lets time pass after the last packet until the engine has come to
// rest, so that every block is released. It returns how long that took.
func (p *player) finish() (time.Duration, error) {
	if p.now.IsZero() {
		return 0, nil
	}
	from := p.now
	for p.now.Sub(from) < patience && !(p.ticks%idleEvery == 0 && p.atRest()) {
		p.expire(endStep)
		if err := p.drain(nil); err != nil {
			return 0, err
		}
	}
	return p.now.Sub(from), nil
}

// A stopwatch adds up the time within engine calls. What reading the clock
// twice costs is measured once and taken off.
type stopwatch struct {
	began       time.Time
	cost        time.Duration
	calls       int
	inCalls     time.Duration
	idleCalls   int
	inIdleCalls time.Duration
}

func newStopwatch() stopwatch {
	const rounds = 1000
	begin := time.Now()
	for range rounds {
		_ = time.Since(time.Now())
	}
	// A measured span holds about one of the two readings.
	return stopwatch{cost: time.Since(begin) / rounds / 2}
}

func (s *stopwatch) start() { s.began = time.Now() }

func (s *stopwatch) stop() {
	s.inCalls += max(time.Since(s.began)-s.cost, 0)
	s.calls++
}

func (s *stopwatch) startIdle() { s.began = time.Now() }

func (s *stopwatch) stopIdle() {
	s.inIdleCalls += max(time.Since(s.began)-s.cost, 0)
	s.idleCalls++
}

// perPacket is the mean time of a packet in the engine.
func (s *stopwatch) perPacket() time.Duration {
	if s.calls == 0 {
		return 0
	}
	return s.inCalls / time.Duration(s.calls)
}
