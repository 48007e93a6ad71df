package portblock

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
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
	for e := range h.restingOf(s) {
		p := h.portOf(entrySlot(e), entryOff(e))
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
