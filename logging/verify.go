package logging

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// A Conflict is a pair of intervals that share an external port and overlap, or
// lie closer together than the guard time.
type Conflict struct {
	Earlier, Later Interval
	// First and Last bound the ports that both have.
	First, Last uint16
	// Gap is the time between them; negative where they overlap, and Endless
	// where both are open.
	Gap time.Duration
}

// Endless is the Gap of two intervals that are both open.
const Endless time.Duration = math.MinInt64

// String says which address, which ports, who and by how much.
func (c Conflict) String() string {
	what := fmt.Sprintf("follows after %v", c.Gap)
	switch {
	case c.Gap == Endless:
		what = "overlaps without end"
	case c.Gap < 0:
		what = fmt.Sprintf("overlaps by %v", -c.Gap)
	}
	return fmt.Sprintf("%v ports %d-%d: %s from %v %s %s from %v", c.Later.External, c.First, c.Last,
		c.Later.who(), c.Later.From, what, c.Earlier.who(), c.Earlier.From)
}

func (v *Interval) who() string {
	switch {
	case v.SubscriberID != "":
		return v.SubscriberID
	case v.Subscriber.IsValid():
		return v.Subscriber.String()
	}
	return v.Internal.String()
}

// Verify returns every pair of intervals of one kind that share an external
// realm, address and port, a port space and a class, and overlap or lie closer
// than guard, in the order of external address, then of the later one's
// beginning. Sessions and mappings of one holder may share a port and are no
// conflict, nor are the servers of one static mapping. A static mapping inside a
// block is none either: the two are of different kinds.
func (x *Index) Verify(guard time.Duration) []Conflict {
	g := Millis(max(0, guard+time.Millisecond-1) / time.Millisecond)
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []Conflict
	for _, addr := range x.addresses() {
		start := len(out)
		out = x.verifyAddress(out, x.byAddr[addr], g)
		slices.SortStableFunc(out[start:], func(a, b Conflict) int {
			return cmp.Or(cmp.Compare(a.Later.From, b.Later.From), cmp.Compare(a.First, b.First))
		})
	}
	return out
}

func (x *Index) addresses() []netip.Addr {
	out := make([]netip.Addr, 0, len(x.byAddr))
	for a := range x.byAddr {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func (x *Index) verifyAddress(out []Conflict, a *address, g Millis) []Conflict {
	for p := range a.lists {
		l := &a.lists[p]
		for i, n := range l.ids {
			later := &x.ivs[n]
			if later.cancelled {
				continue
			}
			// A gap of exactly the guard time is enough, so the earlier one
			// conflicts when it ends after From-g; with no guard time, when it
			// ends at From or later.
			for j := i - 1; j >= 0 && l.latest[j] > later.From-max(g, 1); j-- {
				earlier := &x.ivs[l.ids[j]]
				if earlier.until() <= later.From-max(g, 1) || earlier.cancelled {
					continue
				}
				first, last, ok := common(&earlier.Interval, &later.Interval)
				// A pair that meets in several lists is told once, in the list
				// of the first port that both have.
				if !ok || int(first>>8) != p {
					continue
				}
				out = append(out, Conflict{earlier.Interval, later.Interval, first, last, gap(earlier, later)})
			}
		}
	}
	return out
}

// gap returns the time from the earlier one's end to the later one's beginning,
// or what they share, as less than 0. First and last millisecond both belong to
// an interval, so two that meet in one millisecond share it.
func gap(earlier, later *entry) time.Duration {
	end := min(earlier.until(), later.until())
	switch {
	case end == forever:
		return Endless
	case earlier.until() < later.From:
		return time.Duration(later.From-earlier.until()) * time.Millisecond
	}
	return time.Duration(later.From-end-1) * time.Millisecond
}

// common returns the bounds of the ports that a and b must not both have.
func common(a, b *Interval) (first, last uint16, ok bool) {
	if a.Kind != b.Kind || a.Class != b.Class || a.Spaces&b.Spaces == 0 || a.ExternalRealm != b.ExternalRealm {
		return 0, 0, false
	}
	if a.Kind != BlockAllocated && a.Subscriber == b.Subscriber && a.SubscriberID == b.SubscriberID && a.Internal == b.Internal {
		return 0, 0, false
	}
	if a.Kind == StaticAdded && (a.Pool == b.Pool && a.Host == b.Host && a.Instance == b.Instance ||
		a.Protocol != b.Protocol && a.Protocol != 0 && b.Protocol != 0) {
		return 0, 0, false
	}
	lo, hi := max(a.First, b.First), min(a.Last, b.Last)
	if lo > hi {
		return 0, 0, false
	}
	if a.Step <= 1 && b.Step <= 1 {
		return lo, hi, true
	}
	for p := int(lo); p <= int(hi); p++ {
		if a.HasPort(uint16(p)) && b.HasPort(uint16(p)) {
			if !ok {
				first, ok = uint16(p), true
			}
			last = uint16(p)
		}
	}
	return first, last, ok
}
