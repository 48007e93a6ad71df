package logging

import (
	"fmt"
	"io"
	"sync"
)

// MessageWriter is a Log that encodes each record as a message and writes it to
// an io.Writer with one call of Write, for formats that need no line feed: a
// datagram each on a connected UDP socket, or messages with their length in
// front on a stream. It is safe for concurrent use.
//
// A record is accepted when the whole message was written. An error is not
// sticky, except after a part of a message: a stream is then of no use, and
// every later record is refused with that error until Reset gives another one.
type MessageWriter struct {
	mu     sync.Mutex
	w      io.Writer
	enc    Encoder
	buf    []byte
	stats  WriterStats
	broken error
}

// NewMessageWriter returns a MessageWriter of messages of enc to w. Without either, it refuses every record.
func NewMessageWriter(w io.Writer, enc Encoder) *MessageWriter {
	return &MessageWriter{w: w, enc: enc}
}

// Append writes r as one message, or returns the error of Write.
func (m *MessageWriter) Append(r *Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		m.stats.Refused++
		return m.broken
	}
	if m.w == nil || m.enc == nil {
		m.stats.Refused++
		return errIncomplete
	}
	m.buf = m.enc.AppendRecord(m.buf[:0], r)
	n, err := m.w.Write(m.buf)
	n = min(max(n, 0), len(m.buf))
	m.stats.Bytes += uint64(n)
	if n == len(m.buf) {
		m.stats.Records++
		return nil
	}
	if err == nil {
		err = errShort
	}
	if n > 0 {
		m.stats.Torn++
		m.broken = fmt.Errorf("logging: stream broken in a message: %w", err)
	}
	m.stats.Refused++
	return err
}

// Reset goes on with w, as after a new connection.
func (m *MessageWriter) Reset(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.w, m.broken = w, nil
}

// Stats returns the counts.
func (m *MessageWriter) Stats() WriterStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}
