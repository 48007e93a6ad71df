package alloc

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"
)

// TestSetMatchesModel compares a set of a few pages with a slice of bools,
// under single changes, runs, growth and rest.
func TestSetMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edge := rapid.SampledFrom([]uint64{0, 1, 63, 64, 511, 512, pageSize - 1, pageSize, pageSize + 1, 2 * pageSize, 2*pageSize + 77})
		var s set
		all := rapid.Bool().Draw(t, "all")
		model := make([]bool, edge.Draw(t, "size"))
		for i := range model {
			model[i] = all
		}
		s.init(uint64(len(model)), all)
		position := func() uint32 { // of a set that is not empty
			if rapid.Bool().Draw(t, "edge") {
				return uint32(edge.Draw(t, "position") % uint64(len(model)))
			}
			return rapid.Uint32Range(0, uint32(len(model)-1)).Draw(t, "position")
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				pos, on := position(), rapid.Bool().Draw(t, "on")
				if got := s.put(pos, on); got != (model[pos] != on) {
					t.Fatalf("put(%d, %v) = %v", pos, on, got)
				}
				model[pos] = on
			},
			"many": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				on := rapid.Bool().Draw(t, "on")
				for range len(model) / 8 {
					pos := r.IntN(len(model))
					s.put(uint32(pos), on)
					model[pos] = on
				}
			},
			"fill": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				a, b, on := position(), position(), rapid.Bool().Draw(t, "on")
				a, b = min(a, b), max(a, b)
				s.fillRange(uint64(a), uint64(b), on)
				s.reindex()
				for i := a; i < b; i++ {
					model[i] = on
				}
			},
			"grow": func(t *rapid.T) {
				if len(model) > 6*pageSize {
					return
				}
				n, on := edge.Draw(t, "more"), rapid.Bool().Draw(t, "on")
				for range n {
					model = append(model, on)
				}
				s.grow(uint64(len(model)), on)
			},
			"compact": func(*rapid.T) { s.compact() },
			"": func(t *rapid.T) {
				if err := s.check(); err != nil {
					t.Fatal(err)
				}
				compareSet(t, &s, model)
			},
		})
	})
}

func compareSet(t *rapid.T, s *set, model []bool) {
	t.Helper()
	var members []uint32
	for i, on := range model {
		if s.has(uint32(i)) != on {
			t.Fatalf("has(%d) = %v", i, !on)
		}
		if on {
			members = append(members, uint32(i))
		}
	}
	if s.total != uint64(len(members)) || s.has(uint32(len(model))) {
		t.Fatalf("total %d, want %d", s.total, len(members))
	}
	r := rand.New(rand.NewPCG(uint64(len(model)), s.total))
	for range 20 {
		if len(members) > 0 {
			k := r.IntN(len(members))
			if got := s.pick(uint64(k)); got != members[k] {
				t.Fatalf("pick(%d) = %d, want %d", k, got, members[k])
			}
		}
		if len(model) == 0 {
			return
		}
		pos := uint32(r.IntN(len(model)))
		want := int64(-1)
		if k, _ := slices.BinarySearch(members, pos); k < len(members) {
			want = int64(members[k])
		}
		if got := s.next(pos); got != want {
			t.Fatalf("next(%d) = %d, want %d", pos, got, want)
		}
		end := uint64(pos)
		for end < uint64(len(model)) && model[end] == model[pos] {
			end++
		}
		if got := s.change(pos); got != end {
			t.Fatalf("change(%d) = %d, want %d", pos, got, end)
		}
	}
}

