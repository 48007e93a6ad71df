package mapping

import (
	"errors"
	"fmt"

	"github.com/blocknat/blocknat/portblock"
)

// CheckInvariants walks the table and reports the first contradiction. It is for
// tests.
func (t *Table) CheckInvariants() error {
	c := checker{
		t: t, live: map[BlockID]uint32{}, sessions: map[use]uint32{}, uses: map[use]uint32{},
		others: [2]map[owner]uint32{{}, {}}, anchors: [2]map[owner]uint32{{}, {}},
	}
	if err := errors.Join(t.out.check(), t.in.check()); err != nil {
		return err
	}
	var err error
	t.out.each(func(s *segment) {
		for i := range s.halves {
			if s.halves[i].peer != 0 && err == nil {
				err = c.outbound(spot{s, i})
			}
		}
	})
	t.in.each(func(s *segment) {
		for i := range s.halves {
			if s.halves[i].peer != 0 && err == nil {
				err = c.inbound(&s.halves[i])
			}
		}
	})
	if err != nil {
		return err
	}
	return c.sums()
}

type checker struct {
	t               *Table
	live            map[BlockID]uint32
	sessions, uses  map[use]uint32      // of mappings: sessions as found, and as counted
	others, anchors [2]map[owner]uint32 // by side: further halves as found, and as counted by anchors
	entered         [2]int              // sessions, by side
	mapped          [2]int
}

// owner is an endpoint of one side, use a mapping of an internal one.
type owner struct {
	near  uint64
	space portblock.Space
}

type use struct {
	owner
	scope Scope
}

// count counts a half of a side.
func (c *checker) count(side int, x *side, r *half) error {
	o := owner{r.near, r.space()}
	if r.hasSession() {
		c.entered[side]++
	}
	if r.hasMapping() {
		c.mapped[side]++
	}
	n := x.crowd(r)
	switch {
	case r.kind() != anchor:
		c.others[side][o]++
	case n.others == 0 && !r.hasMapping():
		return fmt.Errorf("mapping: the anchor of %v holds nothing", unpack(r.near))
	case r.crowded() && x.crowds.find(r.near, crowdKey(r)) == nil:
		return fmt.Errorf("mapping: the anchor of %v has no entry of a crowd", unpack(r.near))
	default:
		c.anchors[side][o] = n.others
	}
	return nil
}

func (c *checker) outbound(p spot) error {
	t, r := c.t, p.half()
	o := owner{r.near, r.space()}
	scope := t.scopeOf(p)
	s := p.seg
	if now := Tick(t.latest); !s.stale && now-s.scanned < hintSpan<<hintShift && (s.due[p.slot].after(t.hintOf(p, now)) || s.next.after(s.due[p.slot])) {
		return fmt.Errorf("mapping: %v is due at %d, by its hint at %d, by that of its segment at %d", r.internal(), t.hintOf(p, now), s.due[p.slot], s.next)
	}
	if r.hasSession() {
		c.sessions[use{o, scope}]++
		in := t.returning(p)
		if in == nil || in.far != r.near || in.state() != r.state() || in.dependence() != r.dependence() {
			return fmt.Errorf("mapping: the session of %v with %v has no half on the inbound side, or another one", r.internal(), r.remote())
		}
		if of, ok := t.Block(s.blocks[p.slot]); !ok || of.External != r.external().Addr || of.Internal != r.internal().Addr || of.Realm != r.realm() {
			return fmt.Errorf("mapping: the session of %v with %v is of another block", r.internal(), r.remote())
		}
	}
	if r.hasMapping() {
		m := t.mappingOf(p)
		c.live[m.Block]++
		sessions, _, _ := t.usage(p)
		c.uses[use{o, scope}] = sessions
		if in, realm, ok := t.Holder(m.Space, m.External, scope.Class, scope.Remote); !ok || in != m.Internal || realm != m.Realm {
			return fmt.Errorf("mapping: %v has no mapping at %v", r.internal(), r.external())
		}
	}
	return c.count(0, &t.out, r)
}

func (c *checker) inbound(r *half) error {
	if r.hasSession() {
		if p := c.t.leaving(r); p.seg == nil || p.half().external().pack() != r.near&endMask {
			return fmt.Errorf("mapping: the session of %v with %v has no half on the outbound side", unpack(r.near), r.remote())
		}
	}
	return c.count(1, &c.t.in, r)
}

// sums compares what was counted on the way with what is counted in the table.
func (c *checker) sums() error {
	t := c.t
	if c.entered != [2]int{t.sessions, t.sessions} || c.mapped != [2]int{t.Mappings(), t.Mappings()} {
		return fmt.Errorf("mapping: %v sessions and %v mappings by side, counted %d and %d", c.entered, c.mapped, t.sessions, t.Mappings())
	}
	if err := same("sessions", c.sessions, c.uses); err != nil {
		return err
	}
	for side := range c.others {
		if err := same("further halves", c.others[side], c.anchors[side]); err != nil {
			return err
		}
	}
	crowds := 0
	for _, x := range []*side{&t.out, &t.in} {
		x.each(func(s *segment) {
			for i := range s.halves {
				if r := &s.halves[i]; r.kind() == anchor && r.crowded() {
					crowds++
				}
			}
		})
	}
	if n := t.out.crowds.used + t.in.crowds.used; n != crowds {
		return fmt.Errorf("mapping: %d crowds have %d entries", crowds, n)
	}
	for id := BlockID(1); id <= t.blocks.next; id++ {
		if live := t.blocks.at(id).live; c.live[id] != max(live, 1)-1 {
			return fmt.Errorf("mapping: block %d has %d mappings, and counts %d", id, c.live[id], max(live, 1)-1)
		}
	}
	return nil
}

// same compares what was found with what is counted; nothing found counts as zero.
func same[K comparable](of string, found, counted map[K]uint32) error {
	for k, n := range found {
		if m, ok := counted[k]; !ok || m != n {
			return fmt.Errorf("mapping: %v has %d %s, and counts %d", k, n, of, m)
		}
	}
	for k, n := range counted {
		if found[k] != n {
			return fmt.Errorf("mapping: %v has %d %s, and counts %d", k, found[k], of, n)
		}
	}
	return nil
}
