package journal_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// What follows reads a journal by FORMAT.md, with nothing of the package. It is
// as short as a reader may be: it trusts what passes the checksums.

type bytesReader struct{ b []byte }

func (r *bytesReader) take(n int) []byte { v := r.b[:n]; r.b = r.b[n:]; return v }
func (r *bytesReader) u8() int           { return int(r.take(1)[0]) }
func (r *bytesReader) u16() int          { return int(binary.LittleEndian.Uint16(r.take(2))) }
func (r *bytesReader) uv() uint64        { v, n := binary.Uvarint(r.b); r.b = r.b[n:]; return v }
func (r *bytesReader) v() int64          { v, n := binary.Varint(r.b); r.b = r.b[n:]; return v }
func (r *bytesReader) text() string      { return string(r.take(int(r.uv()))) }
func (r *bytesReader) addr() string {
	switch r.u8() {
	case 4:
		return netip.AddrFrom4([4]byte(r.take(4))).String()
	case 6:
		return netip.AddrFrom16([16]byte(r.take(16))).String()
	case 7:
		return netip.AddrFrom16([16]byte(r.take(16))).String() + "%" + r.text()
	}
	return "-"
}

const yearOne = 62135596800000

// place is an order.
type place struct {
	era  uint64
	max  int64
	rank uint64
}

func (r *bytesReader) place() place { return place{r.uv(), int64(r.uv()) - yearOne, r.uv()} }

type line struct {
	place
	text string
}

// write writes what the test compares of a record.
func write(kind int, time, allocated int64, reason, spaces, proto, bits, first, last, step int, instance, pool, class, used, max, suppressed, epoch uint64, sub, ext, in, rem string, texts ...string) string {
	return fmt.Sprint(kind, " ", time, " ", allocated, " ", reason, " ", spaces, proto, bits, " ", first, last, step, " ", instance, pool, class, used, max, suppressed, epoch,
		" ", sub, " ", ext, " ", in, " ", rem, " ", strings.Join(texts, "|"))
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

func portText(a netip.AddrPort) string {
	if a == (netip.AddrPort{}) {
		return "-"
	}
	return fmt.Sprint(addrText(a.Addr()), " ", a.Port())
}

func writeRecord(r *logging.Record) string {
	return write(int(r.Kind), int64(r.Time), int64(r.Allocated), int(r.Reason), int(r.Spaces), int(r.Protocol), int(r.SubscriberBits), int(r.First), int(r.Last), int(r.Step),
		uint64(r.Instance), uint64(r.PoolID), uint64(r.Class), uint64(r.Used), uint64(r.Max), uint64(r.Suppressed), r.Epoch,
		addrText(r.Subscriber), addrText(r.External), portText(r.Internal), portText(r.Remote), r.SubscriberID, r.Realm, r.ExternalRealm, r.Host, r.Pool, r.Detail)
}

func (r *bytesReader) record() string {
	kind, reason := r.u8(), r.u8()
	m := r.u8() | r.u8()<<8 | r.u8()<<16
	time := r.v()
	var small [4]int
	for i := range small {
		if m&(1<<i) != 0 {
			small[i] = r.u8()
		}
	}
	var first, last int
	if m&(1<<4) != 0 {
		first, last = r.u16(), r.u16()
	}
	var n [14]uint64
	for i := 5; i <= 11; i++ {
		if m&(1<<i) != 0 {
			n[i] = r.uv()
		}
	}
	allocated := int64(0)
	if m&(1<<12) != 0 {
		allocated = time - r.v()
	}
	if m&(1<<13) != 0 {
		n[13] = r.uv()
	}
	a := [4]string{"-", "-", "-", "-"}
	for i := range a {
		if m&(1<<(14+i)) != 0 {
			if a[i] = r.addr(); i >= 2 {
				a[i] = fmt.Sprint(a[i], " ", r.u16())
			}
		}
	}
	var t [6]string
	for i := range t {
		if m&(1<<(18+i)) != 0 {
			t[i] = r.text()
		}
	}
	return write(kind, time, allocated, reason, small[1], small[2], small[3], first, last, int(n[5]), n[6], n[7], n[8], n[9], n[10], n[11], n[13], a[0], a[1], a[2], a[3], t[:]...)
}

// frames returns the payloads of a file.
func frames(t *testing.T, b []byte, magic string) (out [][]byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	require.Equal(t, magic, string(b[:8]))
	require.Equal(t, b[:36], b[36:72])
	require.Equal(t, crc32.Checksum(b[:32], table), binary.LittleEndian.Uint32(b[32:]))
	end := len(b)
	if magic != "BNJWAL1\n" {
		end -= 20
		require.Equal(t, "BNJEND1\n", string(b[end+8:end+16]))
	}
	for off := 72; off < end; {
		word := binary.LittleEndian.Uint32(b[off+4:])
		require.Equal(t, uint32(0xA5), word>>24)
		n := int(word & 0xffffff)
		sum := append(binary.LittleEndian.AppendUint64(slices.Clone(b[8:16]), uint64(off)), b[off+4:off+8+n]...)
		require.Equal(t, crc32.Checksum(sum, table), binary.LittleEndian.Uint32(b[off:]))
		out = append(out, b[off+8:off+8+n])
		off += 8 + n
	}
	return out
}

func (r *bytesReader) column(rows int) []uint64 {
	width, base, unit, exceptions := r.u8(), r.uv(), r.uv(), r.uv()
	packed := r.take((rows*width + 7) / 8)
	out := make([]uint64, rows)
	for i := range out {
		for k := range width {
			bit := i*width + k
			out[i] |= uint64(packed[bit/8]>>(bit%8)&1) << k
		}
	}
	at := 0
	for range exceptions {
		at += int(r.uv())
		out[at] = r.uv()
	}
	for i := range out {
		out[i] = base + unit*out[i]
	}
	return out
}

type event struct {
	flags, reason, resource     int
	max, suppressed, epoch, era uint64
	detail                      string
}

func numberText(family int, hi, lo uint64) string {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, hi), lo)
	switch family {
	case 0:
		return "-"
	case 4:
		return netip.AddrFrom4([4]byte(b[12:])).String()
	case 5:
		b[10], b[11] = 0xff, 0xff
	}
	return netip.AddrFrom16([16]byte(b)).String()
}

