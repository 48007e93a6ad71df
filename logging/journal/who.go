package journal

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// hit is a row that a query found, and in which store.
type hit struct {
	row
	store int
}

// Who returns the intervals that meet q: none, one or several, never a choice
// among several; they are those of logging.Index.Who over the records of all
// journals. Those that cover the instant come first, then by beginning.
//
// Damage that hides records is no error here: ask Damage. An error means that a
// file could not be read.
func (r *Reader) Who(q logging.Query) ([]Candidate, error) {
	t := logging.MillisOf(q.At)
	tol := logging.Millis(max(0, q.Tolerance+time.Millisecond-1) / time.Millisecond)
	r.mu.RLock()
	defer r.mu.RUnlock()
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	found, err := r.recorded(&q, t-tol, t+tol, sc)
	if err != nil {
		return nil, err
	}
	var out []Candidate
	for i := range found {
		b := &found[i]
		c := Candidate{logging.Candidate{Interval: b.Interval, Certainty: certainty(&b.Interval, t, tol), Source: logging.SourceOf(b.Kind)}, b.Holding}
		out = append(out, c)
	}
	if r.resolve != nil {
		x, err := r.epochIndex()
		if err != nil {
			return nil, err
		}
		for _, c := range x.Who(q) {
			h := Holding{End: Held}
			if !c.Open {
				h.End = Released
			}
			out = append(out, Candidate{c, h})
		}
	}
	var statics []logging.Interval
	for i := range out {
		if c := &out[i]; c.Kind == logging.StaticAdded && (c.End != Lost || t+tol < c.Bound) {
			statics = append(statics, c.Interval)
		}
	}
	out = slices.DeleteFunc(out, func(c Candidate) bool { return logging.Shadowed(&q, &c.Interval, statics) })
	slices.SortStableFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.From, b.From))
	})
	return out, nil
}

// rank puts those that cover the instant before those that only come near.
func (c *Candidate) rank() int {
	if c.Certainty == logging.Near {
		return 1
	}
	return 0
}

func certainty(v *logging.Interval, t, tol logging.Millis) logging.Certainty {
	to := v.To
	if v.Open {
		to = forever
	}
	switch {
	case v.From <= t-tol && t+tol <= to:
		return logging.Inside
	case v.From <= t && t <= to:
		return logging.Edge
	}
	return logging.Near
}

// found is an interval with the order of its first record, which breaks ties.
type found struct {
	Block
	order order
	store int
}

// recorded returns the intervals that have the port of q and lie between first
// and last.
func (r *Reader) recorded(q *logging.Query, first, last logging.Millis, sc *scratch) ([]found, error) {
	ext, fam := numberOf(q.External.Unmap())
	if fam == familyNone {
		return nil, nil
	}
	var hits []hit
	for i, s := range r.stores {
		take := func(w *row) {
			if matches(w, q) {
				hits = append(hits, hit{*w, i})
			}
		}
		for size, mask := uint8(0), s.sizeMask(); size <= 16; size++ {
			if mask&(1<<size) == 0 {
				continue
			}
			low, high := uint16(0), uint16(1<<16-1)
			if !q.AnyPort {
				low, high = uint16(max(0, int(q.Port)-(1<<size-1))), q.Port
			}
			if err := s.findSize(fam, ext, size, low, high, first, last, sc, take); err != nil {
				return nil, err
			}
		}
	}
	return r.complete(hits, first, last, true, sc)
}

// matches reports whether a row meets all of q but the time.
func matches(w *row, q *logging.Query) bool {
	s := w.shape
	switch {
	case !q.AnyPort && !hasPort(w, q.Port),
		q.Spaces != 0 && spacesOf(s)&q.Spaces == 0,
		q.ByRealm && s.extRealm != q.ExternalRealm,
		q.ByClass && s.class != q.Class && s.kind != logging.StaticAdded,
		s.kind == logging.StaticAdded && s.spaces == 0 && !q.AnyPort,
		s.extZone != "" && zoneOf(s.ext, s.extZone) != q.External.Zone(),
		s.extZone == "" && s.ext == family6 && q.External.Zone() != "":
		return false
	}
	return true
}

func hasPort(w *row, port uint16) bool {
	if port < w.first || port-w.first > w.shape.span {
		return false
	}
	return w.shape.step <= 1 || (port-w.first)%w.shape.step == 0
}

// spacesOf returns the port spaces of a shape, which a session may give by its
// protocol alone.
func spacesOf(s *shape) logging.Spaces {
	if s.spaces != 0 {
		return s.spaces
	}
	return logging.SpaceOf(s.protocol)
}

