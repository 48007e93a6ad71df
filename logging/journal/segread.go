package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/blocknat/blocknat/logging"
)

// A segment is a segment's file, or one of open intervals, opened for reading.
// Its index is in memory, its rows are read when they are asked for.
type segment struct {
	name string
	span span
	open bool // the rows are open intervals, which reach to the end of time
	src  *source
	h    header
	seed uint32
	sum  summary

	report  func(*DamageError)
	partial bool // something was lost, so that other segments may have records of its generations alone
}

// openSegment opens a segment. Where its index is damaged it is made anew from
// the rows that are left.
func openSegment(fsys fs.FS, name string, s span, magic string, report func(*DamageError)) (*segment, error) {
	src, err := openSource(fsys, name)
	if err != nil {
		return nil, err
	}
	g := &segment{name: name, span: s, open: magic == openMagic, src: src, report: report}
	g.h, err = readHeader(src, magic)
	if err != nil {
		if !errors.Is(err, errHeader) {
			src.Close()
			return nil, err
		}
		// Without the id no frame can be told from other bytes.
		g.damaged(0, src.size, "its header is damaged; all that it holds is lost")
		g.src.size, g.partial = 0, true
		g.empty()
		return g, nil
	}
	g.seed = g.h.seed()
	if err := g.readSummary(); err != nil {
		if err := g.salvage(); err != nil {
			src.Close()
			return nil, err
		}
	}
	return g, nil
}

func (g *segment) empty() {
	g.sum = summary{minFrom: lastTime, maxReach: yearOne, minTime: lastTime, maxTime: yearOne, last: order{max: yearOne}}
}

func (g *segment) damaged(from, to int64, what string) {
	g.report(&DamageError{File: g.name, From: from, To: to, What: what})
}

func (g *segment) Close() error { return g.src.Close() }

// readSummary reads the index by the trailer.
func (g *segment) readSummary() error {
	var t [trailerSize]byte
	if g.src.size < fileHeader+trailerSize {
		return errFormat
	}
	if _, err := g.src.ReadAt(t[:], g.src.size-trailerSize); err != nil && err != io.EOF {
		return err
	}
	if string(t[8:16]) != trailerMagic || crc32.Update(g.seed, castagnoli, t[:16]) != binary.LittleEndian.Uint32(t[16:]) {
		return errFormat
	}
	off := binary.LittleEndian.Uint64(t[:])
	if off < fileHeader || off > uint64(g.src.size-trailerSize) {
		return errFormat
	}
	f := newFrameReader(g.src, int64(off), g.src.size-trailerSize, g.seed)
	b, err := f.whole(int64(off))
	if err != nil {
		return err
	}
	if b == nil {
		return errFormat
	}
	g.empty()
	return g.sum.parse(b[frameHeader:])
}

