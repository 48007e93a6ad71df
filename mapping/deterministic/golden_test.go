package deterministic

import (
	"crypto/aes"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
)

// golden is the model of a map that is right by reading: it lists subscribers
// and external addresses one by one and deals out ports one by one. It shares no
// arithmetic with the package.
type golden struct {
	subs  []netip.Prefix
	exts  []netip.Addr
	owner [][65536]int32 // by position of the external address: a subscriber or a constant below
}

const (
	goldReserved int32 = -1 - iota
	goldDynamic
	goldUnused
	goldEmptyBase // slots without subscriber: goldEmptyBase - slot
)

// goldenOf builds the model of a configuration; ok is false if it is infeasible.
// Random is modelled without its permutation.
func goldenOf(cfg Config) (g *golden, ok bool) {
	g = &golden{}
	g.exts = walk(cfg.External, cfg.ExternalExclude, true)
	bits := cfg.SubscriberBits
	for _, a := range walk(cfg.Internal, nil, cfg.IncludeBoundaryAddresses || cfg.Internal[0].First().Is6() || bits != 0 && bits != 32) {
		if bits == 0 {
			bits = a.BitLen()
			if a.Is6() {
				bits = 64
			}
		}
		p := netip.PrefixFrom(a, bits).Masked()
		if n := len(g.subs); n > 0 && g.subs[n-1] == p {
			continue
		}
		if !touches(cfg.InternalExclude, p) {
			g.subs = append(g.subs, p)
		}
	}
	if len(g.subs) == 0 || len(g.exts) == 0 {
		return g, false
	}
	g.owner = make([][65536]int32, len(g.exts))
	reserved := [65536]bool{0: true}
	if cfg.Reserved == nil {
		n := 1024
		if cfg.Algorithm == MAP && cfg.PSIDOffset > 0 {
			n = 0
		}
		for p := range n {
			reserved[p] = true
		}
	}
	for _, r := range cfg.Reserved {
		for p := range 65536 {
			if r.Contains(uint16(p)) {
				reserved[p] = true
			}
		}
	}
	if cfg.Algorithm == MAP && cfg.PSIDOffset > 0 {
		for p := range 1 << (16 - cfg.PSIDOffset) {
			reserved[p] = true
		}
	}
	var free []int
	for p := range 65536 {
		if !reserved[p] {
			free = append(free, p)
		}
	}
	if len(free) == 0 {
		return g, false
	}
	switch cfg.Algorithm {
	case MAP, GMA, Mask:
		return g, g.dealSets(cfg, reserved)
	}
	return g, g.dealRanks(cfg, free)
}

// walk lists addresses one by one.
func walk(spans, exclude []Span, boundaries bool) (out []netip.Addr) {
	for _, s := range spans {
		p, isPrefix := s.Prefix()
		for a := s.First(); ; a = a.Next() {
			boundary := isPrefix && p.Addr().Is4() && p.Bits() <= 30 && (a == s.First() || a == s.Last())
			hole := false
			for _, x := range exclude {
				hole = hole || x.Contains(a)
			}
			if !hole && (boundaries || !boundary) {
				out = append(out, a)
			}
			if a == s.Last() {
				break
			}
		}
	}
	return out
}

// touches reports whether a span has an address of the prefix.
func touches(spans []Span, p netip.Prefix) bool {
	for _, s := range spans {
		if s.Contains(p.Addr()) || p.Contains(s.First()) {
			return true
		}
	}
	return false
}

// sub turns a slot number over all addresses into what owner holds.
func (g *golden) sub(n int) int32 {
	if n < len(g.subs) {
		return int32(n)
	}
	return goldEmptyBase - int32(n)
}

