package alloc

import "math/bits"

// Loads sorts open addresses with live leases by their number of leases, so
// that a least loaded one is found without a look at the others: one list for
// each load up to exactLoads, above that one for each eighth of a doubling. An
// address enters its list at the tail and leaves it from anywhere.
//
// Loads above exactLoads are thus told apart to one part in eight.
const (
	exactLoads = 64
	loadSteps  = 8
	classes    = exactLoads + 26*loadSteps // the last is that of 2^32-1
	unlisted   = ^uint16(0)
	nobody     = ^uint32(0)
)

type loads struct {
	busy [(classes + 63) / 64]uint64 // which lists have members
	ends [classes]struct{ head, tail uint32 }
}

// loadClass returns the list of a load from 1 on.
func loadClass(n uint32) uint16 {
	if n <= exactLoads {
		return uint16(n - 1)
	}
	// 2^k <= n-1 < 2^(k+1), k from 6 to 31; the three bits below the top one
	// choose the step.
	k := bits.Len32(n-1) - 1
	step := (n - 1) >> (k - 3) & (loadSteps - 1)
	return uint16(exactLoads + (k-6)*loadSteps + int(step))
}

// list hangs user i into the list of its load.
func (p *Pool) list(i uint32) {
	u := p.users.at(i)
	c := loadClass(u.shares)
	e := &p.loads.ends[c]
	u.class, u.next = c, nobody
	if bit := uint64(1) << (c % 64); p.loads.busy[c/64]&bit == 0 {
		p.loads.busy[c/64] |= bit
		u.prev, e.head = nobody, i
	} else {
		u.prev = e.tail
		p.users.at(e.tail).next = i
	}
	e.tail = i
}

// unlist takes user i out of its list; it may be in none.
func (p *Pool) unlist(i uint32) {
	u := p.users.at(i)
	if u.class == unlisted {
		return
	}
	e := &p.loads.ends[u.class]
	if u.prev == nobody {
		e.head = u.next
	} else {
		p.users.at(u.prev).next = u.next
	}
	if u.next == nobody {
		e.tail = u.prev
	} else {
		p.users.at(u.next).prev = u.prev
	}
	if e.head == nobody {
		p.loads.busy[u.class/64] &^= 1 << (u.class % 64)
	}
	u.class = unlisted
}

// lightest returns the user at the head of the lowest list.
func (p *Pool) lightest() (uint32, bool) {
	for w, x := range p.loads.busy {
		if x != 0 {
			return p.loads.ends[w*64+bits.TrailingZeros64(x)].head, true
		}
	}
	return 0, false
}
