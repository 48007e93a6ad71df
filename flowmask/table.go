package flowmask

import (
	"errors"
	"iter"
)

// Table maps masked keys to values: an exact match on what the mask leaves of a flow, as an
// ipfw flow table with a mask. Look-ups allocate nothing. It is not safe for concurrent use
// while it is being changed; concurrent look-ups are. The zero Table is an empty one under
// the zero Mask, with a hash that has no key; use NewTable.
//
// Entries lie in a dense slice in the order of insertion; a look-up goes through open
// addressing with linear probing over 8-byte slots (32 bits of hash, 32 bits of position).
// An entry takes 40 bytes, its value, 11 to 22 bytes of slots, and its share of what append
// keeps in reserve. A table holds 2^31 entries at most.
type Table[V any] struct {
	mask    Mask
	hash    Hasher
	slots   []uint64 // hash<<32 | position+1; 0 is free; the length is a power of two
	entries []entry[V]
}

// entry keeps the flow as it was inserted, so that the mask can change.
type entry[V any] struct {
	flow  Flow
	value V
}

// maxReported bounds how many collisions one error lists.
const maxReported = 16

// NewTable returns an empty table. The key seeds its hash; it must be random and secret
// where strangers' packets make the entries. The zero key is legal where an operator's
// configuration makes them.
func NewTable[V any](m Mask, key [16]byte) *Table[V] {
	return &Table[V]{mask: m, hash: NewHasher(key)}
}

// Mask returns the mask.
func (t *Table[V]) Mask() Mask { return t.mask }

// Len returns the number of entries.
func (t *Table[V]) Len() int { return len(t.entries) }

// Lookup returns the value for a flow. A flow that has no key under the mask finds nothing.
func (t *Table[V]) Lookup(f Flow) (v V, ok bool) {
	if i := t.find(&f); i >= 0 {
		return t.entries[i].value, true
	}
	return v, false
}

// Insert adds an entry. It returns a *DuplicateError if an entry has the same masked key,
// and a *KeyError if the flow has none; then nothing has changed.
func (t *Table[V]) Insert(f Flow, v V) error {
	if err := t.mask.Check(f); err != nil {
		return err
	}
	if i := t.find(&f); i >= 0 {
		return &DuplicateError{Mask: t.mask, Have: t.entries[i].flow, New: f}
	}
	t.add(f, v)
	return nil
}

// Replace sets the value of the entry with the masked key of f, adding it if there is none;
// it reports whether there was one. The entry's flow becomes f. It returns a *KeyError if
// the flow has no key.
func (t *Table[V]) Replace(f Flow, v V) (had bool, err error) {
	if err := t.mask.Check(f); err != nil {
		return false, err
	}
	if i := t.find(&f); i >= 0 {
		t.entries[i] = entry[V]{f, v}
		return true, nil
	}
	t.add(f, v)
	return false, nil
}

// Delete removes the entry with the masked key of f and returns its value.
func (t *Table[V]) Delete(f Flow) (v V, ok bool) {
	i := t.find(&f)
	if i < 0 {
		return v, false
	}
	v = t.entries[i].value
	t.clearSlot(t.slotOf(i))
	last := len(t.entries) - 1
	if i != last {
		s := t.slotOf(last)
		t.slots[s] = t.slots[s]>>32<<32 | uint64(i+1)
		t.entries[i] = t.entries[last]
	}
	t.entries[last] = entry[V]{}
	t.entries = t.entries[:last]
	return v, true
}

// Flush removes all entries and keeps the memory.
func (t *Table[V]) Flush() {
	clear(t.entries)
	t.entries = t.entries[:0]
	clear(t.slots)
}

// All iterates over the entries: the flow as it was inserted, and its value. The order is
// that of insertion; a deletion puts the last entry in the place of the deleted one. The
// table must not be changed meanwhile.
func (t *Table[V]) All() iter.Seq2[Flow, V] {
	return func(yield func(Flow, V) bool) {
		for i := range t.entries {
			if e := &t.entries[i]; !yield(e.flow, e.value) {
				return
			}
		}
	}
}

