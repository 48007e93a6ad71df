package natcore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
)

// traces are the records of static mappings that the log has and whose end it has not. A mapping is recorded before it takes effect, and
// its end once nothing is translated by it, before its ports are the pool's again.
type traces struct {
	mu     sync.Mutex // held across the log; statics.mu may be taken under it
	held   []trace
	ending []traceEnd
	last   logging.Millis // of ends

	refused, lost uint64
}

// trace is what is recorded of a static mapping: a record for each of its addresses, or for one of its servers.
type trace struct {
	static             *static
	external, internal uint32
	addresses          uint32
	port               uint16
	since              logging.Millis
	left               bool // the server is one no more, and may have sessions
}

// traceEnd is the end of a trace; its first addresses are recorded already.
type traceEnd struct {
	trace
	at  logging.Millis
	why logging.Reason
}

// tracesOf returns what is to be recorded of a static mapping.
func tracesOf(s *static, since logging.Millis) (all []trace) {
	if len(s.servers) == 0 {
		return []trace{{static: s, external: s.external, internal: s.internal, addresses: s.addresses, port: s.firstInside, since: since}}
	}
	for _, v := range s.servers {
		all = append(all, trace{static: s, external: s.external, internal: v.at.Addr, addresses: 1, port: v.at.Port, since: since})
	}
	return all
}

// same reports whether two traces are of one endpoint of one mapping.
func (t *trace) same(o *trace) bool {
	return t.static.id == o.static.id && t.internal == o.internal && t.port == o.port
}

// spaces returns the port spaces of a mapping; UDP-Lite has that of UDP. Protocols without ports have none.
func (s *static) spaces() logging.Spaces {
	switch p := s.cfg.Protocol; {
	case p == 136: // UDP-Lite
		return logging.UDP
	case p != 0:
		return logging.SpaceOf(p)
	case s.whole:
		return logging.AllSpaces
	}
	return logging.TCP | logging.UDP
}

// traceRecord returns the record of the beginning of a trace for its n-th address.
func (e *Engine) traceRecord(t *trace, n uint32) logging.Record {
	s := t.static
	r := logging.Record{
		Kind: logging.StaticAdded, Time: t.since, Spaces: s.spaces(), Protocol: s.cfg.Protocol,
		Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch, Pool: s.cfg.Name, Realm: e.realmName(uint16(s.cfg.Realm)),
		Subscriber: mapping.Addr4(t.internal + n), External: mapping.Addr4(t.external + n),
	}
	if r.Spaces != 0 {
		r.First, r.Last = s.first, s.first+uint16(s.ports-1)
		r.Internal = mapping.Endpoint{Addr: t.internal + n, Port: t.port}.AddrPort()
	}
	return r
}

// traceStatics records static mappings before they take effect: all of them, or none, and then the error tells what the log said.
func (e *Engine) traceStatics(of []*static, why logging.Reason, now time.Time) error {
	var fresh []trace
	for _, s := range of {
		fresh = append(fresh, tracesOf(s, logging.MillisOf(now))...)
	}
	return e.trace(fresh, why, now)
}

func (e *Engine) trace(fresh []trace, why logging.Reason, now time.Time) error {
	if len(fresh) == 0 || e.stopped.Load() {
		return nil
	}
	t := &e.statics.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	err := e.flushTraces() // what has ended comes first
	for i := 0; i < len(fresh) && err == nil; i++ {
		f := &fresh[i]
		f.since = max(f.since, t.last+1) // the same mapping may have ended in this millisecond: the records must not be one interval's
		for n := uint32(0); n < f.addresses && err == nil; n++ {
			r := e.traceRecord(f, n)
			r.Reason = why
			if err = e.appendTrace(&r); err != nil {
				f.addresses = n
				for _, written := range fresh[:i+1] {
					if written.addresses > 0 {
						t.ending = append(t.ending, traceEnd{written, written.since, logging.ReasonCancelled})
					}
				}
				_ = e.flushTraces() // what is refused is offered again
			}
		}
	}
	if err != nil {
		return fmt.Errorf("natcore: the log refuses the records of static mappings: %w", err)
	}
	t.held = append(t.held, fresh...)
	return nil
}

