package ipfix

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"github.com/blocknat/blocknat/logging"
)

// Errors of records that cannot be exported. They are refusals, because what is
// not exported must not be lost in silence, and all are logging.ErrRecord.
var (
	// ErrNoHost means that the event demands a source address and the record
	// has none, but at most a SubscriberID, which no element carries.
	ErrNoHost = fmt.Errorf("ipfix: %w: it has no internal address", logging.ErrRecord)
	// ErrExternal means that the event demands an external IPv4 address and
	// the record has none; RFC 8158 has no event with an external IPv6 one.
	ErrExternal = fmt.Errorf("ipfix: %w: it has no external IPv4 address", logging.ErrRecord)
	// ErrTooLarge means that the record alone does not fit in a message.
	ErrTooLarge = fmt.Errorf("ipfix: %w: it does not fit in a message of Config.MTU octets", logging.ErrRecord)
)

// An Exporter is a logging.Log that writes IPFIX or NetFlow9 messages, one Write
// each, as a connected UDP socket wants it. It is safe for concurrent use.
//
// Kinds that RFC 8158 has no event for (configuration epochs, interim records
// unless asked for, a few quotas and thresholds) are accepted and counted as
// skipped. When Write fails, the record is refused; in batches the record that
// did not fit any more is refused, and the full message stays and is tried again
// by the next Append or Flush with the same sequence number. Write must take a
// message as a whole: after a part of one a stream is of no use and is to be
// opened again (see Restart).
type Exporter struct {
	mu    sync.Mutex
	w     io.Writer
	c     Config
	stats Stats

	fields [shapeCount][]uint16
	sizes  [shapeCount]int    // octets of a data record, realms not counted
	ids    [shapeCount]uint16 // template ids; 0: not used yet
	nextID uint16
	poolID uint16 // id of the options template of pool names

	announced uint32 // shapes whose templates were sent
	resend    bool   // send all of them again before the next message
	sentAt    logging.Millis
	sentAgo   int // messages since then
	seq       uint32
	msg       message
	aux       message // messages of templates alone
}

// Stats counts what an Exporter did.
type Stats struct {
	Records   uint64 // records accepted, those skipped included
	Skipped   uint64 // records of kinds that have no event
	Refused   uint64 // records refused
	Messages  uint64 // messages written
	Bytes     uint64 // octets written
	Templates uint64 // templates written, also again
}

// NewExporter returns an Exporter to w. Its error joins a *ConfigError for each
// fault of c.
func NewExporter(w io.Writer, c Config) (*Exporter, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	e := &Exporter{w: w, c: c, nextID: c.FirstTemplate, seq: c.Sequence, resend: len(c.Pools) > 0}
	e.msg.init(&e.c)
	e.aux.init(&e.c)
	for s := range shapeCount {
		e.fields[s] = append([]uint16(nil), mandatory[s]...)
		if !c.Mandatory {
			e.fields[s] = append(e.fields[s], optional(s)...)
		}
		if c.Realms && hasRealms(s) {
			e.fields[s] = append(e.fields[s], ieInternalRealm, ieExternalRealm)
		}
		for _, ie := range e.fields[s] {
			if n := lengthOf(ie); n != variable {
				e.sizes[s] += int(n)
			}
		}
	}
	return e, nil
}

// Append exports r.
func (e *Exporter) Append(r *logging.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.append(r)
	if err != nil {
		e.stats.Refused++
		return err
	}
	e.stats.Records++
	return nil
}

func (e *Exporter) append(r *logging.Record) error {
	var v values
	switch err := v.set(r, &e.c); {
	case err != nil:
		return err
	case v.shape == shapeNone:
		e.stats.Skipped++
		return nil
	}
	if !e.put(&v) {
		if e.msg.records == 0 {
			e.msg.reset()
			return ErrTooLarge
		}
		if err := e.send(); err != nil {
			return err
		}
		if !e.put(&v) {
			e.msg.reset()
			return ErrTooLarge
		}
	}
	if e.c.Batch {
		return nil
	}
	if err := e.send(); err != nil {
		e.msg.reset()
		return err
	}
	return nil
}

// put writes the data records of v to the open message, the template before
// them where the collector has not seen it. It returns false, and leaves the
// message as it was, where they do not fit.
func (e *Exporter) put(v *values) bool {
	before := e.msg
	if e.ids[v.shape] == 0 {
		e.ids[v.shape] = e.nextID
		e.nextID++
	}
	bit := uint32(1) << v.shape
	if (e.announced|e.msg.templates)&bit == 0 {
		e.msg.template(e.ids[v.shape], e.fields[v.shape])
		e.msg.templates |= bit
	}
	e.msg.open(e.ids[v.shape])
	for i := range v.protocols {
		v.protocol = v.protocolList[i]
		e.msg.buf = v.appendData(e.msg.buf, e.fields[v.shape], e.sizes[v.shape])
		e.msg.records++
		e.msg.data++
	}
	e.msg.time = max(e.msg.time, v.r.Time)
	if e.msg.size() > e.c.MTU {
		buf := e.msg.buf[:len(before.buf)]
		e.msg = before
		e.msg.buf = buf
		return false
	}
	return true
}

