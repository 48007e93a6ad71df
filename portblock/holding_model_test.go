package portblock

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func (w *world) take(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "subscriber")
	s := Space(rapid.IntRange(0, 2).Draw(t, "space"))
	for range rapid.SampledFrom([]int{1, 1, 3, 20}).Draw(t, "times") {
		w.takeOne(t, i, s, uint16(rapid.SampledFrom([]int{0, 1, 33, 1022, 1023, 1024, 1025, 1031, 4097, 40001, 65535}).Draw(t, "internal")))
	}
}

func (w *world) takeOne(t *rapid.T, i int, s Space, internal uint16) {
	h := w.hold[i]
	var rnd rand.Source = w.rnd
	if rapid.IntRange(0, 9).Draw(t, "nil source") == 0 {
		rnd = nil
	}
	free, resting := w.candidates(i, s, internal)
	c := &w.l.cfg
	snap := h.AppendSnapshot(nil)
	w.wasOpen = w.open(i)
	full := len(w.wasOpen) >= c.MaxBlocks
	may := h.MayTakePort(s, internal, ms(w.now))
	if !slices.Equal(settled(h, snap), h.AppendSnapshot(nil)) {
		t.Fatalf("MayTakePort, which answers %v, changed the state", may)
	}
	p, err := h.TakePort(s, internal, rnd, ms(w.now))
	if may != err {
		t.Fatalf("MayTakePort answers %v, TakePort %v", may, err)
	}
	switch {
	case err == nil:
		w.took(t, i, s, internal, p, free, rnd == nil)
		return
	case !slices.Equal(settled(h, snap), h.AppendSnapshot(nil)):
		t.Fatalf("refusal %v changed the state", err)
	case err == ErrInvalid:
		if c.Spaces.Has(s) {
			t.Fatal("invalid space")
		}
		return
	case errors.Is(err, ErrMaxPorts):
		if !w.limitHit(i, s) {
			t.Fatal("limit was not reached")
		}
		return
	case len(free) > 0 || w.limitHit(i, s):
		t.Fatalf("refused with %v, %d free", err, len(free))
	case err == ErrNeedBlock && !full:
		w.more(t, i, s, internal)
	case err == ErrResting && full && resting > 0:
	case err == ErrMaxBlocks && full && resting == 0:
	default:
		t.Fatalf("refused with %v, full %v, %d resting", err, full, resting)
	}
}

