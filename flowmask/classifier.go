package flowmask

import "iter"

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

// Classifier finds the first of many rules that matches a flow, as a list of ipfw rules does, by
// probing one table per distinct mask. It is not safe for concurrent use while
// it is being changed; concurrent look-ups are.
type Classifier[V any] struct{}

// NewClassifier returns an empty classifier. The key seeds its hashes.
func NewClassifier[V any](key [16]byte) *Classifier[V] { return &Classifier[V]{} }

// Insert adds a rule. It returns a *DuplicateError if a rule has the same number, mask and masked key.
func (c *Classifier[V]) Insert(r Rule[V]) error { return nil }

// Delete removes the rule with this number, mask and masked key of f, and returns it.
func (c *Classifier[V]) Delete(number uint32, m Mask, f Flow) (r Rule[V], ok bool) { return r, false }

// Lookup returns the value of the first rule that matches. A flow with an unknown port gets
// an answer only if no rule that stands before the answer asks for that port.
func (c *Classifier[V]) Lookup(f Flow) (v V, ok bool) { return v, false }

// Match is Lookup that returns the whole rule.
func (c *Classifier[V]) Match(f Flow) (r Rule[V], ok bool) { return r, false }

// Len returns the number of rules.
func (c *Classifier[V]) Len() int { return 0 }

// Masks returns the number of distinct masks: the tables that a look-up may probe.
func (c *Classifier[V]) Masks() int { return 0 }

// All iterates over the rules in the order in which they match. The classifier must not be changed meanwhile.
func (c *Classifier[V]) All() iter.Seq[Rule[V]] { return func(func(Rule[V]) bool) {} }
