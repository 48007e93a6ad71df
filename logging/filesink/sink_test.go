package filesink_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/filesink"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

func numbered(n int) logging.Record {
	r := loggingtest.Records()[0]
	r.Epoch, r.Time = uint64(n), r.Time+logging.Millis(n*1000)
	return r
}

// files returns the rotated files of path in the order of their names, and path.
func files(t require.TestingT, path string) []string {
	all, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	slices.Sort(all)
	return append(all, path)
}

// read reads all files of path in order, and counts the bad lines.
func read(t require.TestingT, path string) (out []logging.Record, bad int) {
	for _, name := range files(t, path) {
		b, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		for r, err := range logging.ReadJSON(bytes.NewReader(b)) {
			if err != nil {
				bad++
				continue
			}
			out = append(out, r)
		}
	}
	return out, bad
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]filesink.Config{"One": {}, "Rotated": {MaxBytes: 4000, MaxAge: time.Minute}, "Synced": {Sync: true}} {
		t.Run(name, func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				path := filepath.Join(t.TempDir(), "blocks.json")
				faulty := &disk.Faulty{FS: disk.OS}
				c.FS = faulty
				s, err := filesink.Open(path, c)
				require.NoError(t, err)
				t.Cleanup(func() { _ = s.Close() })
				return loggingtest.Harness{
					Log: s,
					Accepted: func() []logging.Record {
						out, bad := read(t, path)
						require.Zero(t, bad)
						return out
					},
					Fail: func(fail bool) { faulty.Set(disk.Faults{Limited: fail, Room: 10}) },
				}
			})
		})
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks.csv")
	r := numbered(1)
	header := int64(len(logging.CSV{}.AppendHeader(nil)))
	line := int64(len(logging.CSV{}.AppendRecord(nil, &r)))
	s, err := filesink.Open(path, filesink.Config{Encoder: logging.CSV{}, MaxBytes: header + 2*line, MaxAge: 5 * time.Second})
	require.NoError(t, err)
	for _, n := range []int{1, 2, 3, 8, 9} {
		r := numbered(n)
		require.NoError(t, s.Append(&r))
	}
	require.NoError(t, s.Rotate(numbered(9).Time))
	require.NoError(t, s.Rotate(numbered(9).Time), "an empty file stays")
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Append(&r), logging.ErrClosed)
	require.ErrorIs(t, s.Close(), logging.ErrClosed)
	require.ErrorIs(t, s.Reopen(), logging.ErrClosed)
	require.ErrorIs(t, s.Rotate(1), logging.ErrClosed)
	require.ErrorIs(t, s.Sync(), logging.ErrClosed)

	var names []string
	var lines []int
	for _, f := range files(t, path) {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		names = append(names, strings.TrimPrefix(f, path))
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		require.NoError(t, err)
		lines = append(lines, len(rows))
		require.LessOrEqual(t, int64(len(b)), header+2*line)
	}
	require.Equal(t, []string{".20261121T023013.123Z", ".20261121T023018.123Z", ".20261121T023019.123Z", ""}, names,
		"by size, by age, by hand")
	require.Equal(t, []int{3, 2, 3, 0}, lines, "a header each")
	i, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, i.Mode().Perm()&^0o640, "nobody else reads who had which port")
	require.EqualValues(t, 3, s.Stats().Rotated)
}

// TestManyRotationsInOneMillisecond: no file is written over.
func TestManyRotationsInOneMillisecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks.json")
	s, err := filesink.Open(path, filesink.Config{MaxBytes: 1})
	require.NoError(t, err)
	for range 12 {
		r := numbered(1)
		require.NoError(t, s.Append(&r))
	}
	require.NoError(t, s.Close())
	got, bad := read(t, path)
	require.Len(t, got, 12)
	require.Zero(t, bad)
	require.Len(t, files(t, path), 12)
}