// chunk returns the records of a chunk's rows.
func (r *bytesReader) chunk() (out []line) {
	rows := r.u16()
	var shapes []string
	for range r.uv() {
		shapes = append(shapes, r.text())
	}
	ids := []string{""}
	for range r.uv() {
		ids = append(ids, r.text())
	}
	var c [23][]uint64
	for k := range c {
		c[k] = r.column(rows)
	}
	for i := range rows {
		s := bytesReader{[]byte(shapes[c[0][i]])}
		h := s.take(9)
		span, step := int(s.uv()), int(s.uv())
		instance, pool, class := s.uv(), s.uv(), s.uv()
		var e [2]event
		for k := range e {
			e[k] = event{s.u8(), s.u8(), s.u8(), s.uv(), s.uv(), s.uv(), s.uv(), s.text()}
		}
		var t [8]string
		for k := range t {
			t[k] = s.text()
		}
		from := int64(c[4][i]) - yearOne
		first := int(c[3][i])
		for k := range e {
			form, kind := h[0], int(h[1])
			time, used, lag, rank := from+(int64(c[10][i]>>1)^-int64(c[10][i]&1)), c[8][i], c[11][i], c[12][i]
			if k == 0 && form != 1 && form != 2 || k == 1 && (form == 1 || form == 5) {
				continue
			}
			if k == 1 {
				time, used, lag, rank = from+int64(c[5][i]), c[9][i], c[13][i], c[14][i]
				if e[k].flags&2 != 0 {
					time = from - int64(c[5][i])
				}
				kind++
				if form == 4 {
					kind = 3
				}
			}
			allocated := int64(0)
			if e[k].flags&1 != 0 {
				allocated = from
			}
			in, rem := "-", "-"
			if h[7] != 0 {
				in = fmt.Sprint(numberText(int(h[7]), c[16][i], c[17][i]), " ", c[18][i])
			}
			if h[8] != 0 {
				rem = fmt.Sprint(numberText(int(h[8]), c[19][i], c[20][i]), " ", c[21][i])
			}
			out = append(out, line{place{e[k].era, time + int64(lag), rank}, write(kind, time, allocated, e[k].reason, int(h[2]), int(h[3]), int(h[4]), first, first+span, step,
				instance, pool, class, used, e[k].max, e[k].suppressed, e[k].epoch, numberText(int(h[6]), c[6][i], c[7][i]), numberText(int(h[5]), c[1][i], c[2][i]), in, rem,
				ids[c[15][i]], t[4], t[5], t[6], t[7], e[k].detail)})
		}
	}
	return out
}

