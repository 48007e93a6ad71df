package alloc

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// machine drives a pool and the model with the same operations.
type machine struct {
	p     *Pool
	g     *golden
	live  []Lease
	stale []Lease
	seed  [32]byte
	next  byte // next /26 of 10.0.0.0/8 for Add
}

func newMachine(t *rapid.T) *machine {
	m := &machine{g: &golden{
		limit: rapid.SampledFrom([]uint32{1, 1, 0, 2, 3, 70}).Draw(t, "shares"),
		spill: rapid.Bool().Draw(t, "spill"),
	}}
	m.seed[0] = rapid.Byte().Draw(t, "seed")
	cfg := Config{Name: "machine", Shares: m.g.limit, Spill: m.g.spill, Seed: m.seed}
	kinds := []string{"192.0.2.8/29", "198.51.100.7", "203.0.113.9-203.0.113.20",
		"255.255.255.252/30", "2001:db8::fff0-2001:db8::1:8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126"}
	for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(kinds), 0, 4, rapid.ID).Draw(t, "ranges") {
		r := MustParseRanges(s)[0]
		cfg.Ranges = append(cfg.Ranges, r)
		m.g.add(r.First(), r.Last())
	}
	for _, s := range rapid.SliceOfN(rapid.SampledFrom([]string{"192.0.2.8", "203.0.113.0/28", "2001:db8::fffe-2001:db8::1:1",
		"8.8.8.8", "255.255.255.255"}), 0, 3).Draw(t, "exclude") {
		r := MustParseRanges(s)[0]
		cfg.Exclude = append(cfg.Exclude, r)
		m.exclude(r)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.p = p
	return m
}

func (m *machine) exclude(r Range) {
	for i := range m.g.addrs {
		a := &m.g.addrs[i]
		if a.member && r.First().BitLen() == a.addr.BitLen() && !a.addr.Less(r.First()) && !r.Last().Less(a.addr) {
			*a = goldenAddr{addr: a.addr, block: a.block, excluded: true}
		}
	}
}

// position draws a position, mostly of the pool.
func (m *machine) position(t *rapid.T) uint32 {
	return rapid.Uint32Range(0, uint32(len(m.g.addrs))).Draw(t, "position")
}

// addr draws an address, mostly of the pool, sometimes IPv4-mapped.
func (m *machine) addr(t *rapid.T) netip.Addr {
	i := int(m.position(t))
	if i >= len(m.g.addrs) {
		return netip.MustParseAddr(rapid.SampledFrom([]string{"8.8.8.8", "0.0.0.0", "::", "2001:db8::1:9"}).Draw(t, "stranger"))
	}
	a := m.g.addrs[i].addr
	if a.Is4() && rapid.Bool().Draw(t, "mapped") {
		return netip.AddrFrom16(a.As16())
	}
	return a
}

// won checks and records a lease.
func (m *machine) won(t *rapid.T, l Lease, pos int) {
	if !l.IsValid() || int(l.Position()) != pos || !m.p.Holds(l) || slices.Contains(m.live, l) {
		t.Fatalf("lease %+v of position %d", l, pos)
	}
	m.g.addrs[pos].shares++
	m.live = append(m.live, l)
}

// take checks the outcome of a take by choice.
func (m *machine) take(t *rapid.T, how Choice, hidden []uint32, l Lease, err error) {
	open := m.g.open(hidden...)
	if len(open) == 0 {
		var e *ExhaustedError
		if !errors.As(err, &e) || !errors.Is(err, ErrExhausted) || l != (Lease{}) {
			t.Fatalf("take of an exhausted pool: %v %v", l, err)
		}
		if e.Pool != "machine" || e.Resource != m.g.resource() || e.Counts != m.g.counts() || err.Error() == "" {
			t.Fatalf("refusal %+v, want %v %+v", e, m.g.resource(), m.g.counts())
		}
		return
	}
	if err != nil || !slices.Contains(open, int(l.Position())) {
		t.Fatalf("take %v: position %d, error %v; open %v", how, l.Position(), err, open)
	}
	pos := int(l.Position())
	switch how {
	case Lowest:
		if pos != open[0] {
			t.Fatalf("lowest took %d of %v", pos, open)
		}
	case RoundRobin:
		want := open[0]
		if i := slices.IndexFunc(open, func(x int) bool { return x >= m.g.cursor }); i >= 0 {
			want = open[i]
		}
		if pos != want {
			t.Fatalf("round robin took %d from cursor %d of %v", pos, m.g.cursor, open)
		}
		m.g.cursor = pos + 1
	case LeastLoaded:
		for _, i := range open {
			if a, b := m.g.addrs[pos].shares, m.g.addrs[i].shares; b < a && !sameLoad(a, b) {
				t.Fatalf("least loaded took load %d, there is %d", a, b)
			}
		}
	}
	m.won(t, l, pos)
}