// TestReopen: after somebody renamed the file, its path is a new one; whoever
// removed it has it back with the next rotation.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks.json")
	s, err := filesink.Open(path, filesink.Config{MaxAge: time.Hour})
	require.NoError(t, err)
	r := numbered(1)
	require.NoError(t, s.Append(&r))
	require.NoError(t, os.Rename(path, path+".1"))
	r = numbered(2)
	require.NoError(t, s.Append(&r))
	require.NoError(t, s.Reopen())
	r = numbered(3)
	require.NoError(t, s.Append(&r))
	b, err := os.ReadFile(path + ".1")
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(b, []byte("\n")))
	require.NoError(t, os.Remove(path))
	r = numbered(10000)
	require.NoError(t, s.Append(&r))
	require.NoError(t, s.Close())
	got, _ := read(t, path)
	require.Equal(t, []uint64{1, 2, 10000}, []uint64{got[0].Epoch, got[1].Epoch, got[2].Epoch})
}

// TestCrashAtEveryByte: a file that ends anywhere is opened with its whole lines,
// and written on.
func TestCrashAtEveryByte(t *testing.T) {
	var whole []byte
	for i := range 3 {
		r := numbered(i)
		whole = logging.JSON{}.AppendRecord(whole, &r)
	}
	path := filepath.Join(t.TempDir(), "blocks.json")
	for end := range len(whole) + 1 {
		require.NoError(t, os.WriteFile(path, whole[:end], 0o600))
		s, err := filesink.Open(path, filesink.Config{})
		require.NoError(t, err)
		r := numbered(9)
		require.NoError(t, s.Append(&r))
		require.NoError(t, s.Close())
		got, bad := read(t, path)
		require.Zero(t, bad)
		require.Len(t, got, bytes.Count(whole[:end], []byte("\n"))+1)
		require.Equal(t, r, got[len(got)-1])
	}
	require.NoError(t, os.WriteFile(path, make([]byte, 3<<20), 0o600))
	_, err := filesink.Open(path, filesink.Config{})
	require.ErrorContains(t, err, "no file of lines")
	i, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 3<<20, i.Size(), "and it is left as it was")
}

// TestEveryFault: all faults of a configuration come at once; a path that cannot be opened is an error.
func TestEveryFault(t *testing.T) {
	_, err := filesink.Open("x", filesink.Config{MaxBytes: -1, MaxAge: -1})
	require.ErrorContains(t, err, "MaxBytes")
	require.ErrorContains(t, err, "MaxAge")
	var fault *filesink.ConfigError
	require.ErrorAs(t, err, &fault)
	_, err = filesink.Open(filepath.Join(t.TempDir(), "no", "such"), filesink.Config{})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestRandomFaults: a disk that is full at any byte, does not cut, sync, rename or
// make files, and processes that start again: what was accepted is there, once
// and in order, and what was refused is not, but for what Stats calls stray.
func TestRandomFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "filesink")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "blocks.json")
		faulty := &disk.Faulty{FS: disk.OS}
		c := filesink.Config{
			FS: faulty, Sync: rapid.Bool().Draw(t, "sync"), MaxBytes: rapid.SampledFrom([]int64{0, 1, 900, 5000}).Draw(t, "max"),
			MaxAge: rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "age"),
		}
		var s *filesink.Sink
		var sum filesink.Stats
		reopen := func() {
			if s != nil {
				_ = s.Close()
				st := s.Stats()
				sum.Torn, sum.Stray, sum.Records, sum.Refused = sum.Torn+st.Torn, sum.Stray+st.Stray, sum.Records+st.Records, sum.Refused+st.Refused
			}
			faulty.Set(disk.Faults{})
			s, err = filesink.Open(path, c)
			require.NoError(t, err)
		}
		reopen()
		var want []uint64
		n, renames := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n++
				r := numbered(n)
				if s.Append(&r) == nil {
					want = append(want, r.Epoch)
				}
			},
			"faults": func(t *rapid.T) {
				often := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
				faulty.Set(disk.Faults{
					Limited: often("full"), Room: rapid.Int64Range(0, 1500).Draw(t, "room"),
					Truncate: often("truncate"), Sync: often("sync"), Create: often("create"), Rename: often("rename"),
				})
			},
			"restart": func(*rapid.T) { reopen() },
			"rename": func(t *rapid.T) {
				renames++
				require.NoError(t, os.Rename(path, fmt.Sprint(path, ".", renames)))
				_ = s.Reopen()
				if _, err := os.Stat(path); err != nil {
					reopen()
				}
			},
		})
		reopen()
		require.NoError(t, s.Close())
		got, bad := read(t, path)
		accepted := map[uint64]bool{}
		for _, e := range want {
			accepted[e] = true
		}
		seen := map[uint64]bool{}
		stray := 0
		for _, r := range got {
			require.False(t, seen[r.Epoch], "record %d twice", r.Epoch)
			seen[r.Epoch] = true
			if !accepted[r.Epoch] {
				stray++
			}
		}
		for _, e := range want {
			require.True(t, seen[e], "record %d is lost", e)
		}
		require.LessOrEqual(t, uint64(stray), sum.Stray)
		require.LessOrEqual(t, uint64(bad), sum.Torn)
		require.EqualValues(t, len(want), sum.Records)
		require.EqualValues(t, n-len(want), sum.Refused)
	})
}

