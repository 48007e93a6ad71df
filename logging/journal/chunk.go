package journal

import (
	"encoding/binary"

	"github.com/blocknat/blocknat/logging"
)

// A chunk is a frame of up to chunkRows rows, in columns:
//
//	type      1 byte, 2
//	rows      2 bytes
//	shapes    uvarint how many, then each: uvarint length, bytes
//	ids       uvarint how many, then each SubscriberID: uvarint length, bytes
//	columns   numColumns of them, in the order below
const (
	typeChunk = 2
	chunkRows = 512
)

// The columns of a chunk.
const (
	colShape = iota // which of the chunk's shapes
	colExtHi
	colExtLo
	colFirst
	colFrom     // milliseconds since year 1
	colDuration // from the beginning to timeB, or back where the shape says so
	colSubHi
	colSubLo
	colUsedA
	colUsedB
	colDelayA // timeA less from, zigzag
	colLagA
	colRankA
	colLagB
	colRankB
	colID // 0: none, else which of the chunk's ids, from 1
	colInternalHi
	colInternalLo
	colInternalPort
	colRemoteHi
	colRemoteLo
	colRemotePort
	colState // open intervals only

	numColumns
)

// Times are written as milliseconds since 0001-01-01T00:00:00Z.
const (
	yearOne  logging.Millis = -62135596800000
	lastTime logging.Millis = 253402300799999
	allTime                 = uint64(lastTime - yearOne)
)

func sinceYearOne(t logging.Millis) uint64 { return uint64(t - yearOne) }

// appendShape appends the shape's fields in the order of the struct.
func appendShape(b []byte, s *shape) []byte {
	b = append(b, byte(s.form), byte(s.kind), byte(s.spaces), s.protocol, s.subscriberBits,
		byte(s.ext), byte(s.sub), byte(s.internal), byte(s.remote))
	for _, v := range [...]uint64{uint64(s.span), uint64(s.step), uint64(s.instance), uint64(s.pool), uint64(s.class)} {
		b = binary.AppendUvarint(b, v)
	}
	for _, e := range [...]*event{&s.a, &s.b} {
		b = append(b, e.flags, byte(e.reason), byte(e.resource))
		for _, v := range [...]uint64{uint64(e.max), uint64(e.suppressed), e.epoch, e.era} {
			b = binary.AppendUvarint(b, v)
		}
		b = appendText(b, e.detail)
	}
	for _, t := range [...]string{s.extZone, s.subZone, s.internalZone, s.remoteZone, s.realm, s.extRealm, s.host, s.poolName} {
		b = appendText(b, t)
	}
	return b
}

// parseShape reads what appendShape wrote.
func parseShape(b []byte) (*shape, bool) {
	d := decoder{b: b}
	s := &shape{form: form(d.byte()), kind: logging.Kind(d.byte()), spaces: logging.Spaces(d.byte()), protocol: d.byte(), subscriberBits: d.byte(),
		ext: family(d.byte()), sub: family(d.byte()), internal: family(d.byte()), remote: family(d.byte())}
	s.span, s.step = uint16(d.number(1<<16-1)), uint16(d.number(1<<16-1))
	s.instance, s.pool, s.class = uint32(d.number(1<<32-1)), uint32(d.number(1<<32-1)), uint32(d.number(1<<32-1))
	for _, e := range [...]*event{&s.a, &s.b} {
		e.flags, e.reason, e.resource = d.byte(), logging.Reason(d.byte()), logging.Resource(d.byte())
		e.max, e.suppressed, e.epoch, e.era = uint32(d.number(1<<32-1)), uint32(d.number(1<<32-1)), d.uvarint(), d.uvarint()
		e.detail = d.text()
	}
	for _, t := range [...]*string{&s.extZone, &s.subZone, &s.internalZone, &s.remoteZone, &s.realm, &s.extRealm, &s.host, &s.poolName} {
		*t = d.text()
	}
	kind, _ := opening(s.kind)
	ok := !d.bad && len(d.b) == 0 && kind == s.kind && s.form >= formBegin && s.form <= formHeld &&
		s.ext.valid() && s.ext != familyNone && s.sub.valid() && s.internal.valid() && s.remote.valid() &&
		s.a.flags&^allFlags == 0 && s.b.flags&^allFlags == 0
	return s, ok
}

