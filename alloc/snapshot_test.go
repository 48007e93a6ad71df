package alloc

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// sample returns a pool with some of every state.
func sample(tb testing.TB, shares uint32) (*Pool, []Lease) {
	tb.Helper()
	p := mustNew(tb, Config{Name: "sample", Shares: shares, Spill: true,
		Ranges: MustParseRanges("10.0.0.0/18 2001:db8::/112"), Exclude: MustParseRanges("10.0.0.0 10.0.1.0/24")})
	r := rand.New(rand.NewPCG(1, uint64(shares)))
	var live []Lease
	for range 500 {
		l, err := p.Take(Choice(r.IntN(int(choices))))
		if err != nil {
			tb.Fatal(err)
		}
		live = append(live, l)
		if r.IntN(4) == 0 {
			p.SetRoom(l.Position(), false)
		}
		a := p.Address(r.Uint32N(1 << 14))
		switch r.IntN(8) {
		case 0:
			_ = p.Reserve(a)
		case 1:
			_ = p.Drain(a)
		case 2:
			_ = p.Remove(a)
		}
	}
	return p, live
}

// TestSnapshotRoundTrip: a restored pool is the same pool, leases included (H46, B118 as far as addresses go).
func TestSnapshotRoundTrip(t *testing.T) {
	for _, shares := range []uint32{1, 0, 3} {
		p, live := sample(t, shares)
		stale := live[0]
		if err := p.Return(stale); err != nil {
			t.Fatal(err)
		}
		live = live[1:]
		b := p.AppendSnapshot([]byte("before"))
		q, n, err := Restore(append(b, "after"...)[6:], [32]byte{1})
		if err != nil || n != len(b)-6 {
			t.Fatalf("%d of %d bytes, %v", n, len(b)-6, err)
		}
		if err := q.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		if q.Name() != "sample" || q.Counts() != p.Counts() || q.Positions() != p.Positions() {
			t.Errorf("restored %+v, want %+v", q.Counts(), p.Counts())
		}
		if !slices.Equal(slices.Collect(q.Spans(0)), slices.Collect(p.Spans(0))) {
			t.Error("spans differ")
		}
		if err := q.Return(stale); !errors.Is(err, ErrLeaseStale) {
			t.Errorf("stale lease: %v", err)
		}
		for _, l := range live {
			if err := q.Return(l); err != nil {
				t.Fatal(err)
			}
		}
		if q.Counts().Leases != 0 || q.checkLeases() != nil {
			t.Errorf("%+v, %v", q.Counts(), q.checkLeases())
		}
		l, err := q.Take(Any)
		if err != nil || slices.Contains(live, l) || l == stale {
			t.Errorf("lease %v: %v", l, err)
		}
	}
}

// TestSnapshotDamage: no flipped bit and no cut passes.
func TestSnapshotDamage(t *testing.T) {
	p, _ := sample(t, 2)
	b := p.AppendSnapshot(nil)
	refuse := func(b []byte, what string, at int) {
		t.Helper()
		q, n, err := Restore(b, [32]byte{})
		var e *SnapshotError
		if q != nil || n != 0 || !errors.As(err, &e) || !errors.Is(err, ErrSnapshot) || e.Rule == "" {
			t.Fatalf("%s at %d: %d bytes, %v", what, at, n, err)
		}
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		refuse(b, "bit flipped", i)
		b[i] ^= 1 << (i % 8)
		refuse(b[:i], "cut", i)
	}
	refuse([]byte("something else altogether, and long enough"), "foreign", 0)
}

