package journal

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Intervals yields each interval of all journals, by external address, then by
// size and first port, then by beginning. End is Released or Held; what speaks
// against an interval that nothing ends is not looked for. The memory that it
// takes is about 100 KiB a segment. As with Records, an error ends it, and the
// Reader must not be refreshed or closed before.
func (r *Reader) Intervals() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		stop := false
		err := r.groups(func(v *found) bool {
			stop = !yield(v.Block, nil)
			return !stop
		})
		if err != nil && !stop {
			yield(Block{}, err)
		}
	}
}

// groups calls f for each interval in the order of places.
func (r *Reader) groups(f func(v *found) bool) error {
	var place []hit // the rows of one place, of several intervals now and then
	stores := r.list()
	from := map[*cursor]int{}
	var list []*cursor
	for k, s := range stores {
		for _, c := range s.cursors() {
			from[c] = k
			list = append(list, c)
		}
	}
	flush := func() bool {
		slices.SortStableFunc(place, func(a, b hit) int { return compareRow(&a.row, &b.row) })
		for i := 0; i < len(place); {
			k := i + 1
			for k < len(place) && sameInterval(&place[i].row, &place[k].row) {
				k++
			}
			if v, ok := interval(place[i:k]); ok && !repeated(place, place[i:k]) {
				v.Journal = stores[v.store].name
				if !f(&v) {
					return false
				}
			}
			i = k
		}
		place = place[:0]
		return true
	}
	stopped := false
	err := mergeFrom(list, func(c *cursor, w *row) bool {
		if len(place) > 0 && comparePlace(&place[0].row, w) != 0 {
			if stopped = !flush(); stopped {
				return false
			}
		}
		place = append(place, hit{*w, from[c]})
		return true
	})
	if err == nil && !stopped {
		flush()
	}
	return err
}

// Verify yields every pair of intervals of one kind that share an external
// realm, address and port, a port space and a class, and overlap or lie closer
// than guard: what logging.Index.Verify finds over the records of all journals,
// in its order. It holds the intervals of one external address in memory. As
// with Records, an error ends it, and the Reader must not be refreshed or closed before.
//
// An interval whose release was lost overlaps with all that follow it on its ports.
func (r *Reader) Verify(guard time.Duration) iter.Seq2[logging.Conflict, error] {
	return func(yield func(logging.Conflict, error) bool) {
		g := logging.Millis(max(0, guard+time.Millisecond-1) / time.Millisecond)
		var v verifier
		stop := false
		end := func() bool {
			for _, c := range v.conflicts(g) {
				if stop = !yield(c, nil); stop {
					return false
				}
			}
			v.reset()
			return true
		}
		err := r.groups(func(f *found) bool {
			if len(v.ivs) > 0 && v.ivs[0].External != f.External && !end() {
				return false
			}
			v.add(f)
			return true
		})
		if err == nil && !stop {
			end()
		}
		if err != nil && !stop {
			yield(logging.Conflict{}, err)
		}
	}
}

// A verifier compares the intervals of one external address, in one list for
// each 256 ports.
type verifier struct {
	ivs    []logging.Interval
	orders []order
	pages  [256][]int32
	latest []logging.Millis
}

func (v *verifier) reset() {
	v.ivs, v.orders = v.ivs[:0], v.orders[:0]
	for p := range v.pages {
		v.pages[p] = v.pages[p][:0]
	}
}

func (v *verifier) add(f *found) {
	n := int32(len(v.ivs))
	v.ivs, v.orders = append(v.ivs, f.Interval), append(v.orders, f.order)
	for p := int(f.First >> 8); p <= int(f.Last>>8); p++ {
		v.pages[p] = append(v.pages[p], n)
	}
}

func until(v *logging.Interval) logging.Millis {
	if v.Open {
		return forever
	}
	return v.To
}

// conflicts returns the conflicts by the later one's beginning, then by the first port.
func (v *verifier) conflicts(g logging.Millis) []logging.Conflict {
	var out []logging.Conflict
	for p, list := range v.pages {
		slices.SortFunc(list, func(a, b int32) int {
			return cmp.Or(cmp.Compare(v.ivs[a].From, v.ivs[b].From), v.orders[a].compare(v.orders[b]))
		})
		// latest[i] is the latest end of the first i+1: where it falls below the
		// instant, nothing further back reaches it.
		v.latest = v.latest[:0]
		for i, n := range list {
			later := &v.ivs[n]
			reach := later.From - max(g, 1)
			for j := i - 1; j >= 0 && v.latest[j] > reach; j-- {
				earlier := &v.ivs[list[j]]
				if until(earlier) <= reach {
					continue
				}
				// A pair that meets in several lists is told once, in the list of
				// the first port that both have.
				if first, last, ok := common(earlier, later); ok && int(first>>8) == p {
					out = append(out, logging.Conflict{Earlier: *earlier, Later: *later, First: first, Last: last, Gap: gap(earlier, later)})
				}
			}
			t := until(later)
			if i > 0 {
				t = max(t, v.latest[i-1])
			}
			v.latest = append(v.latest, t)
		}
	}
	slices.SortStableFunc(out, func(a, b logging.Conflict) int {
		return cmp.Or(cmp.Compare(a.Later.From, b.Later.From), cmp.Compare(a.First, b.First))
	})
	return out
}

// gap is the time between two intervals, as logging.Conflict has it: both ends
// belong to an interval.
func gap(earlier, later *logging.Interval) time.Duration {
	end := min(until(earlier), until(later))
	switch {
	case end == forever:
		return logging.Endless
	case until(earlier) < later.From:
		return time.Duration(later.From-until(earlier)) * time.Millisecond
	}
	return time.Duration(later.From-end-1) * time.Millisecond
}

// common returns the bounds of the ports that two intervals must not both have.
func common(a, b *logging.Interval) (first, last uint16, ok bool) {
	if a.Kind != b.Kind || a.Class != b.Class || a.Spaces&b.Spaces == 0 || a.ExternalRealm != b.ExternalRealm {
		return 0, 0, false
	}
	if a.Kind != logging.BlockAllocated && a.Subscriber == b.Subscriber && a.SubscriberID == b.SubscriberID && a.Internal == b.Internal {
		return 0, 0, false
	}
	if a.Kind == logging.StaticAdded && (a.Pool == b.Pool && a.Host == b.Host && a.Instance == b.Instance ||
		a.Protocol != b.Protocol && a.Protocol != 0 && b.Protocol != 0) {
		return 0, 0, false
	}
	low, high := max(a.First, b.First), min(a.Last, b.Last)
	if low > high {
		return 0, 0, false
	}
	if a.Step <= 1 && b.Step <= 1 {
		return low, high, true
	}
	for p := int(low); p <= int(high); p++ {
		if a.HasPort(uint16(p)) && b.HasPort(uint16(p)) {
			if !ok {
				first, ok = uint16(p), true
			}
			last = uint16(p)
		}
	}
	return first, last, ok
}