// A chunkWriter makes chunks of rows.
type chunkWriter struct {
	shapes []*shape
	ids    []string
	places map[string]int
	values [numColumns][chunkRows]uint64
	text   []byte
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// append appends the chunk of rows, 1 to chunkRows of them.
func (c *chunkWriter) append(b []byte, rows []row) []byte {
	c.shapes, c.ids = c.shapes[:0], c.ids[:0]
	clear(c.places)
	for i := range rows {
		c.set(i, &rows[i])
	}
	b = append(b, typeChunk)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(rows)))
	b = binary.AppendUvarint(b, uint64(len(c.shapes)))
	for _, s := range c.shapes {
		c.text = appendShape(c.text[:0], s)
		b = binary.AppendUvarint(b, uint64(len(c.text)))
		b = append(b, c.text...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.ids)))
	for _, id := range c.ids {
		b = appendText(b, id)
	}
	for k := range c.values {
		b = appendColumn(b, c.values[k][:len(rows)])
	}
	return b
}

// set fills in the columns of row i.
func (c *chunkWriter) set(i int, w *row) {
	v := &c.values
	v[colShape][i] = c.shape(w.shape)
	v[colExtHi][i], v[colExtLo][i], v[colFirst][i] = w.ext.hi, w.ext.lo, uint64(w.first)
	v[colFrom][i] = sinceYearOne(w.from)
	duration := w.timeB - w.from
	if w.shape.b.flags&beforeFrom != 0 {
		duration = -duration
	}
	v[colDuration][i] = uint64(duration)
	v[colSubHi][i], v[colSubLo][i] = w.sub.hi, w.sub.lo
	v[colUsedA][i], v[colUsedB][i] = uint64(w.usedA), uint64(w.usedB)
	v[colDelayA][i] = zigzag(int64(w.timeA - w.from))
	v[colLagA][i], v[colRankA][i], v[colLagB][i], v[colRankB][i] = w.lagA, w.rankA, w.lagB, w.rankB
	v[colID][i] = c.id(w.id)
	x := w.endpoints()
	v[colInternalHi][i], v[colInternalLo][i], v[colInternalPort][i] = x.internal.hi, x.internal.lo, uint64(x.internalPort)
	v[colRemoteHi][i], v[colRemoteLo][i], v[colRemotePort][i] = x.remote.hi, x.remote.lo, uint64(x.remotePort)
	v[colState][i] = w.state.pack()
}

// shape returns the place of a shape in the chunk's list. Rows next to each other mostly share it.
func (c *chunkWriter) shape(s *shape) uint64 {
	for i := len(c.shapes) - 1; i >= 0; i-- {
		if c.shapes[i] == s || *c.shapes[i] == *s {
			return uint64(i)
		}
	}
	c.shapes = append(c.shapes, s)
	return uint64(len(c.shapes) - 1)
}

func (c *chunkWriter) id(id string) uint64 {
	if id == "" {
		return 0
	}
	if c.places == nil {
		c.places = map[string]int{}
	}
	n, ok := c.places[id]
	if !ok {
		c.ids = append(c.ids, id)
		n = len(c.ids)
		c.places[id] = n
	}
	return uint64(n)
}

// A chunk is a frame of rows that was read. It refers to the frame's bytes.
type chunk struct {
	n       int
	shapes  []*shape
	ids     []string
	columns [numColumns]column
}

// parse reads the payload of a frame. Shapes are kept in known, which may be nil.
func (c *chunk) parse(b []byte, known *shapeCache) error {
	d := decoder{b: b}
	if d.byte() != typeChunk {
		return errFormat
	}
	c.n = int(d.uint16())
	c.shapes, c.ids = c.shapes[:0], c.ids[:0]
	for range d.number(uint64(min(c.n, len(d.b)))) {
		s, ok := known.shape(d.take(int(d.number(uint64(len(d.b))))))
		if d.bad || !ok {
			return errFormat
		}
		c.shapes = append(c.shapes, s)
	}
	for range d.number(uint64(min(c.n, len(d.b)))) {
		c.ids = append(c.ids, d.text())
	}
	if d.bad || c.n == 0 || c.n > chunkRows || len(c.shapes) == 0 {
		return errFormat
	}
	rest, ok := d.b, true
	for k := range c.columns {
		if rest, ok = c.columns[k].parse(rest, c.n); !ok {
			return errFormat
		}
	}
	if len(rest) != 0 {
		return errFormat
	}
	return nil
}

