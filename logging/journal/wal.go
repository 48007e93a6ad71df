package journal

import (
	"errors"
	"io"
	"io/fs"

	"github.com/blocknat/blocknat/logging"
)

// A walReader reads the records of one write-ahead log, also while it grows.
type walReader struct {
	name   string
	src    *source
	h      header
	frames *frameReader
	told   int  // damage of frames that was reported
	whole  bool // it is known where the log ends
}

// errEmpty means that a log has no header yet: it is just being made, or a crash
// kept it from being made. It never held a record.
var errEmpty = errors.New("journal: a log without a header")

// openWAL opens a write-ahead log. Its errors are errEmpty, errHeader where the
// header of a log with records is damaged, and those of the file system.
func openWAL(fsys fs.FS, gen uint64) (*walReader, error) {
	name := walName(gen)
	src, err := openSource(fsys, name)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(src, walMagic)
	if err == nil && h.first != gen {
		err = errHeader
	}
	if err != nil {
		src.Close()
		if errors.Is(err, errHeader) && src.size <= fileHeader {
			err = errEmpty
		}
		return nil, err
	}
	return &walReader{name: name, src: src, h: h, frames: newFrameReader(src, fileHeader, src.size, h.seed())}, nil
}

func (w *walReader) Close() error { return w.src.Close() }

// limit says how much of the log counts; what a writer gave up lies behind.
func (w *walReader) limit(end uint64) {
	if end < uint64(w.frames.end) {
		w.frames.end = int64(end)
	}
	w.whole = end != wholeLog
}

// grow takes up what was written to the log since.
func (w *walReader) grow() error {
	size, err := w.src.length()
	if err == nil {
		w.frames.grow(size)
	}
	return err
}

// next reads the next record, or returns io.EOF at the end of what is there.
// What is damaged is passed over and reported to damage. So is an incomplete
// record at the end if the log is known to have been longer; otherwise it was never accepted,
// or is just being written.
func (w *walReader) next(r *logging.Record, damage func(*DamageError)) error {
	for {
		payload, off, err := w.frames.next()
		for ; w.told < len(w.frames.damage); w.told++ {
			d := w.frames.damage[w.told]
			damage(&DamageError{File: w.name, From: d.from, To: d.to, What: "the records there are lost"})
		}
		if err == io.EOF && w.whole && w.frames.torn > 0 {
			damage(&DamageError{File: w.name, From: w.frames.end - w.frames.torn, To: w.frames.end, What: "the records there are lost"})
		}
		if err != nil {
			return err
		}
		if parseRecord(payload, r) == nil {
			return nil
		}
		damage(&DamageError{File: w.name, From: off, To: w.frames.off, What: "a record is in no known form"})
	}
}

// lostLog returns an empty log in place of one that cannot be opened because
// its header is damaged or was never written, and nil where err is another one.
func lostLog(gen, end uint64, err error, damage func(*DamageError)) *walReader {
	switch {
	case errors.Is(err, errHeader), errors.Is(err, errEmpty) && end != wholeLog && end > fileHeader:
		damage(&DamageError{File: walName(gen), What: "its header is damaged; its records are lost"})
	case !errors.Is(err, errEmpty):
		return nil
	}
	return &walReader{
		name: walName(gen), src: &source{memory(nil), 0, noFile{}}, h: header{first: gen},
		frames: newFrameReader(memory(nil), 0, 0, 0),
	}
}

// noFile stands for a file that cannot be read.
type noFile struct{}

func (noFile) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (noFile) Read([]byte) (int, error)   { return 0, io.EOF }
func (noFile) Close() error               { return nil }

// endOf returns how much of a log counts, which the log of the next generation
// knows if there is one.
func endOf(fsys fs.FS, gen uint64) uint64 {
	w, err := openWAL(fsys, gen+1)
	if err != nil {
		return wholeLog
	}
	defer w.Close()
	return w.h.last
}

// readWAL calls f for each record of one log, of which so much counts.
func readWAL(fsys fs.FS, gen, end uint64, damage func(*DamageError), f func(r *logging.Record) error) error {
	w, err := openWAL(fsys, gen)
	if err != nil {
		if w = lostLog(gen, end, err, damage); w == nil {
			return err
		}
	}
	defer w.Close()
	w.limit(end)
	var r logging.Record
	for {
		if err := w.next(&r, damage); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
	}
}
