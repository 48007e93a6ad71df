package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/spool"
)

func numbered(n int) logging.Record {
	r := loggingtest.Records()[0]
	r.Epoch = uint64(n)
	return r
}

func open(t require.TestingT, dir string, c spool.Config) *spool.Spool {
	s, err := spool.Open(dir, c)
	require.NoError(t, err)
	return s
}

// rest reads what is behind the cursor.
func rest(t require.TestingT, s *spool.Spool) (records []logging.Record, numbers []uint64) {
	for {
		var r logging.Record
		seq, ok, err := s.Next(&r)
		require.NoError(t, err)
		if !ok {
			return records, numbers
		}
		records, numbers = append(records, r), append(numbers, seq)
	}
}

func epochs(records []logging.Record) (out []uint64) {
	for _, r := range records {
		out = append(out, r.Epoch)
	}
	return out
}

func appendAll(t require.TestingT, s *spool.Spool, from, to int) {
	for i := from; i <= to; i++ {
		r := numbered(i)
		require.NoError(t, s.Append(&r))
	}
}

func between(from, to uint64) (out []uint64) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]spool.Config{"Plain": {}, "Small": {MaxBytes: 1 << 20, SegmentBytes: 1024}, "Synced": {Sync: true}} {
		t.Run(name, func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				faulty := &disk.Faulty{FS: disk.OS}
				c.FS = faulty
				s := open(t, filepath.Join(t.TempDir(), "spool"), c)
				t.Cleanup(func() { _ = s.Close() })
				return loggingtest.Harness{
					Log: s,
					Accepted: func() []logging.Record {
						s.Rewind()
						out, _ := rest(t, s)
						return out
					},
					Fail: func(fail bool) { faulty.Set(disk.Faults{Limited: fail, Room: 10}) },
				}
			})
		})
	}
}

// TestOrderAndPosition: records come in their order with numbers from 1, Rewind goes to the first that is not acked, and
// a spool that is opened again is where it was.
func TestOrderAndPosition(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	c := spool.Config{MaxBytes: 1 << 20, SegmentBytes: 2000}
	s := open(t, dir, c)
	appendAll(t, s, 1, 50)
	got, numbers := rest(t, s)
	require.Equal(t, between(1, 50), epochs(got))
	require.Equal(t, between(1, 50), numbers)
	s.Ack(20)
	s.Ack(10)
	first, end := s.Pending()
	require.Equal(t, [2]uint64{21, 51}, [2]uint64{first, end})
	s.Rewind()
	s.Ack(40) // not read yet
	got, _ = rest(t, s)
	require.Equal(t, between(21, 50), epochs(got))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Close(), logging.ErrClosed)
	r := numbered(0)
	require.ErrorIs(t, s.Append(&r), logging.ErrClosed)
	_, _, err := s.Next(&r)
	require.ErrorIs(t, err, logging.ErrClosed)

	s = open(t, dir, c)
	appendAll(t, s, 51, 60)
	got, numbers = rest(t, s)
	require.Equal(t, between(21, 60), epochs(got))
	require.Equal(t, between(21, 60), numbers)
	s.Ack(60)
	require.NoError(t, s.Close())
	s = open(t, dir, c)
	got, _ = rest(t, s)
	require.Empty(t, got)
	require.LessOrEqual(t, s.Stats().Files, 1, "files of acked records are removed")
	appendAll(t, s, 61, 61)
	got, numbers = rest(t, s)
	require.Equal(t, [2]uint64{61, 61}, [2]uint64{got[0].Epoch, numbers[0]})
	require.NoError(t, s.Close())
}