// SetMask changes the mask of an empty table. For a filled one it returns ErrNotEmpty and
// changes nothing: entries that differ only in bits that the mask does not select would
// become one. Rebuild is the other choice.
func (t *Table[V]) SetMask(m Mask) error {
	if len(t.entries) > 0 {
		return ErrNotEmpty
	}
	t.mask = m
	return nil
}

// Rebuild changes the mask and files every entry again, by the flow with which it was
// inserted. If entries collide under the mask (*DuplicateError) or have no key (*KeyError),
// it reports them joined, sixteen at most, and changes nothing.
func (t *Table[V]) Rebuild(m Mask) error {
	next := Table[V]{mask: m, hash: t.hash, entries: make([]entry[V], 0, len(t.entries))}
	next.resize(len(t.slots))
	var faults []error
	for i := range t.entries {
		if err := next.Insert(t.entries[i].flow, t.entries[i].value); err != nil {
			if faults = append(faults, err); len(faults) == maxReported {
				break
			}
		}
	}
	if faults != nil {
		return errors.Join(faults...)
	}
	*t = next
	return nil
}

// tag returns the bits of the hash that a slot keeps, of a flow that has a key.
func (t *Table[V]) tag(f *Flow) uint64 {
	m := &t.mask
	w := f.w&m.w | flagValid
	if !m.six {
		return t.hash.two(f.a&m.a, w) >> 32
	}
	return t.hash.five(f.a&m.a, f.b&m.b, f.c&m.c, f.d&m.d, w) >> 32
}

// find returns the position of the entry with the masked key of f, or -1.
func (t *Table[V]) find(f *Flow) int {
	m := &t.mask
	if (f.w^m.want())&m.checks() != 0 || len(t.slots) == 0 {
		return -1
	}
	tag := t.tag(f)
	last := uint64(len(t.slots) - 1)
	for s := tag & last; ; s = (s + 1) & last {
		v := t.slots[s]
		if v == 0 {
			return -1
		}
		if v>>32 == tag {
			i := int(uint32(v)) - 1
			e := &t.entries[i].flow
			if (e.a^f.a)&m.a|(e.w^f.w)&m.w|(e.b^f.b)&m.b|(e.c^f.c)&m.c|(e.d^f.d)&m.d == 0 {
				return i
			}
		}
	}
}

// add appends an entry whose key is not in the table. Slots are three quarters full at
// most.
func (t *Table[V]) add(f Flow, v V) {
	if (len(t.entries)+1)*4 > len(t.slots)*3 {
		t.resize(max(8, 2*len(t.slots)))
	}
	t.entries = append(t.entries, entry[V]{f, v})
	t.place(t.tag(&f)<<32 | uint64(len(t.entries)))
}

// place puts a slot value into the first free slot from its home on.
func (t *Table[V]) place(v uint64) {
	last := uint64(len(t.slots) - 1)
	s := v >> 32 & last
	for t.slots[s] != 0 {
		s = (s + 1) & last
	}
	t.slots[s] = v
}

// resize makes n slots and places all values again; the tags suffice for it.
func (t *Table[V]) resize(n int) {
	old := t.slots
	t.slots = make([]uint64, n)
	for _, v := range old {
		if v != 0 {
			t.place(v)
		}
	}
}

// slotOf returns the slot of the entry at position i, which must exist.
func (t *Table[V]) slotOf(i int) uint64 {
	last := uint64(len(t.slots) - 1)
	s := t.tag(&t.entries[i].flow) & last
	for uint32(t.slots[s]) != uint32(i+1) {
		s = (s + 1) & last
	}
	return s
}

// clearSlot frees a slot and moves later ones of the same run back, so that no probe ends
// too early.
func (t *Table[V]) clearSlot(s uint64) {
	last := uint64(len(t.slots) - 1)
	for n := (s + 1) & last; t.slots[n] != 0; n = (n + 1) & last {
		home := t.slots[n] >> 32 & last
		// The value at n may move to s if its home is not between s (excluded) and n.
		if (n-home)&last >= (n-s)&last {
			t.slots[s] = t.slots[n]
			s = n
		}
	}
	t.slots[s] = 0
}
