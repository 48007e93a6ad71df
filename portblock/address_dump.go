package portblock

import (
	"iter"
	"time"
)

// Ownership is the answer of Owner: who holds a port's block since when. In
// the states Free and Unusable the owner is 0 and the Block invalid.
type Ownership struct {
	Owner uint64
	State State
	Block Block
	// Since is when the state began, zero for Free and Unusable.
	Since time.Time
}

// Owner tells who holds the block of a port at now. It changes nothing. The
// owner of a cooling block is the last one, kept for tracing.
func (a *Address) Owner(port uint16, now time.Time) Ownership {
	u, ok := a.layout.Locate(port)
	if !ok {
		return Ownership{}
	}
	o, _ := a.at(u, max(millis(now), a.now))
	return o
}

// at returns how unit u stands at time t, without freeing anything, and the
// record's number.
func (a *Address) at(u int, t int64) (Ownership, uint16) {
	i, state := a.find(u)
	if i < 0 || state == Cooling && t-a.recs[i].since >= a.layout.guard {
		if getBit(a.reserved.any, u) {
			return Ownership{State: Free}, uint16(u)
		}
		return Ownership{}, uint16(u)
	}
	r := &a.recs[i]
	number := r.number &^ coolBlock
	return Ownership{
		Owner: r.owner, State: state, Since: timeOf(r.since),
		Block: Block{a.index, r.gen, number, a.layout.cfg.Pool},
	}, number
}

// BlockInfo describes one block in a dump.
type BlockInfo struct {
	Block Block // invalid in the states Free and Unusable
	// Number is the position, in units of the smaller block size; Set the
	// ports.
	Number int
	Set    Set
	State  State
	Owner  uint64
	// Since is when the state began; Until when a cooling block is free.
	Since, Until time.Time
}

// Age returns how long the block is in its state at now, 0 for a block that
// is free or unusable.
func (b BlockInfo) Age(now time.Time) time.Duration {
	if b.Since.IsZero() {
		return 0
	}
	return max(0, now.Sub(b.Since))
}

func (a *Address) info(u int, t int64) (BlockInfo, int) {
	o, number := a.at(u, t)
	b := BlockInfo{
		Block: o.Block, Number: u, Set: a.layout.setAt(number),
		State: o.State, Owner: o.Owner, Since: o.Since,
	}
	if o.State == Cooling {
		b.Until = o.Since.Add(time.Duration(a.layout.guard) * time.Millisecond)
	}
	return b, u + a.layout.blockUnits(number)
}

// Blocks yields all blocks by rising number, as they stand at now; free ones
// in the smaller size. It changes nothing, and the address must not be
// changed meanwhile; AppendBlocks copies by pages.
func (a *Address) Blocks(now time.Time) iter.Seq[BlockInfo] {
	return func(yield func(BlockInfo) bool) {
		t := max(millis(now), a.now)
		for u := 0; u < a.layout.units; {
			b, next := a.info(u, t)
			if !yield(b) {
				return
			}
			u = next
		}
	}
}

// AppendBlocks appends up to limit blocks from number on and returns the
// number to go on with, or -1 at the end. Nothing refers to the address
// afterwards, so no lock need be held while the page is formatted.
func (a *Address) AppendBlocks(dst []BlockInfo, from, limit int, now time.Time) ([]BlockInfo, int) {
	t := max(millis(now), a.now)
	u := max(from, 0)
	for ; u < a.layout.units && limit > 0; limit-- {
		b, next := a.info(u, t)
		dst = append(dst, b)
		u = next
	}
	if u >= a.layout.units {
		u = -1
	}
	return dst, u
}

// Ranges yields the ports in blocks of state s at now, merged and rising. A
// port counts when Config.Ports holds it, whether reserved or not.
func (a *Address) Ranges(s State, now time.Time) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		t := max(millis(now), a.now)
		words := make([]uint64, 1<<16/64)
		for u := 0; u < a.layout.units; {
			o, number := a.at(u, t)
			n := a.layout.blockUnits(number)
			if o.State == s {
				for off := range n * a.layout.unit {
					if p := a.layout.portAt(u, off); a.layout.inRange(p) {
						setBit(words, int(p))
					}
				}
			}
			u += n
		}
		yieldRuns(words, yield)
	}
}

// Reasons of refusals, as places in Address.refused.
const (
	refusedNoBlock = iota
	refusedReserved
	refusedInUse
	refusedCooling
)

// BlockCounts counts blocks by state, in units of the smaller block size.
type BlockCounts struct {
	Free, Heating, Cooling, Unusable int
	// LargestFreeRun is the longest run of free blocks side by side.
	LargestFreeRun int
	// Refused counts refusals since the address was made, by reason.
	RefusedNoBlock, RefusedReserved, RefusedInUse, RefusedCooling uint64
}

// Counts returns the counts at now.
func (a *Address) Counts(now time.Time) BlockCounts {
	a.advance(now)
	c := BlockCounts{
		Free: int(a.nfree), Heating: int(a.heating), Cooling: int(a.cooling),
		Unusable:       a.layout.units - int(a.nfree) - int(a.heating) - int(a.cooling),
		RefusedNoBlock: a.refused[refusedNoBlock], RefusedReserved: a.refused[refusedReserved],
		RefusedInUse: a.refused[refusedInUse], RefusedCooling: a.refused[refusedCooling],
	}
	run := 0
	for u := range a.layout.units {
		if !getBit(a.free, u) {
			run = 0
			continue
		}
		run++
		c.LargestFreeRun = max(c.LargestFreeRun, run)
	}
	return c
}

// Explain adds the pool, the address and the counts to a refusal.
func (a *Address) Explain(err error, now time.Time) *RefusalError {
	return &RefusalError{Err: err, Pool: a.layout.cfg.Pool, Address: a.index, Counts: a.Counts(now)}
}
