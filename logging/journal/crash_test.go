package journal

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

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
