package portblock

import (
	"iter"
	"slices"
	"time"
)

// rests is what a holding has where ports rest: most have none at first, and TakePort does not read it.
type rests struct {
	queues [NumSpaces]queue
	// pending lists live and resting ports that are reserved since; they are
	// reserved instead of free when their time comes. Sorted, mostly empty.
	pending []uint64
}

// restsNow returns what it has, made where it is missing.
func (h *Holding) restsNow() *rests {
	if h.rests == nil {
		h.rests = new(rests)
	}
	return h.rests
}

// push lets a port rest.
func (h *Holding) push(s Space, e uint64) *queue {
	q := &h.restsNow().queues[s]
	q.push(e)
	h.resting |= s.Set()
	return q
}

// shrunk notes that entries of a queue have left it.
func (h *Holding) shrunk(s Space) {
	if h.rests.queues[s].n == 0 {
		h.resting &^= s.Set()
	}
}

// unrest forgets all that rests, and keeps the memory.
func (h *Holding) unrest() {
	h.resting = 0
	if h.rests != nil {
		for s := range h.rests.queues {
			q := &h.rests.queues[s]
			q.head, q.n = 0, 0
		}
	}
}

// pending returns the ports that are reserved when their time comes.
func (h *Holding) pending() []uint64 {
	if h.rests == nil {
		return nil
	}
	return h.rests.pending
}

// restingOf returns the entries of a space, in the order in which their rest ends.
func (h *Holding) restingOf(s Space) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if !h.resting.Has(s) {
			return
		}
		q := &h.rests.queues[s]
		for i := range q.n {
			if !yield(q.at(i)) {
				return
			}
		}
	}
}

// restingCount returns their number.
func (h *Holding) restingCount(s Space) int {
	if !h.resting.Has(s) {
		return 0
	}
	return int(h.rests.queues[s].n)
}

// queue is a ring of resting ports in the order of their return. The
// hold-down is one for all, so that is the order in which they become free.
// An entry is 8 bytes.
type queue struct {
	buf  []uint64 // length zero or a power of two
	head uint32
	n    uint32
}

// An entry packs the time of the return (ms, low 40 bits), the slot (10 bits)
// and the offset (14 bits). An age is taken modulo 2^40 ms (34 years): an
// entry that nobody looks at for so long may rest longer, never shorter.
const (
	offBits  = 14
	slotBits = 10
	timeBits = 64 - offBits - slotBits
	timeMask = 1<<timeBits - 1
)

func entry(t int64, slot, off int) uint64 {
	return uint64(t)<<(offBits+slotBits) | uint64(slot)<<offBits | uint64(off)
}

func entrySlot(e uint64) int { return int(e >> offBits & (1<<slotBits - 1)) }
func entryOff(e uint64) int  { return int(e & (1<<offBits - 1)) }

// entryAge returns how long the entry has rested at t.
func entryAge(e uint64, t int64) int64 {
	return int64((uint64(t) - e>>(offBits+slotBits)) & timeMask)
}

func (q *queue) at(i uint32) uint64 { return q.buf[(q.head+i)&uint32(len(q.buf)-1)] }

func (q *queue) push(e uint64) {
	if int(q.n) == len(q.buf) {
		grown := make([]uint64, max(8, 2*len(q.buf)))
		for i := range q.n {
			grown[i] = q.at(i)
		}
		q.buf, q.head = grown, 0
	}
	q.buf[(q.head+q.n)&uint32(len(q.buf)-1)] = e
	q.n++
}

func (q *queue) pop() uint64 {
	e := q.at(0)
	q.head++
	q.n--
	return e
}

// keep drops the entries that f refuses, in one pass.
func (q *queue) keep(f func(e uint64) bool) {
	n := uint32(0)
	for i := range q.n {
		if e := q.at(i); f(e) {
			q.buf[(q.head+n)&uint32(len(q.buf)-1)] = e
			n++
		}
	}
	q.n = n
}

// settle frees the ports of space s whose hold-down is over. The work is one
// step for each of them.
func (h *Holding) settle(s Space) {
	for h.resting.Has(s) && entryAge(h.rests.queues[s].at(0), h.now) >= h.layout.hold {
		h.freeOldest(s)
	}
}

func (h *Holding) freeOldest(s Space) {
	e := h.rests.queues[s].pop()
	h.shrunk(s)
	h.free(entrySlot(e), entryOff(e), s)
}

// oldest finds the port that has rested longest and that the strict
// preferences allow.
func (h *Holding) oldest(s Space, internal uint16) (e uint64, ok bool) {
	for e := range h.restingOf(s) {
		slot, off := entrySlot(e), entryOff(e)
		if !h.isPending(slot, off, s) && h.layout.allows(h.portOf(slot, off).Number, internal) {
			return e, true
		}
	}
	return 0, false
}

// revive takes a resting port before its time.
func (h *Holding) revive(e uint64, s Space) Port {
	slot, off := entrySlot(e), entryOff(e)
	h.rests.queues[s].keep(func(x uint64) bool { return x != e })
	h.shrunk(s)
	_, live := h.bits(slot, s)
	setBit(live, off)
	return h.enliven(slot, off, s)
}

// forget makes the resting ports of a slot dead.
func (h *Holding) forget(slot int) {
	if h.rests != nil {
		h.rests.pending = slices.DeleteFunc(h.rests.pending, func(k uint64) bool {
			slot2, off, s := int(k>>16), int(k>>2&(1<<offBits-1)), Space(k&3)
			_, live := h.bits(slot2, s)
			return slot2 == slot && !getBit(live, off)
		})
	}
	for s := range Space(NumSpaces) {
		// Mostly nothing rests in a block that leaves, and no queue is read.
		if h.resting.Has(s) && h.restingIn(slot, s) > 0 {
			h.rests.queues[s].keep(func(e uint64) bool { return entrySlot(e) != slot })
			h.shrunk(s)
		}
	}
}

// Resting returns the number of resting ports of space s at now.
func (h *Holding) Resting(s Space, now time.Time) int {
	if !s.IsValid() {
		return 0
	}
	h.advance(now)
	h.settle(s)
	return h.restingCount(s)
}