// TestSyncFails: a record that did not reach the disk is refused and cut off again; where it cannot be cut off, it is
// counted as stray.
func TestSyncFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks.json")
	faulty := &disk.Faulty{FS: disk.OS}
	s, err := filesink.Open(path, filesink.Config{FS: faulty, Sync: true})
	require.NoError(t, err)
	appendOne := func(n int, f disk.Faults) error {
		faulty.Set(f)
		r := numbered(n)
		return s.Append(&r)
	}
	require.NoError(t, appendOne(1, disk.Faults{}))
	require.ErrorIs(t, appendOne(2, disk.Faults{Sync: true}), disk.ErrFault)
	require.ErrorIs(t, appendOne(3, disk.Faults{Sync: true, Truncate: true}), disk.ErrFault)
	require.NoError(t, appendOne(4, disk.Faults{}))
	require.Equal(t, [...]uint64{2, 2, 1, 1}, [...]uint64{s.Stats().Records, s.Stats().Refused, s.Stats().Cut, s.Stats().Stray})
	got, bad := read(t, path)
	require.Zero(t, bad)
	require.Equal(t, []uint64{1, 3, 4}, []uint64{got[0].Epoch, got[1].Epoch, got[2].Epoch})
	require.NoError(t, s.Close())
}

// TestTornThenCut: a torn line that stays is ended by the next one, and what is cut off later is nothing but the next
// torn line.
func TestTornThenCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks.json")
	faulty := &disk.Faulty{FS: disk.OS}
	s, err := filesink.Open(path, filesink.Config{FS: faulty})
	require.NoError(t, err)
	appendOne := func(n int, f disk.Faults) error {
		faulty.Set(f)
		r := numbered(n)
		return s.Append(&r)
	}
	require.NoError(t, appendOne(1, disk.Faults{}))
	require.Error(t, appendOne(2, disk.Faults{Limited: true, Room: 100, Truncate: true}))
	require.NoError(t, appendOne(3, disk.Faults{}))
	require.Error(t, appendOne(4, disk.Faults{Limited: true, Room: 50}))
	require.NoError(t, appendOne(5, disk.Faults{}))
	require.NoError(t, s.Close())
	got, bad := read(t, path)
	require.Equal(t, 1, bad)
	require.Equal(t, []uint64{1, 3, 5}, []uint64{got[0].Epoch, got[1].Epoch, got[2].Epoch})
	require.Equal(t, [2]uint64{1, 1}, [2]uint64{s.Stats().Torn, s.Stats().Cut})
}

func TestAppendAllocatesNothing(t *testing.T) {
	s, err := filesink.Open(filepath.Join(t.TempDir(), "blocks.json"), filesink.Config{MaxBytes: 1 << 30, MaxAge: time.Hour})
	require.NoError(t, err)
	r := numbered(1)
	require.NoError(t, s.Append(&r))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if s.Append(&r) != nil {
			t.Fail()
		}
	}))
	require.NoError(t, s.Close())
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%t", sync), func(b *testing.B) {
			s, err := filesink.Open(filepath.Join(b.TempDir(), "blocks.json"), filesink.Config{Sync: sync, MaxBytes: 64 << 20})
			require.NoError(b, err)
			r := numbered(1)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Append(&r); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, s.Close())
		})
	}
}
