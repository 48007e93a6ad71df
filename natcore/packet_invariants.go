package natcore

import "fmt"

// check holds what fragments take against what is there.
func (f *fragments) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var used room
	headless := 0
	parties := map[uint64]room{}
	var prev *datagram
	for d := f.first; d != nil; prev, d = d, d.next {
		if f.byID[d.key] != d || d.prev != prev {
			return fmt.Errorf("natcore: a datagram of fragments is not where it says")
		}
		r := parties[d.party]
		r.datagrams++
		used.datagrams++
		for _, w := range d.waiting {
			r.bytes += costOf(w.Bytes)
			used.bytes += costOf(w.Bytes)
		}
		parties[d.party] = r
		if !d.known {
			headless++
		} else if len(d.waiting) > 0 {
			return fmt.Errorf("natcore: a fragment waits for a first one that has come")
		}
	}
	for _, p := range f.ready {
		used.bytes += costOf(p.Bytes)
	}
	switch {
	case f.last != prev || len(f.byID) != used.datagrams:
		return fmt.Errorf("natcore: %d datagrams of fragments, %d by their key", used.datagrams, len(f.byID))
	case used != f.used || headless != f.headless || len(parties) != len(f.parties):
		return fmt.Errorf("natcore: fragments take %+v of %d parties, %d headless, and count %+v of %d, %d", used, len(parties), headless, f.used, len(f.parties), f.headless)
	}
	for party, r := range parties {
		if f.parties[party] != r {
			return fmt.Errorf("natcore: a party's fragments take %+v and count %+v", r, f.parties[party])
		}
	}
	return nil
}

// check holds the SYNs that wait against what is counted of them.
func (o *outbox) check() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &o.syns
	byAddress := map[uint64]int{}
	for _, s := range w.queue {
		byAddress[s.from]++
		byAddress[s.to]++
		if !w.byEnds[s.ends] {
			return fmt.Errorf("natcore: a SYN that waits is not known by its ends")
		}
	}
	if len(w.byEnds) != len(w.queue) || len(w.queue) > w.most || len(byAddress) != len(w.byAddress) || len(o.ready) > outboxRoom {
		return fmt.Errorf("natcore: %d SYNs wait, %d by their ends, of %d addresses, counted %d; %d errors wait",
			len(w.queue), len(w.byEnds), len(byAddress), len(w.byAddress), len(o.ready))
	}
	for a, n := range byAddress {
		if w.byAddress[a] != n {
			return fmt.Errorf("natcore: %d SYNs of an address wait, counted %d", n, w.byAddress[a])
		}
	}
	return nil
}
