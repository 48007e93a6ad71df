package alloc

import (
	"encoding/binary"
	"net/netip"

	"github.com/RoaringBitmap/roaring/v2"
)

// Restore reads a pool that AppendSnapshot wrote and returns how many bytes it
// used. Leases stay valid, and returned ones stay stale. The pool's name,
// ranges, shares and policy are those of the snapshot; the seed is the
// caller's. The error is a *SnapshotError: bytes that are damaged, foreign or
// contradict themselves make no pool.
//
// The memory that it takes is bounded by that of the pool described and the
// length of the snapshot, and by 8 MiB for the directory of leases.
func Restore(data []byte, seed [32]byte) (*Pool, int, error) {
	d := decoder{data: data}
	d.head()
	name := string(d.bytes(d.number("name", maxName)))
	limit := uint32(d.number("shares", 1<<32-1))
	spill := d.number("spill", 1) == 1
	p := blank(name, limit, spill, seed)
	p.serial = uint32(d.number("serial", 1<<32-1))
	p.cursor = uint32(d.number("cursor", 1<<32-1))
	ranges := d.blocks()
	if d.err == nil && len(overlaps(ranges)) > 0 {
		d.fail("blocks overlap")
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	p.index.add(ranges)
	p.readStates(&d)
	p.readLeases(&d)
	if d.err == nil && d.at != len(d.data) {
		d.fail("bytes are left over")
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	return p, d.used, nil
}

// readStates reads what closes addresses and what has no room.
func (p *Pool) readStates(d *decoder) {
	noRoom := d.runs(p.index.n)
	p.reserved, p.drained = d.runs(p.index.n), d.runs(p.index.n)
	p.excluded, p.removed = d.runs(p.index.n), d.runs(p.index.n)
	if d.err != nil {
		return
	}
	out := roaring.Or(p.excluded, p.removed)
	inside := roaring.FastOr(p.reserved, p.drained, noRoom)
	if p.excluded.Intersects(p.removed) || out.Intersects(inside) {
		d.fail("states of an address contradict each other")
		return
	}
	p.build(noRoom)
}

// readLeases reads the live leases.
func (p *Pool) readLeases(d *decoder) {
	n := d.number("count of leases", maxLeases)
	slot := uint64(0)
	for i := uint64(0); i < n && d.err == nil; i++ {
		gap := d.number("gap to the next slot", 1<<32-1)
		if i > 0 && gap == 0 {
			d.fail("two leases have one slot")
		}
		if slot += gap; slot >= maxLeases {
			d.fail("slot of a lease is too large")
		}
		pos := d.number("position of a lease", 1<<32-1)
		serial := d.number("generation of a lease", 1<<32-1)
		if d.err == nil && (serial == 0 || !p.occupy(uint32(slot), uint32(pos), uint32(serial))) {
			d.fail("a lease cannot be live")
		}
	}
	if d.err != nil {
		return
	}
	p.tickets.collect(func(t *ticket) bool { return t.serial == 0 }, func(t *ticket, next uint32) { t.ref = next })
	if p.limit != 1 {
		for l := range p.Leases() {
			p.settle(l.position)
		}
	}
}

// occupy puts a lease of a snapshot into the pool. It is false when the address
// cannot have the lease.
func (p *Pool) occupy(slot, pos, serial uint32) bool {
	if !p.member(pos) || p.reserved.Contains(pos) || p.atLimit(pos) {
		return false
	}
	ref := pos
	if p.limit == 1 {
		p.touch(pos)
		p.full++
	} else {
		if p.touch(pos) {
			ref = p.users.take(nextUser)
			*p.users.at(ref) = user{pos: pos, class: unlisted}
			p.byPos[pos] = ref
		}
		ref = p.byPos[pos]
		u := p.users.at(ref)
		u.shares++
		if u.shares == p.limit {
			p.full++
		}
	}
	if p.atLimit(pos) {
		p.free.remove(pos)
		if !p.closed.Contains(pos) && !p.room.has(pos) {
			p.starved-- // Now it is full as well.
		}
	}
	p.leases++
	*p.tickets.reach(slot) = ticket{ref: ref, serial: serial}
	return true
}

// touch ends that a position is whole and reports whether it was.
func (p *Pool) touch(pos uint32) bool { return p.untouched().remove(pos) || p.idle.remove(pos) }

// A decoder reads the parts of a snapshot. After its first fault it reads
// zeros, and err says where and what.
type decoder struct {
	data []byte // the payload, after head
	base int    // bytes before data
	at   int
	used int // bytes of the whole snapshot
	err  error
}

func (d *decoder) fail(rule string) {
	if d.err == nil {
		d.err = &SnapshotError{Offset: d.base + d.at, Rule: rule}
		d.data, d.at = nil, 0
	}
}

// head checks magic, version, length and checksum.
func (d *decoder) head() {
	b := d.data
	switch {
	case len(b) < snapshotHead+4:
		d.fail("too short for a snapshot")
		return
	case string(b[:4]) != snapshotMagic:
		d.fail("not a snapshot of a pool")
		return
	case b[4] != snapshotVersion:
		d.at = 4
		d.fail("unknown version")
		return
	}
	n := binary.BigEndian.Uint64(b[5:])
	if n > uint64(len(b)-snapshotHead-4) {
		d.at = 5
		d.fail("cut short")
		return
	}
	end := snapshotHead + int(n)
	if checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		d.at = end
		d.fail("checksum does not match")
		return
	}
	d.data, d.base, d.used = b[snapshotHead:end], snapshotHead, end+4
}

// number reads a varint up to most.
func (d *decoder) number(what string, most uint64) uint64 {
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 {
		d.fail(what + " is cut short")
		return 0
	}
	if v > most {
		d.fail(what + " is too large")
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.data)-d.at) {
		d.fail("cut short")
		return nil
	}
	b := d.data[d.at : d.at+int(n)]
	d.at += int(n)
	return b
}

func (d *decoder) blocks() []Range {
	n := d.number("count of blocks", 1<<32)
	var out []Range
	for total := uint64(0); n > 0 && d.err == nil; n-- {
		size := uint64(16)
		switch family := d.bytes(1); {
		case d.err != nil:
			return nil
		case family[0] == 4:
			size = 4
		case family[0] != 6:
			d.fail("unknown family")
		}
		first, ok := netip.AddrFromSlice(d.bytes(size))
		count := d.number("addresses of a block", maxPositions-1) + 1
		if total += count; total > maxPositions {
			d.fail("more than 2^32 positions")
		}
		if d.err != nil || !ok {
			return nil
		}
		r := Range{first: first, last: Range{first: first}.offset(count - 1)}
		if r.last.Less(r.first) || r.mapped() {
			d.fail("a block is no range")
		}
		out = append(out, r)
	}
	return out
}

// runs reads a set of positions below n.
func (d *decoder) runs(n uint64) *roaring.Bitmap {
	b := roaring.New()
	at := uint64(0)
	for k := d.number("count of runs", 1<<32); k > 0 && d.err == nil; k-- {
		first := at + d.number("gap between runs", 1<<32)
		end := first + d.number("length of a run", 1<<32) + 1
		if end > n {
			d.fail("a run goes beyond the last position")
		}
		if d.err == nil {
			b.AddRange(first, end)
		}
		at = end
	}
	return b
}
