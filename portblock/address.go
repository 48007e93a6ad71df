package portblock

import "time"

// Address is the state of the blocks of ONE external address.
//
// An Address is plain data and not safe for concurrent use. A now that lies
// before the latest one seen is taken as that one.
type Address struct {
	layout   *Layout
	reserved *Reserved

	// free has a bit for each free unit. With two block sizes, whole has one
	// for each group of which all units are free, and frag has the free
	// units of all other groups: small blocks come from there first, so that
	// large ones stay possible. All three share one array.
	free, frag, whole []uint64
	// slot holds 1 + the place in recs of the block that starts at a unit, 0
	// where none does. It is nil while there are few blocks: those are searched.
	slot []uint16
	recs []record // heating and cooling blocks, dense, in no order

	now   int64 // latest time seen, ms
	index uint32
	gen   uint32 // generation of the latest lease

	// head and tail are the first units of the oldest and the newest cooling
	// block, noUnit when none is cooling. The guard time is one for all, so
	// the order of cooling is the order of becoming free.
	head, tail uint16

	// nfree counts free units; heating and cooling count units too.
	nfree, nwhole, heating, cooling uint16

	refused [4]uint64 // by refusal
}

// record is one heating or cooling block: 24 bytes.
type record struct {
	owner  uint64
	since  int64 // ms, when the state began
	gen    uint32
	number uint16 // first unit, bigBlock, coolBlock
	next   uint16 // next cooling block, noUnit at the end
}

const (
	coolBlock = 1 << 14 // in record.number: the block is cooling
	unitBits  = coolBlock - 1
	noUnit    = 1<<16 - 1
)

// NewAddress returns an address with all usable blocks free. The index names
// the address in every Block.
func (l *Layout) NewAddress(index uint32) *Address {
	w, wg := wordsFor(l.units), 0
	n := w
	if l.group > 1 {
		wg = wordsFor(l.units / l.group)
		n = 2*w + wg
	}
	words := make([]uint64, n)
	a := &Address{
		layout: l, reserved: l.reserved, index: index, now: -1 << 60,
		free: words[:w:w], head: noUnit, tail: noUnit,
	}
	if l.group > 1 {
		a.frag, a.whole = words[w:2*w:2*w], words[2*w:]
	}
	a.rebuild()
	return a
}

// rebuild derives the free bitmaps from the reserved ports and the records.
func (a *Address) rebuild() {
	copy(a.free, a.reserved.any)
	for _, r := range a.recs {
		u := int(r.number & unitBits)
		for i := range a.layout.blockUnits(r.number) {
			clearBit(a.free, u+i)
		}
	}
	a.nfree = uint16(countBits(a.free))
	a.nwhole = 0
	if a.layout.group > 1 {
		clear(a.whole)
		for g := range a.layout.units / a.layout.group {
			a.regroup(g)
		}
	}
}

// regroup brings whole and frag of a group in line with free.
func (a *Address) regroup(g int) {
	q := a.layout.group
	n := 0
	for u := g * q; u < (g+1)*q; u++ {
		clearBit(a.frag, u)
		if getBit(a.free, u) {
			n++
		}
	}
	was := getBit(a.whole, g)
	switch {
	case n == q && !was:
		setBit(a.whole, g)
		a.nwhole++
	case n < q && was:
		clearBit(a.whole, g)
		a.nwhole--
	}
	if n < q {
		for u := g * q; u < (g+1)*q; u++ {
			if getBit(a.free, u) {
				setBit(a.frag, u)
			}
		}
	}
}

// Index returns the index given to NewAddress.
func (a *Address) Index() uint32 { return a.index }

// Layout returns the layout of the address.
func (a *Address) Layout() *Layout { return a.layout }

// advance frees the cooling blocks whose guard time is over at now, oldest
// first, and returns the time that counts. The work is one step for each
// block that becomes free.
func (a *Address) advance(now time.Time) int64 {
	if t := millis(now); t > a.now {
		a.now = t
	}
	for a.head != noUnit {
		i := a.place(int(a.head))
		r := &a.recs[i]
		if a.now-r.since < a.layout.guard {
			break
		}
		n := uint16(a.layout.blockUnits(r.number))
		a.cooling -= n
		a.head = r.next
		if a.head == noUnit {
			a.tail = noUnit
		}
		a.release(uint16(i))
	}
	return a.now
}

// release drops record i and frees its units.
func (a *Address) release(i uint16) {
	number := a.recs[i].number
	u := int(number & unitBits)
	last := uint16(len(a.recs) - 1)
	if a.slot != nil {
		a.slot[u] = 0
	}
	if i != last {
		a.recs[i] = a.recs[last]
		if a.slot != nil {
			a.slot[a.recs[i].number&unitBits] = i + 1
		}
	}
	a.recs = a.recs[:last]
	if last == 0 && cap(a.recs) > fewRecords {
		a.recs, a.slot = nil, nil // an address without live blocks keeps no more than its base
	}
	n := a.layout.blockUnits(number)
	for v := u; v < u+n; v++ {
		if getBit(a.reserved.any, v) {
			setBit(a.free, v)
			a.nfree++
		}
	}
	if a.layout.group > 1 {
		a.regroup(u / a.layout.group)
	}
}

// fewRecords is the number of blocks up to which they are searched.
const fewRecords = 8

