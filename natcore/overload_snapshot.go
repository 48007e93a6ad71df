package natcore

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// saveRests writes what rests of ports that mappings share, of each space in the order in which it ends. The caller has locked the shard.
func (s *shard) saveRests(w *writer, e *Engine) {
	n := 0
	for sub := range s.list.all() {
		e.settleRests(s, sub)
		if sub.overloads != nil {
			n += sub.overloads.count()
		}
	}
	w.u(uint64(n))
	now := s.now.UnixMilli()
	for sub := range s.list.all() {
		if sub.overloads == nil {
			continue
		}
		for space := range sub.overloads.rests {
			for _, r := range sub.overloads.rests[space].live() {
				port, remote := r.parts()
				w.u(uint64(sub.index), uint64(r.space), uint64(port))
				w.endpoint(remote)
				w.u(uint64(now - r.since))
			}
		}
	}
}

// rests reads them. They keep ports from being shared, and nothing else.
func (r *reader) rests(s *shard) {
	now := s.now.UnixMilli()
	for range r.count(6) {
		sub := r.numbered(s)
		space, port, remote := portblock.Space(r.u(portblock.NumSpaces-1)), uint16(r.u(most16)), r.endpoint()
		since := now - int64(r.u(uint64(portblock.MaxDuration.Milliseconds())))
		if r.err != nil {
			return
		}
		if sub.overloads == nil {
			sub.overloads = &overloads{rooms: 1}
		}
		o := sub.overloads
		if q := o.rests[space].rests; len(q) > 0 && q[len(q)-1].since > since {
			r.bad("the rests of %v are out of order", mapping.Addr4(sub.key.addr))
			return
		}
		o.add(sharedOf(space, port, remote), since)
	}
}

// check reports a contradiction among the rests of a subscriber.
func (o *overloads) check() error {
	if o == nil {
		return nil
	}
	known, n := map[shared]bool{}, 0
	for space := range o.rests {
		q := o.rests[space].live()
		for i, r := range q {
			if i > 0 && r.since < q[i-1].since || int(r.space) != space {
				return fmt.Errorf("rest %d of a shared port ends before the one before, or is of another space", i)
			}
			known[r.shared] = true
		}
		n += o.rests[space].n
	}
	if n != len(o.resting) {
		return fmt.Errorf("%d shared ports rest, counted %d", len(o.resting), n)
	}
	for v, since := range o.resting {
		if !known[v] {
			return fmt.Errorf("port %d rests from %v on, and never ends", uint16(v.ends), time.UnixMilli(since))
		}
	}
	return nil
}
