package portblock

import (
	"encoding/binary"
	"fmt"
)

// recordBytes is the length of a record in a snapshot.
const recordBytes = 2 + 4 + 8 + 8

// AppendSnapshot appends the state with version and checksum. The reserved
// ports and the counts of refusals are not part of it. Its length is 34 bytes
// and 22 more for each heating or cooling block.
func (a *Address) AppendSnapshot(dst []byte) []byte {
	start := len(dst)
	dst = a.layout.appendHeader(dst, addressMagic)
	dst = binary.BigEndian.AppendUint32(dst, a.index)
	dst = binary.BigEndian.AppendUint32(dst, a.gen)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.now))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(a.recs)))
	add := func(r *record) {
		dst = binary.BigEndian.AppendUint16(dst, r.number)
		dst = binary.BigEndian.AppendUint32(dst, r.gen)
		dst = binary.BigEndian.AppendUint64(dst, r.owner)
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.since))
	}
	for u := range a.layout.units {
		if i := a.place(u); i >= 0 && a.recs[i].number&coolBlock == 0 {
			add(&a.recs[i])
		}
	}
	for u := a.head; u != noUnit; {
		r := &a.recs[a.place(int(u))]
		add(r)
		u = r.next
	}
	return seal(dst, start)
}

// RestoreAddress reads a snapshot and returns the address and the number of
// bytes used. Damaged or foreign bytes give ErrSnapshot or ErrSnapshotLayout.
// The reserved ports are the layout's: call SetReserved for others. The guard
// time that counts is the layout's, from the time at which a block began to
// cool.
func (l *Layout) RestoreAddress(src []byte) (*Address, int, error) {
	r, err := l.open(src, addressMagic)
	if err != nil {
		return nil, 0, err
	}
	a := l.NewAddress(r.u32())
	a.gen = r.u32()
	now, ok := r.time()
	a.now = now
	n := int(r.u16())
	if r.short || !ok || n > l.units || (len(src)-r.used)/recordBytes < n {
		return nil, 0, fmt.Errorf("%w: bad head of an address", ErrSnapshot)
	}
	for range n {
		rec := record{number: r.u16(), gen: r.u32(), owner: r.u64(), next: noUnit}
		var ok bool
		rec.since, ok = r.time()
		if !ok || !a.insert(rec) {
			return nil, 0, fmt.Errorf("%w: bad block", ErrSnapshot)
		}
	}
	if err := r.close(); err != nil {
		return nil, 0, err
	}
	a.rebuild()
	if err := a.CheckInvariants(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return a, r.used, nil
}

// insert adds a record of a snapshot: heating blocks come first, in the order of
// their ports, then cooling ones, in the order of their queue. So a state has one snapshot only.
func (a *Address) insert(rec record) bool {
	l := a.layout
	u, n := int(rec.number&unitBits), l.blockUnits(rec.number)
	if rec.gen == 0 || u+n > l.units || u&(n-1) != 0 || rec.since > a.now || rec.number&bigBlock != 0 && l.group == 1 {
		return false
	}
	for v := u; v < u+n; v++ {
		if i, _ := a.find(v); i >= 0 {
			return false
		}
	}
	a.add(rec)
	if rec.number&coolBlock == 0 {
		a.heating += uint16(n)
		last := len(a.recs) - 2
		return a.head == noUnit && (last < 0 || int(a.recs[last].number&unitBits) < u)
	}
	a.cooling += uint16(n)
	if a.tail == noUnit {
		a.head = uint16(u)
	} else {
		last := &a.recs[a.place(int(a.tail))]
		last.next = uint16(u)
		if last.since > rec.since {
			return false
		}
	}
	a.tail = uint16(u)
	return true
}

// CheckInvariants returns an error when the state contradicts itself: every
// unit is in exactly one state, the counts kept are those counted anew, and
// the cooling queue holds each cooling block once, oldest first. It is meant
// for tests.
func (a *Address) CheckInvariants() error {
	l := a.layout
	covered := make([]int, l.units)
	heating, cooling, coolBlocks := 0, 0, 0
	for i, r := range a.recs {
		u, n := int(r.number&unitBits), l.blockUnits(r.number)
		if u+n > l.units || u&(n-1) != 0 || a.place(u) != i || r.gen == 0 || r.since > a.now {
			return fmt.Errorf("portblock: record %d (%+v) is out of place", i, r)
		}
		for v := u; v < u+n; v++ {
			covered[v]++
		}
		if r.number&coolBlock != 0 {
			cooling += n
			coolBlocks++
		} else {
			heating += n
		}
	}
	nfree, slots := 0, 0
	for u := range l.units {
		free := getBit(a.free, u)
		if free {
			nfree++
		}
		if a.place(u) >= 0 {
			slots++
		}
		if covered[u] > 1 || free != (covered[u] == 0 && getBit(a.reserved.any, u)) {
			return fmt.Errorf("portblock: unit %d: %d blocks, free %v", u, covered[u], free)
		}
	}
	if slots != len(a.recs) || nfree != int(a.nfree) || heating != int(a.heating) || cooling != int(a.cooling) {
		return fmt.Errorf("portblock: counted %d slots, %d free, %d heating, %d cooling; kept %d, %d, %d, %d",
			slots, nfree, heating, cooling, len(a.recs), a.nfree, a.heating, a.cooling)
	}
	if err := a.checkGroups(); err != nil {
		return err
	}
	last := int64(-1 << 62)
	tail := uint16(noUnit)
	for u := a.head; u != noUnit; coolBlocks-- {
		i, state := a.find(int(u))
		if coolBlocks == 0 || state != Cooling || a.recs[i].since < last {
			return fmt.Errorf("portblock: cooling queue is broken at unit %d", u)
		}
		last, tail = a.recs[i].since, u
		u = a.recs[i].next
	}
	if coolBlocks != 0 || tail != a.tail {
		return fmt.Errorf("portblock: cooling queue lacks %d blocks or its end", coolBlocks)
	}
	return nil
}

func (a *Address) checkGroups() error {
	q := a.layout.group
	if q == 1 {
		return nil
	}
	whole := 0
	for g := range a.layout.units / q {
		n := 0
		for u := g * q; u < (g+1)*q; u++ {
			if getBit(a.free, u) {
				n++
			}
		}
		if n == q {
			whole++
		}
		if getBit(a.whole, g) != (n == q) {
			return fmt.Errorf("portblock: group %d: %d free units, whole %v", g, n, getBit(a.whole, g))
		}
		for u := g * q; u < (g+1)*q; u++ {
			if getBit(a.frag, u) != (n < q && getBit(a.free, u)) {
				return fmt.Errorf("portblock: unit %d is wrong among the units of broken groups", u)
			}
		}
	}
	if whole != int(a.nwhole) {
		return fmt.Errorf("portblock: counted %d whole groups, kept %d", whole, a.nwhole)
	}
	return nil
}
