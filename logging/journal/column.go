package journal

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A column holds one number of each row of a chunk. Numbers are written as
// multiples of a unit above a base, in the least number of bits that most of
// them need; the few that need more are exceptions:
//
//	width     1 byte, 0 to 64
//	base      uvarint
//	unit      uvarint, 1 or more
//	count     uvarint, of exceptions
//	packed    ceil(rows * width / 8) bytes: row i in bits i*width to i*width+width-1,
//	          the lowest bit of the first byte first; 0 where there is an exception
//	exceptions, in the order of rows: uvarint rows since the last exception's row
//	          (for the first one: its row), uvarint number
//
// A number is base + unit*packed, or base + unit*exception, modulo 2^64.
type column struct {
	base, unit uint64
	width      uint
	packed     []byte // and what stands behind it in the frame
	rows       []uint16
	numbers    []uint64
}

// appendColumn appends a column of values, over which it writes.
func appendColumn(b []byte, values []uint64) []byte {
	base := values[0]
	for _, v := range values {
		base = min(base, v)
	}
	var unit uint64
	for _, v := range values {
		if unit == 1 {
			break
		}
		unit = gcd(v-base, unit)
	}
	unit = max(unit, 1)
	var lengths [65]int
	for i, v := range values {
		v -= base
		if unit > 1 {
			v /= unit
		}
		values[i] = v
		lengths[bits.Len64(v)]++
	}
	width, exceptions := cheapest(&lengths, len(values))
	b = append(b, byte(width))
	b = binary.AppendUvarint(b, base)
	b = binary.AppendUvarint(b, unit)
	b = binary.AppendUvarint(b, uint64(exceptions))
	b = pack(b, values, width)
	last := 0
	for i, v := range values {
		if exceptions > 0 && bits.Len64(v) > int(width) {
			b = binary.AppendUvarint(b, uint64(i-last))
			b = binary.AppendUvarint(b, v)
			last = i
		}
	}
	return b
}

// cheapest returns the width that takes the fewest bits: 8 bits for an
// exception's row and its number in groups of 7.
func cheapest(lengths *[65]int, n int) (width uint, exceptions int) {
	best, above, cost := -1, 0, 0
	for w := 64; w >= 0; w-- {
		if c := n*w + cost; best < 0 || c < best {
			best, width, exceptions = c, uint(w), above
		}
		above += lengths[w]
		cost += lengths[w] * (8 + (w+6)/7*8)
	}
	return width, exceptions
}

func gcd(a, b uint64) uint64 {
	for a != 0 {
		a, b = b%a, a
	}
	return b
}

// pack appends values of width bits; those that need more become 0.
func pack(b []byte, values []uint64, width uint) []byte {
	if width == 0 {
		return b
	}
	var acc uint64
	var n uint
	for _, v := range values {
		if uint(bits.Len64(v)) > width {
			v = 0
		}
		acc |= v << n
		if n+width < 64 {
			n += width
			continue
		}
		b = binary.LittleEndian.AppendUint64(b, acc)
		acc = 0
		if n > 0 {
			acc = v >> (64 - n)
		}
		n = n + width - 64
	}
	for ; n > 0; n -= min(n, 8) {
		b = append(b, byte(acc))
		acc >>= 8
	}
	return b
}

// parse reads a column of n rows and returns what follows it.
func (c *column) parse(b []byte, n int) ([]byte, bool) {
	d := decoder{b: b}
	c.width = uint(d.byte())
	c.base = d.uvarint()
	c.unit = d.uvarint()
	exceptions := d.number(uint64(n))
	if d.bad || c.width > 64 || c.unit == 0 {
		return nil, false
	}
	size := (n*int(c.width) + 7) / 8
	if size > len(d.b) {
		return nil, false
	}
	c.packed = d.b
	d.b = d.b[size:]
	c.rows, c.numbers = c.rows[:0], c.numbers[:0]
	at := uint64(0)
	for i := range exceptions {
		delta := d.number(uint64(n))
		if at += delta; d.bad || at >= uint64(n) || i > 0 && delta == 0 {
			return nil, false
		}
		c.rows = append(c.rows, uint16(at))
		c.numbers = append(c.numbers, d.uvarint())
	}
	return d.b, !d.bad
}

// at returns the number of row i.
func (c *column) at(i int) uint64 {
	if c.width == 0 && len(c.rows) == 0 {
		return c.base
	}
	if len(c.rows) > 0 {
		if k, ok := slices.BinarySearch(c.rows, uint16(i)); ok {
			return c.base + c.unit*c.numbers[k]
		}
	}
	if c.width == 0 {
		return c.base
	}
	place := uint(i) * c.width
	at, shift := place>>3, place&7
	var v uint64
	if at+8 <= uint(len(c.packed)) {
		v = binary.LittleEndian.Uint64(c.packed[at:]) >> shift
		if shift+c.width > 64 {
			v |= uint64(c.packed[at+8]) << (64 - shift)
		}
	} else {
		for k := uint(0); at+k < uint(len(c.packed)); k++ {
			v |= uint64(c.packed[at+k]) << (8 * k)
		}
		v >>= shift // the file ends here, so no ninth byte belongs to the number
	}
	if c.width < 64 {
		v &= 1<<c.width - 1
	}
	return c.base + c.unit*v
}
