package portblock

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

// snapLayout is one that brings all parts of a snapshot out.
func snapLayout(t testing.TB) *Layout {
	return mustLayout(t, Config{Ports: RangeOf(1024, 1535), BlockSize: 16, FirstBlockSize: 32, MaxBlocks: 4})
}

// snapshots returns an address with heating and cooling blocks and a holding
// with live, resting, pending and retiring ports.
func snapshots(t testing.TB) (l *Layout, address, holding []byte) {
	l = snapLayout(t)
	a, h := l.NewAddress(7), l.NewHolding()
	rnd := rand.NewChaCha8([32]byte{1})
	now := ms(1e12)
	for i := range 3 {
		b, err := a.TakeBlockOf(uint64(i), Want{Further: i > 0}, now)
		if err != nil || h.AddBlock(b, now) != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		b, _ := a.TakeBlockOf(9, Want{Further: i != 1}, now)
		if err := a.CoolBlock(b, now.Add(1e6)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		p, err := h.TakePort(Space(i%3), 1, rnd, now)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := h.ReturnPort(Space(i%3), p.Address, p.Number, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := l.NewReserved([]Reservation{{Ports: RangeOf(1024, 1535), Spaces: UDP.Set()}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := h.SetReserved(7, r, nil, now); err != nil || len(c) == 0 || len(h.pending()) == 0 {
		t.Fatal("nothing is pending")
	}
	for b := range h.All(now) {
		if err := h.RetireBlock(b.Block, now); err != nil {
			t.Fatal(err)
		}
		break
	}
	return l, a.AppendSnapshot(nil), h.AppendSnapshot(nil)
}

func TestSnapshotDamage(t *testing.T) {
	l, address, holding := snapshots(t)
	other := mustLayout(t, Config{})
	for _, v := range []struct {
		name    string
		snap    []byte
		restore func(l *Layout, b []byte) (int, error)
	}{
		{"address", address, func(l *Layout, b []byte) (int, error) { _, n, err := l.RestoreAddress(b); return n, err }},
		{"holding", holding, func(l *Layout, b []byte) (int, error) { _, n, err := l.RestoreHolding(b); return n, err }},
	} {
		if n, err := v.restore(l, v.snap); err != nil || n != len(v.snap) {
			t.Fatalf("%s: %d, %v", v.name, n, err)
		}
		if _, err := v.restore(other, v.snap); !errors.Is(err, ErrSnapshotLayout) {
			t.Errorf("%s of another layout: %v", v.name, err)
		}
		for i := range v.snap {
			if _, err := v.restore(l, v.snap[:i]); !errors.Is(err, ErrSnapshot) {
				t.Fatalf("%s cut at %d: %v", v.name, i, err)
			}
			bad := slices.Clone(v.snap)
			bad[i] ^= 1 << (i % 8)
			if _, err := v.restore(l, bad); !errors.Is(err, ErrSnapshot) && !errors.Is(err, ErrSnapshotLayout) {
				t.Fatalf("%s with a changed bit in byte %d: %v", v.name, i, err)
			}
		}
	}
	if _, _, err := l.RestoreAddress(holding); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a holding as an address: %v", err)
	}
}

func TestSnapshotsInARow(t *testing.T) {
	l, address, holding := snapshots(t)
	row := append(slices.Clone(address), holding...)
	a, n, err := l.RestoreAddress(row)
	if err != nil {
		t.Fatal(err)
	}
	h, m, err := l.RestoreHolding(row[n:])
	if err != nil || n+m != len(row) {
		t.Fatal(n, m, err)
	}
	if !slices.Equal(a.AppendSnapshot(nil), address) || !slices.Equal(h.AppendSnapshot(nil), holding) {
		t.Fatal("a restored state gives another snapshot")
	}
}

// A state has one snapshot only: one with its blocks in another order is none.
func TestSnapshotOrder(t *testing.T) {
	l, address, _ := snapshots(t)
	body := address[headerBytes : len(address)-4]
	const head = 4 + 4 + 8 + 2
	block := func(i int) []byte { return body[head+i*recordBytes:][:recordBytes] }
	for _, v := range [][2]int{{0, 1}, {1, 2}, {2, 3}} { // heating, heating, and a cooling one among them
		first, second := slices.Clone(block(v[0])), slices.Clone(block(v[1]))
		copy(block(v[0]), second)
		copy(block(v[1]), first)
		if _, _, err := l.RestoreAddress(reseal(l, addressMagic, body)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("blocks %v exchanged: %v", v, err)
		}
		copy(block(v[0]), first)
		copy(block(v[1]), second)
	}
	if _, _, err := l.RestoreAddress(reseal(l, addressMagic, body)); err != nil {
		t.Fatal(err)
	}
}

// reseal puts the right header and checksum on, so that fuzzing reaches what
// lies behind them.
func reseal(l *Layout, magic string, b []byte) []byte {
	out := l.appendHeader(nil, magic)
	out = append(out, b...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

func FuzzRestoreAddress(f *testing.F) {
	l, address, _ := snapshots(f)
	f.Add(address[headerBytes:len(address)-4], true)                          // six blocks
	empty := l.NewAddress(1).AppendSnapshot(nil)                              // none
	f.Add(empty[headerBytes:len(empty)-4], true)                              //
	f.Add(address, false)                                                     // as written
	f.Add(append(address[headerBytes:len(address)-4], address[60:]...), true) // bytes too many
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = reseal(l, addressMagic, b)
		}
		a, n, err := l.RestoreAddress(b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) && !errors.Is(err, ErrSnapshotLayout) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !slices.Equal(a.AppendSnapshot(nil), b[:n]) {
			t.Fatal("another snapshot comes out")
		}
		now := ms(a.now + 1e6)
		blk, err := a.TakeBlock(1, now)
		if err == nil {
			err = a.CoolBlock(blk, now)
		}
		if err != nil && err != ErrNoBlock {
			t.Fatal(err)
		}
		if err := a.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzRestoreHolding(f *testing.F) {
	l, _, holding := snapshots(f)
	f.Add(holding[headerBytes:len(holding)-4], true) // live, resting, pending, retiring
	empty := l.NewHolding().AppendSnapshot(nil)
	f.Add(empty[headerBytes:len(empty)-4], true) // nothing
	f.Add(holding, false)                        // as written
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = reseal(l, holdingMagic, b)
		}
		h, n, err := l.RestoreHolding(b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) && !errors.Is(err, ErrSnapshotLayout) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !slices.Equal(h.AppendSnapshot(nil), b[:n]) {
			t.Fatal("another snapshot comes out")
		}
		now := ms(h.now + 1e6)
		for s := range Space(NumSpaces) {
			if p, err := h.TakePort(s, 1, nil, now); err == nil {
				if err := h.ReturnPort(s, p.Address, p.Number, now); err != nil {
					t.Fatal(err)
				}
			}
			for p := range h.Live(s) {
				if err := h.ReturnPort(s, p.Address, p.Number, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, blk := range h.AppendIdle(nil, now.Add(DefaultIdleTimeout)) {
			if err := h.RemoveBlock(blk, now); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	})
}

// H24: everything released is the initial state, but for the clock and the
// count of generations, which must not start again.
func TestH24_ReleasedIsInitial(t *testing.T) {
	l := snapLayout(t)
	a, h := l.NewAddress(1), l.NewHolding()
	fresh, freshHolding := l.NewAddress(1), l.NewHolding()
	rnd := rand.NewChaCha8([32]byte{2})
	now := ms(1e12)
	for range 3 {
		b, err := a.TakeBlockOf(5, h.Want(TCP), now)
		if err != nil || h.AddBlock(b, now) != nil {
			t.Fatal(err)
		}
		for range 10 {
			p, _ := h.TakePort(TCP, 1, rnd, now)
			if err := h.ReturnPort(TCP, p.Address, p.Number, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	now = now.Add(DefaultIdleTimeout)
	for _, b := range h.AppendIdle(nil, now) {
		if err := errors.Join(h.RemoveBlock(b, now), a.CoolBlock(b, now)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(DefaultGuardTime)
	if a.InUse(now) || a.gen != 3 {
		t.Fatal("still in use")
	}
	fresh.now, fresh.gen, freshHolding.now = a.now, a.gen, h.now
	if !slices.Equal(a.AppendSnapshot(nil), fresh.AppendSnapshot(nil)) || !slices.Equal(h.AppendSnapshot(nil), freshHolding.AppendSnapshot(nil)) {
		t.Fatal("not the initial state")
	}
}
