package logging

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// golden is the index as one reads it: a slice of blocks, searched from end to
// end, with ends that include their millisecond. It shares no code with Index.
type golden []goldenBlock

type goldenBlock struct {
	sub         netip.Addr
	ext         netip.Addr
	first, last int
	step        int
	spaces      Spaces
	class       uint32
	from, to    int64 // to -1: open
}

func (g golden) who(ext netip.Addr, port int, any bool, t, tol int64, spaces Spaces, class int) []string {
	var out []string
	for _, b := range g {
		has := false
		for p := b.first; p <= b.last; p += max(b.step, 1) {
			has = has || p == port
		}
		if b.ext != ext || !has && !any || class >= 0 && uint32(class) != b.class {
			continue
		}
		if spaces != 0 && b.spaces&spaces == 0 {
			continue
		}
		if b.from > t+tol || b.to >= 0 && b.to < t-tol {
			continue
		}
		certainty := "edge"
		if b.from > t || b.to >= 0 && b.to < t {
			certainty = "near"
		} else if b.from <= t-tol && (b.to < 0 || b.to >= t+tol) {
			certainty = "inside"
		}
		out = append(out, fmt.Sprintln(b.sub, b.first, b.last, b.from, b.to, certainty))
	}
	slices.Sort(out)
	return out
}

func answers(cs []Candidate) []string {
	var out []string
	for _, c := range cs {
		to := int64(c.To)
		if c.Open {
			to = -1
		}
		out = append(out, fmt.Sprintln(c.Subscriber, int(c.First), int(c.Last), int64(c.From), to, c.Certainty))
	}
	slices.Sort(out)
	return out
}

func addr4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

// genBlocks draws blocks of few addresses, ports and instants, so that they meet.
func genBlocks(t *rapid.T) golden {
	var g golden
	seen := map[goldenBlock]bool{}
	for range rapid.IntRange(0, 40).Draw(t, "blocks") {
		size := rapid.SampledFrom([]int{1, 16, 256, 4096}).Draw(t, "size")
		first := rapid.SampledFrom([]int{0, 1000, 1024, 1024 + 256, 65536 - size}).Draw(t, "first")
		b := goldenBlock{
			sub: addr4(100, 64, 0, rapid.Byte().Draw(t, "sub")), ext: addr4(198, 51, 100, byte(rapid.IntRange(1, 2).Draw(t, "ext"))),
			first: first, last: first + size - 1, step: rapid.IntRange(0, 1).Draw(t, "step"),
			spaces: Spaces(rapid.IntRange(1, 7).Draw(t, "spaces")),
			class:  uint32(rapid.IntRange(0, 1).Draw(t, "class")),
			from:   int64(rapid.IntRange(1, 60).Draw(t, "from")), to: -1,
		}
		if size > 1 && rapid.Bool().Draw(t, "odd") {
			b.step, b.last = 3, first+(size-1)/3*3
		}
		if rapid.IntRange(0, 3).Draw(t, "closed") > 0 {
			b.to = b.from + int64(rapid.IntRange(0, 20).Draw(t, "length"))
		}
		k := b
		k.to = 0
		if !seen[k] {
			seen[k] = true
			g = append(g, b)
		}
	}
	return g
}

// records returns the records of g, with interim records, and some twice.
func (g golden) records(t *rapid.T) []Record {
	var out []Record
	for _, b := range g {
		r := Record{
			Kind: BlockAllocated, Subscriber: b.sub, External: b.ext, First: uint16(b.first), Last: uint16(b.last),
			Step: uint16(b.step), Spaces: b.spaces, Class: b.class, Time: Millis(b.from),
		}
		what := rapid.IntRange(0, 7).Draw(t, "records")
		// An open block is known by its allocation or by an interim record, a
		// closed one by its release alone too.
		interim := what&1 != 0
		if what&2 == 0 || b.to < 0 && !interim {
			out = append(out, r)
			if what&4 != 0 {
				out = append(out, r)
			}
		}
		r.Allocated = Millis(b.from)
		if interim {
			r.Kind, r.Time = BlockInterim, Millis(b.from)
			out = append(out, r)
		}
		if b.to >= 0 {
			r.Kind, r.Time, r.Reason = BlockReleased, Millis(b.to), ReasonIdle
			out = append(out, r)
			if what&4 != 0 {
				out = append(out, r)
			}
		}
	}
	return rapid.Permutation(out).Draw(t, "order")
}