// place returns the place in recs of the block that starts at a unit, or -1.
func (a *Address) place(u int) int {
	if a.slot != nil {
		return int(a.slot[u]) - 1
	}
	for i := range a.recs {
		if int(a.recs[i].number&unitBits) == u {
			return i
		}
	}
	return -1
}

// add enters a block.
func (a *Address) add(r record) {
	if n := len(a.recs); n == cap(a.recs) {
		grown := make([]record, n, nextRecords(n))
		copy(grown, a.recs)
		a.recs = grown
	}
	a.recs = append(a.recs, r)
	switch n := len(a.recs); {
	case a.slot != nil:
		a.slot[r.number&unitBits] = uint16(n)
	case n > fewRecords:
		a.slot = make([]uint16, a.layout.units)
		for i := range a.recs {
			a.slot[a.recs[i].number&unitBits] = uint16(i + 1)
		}
	}
}

// recordStep is by how many records recs grows when there are some: doubling would waste up to
// half of what the blocks of an address take.
const recordStep = 16

// nextRecords returns for how many blocks there is room when there is none for more than n.
func nextRecords(n int) int {
	if n < recordStep {
		return max(2*n, 1)
	}
	return n + recordStep
}

// find returns the place of the record that covers unit u and its stored
// state, or -1 and Unusable.
func (a *Address) find(u int) (int, State) {
	i := a.place(u)
	if i < 0 && a.layout.group > 1 {
		i = a.place(u &^ (a.layout.group - 1))
		if i >= 0 && a.recs[i].number&bigBlock == 0 {
			i = -1
		}
	}
	switch {
	case i < 0:
		return -1, Unusable
	case a.recs[i].number&coolBlock != 0:
		return i, Cooling
	}
	return i, Heating
}

// held returns the record of a heating lease.
func (a *Address) held(b Block) (uint16, error) {
	if b.gen == 0 {
		return 0, ErrInvalid
	}
	if b.address != a.index || b.pool != a.layout.cfg.Pool || b.Number() >= a.layout.units {
		return 0, ErrForeign
	}
	i := a.place(b.Number())
	if i < 0 {
		return 0, ErrStale
	}
	if r := &a.recs[i]; r.gen != b.gen || r.number != b.number {
		return 0, ErrStale // another lease, or cooling, which has coolBlock set
	}
	return uint16(i), nil
}

// CancelBlock takes back a lease of which no port was ever used:
// heating -> free, without a guard time. That no port was used is the
// caller's word. It fails with ErrInvalid, ErrForeign or ErrStale and then
// changes nothing.
func (a *Address) CancelBlock(b Block) error {
	i, err := a.held(b)
	if err != nil {
		return err
	}
	a.heating -= uint16(a.layout.blockUnits(b.number))
	a.release(i)
	return nil
}

// CoolBlock ends a lease: heating -> cooling. The block is free when the
// guard time is over. It fails as CancelBlock does.
func (a *Address) CoolBlock(b Block, now time.Time) error {
	a.advance(now)
	i, err := a.held(b)
	if err != nil {
		return err
	}
	n := uint16(a.layout.blockUnits(b.number))
	a.heating -= n
	if a.layout.guard == 0 {
		a.release(uint16(i))
		return nil
	}
	a.cooling += n
	r := &a.recs[i]
	r.since = a.now
	r.number |= coolBlock
	u := r.number & unitBits
	if a.tail == noUnit {
		a.head = u
	} else {
		a.recs[a.place(int(a.tail))].next = u
	}
	a.tail = u
	return nil
}

// CoolAll makes all free blocks cool, without an owner, and returns how many
// that are, in units of the smaller size. It is for a start without knowledge
// of what was in use before: RFC 6888 REQ-8 wants ports that were in use at a
// loss of state to rest as well.
func (a *Address) CoolAll(now time.Time) int {
	a.advance(now)
	n := 0
	for u := range a.layout.units {
		if getBit(a.free, u) {
			n++
			// It cannot fail: the lease is new.
			_ = a.CoolBlock(a.leaseSize(u, false, 0), now)
		}
	}
	return n
}

// NextFree returns when the next cooling block becomes free, and false when
// none is cooling.
func (a *Address) NextFree() (time.Time, bool) {
	if a.head == noUnit {
		return time.Time{}, false
	}
	return timeOf(a.recs[a.place(int(a.head))].since + a.layout.guard), true
}

// FreeBlocks returns the number of free blocks at now, in units of the
// smaller block size.
func (a *Address) FreeBlocks(now time.Time) int {
	a.advance(now)
	return int(a.nfree)
}

// HasRoom says whether TakeBlockOf(want) would succeed at now.
func (a *Address) HasRoom(want Want, now time.Time) bool {
	a.advance(now)
	if want.Spaces&^AllSpaces != 0 {
		return false
	}
	_, ok := a.choose(want)
	return ok
}

// InUse says whether a block is heating or cooling at now. An address that is
// not in use can be dropped and made anew, but for its count of generations:
// leases of the old one are then not told from new ones.
func (a *Address) InUse(now time.Time) bool {
	a.advance(now)
	return len(a.recs) > 0
}

// Holds says whether b is heating on this address.
func (a *Address) Holds(b Block) bool {
	_, err := a.held(b)
	return err == nil
}
