package spool

import (
	"bufio"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/blocknat/blocknat/logging"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const hexDigits = "0123456789abcdef"

// appendLine appends the line of record seq.
func appendLine(dst []byte, seq uint64, r *logging.Record) []byte {
	start := len(dst)
	dst = append(dst, "00000000 "...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, ' ')
	dst = logging.JSON{}.AppendRecord(dst, r)
	seal(dst[start:])
	return dst
}

// appendPosition appends the line of the file "acked".
func appendPosition(dst []byte, seq uint64) []byte {
	start := len(dst)
	dst = append(strconv.AppendUint(append(dst, "00000000 "...), seq, 10), '\n')
	seal(dst[start:])
	return dst
}

// seal writes the checksum of a line, without its line feed, to its front.
func seal(line []byte) {
	sum := crc32.Checksum(line[9:len(line)-1], castagnoli)
	for i := range 8 {
		line[i] = hexDigits[sum>>(28-4*i)&15]
	}
}

// parseLine returns the number and the payload of a line, which is empty in
// "acked"; ok is false where the line is not as it was written.
func parseLine(line []byte) (seq uint64, payload []byte, ok bool) {
	if len(line) < 11 || line[len(line)-1] != '\n' || line[8] != ' ' {
		return 0, nil, false
	}
	body := line[9 : len(line)-1]
	sum := uint32(0)
	for _, c := range line[:8] {
		i := bytes.IndexByte([]byte(hexDigits), c)
		if i < 0 {
			return 0, nil, false
		}
		sum = sum<<4 | uint32(i)
	}
	if sum != crc32.Checksum(body, castagnoli) {
		return 0, nil, false
	}
	number, payload, _ := bytes.Cut(body, []byte(" "))
	seq, err := strconv.ParseUint(string(number), 10, 64)
	return seq, payload, err == nil && seq < maxSeq
}

// maxSeq keeps numbers from wrapping, whatever a file says.
const maxSeq = 1 << 63

// maxLine is above the longest line that appendLine makes.
const maxLine = 1 << 20

// readLine returns the next line with its line feed, valid until the next call.
// What is longer than maxLine comes as an empty line.
func readLine(br *bufio.Reader, long *[]byte) ([]byte, error) {
	b, err := br.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return b, err
	}
	*long = (*long)[:0]
	tooLong := false
	for {
		if tooLong = tooLong || len(*long)+len(b) > maxLine; !tooLong {
			*long = append(*long, b...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if tooLong {
				return nil, err
			}
			return *long, err
		}
		b, err = br.ReadSlice('\n')
	}
}

// scan reads the lines of a segment and returns the length up to the last line
// feed, the highest number in it, and how many damaged lines follow that.
func scan(r io.Reader) (end int64, last uint64, behind int, err error) {
	c := &counter{r: r}
	br := bufio.NewReaderSize(c, 1<<16)
	var long []byte
	for {
		b, err := readLine(br, &long)
		at := c.n - int64(br.Buffered())
		if err == nil {
			end = at
			seq, _, ok := parseLine(b)
			switch {
			case ok && seq > last:
				last, behind = seq, 0
			case !bytes.HasSuffix(b, []byte(spoiler)):
				behind++
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return end, last, behind, nil
		}
		return end, last, behind, err
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