// TestIndexAgainstScan also covers 6302-01 and 6269-05: what a server logs is
// enough to ask, and without a port all holders of the address are told.
func TestIndexAgainstScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := genBlocks(t)
		x := NewIndex()
		open := 0
		for _, r := range g.records(t) {
			if err := x.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range g {
			if b.to < 0 {
				open++
			}
		}
		if x.Len() != len(g) || x.Open() != open {
			t.Fatalf("%d intervals, %d open; want %d, %d", x.Len(), x.Open(), len(g), open)
		}
		for range 40 {
			ext := addr4(198, 51, 100, byte(rapid.IntRange(1, 3).Draw(t, "ext")))
			port := rapid.SampledFrom([]int{0, 999, 1000, 1015, 1023, 1024, 1027, 1279, 1280, 4096, 65280, 65535}).Draw(t, "port")
			any := rapid.IntRange(0, 4).Draw(t, "any") == 0
			at := int64(rapid.IntRange(1, 85).Draw(t, "at"))
			tol := int64(rapid.SampledFrom([]int{0, 0, 1, 5, 100}).Draw(t, "tolerance"))
			spaces := Spaces(rapid.IntRange(0, 7).Draw(t, "spaces"))
			class := rapid.IntRange(-1, 1).Draw(t, "class")
			got := x.Who(Query{
				External: ext, Port: uint16(port), AnyPort: any, At: Millis(at).Time(), Tolerance: time.Duration(tol) * time.Millisecond,
				Spaces: spaces, Class: uint32(max(class, 0)), ByClass: class >= 0,
			})
			want := g.who(ext, port, any, at, tol, spaces, class)
			if !slices.Equal(answers(got), want) {
				t.Fatalf("%v:%d any %v at %d +- %d %v\n got %v\nwant %v", ext, port, any, at, tol, spaces, answers(got), want)
			}
			if !slices.IsSortedFunc(got, func(a, b Candidate) int {
				return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.From, b.From))
			}) {
				t.Fatalf("not in order: %v", got)
			}
		}
		for range 10 {
			sub := addr4(100, 64, 0, rapid.Byte().Draw(t, "holder"))
			if len(g) > 0 {
				sub = g[rapid.IntRange(0, len(g)-1).Draw(t, "i")].sub
			}
			from := int64(rapid.IntRange(1, 60).Draw(t, "after"))
			to := from + int64(rapid.IntRange(0, 20).Draw(t, "span"))
			var want []string
			for _, b := range g {
				if b.sub == sub && b.from <= to && (b.to < 0 || b.to >= from) {
					want = append(want, fmt.Sprint(b.sub, b.first, b.last, b.from, b.to))
				}
			}
			slices.Sort(want)
			var got []string
			for _, v := range x.Subscriber(sub, Millis(from).Time(), Millis(to).Time()) {
				end := int64(v.To)
				if v.Open {
					end = -1
				}
				got = append(got, fmt.Sprint(v.Subscriber, int(v.First), int(v.Last), int64(v.From), end))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%v from %d to %d\n got %v\nwant %v", sub, from, to, got, want)
			}
		}
	})
}

// TestIndexVerifyAgainstScan compares Verify with all pairs, port by port.
func TestIndexVerifyAgainstScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := genBlocks(t)
		x := NewIndex()
		for _, r := range g.records(t) {
			if err := x.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		guard := int64(rapid.IntRange(0, 10).Draw(t, "guard"))
		var want []string
		for i, a := range g {
			for _, b := range g[:i] {
				e, l := a, b
				if e.from > l.from {
					e, l = l, e
				}
				if a.ext != b.ext || a.spaces&b.spaces == 0 || a.class != b.class {
					continue
				}
				ports := map[int]bool{}
				for p := a.first; p <= a.last; p += max(a.step, 1) {
					ports[p] = true
				}
				shared := false
				for p := b.first; p <= b.last; p += max(b.step, 1) {
					shared = shared || ports[p]
				}
				apart := e.to >= 0 && e.to < l.from && l.from-e.to >= guard
				if shared && !apart {
					pair := []string{fmt.Sprint(a), fmt.Sprint(b)}
					slices.Sort(pair)
					want = append(want, strings.Join(pair, " "))
				}
			}
		}
		var got []string
		for _, c := range x.Verify(time.Duration(guard) * time.Millisecond) {
			pair := []string{fmt.Sprint(fromInterval(c.Earlier)), fmt.Sprint(fromInterval(c.Later))}
			slices.Sort(pair)
			got = append(got, strings.Join(pair, " "))
			if !c.Earlier.HasPort(c.First) || !c.Later.HasPort(c.First) || !c.Earlier.HasPort(c.Last) || !c.Later.HasPort(c.Last) {
				t.Fatalf("%v: ports that not both have", c)
			}
			if d := c.Later.From - c.Earlier.To; !c.Earlier.Open && d > 0 && c.Gap != time.Duration(d)*time.Millisecond || (c.Earlier.Open || d <= 0) && c.Gap >= 0 {
				t.Fatalf("%v: gap %v", c, c.Gap)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("guard %d\n got %v\nwant %v", guard, got, want)
		}
	})
}