// complete makes intervals of rows that lie between first and last. A row of
// both records tells all; for the others it finds what else is known of the interval.
// All rows of an interval contain its beginning, so a second look there finds them.
func (r *Reader) complete(hits []hit, first, last logging.Millis, bounds bool, sc *scratch) ([]found, error) {
	n := len(hits)
	for i := 0; i < n; i++ {
		w := &hits[i].row
		if w.shape.form == formPair && w.shape.b.reason != logging.ReasonCancelled || w.from >= first {
			continue
		}
		probe := *w
		if slices.ContainsFunc(hits[:i], func(h hit) bool { return sameInterval(&h.row, &probe) }) {
			continue
		}
		for k, s := range r.stores {
			err := s.findSize(probe.shape.ext.plain(), probe.ext, probe.shape.size(), probe.first, probe.first, probe.from, probe.from, sc, func(w *row) {
				if sameInterval(w, &probe) && s.reachOf(w) < first {
					hits = append(hits, hit{*w, k})
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return compareRow(&a.row, &b.row) })
	var out []found
	for i := 0; i < len(hits); {
		k := i + 1
		for k < len(hits) && sameInterval(&hits[i].row, &hits[k].row) {
			k++
		}
		if v, ok := interval(hits[i:k]); ok && (v.Open || v.To >= first) && v.From <= last && !repeated(hits, hits[i:k]) {
			v.Journal = r.stores[v.store].name
			out = append(out, v)
		}
		i = k
	}
	slices.SortStableFunc(out, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.store, b.store), a.order.compare(b.order))
	})
	if !bounds {
		return out, nil
	}
	for i := range out {
		if err := r.bound(&out[i], sc); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// reachOf is how far a row of the store reaches as findSize sees it.
func (s *store) reachOf(w *row) logging.Millis {
	if w.shape.form == formHeld || w.state != (state{}) {
		return forever // an open interval
	}
	if w.shape.form != formEnd && s.unsealed(w) {
		return forever
	}
	return w.reach()
}

// unsealed reports whether the row is of a log and not of a segment.
func (s *store) unsealed(w *row) bool {
	if s.load == nil || len(s.load.runs) == 0 {
		return false
	}
	return w.order().compare(s.load.runs[0].first) >= 0
}

func sameInterval(a, b *row) bool { return comparePlace(a, b) == 0 && compareIdentity(a, b) == 0 }

// interval puts together what the rows of one interval say, which come in the
// order of arrival. ok is false for one that was cancelled.
func interval(rows []hit) (v found, ok bool) {
	var st state
	w := &rows[0].row
	for i := range rows { // what was recorded first names the interval
		if rows[i].row.shape.form != formHeld {
			w = &rows[i].row
			break
		}
	}
	v = found{Block: Block{Interval: first(w)}, order: w.order(), store: rows[0].store}
	v.To = v.From
	for i := range rows {
		w := &rows[i].row
		st.add(w)
		f := w.shape.form
		if f.hasA() {
			v.Seen = seenAt(v.Seen, w.timeA)
		}
		if f.hasB() || w.state != (state{}) {
			v.Seen = seenAt(v.Seen, w.timeB)
		}
		if (f == formPair || f == formEnd) && w.shape.b.reason != logging.ReasonCancelled {
			v.To = max(v.To, w.timeB)
		}
	}
	v.Confirmed = st.begins > 0
	v.End = Released
	if v.Open = st.open(); v.Open {
		v.To, v.End = 0, Held
	}
	return v, !st.cancelled()
}

// seenAt is the later of two times, of which 0 is none.
func seenAt(a, b logging.Millis) logging.Millis {
	if a == 0 {
		return b
	}
	return max(a, b)
}

// first returns the interval as its first record tells it.
func first(w *row) logging.Interval {
	s, x := w.shape, w.endpoints()
	epoch := s.a.epoch
	if !s.form.hasA() && s.form != formHeld {
		epoch = s.b.epoch
	}
	return logging.Interval{
		Kind: s.kind, Spaces: spacesOf(s), Protocol: s.protocol, SubscriberBits: s.subscriberBits,
		First: w.first, Last: w.first + s.span, Step: s.step, Instance: s.instance, PoolID: s.pool, Class: s.class,
		From: w.from, Epoch: epoch,
		Subscriber: w.sub.addr(s.sub, s.subZone).Unmap(), External: w.ext.addr(s.ext, s.extZone).Unmap(),
		Internal:     netip.AddrPortFrom(x.internal.addr(s.internal, s.internalZone), x.internalPort),
		Remote:       netip.AddrPortFrom(x.remote.addr(s.remote, s.remoteZone), x.remotePort),
		SubscriberID: w.id, Realm: s.realm, ExternalRealm: s.extRealm, Host: s.host, Pool: s.poolName,
	}
}

// repeated reports whether rows are nothing but an end that came again, which
// did not say when its interval began and had closed that already.
func repeated(all, rows []hit) bool {
	for i := range rows {
		w := &rows[i].row
		if w.shape.form != formEnd || w.shape.b.flags&allocatedSet != 0 || w.from != w.timeB {
			return false
		}
	}
	w := &rows[0].row
	return slices.ContainsFunc(all, func(h hit) bool {
		o := &h.row
		return (o.shape.form == formPair || o.shape.form == formEnd) && o.shape.b.flags&allocatedSet == 0 && o.timeB == w.timeB && o.from != w.from &&
			o.first == w.first && compareNumber(o.shape.ext, o.ext, w.shape.ext, w.ext) == 0 && compareIdentity(o, w) == 0
	})
}

// bound looks for what speaks against an interval that nothing ends: a later
// epoch of its host, or a later holder of its first port.
func (r *Reader) bound(v *found, sc *scratch) error {
	if !v.Open {
		return nil
	}
	at, lost := r.restarted(&v.Interval)
	if !lost {
		at = forever
	}
	ext, fam := numberOf(v.External)
	for _, s := range r.stores {
		for size, mask := uint8(0), s.sizeMask(); size <= 16; size++ {
			if mask&(1<<size) == 0 {
				continue
			}
			low := uint16(max(0, int(v.First)-(1<<size-1)))
			err := s.findSize(fam, ext, size, low, v.First, v.Seen, forever, sc, func(w *row) {
				if w.from > v.Seen && w.from < at && hasPort(w, v.First) && w.shape.kind == v.Kind && w.shape.class == v.Class &&
					spacesOf(w.shape)&v.Spaces != 0 && w.shape.extRealm == v.ExternalRealm && v.Kind == logging.BlockAllocated {
					at = w.from
				}
			})
			if err != nil {
				return err
			}
		}
	}
	if at != forever {
		v.End, v.Bound = Lost, at
	}
	return nil
}
