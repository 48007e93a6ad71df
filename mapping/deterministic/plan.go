package deterministic

import "math/bits"

// plan cuts the ports of one external address (or of a group of them) into
// slots: c deterministic ones, one a subscriber, and d dynamic ones. It is the
// same for every external address of a map; only the keys of Crypto differ.
//
// Shapes over ranks (see layout), with p ports a slot and x slots that have one
// more:
//
//	block    rank = s*p + min(s, x) + i          Sequential, Random, Crypto, RoundRobin
//	stepped  rank = i*step + s                   Staggered, Interlaced
//
// Shapes over ports:
//
//	modulus  port = (i*ratio + s)*run + j        MAP, GMA
//	masked   port = expand(mask, s) | expand(^mask, i)
type plan struct {
	layout
	shape shape

	c, d uint32 // deterministic and dynamic slots
	p, x uint32 // block and stepped: ports per slot, slots with one more
	step uint32 // stepped: c+d, or its share for one address
	tail uint32 // block and stepped: dynamic ports behind the slots

	ratio, run      uint32 // modulus: R and M
	rows, end       uint32 // modulus: first row, and the row behind the last
	firstSlot       uint32 // modulus and masked: slots below it are not given out
	sig, free       maskBits
	leftoverDynamic bool // modulus and masked: what no slot has is dynamic
}

type shape uint8

const (
	shapeBlock shape = iota
	shapeStepped
	shapeModulus
	shapeMasked
)

// class says what a port is.
type class uint8

const (
	classReserved class = iota
	classSlot           // it belongs to a deterministic slot
	classDynamic
	classLeft // a remainder: nobody's
)

// slotsEnd returns the rank behind the deterministic slots of a block shape.
func (p *plan) slotsEnd() uint32 { return p.c*p.p + p.x }

// locate says what a port is, and its slot if it belongs to one.
func (p *plan) locate(port uint16) (slot uint32, cl class) {
	rank, ok := p.rank(port)
	if !ok {
		return 0, classReserved
	}
	switch p.shape {
	case shapeBlock:
		return p.blockOf(rank)
	case shapeStepped:
		if row := rank / p.step; row < p.p {
			return p.split(rank % p.step)
		}
		if t := rank - p.p*p.step; t < p.x {
			return t, classSlot
		} else if t-p.x < p.tail {
			return 0, classDynamic
		}
		return 0, classLeft
	case shapeModulus:
		v := uint32(port) / p.run
		if row := v / p.ratio; row < p.rows || row >= p.end {
			return p.leftover()
		}
		return p.split(v % p.ratio)
	default:
		return p.split(uint32(p.sig.compress(port)))
	}
}

// blockOf locates a rank in a block shape.
func (p *plan) blockOf(rank uint32) (slot uint32, cl class) {
	long := p.x * (p.p + 1)
	if rank < long {
		return rank / (p.p + 1), classSlot
	}
	if slot = p.x + (rank-long)/p.p; slot < p.c {
		return slot, classSlot
	}
	if rank-p.slotsEnd() < p.tail {
		return 0, classDynamic
	}
	return 0, classLeft
}

// split classifies the number that a port has under step, ratio or mask. What
// is below firstSlot is kept from subscribers and from the dynamic range.
func (p *plan) split(number uint32) (slot uint32, cl class) {
	slot = number - p.firstSlot
	switch {
	case number < p.firstSlot:
		return 0, classLeft
	case slot < p.c:
		return slot, classSlot
	case slot < p.c+p.d:
		return 0, classDynamic
	}
	return p.leftover()
}

func (p *plan) leftover() (uint32, class) {
	if p.leftoverDynamic {
		return 0, classDynamic
	}
	return 0, classLeft
}

// size returns the number of ports of a slot.
func (p *plan) size(slot uint32) uint32 {
	switch p.shape {
	case shapeBlock, shapeStepped:
		if slot < p.x {
			return p.p + 1
		}
		return p.p
	}
	n := p.members(slot, 65536)
	p.gaps(func(first, end uint32) bool {
		n -= p.members(slot, end) - p.members(slot, first)
		return true
	})
	return n
}

// members counts the ports below v that the shape gives to a slot of a modulus
// or masked plan, reserved or not.
func (p *plan) members(slot, v uint32) uint32 {
	slot += p.firstSlot
	if p.shape == shapeMasked {
		return below(&p.free, p.sig.expand(uint16(slot)), v)
	}
	row := v / (p.ratio * p.run)
	if row < p.rows {
		return 0
	}
	if row >= p.end {
		return (p.end - p.rows) * p.run
	}
	n, in, from := (row-p.rows)*p.run, v%(p.ratio*p.run), slot*p.run
	if in > from {
		n += min(in-from, p.run)
	}
	return n
}

// port returns port i of a slot, i < size(slot).
func (p *plan) port(slot, i uint32) uint16 {
	switch p.shape {
	case shapeBlock:
		return p.layout.port(slot*p.p + min(slot, p.x) + i)
	case shapeStepped:
		if i == p.p { // the one port more
			return p.layout.port(p.p*p.step + slot)
		}
		return p.layout.port(i*p.step + slot)
	}
	raw := i // i counted with the reserved members below it
	p.gaps(func(first, end uint32) bool {
		before := p.members(slot, first)
		if before > raw {
			return false
		}
		raw += p.members(slot, end) - before
		return true
	})
	if p.shape == shapeMasked {
		return p.sig.expand(uint16(slot+p.firstSlot)) | p.free.expand(uint16(raw))
	}
	return uint16(((p.rows+raw/p.run)*p.ratio+slot+p.firstSlot)*p.run + raw%p.run)
}

// indexOf returns the i for which port(slot, i) is the port, which must belong
// to the slot.
func (p *plan) indexOf(slot uint32, port uint16) uint32 {
	switch p.shape {
	case shapeBlock:
		rank, _ := p.rank(port)
		return rank - slot*p.p - min(slot, p.x)
	case shapeStepped:
		rank, _ := p.rank(port)
		return min(rank/p.step, p.p)
	}
	i := p.members(slot, uint32(port))
	p.gaps(func(first, end uint32) bool {
		if first >= uint32(port) {
			return false
		}
		i -= p.members(slot, end) - p.members(slot, first)
		return true
	})
	return i
}

// setMask makes the plan masked.
func (p *plan) setMask(mask uint16) {
	p.shape = shapeMasked
	p.sig, p.free = newMaskBits(mask), newMaskBits(^mask)
}

// slotsOfMask returns the number of sets under a mask.
func slotsOfMask(mask uint16) uint32 { return 1 << bits.OnesCount16(mask) }
