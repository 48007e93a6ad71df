package journal

import (
	"cmp"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/fstest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// held is a block of cgn1's first epoch, allocated by 100.64.0.n at start plus at.
func held(kind logging.Kind, n byte, at, allocated time.Duration) logging.Record {
	r := logging.Record{
		Kind: kind, Time: logging.MillisOf(start.Add(at)), Spaces: logging.AllSpaces, Host: "cgn1", Epoch: 1, Pool: "cgn",
		Subscriber: netip.AddrFrom4([4]byte{100, 64, 0, n}), External: netip.MustParseAddr("198.51.100.7"), First: 1024, Last: 1279,
	}
	if kind != logging.BlockAllocated {
		r.Allocated = logging.MillisOf(start.Add(allocated))
	}
	return r
}

func ask(t *testing.T, r *Reader, at time.Duration) []Candidate {
	got, err := r.Who(logging.Query{External: netip.MustParseAddr("198.51.100.7"), Port: 1100, At: start.Add(at)})
	require.NoError(t, err)
	return got
}

// TestEnds: what is known of the end of a block, before and after sealing, where
// nothing ends it, interim records narrow it, the host starts again, or the port has another holder.
func TestEnds(t *testing.T) {
	restarted := held(logging.BlockAllocated, 9, 3*time.Hour, 0)
	restarted.Epoch, restarted.First, restarted.Last = 2, 8192, 8447
	reheld := held(logging.BlockInterim, 1, 4*time.Hour, 0)
	reheld.Epoch = 2
	for _, c := range []struct {
		name    string
		recs    []logging.Record
		end     End
		seen    time.Duration
		bound   time.Duration
		assumed bool // two hours after the allocation
	}{
		{"released", []logging.Record{held(logging.BlockAllocated, 1, 0, 0), held(logging.BlockReleased, 1, 5*time.Hour, 0)}, Released, 5 * time.Hour, 0, false},
		{"held", []logging.Record{held(logging.BlockAllocated, 1, 0, 0)}, Held, 0, 0, true},
		{"interim", []logging.Record{held(logging.BlockAllocated, 1, 0, 0), held(logging.BlockInterim, 1, 150*time.Minute, 0)}, Held, 150 * time.Minute, 0, false},
		{"interim alone", []logging.Record{held(logging.BlockInterim, 1, time.Hour, 0)}, Held, time.Hour, 0, true},
		{"host restarted", []logging.Record{held(logging.BlockAllocated, 1, 0, 0), restarted}, Lost, 0, 3 * time.Hour, true},
		{"host restarted and goes on", []logging.Record{held(logging.BlockAllocated, 1, 0, 0), restarted, reheld}, Held, 4 * time.Hour, 0, false},
		{"release lost", []logging.Record{held(logging.BlockAllocated, 1, 0, 0), held(logging.BlockInterim, 1, time.Hour, 0), held(logging.BlockAllocated, 2, 6*time.Hour, 0)}, Lost, time.Hour, 6 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{fs: newMemFS()}
			w.open(t)
			for _, r := range c.recs {
				w.append(t, r)
			}
			for range 2 {
				r := reader(t, w.fs)
				got := ask(t, r, 2*time.Hour)
				require.Len(t, got, 1)
				v := got[0]
				require.Equal(t, "100.64.0.1", v.Subscriber.String())
				require.Equal(t, c.end, v.End)
				require.Equal(t, logging.MillisOf(start.Add(c.seen)), v.Seen)
				if c.bound == 0 {
					require.Zero(t, v.Bound)
				} else {
					require.Equal(t, logging.MillisOf(start.Add(c.bound)), v.Bound)
				}
				require.Equal(t, c.assumed, v.Assumed(logging.MillisOf(start.Add(2*time.Hour))))
				require.Equal(t, "journal 1", v.Journal)
				blocks, err := r.Subscriber(netip.MustParseAddr("100.64.0.1"), time.Time{}, time.Time{})
				require.NoError(t, err)
				require.Len(t, blocks, 1)
				require.Equal(t, c.end, blocks[0].End)
				r.Close()
				require.NoError(t, w.j.Seal())
			}
		})
	}
	require.Equal(t, "released held lost end(9)", Released.String()+" "+Held.String()+" "+Lost.String()+" "+End(9).String())
}

