package journal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
)

// drawRecord draws a record of few addresses, ports, subscribers and instants,
// so that records meet.
func drawRecord(t *rapid.T) logging.Record {
	base := logging.Millis(1700000000000)
	at := base + logging.Millis(rapid.IntRange(0, 60).Draw(t, "time"))
	addr := func(label string, list ...string) netip.Addr {
		return netip.MustParseAddr(rapid.SampledFrom(list).Draw(t, label))
	}
	r := logging.Record{
		Time: at, Spaces: logging.AllSpaces, Host: "h", Pool: "p", Epoch: 1, Instance: 1,
		External:   addr("external", "198.51.100.1", "198.51.100.2", "2001:db8::1", "::ffff:198.51.100.1"),
		Subscriber: addr("subscriber", "100.64.0.1", "100.64.0.2", "2001:db8:1::"),
		Used:       uint32(rapid.IntRange(0, 3).Draw(t, "used")),
		Reason:     rapid.SampledFrom([]logging.Reason{logging.ReasonNone, logging.ReasonIdle, logging.ReasonCancelled}).Draw(t, "reason"),
	}
	size := rapid.SampledFrom([]int{16, 64, 100, 1}).Draw(t, "size")
	r.First = uint16(1024 + rapid.IntRange(0, 9).Draw(t, "block")*16)
	r.Last = r.First + uint16(size-1)
	if size == 64 && rapid.Bool().Draw(t, "stepped") {
		r.Step = 3
	}
	if rapid.IntRange(0, 5).Draw(t, "named") == 0 {
		r.SubscriberID = "line 7"
	}
	if rapid.IntRange(0, 5).Draw(t, "classed") == 0 {
		r.Class = 2
	}
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0, 1, 2, 3:
		r.Kind = logging.BlockAllocated
		if rapid.Bool().Draw(t, "repeats") {
			r.Allocated = r.Time
		}
	case 4, 5, 6:
		r.Kind = logging.BlockReleased
		if rapid.IntRange(0, 3).Draw(t, "stands alone") > 0 {
			r.Allocated = at - logging.Millis(rapid.IntRange(0, 20).Draw(t, "held"))
		}
	case 7:
		r.Kind = logging.BlockInterim
		r.Allocated = at - logging.Millis(rapid.IntRange(0, 20).Draw(t, "held"))
	case 8:
		r.Kind = rapid.SampledFrom([]logging.Kind{logging.SessionCreated, logging.SessionDeleted, logging.MappingCreated, logging.MappingDeleted}).Draw(t, "session")
		r.Last, r.Step, r.Spaces, r.Protocol = r.First, 0, 0, 17
		r.Internal = netip.MustParseAddrPort("100.64.0.1:4000")
		r.Subscriber = netip.Addr{}
		if rapid.Bool().Draw(t, "remote") {
			r.Remote = netip.MustParseAddrPort("192.0.2.1:53")
		}
		if r.Kind == logging.SessionDeleted || r.Kind == logging.MappingDeleted {
			r.Allocated = at - logging.Millis(rapid.IntRange(0, 5).Draw(t, "held"))
		}
	case 9, 10:
		r.Kind, r.Step, r.Class, r.Pool = logging.StaticAdded, 0, 0, rapid.SampledFrom([]string{"web", "mail"}).Draw(t, "mapping")
		r.Spaces = rapid.SampledFrom([]logging.Spaces{logging.AllSpaces, logging.TCP, logging.UDP}).Draw(t, "spaces")
		if rapid.Bool().Draw(t, "removed") {
			r.Kind, r.Allocated = logging.StaticRemoved, at-logging.Millis(rapid.IntRange(0, 20).Draw(t, "held"))
		}
	default:
		r = logging.Record{Kind: rapid.SampledFrom([]logging.Kind{logging.QuotaExceeded, logging.ConfigEpoch, logging.AddressBound, logging.ThresholdHigh}).Draw(t, "other"),
			Time: at, Resource: logging.ResourcePool, Subscriber: r.Subscriber, External: r.External, Detail: "d", Host: "h"}
	}
	return r
}

// step draws what happens to a journal between records.
func (w *world) step(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0:
		require.NoError(t, w.j.Seal())
	case 1:
		require.NoError(t, w.j.Close())
		w.open(t)
	case 2:
		w.fs = w.fs.after(rapid.Bool().Draw(t, "power"), rapid.IntRange(0, 200).Draw(t, "tail"))
		w.open(t)
	case 3:
		require.NoError(t, w.j.maintain())
	}
}

// world is a journal on a disk in memory, and what was accepted.
type world struct {
	fs   *memFS
	j    *Journal
	recs []logging.Record
}

func (w *world) open(t require.TestingT) {
	var err error
	w.fs.locked = false
	w.j, err = open(w.fs, Config{Commit: Synced, manual: true, fanout: 2, OnError: func(err error) { require.NoError(t, err) }})
	require.NoError(t, err)
}

