package flowmask

import "net/netip"

// MaxIndexBits is the largest number of bits of an Index.
const MaxIndexBits = 24

// Index compresses the bits that a mask selects to a dense integer from 0 to
// 2^n - 1, so that a slice serves as table. The bits keep their order: the highest
// selected bit of the first field is the highest bit of the integer. An Index
// does not change and is safe for concurrent use.
type Index struct{ mask Mask }

// NewIndex returns the index of a mask that selects at most MaxIndexBits bits.
func NewIndex(m Mask) (*Index, error) { return &Index{mask: m}, nil }

// Mask returns the mask.
func (x *Index) Mask() Mask { return x.mask }

// Len returns 2^n, the length of a slice that the index addresses.
func (x *Index) Len() int { return 1 }

// Of returns the index of a flow; ok is false when the flow has no key under the mask (see Mask.Apply).
func (x *Index) Of(f Flow) (i uint32, ok bool) { return 0, false }

// Flow returns the flow that has index i and 0 in every bit that the mask does not select: Of(Flow(i)) is i.
// Bits of i at and above n are ignored.
func (x *Index) Flow(i uint32) Flow { return Flow{} }

// Reply returns the index for packets that return: for a flow f and its reply
// r, Of(f) equals Reply(ext).Of(r), if the bits of the external address that ext selects
// are the source address bits that the mask of x selects, in the same order.
func (x *Index) Reply(ext netip.Addr) (*Index, error) { return nil, nil }
