package portblock

import (
	"iter"
	"math/bits"
	"time"
)

// HeldBlock describes one block of a holding.
type HeldBlock struct {
	Block Block
	// Live, Resting and Free count ports by space. In a retiring block
	// nothing rests and nothing is free to be taken.
	Live, Resting, Free [NumSpaces]int
	// Retiring says that no new port is taken from the block.
	Retiring bool
	// Added is when the block came, LastPacket the latest packet known.
	Added, LastPacket time.Time
}

// All yields the blocks at now, in an order that does not change while no
// block comes or goes. The holding must not be changed meanwhile.
func (h *Holding) All(now time.Time) iter.Seq[HeldBlock] {
	return func(yield func(HeldBlock) bool) {
		h.advance(now)
		var resting [NumSpaces]map[int]int
		for s := range Space(NumSpaces) {
			h.settle(s)
			resting[s] = make(map[int]int)
			for e := range h.restingOf(s) {
				resting[s][entrySlot(e)]++
			}
		}
		for i := range h.blocks {
			b := &h.blocks[i]
			if b.gen == 0 {
				continue
			}
			out := HeldBlock{
				Block: h.lease(i), Retiring: b.flags&closed != 0,
				Added: timeOf(b.added), LastPacket: timeOf(b.seen),
			}
			for s := range Space(NumSpaces) {
				free, live := h.bits(i, s)
				for k := range free {
					out.Live[s] += bits.OnesCount64(live[k] &^ free[k])
				}
				if !out.Retiring {
					out.Free[s], out.Resting[s] = int(b.free[s]), resting[s][i]
				}
			}
			if !yield(out) {
				return
			}
		}
	}
}

// Live yields the live ports of space s, block by block. The holding must not
// be changed meanwhile.
func (h *Holding) Live(s Space) iter.Seq[Port] {
	return func(yield func(Port) bool) {
		if !s.IsValid() {
			return
		}
		for i := range h.blocks {
			if h.blocks[i].gen == 0 {
				continue
			}
			free, live := h.bits(i, s)
			for k := range free {
				for w := live[k] &^ free[k]; w != 0; w &= w - 1 {
					if !yield(h.portOf(i, k<<6+bits.TrailingZeros64(w))) {
						return
					}
				}
			}
		}
	}
}

// Explain adds counts and limits to a refusal of TakePort.
func (h *Holding) Explain(err error, s Space, now time.Time) *HoldingError {
	c := &h.layout.cfg
	e := &HoldingError{
		Err: err, Space: s, Blocks: h.openBlocks(), Retiring: h.Retiring(),
		Live: h.Ports(s), Resting: h.Resting(s, now), MaxBlocks: c.MaxBlocks, MaxAll: c.MaxPortsTotal,
		LiveAll: h.Ports(TCP) + h.Ports(UDP) + h.Ports(ICMP),
	}
	if s.IsValid() {
		e.MaxPorts = c.MaxPorts[s]
	}
	return e
}
