package portblock

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// holdingConfigs covers the policies; the ranges are small, so that addresses
// and holdings run full within some steps.
func holdingConfigs() []Config {
	port := func(s string) Range { return MustParseRange(s) }
	return []Config{
		{Ports: port("1024-1151"), BlockSize: 16},
		{Ports: port("1024-1151"), BlockSize: 16, Choice: ChooseLinear, MaxBlocks: 2},
		{Ports: port("1020-1100"), BlockSize: 16, FirstBlockSize: 32, Parity: Prefer, Class: Prefer, MaxBlocks: 3},
		{Ports: port("1000-1100"), BlockSize: 16, Parity: Require, Class: Require, Resting: RestOldest, MaxBlocks: 2},
		{Ports: port("1024-1087"), BlockSize: 32, FirstBlockSize: 16, Resting: RestOldest, MaxBlocks: 1, Preserve: true},
		{Ports: port("1024-1151"), BlockSize: 16, NoRefill: true, MaxBlocks: 2, MaxRetiring: 1},
		{Ports: port("1024-1151"), BlockSize: 16, ActiveTimeout: 300 * time.Second, MaxBlocks: 2, MaxRetiring: 1},
		{Ports: port("0-63"), BlockSize: 16, HoldDown: Off, GuardTime: Off, IdleTimeout: Off, MaxPorts: [3]int{5, 9, 0}, MaxPortsTotal: 12},
		{Ports: port("1024-1087"), BlockSize: 16, MaxResting: 3, KeepIdleInUse: true, Spaces: TCP.Set() | UDP.Set()},
		{Scheme: PSID, PSIDOffset: 2, PSIDLength: 12, Ports: port("20000-65535"), Preserve: true, Class: Prefer, MaxBlocks: 4},
		{Scheme: MaskValue, Mask: 0xff70, Parity: Prefer, Reserved: []Reservation{{port("4096-4099"), 0}}, Ports: port("4000-4600")},
		{Scheme: Crypto, BlockSize: 16, CryptoKey: [16]byte{7}, Parity: Require, MaxBlocks: 2},
		{Scheme: GMA, Ratio: 1000, Run: 3, Parity: Prefer, MaxBlocks: 3, IdleTimeout: 130 * time.Second},
	}
}

var holdingLayouts = sync.OnceValue(func() []*Layout {
	var out []*Layout
	for _, c := range holdingConfigs() {
		l, err := NewLayout(c)
		if err != nil {
			panic(err)
		}
		out = append(out, l)
	}
	return out
})

// world is two addresses, three subscribers, and a ledger of who owns what.
type world struct {
	l      *Layout
	cipher *Cipher
	rnd    *rand.ChaCha8
	addr   [2]*Address
	rules  [2][]Reservation
	hold   [3]*Holding
	now    int64

	ports  map[goldPort]*goldUse
	blocks map[Block]*goldBlock
	// wasOpen are the open blocks before the take that is looked at.
	wasOpen []Block
	cooled  map[[2]int]int64 // (address, position) -> when it was cooled
}

type goldPort struct {
	s    Space
	addr uint32
	port int
}

// goldUse is a port that is live or was returned at freed.
type goldUse struct {
	live  bool
	owner int
	freed int64
	early bool // rests no more, by MaxResting
}

type goldBlock struct {
	owner             int
	ports             []int // all, usable or not
	seen, added, idle int64
	byHand            bool
	live              int
}

func (w *world) usable(addr uint32, s Space, p int) bool {
	return goldUsable(w.l, w.rules[addr], s, p)
}

// portsOf lists the ports of a block, from the size that was asked for.
func (w *world) portsOf(b Block, further bool) []int {
	c := &w.l.cfg
	n := 1
	if unit, _ := goldUnit(w.l); c.Scheme == Contiguous {
		n = c.FirstBlockSize / unit
		if further {
			n = c.BlockSize / unit
		}
	}
	var out []int
	for p := range 65536 {
		if u := goldBlockOf(w.l, w.cipher, p); u >= b.Number() && u < b.Number()+n {
			out = append(out, p)
		}
	}
	return out
}

// state tells by the ledger how a port of a held block stands.
func (w *world) state(b Block, s Space, p int) string {
	u := w.ports[goldPort{s, b.Address(), p}]
	used := u != nil && u.freed >= w.blocks[b].added // since the block came
	switch {
	case u != nil && u.live:
		return "live"
	case used && w.l.cfg.NoRefill:
		return "dead"
	case used && !u.early && w.now-u.freed < w.l.cfg.HoldDown.Milliseconds():
		return "resting"
	case !w.usable(b.Address(), s, p):
		return "reserved"
	}
	return "free"
}

