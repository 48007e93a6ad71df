package netsink

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
)

// conn is a connection that counts its octets and bounds each Write in time.
type conn struct {
	net.Conn
	timeout time.Duration
	octets  uint64 // written
	writes  uint64
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	c.octets += uint64(max(n, 0))
	c.writes++
	return n, err
}

// An output turns records into what is written to one connection after another.
type output interface {
	// reset begins anew on a connection, without what an older one left.
	reset(c *conn)
	// add takes a record, which may be written now or by flush. An error that
	// is logging.ErrRecord concerns the record alone; errSkipped says that the
	// format has no word for the record's kind.
	add(r *logging.Record) error
	flush() error
	// refresh does what is due on a connection without records.
	refresh(now time.Time) error
}

var errSkipped = errors.New("netsink: no event for this kind")

// gather is how many octets of a stream are written at once, about.
const gather = 16 << 10

// maxDatagram is the most octets of a UDP datagram over IPv4.
const maxDatagram = 65507

// messages writes what an Encoder makes: one datagram a record, or a stream.
type messages struct {
	enc    logging.Encoder
	stream bool
	c      *conn
	buf    []byte
}

func (m *messages) reset(c *conn) { m.c, m.buf = c, m.buf[:0] }

func (m *messages) add(r *logging.Record) error {
	m.buf = m.enc.AppendRecord(m.buf, r)
	switch {
	case !m.stream && len(m.buf) > maxDatagram:
		n := len(m.buf)
		m.buf = m.buf[:0]
		return fmt.Errorf("netsink: %w: %d octets do not fit in a datagram", logging.ErrRecord, n)
	case m.stream && len(m.buf) < gather:
		return nil
	}
	return m.flush()
}

func (m *messages) flush() error {
	if len(m.buf) == 0 {
		return nil
	}
	_, err := m.c.Write(m.buf)
	m.buf = m.buf[:0]
	return err
}

func (m *messages) refresh(time.Time) error { return nil }

// flows writes IPFIX or NetFlow 9 messages.
type flows struct{ x *ipfix.Exporter }

func (f *flows) reset(c *conn) {
	f.x.Abandon()
	f.x.Restart(c)
}

func (f *flows) add(r *logging.Record) error {
	skipped := f.x.Stats().Skipped
	if err := f.x.Append(r); err != nil {
		return err
	}
	if f.x.Stats().Skipped != skipped {
		return errSkipped
	}
	return nil
}

func (f *flows) flush() error { return f.x.Flush() }

func (f *flows) refresh(now time.Time) error { return f.x.Resend(logging.MillisOf(now)) }
