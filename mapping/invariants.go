package mapping

import (
	"fmt"

	"github.com/blocknat/blocknat/portblock"
)

// CheckInvariants walks the whole table and reports the first contradiction: every record lies where a look-up
// finds it, every session has its mapping and every mapping the number of sessions that it counts, every anchor counts the
// further records of its endpoint, every mapping is entered at its place and nothing else is, and no hint lies behind what it bounds. It
// is for tests.
func (t *Table) CheckInvariants() error {
	c := checker{t: t, sessionsOf: map[use]uint32{}, countedBy: map[use]uint32{}, others: map[owner]uint32{}, anchors: map[owner]uint32{}, live: map[BlockID]uint32{}}
	var fault error
	used := 0
	t.index.each(func(s *segment) {
		n, err := c.segment(s)
		if used += n; fault == nil {
			fault = err
		}
	})
	if fault == nil {
		fault = c.sums(used)
	}
	return fault
}

// use tells a mapping by its internal side, owner an internal endpoint.
type use struct {
	owner
	scope Endpoint
}

type owner struct {
	inner uint64
	space portblock.Space
}

type checker struct {
	t                     *Table
	sessions, mappings    int
	sessionsOf, countedBy map[use]uint32
	others, anchors       map[owner]uint32
	live                  map[BlockID]uint32
}

func (c *checker) segment(s *segment) (n int, err error) {
	passed := [groupsMax]int{}
	for i := range s.slots() {
		if !s.holds(i) {
			continue
		}
		n++
		if err := c.record(s, i); err != nil {
			return n, err
		}
		for g := home(c.t.index.hashOf(s.at(i)), s.groups); g != uint32(i)/groupSlots; g = (g + 1) % s.groups {
			passed[g]++
		}
	}
	for g := range s.groups {
		if int(s.passed[g]) != passed[g] && s.passed[g] != 255 || (s.tags[g]&passedFlag != 0) != (s.passed[g] > 0) {
			return n, fmt.Errorf("mapping: group %d was passed by %d records and counts %d", g, passed[g], s.passed[g])
		}
	}
	if n != int(s.used) || s.used > full(s.groups) {
		return n, fmt.Errorf("mapping: a segment of %d groups holds %d records and counts %d", s.groups, n, s.used)
	}
	return n, nil
}

func (c *checker) record(s *segment, i int) error {
	t, r := c.t, s.at(i)
	mask := keyMask
	if r.kind() == anchor {
		mask = kindMask
	}
	if at, j := t.index.find(t.index.hashOf(r), r.inner, r.outer, mask); at != s || j != i {
		return fmt.Errorf("mapping: %v: a look-up of its key leads elsewhere", r.internal())
	}
	if now := Tick(t.latest); !s.stale && now-s.scanned < hintSpan<<hintShift && (s.due[i].after(t.hintOf(r, now)) || s.next.after(s.due[i])) {
		return fmt.Errorf("mapping: %v is due at %d, by its hint at %d, by that of its segment at %d", r.internal(), t.hintOf(r, now), s.due[i], s.next)
	}
	o := owner{r.inner, r.space()}
	if r.hasSession() {
		c.sessions++
		c.sessionsOf[use{o, unpack(r.scope)}]++
	}
	if r.hasMapping() {
		c.mappings++
		c.live[r.block]++
		c.countedBy[use{o, unpack(r.scope)}] += r.sessions
		if in, realm, ok := t.Holder(r.place(), r.space()); !ok || in != r.internal() || realm != r.realm() {
			return fmt.Errorf("mapping: %v has no mapping at the place of %v", r.internal(), r.external())
		}
	}
	switch {
	case r.kind() == anchor && r.others == 0 && !r.hasMapping():
		return fmt.Errorf("mapping: the anchor of %v holds nothing", r.internal())
	case r.kind() == anchor:
		c.anchors[o] = r.others
	default:
		c.others[o]++
	}
	return nil
}

// sums compares what was counted on the way with what is counted in the table.
func (c *checker) sums(used int) error {
	t := c.t
	if used != t.index.used || c.sessions != t.sessions || c.mappings != t.mappings {
		return fmt.Errorf("mapping: %d records, %d sessions and %d mappings, counted %d, %d and %d",
			used, c.sessions, c.mappings, t.index.used, t.sessions, t.mappings)
	}
	for u, n := range c.sessionsOf {
		if counted, ok := c.countedBy[u]; !ok || counted != n {
			return fmt.Errorf("mapping: the mapping of %v has %d sessions and counts %d", unpack(u.inner), n, counted)
		}
	}
	for u, n := range c.countedBy {
		if c.sessionsOf[u] != n {
			return fmt.Errorf("mapping: the mapping of %v has %d sessions and counts %d", unpack(u.inner), c.sessionsOf[u], n)
		}
	}
	for o, n := range c.others {
		if counted, ok := c.anchors[o]; !ok || counted != n {
			return fmt.Errorf("mapping: %v has %d further records and counts %d", unpack(o.inner), n, counted)
		}
	}
	for o, n := range c.anchors {
		if c.others[o] != n {
			return fmt.Errorf("mapping: %v has %d further records and counts %d", unpack(o.inner), c.others[o], n)
		}
	}
	for id := BlockID(1); id <= t.blocks.next; id++ {
		b, entered := t.blocks.at(id), 0
		for space := range portblock.Space(spaces) {
			for off := range b.Ports {
				if _, ok := t.blocks.internalPort(b, space, uint16(off)); ok {
					entered++
				}
			}
		}
		if c.live[id] != b.live || entered != int(b.live) {
			return fmt.Errorf("mapping: block %d has %d mappings, %d entered, and counts %d", id, c.live[id], entered, b.live)
		}
	}
	return nil
}
