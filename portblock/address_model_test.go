package portblock

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ms(n int64) time.Time { return time.UnixMilli(n) }

func mustLayout(t testing.TB, c Config) *Layout {
	t.Helper()
	l, err := NewLayout(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// checkDumps compares pages with the whole, and the merged ranges of a state
// with the rows (H44, H45).
func (m *addressMachine) checkDumps(t *rapid.T) {
	var pages []BlockInfo
	for n := 0; n >= 0; {
		limit := rapid.IntRange(1, 9).Draw(t, "page")
		before := len(pages)
		if pages, n = m.a.AppendBlocks(pages, n, limit, ms(m.now)); len(pages)-before > limit {
			t.Fatal("a page is too long")
		}
		if n >= 0 && limit > 3 { // the rest at once
			if pages, n = m.a.AppendBlocks(pages, n, 5000, ms(m.now)); n >= 0 {
				t.Fatal("a dump does not end")
			}
		}
	}
	all := slices.Collect(m.a.Blocks(ms(m.now)))
	if !slices.Equal(pages, all) {
		t.Fatalf("%d blocks in pages, %d in all", len(pages), len(all))
	}
	state := rapid.SampledFrom([]State{Free, Heating, Cooling}).Draw(t, "state")
	free, _ := m.g.units()
	var got, want []int
	for r := range m.a.Ranges(state, ms(m.now)) {
		for p := int(r.First()); p <= int(r.Last()); p++ {
			got = append(got, p)
		}
	}
	for p := range m.g.rows {
		r := &m.g.rows[p]
		if r.unit < 0 || !(goldUsable(m.l, nil, TCP, p) || goldUsable(m.l, nil, UDP, p) || goldUsable(m.l, nil, ICMP, p)) {
			continue
		}
		st := Unusable
		switch {
		case r.lease.IsValid() && r.cool:
			st = Cooling
		case r.lease.IsValid():
			st = Heating
		case free[r.unit]:
			st = Free
		}
		if st == state {
			want = append(want, p)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v ports in the dump: %d, want %d", state, len(got), len(want))
	}
}

// addressConfigs covers all schemes, one and two block sizes, and ranges
// whose ends cut blocks.
func addressConfigs() []Config {
	port := func(s string) Range { return MustParseRange(s) }
	return []Config{
		{Ports: port("1024-4095")},
		{Ports: port("1000-2900"), BlockSize: 64, Order: OrderSequential},
		{Ports: port("0-1500"), BlockSize: 128, FirstBlockSize: 512, Class: Require},
		{Ports: port("1024-9000"), BlockSize: 4096, FirstBlockSize: 128, OrderKey: [16]byte{1}},
		{Ports: port("2000-2600"), BlockSize: 16, FirstBlockSize: 32, Reserved: []Reservation{
			{port("2016-2031"), 0}, {port("2020-2070"), TCP.Set()}, {port("0-2003"), 0}, {port("2100-2131"), AllSpaces &^ TCP.Set()}}},
		{Scheme: PSID, PSIDOffset: 6, PSIDLength: 4},
		{Scheme: PSID, PSIDOffset: 0, PSIDLength: 3, Ports: port("0-65535"), Spaces: ICMP.Set()},
		{Scheme: MaskValue, Mask: 0x1400},
		{Scheme: MaskValue, Mask: 0x8101, Ports: port("5000-40000"), Parity: Require},
		{Ports: port("960-1100"), BlockSize: 16, FirstBlockSize: 32, Parity: Require, Class: Require, Reserved: []Reservation{
			{port("1024-1038"), UDP.Set()}, {port("961-975"), 0}, {port("1041-1055"), TCP.Set()}}},
		{Scheme: Crypto, BlockSize: 4096, CryptoKey: [16]byte{7}},
		{Scheme: GMA, Ratio: 12, Run: 20},
	}
}

type addressMachine struct {
	l         *Layout
	a         *Address
	g         *goldAddress
	now       int64
	live, old []Block // leases that run, and that are over
	steps     int
}

func (m *addressMachine) jump(t *rapid.T) {
	guard := m.l.Config().GuardTime.Milliseconds()
	d := rapid.SampledFrom([]int64{0, 1, guard / 2, guard - 1, guard, guard + 1, -5, -guard}).Draw(t, "ms")
	if d < 0 {
		m.a.FreeBlocks(ms(m.now)) // model and address agree on the latest time
		m.g.at(m.now)
	}
	m.now += d
	m.g.at(m.now)
}

func (m *addressMachine) took(t *rapid.T, b Block, want Want, owner uint64, cand map[int]bool) {
	n := m.g.size(want.Further)
	if !b.IsValid() || b.Address() != m.a.Index() || b.Pool() != m.l.Config().Pool || !cand[b.Number()] {
		t.Fatalf("took %v for %+v, which is not free", b, want)
	}
	if slices.Contains(m.live, b) || slices.Contains(m.old, b) {
		t.Fatalf("lease %v came twice", b)
	}
	m.g.set(b.Number(), n, func(r *goldRow) { *r = goldRow{unit: r.unit, lease: b, owner: owner, since: m.g.now} })
	m.live = append(m.live, b)
}

func (m *addressMachine) drawWant(t *rapid.T) Want {
	return Want{
		Further: rapid.Bool().Draw(t, "further"), Spaces: SpaceSet(rapid.SampledFrom([]int{0, 0, 1, 2, 4, 7}).Draw(t, "spaces")),
		Keep: rapid.Bool().Draw(t, "keep"), Internal: uint16(rapid.SampledFrom([]int{0, 1023, 1024, 40001}).Draw(t, "internal")),
	}
}

func (m *addressMachine) take(t *rapid.T) {
	want := m.drawWant(t)
	owner := rapid.Uint64().Draw(t, "owner")
	m.g.at(m.now)
	cand := m.g.candidates(want)
	if m.a.HasRoom(want, ms(m.now)) != (len(cand) > 0) {
		t.Fatalf("HasRoom(%+v) is wrong: %d candidates", want, len(cand))
	}
	m.a.advance(ms(m.now)) // time alone may change the state
	before := m.a.AppendSnapshot(nil)
	b, err := m.a.TakeBlockOf(owner, want, ms(m.now))
	if err != nil {
		if err != ErrNoBlock || len(cand) > 0 {
			t.Fatalf("refused %+v with %v, %d candidates", want, err, len(cand))
		}
		if !slices.Equal(before, m.a.AppendSnapshot(nil)) {
			t.Fatal("a refusal changed the state")
		}
		return
	}
	if m.l.Config().Order == OrderSequential && m.l.group == 1 {
		for u := range cand {
			if u < b.Number() {
				t.Fatalf("took %v, %d is lower", b, u)
			}
		}
	}
	m.took(t, b, want, owner, cand)
}

func (m *addressMachine) takeAt(t *rapid.T) {
	want := m.drawWant(t)
	r := m.l.Config().Ports
	p := uint16(rapid.IntRange(max(0, int(r.First())-3), min(65535, int(r.Last())+3)).Draw(t, "port"))
	m.g.at(m.now)
	cand := m.g.candidates(Want{Further: want.Further})
	n := m.g.size(want.Further)
	u := m.g.rows[p].unit
	if u >= 0 {
		u -= u % n
	}
	usable, free := 0, false
	for s := range Space(NumSpaces) {
		if goldUsable(m.l, m.g.rules, s, int(p)) {
			usable |= 1 << s
		}
	}
	if usable != 0 && usable&int(want.Spaces) == int(want.Spaces) && u >= 0 {
		free = cand[u]
	}
	m.a.advance(ms(m.now)) // time alone may change the state
	before := m.a.AppendSnapshot(nil)
	b, err := m.a.TakeBlockAt(p, 9, want, ms(m.now))
	if (err == nil) != free {
		t.Fatalf("TakeBlockAt(%d, %+v) = %v, %v; free is %v", p, want, b, err, free)
	}
	if err != nil {
		row := m.g.rows[p]
		switch {
		case errors.Is(err, ErrCooling) && row.lease.IsValid() && !row.cool, errors.Is(err, ErrInUse) && n == 1 && !row.lease.IsValid(),
			!errors.Is(err, ErrCooling) && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrReserved) && !errors.Is(err, ErrNotInRange),
			errors.Is(err, ErrNotInRange) && usable != 0 && u >= 0:
			t.Fatalf("TakeBlockAt(%d) = %v, row %+v", p, err, row)
		}
		if !slices.Equal(before, m.a.AppendSnapshot(nil)) {
			t.Fatal("a refusal changed the state")
		}
		return
	}
	if b.Number() != u {
		t.Fatalf("TakeBlockAt(%d) = %v, want number %d", p, b, u)
	}
	m.took(t, b, want, 9, cand)
}

func (m *addressMachine) size(b Block) int {
	unit, _ := goldUnit(m.l)
	if m.l.Config().Scheme != Contiguous {
		return 1
	}
	// A contiguous block says its size in its set, unless Ports cuts it.
	n := 0
	for p := range m.g.rows {
		if m.g.rows[p].lease == b {
			n++
		}
	}
	return n / unit
}

func (m *addressMachine) end(t *rapid.T) {
	if len(m.live) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.live)-1).Draw(t, "lease")
	b := m.live[i]
	n := m.size(b)
	m.live = slices.Delete(m.live, i, i+1)
	m.old = append(m.old, b)
	if rapid.Bool().Draw(t, "cancel") {
		if err := m.a.CancelBlock(b); err != nil {
			t.Fatal(err)
		}
		m.g.set(b.Number(), n, func(r *goldRow) { *r = goldRow{unit: r.unit} })
		return
	}
	m.g.at(m.now)
	if err := m.a.CoolBlock(b, ms(m.now)); err != nil {
		t.Fatal(err)
	}
	m.g.set(b.Number(), n, func(r *goldRow) { r.cool, r.since = true, m.g.now })
	m.g.at(m.now)
}

