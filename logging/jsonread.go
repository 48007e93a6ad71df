package logging

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// maxLine bounds a JSON line. A record that Check accepts stays far below it,
// even if every byte of its text becomes an escape of six.
const maxLine = 1 << 20

// ReadJSON yields the records of a stream of JSON lines in order. A damaged line
// gives an error (a *SyntaxError with the line's number) and the reading goes on
// behind it; an error of r ends it. Empty lines are skipped; a line above 1 MiB
// counts as damaged.
func ReadJSON(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		br := bufio.NewReaderSize(r, 1<<16)
		var long []byte
		for line := int64(1); ; line++ {
			b, tooLong, err := readLine(br, &long)
			switch {
			case tooLong:
				if !yield(Record{}, &SyntaxError{Line: line, Offset: maxLine, Msg: "line above 1 MiB"}) {
					return
				}
			case len(bytes.TrimSpace(b)) > 0:
				rec, _, perr := ParseJSON(b)
				if se, ok := perr.(*SyntaxError); ok {
					se.Line = line
				}
				if !yield(rec, perr) {
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Record{}, err)
				}
				return
			}
		}
	}
}

// readLine returns the next line, which stays valid until the next call. Of a
// line above maxLine it reads all and keeps nothing.
func readLine(br *bufio.Reader, long *[]byte) (b []byte, tooLong bool, err error) {
	b, err = br.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return b, false, err
	}
	*long = (*long)[:0]
	for {
		if !tooLong {
			*long = append(*long, b...)
			tooLong = len(*long) > maxLine
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return *long, tooLong, err
		}
		b, err = br.ReadSlice('\n')
	}
}
