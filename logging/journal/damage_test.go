package journal

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// numbered returns the n-th of many different records: allocations, the
// releases of earlier ones, and now and then another kind.
func numbered(n int) logging.Record {
	r := logging.Record{
		Kind: logging.BlockAllocated, Time: 1700000000000 + logging.Millis(n*10), Spaces: logging.AllSpaces,
		Host: "cgn1", Epoch: 1, Pool: "cgn", Used: 1, Max: 4, Reason: logging.ReasonOutbound,
		Subscriber: netip.AddrFrom4([4]byte{100, 64, byte(n >> 9), byte(n >> 1)}), External: netip.AddrFrom4([4]byte{198, 51, 100, byte(n % 3)}),
	}
	k := n
	switch {
	case n%7 == 6:
		return logging.Record{Kind: logging.QuotaExceeded, Time: r.Time, Resource: logging.ResourceSubscriberMappings, Subscriber: r.Subscriber, Host: "cgn1", Epoch: 1}
	case n%2 == 1 && n > 9 && (n-9)%7 != 6:
		k = n - 9 // even: an allocation
		r = numbered(k)
		r.Kind, r.Allocated, r.Time, r.Reason = logging.BlockReleased, r.Time, 1700000000000+logging.Millis(n*10), logging.ReasonIdle
	}
	r.First = uint16(1024 + k%252*256)
	r.Last = r.First + 255
	return r
}

func numberedUpTo(n int) (out []logging.Record) {
	for i := range n {
		out = append(out, numbered(i))
	}
	return out
}

// fill appends records first to n-1.
func fill(t require.TestingT, j *Journal, from, to int) {
	for i := from; i < to; i++ {
		r := numbered(i)
		require.NoError(t, j.Append(&r))
	}
}

func with(fs *memFS, name string, data []byte) *memFS {
	n := fs.after(true, 0)
	n.files[name] = &memFile{data, len(data)}
	return n
}

// TestLogCutAtEveryOffset: of a log that ends anywhere, all whole records are
// read, and nothing else.
func TestLogCutAtEveryOffset(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	ends := []int{fileHeader}
	for i := range 30 {
		w.append(t, numbered(i))
		ends = append(ends, int(w.j.wal.good))
	}
	data := w.fs.files[walName(1)].data
	require.Len(t, data, ends[30])
	for cut := range len(data) + 1 {
		n := 0
		for n < 30 && ends[n+1] <= cut {
			n++
		}
		disk := with(w.fs, walName(1), data[:cut])
		r := reader(t, disk)
		same(t, w.recs[:n], recordsOf(t, r), "cut at %d", cut)
		require.Empty(t, r.Damage())
		// A writer goes on behind it, and seals it.
		j := &world{fs: disk}
		j.open(t)
		fill(t, j.j, 50, 51)
		require.NoError(t, j.j.Seal())
		require.NoError(t, r.Refresh())
		same(t, append(slices.Clone(w.recs[:n]), numbered(50)), recordsOf(t, r), "cut at %d", cut)
		r.Close()
	}
}

// same compares records and tells the first that differs.
func same(t *testing.T, want, got []logging.Record, note ...any) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			require.FailNow(t, fmt.Sprintf("record %d of %d differs, %d were read", i, len(want), len(got)), note...)
		}
	}
}

// TestLogByteFlipped: a flipped byte of a log costs the record that it hits, and
// is reported, unless that is the last one, which a crash may have cut.
func TestLogByteFlipped(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	ends := []int{fileHeader}
	for i := range 12 {
		w.append(t, numbered(i))
		ends = append(ends, int(w.j.wal.good))
	}
	data := w.fs.files[walName(1)].data
	for at := range data {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := slices.Clone(data)
			bad[at] ^= flip
			want := slices.Clone(w.recs)
			if at >= fileHeader {
				hit, _ := slices.BinarySearch(ends, at+1)
				want = slices.Delete(want, hit-1, hit)
			}
			r := reader(t, with(w.fs, walName(1), bad))
			same(t, want, recordsOf(t, r), "byte %d", at)
			if last := len(w.recs); at >= fileHeader && at < ends[last-1] {
				require.Len(t, r.Damage(), 1, "byte %d", at)
				require.ErrorContains(t, r.Damage()[0], "0000000000000001.wal is damaged from byte")
			}
			r.Close()
		}
	}
}