func (w *world) append(t require.TestingT, r logging.Record) {
	require.NoError(t, w.j.Append(&r))
	w.recs = append(w.recs, r)
}

func reader(t require.TestingT, fs ...*memFS) *Reader {
	r := &Reader{}
	for i, f := range fs {
		r.stores = append(r.stores, newStore(fmt.Sprint("journal ", i+1), f))
	}
	require.NoError(t, r.begin())
	return r
}

func recordsOf(t require.TestingT, r *Reader) (out []logging.Record) {
	for rec, err := range r.Records() {
		require.NoError(t, err)
		out = append(out, rec)
	}
	return out
}

// TestAnswersEqualIndex appends random records with sealing, merging, crashes
// and restarts in between; a Reader that follows and a fresh one then give back the
// records as they came, and answer as a logging.Index over them.
func TestAnswersEqualIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{fs: newMemFS()}
		w.open(t)
		x := logging.NewIndex()
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			r := drawRecord(t)
			w.append(t, r)
			require.NoError(t, x.Append(&r))
			w.step(t)
		}
		r := reader(t, w.fs)
		defer r.Close()
		require.Empty(t, r.Damage())
		got := recordsOf(t, r)
		require.Equal(t, len(w.recs), len(got))
		for i := range got {
			require.Equal(t, w.recs[i], got[i], "record %d", i)
		}
		compareAnswers(t, x, r)
	})
}

// compareAnswers asks both the same.
func compareAnswers(t require.TestingT, x *logging.Index, r *Reader) {
	base := logging.Millis(1700000000000)
	for _, ext := range []string{"198.51.100.1", "198.51.100.2", "2001:db8::1", "198.51.100.9"} {
		for port := uint16(1020); port < 1024+260; port += 29 {
			for at := base - 25; at < base+65; at += 13 {
				for _, tol := range []time.Duration{0, 3 * time.Millisecond} {
					q := logging.Query{External: netip.MustParseAddr(ext), Port: port, At: at.Time(), Tolerance: tol}
					require.Equal(t, describe(x.Who(q)), describeWho(t, r, q), "%+v", q)
				}
			}
		}
		q := logging.Query{External: netip.MustParseAddr(ext), AnyPort: true, At: (base + 20).Time(), Spaces: logging.UDP}
		require.Equal(t, describe(x.Who(q)), describeWho(t, r, q))
	}
	for _, sub := range []string{"100.64.0.1", "100.64.0.2", "2001:db8:1::", "100.64.0.9"} {
		for _, span := range [][2]logging.Millis{{0, 0}, {base, base + 5}, {base + 30, 0}, {0, base - 3}} {
			want := x.Subscriber(netip.MustParseAddr(sub), span[0].Time(), span[1].Time())
			got, err := r.Subscriber(netip.MustParseAddr(sub), span[0].Time(), span[1].Time())
			require.NoError(t, err)
			require.Equal(t, texts(want), texts(intervalsOf(got)))
		}
	}
	got, err := r.SubscriberID("line 7", time.Time{}, time.Time{})
	require.NoError(t, err)
	require.Equal(t, texts(x.SubscriberID("line 7", time.Time{}, time.Time{})), texts(intervalsOf(got)))
	require.Equal(t, texts(slices.Collect(x.Intervals())), texts(allIntervals(t, r)))
	for _, guard := range []time.Duration{0, 5 * time.Millisecond} {
		var got []logging.Conflict
		for c, err := range r.Verify(guard) {
			require.NoError(t, err)
			got = append(got, c)
		}
		require.Equal(t, pairs(x.Verify(guard)), pairs(got))
	}
}

// pairs writes conflicts as sets of two, because either of two that begin in the same
// millisecond may be called the earlier one.
func pairs(cs []logging.Conflict) (out []string) {
	for _, c := range cs {
		two := texts([]logging.Interval{c.Earlier, c.Later})
		out = append(out, fmt.Sprint(strings.Join(two, " | "), c.First, c.Last, c.Gap))
	}
	slices.Sort(out)
	return out
}

func allIntervals(t require.TestingT, r *Reader) (out []logging.Interval) {
	for b, err := range r.Intervals() {
		require.NoError(t, err)
		out = append(out, b.Interval)
	}
	return out
}

func intervalsOf(bs []Block) (out []logging.Interval) {
	for _, b := range bs {
		out = append(out, b.Interval)
	}
	return out
}

func texts(vs []logging.Interval) (out []string) {
	for _, v := range vs {
		out = append(out, fmt.Sprintf("%+v", v))
	}
	slices.Sort(out)
	return out
}

func describe(cs []logging.Candidate) (out []string) {
	for _, c := range cs {
		out = append(out, fmt.Sprintf("%+v", c))
	}
	slices.Sort(out)
	return out
}

func describeWho(t require.TestingT, r *Reader, q logging.Query) []string {
	got, err := r.Who(q)
	require.NoError(t, err)
	var cs []logging.Candidate
	for _, c := range got {
		cs = append(cs, c.Candidate)
	}
	return describe(cs)
}
