package flowmask

import (
	"cmp"
	"iter"
	"slices"
)

// Rule is an entry of a Classifier.
type Rule[V any] struct {
	// Number is the rule's place: the lowest number that matches wins, and among equal
	// numbers the one inserted first.
	Number uint32
	Mask   Mask
	// Flow is the entry as it was inserted; its bits under Mask are what must match.
	Flow  Flow
	Value V
}

// Classifier finds the first of many rules that matches a flow, as a list of ipfw rules
// does, by probing one table per distinct mask. A look-up thus costs by the number of
// masks, not of rules; it probes the masks in the order of their first rules and stops
// where no later mask can hold an earlier rule. Look-ups allocate nothing. It is not safe
// for concurrent use while it is being changed; concurrent look-ups are.
type Classifier[V any] struct {
	key    [16]byte
	groups []*group        // sorted by first
	byMask map[Mask]*group // the same groups
	rules  []ranked[V]
	free   []int32 // unused positions of rules
	serial uint64  // number of insertions
}

// rank orders rules: by number, then by insertion.
type rank struct {
	number uint32
	serial uint64
}

// compare orders ranks.
func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.number, o.number), cmp.Compare(r.serial, o.serial))
}

// ranked is a rule with its rank and the next rule that has the same mask and masked key,
// or -1.
type ranked[V any] struct {
	rule Rule[V]
	rank rank
	next int32
}

// group holds the rules of one mask: by masked key, the position of the first of a chain
// sorted by rank.
type group struct {
	table Table[int32]
	first rank // the lowest rank in the group
	size  int
}

// NewClassifier returns an empty classifier. The key seeds its hashes, as that of NewTable.
func NewClassifier[V any](key [16]byte) *Classifier[V] {
	return &Classifier[V]{key: key, byMask: make(map[Mask]*group)}
}

// Insert adds a rule. It returns a *DuplicateError if a rule has the same number, mask and
// masked key, and a *KeyError if the rule's flow has no key under its mask. Rules with the
// same mask and key but different numbers may stand beside one another; the later ones
// answer when the earlier ones are gone.
func (c *Classifier[V]) Insert(r Rule[V]) error {
	if err := r.Mask.Check(r.Flow); err != nil {
		return err
	}
	g := c.byMask[r.Mask]
	head := int32(-1)
	if g != nil {
		if i, ok := g.table.Lookup(r.Flow); ok {
			head = i
		}
	}
	before := int32(-1) // the rule in the chain after which the new one stands
	for i := head; i >= 0 && c.rules[i].rank.number <= r.Number; i = c.rules[i].next {
		if c.rules[i].rank.number == r.Number {
			return &DuplicateError{Mask: r.Mask, Have: c.rules[i].rule.Flow, New: r.Flow}
		}
		before = i
	}
	if g == nil {
		g = &group{table: *NewTable[int32](r.Mask, c.key)}
		c.byMask[r.Mask] = g
		c.groups = append(c.groups, g)
	}
	c.serial++
	n := ranked[V]{r, rank{r.Number, c.serial}, head}
	if before >= 0 {
		n.next = c.rules[before].next
	}
	pos := c.place(n)
	if before >= 0 {
		c.rules[before].next = pos
	} else {
		_, _ = g.table.Replace(r.Flow, pos) // The flow has a key: Check said so.
	}
	if g.size == 0 || n.rank.compare(g.first) < 0 {
		g.first = n.rank
		c.sort()
	}
	g.size++
	return nil
}

// place stores a rule and returns its position.
func (c *Classifier[V]) place(n ranked[V]) int32 {
	if last := len(c.free) - 1; last >= 0 {
		pos := c.free[last]
		c.free = c.free[:last]
		c.rules[pos] = n
		return pos
	}
	c.rules = append(c.rules, n)
	return int32(len(c.rules) - 1)
}

// sort restores the order of the groups.
func (c *Classifier[V]) sort() {
	slices.SortFunc(c.groups, func(a, b *group) int { return a.first.compare(b.first) })
}