// TestRoom: the space is bounded, the oldest records stay, refused or dropped ones are counted, and acks make room.
func TestRoom(t *testing.T) {
	for _, policy := range []logging.Policy{logging.RefuseNew, logging.DropNew} {
		t.Run(policy.String(), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, spool.Config{MaxBytes: 20000, SegmentBytes: 4000, Policy: policy})
			held := 0
			for i := range 100 {
				r := numbered(i + 1)
				err := s.Append(&r)
				if policy == logging.RefuseNew && err != nil {
					require.ErrorIs(t, err, logging.ErrFull)
				} else {
					require.NoError(t, err)
				}
				if s.Stats().Refused+s.Stats().Dropped == 0 {
					held++
				}
			}
			size := int64(0)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			for _, e := range entries {
				i, err := e.Info()
				require.NoError(t, err)
				size += i.Size()
			}
			st := s.Stats()
			require.Equal(t, size, st.Bytes)
			require.LessOrEqual(t, size, int64(20000))
			require.Greater(t, held, 30)
			require.EqualValues(t, 100-held, st.Refused+st.Dropped)
			got, _ := rest(t, s)
			require.Equal(t, between(1, uint64(held)), epochs(got))
			s.Ack(20)
			appendAll(t, s, 200, 205)
			got, _ = rest(t, s)
			require.Equal(t, between(200, 205), epochs(got))
			s.Ack(1 << 40)
			for range 3 { // room for all of it each time
				appendAll(t, s, 1, held*3/4)
				got, _ = rest(t, s)
				require.Equal(t, held*3/4, len(got))
				s.Ack(1 << 40)
			}
			require.EqualValues(t, 100-held, s.Stats().Refused+s.Stats().Dropped)
			require.NoError(t, s.Close())
		})
	}
}

// TestRefusesWhatItCannotKeep: a record that breaks a rule would not be readable; no policy accepts it.
func TestRefusesWhatItCannotKeep(t *testing.T) {
	s := open(t, t.TempDir(), spool.Config{Policy: logging.DropNew})
	require.ErrorIs(t, s.Append(&logging.Record{}), logging.ErrRecord)
	require.EqualValues(t, 1, s.Stats().Refused)
	require.NoError(t, s.Close())
}

func TestEveryFault(t *testing.T) {
	_, err := spool.Open(t.TempDir(), spool.Config{MaxBytes: 1, Policy: logging.DropOld})
	require.ErrorContains(t, err, "MaxBytes")
	require.ErrorContains(t, err, "Policy")
	_, err = spool.Open(t.TempDir(), spool.Config{MaxBytes: 10000, SegmentBytes: 5001})
	var fault *spool.ConfigError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "SegmentBytes", fault.Field)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = spool.Open(file, spool.Config{})
	require.Error(t, err)
}

// TestOneProcess: a spool that is open is not opened again.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Config{})
	_, err := spool.Open(dir, spool.Config{})
	require.ErrorIs(t, err, disk.ErrLocked)
	require.NoError(t, s.Close())
	require.NoError(t, open(t, dir, spool.Config{}).Close())
}

// one returns the octets of a segment with records 1 to n, and where each ends.
func one(t testing.TB, n int) (b []byte, ends []int) {
	dir := t.TempDir()
	s := open(t, dir, spool.Config{})
	for i := 1; i <= n; i++ {
		r := numbered(i)
		require.NoError(t, s.Append(&r))
		ends = append(ends, int(s.Stats().Bytes))
	}
	require.NoError(t, s.Close())
	b, err := os.ReadFile(filepath.Join(dir, segmentName))
	require.NoError(t, err)
	return b, ends
}

const segmentName = "00000000000000000001.spool"

// TestCrashAtEveryByte: a segment that ends anywhere has its whole records, and is written on.
func TestCrashAtEveryByte(t *testing.T) {
	b, ends := one(t, 2)
	dir := t.TempDir()
	for end := range len(b) + 1 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName), b[:end], 0o600))
		s := open(t, dir, spool.Config{FS: &disk.Faulty{FS: disk.OS}})
		whole := 0
		for whole < 2 && ends[whole] <= end {
			whole++
		}
		appendAll(t, s, 9, 9)
		got, numbers := rest(t, s)
		require.Equal(t, append(between(1, uint64(whole)), 9), epochs(got), "cut at %d", end)
		require.Equal(t, between(1, uint64(whole+1)), numbers)
		require.Zero(t, s.Stats().Lost)
		require.NoError(t, s.Close())
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "acked")))
	}
}

