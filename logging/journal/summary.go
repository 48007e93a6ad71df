package journal

import (
	"encoding/binary"

	"github.com/blocknat/blocknat/logging"
)

// A summary is the last frame of a segment: what is in it and where.
//
//	type      1 byte, 5
//	counts    uvarints: rows, beginnings, ends, interim records, other records
//	times     4 times: least beginning, greatest reach of a row; least, greatest time of a record
//	sizes     4 bytes: bit i is set where a row's ports are of size class i
//	order     order: of the last record of all generations up to here
//	runs      uvarint how many, then each: uvarint generation, order of its first, order of its last record
//	hosts     uvarint how many, then each: text host, uvarint instance, uvarint epoch, 2 times: first, last record
//	filters   uvarint how many, then each: uvarint offset, uvarint first chunk, uvarint chunks
//	others    uvarint how many, then each: uvarint offset, 1 byte sort, uvarint records, order of the first, order of the last
//	chunks    uvarint how many, then 56 bytes each
//
// A time is a uvarint of milliseconds since year 1; an order is uvarint era, time
// max, uvarint rank.
type summary struct {
	rows, begins, ends, interims, others uint64

	minFrom, maxReach, minTime, maxTime logging.Millis

	sizes   uint32
	last    order
	runs    []run
	hosts   []hostRun
	filters []filterRef
	refs    []otherRef
	chunks  []chunkRef
}

const typeSummary = 5

// A run is the records of one generation, first and last included.
type run struct {
	gen         uint64
	first, last order
}

// A hostRun says when records of an epoch of a host were seen.
type hostRun struct {
	host        string
	instance    uint32
	epoch       uint64
	first, last logging.Millis
}

// A filterRef is where the filters of some chunks stand.
type filterRef struct {
	off, chunk, chunks uint64
}

// An otherRef is where records stand that make no rows.
type otherRef struct {
	off         uint64
	sort        uint8
	records     uint64
	first, last order
}

// A chunkRef is where a chunk stands, and what it begins with:
//
//	 0 family   1 size class   2 first port (2)   4 rows (2)   6 zero (2)
//	 8 external address (16)   24 offset (8)      32 length of the payload (4)   36 zero (4)
//	40 least beginning (8)     48 greatest reach (8)
type chunkRef struct {
	family   family
	size     uint8
	first    uint16
	rows     uint16
	length   uint32
	ext      number
	off      uint64
	from, to logging.Millis
}

const chunkRefSize = 56

func appendTime(b []byte, t logging.Millis) []byte { return binary.AppendUvarint(b, sinceYearOne(t)) }

func appendOrder(b []byte, o order) []byte {
	b = binary.AppendUvarint(b, o.era)
	return binary.AppendUvarint(appendTime(b, o.max), o.rank)
}

func (s *summary) append(b []byte) []byte {
	b = append(b, typeSummary)
	for _, v := range [...]uint64{s.rows, s.begins, s.ends, s.interims, s.others} {
		b = binary.AppendUvarint(b, v)
	}
	for _, t := range [...]logging.Millis{s.minFrom, s.maxReach, s.minTime, s.maxTime} {
		b = appendTime(b, t)
	}
	b = binary.LittleEndian.AppendUint32(b, s.sizes)
	b = appendOrder(b, s.last)
	b = binary.AppendUvarint(b, uint64(len(s.runs)))
	for _, r := range s.runs {
		b = appendOrder(appendOrder(binary.AppendUvarint(b, r.gen), r.first), r.last)
	}
	b = binary.AppendUvarint(b, uint64(len(s.hosts)))
	for _, h := range s.hosts {
		b = appendText(b, h.host)
		b = binary.AppendUvarint(b, uint64(h.instance))
		b = binary.AppendUvarint(b, h.epoch)
		b = appendTime(appendTime(b, h.first), h.last)
	}
	b = binary.AppendUvarint(b, uint64(len(s.filters)))
	for _, f := range s.filters {
		b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, f.off), f.chunk), f.chunks)
	}
	b = binary.AppendUvarint(b, uint64(len(s.refs)))
	for _, o := range s.refs {
		b = append(binary.AppendUvarint(b, o.off), o.sort)
		b = appendOrder(appendOrder(binary.AppendUvarint(b, o.records), o.first), o.last)
	}
	b = binary.AppendUvarint(b, uint64(len(s.chunks)))
	for i := range s.chunks {
		b = s.chunks[i].append(b)
	}
	return b
}

func (c *chunkRef) append(b []byte) []byte {
	b = append(b, byte(c.family), c.size)
	b = binary.LittleEndian.AppendUint16(b, c.first)
	b = binary.LittleEndian.AppendUint32(b, uint32(c.rows))
	b = binary.BigEndian.AppendUint64(b, c.ext.hi)
	b = binary.BigEndian.AppendUint64(b, c.ext.lo)
	b = binary.LittleEndian.AppendUint64(b, c.off)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.length))
	b = binary.LittleEndian.AppendUint64(b, sinceYearOne(c.from))
	return binary.LittleEndian.AppendUint64(b, sinceYearOne(c.to))
}

func (c *chunkRef) parse(b []byte) bool {
	le := binary.LittleEndian
	from, to := le.Uint64(b[40:]), le.Uint64(b[48:])
	*c = chunkRef{
		family: family(b[0]), size: b[1], first: le.Uint16(b[2:]), rows: le.Uint16(b[4:]), length: le.Uint32(b[32:]),
		ext: number{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, off: le.Uint64(b[24:]),
		from: logging.Millis(from) + yearOne, to: logging.Millis(to) + yearOne,
	}
	return c.family.valid() && c.size <= 16 && c.length <= maxPayload && from <= allTime && to <= allTime && c.off < 1<<62
}

func (d *decoder) time() logging.Millis { return logging.Millis(d.number(allTime)) + yearOne }

func (d *decoder) order() order { return order{d.uvarint(), d.time(), d.uvarint()} }

// count reads how many things follow, of which each takes at least size bytes.
func (d *decoder) count(size int) int { return int(d.number(uint64(len(d.b) / size))) }

func (s *summary) parse(b []byte) error {
	d := decoder{b: b}
	if d.byte() != typeSummary {
		return errFormat
	}
	for _, v := range [...]*uint64{&s.rows, &s.begins, &s.ends, &s.interims, &s.others} {
		*v = d.uvarint()
	}
	for _, t := range [...]*logging.Millis{&s.minFrom, &s.maxReach, &s.minTime, &s.maxTime} {
		*t = d.time()
	}
	s.sizes = uint32(d.uint16()) | uint32(d.uint16())<<16
	s.last = d.order()
	for range d.count(7) {
		s.runs = append(s.runs, run{d.uvarint(), d.order(), d.order()})
	}
	for range d.count(5) {
		s.hosts = append(s.hosts, hostRun{d.text(), uint32(d.number(1<<32 - 1)), d.uvarint(), d.time(), d.time()})
	}
	for range d.count(3) {
		s.filters = append(s.filters, filterRef{d.uvarint(), d.uvarint(), d.uvarint()})
	}
	for range d.count(9) {
		s.refs = append(s.refs, otherRef{d.uvarint(), d.byte(), d.uvarint(), d.order(), d.order()})
	}
	n := d.count(chunkRefSize)
	if d.bad || len(d.b) != n*chunkRefSize {
		return errFormat
	}
	s.chunks = make([]chunkRef, n)
	for i := range s.chunks {
		if !s.chunks[i].parse(d.b[i*chunkRefSize:]) {
			return errFormat
		}
	}
	return nil
}
