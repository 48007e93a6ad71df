package logging

import (
	"slices"
	"time"
)

// A Resolver computes who holds the external port of a query under the
// configuration of a ConfigEpoch record, as deterministic mappings need no
// records (RFC 7422 section 3). It appends an interval for each answer to dst,
// with Subscriber, First, Last and Spaces at least; for a query with AnyPort one
// for each subscriber of the address, and none for an address or a port that the
// configuration does not map. The Index fills in From, To, Host, Instance, Epoch
// and External, and asks for each epoch that meets the query's time. It must not
// call the Index.
type Resolver func(dst []Interval, epoch *Record, q *Query) []Interval

// Resolve makes f answer for configuration epochs, of which Who tells nothing
// before. What a Resolver gives has Source Computed; neither Subscriber nor
// Verify nor the counts know of it.
func (x *Index) Resolve(f Resolver) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.resolve = f
}

// computed appends what the resolver says for each epoch that meets the time of
// q. An epoch lasts until the next one of its host, instance and pool, and both
// have the millisecond of the change.
func (x *Index) computed(out []Candidate, q *Query, t, tol Millis) []Candidate {
	if x.resolve == nil {
		return out
	}
	var ivs []Interval
	for i := range x.epochs {
		epoch := &x.epochs[i]
		if epoch.Time > t+tol {
			break
		}
		until, open := x.epochEnd(i)
		if until < t-tol {
			continue
		}
		copied := *epoch
		ivs = x.resolve(ivs[:0], &copied, q)
		for _, v := range ivs {
			v.Kind, v.Open, v.Confirmed = ConfigEpoch, open, true
			v.From, v.To, v.Seen = epoch.Time, until, epoch.Time
			v.Host, v.Instance, v.Epoch, v.External = epoch.Host, epoch.Instance, epoch.Epoch, q.External.Unmap()
			if open {
				v.To = 0
			}
			e := entry{Interval: v}
			if e.matches(q) {
				out = append(out, Candidate{v, e.certainty(t, tol), Computed})
			}
		}
	}
	return out
}

// epochEnd returns when the i-th epoch ends, and whether it is the last one.
func (x *Index) epochEnd(i int) (until Millis, open bool) {
	e := &x.epochs[i]
	for j := i + 1; j < len(x.epochs); j++ {
		if next := &x.epochs[j]; next.Host == e.Host && next.Instance == e.Instance && next.PoolID == e.PoolID && next.Pool == e.Pool {
			return next.Time, false
		}
	}
	return forever, true
}

func (x *Index) addEpoch(r *Record) {
	i, _ := slices.BinarySearchFunc(x.epochs, r.Time, func(e Record, t Millis) int {
		if e.Time <= t {
			return -1
		}
		return 1
	})
	for j := i - 1; j >= 0 && x.epochs[j].Time == r.Time; j-- {
		if x.epochs[j] == *r {
			return
		}
	}
	x.epochs = slices.Insert(x.epochs, i, *r)
}

// EpochAt returns the last ConfigEpoch record of host and instance at or before
// the instant.
func (x *Index) EpochAt(host string, instance uint32, at time.Time) (Record, bool) {
	t := MillisOf(at)
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := len(x.epochs) - 1; i >= 0; i-- {
		if e := &x.epochs[i]; e.Time <= t && e.Host == host && e.Instance == instance {
			return *e, true
		}
	}
	return Record{}, false
}
