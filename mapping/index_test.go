package mapping

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRecordSizes(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(record{}), "one cache line")
	require.EqualValues(t, 48, unsafe.Sizeof(block{}))
	require.LessOrEqual(t, unsafe.Sizeof(segment{}), uintptr(768), "and two bytes for each of its records")
	require.EqualValues(t, 4096, unsafe.Sizeof(unit{}), "a size that is allocated without a rest, and on a cache line")
	x := newIndex(testKey)
	require.EqualValues(t, 0, uintptr(unsafe.Pointer(x.dir[0].seg.units[0]))%64)
}

// TestIndexAgainstMap runs the same operations on the index and on a Go map. Keys come from
// a small space, so that insertions, finds and removals meet each other, and
// from a large one, so that segments grow and split.
func TestIndexAgainstMap(t *testing.T) {
	type key struct{ inner, outer uint64 }
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex([24]byte{1: byte(rapid.IntRange(0, 255).Draw(t, "seed")), 9: 7, 17: 3})
		model := map[key]record{}
		var known []key
		space := rapid.SampledFrom([]uint64{16, 300, 1 << 40}).Draw(t, "key space")
		removals := rapid.Uint64Range(0, 6).Draw(t, "removals in ten")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "rng"), 1))
		find := func(k key) (*segment, int) {
			return x.find(x.hash.sum(k.inner, k.outer&keyMask), k.inner, k.outer|rng.Uint64N(256), keyMask)
		}
		for range rapid.IntRange(1, 4000).Draw(t, "steps") {
			k := key{rng.Uint64N(space), rng.Uint64N(2)<<20 | class(session, 0)}
			if len(known) > 0 && rng.IntN(2) == 0 {
				k = known[rng.IntN(len(known))]
			}
			want, present := model[k]
			s, i := find(k)
			require.Equal(t, present, s != nil, "find %v", k)
			if present {
				require.Equal(t, want, *s.at(i))
			}
			switch {
			case !present:
				n := record{inner: k.inner, outer: k.outer | 1 + rng.Uint64N(255), ext: rng.Uint64()}
				s, i := x.insert(x.hashOf(&n))
				*s.at(i) = n
				model[k] = n
				known = append(known, k)
			case rng.Uint64N(10) < removals:
				x.remove(s, i)
				delete(model, k)
			}
			require.Equal(t, len(model), x.used)
		}
		for k, want := range model {
			s, i := find(k)
			require.NotNil(t, s, "find %v after all", k)
			require.Equal(t, want, *s.at(i))
			x.remove(s, i)
		}
		x.each(func(s *segment) {
			for g := range s.groups {
				require.Zero(t, s.tags[g], "an empty table knows of nothing that passed")
			}
		})
	})
}

// TestGrowthMovesLittle: from nothing to a quarter of a million records no insertion moves more than the records of one
// segment, the table is filled well in between, and every record stays where a look-up finds it.
func TestGrowthMovesLittle(t *testing.T) {
	x := newIndex(testKey)
	const n = 1 << 18
	moved, slots := 0, 0
	for i := range uint64(n) {
		r := record{inner: i, outer: class(anchor, 1)}
		s, slot := x.insert(x.hashOf(&r))
		*s.at(slot) = r
		require.LessOrEqual(t, x.moved, int(full(groupsMax)))
		moved += x.moved
		if i > 1<<16 && i%(1<<14) == 0 {
			slots = 0
			x.each(func(s *segment) { slots += s.slots() })
			require.Greater(t, float64(x.used)/float64(slots), 0.6, "%d records", i)
		}
	}
	require.Less(t, moved, 5*n, "moves in all")
	for i := range uint64(n) {
		s, slot := x.find(x.hash.sum(i, class(anchor, 1)), i, class(anchor, 1), kindMask)
		require.NotNil(t, s)
		require.Equal(t, i, s.at(slot).inner)
	}
	t.Logf("%.2f moves an insertion, load %.3f, %d doors", float64(moved)/n, float64(n)/float64(slots), len(x.dir))
}

// TestLooksAtSessionsOnceInTheirIdleTime: rounds of Expire each second touch each live session seldom, however many rounds there are.
func TestLooksAtSessionsOnceInTheirIdleTime(t *testing.T) {
	table := NewTable(testKey, idle, start)
	at := Place{Block: table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1 << 15})}
	for i := range uint16(1 << 14) {
		at.Offset = i
		m := Mapping{Space: 1, Internal: Endpoint{inside.Addr, i}, External: Endpoint{outside.Addr, i}, At: at}
		require.True(t, table.AddMapping(&m, 0))
		require.True(t, table.Open(&Session{Space: 1, Internal: m.Internal, External: m.External, Remote: peer}, nowhere, &Segment{}, 0))
	}
	var w Sweep
	ended := 0
	for second := range 300 {
		now := table.Advance(start.Add(time.Duration(second) * time.Second))
		if second == 200 {
			for i := range uint16(1 << 13) {
				_, ok := table.Outbound(0, 1, Endpoint{inside.Addr, i}, peer, nil, now)
				require.True(t, ok)
			}
		}
		rounds := 0
		for !table.Expire(now, 1024, &w) {
			rounds++
		}
		if second > 0 && second < 298 {
			require.LessOrEqual(t, rounds, 1, "nothing is due: all segments are skipped")
		}
		ended += len(w.Sessions)
		w.Sessions = w.Sessions[:0]
	}
	require.Zero(t, ended)
	for !table.Expire(table.Advance(start.Add(300*time.Second)), 1<<20, &w) {
	}
	require.Equal(t, 1<<13, len(w.Sessions))
	require.NoError(t, table.CheckInvariants())
}
