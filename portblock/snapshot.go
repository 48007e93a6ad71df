package portblock

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A snapshot is: 4 bytes of magic with the version in the last, the layout's
// fingerprint (8 bytes), the state, and the CRC-32 (IEEE) of all that (4
// bytes). Numbers are big-endian. The length follows from the state, so
// snapshots can stand one after the other.

const (
	addressMagic = "PBA\x01"
	holdingMagic = "PBH\x01"
	headerBytes  = 4 + 8
)

func (l *Layout) appendHeader(dst []byte, magic string) []byte {
	return binary.BigEndian.AppendUint64(append(dst, magic...), l.print)
}

// seal appends the checksum of what was appended since start.
func seal(dst []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}

// snapshotReader reads numbers off a byte slice; after the first read beyond
// the end all reads give 0 and short is true.
type snapshotReader struct {
	src   []byte
	used  int
	short bool
}

// open checks the header.
func (l *Layout) open(src []byte, magic string) (*snapshotReader, error) {
	r := &snapshotReader{src: src}
	if len(src) < headerBytes || string(src[:4]) != magic {
		return nil, fmt.Errorf("%w: no %q header", ErrSnapshot, magic)
	}
	r.used = 4
	if r.u64() != l.print {
		return nil, ErrSnapshotLayout
	}
	return r, nil
}

func (r *snapshotReader) next(n int) []byte {
	if r.short || len(r.src)-r.used < n {
		r.short = true
		return make([]byte, 8)
	}
	r.used += n
	return r.src[r.used-n : r.used]
}

func (r *snapshotReader) u16() uint16 { return binary.BigEndian.Uint16(r.next(2)) }
func (r *snapshotReader) u32() uint32 { return binary.BigEndian.Uint32(r.next(4)) }
func (r *snapshotReader) u64() uint64 { return binary.BigEndian.Uint64(r.next(8)) }
func (r *snapshotReader) u8() uint8   { return r.next(1)[0] }

// time reads a time and says whether it is one that the package writes.
func (r *snapshotReader) time() (int64, bool) {
	t := int64(r.u64())
	return t, t >= -1<<60 && t <= 1<<60
}

// close checks length and checksum; the state must not be used before.
func (r *snapshotReader) close() error {
	end := r.used
	sum := r.u32()
	if r.short {
		return fmt.Errorf("%w: cut short", ErrSnapshot)
	}
	if sum != crc32.ChecksumIEEE(r.src[:end]) {
		return fmt.Errorf("%w: checksum differs", ErrSnapshot)
	}
	return nil
}
