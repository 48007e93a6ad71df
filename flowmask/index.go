package flowmask

import (
	"fmt"
	"math/bits"
)

// MaxIndexBits is the largest number of bits of an Index.
const MaxIndexBits = 24

// Index compresses the bits that a mask selects to a dense integer from 0 to
// 2^n - 1, so that a slice serves as table. The bits keep their order: the
// highest selected bit of the first field (in the order of Fields) is the
// highest bit of the integer. An Index does not change and is safe for
// concurrent use.
//
// It does in portable steps what the PEXT instruction does: all selected bits of a
// word that move by the same distance move in one step, an AND and a rotation. A run of
// adjacent bits is one step, so the mask of the bug report takes four or five; 24 bits of
// which no two are adjacent take 24, and about three times as long.
type Index struct {
	mask        Mask
	want, check uint64
	n           int
	// The steps by the word that they read: IPv4 uses a and w only.
	a, w []step
	rest [3][]step // b, c, d
	wide bool      // rest has steps
}

// step moves the bits of mask to their places by a rotation to the left.
type step struct {
	mask uint64
	rot  int
}

// bit is a bit of a flow: the number of its word, a to d and w, and its position there.
type bit struct{ word, pos int }

// IndexError says how many bits a mask selects that is too wide for an Index. It matches ErrTooManyBits.
type IndexError struct {
	Mask Mask
	Ones int
}

// Error names the mask and the limit.
func (e *IndexError) Error() string {
	return fmt.Sprintf("flowmask: mask %v selects %d bits; an index has at most %d", e.Mask, e.Ones, MaxIndexBits)
}

// Is reports whether target is ErrTooManyBits.
func (e *IndexError) Is(target error) bool { return target == ErrTooManyBits }

// NewIndex returns the index of a mask that selects at most MaxIndexBits bits, or an *IndexError.
func NewIndex(m Mask) (*Index, error) {
	if n := m.Ones(); n > MaxIndexBits {
		return nil, &IndexError{Mask: m, Ones: n}
	}
	return newIndex(m, m.bitList()), nil
}

// newIndex builds the steps for the selected bits of m, which list gives from the highest bit of the index down.
func newIndex(m Mask, list []bit) *Index {
	x := &Index{mask: m, want: m.want(), check: m.checks(), n: len(list)}
	words := [5]*[]step{&x.a, &x.rest[0], &x.rest[1], &x.rest[2], &x.w}
	for i, b := range list {
		to := len(list) - 1 - i
		rot := (to - b.pos) & 63
		steps := words[b.word]
		found := false
		for j := range *steps {
			if s := &(*steps)[j]; s.rot == rot {
				s.mask |= 1 << b.pos
				found = true
			}
		}
		if !found {
			*steps = append(*steps, step{1 << b.pos, rot})
		}
		if b.word >= 1 && b.word <= 3 {
			x.wide = true
		}
	}
	return x
}

// bitList returns the selected bits in the order of Fields, the highest bit of each field first.
func (m Mask) bitList() []bit {
	var list []bit
	for _, f := range fieldOrder {
		if m.fields&f != 0 {
			list = append(list, m.fieldBits(f)...)
		}
	}
	return list
}

// fieldBits returns the selected bits of one field, highest first.
func (m Mask) fieldBits(f Fields) (list []bit) {
	words := [5]uint64{m.a, m.b, m.c, m.d, m.w}
	take := func(word, high, low int) {
		for pos := high; pos >= low; pos-- {
			if words[word]>>pos&1 != 0 {
				list = append(list, bit{word, pos})
			}
		}
	}
	switch {
	case f == Realm:
		take(4, realmShift+15, realmShift)
	case f == Proto:
		take(4, protoShift+7, protoShift)
	case f == SrcPort:
		take(4, srcPortShift+15, srcPortShift)
	case f == DstPort:
		take(4, dstPortShift+15, dstPortShift)
	case f == SrcIP && m.six:
		take(0, 63, 0)
		take(1, 63, 0)
	case f == SrcIP:
		take(0, 63, 32)
	case f == DstIP && m.six:
		take(2, 63, 0)
		take(3, 63, 0)
	case f == DstIP:
		take(0, 31, 0)
	}
	return list
}

// Mask returns the mask.
func (x *Index) Mask() Mask { return x.mask }

// Len returns 2^n, the length of a slice that the index addresses.
func (x *Index) Len() int { return 1 << x.n }

// Of returns the index of a flow; ok is false when the flow has no key under the mask (see Mask.Apply).
func (x *Index) Of(f Flow) (i uint32, ok bool) {
	if (f.w^x.want)&x.check != 0 {
		return 0, false
	}
	var v uint64
	for k := range x.a {
		s := &x.a[k]
		v |= bits.RotateLeft64(f.a&s.mask, s.rot)
	}
	for k := range x.w {
		s := &x.w[k]
		v |= bits.RotateLeft64(f.w&s.mask, s.rot)
	}
	if x.wide {
		v |= gather(x.rest[0], f.b) | gather(x.rest[1], f.c) | gather(x.rest[2], f.d)
	}
	return uint32(v), true
}

// gather carries out the steps of one word.
func gather(steps []step, word uint64) (v uint64) {
	for k := range steps {
		v |= bits.RotateLeft64(word&steps[k].mask, steps[k].rot)
	}
	return v
}

// scatter undoes gather.
func scatter(steps []step, v uint64) (word uint64) {
	for _, s := range steps {
		word |= bits.RotateLeft64(v, -s.rot) & s.mask
	}
	return word
}

// Flow returns the flow that has index i and 0 in every bit that the mask
// does not select: Of(Flow(i)) is i, and Flow(Of(f)) is Mask.Apply(f).Flow().
// Bits of i at and above n are ignored. Without address fields it is an IPv4 flow.
func (x *Index) Flow(i uint32) Flow {
	v := uint64(i) & (1<<x.n - 1)
	return Flow{
		a: scatter(x.a, v), b: scatter(x.rest[0], v), c: scatter(x.rest[1], v), d: scatter(x.rest[2], v),
		w: scatter(x.w, v) | x.want,
	}
}
