package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
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

// TestCrashAnywhere stops a journal's disk after every so many bytes and
// operations, with and without a loss of power. What was accepted is found afterwards, in
// order, and the journal goes on.
func TestCrashAnywhere(t *testing.T) {
	script := func(w *world) (accepted int, err error) {
		n := 0
		for range 4 {
			for range 5 {
				r := numbered(n)
				n++
				if err := w.j.Append(&r); err != nil {
					return accepted, err
				}
				accepted++
			}
			if err := w.j.Seal(); err != nil {
				return accepted, err
			}
		}
		return accepted, nil
	}
	start := func(budget int) *world {
		w := &world{fs: newMemFS()}
		w.fs.budget, w.fs.dies = budget, true
		var err error
		w.j, err = open(w.fs, Config{Commit: Synced, manual: true, fanout: 2})
		require.NoError(t, err)
		return w
	}
	w := start(1 << 30)
	_, err := script(w)
	require.NoError(t, err)
	total := 1<<30 - w.fs.budget
	require.NotZero(t, w.j.Stats().Merged)
	for budget := 0; budget < total; budget += 13 {
		w := start(budget)
		accepted, err := script(w)
		require.Error(t, err)
		for _, power := range []bool{true, false} {
			disk := w.fs.after(power, budget%90)
			r := reader(t, disk)
			got := recordsOf(t, r)
			require.GreaterOrEqual(t, len(got), accepted, "budget %d, power %v", budget, power)
			require.LessOrEqual(t, len(got), accepted+1, "one record at most was on its way")
			same(t, numberedUpTo(len(got)), got, "budget %d, power %v", budget, power)
			require.Empty(t, r.Damage())
			next := &world{fs: disk}
			next.open(t)
			fill(t, next.j, len(got), len(got)+3)
			require.NoError(t, next.j.Seal())
			require.NoError(t, next.j.Close())
			require.NoError(t, r.Refresh())
			same(t, numberedUpTo(len(got)+3), recordsOf(t, r), "budget %d, power %v", budget, power)
			r.Close()
		}
	}
}

// TestDiskFull fills the disk after every number of bytes, and makes room again:
// refusals say why, a refused record is not there, an accepted one is.
func TestDiskFull(t *testing.T) {
	for _, c := range []Config{{Commit: Synced}, {Commit: Written}, {Commit: Written, NoSync: true}} {
		for _, noCut := range []bool{false, true} {
			for budget := 0; budget < 700; budget++ {
				if c.Commit != Synced {
					budget += 12
				}
				disk := newMemFS()
				disk.budget = budget
				c.manual = true
				j, err := open(disk, c)
				require.NoError(t, err)
				var want []logging.Record
				for i := range 20 {
					disk.noCut = noCut && i < 12
					if i == 10 {
						disk.budget = -1
					}
					r := numbered(i)
					if err := j.Append(&r); err == nil {
						want = append(want, r)
					} else {
						require.ErrorIs(t, err, logging.ErrFull)
						require.ErrorIs(t, err, errDisk)
						require.ErrorContains(t, err, "make room")
						require.Less(t, i, 10, "there is room again")
						require.Error(t, j.Stats().Fault)
					}
				}
				require.NoError(t, j.Stats().Fault)
				require.Equal(t, uint64(20-len(want)), j.Stats().Refused)
				r := reader(t, disk)
				same(t, want, recordsOf(t, r), "budget %d", budget)
				require.Empty(t, r.Damage())
				require.NoError(t, j.Seal())
				require.NoError(t, r.Refresh())
				same(t, want, recordsOf(t, r), "budget %d, sealed", budget)
				require.NoError(t, j.Close())
				r.Close()
			}
		}
	}
}

