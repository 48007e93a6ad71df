package main

import (
	"fmt"
	"io"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// change is the proof about a change of configuration: what happens to every
// external port that the old or the new one gives to anybody.
type change struct {
	Safe     bool   `json:"safe"`
	HoldDown string `json:"hold_down"`
	Gap      string `json:"gap"`
	Same     uint64 `json:"same"`
	Moved    uint64 `json:"moved"` // to another owner
	Freed    uint64 `json:"freed"` // had an owner, has none
	Taken    uint64 `json:"taken"` // had none, has one
	Runs     []move `json:"moves"`
	More     bool   `json:"more_moves,omitempty"`
}

// move is a run of ports that changes owner.
type move struct {
	External string          `json:"external"`
	Ports    portblock.Range `json:"ports"`
	OldMap   string          `json:"old_map"`
	Old      string          `json:"old"`
	NewMap   string          `json:"new_map"`
	New      string          `json:"new"`
}

// prove compares each old map with each new one that shares external addresses
// with it, whatever their names. An address belongs to one map, so what stays and
// what moves adds up; what is freed and taken follows from the totals.
func prove(o *options, old, next *book) (*change, error) {
	at := time.Unix(0, 0).UTC() // any instant: only the gap counts
	c := &change{HoldDown: o.holdDown.String(), Gap: o.gap.String(), Safe: true, Runs: []move{}}
	for _, a := range old.versions {
		for _, b := range next.versions {
			if !share(a, b) {
				continue
			}
			if unchanged(a, b) { // no need to walk the ports
				c.Same += a.owned()
				continue
			}
			p, err := deterministic.Prove(deterministic.Epoch{Until: at, Config: a.Config()},
				deterministic.Epoch{From: at.Add(o.gap), Config: b.Config()}, o.holdDown)
			if err != nil {
				return nil, err
			}
			c.Same, c.Moved, c.Safe = c.Same+p.Same, c.Moved+p.Moved, c.Safe && p.Safe()
			if p.Moved > 0 {
				c.list(a, b, o.changes)
			}
		}
	}
	c.Freed = owned(old) - c.Same - c.Moved
	c.Taken = owned(next) - c.Same - c.Moved
	return c, nil
}

// share reports whether two maps have an external address in common.
func share(a, b version) bool {
	if a.Config().ExternalRealm != b.Config().ExternalRealm {
		return false
	}
	if a.Externals() > b.Externals() {
		a, b = b, a
	}
	for i := range a.Externals() {
		if _, err := b.Reverse(a.External(i), 0); err != deterministic.ErrNotInPool {
			return true
		}
	}
	return false
}

// unchanged reports whether two maps are the same but for their names.
func unchanged(a, b version) bool {
	x, y := a.Config(), b.Config()
	x.Name, y.Name = "", ""
	return same(x, y)
}

// owned counts the ports that have an owner, the dynamic range included.
func owned(bk *book) (n uint64) {
	for _, v := range bk.versions {
		n += v.owned()
	}
	return n
}

func (v version) owned() uint64 {
	s := v.Stats()
	return s.Assigned + s.Dynamic
}

// list adds up to limit runs, all if it is negative.
func (c *change) list(a, b version, limit int) {
	for x := range deterministic.Changes(a.Map, b.Map) {
		if x.Old == (deterministic.Owner{}) || x.New == (deterministic.Owner{}) {
			continue // freed or taken
		}
		if limit >= 0 && len(c.Runs) >= limit {
			c.More = true
			return
		}
		c.Runs = append(c.Runs, move{x.External.String(), x.Ports, a.Name(), owner(x.Old), b.Name(), owner(x.New)})
	}
}

// owner writes who has a run of ports.
func owner(o deterministic.Owner) string {
	if o.Dynamic {
		return "dynamic"
	}
	if o.Realm != 0 {
		return fmt.Sprintf("%s in realm %d", who(o.Subscriber), o.Realm)
	}
	return who(o.Subscriber)
}

func (c *change) write(w io.Writer) {
	fmt.Fprintf(w, "\nthe change (gap %s, hold-down %s)\n", c.Gap, c.HoldDown)
	for _, x := range []struct {
		word, about string
		n           uint64
	}{
		{"same", "keep their owner", c.Same},
		{"moved", "go from one owner to another", c.Moved},
		{"freed", "lose their owner", c.Freed},
		{"taken", "get an owner and had none", c.Taken},
	} {
		fmt.Fprintf(w, "    %-10s%10d  %s\n", x.word, x.n, x.about)
	}
	for _, r := range c.Runs {
		names := ""
		if r.OldMap != r.NewMap {
			names = fmt.Sprintf(" (map %q to %q)", r.OldMap, r.NewMap)
		}
		row(w, "moves", fmt.Sprintf("%s ports %v from %s to %s%s", r.External, r.Ports, r.Old, r.New, names))
	}
	if c.More {
		row(w, "", "and more; -changes -1 lists all")
	}
	switch {
	case c.Moved == 0:
		fmt.Fprintln(w, "safe: no port goes from one owner to another")
	case c.Safe:
		fmt.Fprintln(w, "safe: every port that changes owner rests for the hold-down")
	default:
		fmt.Fprintf(w, "NOT SAFE: %s would change owner without a rest of %s; leave -gap %[2]s between the old and the new configuration\n", many(c.Moved, "port"), c.HoldDown)
	}
}
