package natcore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/blocknat/blocknat/mapping"
)

// reader reads a snapshot into an engine that nobody uses yet. After the first fault it reads zeros.
type reader struct {
	e   *Engine
	b   []byte
	at  int
	rnd *rand.ChaCha8 // secrets of the restored engine: other streams than those that were drawn before
	err error

	version byte
	mapped  map[*subscriber]int // ports of mappings that were read
	dropped []sessionNote       // static sessions that do not go on
}

func (r *reader) fail(err error, cause error, format string, args ...any) {
	if r.err == nil {
		r.err = &SnapshotError{r.at, fmt.Sprintf(format, args...), err, cause}
	}
}

func (r *reader) bad(format string, args ...any) { r.fail(ErrSnapshot, nil, format, args...) }

func (r *reader) other(format string, args ...any) { r.fail(ErrSnapshotConfig, nil, format, args...) }

// u reads a number of at most most.
func (r *reader) u(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 || v > most {
		r.bad("a number is cut or too large")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) i() int64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Varint(r.b[r.at:])
	if n <= 0 {
		r.bad("a number is cut or too large")
		return 0
	}
	r.at += n
	return v
}

// count reads the length of a list whose entries take at least size bytes each.
func (r *reader) count(size int) int { return int(r.u(uint64((len(r.b) - r.at) / size))) }

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n > len(r.b)-r.at {
		r.bad("it is cut")
		return make([]byte, min(n, 16))
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// most bounds of numbers.
const (
	most8  = 1<<8 - 1
	most16 = 1<<16 - 1
	most32 = 1<<32 - 1
)

func (r *reader) part() []byte {
	head := r.bytes(4)
	if r.err != nil {
		return nil
	}
	return r.bytes(int(min(uint64(binary.BigEndian.Uint32(head)), uint64(len(r.b)-r.at)+1)))
}

// time reads nanoseconds.
func (r *reader) time() time.Time {
	n := r.i()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (r *reader) key() subscriberKey {
	k := subscriberKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32)), pool: uint16(r.u(most16)), class: uint16(r.u(most16))}
	if r.err == nil && (int(k.pool) >= len(r.e.all()) || int(k.class) >= r.e.pools[k.pool].selection.classes()) {
		r.bad("a subscriber is of no pool")
		k = subscriberKey{}
	}
	return k
}

func (r *reader) endpoint() mapping.Endpoint {
	return mapping.Endpoint{Addr: uint32(r.u(most32)), Port: uint16(r.u(most16))}
}

// open checks header and checksum.
func (r *reader) open() {
	const head = len(snapshotMagic) + 1
	if len(r.b) < head+4 || string(r.b[:len(snapshotMagic)]) != snapshotMagic {
		r.bad("not a snapshot of an engine")
		return
	}
	if r.version = r.b[len(snapshotMagic)]; r.version < oldestSnapshot || r.version > snapshotVersion {
		r.bad("version %d; this release reads versions %d to %d: restore it with the release that wrote it", r.version, oldestSnapshot, snapshotVersion)
		return
	}
	end := len(r.b) - 4
	sum := crc32.Checksum(r.b[:end], crc32.MakeTable(crc32.Castagnoli))
	if binary.BigEndian.Uint32(r.b[end:]) != sum {
		r.bad("the checksum differs: it is cut or damaged")
		return
	}
	r.b, r.at = r.b[:end], head
	var seed [32 + 12]byte
	copy(seed[:], r.e.cfg.Seed[:])
	binary.BigEndian.PutUint64(seed[32:], uint64(r.e.began.UnixNano()))
	binary.BigEndian.PutUint32(seed[40:], sum)
	r.rnd = rand.NewChaCha8(sha256.Sum256(seed[:]))
}

func (r *reader) secret() (s [32]byte) {
	_, _ = r.rnd.Read(s[:]) // never fails
	return s
}
