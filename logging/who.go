package logging

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Who returns the intervals that meet q: none, one or several, never a choice
// among several. Those that cover the instant come first, then by beginning.
// Two subscribers mean that clocks may be apart by more than the guard time, or
// that records contradict each other or are missing; a block, a mapping and
// sessions of one subscriber are intervals of their own.
func (x *Index) Who(q Query) []Candidate {
	t := MillisOf(q.At)
	tol := Millis(max(0, q.Tolerance+time.Millisecond-1) / time.Millisecond)
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := x.computed(x.recorded(&q, t, tol), &q, t, tol)
	var statics []Interval
	for i := range out {
		if out[i].Kind == StaticAdded {
			statics = append(statics, out[i].Interval)
		}
	}
	out = slices.DeleteFunc(out, func(c Candidate) bool { return Shadowed(&q, &c.Interval, statics) })
	slices.SortStableFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.From, b.From))
	})
	return out
}

// recorded returns the intervals of records that meet q.
func (x *Index) recorded(q *Query, t, tol Millis) []Candidate {
	a := x.byAddr[q.External.Unmap()]
	if a == nil {
		return nil
	}
	var ids []int32
	lists := a.lists[:]
	if !q.AnyPort {
		lists = a.lists[q.Port>>8 : q.Port>>8+1]
	}
	for i := range lists {
		lists[i].reaching(x.ivs, t-tol, t+tol, func(n int32, v *entry) {
			if v.matches(q) {
				ids = append(ids, n)
			}
		})
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	out := make([]Candidate, len(ids))
	for i, n := range ids {
		v := &x.ivs[n]
		out[i] = Candidate{v.Interval, v.certainty(t, tol), SourceOf(v.Kind)}
	}
	return out
}

// rank puts those that cover the instant before those that only come near.
func (c *Candidate) rank() int {
	if c.Certainty == Near {
		return 1
	}
	return 0
}

func (e *entry) matches(q *Query) bool {
	switch {
	case e.cancelled,
		!q.AnyPort && !e.HasPort(q.Port),
		q.Spaces != 0 && e.Spaces&q.Spaces == 0,
		q.ByRealm && e.ExternalRealm != q.ExternalRealm,
		q.ByClass && e.Class != q.Class && e.Kind != StaticAdded,
		e.Kind == StaticAdded && e.Spaces == 0 && !q.AnyPort:
		return false
	}
	return true
}

func (e *entry) certainty(t, tol Millis) Certainty {
	switch from, to := e.From, e.until(); {
	case from <= t-tol && t+tol <= to:
		return Inside
	case from <= t && t <= to:
		return Edge
	}
	return Near
}

// Subscriber returns what the subscriber with this address (or prefix's
// address) held at some instant from from to to, both included, by beginning.
// The zero to means without end.
func (x *Index) Subscriber(addr netip.Addr, from, to time.Time) []Interval {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.held(x.bySub[addr.Unmap()], from, to)
}

// SubscriberID is Subscriber for a subscriber with an opaque id.
func (x *Index) SubscriberID(id string, from, to time.Time) []Interval {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.held(x.byID[id], from, to)
}

func (x *Index) held(ids []int32, from, to time.Time) []Interval {
	first, last := minMillis, forever
	if !from.IsZero() {
		first = MillisOf(from)
	}
	if !to.IsZero() {
		last = MillisOf(to)
	}
	var out []Interval
	for _, n := range ids[:upTo(x.ivs, ids, last)] {
		if v := &x.ivs[n]; !v.cancelled && v.until() >= first {
			out = append(out, v.Interval)
		}
	}
	return out
}