// readByFormat returns the records of a directory in order.
func readByFormat(t *testing.T, dir string) (out []string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.*"))
	require.NoError(t, err)
	sort.Strings(names)
	var lines []line
	var logs []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		switch filepath.Ext(name) {
		case ".wal":
			for _, p := range frames(t, b, "BNJWAL1\n") {
				r := bytesReader{p}
				logs = append(logs, r.record())
			}
		case ".seg", ".open":
			magic := "BNJSEG1\n"
			if filepath.Ext(name) == ".open" {
				magic = "BNJOPN1\n"
			}
			for _, p := range frames(t, b, magic) {
				r := bytesReader{p[1:]}
				switch p[0] {
				case 2:
					lines = append(lines, r.chunk()...)
				case 3:
					for len(r.b) > 0 {
						at := r.place()
						text := bytesReader{[]byte(r.text())}
						lines = append(lines, line{at, text.record()})
					}
				}
			}
		}
	}
	slices.SortFunc(lines, func(a, b line) int {
		if c := int64(a.era) - int64(b.era); c != 0 {
			return int(c)
		}
		if c := a.max - b.max; c != 0 {
			return int(max(min(c, 1), -1))
		}
		return int(int64(a.rank) - int64(b.rank))
	})
	for _, l := range lines {
		out = append(out, l.text)
	}
	return append(out, logs...)
}

// TestFormat reads a journal by its document alone: records of all kinds, pairs
// and what is open, of all kinds of addresses, in several segments and a log.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{})
	require.NoError(t, err)
	var want []string
	at := logging.Millis(1700000000000)
	add := func(r logging.Record) {
		require.NoError(t, j.Append(&r))
		want = append(want, writeRecord(&r))
	}
	for round := range 3 {
		for i, r := range records() {
			r.Time += logging.Millis(round * 1000)
			if i%4 == 2 && r.Allocated == 0 {
				r.Subscriber, r.SubscriberBits, r.SubscriberID = netip.MustParseAddr("2001:db8:5::"), 48, "line 9"
			}
			add(r)
		}
		for i := range 900 { // pairs, a clock that steps back, two records in a millisecond
			r := logging.Record{
				Kind: logging.BlockAllocated, Time: at + logging.Millis(i*i%5000), Spaces: 3, First: uint16(1024 + i%60*16), Last: uint16(1039 + i%60*16), Used: uint32(i % 3),
				Subscriber: netip.AddrFrom4([4]byte{10, 1, byte(i % 251), byte(i)}), External: netip.MustParseAddr("198.51.100.9"), Host: "h", Epoch: uint64(i / 300), Class: uint32(round),
			}
			if i%5 == 0 {
				r.External = netip.MustParseAddr("::ffff:198.51.100.9")
			}
			add(r)
			if i%3 > 0 {
				r.Kind, r.Allocated, r.Time, r.Reason = logging.BlockReleased, r.Time, r.Time+logging.Millis(i*1000), logging.ReasonIdle
				add(r)
			}
		}
		if round < 2 {
			require.NoError(t, j.Seal())
		}
	}
	require.NoError(t, j.Close())
	got := readByFormat(t, dir)
	require.Equal(t, len(want), len(got))
	for i := range want {
		require.Equal(t, want[i], got[i], "record %d", i)
	}
}