// send writes the open message, and the templates before it where they are due.
func (e *Exporter) send() error {
	if e.c.Now != nil {
		e.msg.time = e.c.Now()
	}
	if e.due(e.msg.time) {
		if err := e.sendTemplates(e.msg.time); err != nil {
			return err
		}
	}
	if err := e.write(&e.msg); err != nil {
		return err
	}
	e.announced |= e.msg.templates
	e.msg.reset()
	return nil
}

// due reports whether all templates are to be sent again at an instant.
func (e *Exporter) due(now logging.Millis) bool {
	if e.resend {
		return true
	}
	if e.announced == 0 {
		return false
	}
	return e.c.TemplateInterval > 0 && now-e.sentAt >= logging.Millis(e.c.TemplateInterval.Milliseconds()) ||
		e.c.TemplateMessages > 0 && e.sentAgo >= e.c.TemplateMessages
}

// write sends m, which stays as it is.
func (e *Exporter) write(m *message) error {
	b := m.finish(&e.c, e.seq)
	n, err := e.w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	if e.announced == 0 && e.sentAt == 0 {
		e.sentAt = m.time
	}
	if e.c.Version == NetFlow9 {
		e.seq++ // RFC 3954 counts packets
	} else {
		e.seq += uint32(m.data) // RFC 7011 counts data records
	}
	e.sentAgo++
	e.stats.Messages++
	e.stats.Bytes += uint64(len(b))
	e.stats.Templates += uint64(m.records - m.data)
	return nil
}

// Flush sends the records that wait in a batch.
func (e *Exporter) Flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.msg.data == 0 {
		return nil
	}
	return e.send()
}

// Resend sends all templates again where they are due at now, for times in which
// no records come.
func (e *Exporter) Resend(now logging.Millis) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.due(now) {
		return nil
	}
	return e.sendTemplates(now)
}

// Restart begins a new transport session on w: the sequence number is 0 and all
// templates are sent before the next message.
func (e *Exporter) Restart(w io.Writer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w, e.seq, e.resend = w, 0, true
}

// Abandon forgets the records of an open batch, which count as accepted, for
// callers that offer them again, as to a new transport session.
func (e *Exporter) Abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.msg.reset()
}

// Stats returns the counts.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// values is a record as its data records need it.
type values struct {
	event
	r            *logging.Record
	host         netip.Addr
	host4        uint32
	external     uint32
	remote       uint32
	time         logging.Millis
	protocol     byte
	protocols    int // data records: one for each of protocolList
	protocolList [3]byte
}

func (v *values) set(r *logging.Record, c *Config) error {
	v.r, v.time = r, r.Time
	v.event = classify(r)
	if r.Kind == logging.BlockInterim {
		if !c.Interim {
			v.shape = shapeNone
		}
		v.time = r.Allocated
	}
	if v.shape == shapeNone {
		return nil
	}
	v.host = r.Subscriber.Unmap()
	if r.Internal.IsValid() {
		v.host = r.Internal.Addr().Unmap()
	}
	remote := r.Remote.Addr().Unmap()
	if c.Remotes && v.shape == shapeSession4 && remote.Is4() {
		v.shape, v.remote = shapeRemote4, packed(remote)
	}
	if needsExternal(v.shape) {
		x := r.External.Unmap()
		if !x.Is4() {
			return ErrExternal
		}
		v.external = packed(x)
	}
	if needsHost(v.shape) {
		if !v.host.IsValid() {
			return ErrNoHost
		}
		if v.host.Is6() {
			v.event = v.family6()
		} else {
			v.host4 = packed(v.host)
		}
	}
	v.setProtocols()
	return nil
}

// packed returns an IPv4 address as a number.
func packed(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// setProtocols lists the protocols of r. A block that covers all port spaces
// has no protocol element and is one data record; else there is one for each
// space, as an exhaustion of ports is told for each protocol.
func (v *values) setProtocols() {
	v.protocols = 1
	if v.r.Protocol != 0 || v.shape == shapeBlock4 || v.shape == shapeBlock6 {
		v.protocolList[0] = v.r.Protocol
		return
	}
	n := 0
	for _, one := range [...]struct {
		space  logging.Spaces
		number byte
	}{{logging.TCP, 6}, {logging.UDP, 17}, {logging.ICMP, 1}} {
		if v.r.Spaces&one.space != 0 {
			v.protocolList[n] = one.number
			n++
		}
	}
	switch v.shape {
	case shapeBlockProtocol4, shapeBlockProtocol6, shapePorts:
		v.protocols = max(n, 1)
	}
}
