package journal

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"

	"github.com/blocknat/blocknat/logging"
)

// other is a record that makes no row, and its place in the order.
type other struct {
	order
	r logging.Record
}

// Sorts of frames of other records. Configuration epochs stand apart, because a
// query needs all of them.
const (
	sortOther = iota
	sortEpoch
)

const typeOthers = 3

// A segmentWriter writes a segment: rows and other records, each in their
// order, then finish.
//
//	header  [chunks, filters, others ...]  summary  trailer
//
// The trailer is 20 bytes: offset of the summary's frame (8), "BNJEND1\n", and
// CRC-32C of the file's id and these 16 bytes.
type segmentWriter struct {
	f    file
	w    *bufio.Writer
	h    header
	off  int64
	seed uint32
	sum  summary
	err  error

	rows    []row
	chunk   chunkWriter
	frame   []byte
	filters []byte // the filters of chunks since the last frame of them
	waiting int    // how many
	hashes  map[uint64]struct{}

	others [2]othersFrame
	hosts  map[hostRun]int // by host, instance and epoch
}

// othersFrame collects other records for a frame:
//
//	type      1 byte, 3
//	records   each: order, uvarint length, bytes as in a write-ahead log
type othersFrame struct {
	b           []byte
	n           uint64
	first, last order
}

const (
	trailerMagic = "BNJEND1\n"
	trailerSize  = 20
	othersSize   = 1 << 16 // of a frame of other records, about
)

func newSegmentWriter(f file, magic string, s span) *segmentWriter {
	w := &segmentWriter{
		f: f, w: bufio.NewWriterSize(f, 1<<16), h: header{magic: magic, first: s.first, last: s.last},
		rows: make([]row, 0, chunkRows), hashes: map[uint64]struct{}{}, hosts: map[hostRun]int{},
	}
	rand.Read(w.h.id[:])
	w.seed = w.h.seed()
	w.sum.minFrom, w.sum.minTime = lastTime, lastTime
	w.sum.maxReach, w.sum.maxTime = yearOne, yearOne
	w.sum.last.max = yearOne
	w.write(w.h.append(nil))
	return w
}

func (w *segmentWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	w.off += int64(len(b))
}

// end writes the frame that stands in w.frame, and returns where.
func (w *segmentWriter) end() (off uint64, length int) {
	if len(w.frame)-frameHeader > maxPayload && w.err == nil {
		w.err = errFormat // a caller keeps segments well below
	}
	off, length = uint64(w.off), len(w.frame)-frameHeader
	endFrame(w.frame, 0, w.off, w.seed)
	w.write(w.frame)
	return off, length
}

// add writes a row, which comes behind all rows before.
func (w *segmentWriter) add(r *row) {
	w.rows = append(w.rows, *r)
	if len(w.rows) == chunkRows {
		w.endChunk()
	}
}

func (w *segmentWriter) endChunk() {
	if len(w.rows) == 0 {
		return
	}
	w.frame = w.chunk.append(beginFrame(w.frame[:0]), w.rows)
	if len(w.frame)-frameHeader > maxPayload && len(w.rows) > 1 {
		// Rows with very long texts: fewer of them in a chunk.
		rows := append([]row(nil), w.rows...)
		half := len(rows) / 2
		w.rows = append(w.rows[:0], rows[:half]...)
		w.endChunk()
		w.rows = append(w.rows[:0], rows[half:]...)
		w.endChunk()
		return
	}
	ref := w.describe()
	off, length := w.end()
	ref.off, ref.length = off, uint32(length)
	w.sum.chunks = append(w.sum.chunks, ref)
	w.filters = appendFilter(w.filters, w.rows, w.hashes)
	if w.waiting++; w.waiting == filtersPerFrame {
		w.endFilters()
	}
	w.rows = w.rows[:0]
}