// TestFullSetOf32Bits covers the one sum that does not fit into the tree.
func TestFullSetOf32Bits(t *testing.T) {
	var s set
	s.init(maxPositions, true)
	for _, pos := range []uint32{0, 1, pageSize, 1 << 31, 1<<32 - 1} {
		if got := s.pick(uint64(pos)); got != pos {
			t.Errorf("full: pick(%d) = %d", pos, got)
		}
		if got := s.next(pos); got != int64(pos) {
			t.Errorf("full: next(%d) = %d", pos, got)
		}
	}
	if !s.remove(5) || s.total != maxPositions-1 || s.pick(5) != 6 || s.pick(maxPositions-2) != 1<<32-1 {
		t.Errorf("one less: total %d, pick(5) %d, last %d", s.total, s.pick(5), s.pick(maxPositions-2))
	}
	if !s.add(5) || s.total != maxPositions || s.pick(5) != 5 || s.pick(maxPositions-1) != 1<<32-1 {
		t.Errorf("full again: total %d", s.total)
	}
	if !s.remove(1<<32-1) || s.next(1<<32-1) != -1 {
		t.Error("next beyond the last member")
	}
}

// TestRoaringAnswers watches the calls of the bitmap library that this package
// relies on, against a slice of bools, over the fills at which v2.30.0 answers
// NextAbsentValue and UnsetIterator wrongly.
func TestRoaringAnswers(t *testing.T) {
	const size = 3 * 65536
	for _, seed := range []uint64{1, 2, 3} {
		for _, permille := range []int{0, 1, 10, 50, 500, 900, 990, 999, 1000} {
			r := rand.New(rand.NewPCG(seed, uint64(permille)))
			model := make([]bool, size)
			b := roaring.New()
			for i := range model {
				if r.IntN(1000) < permille {
					model[i] = true
					b.Add(uint32(i))
				}
			}
			for range 30 { // Runs, some of them over borders of containers.
				first := r.IntN(size)
				end, on := min(size, first+r.IntN(5000)), r.IntN(2) == 0
				if on {
					b.AddRange(uint64(first), uint64(end))
				} else {
					b.RemoveRange(uint64(first), uint64(end))
				}
				for i := first; i < end; i++ {
					model[i] = on
				}
			}
			if seed != 2 {
				b.RunOptimize()
			}
			watchRoaring(t, b, model, r)
		}
	}
}

func watchRoaring(t *testing.T, b *roaring.Bitmap, model []bool, r *rand.Rand) {
	t.Helper()
	var members []uint32
	for i, on := range model {
		if on {
			members = append(members, uint32(i))
		}
	}
	if b.GetCardinality() != uint64(len(members)) {
		t.Fatalf("GetCardinality %d, want %d", b.GetCardinality(), len(members))
	}
	for range 3000 {
		pos := uint32(r.IntN(len(model)))
		k, _ := slices.BinarySearch(members, pos)
		want := int64(-1)
		if k < len(members) {
			want = int64(members[k])
			if got, err := b.Select(uint32(k)); err != nil || got != members[k] {
				t.Fatalf("Select(%d) = %d, %v; want %d", k, got, err, members[k])
			}
		}
		if got := b.NextValue(pos); got != want {
			t.Fatalf("NextValue(%d) = %d, want %d", pos, got, want)
		}
		if b.Contains(pos) != model[pos] {
			t.Fatalf("Contains(%d) = %v", pos, !model[pos])
		}
		rank := uint64(k)
		if model[pos] {
			rank++
		}
		if got := b.Rank(pos); got != rank {
			t.Fatalf("Rank(%d) = %d, want %d", pos, got, rank)
		}
		end := pos + uint32(r.IntN(len(model)-int(pos)))
		e, _ := slices.BinarySearch(members, end)
		if got := b.CardinalityInRange(uint64(pos), uint64(end)); got != uint64(e-k) {
			t.Fatalf("CardinalityInRange(%d, %d) = %d, want %d", pos, end, got, e-k)
		}
	}
	other, both, either, butOther := roaring.New(), uint64(0), 0, 0
	for i, on := range model {
		in := r.IntN(3) == 0
		if in {
			other.Add(uint32(i))
		}
		if on && in {
			both++
		}
		if on || in {
			either++
		}
		if on && !in {
			butOther++
		}
	}
	and, or, andNot := b.Clone(), b.Clone(), b.Clone()
	and.And(other)
	or.Or(other)
	andNot.AndNot(other)
	for i, on := range model {
		i, in := uint32(i), other.Contains(uint32(i))
		if and.Contains(i) != (on && in) || or.Contains(i) != (on || in) || andNot.Contains(i) != (on && !in) {
			t.Fatalf("And, Or or AndNot at %d", i)
		}
	}
	if b.AndCardinality(other) != both || b.Intersects(other) != (both > 0) ||
		or.GetCardinality() != uint64(either) || andNot.GetCardinality() != uint64(butOther) {
		t.Fatalf("AndCardinality %d, Intersects %v; want %d", b.AndCardinality(other), b.Intersects(other), both)
	}
	it := b.Iterator()
	from := uint32(r.IntN(len(model)))
	it.AdvanceIfNeeded(from)
	k, _ := slices.BinarySearch(members, from)
	for ; it.HasNext(); k++ {
		if v := it.Next(); k >= len(members) || v != members[k] {
			t.Fatalf("Iterator from %d: value %d at %d", from, v, k)
		}
	}
	if k != len(members) {
		t.Fatalf("Iterator from %d ends after %d of %d", from, k, len(members))
	}
	at := 0
	for first, end := range b.Ranges() {
		for ; at < int(end); at++ {
			if model[at] != (at >= int(first)) {
				t.Fatalf("Ranges: run %d-%d, position %d is %v", first, end, at, model[at])
			}
		}
		if at < len(model) && model[at] {
			t.Fatalf("Ranges: run %d-%d is not maximal", first, end)
		}
	}
	if slices.Contains(model[at:], true) {
		t.Fatal("Ranges: members after the last run")
	}
}