// TestDamageAtEveryByte: an octet of the lines before the last one that changed costs its line, or two where it was the line feed between them; what is
// lost is counted, and no record comes wrong.
func TestDamageAtEveryByte(t *testing.T) {
	b, ends := one(t, 3)
	dir := t.TempDir()
	path := filepath.Join(dir, segmentName)
	for at := range ends[1] - 1 {
		bad := slices.Clone(b)
		switch at % 3 {
		case 0:
			bad[at] ^= 0x01
		case 1:
			bad[at] ^= 0x80
		default:
			bad[at] = '\n'
		}
		if bad[at] == b[at] {
			bad[at] = 0
		}
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		s := open(t, dir, spool.Config{FS: &disk.Faulty{FS: disk.OS}})
		got, numbers := rest(t, s)
		line := 1
		for ends[line-1] <= at {
			line++
		}
		want := []uint64{}
		for n := 1; n <= 3; n++ {
			if n != line && (n != line+1 || at != ends[line-1]-1) {
				want = append(want, uint64(n))
			}
		}
		require.Equal(t, want, epochs(got), "octet %d", at)
		require.Equal(t, want, numbers)
		require.EqualValues(t, 3-len(want), s.Stats().Lost)
		s.Rewind()
		rest(t, s)
		require.EqualValues(t, 3-len(want), s.Stats().Lost, "counted once")
		require.NoError(t, s.Close())
	}
}

// TestFilesGone: segments that somebody removed are counted as lost, and a damaged position only makes records come
// again.
func TestFilesGone(t *testing.T) {
	dir := t.TempDir()
	c := spool.Config{MaxBytes: 1 << 20, SegmentBytes: 1024}
	s := open(t, dir, c)
	appendAll(t, s, 1, 20)
	rest(t, s)
	s.Ack(1)
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "acked"), []byte("00000000 15\n"), 0o600))
	names, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	require.NoError(t, err)
	require.Greater(t, len(names), 4)
	require.NoError(t, os.Remove(names[2]))
	s = open(t, dir, c)
	require.NoError(t, os.Remove(names[3]))
	got, _ := rest(t, s)
	require.EqualValues(t, 20, uint64(len(got))+s.Stats().Lost)
	require.EqualValues(t, 1, got[0].Epoch)
	require.EqualValues(t, 20, got[len(got)-1].Epoch)
	s.Ack(12)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, "acked")))
	s = open(t, dir, c)
	got, _ = rest(t, s)
	require.LessOrEqual(t, got[0].Epoch, uint64(13))
	require.Zero(t, s.Stats().Lost, "files that were removed because all in them was acked are not lost")
	require.NoError(t, s.Close())
}

// TestSyncFails: what did not reach the disk is refused and cut off; where it cannot be cut off, it is delivered and
// counted as stray. A torn line that stays is spoiled by the next one, also where only its line feed is missing.
func TestSyncFails(t *testing.T) {
	faulty := &disk.Faulty{FS: disk.OS}
	dir := t.TempDir()
	s := open(t, dir, spool.Config{FS: faulty, Sync: true})
	appendOne := func(n int, f disk.Faults) error {
		faulty.Set(f)
		r := numbered(n)
		return s.Append(&r)
	}
	require.NoError(t, appendOne(1, disk.Faults{}))
	require.ErrorIs(t, appendOne(2, disk.Faults{Sync: true}), disk.ErrFault)
	require.ErrorIs(t, appendOne(3, disk.Faults{Sync: true, Truncate: true}), disk.ErrFault)
	require.NoError(t, appendOne(4, disk.Faults{}))
	before := s.Stats().Bytes
	require.NoError(t, appendOne(5, disk.Faults{}))
	line := s.Stats().Bytes - before
	require.ErrorIs(t, appendOne(6, disk.Faults{Limited: true, Room: line - 1, Truncate: true}), disk.ErrFault)
	require.NoError(t, appendOne(7, disk.Faults{}))
	require.ErrorIs(t, appendOne(8, disk.Faults{Limited: true, Room: line - 1, Truncate: true}), disk.ErrFault)
	faulty.Set(disk.Faults{})
	st := s.Stats()
	require.Equal(t, [...]uint64{4, 4, 1, 1, 2}, [...]uint64{st.Accepted, st.Refused, st.Cut, st.Stray, st.Torn})
	for range 2 {
		got, numbers := rest(t, s)
		require.Equal(t, []uint64{1, 3, 4, 5, 7}, epochs(got))
		require.Equal(t, between(1, 5), numbers)
		require.Zero(t, s.Stats().Lost)
		require.NoError(t, s.Close())
		s = open(t, dir, spool.Config{})
	}
	require.NoError(t, s.Close())
}