func fromInterval(v Interval) goldenBlock {
	to := int64(v.To)
	if v.Open {
		to = -1
	}
	return goldenBlock{v.Subscriber, v.External, int(v.First), int(v.Last), int(v.Step), v.Spaces, v.Class, int64(v.From), to}
}

func block(kind Kind, sub, ext string, first, last uint16, at, allocated int64) *Record {
	return &Record{Kind: kind, Subscriber: netip.MustParseAddr(sub), External: netip.MustParseAddr(ext), First: first, Last: last,
		Spaces: AllSpaces, Time: Millis(at), Allocated: Millis(allocated)}
}

func mustAppend(t *testing.T, l Log, recs ...*Record) {
	t.Helper()
	for _, r := range recs {
		require.NoError(t, l.Append(r))
	}
}

func TestIndexReleaseWithoutBeginning(t *testing.T) {
	x := NewIndex()
	mustAppend(t, x,
		block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0),
		block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 2000, 0),
		block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 2000, 0),
		block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 3000, 0),
		block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 4000, 0),
	)
	got := x.Subscriber(netip.MustParseAddr("100.64.0.1"), time.Time{}, time.Time{})
	require.Len(t, got, 2)
	require.Equal(t, []Millis{1000, 2000, 3000, 4000}, []Millis{got[0].From, got[0].To, got[1].From, got[1].To})
	require.True(t, got[0].Confirmed)
	require.Zero(t, x.Open())
}

// TestIndexTwoEnds: of two ends the later one counts, in either order.
func TestIndexTwoEnds(t *testing.T) {
	early := block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 4000, 1000)
	late := block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 5000, 1000)
	for _, order := range [][]*Record{{early, late}, {late, early}} {
		x := NewIndex()
		mustAppend(t, x, order...)
		require.Equal(t, Millis(5000), x.Subscriber(early.Subscriber, time.Time{}, time.Time{})[0].To)
		require.Len(t, x.Who(Query{External: early.External, Port: 1024, At: Millis(4500).Time()}), 1)
	}
}

func TestIndexCancelled(t *testing.T) {
	x := NewIndex()
	back := block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 1000)
	back.Reason = ReasonCancelled
	mustAppend(t, x, block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0), back, back,
		block(BlockAllocated, "100.64.0.2", "198.51.100.7", 1024, 1279, 1000, 0))
	got := x.Who(Query{External: netip.MustParseAddr("198.51.100.7"), Port: 1100, At: Millis(1000).Time()})
	require.Len(t, got, 1)
	require.Equal(t, "100.64.0.2", got[0].Subscriber.String())
	require.Empty(t, x.Verify(0))
	require.Empty(t, x.Subscriber(netip.MustParseAddr("100.64.0.1"), time.Time{}, time.Time{}))
	require.Equal(t, 1, x.Len())
	n := 0
	for range x.Intervals() {
		n++
	}
	require.Equal(t, 1, n)
}

// TestIndexCancelledAndTakenAgain offers one block to one subscriber again in the
// millisecond in which it was cancelled.
func TestIndexCancelledAndTakenAgain(t *testing.T) {
	begin := block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0)
	back := block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 1000)
	back.Reason = ReasonCancelled
	end := block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 5000, 1000)
	q := Query{External: begin.External, Port: 1024, At: Millis(3000).Time()}
	x := NewIndex()
	for _, step := range []struct {
		r         *Record
		len, open int
	}{{begin, 1, 1}, {back, 0, 0}, {begin, 1, 1}, {back, 0, 0}, {back, 0, 0}, {begin, 0, 0}, {end, 1, 0}, {back, 1, 0}} {
		mustAppend(t, x, step.r)
		require.Equal(t, []int{step.len, step.open}, []int{x.Len(), x.Open()})
		require.Len(t, x.Who(q), step.len)
	}
	require.Equal(t, Millis(5000), x.Who(q)[0].To)
	x = NewIndex()
	interim := block(BlockInterim, "100.64.0.1", "198.51.100.7", 1024, 1279, 2000, 1000)
	mustAppend(t, x, interim, back)
	require.Equal(t, 1, x.Open())
}