func TestNthBit(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	words := []uint64{1, 1 << 63, ^uint64(0), 0xff << 56, 0x8080808080808080}
	for range 20000 {
		words = append(words, r.Uint64(), r.Uint64()&r.Uint64()&r.Uint64()&r.Uint64(), r.Uint64()|r.Uint64()|r.Uint64())
	}
	for _, x := range words {
		rank := uint32(0)
		for b := range uint32(64) {
			if x>>b&1 != 0 {
				if got := nthBit(x, rank); got != b {
					t.Fatalf("nthBit(%#x, %d) = %d, want %d", x, rank, got, b)
				}
				rank++
			}
		}
	}
}

// TestParkedPages lets pages of a large set become uniform and mixed by turns,
// far more of them than stay parked, and compares with a map of what differs.
func TestParkedPages(t *testing.T) {
	const pages, seed = 5 * parkSize, 3
	for _, full := range []bool{true, false} {
		r := rand.New(rand.NewPCG(seed, 0))
		var s set
		s.init(pages*pageSize-100, full)
		differ := map[uint32]bool{}
		var order []uint32
		for step := range 20000 {
			if len(order) > 0 && r.IntN(100) < 55 {
				i := r.IntN(len(order))
				pos := order[i]
				order[i] = order[len(order)-1]
				order = order[:len(order)-1]
				delete(differ, pos)
				if !s.put(pos, full) {
					t.Fatalf("seed %d: step %d: position %d was lost", seed, step, pos)
				}
			} else if pos := r.Uint32N(uint32(s.size)); !differ[pos] {
				differ[pos] = true
				order = append(order, pos)
				if !s.put(pos, !full) {
					t.Fatalf("seed %d: step %d: position %d was lost", seed, step, pos)
				}
			}
			if step%1000 == 0 {
				if step%3000 == 0 {
					s.compact()
				}
				if err := s.check(); err != nil {
					t.Fatalf("seed %d: step %d: %v", seed, step, err)
				}
				for pos := range differ {
					if s.has(pos) == full {
						t.Fatalf("seed %d: step %d: position %d", seed, step, pos)
					}
				}
			}
		}
		open := 0
		for _, pos := range order {
			s.put(pos, full)
		}
		for _, g := range s.open {
			if g != nil {
				open++
			}
		}
		if open > parkSize || len(s.spare) > parkSize {
			t.Errorf("%d pages are open, %d spare, of a set that is uniform", open, len(s.spare))
		}
	}
}