// salvage makes the index from the frames that are whole.
func (g *segment) salvage() error {
	g.empty()
	g.partial = true
	f := newFrameReader(g.src, fileHeader, g.src.size, g.seed)
	// The writer's code counts rows and remembers places; what it writes goes nowhere.
	w := newSegmentWriter(nowhere{}, segMagic, g.span)
	var c chunk
	var cache shapeCache
	type place struct {
		off    int64
		length int
	}
	var chunks []place
	first, last, any := order{}, order{max: yearOne}, false
	note := func(o order) {
		if !any || o.compare(first) < 0 {
			first = o
		}
		if !any || o.compare(last) > 0 {
			last = o
		}
		any = true
	}
	for {
		b, off, err := f.next()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		switch {
		case len(b) > 0 && b[0] == typeChunk && c.parse(b, &cache) == nil:
			w.rows = w.rows[:0]
			ok := true
			for i := range c.n {
				var r row
				if ok = c.row(i, &r) == nil; !ok {
					break
				}
				if r.shape.form.hasA() {
					note(r.orderA())
				}
				if r.shape.form.hasB() {
					note(r.orderB())
				}
				w.rows = append(w.rows, r)
			}
			if !ok {
				g.damaged(off, f.off, "intervals there are in no known form")
				continue
			}
			ref := w.describe()
			w.sum.chunks = append(w.sum.chunks, ref)
			chunks = append(chunks, place{off, len(b)})
		case len(b) > 0 && b[0] == typeOthers:
			ref, err := parseOthers(b, func(o *other) { note(o.order); w.seen(o.r.Host, o.r.Instance, o.r.Epoch, o.r.Time) })
			if err != nil {
				g.damaged(off, f.off, "records there are in no known form")
				continue
			}
			ref.off = uint64(off)
			w.sum.refs = append(w.sum.refs, ref)
			w.sum.others += ref.records
		}
	}
	g.sum = w.sum
	for i, p := range chunks {
		g.sum.chunks[i].off, g.sum.chunks[i].length = uint64(p.off), uint32(p.length)
	}
	// The chunks of a file that was not tampered with are in order already.
	sort.SliceStable(g.sum.chunks, func(i, k int) bool { return g.sum.chunks[i].before(&g.sum.chunks[k]) })
	if any {
		g.sum.last = last
		g.sum.runs = []run{{g.span.first, first, last}}
	}
	for _, d := range f.damage {
		g.damaged(d.from, d.to, "the intervals and records there are lost, unless it was the index")
	}
	g.damaged(g.src.size-f.torn, g.src.size, "the index was not found; what is whole before is read without it, what stood there is lost")
	return nil
}

// nowhere is a file that keeps nothing.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }
func (nowhere) Sync() error                 { return nil }
func (nowhere) Truncate(int64) error        { return nil }

// before orders chunks by what they begin with.
func (c *chunkRef) before(d *chunkRef) bool {
	return c.compareKey(d.family, d.ext, d.size, d.first) < 0
}

func (c *chunkRef) compareKey(f family, ext number, size uint8, first uint16) int {
	if n := compareNumber(c.family, c.ext, f, ext); n != 0 {
		return n
	}
	if c.size != size {
		return int(c.size) - int(size)
	}
	return int(c.first) - int(first)
}