// TestIndexSessions holds that sessions of one holder share a port and those of
// two do not.
func TestIndexSessions(t *testing.T) {
	x := NewIndex()
	s := Record{Kind: SessionCreated, Protocol: 17, Internal: netip.MustParseAddrPort("100.64.0.1:40000"),
		External: netip.MustParseAddr("198.51.100.7"), First: 50000, Last: 50000, Time: 1000, Remote: netip.MustParseAddrPort("192.0.2.1:53")}
	mustAppend(t, x, &s)
	other := s
	other.Remote = netip.MustParseAddrPort("192.0.2.2:53")
	mustAppend(t, x, &other)
	require.Empty(t, x.Verify(time.Minute))
	q := Query{External: s.External, Port: 50000, At: Millis(1500).Time(), Spaces: UDP}
	require.Len(t, x.Who(q), 2)
	q.Spaces = TCP
	require.Empty(t, x.Who(q))
	other.Internal = netip.MustParseAddrPort("100.64.0.2:40000")
	mustAppend(t, x, &other)
	require.Len(t, x.Verify(0), 2)
	require.Contains(t, x.Verify(0)[0].String(), "without end")
	s.Kind, s.Allocated, s.Time = SessionDeleted, 1000, 2000
	mustAppend(t, x, &s)
	require.Equal(t, 2, x.Open())
	require.Len(t, x.Subscriber(netip.MustParseAddr("100.64.0.1"), time.Time{}, time.Time{}), 2)
}

func TestIndexEpochsAndOtherKinds(t *testing.T) {
	x := NewIndex()
	for _, at := range []Millis{3000, 1000, 2000, 2000} {
		mustAppend(t, x, &Record{Kind: ConfigEpoch, Time: at, Host: "h", Detail: fmt.Sprint(int64(at))})
	}
	mustAppend(t, x, &Record{Kind: AddressesExhausted, Time: 1, PoolID: 1})
	require.Zero(t, x.Len())
	_, ok := x.EpochAt("h", 0, Millis(999).Time())
	require.False(t, ok)
	e, ok := x.EpochAt("h", 0, Millis(2999).Time())
	require.True(t, ok)
	require.Equal(t, "2000", e.Detail)
	_, ok = x.EpochAt("other", 0, Millis(5000).Time())
	require.False(t, ok)
	var fe *FieldError
	require.ErrorAs(t, x.Append(&Record{Kind: BlockAllocated, Time: 1}), &fe)
	require.Equal(t, "External", fe.Field)
}

func TestIndexMappedAddresses(t *testing.T) {
	x := NewIndex()
	mustAppend(t, x, block(BlockAllocated, "::ffff:100.64.0.1", "::ffff:198.51.100.7", 1024, 1279, 1000, 0))
	require.Len(t, x.Who(Query{External: netip.MustParseAddr("::ffff:198.51.100.7"), Port: 1024, At: Millis(1000).Time()}), 1)
	require.Len(t, x.Subscriber(netip.MustParseAddr("100.64.0.1"), time.Time{}, time.Time{}), 1)
}

func TestIndexReplay(t *testing.T) {
	var b []byte
	b = JSON{}.AppendRecord(b, block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0))
	b = append(b, "damaged\n{\"kind\":\"block-allocated\",\"time\":\"2026-11-21T02:30:10Z\"}\n"...)
	b = JSON{}.AppendRecord(b, block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 2000, 1000))
	b = append(b, strings.Repeat("damaged\n", 500)...)
	x := NewIndex()
	n, err := x.Replay(bytes.NewReader(b))
	require.Equal(t, 2, n)
	require.ErrorContains(t, err, "line 2, byte 0")
	require.ErrorContains(t, err, "External must be the block's address")
	require.Equal(t, maxErrors, strings.Count(err.Error(), "\n")+1)
	require.Equal(t, 1, x.Len())
	require.Zero(t, x.Open())
}