// more gets another block from one of the addresses.
func (w *world) more(t *rapid.T, i int, s Space, internal uint16) {
	h := w.hold[i]
	ai := rapid.IntRange(0, 1).Draw(t, "address")
	a := w.addr[ai]
	want := h.Want(s)
	want.Keep, want.Internal = rapid.Bool().Draw(t, "keep"), internal
	b, err := a.TakeBlockOf(uint64(i), want, ms(w.now))
	if err != nil {
		_, resting := w.candidates(i, s, internal)
		may := h.MayTakeHeldPort(s, internal, ms(w.now))
		p, err := h.TakeHeldPort(s, internal, w.rnd, ms(w.now))
		if may != err {
			t.Fatalf("MayTakeHeldPort answers %v, TakeHeldPort %v", may, err)
		}
		switch {
		case err == nil && w.l.cfg.Resting == RestOldest:
			w.took(t, i, s, internal, p, nil, false)
		case err == ErrResting && resting > 0, err == ErrNoBlock && resting == 0:
		default:
			t.Fatalf("TakeHeldPort: %v, %d resting", err, resting)
		}
		return
	}
	ports := w.portsOf(b, want.Further)
	guard := w.l.cfg.GuardTime.Milliseconds()
	for _, p := range ports {
		u := goldBlockOf(w.l, w.cipher, p)
		if at, ok := w.cooled[[2]int{ai, u}]; ok && w.now-at < guard {
			t.Fatalf("rule 2: block %v before its guard time", b)
		}
		for s := range Space(NumSpaces) {
			if u := w.ports[goldPort{s, b.Address(), p}]; u != nil && u.live {
				t.Fatalf("rule 1: block %v has a live port %d", b, p)
			}
		}
	}
	for o := range w.blocks {
		if o.Address() == b.Address() && slices.Contains(w.blocks[o].ports, ports[0]) {
			t.Fatalf("rule 1: blocks %v and %v share ports", o, b)
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "cancel") == 0 {
		if err := a.CancelBlock(b); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := h.AddBlockReserved(b, a.Reserved(), ms(w.now)); err != nil {
		t.Fatal(err)
	}
	if err := h.AddBlock(b, ms(w.now)); err != ErrInUse {
		t.Fatalf("added twice: %v", err)
	}
	w.blocks[b] = &goldBlock{owner: i, ports: ports, seen: w.now, added: w.now, idle: w.now}
	if free, _ := w.candidates(i, s, internal); want.Keep && len(free) == 0 {
		t.Fatalf("block %v has no port for %d", b, internal)
	}
	w.takeOne(t, i, s, internal)
}

func (w *world) giveBack(t *rapid.T) {
	for range rapid.SampledFrom([]int{1, 1, 8, 60}).Draw(t, "times") {
		live := w.livePorts()
		if len(live) == 0 {
			return
		}
		k := rapid.SampledFrom(live).Draw(t, "port")
		u := w.ports[k]
		if other := (u.owner + 1) % 3; w.hold[other].ReturnPort(k.s, k.addr, uint16(k.port), ms(w.now)) != ErrNotHeld {
			t.Fatal("foreign return")
		}
		if err := w.hold[u.owner].ReturnPort(k.s, k.addr, uint16(k.port), ms(w.now)); err != nil {
			t.Fatal(err)
		}
		if err := w.hold[u.owner].ReturnPort(k.s, k.addr, uint16(k.port), ms(w.now)); err != ErrNotHeld {
			t.Fatalf("double return: %v", err)
		}
		w.returned(k, u)
	}
}

func (w *world) takeAt(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "subscriber")
	s := Space(rapid.IntRange(0, 2).Draw(t, "space"))
	r := w.l.cfg.Ports
	k := goldPort{s, uint32(rapid.IntRange(0, 1).Draw(t, "address")), rapid.IntRange(int(r.First()), int(r.Last())).Draw(t, "port")}
	err := w.hold[i].TakePortAt(s, k.addr, uint16(k.port), ms(w.now))
	want := ErrNotHeld
	var in Block
	for _, b := range w.open(i) {
		if b.Address() == k.addr && slices.Contains(w.blocks[b].ports, k.port) {
			in = b
			want = map[string]error{"free": nil, "live": ErrInUse, "reserved": ErrReserved, "resting": ErrResting, "dead": ErrResting}[w.state(b, s, k.port)]
		}
	}
	if !w.l.cfg.Spaces.Has(s) {
		want = ErrInvalid
	} else if in.IsValid() && w.limitHit(i, s) {
		want = ErrMaxPorts
	}
	if !errors.Is(err, want) {
		t.Fatalf("TakePortAt(%+v) = %v, want %v", k, err, want)
	}
	if err == nil {
		w.ports[k] = &goldUse{live: true, owner: i}
		w.blocks[in].live++
		w.blocks[in].seen, w.blocks[in].idle = w.now, w.now
	}
}

// drawBlock draws a held block; ok is false when there is none. An action then does
// nothing: rapid gives up when too many actions are skipped in a row.
func (w *world) drawBlock(t *rapid.T) (b Block, ok bool) {
	if len(w.blocks) == 0 {
		return Block{}, false
	}
	return rapid.SampledFrom(w.sortedBlocks()).Draw(t, "block"), true
}

func (w *world) touch(t *rapid.T) {
	b, held := w.drawBlock(t)
	if !held {
		return
	}
	g := w.blocks[b]
	if w.hold[(g.owner+1)%3].Touch(b, ms(w.now)) {
		t.Fatal("foreign touch")
	}
	at := w.now - int64(rapid.SampledFrom([]int{0, 0, 1, 1000, 120_000}).Draw(t, "ms ago"))
	ok := false
	if rapid.Bool().Draw(t, "by port") {
		ok = w.hold[g.owner].TouchPort(b.Address(), uint16(g.ports[len(g.ports)/2]), ms(at))
	} else {
		ok = w.hold[g.owner].Touch(b, ms(at))
	}
	if !ok {
		t.Fatal("touch of a held block")
	}
	g.seen, g.idle = max(g.seen, at), max(g.idle, at)
}

func (w *world) retire(t *rapid.T) {
	b, held := w.drawBlock(t)
	if !held {
		return
	}
	if err := w.hold[w.blocks[b].owner].RetireBlock(b, ms(w.now)); err != nil {
		t.Fatal(err)
	}
	w.blocks[b].byHand = true
}

// clean releases what AppendIdle lists, and checks that it lists the right
// blocks.
func (w *world) clean(t *rapid.T) {
	for i, h := range w.hold {
		next, has := h.NextIdle()
		idle := h.AppendIdle(nil, ms(w.now))
		if len(idle) > 0 && (!has || next.UnixMilli() > w.now) {
			t.Fatalf("NextIdle said %v %v at %v", next, has, ms(w.now))
		}
		open := w.open(i)
		for b, g := range w.blocks {
			want := g.owner == i && g.live == 0 && (!slices.Contains(open, b) || w.now-g.idle >= max(0, w.l.cfg.IdleTimeout.Milliseconds()))
			if want != slices.Contains(idle, b) {
				t.Fatalf("block %v idle: %v, want %v", b, !want, want)
			}
			if g.owner == i && g.live > 0 {
				if err := h.RemoveBlock(b, ms(w.now)); err != ErrPortsLive {
					t.Fatalf("removed a block with live ports: %v", err)
				}
			}
		}
		for _, b := range idle {
			if err := h.RemoveBlock(b, ms(w.now)); err != nil {
				t.Fatal(err)
			}
			if err := h.RemoveBlock(b, ms(w.now)); err != ErrNotHeld {
				t.Fatalf("removed twice: %v", err)
			}
			if err := w.addr[b.Address()].CoolBlock(b, ms(w.now)); err != nil {
				t.Fatal(err)
			}
			for _, p := range w.blocks[b].ports {
				w.cooled[[2]int{int(b.Address()), goldBlockOf(w.l, w.cipher, p)}] = w.now
			}
			delete(w.blocks, b)
		}
	}
}

func (w *world) reserve(t *rapid.T) {
	ai := rapid.IntRange(0, 1).Draw(t, "address")
	r := w.l.cfg.Ports
	var rules []Reservation
	for range rapid.IntRange(0, 2).Draw(t, "n") {
		a := rapid.IntRange(int(r.First()), int(r.Last())).Draw(t, "first")
		b := min(65535, a+rapid.SampledFrom([]int{0, 3, 15, 40}).Draw(t, "len"))
		rules = append(rules, Reservation{RangeOf(uint16(a), uint16(b)), SpaceSet(rapid.IntRange(0, 7).Draw(t, "spaces"))})
	}
	res, err := w.l.NewReserved(rules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.addr[ai].SetReserved(res, nil, ms(w.now)); err != nil {
		t.Fatal(err)
	}
	var want []goldPort
	for _, k := range w.livePorts() {
		if int(k.addr) == ai && w.usable(k.addr, k.s, k.port) && !goldUsable(w.l, rules, k.s, k.port) {
			want = append(want, k)
		}
	}
	w.rules[ai] = rules
	n := 0
	for _, h := range w.hold {
		conflicts, err := h.SetReserved(uint32(ai), res, nil, ms(w.now))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conflicts {
			n++
			if !slices.Contains(want, goldPort{c.Space, c.Port.Address, int(c.Port.Number)}) {
				t.Fatalf("%+v does not conflict", c)
			}
		}
	}
	if n != len(want) {
		t.Fatalf("%d conflicts, want %d", n, len(want))
	}
}

func (w *world) restore(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "subscriber")
	snap := w.hold[i].AppendSnapshot(nil)
	h, n, err := w.l.RestoreHolding(append(slices.Clone(snap), 9, 9))
	if err != nil || n != len(snap) {
		t.Fatalf("RestoreHolding: %d of %d, %v", n, len(snap), err)
	}
	w.hold[i] = h
	ai := rapid.IntRange(0, 1).Draw(t, "address")
	a, _, err := w.l.RestoreAddress(w.addr[ai].AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SetReserved(w.addr[ai].Reserved(), nil, ms(w.now)); err != nil {
		t.Fatal(err)
	}
	w.addr[ai] = a
}

func (w *world) jump(t *rapid.T) {
	hold := w.l.cfg.HoldDown.Milliseconds()
	idle := w.l.cfg.IdleTimeout.Milliseconds()
	d := rapid.SampledFrom([]int64{1, hold / 3, hold - 1, hold, idle - 1, idle, w.l.cfg.ActiveTimeout.Milliseconds(), 10 * hold}).Draw(t, "ms")
	w.now += max(0, d)
}

// back gives a time that lies in the past; nothing may come of it.
func (w *world) back(t *rapid.T) {
	for i, h := range w.hold {
		free := h.FreePorts(TCP, ms(w.now))
		if got := h.FreePorts(TCP, ms(w.now-rapid.Int64Range(0, 1e9).Draw(t, "ms"))); got != free {
			t.Fatalf("holding %d: a clock that runs backwards changed %d free ports to %d", i, free, got)
		}
	}
}

func runWorld(t *rapid.T) {
	l := holdingLayouts()[rapid.IntRange(0, len(holdingConfigs())-1).Draw(t, "config")]
	w := &world{
		l: l, now: 1e12, rnd: rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 255).Draw(t, "seed"))}), cipher: l.cipher,
		ports: map[goldPort]*goldUse{}, blocks: map[Block]*goldBlock{}, cooled: map[[2]int]int64{},
	}
	for i := range w.addr {
		w.addr[i] = l.NewAddress(uint32(i))
		w.rules[i] = l.cfg.Reserved
	}
	for i := range w.hold {
		w.hold[i] = l.NewHolding()
	}
	t.Repeat(map[string]func(*rapid.T){
		"take": w.take, "take2": w.take, "take3": w.take, "giveBack": w.giveBack, "giveBack2": w.giveBack, "takeAt": w.takeAt,
		"touch": w.touch, "retire": w.retire, "clean": w.clean, "reserve": w.reserve, "restore": w.restore,
		"jump": w.jump, "back": w.back, "share": w.share, "": w.check,
	})
}

// Rules 1 to 3 of the design for ports; RFC 7768-08, 7768-12, 6888-04,
// 6888-08, 4787-03a, 4787-04; B117 to B119, H19 to H22.
func TestHoldingsAgainstLedger(t *testing.T) { rapid.Check(t, runWorld) }

func FuzzHoldings(f *testing.F) {
	seedMachine(f)
	f.Fuzz(rapid.MakeFuzz(runWorld))
}