// scratch is what reading a chunk needs.
type scratch struct {
	b     []byte
	c     chunk
	cache shapeCache
	r     row
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// frame reads the payload of the frame at off. It returns nil where that is damaged.
func (g *segment) frame(off uint64, length int, sc *scratch) ([]byte, error) {
	n := frameHeader + length
	if off > uint64(g.src.size) || uint64(n) > uint64(g.src.size)-off {
		return nil, nil
	}
	if cap(sc.b) < n {
		sc.b = make([]byte, n+n/4)
	}
	b := sc.b[:n]
	if got, err := g.src.ReadAt(b, int64(off)); got < n {
		if err == nil || err == io.EOF {
			return nil, nil
		}
		return nil, err
	}
	if binary.LittleEndian.Uint32(b[4:]) != uint32(length)|frameMark<<24 || frameSum(b, int64(off), g.seed) != binary.LittleEndian.Uint32(b) {
		return nil, nil
	}
	return b[frameHeader:], nil
}

// chunk reads the i-th chunk into sc.c. It returns false, and reports, where
// the chunk is damaged.
func (g *segment) chunk(i int, sc *scratch) (bool, error) {
	ref := &g.sum.chunks[i]
	b, err := g.frame(ref.off, int(ref.length), sc)
	if err != nil {
		return false, err
	}
	if b == nil || sc.c.parse(b, &sc.cache) != nil {
		g.lost(i)
		return false, nil
	}
	return true, nil
}

func (g *segment) lost(i int) {
	ref := &g.sum.chunks[i]
	what := "the intervals there are lost"
	if a := ref.ext.addr(ref.family, ""); a.IsValid() {
		what = "intervals of " + a.String() + " and what follows it are lost"
	}
	g.damaged(int64(ref.off), int64(ref.off)+frameHeader+int64(ref.length), what)
}

// parseOthers calls f for each record of a frame of other records.
func parseOthers(b []byte, f func(*other)) (otherRef, error) {
	d := decoder{b: b}
	if d.byte() != typeOthers {
		return otherRef{}, errFormat
	}
	var o other
	var ref otherRef
	for len(d.b) > 0 {
		o.order = d.order()
		text := d.take(int(d.number(uint64(len(d.b)))))
		if d.bad || parseRecord(text, &o.r) != nil {
			return ref, errFormat
		}
		if ref.records == 0 {
			ref.first = o.order
			if o.r.Kind == logging.ConfigEpoch {
				ref.sort = sortEpoch
			}
		}
		ref.records++
		ref.last = o.order
		f(&o)
	}
	return ref, nil
}

// others calls f for each record of the i-th frame of other records.
func (g *segment) others(i int, sc *scratch, f func(*other)) error {
	ref := &g.sum.refs[i]
	var head [frameHeader]byte
	if ref.off > uint64(g.src.size) {
		return nil
	}
	if n, err := g.src.ReadAt(head[:], int64(ref.off)); n < len(head) && err != nil && err != io.EOF {
		return err
	}
	length := int(binary.LittleEndian.Uint32(head[4:]) & maxPayload)
	b, err := g.frame(ref.off, length, sc)
	if err != nil {
		return err
	}
	if b != nil {
		_, err = parseOthers(b, f)
	}
	if b == nil || err != nil {
		g.damaged(int64(ref.off), int64(ref.off)+frameHeader+int64(length), "records of other kinds there are lost")
	}
	return nil
}

// findSize calls f for the rows of a size class whose first port is low to
// high, that begin at or before last and reach first or later. The row is good until f returns.
func (g *segment) findSize(fam family, ext number, size uint8, low, high uint16, first, last logging.Millis, sc *scratch, f func(*row)) error {
	refs := g.sum.chunks
	// The chunk before the first one that begins at low or later may hold such rows too.
	at := sort.Search(len(refs), func(i int) bool { return refs[i].compareKey(fam, ext, size, low) >= 0 })
	for i := max(at-1, 0); i < len(refs) && refs[i].compareKey(fam, ext, size, high) <= 0; i++ {
		if refs[i].from > last || !g.open && refs[i].to < first {
			continue
		}
		ok, err := g.chunk(i, sc)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if !g.scan(fam, ext, size, low, high, first, last, sc, f) {
			g.lost(i)
		}
	}
	return nil
}

// compareAt compares the place of row i of the chunk with a key.
func (c *chunk) compareAt(i int, fam family, ext number, size uint8, first uint16) int {
	s := c.shapeOf(i)
	if s == nil {
		return -1
	}
	if n := compareNumber(s.ext, number{c.columns[colExtHi].at(i), c.columns[colExtLo].at(i)}, fam, ext); n != 0 {
		return n
	}
	if n := int(s.size()) - int(size); n != 0 {
		return n
	}
	return compare(c.columns[colFirst].at(i), uint64(first))
}

// scan calls f for rows of the chunk in sc. It returns false where the chunk breaks the format.
func (g *segment) scan(fam family, ext number, size uint8, low, high uint16, first, last logging.Millis, sc *scratch, f func(*row)) bool {
	c := &sc.c
	i := sort.Search(c.n, func(i int) bool { return c.compareAt(i, fam, ext, size, low) >= 0 })
	for ; i < c.n && c.compareAt(i, fam, ext, size, high) <= 0; i++ {
		s := c.shapeOf(i)
		if s == nil {
			return false
		}
		from, reach := c.reach(i, s)
		if from > last || !g.open && reach < first {
			continue
		}
		if c.row(i, &sc.r) != nil {
			return false
		}
		f(&sc.r)
	}
	return true
}
