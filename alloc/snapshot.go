package alloc

import (
	"encoding/binary"
	"hash/crc32"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"
)

// The snapshot, version 1. Numbers are unsigned varints unless a width is given.
//
//	"BNAL"      4 bytes
//	version     1 byte
//	length      8 bytes, big-endian: bytes from name to leases
//	name        length, bytes
//	shares, spill (0 or 1), serial, cursor
//	blocks      count; each: family (4 or 6), first address (4 or 16 bytes), addresses - 1
//	states      without room, reserved, drained, excluded, removed; each:
//	            count of runs; each run: gap to the one before, length - 1
//	leases      count; each, by slot: gap to the slot before, position, serial
//	checksum    4 bytes, big-endian: CRC-32C of everything before it
//
// Neither the seed nor the stream of random numbers is part of it: a secret
// does not go into a file, and a stream that is drawn twice can be guessed.
const (
	snapshotMagic   = "BNAL"
	snapshotVersion = 1
	snapshotHead    = len(snapshotMagic) + 1 + 8
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// AppendSnapshot appends the pool to dst: name, ranges, states, leases, in a
// versioned binary form with a checksum. The seed is not part of it, nor are
// the counts of refusals.
func (p *Pool) AppendSnapshot(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = append(dst, snapshotVersion)
	dst = append(dst, make([]byte, 8)...)
	u := binary.AppendUvarint
	dst = append(u(dst, uint64(len(p.name))), p.name...)
	spill := uint64(0)
	if p.spill {
		spill = 1
	}
	dst = u(u(u(u(dst, uint64(p.limit)), spill), uint64(p.serial)), uint64(p.cursor))
	dst = u(dst, uint64(len(p.index.place)))
	for i := range p.index.place {
		r := p.index.place[i].r
		if r.first.Is4() {
			dst = append(dst, 4)
		} else {
			dst = append(dst, 6)
		}
		dst = u(append(dst, r.first.AsSlice()...), r.Len()-1)
	}
	dst = appendRuns(dst, p.roomless())
	for _, b := range []*roaring.Bitmap{p.reserved, p.drained, p.excluded, p.removed} {
		dst = appendRuns(dst, b.Ranges())
	}
	dst = u(dst, p.leases)
	slot := uint32(0)
	for l := range p.Leases() {
		dst = u(u(u(dst, uint64(l.slot-slot)), uint64(l.position)), uint64(l.serial))
		slot = l.slot
	}
	body := dst[start:]
	binary.BigEndian.PutUint64(body[snapshotHead-8:], uint64(len(body)-snapshotHead))
	return binary.BigEndian.AppendUint32(dst, checksum(body))
}

// roomless iterates over the runs of members without room.
func (p *Pool) roomless() iter.Seq2[uint32, uint64] {
	return func(yield func(uint32, uint64) bool) {
		out := roaring.Or(p.excluded, p.removed)
		lacking := roaring.New()
		for pos := uint64(0); pos < p.index.n; {
			end := p.room.change(uint32(pos))
			if !p.room.has(uint32(pos)) {
				lacking.AddRange(pos, end)
			}
			pos = end
		}
		lacking.AndNot(out)
		lacking.Ranges()(yield)
	}
}

func appendRuns(dst []byte, runs iter.Seq2[uint32, uint64]) []byte {
	n, body, at := uint64(0), []byte(nil), uint64(0)
	for first, end := range runs {
		body = binary.AppendUvarint(body, uint64(first)-at)
		body = binary.AppendUvarint(body, end-uint64(first)-1)
		at = end
		n++
	}
	return append(binary.AppendUvarint(dst, n), body...)
}