// appendTrace offers a record to the log. A refusal that the policy allows is counted and no error.
func (e *Engine) appendTrace(r *logging.Record) error {
	err := e.cfg.Log.Append(r)
	if err == nil {
		return nil
	}
	t := &e.statics.traces
	t.refused++
	if e.cfg.LogPolicy == CountLoss || r.Kind == logging.StaticRemoved && errors.Is(err, logging.ErrRecord) {
		t.lost++
		return nil
	}
	return err
}

// endTraces records the end of the traces that match, as far as the log takes it: the rest waits.
func (e *Engine) endTraces(match func(t *trace) bool, why logging.Reason, now time.Time) error {
	t := &e.statics.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.endMatching(match, why, now)
}

// endMatching is endTraces for who holds the lock.
func (e *Engine) endMatching(match func(t *trace) bool, why logging.Reason, now time.Time) error {
	t := &e.statics.traces
	kept := t.held[:0]
	for i := range t.held {
		h := t.held[i]
		if !match(&h) {
			kept = append(kept, h)
			continue
		}
		at := max(logging.MillisOf(now), h.since)
		t.last = max(t.last, at)
		t.ending = append(t.ending, traceEnd{h, at, why})
	}
	clear(t.held[len(kept):])
	t.held = kept
	return e.flushTraces()
}

// flushTraces offers the ends that are due, in order, until the log refuses one. The caller holds the lock.
func (e *Engine) flushTraces() error {
	t := &e.statics.traces
	for len(t.ending) > 0 {
		for d := &t.ending[0]; d.addresses > 0; d.addresses-- {
			r := e.traceRecord(&d.trace, d.addresses-1)
			r.Kind, r.Reason, r.Allocated, r.Time = logging.StaticRemoved, d.why, r.Time, d.at
			if err := e.appendTrace(&r); err != nil {
				return err
			}
		}
		t.ending = t.ending[1:]
	}
	t.ending = nil
	return nil
}

// replaceTraces records the servers that a mapping has got, and notes those that it has no more: their sessions go on, and so
// their records stay until Expire finds none. The caller holds change.
func (e *Engine) replaceTraces(s *static, now time.Time) error {
	t := &e.statics.traces
	var fresh []trace
	t.mu.Lock()
	next := tracesOf(s, logging.MillisOf(now))
	for i := range next {
		known := false
		for k := range t.held {
			if h := &t.held[k]; h.same(&next[i]) {
				known, h.left = true, false
			}
		}
		if !known {
			fresh = append(fresh, next[i])
		}
	}
	t.mu.Unlock()
	return e.trace(fresh, logging.ReasonAdmin, now)
}

// leaveTraces notes which servers a mapping has no more, once it has others.
func (e *Engine) leaveTraces(s *static) {
	t := &e.statics.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	next := tracesOf(s, 0)
	for k := range t.held {
		h := &t.held[k]
		if h.static.id != s.id {
			continue
		}
		h.left = true
		for i := range next {
			if h.same(&next[i]) {
				h.left = false
			}
		}
	}
}

// expireTraces records the end of servers that are gone and have no session left, and offers again what was refused.
func (e *Engine) expireTraces(now time.Time) {
	st := &e.statics
	t := &st.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	type host struct {
		static, internal uint32
	}
	busy := map[host]bool{}
	for i := range t.held {
		if t.held[i].left {
			busy[host{t.held[i].static.id, t.held[i].internal}] = false
		}
	}
	if len(busy) == 0 {
		_ = e.flushTraces() // what is refused is offered again
		return
	}
	st.mu.Lock()
	for part := 0; part >= 0; {
		st.scratch, part = st.flows.Append(st.scratch[:0], part)
		for i := range st.scratch {
			if w := &st.scratch[i]; st.owners[w.Owner] != nil {
				busy[host{w.Owner, w.Out.Dst}] = true
			}
		}
	}
	st.mu.Unlock()
	_ = e.endMatching(func(h *trace) bool { return h.left && !busy[host{h.static.id, h.internal}] }, logging.ReasonIdle, now)
}

// stopTraces records the end of all static mappings, of which none translates anything any more.
func (e *Engine) stopTraces() error {
	return e.endTraces(func(*trace) bool { return true }, logging.ReasonShutdown, e.time())
}

// waiting returns the number of traces whose end the log has not accepted yet.
func (t *traces) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ending)
}