func (m *addressMachine) endOld(t *rapid.T) {
	bad := append([]Block{{}, {address: 77, gen: 1}, {address: m.a.index, gen: 1, pool: 9}, {address: m.a.index, gen: 1 << 30, number: 4000}}, m.old...)
	b := rapid.SampledFrom(bad).Draw(t, "old")
	m.a.advance(ms(m.now)) // cooling blocks become free by time alone
	m.a.advance(ms(m.now)) // time alone may change the state
	before := m.a.AppendSnapshot(nil)
	err1, err2 := m.a.CancelBlock(b), m.a.CoolBlock(b, ms(m.now))
	for _, err := range []error{err1, err2} {
		if err != ErrInvalid && err != ErrForeign && err != ErrStale {
			t.Fatalf("ending %v again: %v", b, err)
		}
	}
	m.g.at(m.now)
	if !slices.Equal(before, m.a.AppendSnapshot(nil)) {
		t.Fatal("a refused release changed the state")
	}
}

func (m *addressMachine) reserve(t *rapid.T) {
	r := m.l.Config().Ports
	var rules []Reservation
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		a := rapid.IntRange(int(r.First()), int(r.Last())).Draw(t, "first")
		b := min(65535, a+rapid.SampledFrom([]int{0, 15, 63, 300, 2000}).Draw(t, "len"))
		rules = append(rules, Reservation{RangeOf(uint16(a), uint16(b)), SpaceSet(rapid.IntRange(0, 7).Draw(t, "spaces"))})
	}
	res, err := m.l.NewReserved(rules)
	if err != nil {
		t.Fatal(err)
	}
	m.g.at(m.now)
	want := map[Block]bool{}
	for p := range m.g.rows {
		row := &m.g.rows[p]
		if !row.lease.IsValid() || row.cool {
			continue
		}
		for s := range Space(NumSpaces) {
			if goldUsable(m.l, m.g.rules, s, p) && !goldUsable(m.l, rules, s, p) {
				want[row.lease] = true
			}
		}
	}
	got, err := m.a.SetReserved(res, nil, ms(m.now))
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d conflicts, want %d", len(got), len(want))
	}
	for _, c := range got {
		if !want[c.Block] {
			t.Fatalf("%v does not conflict", c)
		}
	}
	m.g.rules, m.g.usable = rules, nil
}