// shapeOf returns the shape of row i, or nil where the chunk breaks the format.
func (c *chunk) shapeOf(i int) *shape {
	if k := c.columns[colShape].at(i); k < uint64(len(c.shapes)) {
		return c.shapes[k]
	}
	return nil
}

// row reads row i.
func (c *chunk) row(i int, w *row) error {
	v := func(col int) uint64 { return c.columns[col].at(i) }
	s := c.shapeOf(i)
	if s == nil {
		return errFormat
	}
	from, first, duration, id := v(colFrom), v(colFirst), v(colDuration), v(colID)
	delay, lagA, lagB := unzigzag(v(colDelayA)), v(colLagA), v(colLagB)
	if from > allTime || first+uint64(s.span) > 1<<16-1 || first > 1<<16-1 || duration > allTime || id > uint64(len(c.ids)) ||
		delay < -int64(allTime) || delay > int64(allTime) || lagA > allTime || lagB > allTime {
		return errFormat
	}
	*w = row{
		shape: s, ext: number{v(colExtHi), v(colExtLo)}, sub: number{v(colSubHi), v(colSubLo)},
		first: uint16(first), usedA: uint32(v(colUsedA)), usedB: uint32(v(colUsedB)),
		from: logging.Millis(from) + yearOne, lagA: lagA, rankA: v(colRankA), lagB: lagB, rankB: v(colRankB),
		state: unpackState(v(colState)),
	}
	w.timeA = w.from + logging.Millis(delay)
	w.timeB = w.from + logging.Millis(duration)
	if s.b.flags&beforeFrom != 0 {
		w.timeB = w.from - logging.Millis(duration)
	}
	latest := max(w.timeA, w.timeB) + logging.Millis(max(lagA, lagB))
	if min(w.timeA, w.timeB) < yearOne || latest > 2*lastTime || max(w.timeA, w.timeB) > lastTime {
		return errFormat
	}
	if id > 0 {
		w.id = c.ids[id-1]
	}
	if s.internal != familyNone || s.remote != familyNone || v(colInternalPort) != 0 || v(colRemotePort) != 0 {
		w.ends = &endpoints{
			internal: number{v(colInternalHi), v(colInternalLo)}, internalPort: uint16(v(colInternalPort)),
			remote: number{v(colRemoteHi), v(colRemoteLo)}, remotePort: uint16(v(colRemotePort)),
		}
	}
	return nil
}

// reach returns what row.reach would, and the beginning, without reading the row.
func (c *chunk) reach(i int, s *shape) (from, reach logging.Millis) {
	from = logging.Millis(min(c.columns[colFrom].at(i), allTime)) + yearOne
	reach = from
	if s.b.flags&beforeFrom == 0 {
		reach += logging.Millis(min(c.columns[colDuration].at(i), allTime))
	}
	if delay := unzigzag(c.columns[colDelayA].at(i)); delay > 0 {
		reach = max(reach, from+logging.Millis(min(uint64(delay), allTime)))
	}
	return from, reach
}

// A shapeCache keeps shapes by their bytes, because the same ones stand in
// chunk after chunk.
type shapeCache struct{ m map[string]*shape }

const maxShapes = 1 << 12

func (k *shapeCache) shape(b []byte) (*shape, bool) {
	if k == nil {
		return parseShape(b)
	}
	if s, ok := k.m[string(b)]; ok {
		return s, true
	}
	s, ok := parseShape(b)
	if !ok {
		return nil, false
	}
	if k.m == nil || len(k.m) >= maxShapes {
		k.m = map[string]*shape{}
	}
	k.m[string(b)] = s
	return s, true
}