// TestDeliver: records go to any log, again and again until it takes them, or says that it never can; what the log has
// is acked.
func TestDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), spool.Config{})
		appendAll(t, s, 1, 5)
		m := logging.NewMemory(0)
		m.Refuse(logging.ErrFull)
		next := logging.LogFunc(func(r *logging.Record) error {
			if r.Epoch == 3 {
				return logging.ErrRecord
			}
			return m.Append(r)
		})
		var rejected []uint64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- s.Deliver(ctx, next, func(r *logging.Record, err error) { rejected = append(rejected, r.Epoch) })
		}()
		time.Sleep(time.Minute)
		m.Refuse(nil)
		time.Sleep(time.Minute)
		appendAll(t, s, 6, 7)
		synctest.Wait()
		require.Equal(t, []uint64{1, 2, 4, 5, 6, 7}, epochs(m.Records()))
		require.Equal(t, []uint64{3}, rejected)
		require.Zero(t, s.Stats().Waiting)
		m.Refuse(logging.ErrFull)
		appendAll(t, s, 8, 8)
		time.Sleep(time.Second)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.EqualValues(t, 1, s.Stats().Waiting)
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Deliver(t.Context(), m, nil), logging.ErrClosed)
	})
}

// TestRandomRuns: a disk with faults, acks in any place, processes that end with and without Close. Each record that was
// accepted comes in its order until it is acked and that is saved; what was refused does not come, but for what is
// counted as stray.
func TestRandomRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		faulty := &disk.Faulty{FS: disk.OS}
		c := spool.Config{
			MaxBytes: rapid.SampledFrom([]int64{4096, 9000, 1 << 20}).Draw(t, "max"), SegmentBytes: 1024, FS: faulty,
			Sync: rapid.Bool().Draw(t, "sync"), AckEvery: rapid.SampledFrom([]uint64{1, 3, 100}).Draw(t, "every"),
		}
		s := open(t, dir, c)
		var stray, lost uint64
		var held []uint64 // epochs of the records accepted and not acked
		var maybe int     // of these the first ones were acked before a crash and may come no more
		var read int      // how many of held were read since the last Rewind
		var lastSeq uint64
		var seqs []uint64 // numbers of those read
		n := 0
		// expect checks that r is the next of held, or a stray one.
		expect := func(r logging.Record, seq uint64) {
			require.Greater(t, seq, lastSeq)
			lastSeq = seq
			for read < maybe && r.Epoch != held[read] {
				held, maybe = slices.Delete(held, read, read+1), maybe-1
			}
			if read == len(held) || r.Epoch != held[read] {
				require.Positive(t, stray, "record %d was not accepted or comes out of order: %v", r.Epoch, held)
				i, known := slices.BinarySearch(held, r.Epoch)
				require.False(t, known, "record %d out of order", r.Epoch)
				held = slices.Insert(held, i, r.Epoch)
				stray--
			}
			read++
			seqs = append(seqs, seq)
		}
		rewound := func() { read, lastSeq, seqs = 0, 0, nil }
		count := func() { stray, lost = stray+s.Stats().Stray, lost+s.Stats().Lost }
		seenStray := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					n++
					r := numbered(n)
					if s.Append(&r) == nil {
						held = append(held, r.Epoch)
					}
				}
				stray += s.Stats().Stray - seenStray
				seenStray = s.Stats().Stray
			},
			"read": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "times") {
					var r logging.Record
					seq, ok, err := s.Next(&r)
					require.NoError(t, err)
					if !ok {
						require.Equal(t, len(held), read, "records %v do not come", held[read:])
						break
					}
					expect(r, seq)
				}
			},
			"ack": func(t *rapid.T) {
				if read == 0 {
					return
				}
				k := rapid.IntRange(1, read).Draw(t, "up to")
				s.Ack(seqs[k-1])
				held, seqs, read, maybe = held[k:], seqs[k:], read-k, max(0, maybe-k)
			},
			"rewind": func(*rapid.T) { s.Rewind(); rewound() },
			"faults": func(t *rapid.T) {
				often := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
				faulty.Set(disk.Faults{
					Limited: often("full"), Room: rapid.Int64Range(0, 1500).Draw(t, "room"),
					Truncate: often("truncate"), Sync: often("sync"), Create: often("create"), Rename: often("rename"), Remove: often("remove"),
				})
			},
			"close": func(*rapid.T) {
				faulty.Set(disk.Faults{})
				require.NoError(t, s.Close())
				count()
				stray -= seenStray
				seenStray = 0
				s = open(t, dir, c)
				rewound()
			},
			"": func(*rapid.T) {
				require.LessOrEqual(t, s.Stats().Bytes, c.MaxBytes)
			},
		})
		faulty.Set(disk.Faults{})
		s.Rewind()
		rewound()
		got, numbers := rest(t, s)
		for i, r := range got {
			expect(r, numbers[i])
		}
		require.Equal(t, len(held), read, "records %v are lost", held[min(read, len(held)):])
		require.NoError(t, s.Close())
		count()
		require.Zero(t, lost)
	})
}