func (m *machine) actions() map[string]func(*rapid.T) {
	change := func(ok func(a *goldenAddr) error, do func(a *goldenAddr), call func(netip.Addr) error) func(*rapid.T) {
		return func(t *rapid.T) {
			a := m.addr(t)
			i := m.g.find(a)
			want := error(nil)
			switch {
			case i < 0 || !m.g.addrs[i].member && !m.g.addrs[i].excluded:
				want = ErrNotInPool
			case m.g.addrs[i].excluded:
				want = ErrExcluded
			default:
				want = ok(&m.g.addrs[i])
			}
			err := call(a)
			wantError(t, err, want)
			if err == nil {
				do(&m.g.addrs[i])
				return
			}
			var e *AddressError
			if !errors.As(err, &e) || e.Pool != "machine" || e.Addr != a.Unmap() || i >= 0 && e.Shares != uint64(m.g.addrs[i].shares) {
				t.Fatalf("error %+v", err)
			}
		}
	}
	always := func(*goldenAddr) error { return nil }
	return map[string]func(*rapid.T){
		"Take": func(t *rapid.T) {
			how := Choice(rapid.IntRange(0, int(choices)).Draw(t, "choice"))
			l, err := m.p.Take(how)
			m.take(t, how, nil, l, err)
		},
		"TakeMany": func(t *rapid.T) { // Reaches full addresses and the end of the pool.
			how := Choice(rapid.IntRange(0, int(choices)).Draw(t, "choice"))
			for range rapid.IntRange(0, 2*len(m.g.addrs)).Draw(t, "takes") {
				l, err := m.p.Take(how)
				m.take(t, how, nil, l, err)
			}
		},
		"ReturnMany": func(t *rapid.T) {
			keep := rapid.IntRange(0, len(m.live)).Draw(t, "keep")
			for _, l := range m.live[keep:] {
				wantError(t, m.p.Return(l), nil)
				m.stale = append(m.stale, l)
				m.g.addrs[l.Position()].shares--
			}
			m.live = m.live[:keep]
		},
		"TakeKey": func(t *rapid.T) {
			key := rapid.Uint64().Draw(t, "key")
			l, err := m.p.TakeKey(key)
			if err == nil {
				// Given back, nothing has changed: the key finds the same address.
				wantError(t, m.p.Return(l), nil)
				m.stale = append(m.stale, l)
				again, err := m.p.TakeKey(key)
				if err != nil || again.Position() != l.Position() || again == l {
					t.Fatalf("key %d led to %d and %d (%v)", key, l.Position(), again.Position(), err)
				}
				l = again
			}
			m.take(t, Any, nil, l, err)
		},
		"TakeAddress": func(t *rapid.T) {
			a := m.addr(t)
			i := m.g.find(a)
			l, err := m.p.TakeAddress(a)
			wantError(t, err, m.g.why(i))
			if err == nil {
				m.won(t, l, i)
			}
		},
		"Spill": func(t *rapid.T) {
			how := Choice(rapid.IntRange(0, int(choices)).Draw(t, "choice"))
			held := rapid.SliceOfN(rapid.Uint32Range(0, uint32(len(m.g.addrs))), 0, 5).Draw(t, "held")
			before := slices.Clone(held)
			l, err := m.p.Spill(how, held...)
			if !slices.Equal(held, before) {
				t.Fatal("Spill changed the caller's slice")
			}
			if !m.g.spill {
				wantError(t, err, ErrPaired)
				return
			}
			m.take(t, how, held, l, err)
		},
		"Return": func(t *rapid.T) {
			if len(m.live) == 0 {
				return
			}
			i := rapid.IntRange(0, len(m.live)-1).Draw(t, "lease")
			l := m.live[i]
			wantError(t, m.p.Return(LeaseFromBytes(l.Bytes())), nil)
			m.live = slices.Delete(m.live, i, i+1)
			m.stale = append(m.stale, l)
			m.g.addrs[l.Position()].shares--
		},
		"ReturnWrong": func(t *rapid.T) {
			wantError(t, m.p.Return(Lease{}), ErrLeaseInvalid)
			if len(m.stale) > 0 {
				l := rapid.SampledFrom(m.stale).Draw(t, "stale")
				wantError(t, m.p.Return(l), ErrLeaseStale)
			}
			if len(m.live) > 0 {
				l := rapid.SampledFrom(m.live).Draw(t, "live")
				l.pool++
				wantError(t, m.p.Return(l), ErrLeaseForeign)
				l.pool--
				l.position++
				wantError(t, m.p.Return(l), ErrLeaseStale)
				l.position--
				l.slot += 1 << 20
				wantError(t, m.p.Return(l), ErrLeaseStale)
			}
		},
		"SetRoom": func(t *rapid.T) {
			pos, room := m.position(t), rapid.Bool().Draw(t, "room")
			want := false
			if int(pos) < len(m.g.addrs) {
				if a := &m.g.addrs[pos]; a.member {
					want = a.room != room
					a.room = room
				}
			}
			if got := m.p.SetRoom(pos, room); got != want {
				t.Fatalf("SetRoom(%d, %v) = %v", pos, room, got)
			}
		},
		"Reserve": change(func(a *goldenAddr) error {
			switch {
			case a.reserved:
				return ErrReserved
			case a.shares > 0:
				return ErrInUse
			}
			return nil
		}, func(a *goldenAddr) { a.reserved = true }, func(a netip.Addr) error { return m.p.Reserve(a) }),
		"Unreserve": change(func(a *goldenAddr) error {
			if !a.reserved {
				return ErrNotReserved
			}
			return nil
		}, func(a *goldenAddr) { a.reserved = false }, func(a netip.Addr) error { return m.p.Unreserve(a) }),
		"Drain":   change(always, func(a *goldenAddr) { a.drained = true }, func(a netip.Addr) error { return m.p.Drain(a) }),
		"Undrain": change(always, func(a *goldenAddr) { a.drained = false }, func(a netip.Addr) error { return m.p.Undrain(a) }),
		"Remove": change(func(a *goldenAddr) error {
			if a.shares > 0 {
				return ErrInUse
			}
			return nil
		}, func(a *goldenAddr) { *a = goldenAddr{addr: a.addr, block: a.block} }, func(a netip.Addr) error { return m.p.Remove(a) }),
		"Exclude": func(t *rapid.T) {
			r := m.rangeOf(t)
			shares, first := uint64(0), netip.Addr{}
			for _, a := range m.g.addrs {
				if a.addr.BitLen() == r.First().BitLen() && !a.addr.Less(r.First()) && !r.Last().Less(a.addr) && a.shares > 0 {
					if shares == 0 {
						first = a.addr
					}
					shares += uint64(a.shares)
				}
			}
			err := m.p.Exclude(r)
			if shares == 0 {
				wantError(t, err, nil)
				m.exclude(r)
				return
			}
			var e *AddressError
			if !errors.As(err, &e) || !errors.Is(err, ErrInUse) || e.Shares != shares || e.Addr != first {
				t.Fatalf("error %+v, want %d leases from %v", err, shares, first)
			}
		},
		"Add": func(t *rapid.T) {
			r := m.rangeOf(t)
			var want error
			for _, a := range m.g.addrs {
				if a.member && a.addr.BitLen() == r.First().BitLen() && !a.addr.Less(r.First()) && !r.Last().Less(a.addr) {
					want = ErrOverlap
				}
			}
			wantError(t, m.p.Add(r), want)
			if want != nil {
				return
			}
			known := true // Whether the address before a had a position.
			for a := r.First(); ; a = a.Next() {
				if i := m.g.find(a); i >= 0 {
					m.g.addrs[i] = goldenAddr{addr: a, block: m.g.addrs[i].block, member: true, room: true}
					known = true
				} else {
					m.g.add(a, a)
					if !known {
						m.g.addrs[len(m.g.addrs)-1].block--
						m.g.blocks--
					}
					known = false
				}
				if a == r.Last() {
					break
				}
			}
		},
		"AddNew": func(t *rapid.T) {
			if m.next > 3 {
				return
			}
			first := netip.AddrFrom4([4]byte{10, m.next, 0, 0})
			m.next++
			last := netip.AddrFrom4([4]byte{10, m.next - 1, 0, rapid.ByteRange(0, 40).Draw(t, "size")})
			r, err := RangeOf(first, last)
			wantError(t, err, nil)
			wantError(t, m.p.Add(r), nil)
			m.g.add(first, last)
		},
		"Restore": func(t *rapid.T) {
			b := m.p.AppendSnapshot([]byte("x"))
			q, n, err := Restore(append(b[1:], "rest"...), m.seed)
			if err != nil || n != len(b)-1 {
				t.Fatalf("restore: %d of %d bytes, %v", n, len(b)-1, err)
			}
			if again := q.AppendSnapshot(nil); !slices.Equal(again, b[1:]) {
				t.Fatal("snapshot of a restored pool differs")
			}
			m.p = q
		},
		"Compact": func(*rapid.T) { m.p.Compact() },
		"": func(t *rapid.T) {
			if err := m.p.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
			if err := m.g.compareAll(m.p); err != nil {
				t.Fatal(err)
			}
			for _, l := range m.live {
				if !m.p.Holds(l) {
					t.Fatalf("live lease %+v is not held", l)
				}
			}
		},
	}
}

// rangeOf draws a short range around an address of the pool.
func (m *machine) rangeOf(t *rapid.T) Range {
	first := m.addr(t).Unmap()
	last := first
	for range rapid.IntRange(0, 5).Draw(t, "length") {
		if n := last.Next(); n.IsValid() {
			last = n
		}
	}
	return Range{first, last}
}

// TestMachine compares the pool with the model under every operation
// (DESIGN.md section 5; H1, H3, H5, H14, H18-H21, H23, H25, H27, H28, H40, H59, B117, B120).
func TestMachine(t *testing.T) {
	rapid.Check(t, runMachine)
}

func runMachine(t *rapid.T) {
	m := newMachine(t)
	t.Repeat(m.actions())
}

// FuzzMachine lets the fuzzer choose the operations of TestMachine.
func FuzzMachine(f *testing.F) {
	f.Add(make([]byte, 256)) // the least of every choice
	for seed := range uint64(4) {
		b := make([]byte, 4096) // a long random walk
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(rapid.MakeFuzz(runMachine))
}