// TestSeveralJournals: hosts are asked together; one interval in two journals is one.
func TestSeveralJournals(t *testing.T) {
	a, b := &world{fs: newMemFS()}, &world{fs: newMemFS()}
	a.open(t)
	b.open(t)
	a.append(t, held(logging.BlockAllocated, 1, 0, 0))
	b.append(t, held(logging.BlockAllocated, 1, 0, 0))
	b.append(t, held(logging.BlockReleased, 1, time.Hour, 0))
	b.append(t, held(logging.BlockAllocated, 2, 2*time.Hour, 0))
	require.NoError(t, a.j.Seal())
	r := reader(t, a.fs, b.fs)
	defer r.Close()
	require.Len(t, ask(t, r, 30*time.Minute), 1)
	require.Empty(t, ask(t, r, 90*time.Minute))
	require.Equal(t, "100.64.0.2", ask(t, r, 3*time.Hour)[0].Subscriber.String())
	require.Equal(t, "journal 2", ask(t, r, 3*time.Hour)[0].Journal)
	require.Len(t, recordsOf(t, r), 4)
	stats, err := r.Stats()
	require.NoError(t, err)
	require.Len(t, stats, 2)
	require.Equal(t, []uint64{1, 0}, []uint64{stats[0].Open, stats[1].Open})
	require.Equal(t, 3, stats[1].Unsealed)
}

// TestDelete: whole segments go by age, by size and by order; what is open and
// what is newer stays, and so does the order of what comes.
func TestDelete(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	w.j.c.fanout = 100
	now := start
	w.j.c.Now = func() time.Time { return now }
	w.append(t, held(logging.BlockAllocated, 9, -time.Hour, 0)) // open for ever
	for i := range 6 {
		at := time.Duration(i) * time.Hour
		w.append(t, held(logging.BlockAllocated, byte(i), at, 0))
		w.append(t, held(logging.BlockReleased, byte(i), at+time.Minute, at))
		require.NoError(t, w.j.Seal())
	}
	left := func() (out []int) {
		r := reader(t, w.fs)
		defer r.Close()
		require.Empty(t, r.Damage())
		for _, rec := range recordsOf(t, r) {
			if rec.Kind == logging.BlockReleased {
				out = append(out, int(rec.Subscriber.As4()[3]))
			}
		}
		found := slices.ContainsFunc(ask(t, r, 10*time.Hour), func(c Candidate) bool { return c.Subscriber.As4()[3] == 9 })
		require.True(t, found, "the open one is found")
		return out
	}
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, left())
	n, err := w.j.DeleteBefore(start.Add(time.Minute))
	require.NoError(t, err)
	require.Zero(t, n, "the end of the first is not before that")
	n, err = w.j.DeleteBefore(start.Add(time.Minute + time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []int{1, 2, 3, 4, 5}, left())
	w.j.c.MaxAge, now = 24*time.Hour, start.Add(26*time.Hour+2*time.Minute)
	require.NoError(t, w.j.maintain())
	require.Equal(t, []int{3, 4, 5}, left())
	total, err := bytesOf(w.fs)
	require.NoError(t, err)
	w.j.c.MaxAge, w.j.c.MaxBytes = 0, total-1
	require.NoError(t, w.j.maintain())
	require.Equal(t, []int{4, 5}, left())
	w.j.c.MaxBytes = 1
	require.NoError(t, w.j.maintain())
	require.Equal(t, []int{5}, left(), "the newest segment stays")
	require.Equal(t, uint64(5), w.j.Stats().Deleted)
	w.append(t, held(logging.BlockAllocated, 6, 20*time.Hour, 0))
	w.append(t, held(logging.BlockReleased, 6, 21*time.Hour, 20*time.Hour))
	w.j.c.MaxBytes = 0
	require.NoError(t, w.j.Seal())
	require.Equal(t, []int{5, 6}, left())
	w.append(t, held(logging.BlockAllocated, 7, 22*time.Hour, 0))
	w.append(t, held(logging.BlockReleased, 7, 23*time.Hour, 22*time.Hour))
	require.NoError(t, w.j.Seal())
	n, err = w.j.DeleteWithin(start.Add(20*time.Hour+time.Millisecond), start.Add(21*time.Hour))
	require.NoError(t, err)
	require.Zero(t, n, "it begins before that")
	n, err = w.j.DeleteWithin(start.Add(20*time.Hour), start.Add(21*time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []int{5, 7}, left())
}

func TestConfigFaults(t *testing.T) {
	_, err := open(newMemFS(), Config{Commit: 7, Interval: -1, NoSync: true, WALSize: 5, Pending: 5, Backlog: 1, SegmentSpan: 5, MaxAge: -1, MaxBytes: -1})
	for _, field := range []string{"Commit", "Interval", "WALSize", "Pending", "Backlog", "SegmentSpan", "MaxAge", "MaxBytes"} {
		require.ErrorContains(t, err, "journal: Config."+field+" ")
	}
	_, err = open(newMemFS(), Config{Commit: Synced, NoSync: true})
	var fault *ConfigError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "NoSync", fault.Field)
	require.Equal(t, "written synced buffered commit(9)", Written.String()+" "+Synced.String()+" "+Buffered.String()+" "+Commit(9).String())
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, Config{})
	require.NoError(t, err)
	_, err = Open(dir, Config{})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, j.Close())
	require.ErrorIs(t, j.Close(), logging.ErrClosed)
	r := numbered(0)
	require.ErrorIs(t, j.Append(&r), logging.ErrClosed)
	require.ErrorIs(t, j.Sync(), logging.ErrClosed)
	require.ErrorIs(t, j.Seal(), logging.ErrClosed)
	j, err = Open(dir, Config{})
	require.NoError(t, err)
	require.NoError(t, j.Close())
}