func (m *addressMachine) restore(t *rapid.T) {
	snap := m.a.AppendSnapshot([]byte("x"))[1:]
	a, n, err := m.l.RestoreAddress(append(slices.Clip(snap), 1, 2, 3))
	if err != nil || n != len(snap) {
		t.Fatalf("RestoreAddress: %d bytes of %d, %v", n, len(snap), err)
	}
	if _, err := a.SetReserved(m.a.Reserved(), nil, ms(m.now)); err != nil {
		t.Fatal(err)
	}
	m.a = a
}

func (m *addressMachine) check(t *rapid.T) {
	if err := m.a.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	if m.steps++; m.steps%8 != 0 {
		return
	}
	m.g.at(m.now)
	free, usable := m.g.units()
	var want BlockCounts
	run := 0
	state := make([]Ownership, len(free))
	for p := range m.g.rows {
		row := &m.g.rows[p]
		if row.unit < 0 {
			continue
		}
		o := &state[row.unit]
		switch {
		case row.lease.IsValid():
			*o = Ownership{row.owner, Heating, row.lease, ms(row.since).UTC()}
			if row.cool {
				o.State = Cooling
			}
		case usable[row.unit] != 0:
			*o = Ownership{State: Free}
		}
		if p%97 == 0 || p == 65535 {
			got := m.a.Owner(uint16(p), ms(m.now))
			in := Ownership{}
			for s := range Space(NumSpaces) {
				if goldUsable(m.l, nil, s, p) {
					in = *o
				}
			}
			if got != in {
				t.Fatalf("Owner(%d) = %+v, want %+v", p, got, in)
			}
		}
	}
	for u, o := range state {
		run++
		switch o.State {
		case Free:
			want.Free++
		case Heating:
			want.Heating++
		case Cooling:
			want.Cooling++
		default:
			want.Unusable++
		}
		if !free[u] {
			run = 0
		}
		want.LargestFreeRun = max(want.LargestFreeRun, run)
	}
	got := m.a.Counts(ms(m.now))
	got.RefusedCooling, got.RefusedInUse, got.RefusedNoBlock, got.RefusedReserved = 0, 0, 0, 0
	if got != want {
		t.Fatalf("Counts = %+v, want %+v", got, want)
	}
	if m.a.FreeBlocks(ms(m.now)) != want.Free || m.a.InUse(ms(m.now)) != (want.Heating+want.Cooling > 0) {
		t.Fatal("FreeBlocks or InUse is wrong")
	}
	m.checkDumps(t)
	for b := range m.a.Blocks(ms(m.now)) {
		o := state[b.Number]
		if b.State != o.State || b.Owner != o.Owner || b.Block != o.Block || b.State == Cooling && b.Until.Sub(b.Since) != m.l.Config().GuardTime {
			t.Fatalf("dump says %+v, want %+v", b, o)
		}
	}
}