// TestDiskFullBuffered: what a Buffered journal accepted waits for room; beyond
// Pending it refuses.
func TestDiskFullBuffered(t *testing.T) {
	for budget := range 500 {
		disk := newMemFS()
		disk.budget = budget
		j, err := open(disk, Config{Commit: Buffered, manual: true, Pending: 1 << 16})
		require.NoError(t, err)
		var want []logging.Record
		for i := range 30 {
			r := numbered(i)
			require.NoError(t, j.Append(&r))
			want = append(want, r)
			if err := j.flush(false); err != nil {
				require.ErrorIs(t, err, errDisk)
			}
		}
		if budget == 100 {
			for i := 30; ; i++ {
				r := numbered(i)
				if err := j.Append(&r); err != nil {
					require.ErrorIs(t, err, logging.ErrFull)
					require.ErrorIs(t, err, errDisk)
					break
				}
				want = append(want, r)
			}
			require.Greater(t, len(want), 400)
		}
		disk.budget = -1
		require.NoError(t, j.Sync())
		disk = disk.after(false, 0)
		r := reader(t, disk)
		same(t, want, recordsOf(t, r))
		require.Empty(t, r.Damage())
		r.Close()
	}
}

// TestFailedSync: after a synchronisation that failed nothing that was accepted
// depends on the pages of which nobody knows.
func TestFailedSync(t *testing.T) {
	disk := newMemFS()
	j, err := open(disk, Config{Commit: Synced, manual: true})
	require.NoError(t, err)
	var want []logging.Record
	for i := range 12 {
		disk.failSync = i == 4 || i == 5 || i == 9
		r := numbered(i)
		err := j.Append(&r)
		require.Equal(t, disk.failSync, err != nil)
		if err == nil {
			want = append(want, r)
		}
	}
	for _, power := range []bool{true, false} {
		r := reader(t, disk.after(power, 0))
		same(t, want, recordsOf(t, r))
		r.Close()
	}
}

// TestRefusedAndSealed: a record that reached a file that was then given up stays
// refused, also when the file is sealed before another one follows it.
func TestRefusedAndSealed(t *testing.T) {
	disk := newMemFS()
	j, err := open(disk, Config{Commit: Synced, manual: true})
	require.NoError(t, err)
	fill(t, j, 0, 3)
	disk.failSync, disk.noCut = true, true
	r := numbered(3)
	require.Error(t, j.Append(&r))
	disk.failSync = false
	require.NoError(t, j.maintain())
	fill(t, j, 4, 6)
	rd := reader(t, disk)
	defer rd.Close()
	same(t, slices.Delete(numberedUpTo(6), 3, 4), recordsOf(t, rd))
}

// TestAppendDuringSync: a record that comes while a synchronisation alone is
// under way is accepted when it was written, and not before; and refused for good if it fails.
func TestAppendDuringSync(t *testing.T) {
	for _, c := range []Commit{Written, Synced} {
		disk := newMemFS()
		j, err := open(disk, Config{Commit: Written, manual: true})
		require.NoError(t, err)
		fill(t, j, 0, 1)
		j.c.Commit = c
		disk.gate.Lock()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := j.Sync(); err != nil {
				t.Error(err)
			}
		})
		for busy := false; !busy; time.Sleep(time.Millisecond) {
			j.mu.Lock()
			busy = j.writing
			j.mu.Unlock()
		}
		wg.Go(func() {
			r := numbered(1)
			if err := j.Append(&r); err != nil {
				t.Error(err)
			}
			rd := reader(t, disk.after(true, 0))
			defer rd.Close()
			if n := len(recordsOf(t, rd)); n != 2 {
				t.Errorf("accepted, and %d records are there", n)
			}
		})
		time.Sleep(10 * time.Millisecond)
		disk.gate.Unlock()
		wg.Wait()
		fill(t, j, 2, 4)
		rd := reader(t, disk.after(true, 0))
		same(t, numberedUpTo(4), recordsOf(t, rd))
		rd.Close()
	}
}

// TestWhatEachCommitLoses kills the process, and cuts the power.
func TestWhatEachCommitLoses(t *testing.T) {
	for _, c := range []struct {
		commit        Commit
		killed, power int // of 10 records what is left, with one synchronisation after 6
	}{{Synced, 10, 10}, {Written, 10, 6}, {Buffered, 6, 6}} {
		disk := newMemFS()
		j, err := open(disk, Config{Commit: c.commit, manual: true})
		require.NoError(t, err)
		fill(t, j, 0, 6)
		require.NoError(t, j.Sync())
		fill(t, j, 6, 10)
		for power, want := range map[bool]int{true: c.killed, false: c.power} {
			r := reader(t, disk.after(power, 0))
			same(t, numberedUpTo(want), recordsOf(t, r), "%v", c.commit)
			r.Close()
		}
		require.NoError(t, j.Close())
		r := reader(t, disk.after(false, 0))
		same(t, numberedUpTo(10), recordsOf(t, r))
		r.Close()
	}
}

