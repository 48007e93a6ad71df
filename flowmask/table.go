package flowmask

import "iter"

// Table maps masked keys to values: an exact match on what the mask leaves of
// a flow. Look-ups allocate nothing. It is not safe for concurrent use while it is being changed;
// concurrent look-ups are.
type Table[V any] struct{ mask Mask }

// NewTable returns an empty table. The key seeds its hash; the zero key is legal where no stranger chooses entries.
func NewTable[V any](m Mask, key [16]byte) *Table[V] { return &Table[V]{mask: m} }

// Mask returns the mask.
func (t *Table[V]) Mask() Mask { return t.mask }

// Len returns the number of entries.
func (t *Table[V]) Len() int { return 0 }

// Lookup returns the value for a flow.
func (t *Table[V]) Lookup(f Flow) (v V, ok bool) { return v, false }

// Insert adds an entry. It returns a *DuplicateError if an entry has the same masked key, and
// a *KeyError if the flow has none.
func (t *Table[V]) Insert(f Flow, v V) error { return nil }

// Replace sets the value of the entry with the masked key of f, adding it if there is none; it
// reports whether there was one. It returns a *KeyError if the flow has no key.
func (t *Table[V]) Replace(f Flow, v V) (had bool, err error) { return false, nil }

// Delete removes the entry with the masked key of f and returns its value.
func (t *Table[V]) Delete(f Flow) (v V, ok bool) { return v, false }

// Flush removes all entries and keeps the memory.
func (t *Table[V]) Flush() {}

// All iterates over the entries: the flow as it was inserted, and its value. The order is that of
// insertion while nothing was deleted, and else the same for the same history. The table must
// not be changed meanwhile.
func (t *Table[V]) All() iter.Seq2[Flow, V] { return func(func(Flow, V) bool) {} }

// SetMask changes the mask of an empty table; for a filled one it returns ErrNotEmpty.
func (t *Table[V]) SetMask(m Mask) error { return nil }

// Rebuild changes the mask and files every entry again, by the flow with which it was inserted. If entries
// collide under the mask (*DuplicateError) or have no key (*KeyError), it reports them joined, up to
// a bound, and changes nothing.
func (t *Table[V]) Rebuild(m Mask) error { return nil }
