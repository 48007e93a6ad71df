package journal

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// framed makes a file of payloads: each two bytes of length, then so many bytes.
// The last one becomes the summary that the trailer points to.
func framed(magic string, first, last uint64, b []byte) []byte {
	h := header{magic: magic, first: first, last: last}
	out := h.append(nil)
	at := len(out)
	for len(b) >= 2 {
		n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
		at = len(out)
		out = append(beginFrame(out), b[2:2+n]...)
		endFrame(out, at, int64(at), h.seed())
		b = b[2+n:]
	}
	t := binary.LittleEndian.AppendUint64(nil, uint64(at))
	t = append(t, trailerMagic...)
	return append(out, binary.LittleEndian.AppendUint32(t, crc32.Update(h.seed(), castagnoli, t))...)
}

// payloads is what framed makes a file of.
func payloads(file []byte, magic string) (out []byte) {
	h, err := readHeader(memory(file), magic)
	if err != nil {
		panic(err)
	}
	f := newFrameReader(memory(file), fileHeader, int64(len(file)), h.seed())
	for {
		b, _, err := f.next()
		if err != nil {
			return out
		}
		out = append(binary.LittleEndian.AppendUint16(out, uint16(len(b))), b...)
	}
}

// readAll asks a reader for everything.
func readAll(t *testing.T, disk *memFS) {
	r := &Reader{stores: []*store{newStore("fuzz", disk)}}
	if err := r.Refresh(); err != nil {
		return
	}
	defer r.Close()
	for rec, err := range r.Records() {
		require.NoError(t, err)
		_ = logging.JSON{}.AppendRecord(nil, &rec)
	}
	n := 0
	for b, err := range r.Intervals() {
		require.NoError(t, err)
		if n++; n > 50 || b.From == 0 {
			continue
		}
		_, err := r.Who(logging.Query{External: b.External, Port: b.First, At: b.From.Time(), Tolerance: time.Second})
		require.NoError(t, err)
		_, err = r.Subscriber(b.Subscriber, time.Time{}, time.Time{})
		require.NoError(t, err)
		_, err = r.SubscriberID(b.SubscriberID, time.Time{}, time.Time{})
		require.NoError(t, err)
	}
	for _, err := range r.Verify(time.Minute) {
		require.NoError(t, err)
	}
	_, err := r.Who(logging.Query{External: netip.MustParseAddr("198.51.100.1"), AnyPort: true, At: time.UnixMilli(1700000005000), Tolerance: time.Hour})
	require.NoError(t, err)
	_, err = r.Stats()
	require.NoError(t, err)
	_, _, err = r.EpochAt("cgn1", 0, time.UnixMilli(1700000005000))
	require.NoError(t, err)
}

func fuzzWorld(f *testing.F) *world {
	w := &world{fs: newMemFS()}
	w.open(f)
	for i := range 40 {
		r := numbered(i)
		if i%9 == 3 {
			r.SubscriberID = "line"
		}
		require.NoError(f, w.j.Append(&r))
	}
	e := logging.Record{Kind: logging.ConfigEpoch, Time: 1700000000400, Host: "cgn1", Detail: "d"}
	require.NoError(f, w.j.Append(&e))
	return w
}

// FuzzLog reads any write-ahead log, raw and with right checksums.
func FuzzLog(f *testing.F) {
	w := fuzzWorld(f)
	log := w.fs.files[walName(1)].data
	f.Add(true, payloads(log, walMagic))           // records of all kinds
	f.Add(false, log)                              // the same as a file
	f.Add(false, log[:len(log)/2])                 // a log that was cut
	f.Add(false, append([]byte(nil), log[40:]...)) // a log without its first header
	f.Fuzz(func(t *testing.T, whole bool, b []byte) {
		disk := newMemFS()
		if whole {
			b = framed(walMagic, 1, wholeLog, b)
		}
		disk.files[walName(1)] = &memFile{b, len(b)}
		readAll(t, disk)
		j, err := open(disk, Config{manual: true})
		require.NoError(t, err)
		require.NoError(t, j.Seal())
		require.NoError(t, j.Close())
		readAll(t, disk)
	})
}

// FuzzSegment reads any segment and any file of open intervals, raw and with
// right checksums, beside a log, and seals and merges them.
func FuzzSegment(f *testing.F) {
	w := fuzzWorld(f)
	require.NoError(f, w.j.Seal())
	seg, opn := w.fs.files[segName(1, 1)].data, w.fs.files[openName(1)].data
	f.Add(true, payloads(seg, segMagic), payloads(opn, openMagic))               // whole files
	f.Add(false, seg, opn)                                                       // the same, raw
	f.Add(false, seg[:len(seg)-30], opn[:200])                                   // cut ones
	f.Add(true, payloads(seg[:len(seg)-30], segMagic), payloads(opn, openMagic)) // no summary
	next := fuzzWorld(f).fs.files[walName(1)].data
	f.Fuzz(func(t *testing.T, whole bool, seg, opn []byte) {
		disk := newMemFS()
		if whole {
			seg, opn = framed(segMagic, 1, 1, seg), framed(openMagic, 1, 1, opn)
		}
		log := framed(walMagic, 2, wholeLog, payloads(next, walMagic))
		for name, b := range map[string][]byte{segName(1, 1): seg, openName(1): opn, walName(2): log} {
			disk.files[name] = &memFile{b, len(b)}
		}
		readAll(t, disk)
		j, err := open(disk, Config{manual: true, fanout: 2})
		require.NoError(t, err)
		_ = j.Seal() // what cannot be merged stays
		require.NoError(t, j.Close())
		readAll(t, disk)
	})
}

// FuzzNames arranges any names of files.
func FuzzNames(f *testing.F) {
	f.Add("0000000000000001.wal", "0000000000000001-0000000000000002.seg", "0000000000000002.open")
	f.Add("0000000000000001.wal.tmp", "ffffffffffffffff.wal", "-.seg")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		h := arrange([]string{a, b, c})
		for i := 1; i < len(h.segs); i++ {
			require.Greater(t, h.segs[i].last, h.segs[i-1].last)
		}
		require.NotZero(t, h.next())
	})
}

// FuzzColumn reads any column; what it makes of numbers it reads back.
func FuzzColumn(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, uint8(8))
	f.Add([]byte{0, 200, 1, 7, 2, 0, 9, 1, 200, 1, 0}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		var c column
		if rest, ok := c.parse(b, int(n)); ok {
			require.LessOrEqual(t, len(rest), len(b))
			for i := range int(n) {
				c.at(i)
			}
		}
		var values []uint64
		for len(b) >= 8 && len(values) < chunkRows {
			values = append(values, binary.LittleEndian.Uint64(b)>>(b[0]&63))
			b = b[1:]
		}
		if len(values) == 0 {
			return
		}
		want := append([]uint64(nil), values...)
		rest, ok := c.parse(appendColumn(nil, values), len(want))
		require.True(t, ok)
		require.Empty(t, rest)
		for i, v := range want {
			require.Equal(t, v, c.at(i), "%d of %v", i, want)
		}
	})
}