// TestReadersFollowWriters appends from several goroutines while others read
// and the journal seals: each reader sees a growing prefix of each writer's records.
func TestReadersFollowWriters(t *testing.T) {
	const writers, each = 4, 1500
	dir := t.TempDir()
	j, err := Open(dir, Config{NoSync: true, WALSize: 1 << 16, OnError: func(err error) { t.Error(err) }})
	require.NoError(t, err)
	var wg sync.WaitGroup
	var done sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		done.Go(func() {
			r := numbered(0)
			r.Host = fmt.Sprint(w)
			for i := range each {
				r.Epoch = uint64(i)
				for {
					err := j.Append(&r)
					if err == nil {
						break
					}
					if !errors.Is(err, logging.ErrFull) {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	check := func(r *Reader) (n int) {
		next := map[string]uint64{}
		for rec, err := range r.Records() {
			if err != nil {
				t.Error(err)
				return 0
			}
			if rec.Epoch != next[rec.Host] {
				t.Errorf("writer %s: record %d instead of %d", rec.Host, rec.Epoch, next[rec.Host])
				return 0
			}
			next[rec.Host]++
			n++
		}
		return n
	}
	for range 2 {
		wg.Go(func() {
			r, err := OpenReader(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			last := 0
			for {
				if err := r.Refresh(); err != nil {
					t.Error(err)
				}
				n := check(r)
				if n < last {
					t.Errorf("%d records after %d", n, last)
				}
				last = n
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				}
			}
		})
	}
	done.Wait()
	close(stop)
	wg.Wait()
	require.NoError(t, j.Seal())
	require.NoError(t, j.Close())
	r, err := OpenReader(dir)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, writers*each, check(r))
	require.Empty(t, r.Damage())
}

// TestConformanceOfFailing runs the suite for logs on a disk that fails, and,
// for a Buffered journal, one that stalls.
func TestConformanceOfFailing(t *testing.T) {
	for _, c := range []Commit{Written, Synced, Buffered} {
		t.Run(c.String(), func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				disk := newMemFS()
				j, err := open(disk, Config{Commit: c, Interval: time.Millisecond, Pending: 1 << 16})
				require.NoError(t, err)
				t.Cleanup(func() { j.Close() })
				h := loggingtest.Harness{
					Log: j,
					Accepted: func() []logging.Record {
						require.NoError(t, j.Sync())
						r := reader(t, disk)
						defer r.Close()
						return recordsOf(t, r)
					},
					Fail: func(fail bool) {
						disk.mu.Lock()
						defer disk.mu.Unlock()
						if disk.budget = -1; fail {
							disk.budget = 0
						}
					},
				}
				if c == Buffered {
					h.Stall = func(stall bool) {
						if stall {
							disk.gate.Lock()
						} else {
							disk.gate.Unlock()
						}
					}
				}
				return h
			})
		})
	}
}

// TestSealOnFullDisk: sealing and merging that fail midway cost nothing and are done
// when there is room again, by the same journal.
func TestSealOnFullDisk(t *testing.T) {
	for budget := 0; budget < 6000; budget += 37 {
		w := &world{fs: newMemFS()}
		w.open(t)
		w.j.c.OnError = nil
		for i := range 4 {
			for k := range 6 {
				w.append(t, numbered(6*i+k))
			}
			if i == 2 {
				w.fs.budget = budget
			}
			if err := w.j.Seal(); err != nil {
				require.ErrorIs(t, err, errDisk)
			}
			r := reader(t, w.fs)
			same(t, w.recs, recordsOf(t, r), "budget %d", budget)
			require.Empty(t, r.Damage())
			r.Close()
			w.fs.budget = -1
		}
		require.NoError(t, w.j.maintain())
		require.Equal(t, uint64(1), w.j.Stats().Unsealed, "all but the log to come is sealed")
		r := reader(t, w.fs)
		same(t, w.recs, recordsOf(t, r), "budget %d", budget)
		r.Close()
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