// TestRefusesFaultyRecords: a record that breaks a rule is refused and counted.
func TestRefusesFaultyRecords(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	err := w.j.Append(&logging.Record{Kind: logging.BlockAllocated, Time: 1})
	require.ErrorIs(t, err, logging.ErrRecord)
	require.Equal(t, uint64(1), w.j.Stats().Refused)
}

// TestReadsAnyFileSystem: a journal in a file system that can only be read on.
func TestReadsAnyFileSystem(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	w.append(t, held(logging.BlockAllocated, 1, 0, 0))
	require.NoError(t, w.j.Seal())
	w.append(t, held(logging.BlockReleased, 1, time.Hour, 0))
	all := fstest.MapFS{}
	for name, f := range w.fs.files {
		all[name] = &fstest.MapFile{Data: f.data}
	}
	r, err := NewReader(onlyOn{all})
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, Released, ask(t, r, time.Minute)[0].End)
	_, err = NewReader(fstest.MapFS{"letter.txt": {}})
	require.ErrorIs(t, err, ErrNoJournal)
	_, err = OpenReader()
	require.ErrorContains(t, err, "no directory is named")
}

// onlyOn is a file system whose files cannot be read at any place.
type onlyOn struct{ fs.FS }

func (o onlyOn) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	if _, dir := f.(fs.ReadDirFile); dir && name == "." || err != nil {
		return f, err
	}
	return struct{ fs.File }{f}, nil
}

// TestAppendAllocatesNothing: a Buffered append makes no garbage but the buffer's growth.
func TestAppendAllocatesNothing(t *testing.T) {
	w := newMemFS()
	j, err := open(w, Config{Commit: Buffered, manual: true, Pending: 1 << 24})
	require.NoError(t, err)
	j.buf = make([]byte, 0, 1<<22)
	r := numbered(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := j.Append(&r); err != nil {
			t.Fatal(err)
		}
	}))
}

// TestSizes: an interval of a block takes less than 16 bytes, its share of
// index and filters included, where addresses, ports and times are random.
func TestSizes(t *testing.T) {
	w := &world{fs: newMemFS()}
	w.open(t)
	w.j.c.Commit = Buffered
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 20000
	var recs []logging.Record
	for range n {
		r := held(logging.BlockAllocated, 0, time.Duration(rnd.Int64N(int64(24*time.Hour))), 0)
		r.First = uint16(1024 + rnd.IntN(252)*256)
		r.Last = r.First + 255
		r.External = netip.AddrFrom4([4]byte{198, 51, 100, byte(rnd.IntN(16))})
		r.Subscriber = netip.AddrFrom4([4]byte{100, byte(64 + rnd.IntN(4)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		end := r
		end.Kind, end.Allocated = logging.BlockReleased, r.Time
		end.Time += logging.Millis(rnd.ExpFloat64() * 3600e3)
		recs = append(recs, r, end)
	}
	slices.SortFunc(recs, func(a, b logging.Record) int { return cmp.Compare(a.Time, b.Time) })
	for i := range recs {
		require.NoError(t, w.j.Append(&recs[i]))
	}
	require.NoError(t, w.j.Seal())
	require.Less(t, float64(len(w.fs.files[segName(1, 1)].data))/n, 16.0)
	require.LessOrEqual(t, unsafe.Sizeof(row{}), uintptr(176))
	require.LessOrEqual(t, unsafe.Sizeof(chunkRef{}), uintptr(64))
}
