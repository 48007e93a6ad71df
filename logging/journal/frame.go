package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file of a journal is a header and frames. A frame carries its own checksum,
// which covers the file's id and the frame's place, so that no other bytes pass
// for it and a reader finds the next frame behind damage:
//
//	 0         4         8
//	+---------+---------+------------- - - - --+
//	| CRC-32C | A5 | n  | payload of n bytes   |
//	+---------+---------+------------- - - - --+
//	           7      4     little endian
const (
	frameHeader = 8
	frameMark   = 0xA5
	maxPayload  = 1<<24 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Magic numbers of the kinds of files.
const (
	walMagic  = "BNJWAL1\n"
	segMagic  = "BNJSEG1\n"
	openMagic = "BNJOPN1\n"
)

// header is the beginning of every file. It is there twice, because without
// the id nothing of the file can be told from other bytes:
//
//	magic (8)  id (8)  first (8)  last (8)  CRC-32C of these (4)   and all again
type header struct {
	magic string
	id    [8]byte
	// first and last are the generations that the file holds. In a write-ahead
	// log last is, instead, the end of what counts of the log before.
	first, last uint64
}

const (
	headerSize = 36
	fileHeader = 2 * headerSize
)

// wholeLog as last of a write-ahead log's header: all of the log before counts.
const wholeLog = 1<<64 - 1

func (h *header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, h.magic...)
	dst = append(dst, h.id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, h.first)
	dst = binary.LittleEndian.AppendUint64(dst, h.last)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
	return append(dst, dst[at:]...)
}

var errHeader = errors.New("journal: a file's header is damaged")

func readHeader(r io.ReaderAt, magic string) (header, error) {
	var b [fileHeader]byte
	n, err := r.ReadAt(b[:], 0)
	if n < len(b) && err != nil && err != io.EOF {
		return header{}, err
	}
	for at := 0; at+headerSize <= n; at += headerSize {
		h := b[at : at+headerSize]
		if string(h[:8]) == magic && crc32.Checksum(h[:32], castagnoli) == binary.LittleEndian.Uint32(h[32:]) {
			return header{magic, [8]byte(h[8:16]), binary.LittleEndian.Uint64(h[16:]), binary.LittleEndian.Uint64(h[24:])}, nil
		}
	}
	return header{}, errHeader
}

// seed begins the checksum of every frame of the file.
func (h *header) seed() uint32 { return crc32.Checksum(h.id[:], castagnoli) }

// beginFrame makes room for a frame's header; endFrame fills it in once the
// payload stands behind it. at is where in dst the frame begins, off where in the file.
func beginFrame(dst []byte) []byte { return append(dst, 0, 0, 0, 0, 0, 0, 0, 0) }

func endFrame(dst []byte, at int, off int64, seed uint32) {
	f := dst[at:]
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHeader)|frameMark<<24)
	binary.LittleEndian.PutUint32(f, frameSum(f, off, seed))
}

// frameSum is CRC-32C over the file's id, the frame's offset as 8 bytes, and
// the frame from its byte 4 on.
func frameSum(f []byte, off int64, seed uint32) uint32 {
	// The offset goes byte by byte, because a slice of it would be garbage each time.
	sum := ^seed
	for shift := 0; shift < 64; shift += 8 {
		sum = castagnoli[byte(sum)^byte(off>>shift)] ^ sum>>8
	}
	return crc32.Update(^sum, castagnoli, f[4:])
}

// A frameReader walks over the frames of a file and finds the next one behind damage.
type frameReader struct {
	r    io.ReaderAt
	end  int64 // where frames end
	seed uint32

	off    int64  // of the next frame
	buf    []byte // the file from bufOff on
	bufOff int64

	damage []damaged
	torn   int64
	wasted int64 // bytes of payloads that were read in vain
}

// damaged is a run of bytes that is no frame.
type damaged struct{ from, to int64 }

// window is how much is read at once. Searching for frames behind damage may
// read payloads in vain; it is given up after the file was read searchFactor times.
const (
	window       = 1 << 18
	searchFactor = 64
)

func newFrameReader(r io.ReaderAt, from, end int64, seed uint32) *frameReader {
	return &frameReader{r: r, off: from, end: end, seed: seed}
}

// bytes returns n bytes from off on, or nil if the file ends before.
func (f *frameReader) bytes(off int64, n int) ([]byte, error) {
	if off+int64(n) > f.end {
		return nil, nil
	}
	if off >= f.bufOff && off+int64(n) <= f.bufOff+int64(len(f.buf)) {
		return f.buf[off-f.bufOff:][:n], nil
	}
	want := int(min(int64(max(n, window)), f.end-off))
	if cap(f.buf) < want {
		f.buf = make([]byte, want)
	}
	f.buf = f.buf[:want]
	f.bufOff = off
	got, err := f.r.ReadAt(f.buf, off)
	f.buf = f.buf[:got]
	if got < n {
		if err == nil || err == io.EOF {
			return nil, nil // the file was cut meanwhile
		}
		return nil, err
	}
	return f.buf[:n], nil
}

// whole returns the frame at off, or nil if there is none.
func (f *frameReader) whole(off int64) ([]byte, error) {
	b, err := f.bytes(off, frameHeader)
	if b == nil {
		return nil, err
	}
	if b[7] != frameMark {
		return nil, nil
	}
	n := int(binary.LittleEndian.Uint32(b[4:]) & maxPayload)
	b, err = f.bytes(off, frameHeader+n)
	if b == nil {
		return nil, err
	}
	if frameSum(b, off, f.seed) != binary.LittleEndian.Uint32(b) {
		f.wasted += int64(n)
		return nil, nil
	}
	return b, nil
}

// next returns the payload of the next frame and its offset, or io.EOF. The
// payload is good until the next call. Damage on the way is noted. At the end,
// torn tells how many bytes there are no whole frame; the reader stays before
// them, in case the file grows.
func (f *frameReader) next() (payload []byte, off int64, err error) {
	from, at := f.off, f.off
	b, err := f.whole(at)
	for b == nil && err == nil {
		at++
		if f.wasted > searchFactor*(f.end+window) {
			at = f.end
		}
		// Most bytes are not the mark, so the search looks for that first.
		var head []byte
		if head, err = f.bytes(at, frameHeader); err != nil {
			break
		}
		if head == nil {
			f.torn = max(f.end-from, 0)
			return nil, 0, io.EOF
		}
		if head[7] == frameMark {
			b, err = f.whole(at)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if from < at {
		f.damage = append(f.damage, damaged{from, at})
	}
	f.off = at + int64(len(b))
	return b[frameHeader:], at, nil
}

// grow takes up what was written to the file since.
func (f *frameReader) grow(end int64) {
	if end > f.end {
		f.end, f.buf, f.torn = end, f.buf[:0], 0
	}
}

// A DamageError reports a part of a journal that cannot be read. What it says
// nothing of is intact.
type DamageError struct {
	Journal string // the directory, where it is known
	File    string
	From    int64 // the damaged bytes, From included, To not
	To      int64
	What    string // what is lost
}

func (e *DamageError) Error() string {
	file := e.File
	if e.Journal != "" {
		file = e.Journal + "/" + e.File
	}
	return fmt.Sprintf("journal: %s is damaged from byte %d to %d: %s", file, e.From, e.To, e.What)
}
