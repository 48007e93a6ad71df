package portblock

import "strconv"

// Block is the lease of one block of one external address: a small
// comparable value. The zero Block is invalid. A copy is the same lease, and
// a lease that was given back is refused ever after, because its generation
// is never used again on the address (generations repeat after 2^32 leases).
type Block struct {
	address uint32 // index of the external address
	gen     uint32 // generation, 0 in the invalid block only
	number  uint16 // first unit; bit 15 is set for the larger size
	pool    uint16
}

// IsValid says whether b was ever a lease.
func (b Block) IsValid() bool { return b.gen != 0 }

// Address returns the index of the external address.
func (b Block) Address() uint32 { return b.address }

// Number returns the position of the block on its address, in units of the
// layout's smaller block size.
func (b Block) Number() int { return int(b.number &^ bigBlock) }

// Generation returns the generation of the lease.
func (b Block) Generation() uint32 { return b.gen }

// Pool returns Config.Pool of the layout.
func (b Block) Pool() uint16 { return b.pool }

// bigBlock marks a block of the larger of the two sizes in Block.number.
const bigBlock = 1 << 15

// AppendTo appends "pool/address/number#generation".
func (b Block) AppendTo(dst []byte) []byte {
	if !b.IsValid() {
		return append(dst, "invalid"...)
	}
	dst = strconv.AppendUint(dst, uint64(b.pool), 10)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, uint64(b.address), 10)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, int64(b.Number()), 10)
	dst = append(dst, '#')
	return strconv.AppendUint(dst, uint64(b.gen), 10)
}

// String returns the text form of AppendTo.
func (b Block) String() string { return string(b.AppendTo(nil)) }

// State is the state of a block on its address.
type State uint8

const (
	// Unusable: no port of the block can be given out, for it lies outside
	// the range or is reserved as a whole.
	Unusable State = iota
	// Free: no owner, and the guard time is over.
	Free
	// Heating: owned; ports are taken from it.
	Heating
	// Cooling: given back; the former owner is kept for tracing until the
	// guard time is over.
	Cooling
)

// String returns "unusable", "free", "heating" or "cooling".
func (s State) String() string {
	switch s {
	case Unusable:
		return "unusable"
	case Free:
		return "free"
	case Heating:
		return "heating"
	case Cooling:
		return "cooling"
	}
	return "invalid"
}

// Want says what kind of block is asked for. The zero Want asks for a
// subscriber's first block with a usable port in any space.
type Want struct {
	// Further asks for the size of a further block.
	Further bool
	// Spaces, when not empty, asks for a block that has a usable port in each
	// of these spaces.
	Spaces SpaceSet
	// Keep asks, where Spaces is not empty, for a port in each of them that
	// Config.Parity and Config.Class allow for the port Internal where they
	// are Require.
	Keep     bool
	Internal uint16
}

// Port is an external port of a holding: the index of its address and the
// port or identifier. Its space is known to who asked for it.
type Port struct {
	Address uint32
	Number  uint16
}