// TestRFC7422_3_Epochs resolves a deterministic mapping by the configuration of
// the time asked for: 16 hosts from the address in Detail share one external
// address with 4096 ports each.
func TestRFC7422_3_Epochs(t *testing.T) {
	x := NewIndex()
	for _, e := range []Record{
		{Kind: ConfigEpoch, Time: 10000, Host: "a", Epoch: 1, Detail: "100.64.0.0"},
		{Kind: ConfigEpoch, Time: 20000, Host: "a", Epoch: 2, Detail: "100.64.1.0"},
		{Kind: ConfigEpoch, Time: 15000, Host: "b", Detail: "other"},
	} {
		mustAppend(t, x, &e)
	}
	mustAppend(t, x, block(BlockAllocated, "100.64.9.9", "198.51.100.7", 4096, 4351, 19500, 0))
	q := Query{External: netip.MustParseAddr("198.51.100.7"), Port: 4100, At: Millis(12000).Time()}
	require.Empty(t, x.Who(q))
	x.Resolve(func(dst []Interval, epoch *Record, q *Query) []Interval {
		if epoch.Detail == "other" {
			return dst
		}
		host := netip.MustParseAddr(epoch.Detail).As4()
		for n := range 16 {
			host[3] = byte(n)
			v := Interval{Subscriber: netip.AddrFrom4(host), First: uint16(n << 12), Last: uint16(n<<12 | 4095), Spaces: AllSpaces}
			if q.AnyPort || v.HasPort(q.Port) {
				dst = append(dst, v)
			}
		}
		return dst
	})
	ask := func(at Millis, tol time.Duration) (out []string) {
		q.At, q.Tolerance = at.Time(), tol
		for _, c := range x.Who(q) {
			require.Equal(t, "198.51.100.7", c.External.String())
			out = append(out, fmt.Sprintf("%v %v %v %v-%v %v", c.Subscriber, c.Source, c.Certainty, int64(c.From), int64(c.To), c.Open))
		}
		return out
	}
	require.Empty(t, ask(9999, 0))
	require.Equal(t, []string{"100.64.0.1 computed inside 10000-20000 false"}, ask(12000, 0))
	require.Equal(t, []string{"100.64.0.1 computed edge 10000-20000 false"}, ask(10000, time.Second))
	require.Equal(t, []string{"100.64.0.1 computed near 10000-20000 false"}, ask(9000, time.Second))
	require.Equal(t, []string{"100.64.1.1 computed inside 20000-0 true", "100.64.9.9 recorded inside 19500-0 true"}, sorted(ask(30000, 0)))
	require.Len(t, ask(20000, 0), 3, "both epochs have the millisecond of the change")
	q.AnyPort = true
	require.Len(t, ask(12000, 0), 16)
	require.Equal(t, "recorded computed unknown", fmt.Sprint(Recorded, Computed, Source(0)))
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// FuzzIndexReplay reads any stream: nothing panics, and what each interval says
// of itself is found when asked for.
func FuzzIndexReplay(f *testing.F) {
	var b []byte
	b = JSON{}.AppendRecord(b, block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0))
	b = JSON{}.AppendRecord(b, block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 2000, 1000))
	f.Add(b)                                                                                                   // one block
	f.Add(JSON{}.AppendRecord(nil, block(BlockReleased, "2001:db8::1", "198.51.100.7", 0, 65535, 5, 0)))       // a release alone, of all ports
	f.Add(JSON{}.AppendRecord([]byte("torn\n"), &Record{Kind: ConfigEpoch, Time: 1, Detail: "deterministic"})) // a damaged line
	f.Add(bytes.Replace(b, []byte(`"first"`), []byte(`"reason":"cancelled","step":3,"class":9,"first"`), 1))   // a step
	f.Fuzz(func(t *testing.T, b []byte) {
		x := NewIndex()
		n, _ := x.Replay(bytes.NewReader(b))
		if x.Len() > n || x.Open() > x.Len() {
			t.Fatalf("%d records, %d intervals, %d open", n, x.Len(), x.Open())
		}
		for v := range x.Intervals() {
			if v.From == 0 {
				continue // 1970 to the millisecond, which a Query takes for no time
			}
			found := false
			for _, c := range x.Who(Query{External: v.External, Port: v.First, At: v.From.Time()}) {
				found = found || c.Interval == v
			}
			if !found {
				t.Fatalf("%+v is not found", v)
			}
		}
		x.Verify(time.Minute)
	})
}

// skewed holds a block for one subscriber until 60 s and for the next one from
// 60 s plus the guard time of 120 s on.
func skewed(t *testing.T) *Index {
	x := NewIndex()
	mustAppend(t, x,
		block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1, 0),
		block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 60000, 1),
		block(BlockAllocated, "100.64.0.2", "198.51.100.7", 1024, 1279, 180000, 0),
	)
	return x
}

