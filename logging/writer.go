package logging

import (
	"errors"
	"io"
	"sync"
)

// Writer is a Log that encodes each record as a line and writes it to an
// io.Writer with one call of Write. It is safe for concurrent use.
//
// A record is accepted when the whole line was written; what that means for the
// disk is the io.Writer's matter. An error is not sticky: the next Append tries
// again. When a Write fails midway, the record is refused, and the next record
// begins with a line feed that ends the fragment; it is never completed, because
// the caller took back what it announced. Readers report such a line and go on.
type Writer struct {
	mu    sync.Mutex
	w     io.Writer
	enc   Encoder
	buf   []byte
	stats WriterStats
	began bool // a byte was written; the header is behind us
	torn  bool // the last byte written is not a line feed
}

// WriterStats counts what a Writer did.
type WriterStats struct {
	Records uint64 // accepted
	Refused uint64 // not accepted because Write failed, or there is nothing to write with
	Torn    uint64 // lines of which only a part was written
	Bytes   uint64 // written
}

// A HeaderEncoder is an Encoder whose stream begins with a header, such as the
// names of CSV columns. A Writer writes it before the first record.
type HeaderEncoder interface {
	Encoder
	AppendHeader(dst []byte) []byte
}

// NewWriter returns a Writer of lines of enc to w. A Writer without either, and the zero Writer, refuse every record.
func NewWriter(w io.Writer, enc Encoder) *Writer { return &Writer{w: w, enc: enc} }

// errIncomplete is what a Writer gives that has nothing to write with.
var errIncomplete = errors.New("logging: nothing to write with: give NewWriter or NewMessageWriter an io.Writer and an Encoder")

// errShort is what a Write that breaks io.Writer's contract gives.
var errShort = errors.New("logging: short write without an error")

// Append writes r as one line, or returns the error of Write.
func (w *Writer) Append(r *Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.w == nil || w.enc == nil {
		w.stats.Refused++
		return errIncomplete
	}
	buf := w.buf[:0]
	if w.torn {
		buf = append(buf, '\n')
	}
	if h, ok := w.enc.(HeaderEncoder); ok && !w.began {
		buf = h.AppendHeader(buf)
	}
	head := len(buf)
	buf = w.enc.AppendRecord(buf, r)
	w.buf = buf
	n, err := w.w.Write(buf)
	n = min(max(n, 0), len(buf))
	w.stats.Bytes += uint64(n)
	if n > 0 {
		w.torn = buf[n-1] != '\n'
		w.began = w.began || n >= head
	}
	// A line that lacks nothing but its line feed is a whole record for every
	// reader, so it counts as accepted; the next record brings the line feed.
	if n >= len(buf)-1 && n > head {
		w.stats.Records++
		return nil
	}
	if err == nil {
		err = errShort
	}
	w.stats.Refused++
	if w.torn && n > head {
		w.stats.Torn++
	}
	return err
}

// Stats returns the counts.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
