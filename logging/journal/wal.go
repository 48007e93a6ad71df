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
	told   int // damage of frames that was reported
}

// openWAL opens a write-ahead log. A log whose header is not whole yet holds
// nothing: the error is errHeader.
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
}

// next reads the next record, or returns io.EOF at the end of what is there.
// What is damaged is passed over and reported to damage: not a record that the
// end of the file cuts, which was never accepted or is just being written.
func (w *walReader) next(r *logging.Record, damage func(*DamageError)) error {
	for {
		payload, off, err := w.frames.next()
		for ; w.told < len(w.frames.damage); w.told++ {
			if d := w.frames.damage[w.told]; d.to < w.frames.end || err == nil {
				damage(&DamageError{File: w.name, From: d.from, To: d.to, What: "the records there are lost"})
			}
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

// torn returns how many bytes at the end are no whole record.
func (w *walReader) torn() int64 {
	if n := len(w.frames.damage); n > 0 && w.frames.damage[n-1].to == w.frames.end {
		return w.frames.end - w.frames.damage[n-1].from
	}
	return 0
}

// readWALs calls f for each record of the logs, which come in order.
func readWALs(fsys fs.FS, gens []uint64, damage func(*DamageError), f func(gen uint64, r *logging.Record) error) error {
	for i, gen := range gens {
		if err := readWAL(fsys, gen, i+1 < len(gens) && gens[i+1] == gen+1, damage, func(r *logging.Record) error { return f(gen, r) }); err != nil {
			return err
		}
	}
	return nil
}

// readWAL calls f for each record of one log; next says whether the log of the
// next generation is there, which knows how much of this one counts.
func readWAL(fsys fs.FS, gen uint64, next bool, damage func(*DamageError), f func(r *logging.Record) error) error {
	end := uint64(wholeLog)
	if next {
		if w, err := openWAL(fsys, gen+1); err == nil {
			end = w.h.last
			w.Close()
		}
	}
	w, err := openWAL(fsys, gen)
	if errors.Is(err, errHeader) {
		if next { // the writer went on, so this one was whole once
			damage(&DamageError{File: walName(gen), What: "its header is damaged; its records are lost"})
		}
		return nil
	} else if err != nil {
		return err
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