// TestCrashes: processes that end without Close: the records that were accepted and not acked are there, those acked
// may come again.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		c := spool.Config{FS: &disk.Faulty{FS: disk.OS}, MaxBytes: 1 << 20, SegmentBytes: 1024, AckEvery: rapid.SampledFrom([]uint64{1, 5, 100}).Draw(t, "every")}
		n, acked := 0, uint64(0)
		for range rapid.IntRange(1, 6).Draw(t, "lives") {
			s := open(t, dir, c)
			got, _ := rest(t, s)
			if len(got) > 0 {
				require.LessOrEqual(t, got[0].Epoch, acked+1)
				require.Equal(t, between(got[0].Epoch, uint64(n)), epochs(got))
			} else {
				require.EqualValues(t, n, acked)
			}
			more := rapid.IntRange(0, 12).Draw(t, "records")
			appendAll(t, s, n+1, n+more)
			n += more
			rest(t, s)
			acked = max(acked, rapid.Uint64Range(0, uint64(n)).Draw(t, "ack"))
			s.Ack(acked)
			require.Zero(t, s.Stats().Lost)
		}
	})
}

// FuzzOpen opens a spool of any octets: nothing panics or goes on for ever, the bounds hold, and what is appended
// comes back behind what was there.
func FuzzOpen(f *testing.F) {
	b, _ := one(f, 3)
	f.Add(b, []byte("00000000 2\n"))                               // whole, the position damaged
	f.Add(b[:len(b)-5], []byte{})                                  // torn
	f.Add(bytes.Replace(b, []byte("\n"), []byte("~\n"), 1), b[:9]) // a spoiled line
	f.Add(append(slices.Clone(b[300:]), b...), []byte("x"))        // begins in a line, numbers twice
	f.Add(bytes.Repeat([]byte("\n"), 99), []byte("\n"))            // lines without anything
	f.Fuzz(func(t *testing.T, segment, acked []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName), segment, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "acked"), acked, 0o600))
		s, err := spool.Open(dir, spool.Config{})
		require.NoError(t, err)
		before, _ := rest(t, s)
		require.LessOrEqual(t, len(before), bytes.Count(segment, []byte("\n")))
		appendAll(t, s, 77, 77)
		got, _ := rest(t, s)
		require.Equal(t, []uint64{77}, epochs(got))
		s.Rewind()
		got, _ = rest(t, s)
		require.Equal(t, len(before)+1, len(got))
		require.NoError(t, s.Close())
	})
}

// TestAppendAllocatesNothing: nor does Next, but for the record's text.
func TestAppendAllocatesNothing(t *testing.T) {
	s := open(t, t.TempDir(), spool.Config{FS: &disk.Faulty{FS: disk.OS}})
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
			s, err := spool.Open(b.TempDir(), spool.Config{Sync: sync, MaxBytes: 1 << 30})
			require.NoError(b, err)
			r := numbered(1)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Append(&r); errors.Is(err, logging.ErrFull) {
					b.StopTimer()
					rest(b, s)
					s.Ack(1 << 60)
					b.StartTimer()
				}
			}
			require.NoError(b, s.Close())
		})
	}
}