func (w *world) keeps(p int, internal uint16, parity, class bool) bool {
	return (!parity || p%2 == int(internal)%2) && (!class || p < 1024 == (internal < 1024))
}

// open lists the blocks of a subscriber from which ports are taken. Whether a
// block retires is read from the dump, and checked by checkRetiring.
func (w *world) open(i int) []Block {
	var out []Block
	for b := range w.hold[i].All(ms(w.now)) {
		if !b.Retiring {
			out = append(out, b.Block)
		}
	}
	return out
}

// candidates lists the free ports of open blocks that the strict preferences
// allow.
func (w *world) candidates(i int, s Space, internal uint16) (free map[goldPort]Block, resting int) {
	c := &w.l.cfg
	free = map[goldPort]Block{}
	for _, b := range w.open(i) {
		for _, p := range w.blocks[b].ports {
			switch w.state(b, s, p) {
			case "free":
				if w.keeps(p, internal, c.Parity == Require, c.Class == Require) {
					free[goldPort{s, b.Address(), p}] = b
				}
			case "resting":
				resting++
			}
		}
	}
	return free, resting
}

func (w *world) limitHit(i int, s Space) bool {
	c := &w.l.cfg
	n, all := 0, 0
	for k, u := range w.ports {
		if u.live && u.owner == i {
			all++
			if k.s == s {
				n++
			}
		}
	}
	return c.MaxPorts[s] > 0 && n >= c.MaxPorts[s] || c.MaxPortsTotal > 0 && all >= c.MaxPortsTotal
}

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
	p, err := h.TakePort(s, internal, rnd, ms(w.now))
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

// settled is the snapshot of before, restored and moved to the same time.
func settled(h *Holding, snap []byte) []byte {
	old, _, err := h.layout.RestoreHolding(snap)
	if err != nil {
		panic(err)
	}
	old.advance(timeOf(h.now))
	// What a refusal may do is what time does: settle the space it looked at.
	for s := range Space(NumSpaces) {
		old.settle(s)
		h.settle(s)
	}
	return old.AppendSnapshot(nil)
}