// seal gives bytes a valid frame, so that what is inside is read.
func seal(body []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// TestSnapshotContradictions: bytes with a good checksum that describe no pool.
func TestSnapshotContradictions(t *testing.T) {
	u := binary.AppendUvarint
	// Name "", shares 1, no spill, serial 5, cursor 0, one block 10.0.0.0-10.0.0.9.
	head := []byte{0, 1, 0, 5, 0, 1, 4, 10, 0, 0, 0, 9}
	states := []byte{0, 0, 0, 0, 0}
	good := slices.Concat(head, states, []byte{2, 0, 3, 1, 7, 4, 2})
	q, _, err := Restore(seal(good), [32]byte{})
	if err != nil || q.CheckInvariants() != nil || q.Counts().Leases != 2 {
		t.Fatalf("the good one: %v", err)
	}
	for name, body := range map[string][]byte{
		"empty":              {},
		"name cut":           {9},
		"name too long":      u(nil, 256),
		"shares too large":   append([]byte{0}, u(nil, 1<<32)...),
		"spill 2":            {0, 1, 2},
		"varint overflow":    {0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		"unknown family":     {0, 1, 0, 5, 0, 1, 5},
		"address cut":        {0, 1, 0, 5, 0, 1, 6, 1, 2},
		"blocks overlap":     {0, 1, 0, 5, 0, 2, 4, 10, 0, 0, 0, 9, 4, 10, 0, 0, 9, 9},
		"block wraps":        {0, 1, 0, 5, 0, 1, 4, 255, 255, 255, 250, 9},
		"many blocks":        append([]byte{0, 1, 0, 5, 0}, u(nil, 1<<32)...),
		"too many positions": slices.Concat([]byte{0, 1, 0, 5, 0, 2, 4, 10, 0, 0, 0, 9, 6}, make([]byte, 16), u(nil, 1<<32-1)),
		"run beyond the end": slices.Concat(head, []byte{1, 9, 1}),
		"runs cut":           slices.Concat(head, []byte{200}),
		"run of 2^32":        slices.Concat(head, []byte{1, 0}, u(nil, 1<<32)),
		"excluded, removed":  slices.Concat(head, []byte{0, 0, 0, 1, 2, 0, 1, 2, 0, 0}),
		"excluded, reserved": slices.Concat(head, []byte{0, 1, 2, 0, 0, 1, 2, 0, 0, 0}),
		"excluded, no room":  slices.Concat(head, []byte{1, 2, 0, 0, 0, 1, 2, 0, 0, 0}),
		"lease of excluded":  slices.Concat(head, []byte{0, 0, 0, 1, 3, 0, 0, 1, 0, 3, 1}),
		"lease of reserved":  slices.Concat(head, []byte{0, 1, 3, 0, 0, 0, 0, 1, 0, 3, 1}),
		"lease beyond":       slices.Concat(head, states, []byte{1, 0, 10, 1}),
		"lease twice":        slices.Concat(head, states, []byte{2, 0, 3, 1, 1, 3, 2}),
		"slot twice":         slices.Concat(head, states, []byte{2, 0, 3, 1, 0, 4, 2}),
		"generation 0":       slices.Concat(head, states, []byte{1, 0, 3, 0}),
		"leases cut":         slices.Concat(head, states, []byte{9, 0, 3, 1}),
		"slot too large":     slices.Concat(head, states, []byte{2}, u(nil, 1<<32-1), []byte{3, 1, 5, 4, 2}),
		"left over":          append(slices.Clone(good), 0),
	} {
		q, n, err := Restore(seal(body), [32]byte{})
		if q != nil || n != 0 || !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

// TestRestoreLargeSlot: a slot far out costs a directory, not a table.
func TestRestoreLargeSlot(t *testing.T) {
	body := slices.Concat([]byte{0, 1, 0, 5, 0, 1, 4, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1},
		binary.AppendUvarint(nil, 1<<32-2), []byte{3, 1})
	p, _, err := Restore(seal(body), [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Bytes(); n > 40<<20 {
		t.Errorf("takes %d bytes", n)
	}
	if err := p.CheckInvariants(); err != nil {
		t.Error(err)
	}
	leases := slices.Collect(p.Leases())
	if len(leases) != 1 || p.Return(leases[0]) != nil || p.Return(leases[0]) == nil {
		t.Errorf("leases %v", leases)
	}
	if _, err := p.Take(Any); err != nil {
		t.Error(err)
	}
}

// TestRestoreScattered: states strewn over all of a wide pool cost what their
// runs cost, not a page each (rule 8 of DESIGN.md section 5).
func TestRestoreScattered(t *testing.T) {
	const runs = 20000
	body := slices.Concat([]byte{0, 1, 0, 5, 0, 1, 6, 0x20, 1}, make([]byte, 14), binary.AppendUvarint(nil, 1<<32-1))
	for state := range 5 {
		if state == 2 || state == 4 {
			body = append(body, 0)
			continue
		}
		body = binary.AppendUvarint(body, runs)
		for i := range runs {
			gap := 200000 + i%7
			if i == 0 {
				gap += state * 1000 // No two states meet.
			}
			body = append(binary.AppendUvarint(body, uint64(gap)), 0)
		}
	}
	body = append(body, 0)
	p, _, err := Restore(seal(body), [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, s := range p.sets() {
		for _, g := range s.open {
			if g != nil {
				open++
			}
		}
	}
	if n := p.Bytes(); n > 48<<20 || open > 0 {
		t.Errorf("%d bytes, %d pages open", n, open)
	}
	c := p.Counts()
	if c.NoRoom != runs || c.Reserved != runs || c.Excluded != runs || c.Open != maxPositions-3*runs {
		t.Errorf("counts %+v", c)
	}
	if l, err := p.Take(Random); err != nil || p.Return(l) != nil {
		t.Error(err)
	}
}

// FuzzRestore reads anything, framed and not: a pool or a *SnapshotError.
func FuzzRestore(f *testing.F) {
	for _, shares := range []uint32{0, 1, 3} {
		p := mustNew(f, Config{Name: "seed", Ranges: MustParseRanges("10.0.0.0/28 2001:db8::/125"), Exclude: MustParseRanges("10.0.0.0"), Shares: shares})
		for range 9 {
			l, _ := p.Take(Random)
			p.SetRoom(l.Position()+1, false)
		}
		b := p.AppendSnapshot(nil)
		f.Add(b[snapshotHead : len(b)-4])
	}
	f.Add([]byte{0, 1, 0, 5, 0, 1, 4, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 3, 1}) // one lease
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, seal(b)} {
			p, n, err := Restore(in, [32]byte{})
			if err != nil {
				var e *SnapshotError
				if !errors.As(err, &e) || p != nil || n != 0 {
					t.Fatalf("error of type %T: %v", err, err)
				}
				continue
			}
			if p.Positions() <= 1<<12 {
				if err := p.CheckInvariants(); err != nil {
					t.Fatal(err)
				}
			}
			again := p.AppendSnapshot(nil)
			q, _, err := Restore(again, [32]byte{})
			if err != nil || !slices.Equal(q.AppendSnapshot(nil), again) {
				t.Fatalf("written again: %v", err)
			}
			if l, err := p.Take(LeastLoaded); err == nil && p.Return(l) != nil {
				t.Fatal("a fresh lease is not live")
			}
		}
	})
}
