package flowmask

import (
	"fmt"
	"math/bits"
	"slices"
)

// MaxIndexBits is the largest number of bits of an Index.
const MaxIndexBits = 24

// Index compresses the bits that a mask selects to a dense integer from 0 to 2^n - 1, so
// that a slice serves as table. The bits keep their order: the highest selected bit of the
// first field (in the order of Fields) is the highest bit of the integer. An Index does not
// change and is safe for concurrent use.
//
// It does in portable steps what the PEXT instruction does: all selected bits of a word
// that move by the same distance move in one step, an AND and a rotation. A run of adjacent
// bits is one step, so the mask of the bug report takes five. Four steps for each of the
// two words that IPv4 uses are carried out unconditionally, which costs less than a loop; a
// mask that needs more of them, or IPv6 addresses, pays for each.
type Index struct {
	mask        Mask
	want, check uint64
	n           int
	a, w        [4]step // of the words a and w; the unused ones have no mask
	more        bool
	rest        [5][]step // further steps by word, a to d and w
}

// step moves the bits of mask to their places by a rotation to the left.
type step struct {
	mask uint64
	rot  int
}

// bit is a bit of a flow: the number of its word, a to d and w, and its position there.
type bit struct{ word, pos int }

// IndexError says how many bits a mask selects that is too wide for an Index. It matches
// ErrTooManyBits.
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

// NewIndex returns the index of a mask that selects at most MaxIndexBits bits, or an
// *IndexError.
func NewIndex(m Mask) (*Index, error) {
	if n := m.Ones(); n > MaxIndexBits {
		return nil, &IndexError{Mask: m, Ones: n}
	}
	return newIndex(m, m.bitList()), nil
}

// newIndex builds the steps for the selected bits of m, which list gives from the highest
// bit of the index down.
func newIndex(m Mask, list []bit) *Index {
	x := &Index{mask: m, want: m.want(), check: m.checks(), n: len(list)}
	var all [5][]step
	for i, b := range list {
		rot := (len(list) - 1 - i - b.pos) & 63
		steps := &all[b.word]
		at := slices.IndexFunc(*steps, func(s step) bool { return s.rot == rot })
		if at < 0 {
			at = len(*steps)
			*steps = append(*steps, step{0, rot})
		}
		(*steps)[at].mask |= 1 << b.pos
	}
	all[0] = all[0][copy(x.a[:], all[0]):]
	all[4] = all[4][copy(x.w[:], all[4]):]
	x.rest = all
	x.more = slices.ContainsFunc(all[:], func(steps []step) bool { return len(steps) > 0 })
	return x
}

// bitList returns the selected bits in the order of Fields, the highest bit of each field
// first.
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

// Of returns the index of a flow; ok is false when the flow has no key under the mask (see
// Mask.Apply).
func (x *Index) Of(f Flow) (i uint32, ok bool) { return x.of(f.a, f.w, &f) }

// of is Of with the two words that IPv4 uses in registers: passing a Flow by value to a
// call that is not inlined would write all of it to the stack.
func (x *Index) of(a, w uint64, f *Flow) (i uint32, ok bool) {
	if (w^x.want)&x.check != 0 {
		return 0, false
	}
	v := bits.RotateLeft64(a&x.a[0].mask, x.a[0].rot) |
		bits.RotateLeft64(a&x.a[1].mask, x.a[1].rot) |
		bits.RotateLeft64(a&x.a[2].mask, x.a[2].rot) |
		bits.RotateLeft64(a&x.a[3].mask, x.a[3].rot) |
		bits.RotateLeft64(w&x.w[0].mask, x.w[0].rot) |
		bits.RotateLeft64(w&x.w[1].mask, x.w[1].rot) |
		bits.RotateLeft64(w&x.w[2].mask, x.w[2].rot) |
		bits.RotateLeft64(w&x.w[3].mask, x.w[3].rot)
	if x.more {
		v |= gather(x.rest[0], a) | gather(x.rest[1], f.b) | gather(x.rest[2], f.c) | gather(x.rest[3], f.d) | gather(x.rest[4], w)
	}
	return uint32(v), true
}

// gather carries out steps of one word.
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

// Flow returns the flow that has index i and 0 in every bit that the mask does not select:
// Of(Flow(i)) is i, and Flow(Of(f)) is Mask.Apply(f).Flow(). Bits of i at and above n are
// ignored. Without address fields it is an IPv4 flow.
func (x *Index) Flow(i uint32) Flow {
	v := uint64(i)
	return Flow{
		a: scatter(x.a[:], v) | scatter(x.rest[0], v),
		b: scatter(x.rest[1], v), c: scatter(x.rest[2], v), d: scatter(x.rest[3], v),
		w: scatter(x.w[:], v) | scatter(x.rest[4], v) | x.want,
	}
}
