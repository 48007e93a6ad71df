package portblock

import "math/bits"

// The golden model: slow, and right by reading. It takes from the code under
// test only types, and the cipher, which has vectors of its own.

// goldUnit returns the smaller block size and the number of positions.
func goldUnit(l *Layout) (unit, units int) {
	c := l.Config()
	switch c.Scheme {
	case Contiguous:
		unit = min(c.BlockSize, c.FirstBlockSize)
		return unit, 65536 / unit
	case Crypto:
		return c.BlockSize, 64512 / c.BlockSize
	case PSID:
		return 1 << (16 - c.PSIDLength), 1 << c.PSIDLength
	case MaskValue:
		n := bits.OnesCount16(c.Mask)
		return 1 << (16 - n), 1 << n
	}
	return 0, c.Ratio
}

// goldBlockOf returns the position of a port, -1 if it has none.
func goldBlockOf(l *Layout, cipher *Cipher, p int) int {
	c := l.Config()
	unit, units := goldUnit(l)
	switch c.Scheme {
	case Contiguous:
		return p / unit
	case PSID:
		m := 16 - int(c.PSIDOffset) - int(c.PSIDLength)
		return p / (1 << m) % (1 << c.PSIDLength)
	case MaskValue:
		n, k := 0, 0
		for b := range 16 {
			if c.Mask>>b&1 == 1 {
				n |= p >> b & 1 << k
				k++
			}
		}
		return n
	case Crypto:
		x, ok := cipher.Decrypt(uint16(p))
		if !ok || int(x-1024)/unit >= units {
			return -1
		}
		return int(x-1024) / unit
	}
	span := c.Ratio * c.Run
	i := p / span
	if i*span < int(c.Ports.First()) || (i+1)*span > 65536 {
		return -1
	}
	return p % span / c.Run
}

// goldUsable says whether a port can be given out at all.
func goldUsable(l *Layout, rules []Reservation, s Space, p int) bool {
	c := &l.cfg
	if c.Spaces>>s&1 == 0 || p < int(c.Ports.First()) || p > int(c.Ports.Last()) || p == 0 && s != ICMP {
		return false
	}
	if c.Scheme == PSID && c.PSIDOffset > 0 && p < 1<<(16-c.PSIDOffset) {
		return false
	}
	for _, r := range rules {
		if (r.Spaces == 0 || r.Spaces>>s&1 == 1) && p >= int(r.Ports.First()) && p <= int(r.Ports.Last()) {
			return false
		}
	}
	return true
}

// goldAddress is the golden model of an Address: a row for each port.
type goldAddress struct {
	l      *Layout
	cipher *Cipher
	rules  []Reservation
	rows   [65536]goldRow
	now    int64

	// usable caches, by position, the spaces with a usable port under rules; kinds
	// does so for each goldKind.
	usable []SpaceSet
	kinds  [4][]SpaceSet
	cools  bool // something cools
}

type goldRow struct {
	unit  int // position, -1 if none
	lease Block
	owner uint64
	cool  bool
	since int64
}

func newGoldAddress(l *Layout) *goldAddress {
	g := &goldAddress{l: l, rules: l.Config().Reserved, now: -1 << 60}
	if l.Config().Scheme == Crypto {
		g.cipher = NewCipher(l.Config().CryptoKey)
	}
	for p := range g.rows {
		g.rows[p].unit = goldBlockOf(l, g.cipher, p)
	}
	return g
}

// at moves the clock and frees what has cooled.
func (g *goldAddress) at(now int64) {
	g.now = max(g.now, now)
	if !g.cools {
		return
	}
	g.cools = false
	guard := g.l.Config().GuardTime.Milliseconds()
	for p := range g.rows {
		if r := &g.rows[p]; r.cool && g.now-r.since >= guard {
			*r = goldRow{unit: r.unit}
		}
		g.cools = g.cools || g.rows[p].cool
	}
}

// size returns how many positions a block covers.
func (g *goldAddress) size(further bool) int {
	c := g.l.Config()
	if c.Scheme != Contiguous {
		return 1
	}
	unit, _ := goldUnit(g.l)
	if further {
		return c.BlockSize / unit
	}
	return c.FirstBlockSize / unit
}

// units returns by position whether it is free, and in which spaces it has a
// usable port.
func (g *goldAddress) units() (free []bool, usable []SpaceSet) {
	_, n := goldUnit(g.l)
	free = make([]bool, n)
	if g.usable == nil {
		g.usable = make([]SpaceSet, n)
		for k := range g.kinds {
			g.kinds[k] = make([]SpaceSet, n)
		}
		for p := range g.rows {
			for s := range Space(NumSpaces) {
				if u := g.rows[p].unit; u >= 0 && goldUsable(g.l, g.rules, s, p) {
					g.usable[u] |= 1 << s
					g.kinds[goldKind(p)][u] |= 1 << s
				}
			}
		}
	}
	for i := range free {
		free[i] = g.usable[i] != 0
	}
	for p := range g.rows {
		if r := &g.rows[p]; r.unit >= 0 && r.lease.IsValid() {
			free[r.unit] = false
		}
	}
	return free, g.usable
}

// goldKind tells even from odd ports, and those below 1024 from others.
func goldKind(p int) int {
	if p < 1024 {
		return p&1 | 2
	}
	return p & 1
}

// candidates lists the positions at which a block of that kind is free.
func (g *goldAddress) candidates(want Want) map[int]bool {
	free, _ := g.units()
	n, c := g.size(want.Further), g.l.Config()
	out := map[int]bool{}
	for u := 0; u < len(free); u += n {
		ok, has := true, SpaceSet(0)
		for v := u; v < u+n; v++ {
			ok = ok && free[v]
			for k := range g.kinds {
				differ := k ^ goldKind(int(want.Internal))
				if !want.Keep || (differ&1 == 0 || c.Parity != Require) && (differ&2 == 0 || c.Class != Require) {
					has |= g.kinds[k][v]
				}
			}
		}
		if ok && has&want.Spaces == want.Spaces {
			out[u] = true
		}
	}
	return out
}

// set writes a lease into the rows of its ports.
func (g *goldAddress) set(u, n int, f func(r *goldRow)) {
	g.cools = true // perhaps
	for p := range g.rows {
		if r := &g.rows[p]; r.unit >= u && r.unit < u+n {
			f(r)
		}
	}
}