// segmentWorld is a journal with segments of so many records each, and no logs.
func segmentWorld(t *testing.T, each ...int) *world {
	w := &world{fs: newMemFS()}
	w.open(t)
	w.j.c.fanout = 100
	n := 0
	for _, k := range each {
		for range k {
			w.append(t, numbered(n))
			n++
		}
		require.NoError(t, w.j.Seal())
	}
	require.NoError(t, w.j.Close())
	return w
}

// lostOf returns how many of all are not in got, which must be in their order and hold nothing else.
func lostOf(t *testing.T, all, got []logging.Record) int {
	i := 0
	for _, g := range got {
		for i < len(all) && all[i] != g {
			i++
		}
		require.Less(t, i, len(all), "a record that was never written, or out of order")
		i++
	}
	return len(all) - len(got)
}

// TestSegmentDamaged cuts segments and the open intervals at every offset and
// flips every byte (of a large one many): other files are not concerned, what is lost is
// reported, a flip costs one frame, and nothing is made up.
func TestSegmentDamaged(t *testing.T) {
	for _, c := range []struct {
		each []int
		step int
		most int // records that a flip may cost
	}{
		{[]int{24, 16}, 1, 40},
		{[]int{1400, 100}, 499, 2 * chunkRows},
	} {
		w := segmentWorld(t, c.each...)
		for name, file := range w.fs.files {
			if name == lockName {
				continue
			}
			for at := 0; at < len(file.data); at += c.step {
				bad := slices.Clone(file.data)
				bad[at] ^= 0x10
				r := reader(t, with(w.fs, name, bad))
				lost := lostOf(t, w.recs, recordsOf(t, r))
				_, err := r.Subscriber(netip.MustParseAddr("100.64.0.9"), time.Time{}, time.Time{})
				require.NoError(t, err)
				_, err = r.Who(logging.Query{External: netip.MustParseAddr("198.51.100.1"), Port: 2000, At: time.UnixMilli(1700000005000)})
				require.NoError(t, err)
				require.LessOrEqual(t, lost, c.most, "%s byte %d", name, at)
				if lost > 0 {
					require.NotEmpty(t, r.Damage(), "%s byte %d: %d lost and not told", name, at, lost)
				}
				if name == segName(2, 2) {
					require.LessOrEqual(t, lost, 2*c.each[1], "records of other files are lost too")
				}
				r.Close()
			}
			for at := 0; at < len(file.data); at += c.step {
				r := reader(t, with(w.fs, name, slices.Clone(file.data[:at])))
				lost := lostOf(t, w.recs, recordsOf(t, r))
				require.NotEmpty(t, r.Damage(), "%s cut at %d", name, at)
				if name == segName(2, 2) {
					require.LessOrEqual(t, lost, 2*c.each[1], "records of other files are lost too")
				}
				r.Close()
			}
		}
	}
}

// TestOpenIntervalsMissing: without the file of open intervals the rest answers, and the loss is told.
func TestOpenIntervalsMissing(t *testing.T) {
	w := segmentWorld(t, 24, 16)
	w.fs = w.fs.after(true, 0)
	delete(w.fs.files, openName(2))
	r := reader(t, w.fs)
	defer r.Close()
	require.Len(t, r.Damage(), 1)
	require.ErrorContains(t, r.Damage()[0], "0000000000000002.open")
	require.NotZero(t, lostOf(t, w.recs, recordsOf(t, r)))
	w.open(t)
	fill(t, w.j, 40, 44)
	require.NoError(t, w.j.Seal())
	require.NoError(t, r.Refresh())
	require.Contains(t, recordsOf(t, r), numbered(43))
}
