package ipfix

import (
	"encoding/binary"
	"slices"

	"github.com/blocknat/blocknat/logging"
)

// A message is one that is being built:
//
//	header | set | set | ...        set: id, length, records
//
// Each run of records of one template is a set. NetFlow9 calls sets FlowSets
// and pads them to four octets.
type message struct {
	buf       []byte
	nf9       bool
	set       int    // where the open data set begins; 0: none
	setID     uint16 // its template
	records   int    // templates and data records
	data      int    // data records, those of options included
	templates uint32 // shapes whose templates are in it
	time      logging.Millis
}

const (
	headerIPFIX = 16
	headerNF9   = 20

	// Ids of sets of templates and options templates.
	setTemplatesIPFIX, setOptionsIPFIX = 2, 3
	setTemplatesNF9, setOptionsNF9     = 0, 1
)

func (m *message) init(c *Config) {
	m.nf9 = c.Version == NetFlow9
	m.buf = make([]byte, 0, c.MTU+256)
	m.reset()
}

func (m *message) reset() {
	header := headerIPFIX
	if m.nf9 {
		header = headerNF9
	}
	clear(m.buf[:header]) // init made room for it
	*m = message{buf: m.buf[:header], nf9: m.nf9}
}

// size returns the length that the message has when it is finished now.
func (m *message) size() int {
	if m.nf9 {
		return (len(m.buf) + 3) &^ 3
	}
	return len(m.buf)
}

// open makes id the template of the data records that follow.
func (m *message) open(id uint16) {
	if m.set != 0 && m.setID == id {
		return
	}
	m.begin(id)
	m.setID = id
}

// begin closes the open set and begins one with the given id.
func (m *message) begin(id uint16) {
	m.close()
	m.set, m.setID = len(m.buf), 0
	m.buf = append16(append16(m.buf, id), 0)
}

func (m *message) close() {
	if m.set == 0 {
		return
	}
	for m.nf9 && len(m.buf)%4 != 0 {
		m.buf = append(m.buf, 0)
	}
	binary.BigEndian.PutUint16(m.buf[m.set+2:], uint16(len(m.buf)-m.set))
	m.set = 0
}

// template appends a set with the template of the given elements.
func (m *message) template(id uint16, fields []uint16) {
	set := uint16(setTemplatesIPFIX)
	if m.nf9 {
		set = setTemplatesNF9
	}
	m.begin(set)
	m.buf = append16(append16(m.buf, id), uint16(len(fields)))
	for _, ie := range fields {
		m.buf = append16(append16(m.buf, ie), lengthOf(ie))
	}
	m.records++
	m.close()
}

// finish closes the message, writes its header and returns it. More can be
// appended to it afterwards.
func (m *message) finish(c *Config, seq uint32) []byte {
	m.close()
	seconds := uint32(m.time / 1000)
	b := m.buf
	binary.BigEndian.PutUint16(b, uint16(c.Version))
	if m.nf9 {
		binary.BigEndian.PutUint16(b[2:], uint16(m.records))
		uptime := logging.Millis(0)
		if boot := logging.MillisOf(c.Boot); boot != 0 {
			uptime = max(0, m.time-boot)
		}
		binary.BigEndian.PutUint32(b[4:], uint32(uptime))
		b = b[4:]
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	binary.BigEndian.PutUint32(b[4:], seconds)
	binary.BigEndian.PutUint32(b[8:], seq)
	binary.BigEndian.PutUint32(b[12:], c.Domain)
	return m.buf
}

func append16(b []byte, v uint16) []byte { return append(b, byte(v>>8), byte(v)) }

func append32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// appendData appends one data record of size octets, realms not counted. Room
// for the elements of fixed length is made once and filled by position; realms
// come last.
func (v *values) appendData(b []byte, fields []uint16, size int) []byte {
	r := v.r
	b = slices.Grow(b, size)
	d := b[len(b) : len(b)+size]
	b = b[:len(b)+size]
	for _, ie := range fields {
		n := 4
		switch ie {
		case ieTime:
			binary.BigEndian.PutUint64(d, uint64(v.time))
			n = 8
		case ieEvent:
			d[0] = v.number
			n = 1
		case ieSourceIPv4:
			binary.BigEndian.PutUint32(d, v.host4)
		case ieSourceIPv6:
			a := v.host.As16()
			n = copy(d, a[:])
		case iePostSourceIPv4:
			binary.BigEndian.PutUint32(d, v.external)
		case iePortStart, iePostSourcePort:
			binary.BigEndian.PutUint16(d, r.First)
			n = 2
		case iePortEnd:
			binary.BigEndian.PutUint16(d, r.Last)
			n = 2
		case iePortStep:
			binary.BigEndian.PutUint16(d, max(r.Step, 1))
			n = 2
		case iePortCount:
			binary.BigEndian.PutUint16(d, portCount(r))
			n = 2
		case iePoolID:
			binary.BigEndian.PutUint32(d, r.PoolID)
		case ieInstance:
			binary.BigEndian.PutUint32(d, r.Instance)
		case ieProtocol:
			d[0] = v.protocol
			n = 1
		case ieSourcePort:
			binary.BigEndian.PutUint16(d, r.Internal.Port())
			n = 2
		case ieQuotaEvent, ieThresholdEvent:
			binary.BigEndian.PutUint32(d, v.sub)
		case ieDestIPv4, iePostDestIPv4:
			binary.BigEndian.PutUint32(d, v.remote)
		case ieDestPort, iePostDestPort:
			binary.BigEndian.PutUint16(d, r.Remote.Port())
			n = 2
		case ieInternalRealm:
			b = appendVariable(b, r.Realm)
			n = 0
		case ieExternalRealm:
			b = appendVariable(b, r.ExternalRealm)
			n = 0
		default: // the limits and marks, 471 to 481
			binary.BigEndian.PutUint32(d, r.Max)
		}
		d = d[n:]
	}
	return b
}

// portCount returns the number of ports of a block. All 65536 do not fit in
// the element, which then says 65535.
func portCount(r *logging.Record) uint16 {
	n := r.Last - r.First
	if r.Step > 1 {
		n /= r.Step
	}
	if n == 65535 {
		return n
	}
	return n + 1
}

// appendVariable appends a value of variable length: its length in one octet,
// or 255 and the length in two (RFC 7011 section 7).
func appendVariable(b []byte, s string) []byte {
	if len(s) < 255 {
		b = append(b, byte(len(s)))
	} else {
		b = append16(append(b, 255), uint16(len(s)))
	}
	return append(b, s...)
}
