package journal

import (
	"cmp"
	"slices"
	"sync"

	"github.com/blocknat/blocknat/logging"
)

// epochIndex has the configuration epochs of all journals, which are few, in
// memory. It is read when it is asked for first.
type epochIndex struct {
	mu sync.Mutex
	x  *logging.Index
}

func (e *epochIndex) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.x = nil
}

// epochIndex returns the index of epochs. The caller holds r.mu for reading.
func (r *Reader) epochIndex() (*logging.Index, error) {
	r.epochs.mu.Lock()
	defer r.epochs.mu.Unlock()
	if r.epochs.x != nil {
		return r.epochs.x, nil
	}
	x := logging.NewIndex()
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	add := func(o *other) {
		if o.r.Kind == logging.ConfigEpoch {
			_ = x.Append(&o.r) // Check passed it when it was read
		}
	}
	for _, s := range r.stores {
		for _, g := range s.segs {
			for i := range g.sum.refs {
				if g.sum.refs[i].sort != sortEpoch {
					continue
				}
				if err := g.others(i, sc, add); err != nil {
					return nil, err
				}
			}
		}
		if s.load != nil {
			for i := range s.load.others {
				add(&s.load.others[i])
			}
		}
	}
	if r.resolve != nil {
		x.Resolve(r.resolve)
	}
	r.epochs.x = x
	return x, nil
}

// readHosts collects when each epoch of each host was seen.
func (r *Reader) readHosts() {
	seen := map[hostRun]hostRun{}
	add := func(h hostRun) {
		key := hostRun{host: h.host, instance: h.instance, epoch: h.epoch}
		e, ok := seen[key]
		if ok {
			h.first, h.last = min(h.first, e.first), max(h.last, e.last)
		} else if len(seen) >= 4*maxHosts {
			return
		}
		seen[key] = h
	}
	for _, s := range r.stores {
		for _, g := range s.segs {
			for _, h := range g.sum.hosts {
				add(h)
			}
		}
		if s.open != nil {
			for _, h := range s.open.sum.hosts {
				add(h)
			}
		}
		if s.load == nil {
			continue
		}
		var last hostRun
		for i := range s.load.rows {
			w := &s.load.rows[i]
			e, t := w.shape.a.epoch, w.timeA
			if !w.shape.form.hasA() {
				e, t = w.shape.b.epoch, w.timeB
			}
			last = sight(add, last, hostRun{w.shape.host, w.shape.instance, e, t, t})
		}
		for i := range s.load.others {
			o := &s.load.others[i].r
			last = sight(add, last, hostRun{o.Host, o.Instance, o.Epoch, o.Time, o.Time})
		}
		if last != (hostRun{}) {
			add(last)
		}
	}
	r.hosts = map[hostKey][]hostRun{}
	for _, h := range seen {
		k := hostKey{h.host, h.instance}
		r.hosts[k] = append(r.hosts[k], h)
	}
	for _, list := range r.hosts {
		slices.SortFunc(list, func(a, b hostRun) int { return cmp.Compare(a.epoch, b.epoch) })
	}
}

// sight collects sightings of one epoch before they are added.
func sight(add func(hostRun), last, h hostRun) hostRun {
	if last.host == h.host && last.instance == h.instance && last.epoch == h.epoch {
		last.first, last.last = min(last.first, h.first), max(last.last, h.last)
		return last
	}
	if last != (hostRun{}) {
		add(last)
	}
	return h
}

// restarted returns when the host of an interval was first seen in a later epoch,
// after the last record of the interval.
func (r *Reader) restarted(v *logging.Interval) (logging.Millis, bool) {
	at, found := forever, false
	for _, h := range r.hosts[hostKey{v.Host, v.Instance}] {
		if h.epoch > v.Epoch && h.last > v.Seen {
			at, found = min(at, max(h.first, v.Seen)), true
		}
	}
	return at, found
}
