package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

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