// more gets another block from one of the addresses.
func (w *world) more(t *rapid.T, i int, s Space, internal uint16) {
	h := w.hold[i]
	ai := rapid.IntRange(0, 1).Draw(t, "address")
	a := w.addr[ai]
	want := h.Want(s)
	b, err := a.TakeBlockOf(uint64(i), want, ms(w.now))
	if err != nil {
		_, resting := w.candidates(i, s, internal)
		p, err := h.TakeHeldPort(s, internal, w.rnd, ms(w.now))
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
	w.takeOne(t, i, s, internal)
}

// took checks a port that was given against the ledger and the policy.
func (w *world) took(t *rapid.T, i int, s Space, internal uint16, p Port, free map[goldPort]Block, linear bool) {
	c := &w.l.cfg
	k := goldPort{s, p.Address, int(p.Number)}
	var b Block
	for o, g := range w.blocks {
		if g.owner == i && o.Address() == p.Address && slices.Contains(g.ports, k.port) {
			b = o
		}
	}
	if !b.IsValid() {
		t.Fatalf("rule 1: port %+v is in no block of its owner", p)
	}
	old := w.ports[k]
	if st := w.state(b, s, k.port); st != "free" && !(st == "resting" && c.Resting == RestOldest && len(free) == 0) {
		t.Fatalf("port %+v was %s, %d free", p, st, len(free))
	}
	if w.limitHit(i, s) {
		t.Fatal("passed a limit")
	}
	if len(free) > 0 {
		w.chosenWell(t, i, internal, k, free, linear)
	} else {
		// Oldest first: no resting port that is allowed was returned earlier.
		for _, b := range w.open(i) {
			for _, q := range w.blocks[b].ports {
				if w.state(b, s, q) == "resting" && w.usable(b.Address(), s, q) && w.keeps(q, internal, c.Parity == Require, c.Class == Require) &&
					w.ports[goldPort{s, b.Address(), q}].freed < old.freed {
					t.Fatal("took a resting port that is not the oldest")
				}
			}
		}
	}
	w.ports[k] = &goldUse{live: true, owner: i}
	g := w.blocks[b]
	g.live++
	g.seen, g.idle = w.now, w.now
}

// chosenWell checks the order of preference: not the longest-idle block while
// others have room (RFC 7768), the internal port itself, parity and class.
func (w *world) chosenWell(t *rapid.T, i int, internal uint16, k goldPort, free map[goldPort]Block, linear bool) {
	c := &w.l.cfg
	open := w.wasOpen
	if !slices.Contains(open, free[k]) {
		t.Fatalf("%+v is not among the candidates", k)
	}
	oldest, unique := int64(1<<62), false
	for _, b := range open {
		switch g := w.blocks[b]; {
		case g.seen < oldest:
			oldest, unique = g.seen, true
		case g.seen == oldest:
			unique = false
		}
	}
	if c.KeepIdleInUse || len(open) < 2 {
		unique = false
	}
	if !unique && !c.KeepIdleInUse && len(open) > 1 {
		return // a tie: which of them is left out is not specified
	}
	best := map[goldPort]bool{}
	for q, b := range free {
		if !unique || w.blocks[b].seen != oldest {
			best[q] = true
		}
	}
	if len(best) == 0 {
		for q := range free {
			best[q] = true
		}
	}
	narrow := func(keep func(q goldPort) bool) {
		n := map[goldPort]bool{}
		for q := range best {
			if keep(q) {
				n[q] = true
			}
		}
		if len(n) > 0 {
			best = n
		}
	}
	if c.Preserve && slices.ContainsFunc(open, func(b Block) bool { return best[goldPort{k.s, b.Address(), int(internal)}] }) {
		narrow(func(q goldPort) bool { return q.port == int(internal) })
	} else {
		both := func(q goldPort) bool { return w.keeps(q.port, internal, c.Parity != Ignore, c.Class != Ignore) }
		any := false
		for q := range best {
			any = any || both(q)
		}
		if any {
			narrow(both)
		} else {
			before := len(best)
			narrow(func(q goldPort) bool { return w.keeps(q.port, internal, c.Parity == Require, c.Class != Ignore) })
			if len(best) == before {
				narrow(func(q goldPort) bool { return w.keeps(q.port, internal, c.Parity != Ignore, false) })
			}
		}
	}
	if !best[k] {
		t.Fatalf("%+v is not among the %d best candidates", k, len(best))
	}
	if (linear || c.Choice == ChooseLinear) && !c.Preserve && c.Scheme == Contiguous {
		for q := range best {
			if free[q] == free[k] && q.port < k.port || w.blocks[free[q]].added < w.blocks[free[k]].added {
				t.Fatalf("linear choice took %+v, %+v comes before", k, q)
			}
		}
	}
}

// livePorts lists the live ports in a fixed order.
func (w *world) livePorts() []goldPort {
	var out []goldPort
	for k, u := range w.ports {
		if u.live {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b goldPort) int {
		return cmp.Or(cmp.Compare(a.s, b.s), cmp.Compare(a.addr, b.addr), a.port-b.port)
	})
	return out
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

func (w *world) returned(k goldPort, u *goldUse) {
	for b, g := range w.blocks {
		if g.owner == u.owner && b.Address() == k.addr && slices.Contains(g.ports, k.port) {
			g.live--
			if g.live == 0 {
				g.idle = w.now
			}
		}
	}
	*u = goldUse{owner: u.owner, freed: w.now}
	w.trim(u.owner, k.s)
}

// trim ends the rest of the oldest ports beyond MaxResting. Which of the ports
// returned in one millisecond go first is told by the holding.
func (w *world) trim(i int, s Space) {
	m := w.l.cfg.MaxResting
	if m == 0 {
		return
	}
	h := w.hold[i]
	resting := map[goldPort]bool{}
	for j := range h.rest[s].n {
		p := h.portOf(entrySlot(h.rest[s].at(j)), entryOff(h.rest[s].at(j)))
		resting[goldPort{s, p.Address, int(p.Number)}] = true
	}
	for _, b := range w.open(i) {
		for _, p := range w.blocks[b].ports {
			k := goldPort{s, b.Address(), p}
			if w.state(b, s, p) == "resting" && !resting[k] {
				w.ports[k].early = true
			}
		}
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

// sortedBlocks lists the leases in a fixed order.
func (w *world) sortedBlocks() []Block {
	var out []Block
	for b := range w.blocks {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.number, b.number))
	})
	return out
}

func (w *world) drawBlock(t *rapid.T) Block {
	if len(w.blocks) == 0 {
		t.Skip("no block")
	}
	return rapid.SampledFrom(w.sortedBlocks()).Draw(t, "block")
}

func (w *world) touch(t *rapid.T) {
	b := w.drawBlock(t)
	g := w.blocks[b]
	if w.hold[(g.owner+1)%3].Touch(b, ms(w.now)) {
		t.Fatal("foreign touch")
	}
	ok := false
	if rapid.Bool().Draw(t, "by port") {
		ok = w.hold[g.owner].TouchPort(b.Address(), uint16(g.ports[len(g.ports)/2]), ms(w.now))
	} else {
		ok = w.hold[g.owner].Touch(b, ms(w.now))
	}
	if !ok {
		t.Fatal("touch of a held block")
	}
	g.seen, g.idle = w.now, max(g.idle, w.now)
}

func (w *world) retire(t *rapid.T) {
	b := w.drawBlock(t)
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

func (w *world) check(t *rapid.T) {
	for i, h := range w.hold {
		if err := h.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		var count [NumSpaces]int
		for s := range Space(NumSpaces) {
			for p := range h.Live(s) {
				if u := w.ports[goldPort{s, p.Address, int(p.Number)}]; u == nil || !u.live || u.owner != i {
					t.Fatalf("rule 1: holding %d has %v port %+v as live", i, s, p)
				}
				count[s]++
			}
		}
		want := [NumSpaces]int{}
		for k, u := range w.ports {
			if u.live && u.owner == i {
				want[k.s]++
			}
		}
		if count != want || h.Ports(TCP) != want[TCP] || h.Ports(UDP) != want[UDP] || h.Ports(ICMP) != want[ICMP] {
			t.Fatalf("holding %d: %v live ports, want %v", i, count, want)
		}
		w.checkBlocks(t, i)
	}
	for _, a := range w.addr {
		if err := a.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) checkBlocks(t *rapid.T, i int) {
	c := &w.l.cfg
	n, retiring, hand := 0, 0, 0
	var due []Block
	for b := range w.hold[i].All(ms(w.now)) {
		g := w.blocks[b.Block]
		n++
		if g == nil || g.owner != i || b.Added.UnixMilli() != g.added || b.LastPacket.UnixMilli() != g.seen {
			t.Fatalf("dump has %+v, want %+v", b, g)
		}
		if o := w.addr[b.Block.Address()].Owner(uint16(g.ports[len(g.ports)-1]), ms(w.now)); o.State != Heating || o.Owner != uint64(i) || o.Block != b.Block {
			if w.l.inRange(uint16(g.ports[len(g.ports)-1])) {
				t.Fatalf("address says %+v of block %v", o, b.Block)
			}
		}
		spent := false
		for s := range Space(NumSpaces) {
			var st = map[string]int{}
			for _, p := range g.ports {
				st[w.state(b.Block, s, p)]++
			}
			if b.Live[s] != st["live"] || !b.Retiring && (b.Free[s] != st["free"] || b.Resting[s] != st["resting"]) {
				t.Fatalf("block %v %v: %+v, want %v", b.Block, s, b, st)
			}
			spent = spent || c.NoRefill && st["free"] == 0 && st["live"]+st["dead"] > 0
		}
		old := spent || c.ActiveTimeout > 0 && w.now-g.added >= c.ActiveTimeout.Milliseconds()
		switch {
		case b.Retiring:
			retiring++
			if g.byHand {
				hand++
			}
			// Reservations may take or give the last port of a spent block later.
			if !g.byHand && !old && !c.NoRefill {
				t.Fatalf("block %v retires without a reason", b.Block)
			}
		case g.byHand:
			t.Fatalf("block %v does not retire", b.Block)
		case old && !spent:
			due = append(due, b.Block)
		}
	}
	if len(due) > 0 && retiring < c.MaxRetiring {
		t.Fatalf("blocks %v should retire", due)
	}
	if retiring-hand > c.MaxRetiring || n-retiring > c.MaxBlocks || n != w.hold[i].Blocks() {
		t.Fatalf("%d blocks, %d retiring", n, retiring)
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
		"jump": w.jump, "back": w.back, "": w.check,
	})
}

// Rules 1 to 3 of the design for ports; RFC 7768-08, 7768-12, 6888-04,
// 6888-08, 4787-03a, 4787-04; B117 to B119, H19 to H22.
func TestHoldingsAgainstLedger(t *testing.T) { rapid.Check(t, runWorld) }

func FuzzHoldings(f *testing.F) {
	seedMachine(f)
	f.Fuzz(rapid.MakeFuzz(runWorld))
}