// describe counts the rows of a chunk and makes its entry of the index.
func (w *segmentWriter) describe() chunkRef {
	first := &w.rows[0]
	ref := chunkRef{
		family: first.shape.ext.plain(), size: first.shape.size(), first: first.first, rows: uint16(len(w.rows)),
		ext: first.ext, from: lastTime, to: yearOne,
	}
	s := &w.sum
	for i := range w.rows {
		r := &w.rows[i]
		ref.from, ref.to = min(ref.from, r.from), max(ref.to, r.reach())
		s.rows++
		s.sizes |= 1 << r.shape.size()
		f := r.shape.form
		if f.hasA() {
			s.begins++
			w.seen(r.shape.host, r.shape.instance, r.shape.a.epoch, r.timeA)
		}
		if f.hasB() {
			w.seen(r.shape.host, r.shape.instance, r.shape.b.epoch, r.timeB)
			if f == formInterim {
				s.interims++
			} else {
				s.ends++
			}
		}
	}
	s.minFrom, s.maxReach = min(s.minFrom, ref.from), max(s.maxReach, ref.to)
	return ref
}

// seen notes a record of a host's epoch.
func (w *segmentWriter) seen(host string, instance uint32, epoch uint64, t logging.Millis) {
	w.sum.minTime, w.sum.maxTime = min(w.sum.minTime, t), max(w.sum.maxTime, t)
	if k := len(w.sum.hosts) - 1; k >= 0 {
		if h := &w.sum.hosts[k]; h.host == host && h.instance == instance && h.epoch == epoch {
			h.first, h.last = min(h.first, t), max(h.last, t)
			return
		}
	}
	w.sawHost(hostRun{host, instance, epoch, t, t})
}

const maxHosts = 1 << 14

// sawHost merges what was seen of a host. So many epochs that the list would
// grow beyond all bounds are no epochs, and not kept.
func (w *segmentWriter) sawHost(h hostRun) {
	key := hostRun{host: h.host, instance: h.instance, epoch: h.epoch}
	k, ok := w.hosts[key]
	if !ok {
		if len(w.sum.hosts) >= maxHosts {
			return
		}
		w.hosts[key] = len(w.sum.hosts)
		w.sum.hosts = append(w.sum.hosts, h)
		return
	}
	e := &w.sum.hosts[k]
	e.first, e.last = min(e.first, h.first), max(e.last, h.last)
}

func (w *segmentWriter) endFilters() {
	if w.waiting == 0 {
		return
	}
	w.frame = append(append(beginFrame(w.frame[:0]), typeFilters), w.filters...)
	off, _ := w.end()
	n := uint64(w.waiting)
	w.sum.filters = append(w.sum.filters, filterRef{off, uint64(len(w.sum.chunks)) - n, n})
	w.filters, w.waiting = w.filters[:0], 0
}

// addOther writes a record that makes no row.
func (w *segmentWriter) addOther(o *other) {
	sort := sortOther
	if o.r.Kind == logging.ConfigEpoch {
		sort = sortEpoch
	}
	w.frame = appendRecord(w.frame[:0], &o.r)
	f := &w.others[sort]
	if f.n == 0 {
		f.first = o.order
	}
	f.last = o.order
	f.b = appendOrder(f.b, o.order)
	f.b = binary.AppendUvarint(f.b, uint64(len(w.frame)))
	f.b = append(f.b, w.frame...)
	f.n++
	w.sum.others++
	w.seen(o.r.Host, o.r.Instance, o.r.Epoch, o.r.Time)
	if len(f.b) >= othersSize {
		w.endOthers(sort)
	}
}

func (w *segmentWriter) endOthers(sort int) {
	f := &w.others[sort]
	if f.n == 0 {
		return
	}
	w.frame = append(append(beginFrame(w.frame[:0]), typeOthers), f.b...)
	off, _ := w.end()
	w.sum.refs = append(w.sum.refs, otherRef{off, uint8(sort), f.n, f.first, f.last})
	f.b, f.n = f.b[:0], 0
}

// finish writes what is left and makes the file last. The caller closes it.
func (w *segmentWriter) finish() error {
	w.endChunk()
	w.endFilters()
	for sort := range w.others {
		w.endOthers(sort)
	}
	if w.sum.rows == 0 {
		w.sum.minFrom = w.sum.maxReach
	}
	if w.sum.rows+w.sum.others == 0 {
		w.sum.minTime = w.sum.maxTime
	}
	w.frame = w.sum.append(beginFrame(w.frame[:0]))
	off, _ := w.end()
	t := binary.LittleEndian.AppendUint64(nil, off)
	t = append(t, trailerMagic...)
	w.write(binary.LittleEndian.AppendUint32(t, crc32.Update(w.seed, castagnoli, t)))
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	return w.err
}