// Delete removes the rule with this number, mask and masked key of f, and returns it. It
// takes time in proportion to the rules of the mask if the rule was the mask's first.
func (c *Classifier[V]) Delete(number uint32, m Mask, f Flow) (r Rule[V], ok bool) {
	g := c.byMask[m]
	if g == nil {
		return r, false
	}
	head, ok := g.table.Lookup(f)
	if !ok {
		return r, false
	}
	before, pos := int32(-1), head
	for pos >= 0 && c.rules[pos].rank.number != number {
		before, pos = pos, c.rules[pos].next
	}
	if pos < 0 {
		return r, false
	}
	gone := c.rules[pos]
	switch {
	case before >= 0:
		c.rules[before].next = gone.next
	case gone.next >= 0:
		_, _ = g.table.Replace(f, gone.next)
	default:
		g.table.Delete(f)
	}
	c.rules[pos] = ranked[V]{next: -1}
	c.free = append(c.free, pos)
	g.size--
	switch {
	case g.size == 0:
		delete(c.byMask, m)
		c.groups = slices.DeleteFunc(c.groups, func(o *group) bool { return o == g })
	case gone.rank == g.first:
		g.first = c.lowest(g)
		c.sort()
	}
	return gone.rule, true
}

// lowest returns the lowest rank of a group that is not empty.
func (c *Classifier[V]) lowest(g *group) rank {
	low := rank{number: ^uint32(0), serial: ^uint64(0)}
	for _, i := range g.table.All() {
		if r := c.rules[i].rank; r.compare(low) < 0 {
			low = r
		}
	}
	return low
}

// Lookup returns the value of the first rule that matches.
//
// A flow with an unknown port gets an answer only if no rule that may stand before the
// answer asks for that port: it never gets another answer than the same flow with its ports
// known, but it may get none.
func (c *Classifier[V]) Lookup(f Flow) (v V, ok bool) {
	if i := c.match(&f); i >= 0 {
		return c.rules[i].rule.Value, true
	}
	return v, false
}

// Match is Lookup that returns the whole rule.
func (c *Classifier[V]) Match(f Flow) (r Rule[V], ok bool) {
	if i := c.match(&f); i >= 0 {
		return c.rules[i].rule, true
	}
	return r, false
}

// match returns the position of the first rule that matches, or -1.
func (c *Classifier[V]) match(f *Flow) int32 {
	best, low := int32(-1), rank{}
	for _, g := range c.groups {
		if best >= 0 && low.compare(g.first) < 0 {
			break
		}
		m := &g.table.mask
		if differ := (f.w ^ m.want()) & m.checks(); differ != 0 {
			if differ&(flagValid|flagSix) == 0 {
				// The mask asks for a port that is unknown. One of its rules might match,
				// at g.first or later, and what is best so far stands after that.
				return -1
			}
			continue
		}
		if e := g.table.find(f); e >= 0 {
			i := g.table.entries[e].value
			if r := c.rules[i].rank; best < 0 || r.compare(low) < 0 {
				best, low = i, r
			}
		}
	}
	return best
}

// Len returns the number of rules.
func (c *Classifier[V]) Len() int { return len(c.rules) - len(c.free) }

// Masks returns the number of distinct masks: the tables that a look-up may probe.
func (c *Classifier[V]) Masks() int { return len(c.groups) }

// All iterates over the rules in the order in which they are tried. It sorts them first,
// with one allocation. The classifier must not be changed meanwhile.
func (c *Classifier[V]) All() iter.Seq[Rule[V]] {
	return func(yield func(Rule[V]) bool) {
		order := make([]int32, 0, c.Len())
		for i := range c.rules {
			if c.rules[i].rank.serial != 0 {
				order = append(order, int32(i))
			}
		}
		slices.SortFunc(order, func(a, b int32) int { return c.rules[a].rank.compare(c.rules[b].rank) })
		for _, i := range order {
			if !yield(c.rules[i].rule) {
				return
			}
		}
	}
}
