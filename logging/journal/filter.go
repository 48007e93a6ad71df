package journal

import (
	"encoding/binary"
)

// A filter tells which subscribers a chunk has: all that it has, and one in 120
// that it has not. Frames of filters:
//
//	type      1 byte, 4
//	filters   of the chunks in order: uvarint length in bytes, bits
//
// A subscriber's key is the family (4 or 6) and the 16 bytes of the address as
// IPv6 (an IPv4 address in the last four, the others 0), or 0xFF and the SubscriberID. Its hash is FNV-1a
// with 64 bits, then mixed: h ^= h>>33, h *= 0xff51afd7ed558ccd, h ^= h>>33. The
// key sets the bits (low + i*high) mod (8 * length) for i from 0 to 4, where low
// is the lower half of the hash and high the upper half made odd; bit n is bit n mod 8 of byte n/8.
const (
	typeFilters     = 4
	filterBits      = 10 // for each key
	filterProbes    = 5
	filtersPerFrame = 64
)

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

const (
	fnvBasis = 0xcbf29ce484222325
	fnvPrime = 0x100000001b3
)

func hashNumber(f family, n number) uint64 {
	h := uint64(fnvBasis)
	h = (h ^ uint64(f.plain())) * fnvPrime
	for _, half := range [2]uint64{n.hi, n.lo} {
		for shift := 56; shift >= 0; shift -= 8 {
			h = (h ^ half>>shift&0xff) * fnvPrime
		}
	}
	return mix(h)
}

func hashID(id string) uint64 {
	h := uint64(fnvBasis)
	h = (h ^ 0xff) * fnvPrime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * fnvPrime
	}
	return mix(h)
}

// holder returns the address that finds the row for a subscriber.
func (w *row) holder() (family, number, bool) {
	if w.shape.sub != familyNone {
		return w.shape.sub, w.sub, true
	}
	return w.shape.internal, w.endpoints().internal, w.shape.internal != familyNone
}

// appendFilter appends the filter of rows. hashes is for its use.
func appendFilter(b []byte, rows []row, hashes map[uint64]struct{}) []byte {
	clear(hashes)
	for i := range rows {
		if f, n, ok := rows[i].holder(); ok {
			hashes[hashNumber(f, n)] = struct{}{}
		}
		if rows[i].id != "" {
			hashes[hashID(rows[i].id)] = struct{}{}
		}
	}
	size := (len(hashes)*filterBits + 7) / 8
	b = binary.AppendUvarint(b, uint64(size))
	at := len(b)
	b = append(b, make([]byte, size)...)
	for h := range hashes {
		for i := range uint64(filterProbes) {
			n := probe(h, i, size)
			b[at+int(n>>3)] |= 1 << (n & 7)
		}
	}
	return b
}

func probe(h, i uint64, size int) uint64 { return (h&0xffffffff + i*(h>>32|1)) % uint64(8*size) }

// mayHave reports whether the filter has the key.
func mayHave(filter []byte, h uint64) bool {
	if len(filter) == 0 {
		return false
	}
	for i := range uint64(filterProbes) {
		if n := probe(h, i, len(filter)); filter[n>>3]&(1<<(n&7)) == 0 {
			return false
		}
	}
	return true
}