var testLayouts = sync.OnceValue(addressLayouts)

func runAddressMachine(t *rapid.T) {
	l := testLayouts()[rapid.IntRange(0, len(addressConfigs())-1).Draw(t, "config")]
	m := &addressMachine{l: l, a: l.NewAddress(5), g: newGoldAddress(l), now: 1e12}
	t.Repeat(map[string]func(*rapid.T){
		"take": m.take, "take2": m.take, "takeAt": m.takeAt, "end": m.end, "endOld": m.endOld,
		"jump": m.jump, "reserve": m.reserve, "restore": m.restore, "": m.check,
	})
}

// addressLayouts makes the layouts once: a Crypto layout takes milliseconds.
func addressLayouts() []*Layout {
	var out []*Layout
	for _, c := range addressConfigs() {
		l, err := NewLayout(c)
		if err != nil {
			panic(err)
		}
		out = append(out, l)
	}
	return out
}

// Rules 1 to 3 of the design for blocks, H6, H11, H14 to H16, H19 to H22, H27.
func TestAddressAgainstGoldenModel(t *testing.T) { rapid.Check(t, runAddressMachine) }

func FuzzAddressMachine(f *testing.F) {
	seedMachine(f)
	f.Fuzz(rapid.MakeFuzz(runAddressMachine))
}

// seedMachine adds streams of draws: none, all zero (the first choice each
// time), and pseudorandom ones.
func seedMachine(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	for seed := range byte(4) {
		b := make([]byte, 8192)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		f.Add(b)
	}
}