func (g *golden) dealRanks(cfg Config, free []int) bool {
	group := 1
	if cfg.Algorithm == RoundRobin || cfg.Algorithm == Interlaced {
		if group = cfg.GroupSize; group == 0 {
			group = len(g.exts)
		}
		if len(g.exts)%group != 0 {
			return false
		}
	}
	C, P, D, dp := cfg.SharingRatio, cfg.PortsPerSubscriber, cfg.DynamicFactor, cfg.DynamicPorts
	fits := func(c, p int) bool { return c*p+c*dp+D*p <= len(free) }
	given := P > 0
	unit := 1
	if cfg.Algorithm == RoundRobin {
		unit = group
	}
	if P%unit != 0 {
		return false
	}
	if C == 0 && given {
		for fits(C+1, P) {
			C++
		}
	} else if C == 0 {
		for C*len(g.exts) < len(g.subs) {
			C++
		}
	}
	for !given && fits(C, P+unit) {
		P += unit
	}
	if C == 0 || P == 0 || !fits(C, P) || C*len(g.exts) < len(g.subs) {
		return false
	}
	hasDynamic := D > 0 || dp > 0
	policy := cfg.Remainder
	if policy == RemainderAuto {
		switch {
		case hasDynamic:
			policy = RemainderDynamic
		case !given && cfg.Algorithm != RoundRobin && cfg.Algorithm != Interlaced:
			policy = RemainderSpread
		default:
			policy = RemainderUnused
		}
	}
	left := len(free) - C*P - C*dp - D*P
	extra := 0
	if policy == RemainderSpread {
		extra = min(left, C)
	}
	rest := goldUnused
	if policy == RemainderDynamic || policy == RemainderSpread && hasDynamic {
		rest = goldDynamic
	}
	for e := range g.exts {
		o := &g.owner[e]
		for p := range o {
			o[p] = goldReserved
		}
		next := 0
		port := func(x int) int { return x }
		if cfg.Algorithm == Crypto {
			key := cfg.Key
			if cfg.KeyPerAddress {
				a := g.exts[e].As16()
				key = aesBlock(key, a)
			}
			usable := map[int]bool{}
			for _, p := range free {
				usable[p] = true
			}
			f := rfc6431F(key)
			port = func(x int) int {
				for {
					if x = rfc6431E(f, x); usable[x] {
						return x
					}
				}
			}
		}
		deal := func(n int, who int32) {
			for ; n > 0; n-- {
				o[port(free[next])] = who
				next++
			}
		}
		first := e / group * group * C // number of the first slot of the group
		switch cfg.Algorithm {
		case Staggered:
			for range P {
				for s := range C {
					deal(1, g.sub(first+s))
				}
				deal(D, goldDynamic)
			}
			for s := range extra {
				deal(1, g.sub(first+s))
			}
			deal(C*dp, goldDynamic)
		case Interlaced:
			for row := range P {
				for s := range C {
					for column := range group {
						if (column+row)%group == e%group {
							deal(1, g.sub(first+s*group+column))
						}
					}
				}
				deal(D, goldDynamic)
			}
		case RoundRobin:
			for s := range C * group {
				deal(P/group, g.sub(first+s))
			}
			deal(D*P, goldDynamic)
		default:
			for s := range C {
				n := P
				if s < extra {
					n++
				}
				deal(n, g.sub(first+s))
			}
			deal(D*P+C*dp, goldDynamic)
		}
		deal(len(free)-next, rest)
	}
	return true
}

func (g *golden) dealSets(cfg Config, reserved [65536]bool) bool {
	slotOf := [65536]int{} // -1: outside of every set
	slots := 0
	for p := range slotOf {
		slotOf[p] = -1
	}
	C, D := cfg.SharingRatio, cfg.DynamicFactor
	switch cfg.Algorithm {
	case MAP:
		a, k := cfg.PSIDOffset, cfg.PSIDLen
		m := 16 - a - k
		if m < 0 {
			return false
		}
		slots = 1 << k
		for i := range 1 << a {
			for psid := range slots {
				for j := range 1 << m {
					slotOf[i<<(k+m)|psid<<m|j] = psid
				}
			}
		}
	case Mask:
		var values []int
		for v := range 65536 {
			if v&^int(cfg.PortRangeMask) == 0 {
				values = append(values, v)
			}
		}
		slots = len(values)
		number := map[int]int{}
		for i, v := range values {
			number[v] = i
		}
		for p := range slotOf {
			slotOf[p] = number[p&int(cfg.PortRangeMask)]
		}
	case GMA:
		if C == 0 {
			for C*len(g.exts) < len(g.subs) {
				C++
			}
		}
		slots = C + D
		R, M, N := slots, cfg.Contiguous, 0
		for reserved[N] {
			N++
		}
		if N == 1 {
			N = 0
		}
		for i := 0; (i+1)*R*M <= 65536; i++ {
			if i*R*M < N {
				continue
			}
			for psid := range R {
				for j := range M {
					slotOf[R*M*i+M*psid+j] = psid
				}
			}
		}
	}
	if C == 0 {
		C = slots - D - cfg.FirstSlot
	}
	if C <= 0 || cfg.FirstSlot+C+D > slots || C*len(g.exts) < len(g.subs) {
		return false
	}
	rest := goldUnused
	if cfg.Remainder == RemainderDynamic || cfg.Remainder == RemainderAuto && D > 0 {
		rest = goldDynamic
	}
	have := map[int]bool{}
	for e := range g.exts {
		for p := range 65536 {
			s := slotOf[p]
			who := rest
			switch {
			case reserved[p]:
				who = goldReserved
			case s < 0:
			case s < cfg.FirstSlot:
				who = goldUnused
			case s < cfg.FirstSlot+C:
				who = g.sub(e*C + s - cfg.FirstSlot)
				have[s] = true
			case s < cfg.FirstSlot+C+D:
				who = goldDynamic
			}
			g.owner[e][p] = who
		}
	}
	return len(have) == C
}

// aesBlock is one AES-128 call.
func aesBlock(key, in [16]byte) (out [16]byte) {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	c.Encrypt(out[:], in[:])
	return out
}

// rfc6431F returns the round function of RFC 6431 section 2.2.1.
func rfc6431F(key [16]byte) func(round, x byte) byte {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	return func(round, x byte) byte {
		var out [16]byte
		c.Encrypt(out[:], []byte{0: round, 1: x, 15: 0})
		return out[0]
	}
}

// rfc6431E is one pass of the RFC's pseudo-code, without the walk.
func rfc6431E(f func(round, x byte) byte, x int) int {
	left, right := byte(x&0xff), byte(x>>8)
	for round := byte(1); round <= 3; round++ {
		left, right = right, left^f(round, right)
	}
	return int(right)<<8 | int(left)
}

func ranges(texts ...string) []portblock.Range {
	out := []portblock.Range{}
	for _, t := range texts {
		out = append(out, portblock.MustParseRange(t))
	}
	return out
}