// TestRFC7768_15: with a guard time of 120 s a query off by up to 60 s either way
// names one subscriber at most, and the right one for every instant of use.
func TestRFC7768_15(t *testing.T) {
	x := skewed(t)
	require.Empty(t, x.Verify(120*time.Second))
	require.Len(t, x.Verify(120*time.Second+time.Millisecond), 1)
	for use := int64(1); use < 240000; use += 500 {
		want := ""
		if use <= 60000 {
			want = "100.64.0.1"
		} else if use >= 180000 {
			want = "100.64.0.2"
		}
		for _, skew := range []int64{-59999, -1000, 0, 1000, 59999} {
			got := x.Who(Query{External: netip.MustParseAddr("198.51.100.7"), Port: 1100, At: Millis(use + skew).Time(), Tolerance: 59999 * time.Millisecond})
			if use+skew == 0 {
				continue
			}
			require.LessOrEqual(t, len(got), 1, "use %d skew %d", use, skew)
			if want != "" {
				require.Len(t, got, 1)
				require.Equal(t, want, got[0].Subscriber.String())
			}
		}
	}
}

// TestRFC7768_16: without a port the answer is everybody who held the address.
func TestRFC7768_16(t *testing.T) {
	x := NewIndex()
	mustAppend(t, x, block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0),
		block(BlockAllocated, "100.64.0.2", "198.51.100.7", 8192, 12287, 1000, 0),
		block(BlockAllocated, "100.64.0.3", "198.51.100.8", 1024, 1279, 1000, 0))
	got := x.Who(Query{External: netip.MustParseAddr("198.51.100.7"), AnyPort: true, At: Millis(1000).Time()})
	require.Len(t, got, 2, "a block of many lists is told once")
}

// TestRFC6302_02: an instant between two holders that clocks may confuse names
// both.
func TestRFC6302_02(t *testing.T) {
	x := NewIndex()
	mustAppend(t, x,
		block(BlockAllocated, "100.64.0.1", "198.51.100.7", 1024, 1279, 1000, 0),
		block(BlockReleased, "100.64.0.1", "198.51.100.7", 1024, 1279, 60000, 1000),
		block(BlockAllocated, "100.64.0.2", "198.51.100.7", 1024, 1279, 60500, 0),
	)
	got := x.Who(Query{External: netip.MustParseAddr("198.51.100.7"), Port: 1100, At: Millis(60200).Time(), Tolerance: time.Second, Spaces: TCP})
	require.Equal(t, []string{"100.64.0.1", "100.64.0.2"}, []string{got[0].Subscriber.String(), got[1].Subscriber.String()})
	require.Equal(t, []Certainty{Near, Near}, []Certainty{got[0].Certainty, got[1].Certainty})
	require.Contains(t, x.Verify(time.Second)[0].String(), "follows after 500ms")
	mustAppend(t, x, block(BlockAllocated, "100.64.0.3", "198.51.100.7", 1279, 1300, 30000, 0))
	require.Contains(t, x.Verify(0)[0].String(), "ports 1279-1279: 100.64.0.3 from 1970-01-01T00:00:30.000Z overlaps by 30.001s 100.64.0.1")
}

func BenchmarkIndexWho(b *testing.B) {
	x := NewIndex()
	rnd := rand.New(rand.NewPCG(1, 2))
	const addresses, blocks, turns = 64, 252, 20
	for a := range byte(addresses) {
		for p := range blocks {
			at := Millis(1)
			for range turns {
				r := Record{Kind: BlockAllocated, Subscriber: addr4(100, 64, byte(rnd.Uint32()), byte(rnd.Uint32())), Spaces: AllSpaces,
					External: addr4(198, 51, 100, a), First: uint16(1024 + p*256), Last: uint16(1024 + p*256 + 255), Time: at}
				_ = x.Append(&r)
				r.Kind, r.Allocated, r.Time = BlockReleased, at, at+Millis(rnd.IntN(3600000))
				_ = x.Append(&r)
				at = r.Time + 120000
			}
		}
	}
	b.Run(fmt.Sprintf("intervals=%d", x.Len()), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Who(Query{External: addr4(198, 51, 100, byte(rnd.IntN(addresses))), Port: uint16(1024 + rnd.IntN(64512)), At: Millis(1 + rnd.IntN(20*1800000)).Time()})
		}
	})
}
