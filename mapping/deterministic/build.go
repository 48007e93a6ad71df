package deterministic

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/blocknat/blocknat/portblock"
)

const (
	maxSubscribers = 1 << 48
	maxExternals   = 1 << 32
	maxAddressKeys = 4096
	minCryptoPorts = 16384
	defaultV6Bits  = 64
	systemPorts    = 1023 // the last one
)

// New builds the map that cfg describes. All faults are reported together,
// joined; each is a *FieldError or an *OverlapError. It does not keep cfg.
func New(cfg Config) (*Map, error) {
	b := builder{cfg: cfg.clone()}
	b.addresses()
	b.fields()
	if len(b.faults) == 0 {
		b.cut()
	}
	if len(b.faults) == 0 {
		b.check()
	}
	if len(b.faults) > 0 {
		return nil, errors.Join(b.faults...)
	}
	b.m.cfg = b.cfg
	b.keys()
	return &b.m, nil
}

// clone copies cfg so that no slice is shared.
func (cfg Config) clone() Config {
	cfg.Internal = slices.Clone(cfg.Internal)
	cfg.InternalExclude = slices.Clone(cfg.InternalExclude)
	cfg.External = slices.Clone(cfg.External)
	cfg.ExternalExclude = slices.Clone(cfg.ExternalExclude)
	cfg.Reserved = slices.Clone(cfg.Reserved)
	return cfg
}

// builder turns a Config into a Map, step by step, gathering faults.
type builder struct {
	cfg    Config
	faults faultList
	m      Map
}

// addresses builds both keyspaces.
func (b *builder) addresses() {
	c := &b.cfg
	if c.SubscriberBits == 0 && len(c.Internal) > 0 && c.Internal[0].IsValid() {
		if c.SubscriberBits = 32; c.Internal[0].first.Is6() {
			c.SubscriberBits = defaultV6Bits
		}
	}
	b.m.in = keySource{"Internal", "internal", c.Realm, c.Internal, c.InternalExclude,
		c.SubscriberBits, c.IncludeBoundaryAddresses, maxSubscribers}.build(&b.faults)
	b.m.ext = keySource{"External", "external", c.ExternalRealm, c.External, c.ExternalExclude,
		0, true, maxExternals}.build(&b.faults)
}

// fields checks every number by itself and every field against the algorithm.
func (b *builder) fields() {
	c := &b.cfg
	if !utf8.ValidString(c.Name) {
		b.faults.add("Name", fmt.Sprintf("%q", c.Name), "a name is UTF-8, so that an archive can hold it", "rename the map")
	}
	if c.Algorithm > Mask {
		b.faults.add("Algorithm", fmt.Sprint(uint8(c.Algorithm)), "a known algorithm", "use one of the constants")
		return
	}
	if c.Remainder > RemainderUnused {
		b.faults.add("Remainder", fmt.Sprint(uint8(c.Remainder)), "a known remainder policy", "use one of the constants")
	}
	b.between("SharingRatio", c.SharingRatio, 0, 65536)
	b.between("PortsPerSubscriber", c.PortsPerSubscriber, 0, 1<<30)
	b.between("DynamicFactor", c.DynamicFactor, 0, 65535)
	b.between("DynamicPorts", c.DynamicPorts, 0, 65535)
	b.between("MaxPorts", c.MaxPorts, 0, 1<<30)
	b.between("GroupSize", c.GroupSize, 0, 65536)
	b.between("PSIDOffset", c.PSIDOffset, 0, 15)
	b.between("PSIDLen", c.PSIDLen, 0, 16)
	b.between("Contiguous", c.Contiguous, 0, 65536)
	b.between("FirstSlot", c.FirstSlot, 0, 65535)
	for i, r := range c.Reserved {
		if !r.IsValid() {
			b.faults.add(index("Reserved", i), "invalid range", "a range has ports", "use portblock.RangeOf(first, last) with first <= last")
		}
	}
	is := func(algorithms ...Algorithm) bool { return slices.Contains(algorithms, c.Algorithm) }
	b.only("PSIDOffset", c.PSIDOffset != 0, is(MAP), "MAP")
	b.only("PSIDLen", c.PSIDLen != 0, is(MAP), "MAP")
	b.only("Contiguous", c.Contiguous != 0, is(GMA), "GMA")
	b.only("PortRangeMask", c.PortRangeMask != 0, is(Mask), "Mask")
	b.only("FirstSlot", c.FirstSlot != 0, is(MAP, Mask), "MAP and Mask")
	b.only("GroupSize", c.GroupSize != 0, is(RoundRobin, Interlaced), "RoundRobin and Interlaced")
	b.only("KeyPerAddress", c.KeyPerAddress, is(Crypto), "Crypto")
	b.only("Key", c.Key != [16]byte{}, is(Crypto, Random), "Crypto and Random")
	cut := is(Sequential, Staggered, Crypto, Random)
	b.only("DynamicPorts", c.DynamicPorts != 0, cut, "Sequential, Staggered, Crypto and Random")
	b.only("PortsPerSubscriber", c.PortsPerSubscriber != 0, cut || is(RoundRobin, Interlaced), "the algorithms that cut ranks, not MAP, GMA and Mask")
	b.only("Remainder", c.Remainder == RemainderSpread, cut, "Sequential, Staggered, Crypto and Random if it is RemainderSpread")
	if is(GMA) && c.Contiguous == 0 {
		b.faults.add("Contiguous", "0", "GMA needs the length of a run", "set it, RFC 7597 appendix B calls it M")
	}
	if is(Mask) && c.PortRangeMask == 0 {
		b.faults.add("PortRangeMask", "0", "Mask needs significant bits", "set it, RFC 6431 section 2.1 calls it PRM")
	}
	if is(MAP) && c.PSIDOffset+c.PSIDLen > 16 {
		b.faults.add("PSIDLen", fmt.Sprint(c.PSIDLen), "PSIDOffset + PSIDLen is at most 16 (RFC 7597 section 5.1)", "lower one of them")
	}
}

func (b *builder) between(field string, v, least, most int) {
	if v < least || v > most {
		b.faults.add(field, fmt.Sprint(v), fmt.Sprintf("between %d and %d", least, most), "use 0 for the default")
	}
}

func (b *builder) only(field string, set, used bool, algorithms string) {
	if set && !used {
		b.faults.add(field, "set", "is used by "+algorithms, "leave it unset, or change Algorithm")
	}
}

// cut derives what the configuration leaves open and fills in the plan.
func (b *builder) cut() {
	c, p := &b.cfg, &b.m.plan
	b.m.group = 1
	if c.Reserved == nil {
		c.Reserved = []portblock.Range{portblock.RangeOf(0, systemPorts)}
		if c.Algorithm == MAP && c.PSIDOffset > 0 {
			c.Reserved[0] = portblock.RangeOf(0, uint16(1<<(16-c.PSIDOffset)-1))
		}
	}
	reserved := c.Reserved
	if c.Algorithm == MAP && c.PSIDOffset > 0 {
		reserved = append(slices.Clip(reserved), portblock.RangeOf(0, uint16(1<<(16-c.PSIDOffset)-1)))
	}
	p.layout = newLayout(reserved)
	if p.total == 0 {
		b.faults.add("Reserved", fmt.Sprint(c.Reserved), "some port is usable", "reserve less")
		return
	}
	switch c.Algorithm {
	case MAP, Mask:
		b.cutSets()
	case GMA:
		b.cutGMA()
	default:
		b.cutRanks()
	}
}

// leftovers resolves RemainderAuto and reports whether leftovers are dynamic.
func (b *builder) leftovers(spread bool) bool {
	c := &b.cfg
	if c.Remainder == RemainderAuto {
		switch {
		case c.DynamicFactor > 0 || c.DynamicPorts > 0:
			c.Remainder = RemainderDynamic
		case spread:
			c.Remainder = RemainderSpread
		default:
			c.Remainder = RemainderUnused
		}
	}
	if c.Remainder == RemainderSpread {
		return c.DynamicFactor > 0 || c.DynamicPorts > 0
	}
	return c.Remainder == RemainderDynamic
}

// derivedRatio is ceil(subscribers / external addresses), the smallest ratio
// that serves all.
func (b *builder) derivedRatio() uint64 {
	return (b.m.in.total + b.m.ext.total - 1) / b.m.ext.total
}

// cutRanks plans the shapes over ranks: C*(P+DynamicPorts) + D*P <= usable ports.
func (b *builder) cutRanks() {
	c, p := &b.cfg, &b.m.plan
	group := uint64(1)
	if c.Algorithm == RoundRobin || c.Algorithm == Interlaced {
		if c.GroupSize == 0 {
			c.GroupSize = int(min(b.m.ext.total, 65537))
		}
		if group = uint64(c.GroupSize); group > 65536 || b.m.ext.total%group != 0 {
			b.faults.add("GroupSize", fmt.Sprint(group), fmt.Sprintf("at most 65536, and divides the %d external addresses", b.m.ext.total), "set a divisor")
			return
		}
	}
	usable, wide := uint64(p.total), uint64(1) // wide: addresses over which one row of a slot lies
	if c.Algorithm == RoundRobin {
		wide = group
	}
	P, C, D, dp := uint64(c.PortsPerSubscriber), uint64(c.SharingRatio), uint64(c.DynamicFactor), uint64(c.DynamicPorts)
	given := P != 0
	if P%wide != 0 {
		b.faults.add("PortsPerSubscriber", fmt.Sprint(P), fmt.Sprintf("a multiple of GroupSize %d with RoundRobin", wide), fmt.Sprintf("use %d", P/wide*wide))
		return
	}
	if C == 0 {
		if C = b.derivedRatio(); given {
			if C = 0; usable > D*P {
				C = (usable - D*P) / (P + dp)
			}
		}
	}
	if !given && C > 0 && usable > C*dp {
		P = (usable - C*dp) / ((C + D) * wide) * wide
	}
	if C == 0 || P == 0 || C*(P+dp)+D*P > usable {
		b.faults.add("SharingRatio", fmt.Sprintf("%d with %d ports each", C, P),
			fmt.Sprintf("(C + D) sets and C times DynamicPorts fit in %d usable ports, with a port for each subscriber", usable),
			"add external addresses, or lower SharingRatio, PortsPerSubscriber, DynamicFactor, DynamicPorts or Reserved")
		return
	}
	c.SharingRatio, c.PortsPerSubscriber = int(C), int(P)
	spread := !given && group == 1 && c.Algorithm != RoundRobin && c.Algorithm != Interlaced
	restDynamic := b.leftovers(spread)
	left := usable - C*(P+dp) - D*P
	if c.Remainder == RemainderSpread {
		p.x = uint32(min(left, C))
	}
	behind := C*dp + left - uint64(p.x) // behind the slots and the D sets
	if !restDynamic {
		behind = C * dp
	}
	p.c, p.d, p.p = uint32(C), uint32(D), uint32(P)
	b.m.slots = C
	switch c.Algorithm {
	case Staggered, Interlaced:
		p.shape, p.step, p.tail = shapeStepped, uint32(C+D), uint32(behind)
		b.m.slots = C * group
	case RoundRobin:
		p.c, p.d, p.p = uint32(C*group), uint32(D*group), uint32(P/group)
		p.tail = uint32(D*P + behind)
		b.m.slots = C * group
	default:
		p.tail = uint32(D*P + behind)
	}
	b.m.group = group
}

// cutSets plans RFC 7597 and RFC 6431 sets: the slots are those that exist.
func (b *builder) cutSets() {
	c, p := &b.cfg, &b.m.plan
	all := uint64(slotsOfMask(c.PortRangeMask))
	if c.Algorithm == Mask {
		p.setMask(c.PortRangeMask)
	} else {
		all = 1 << c.PSIDLen
		p.shape = shapeModulus
		p.ratio, p.run = uint32(all), 1<<(16-c.PSIDOffset-c.PSIDLen)
		p.rows, p.end = 1, 1<<c.PSIDOffset
		if c.PSIDOffset == 0 {
			p.rows = 0
		}
	}
	p.firstSlot = uint32(c.FirstSlot)
	taken := uint64(c.FirstSlot + c.DynamicFactor)
	if c.SharingRatio == 0 && taken < all {
		c.SharingRatio = int(all - taken)
	}
	if c.SharingRatio == 0 || uint64(c.SharingRatio)+taken > all {
		b.faults.add("SharingRatio", fmt.Sprint(c.SharingRatio),
			fmt.Sprintf("FirstSlot + SharingRatio + DynamicFactor is at most %d, the number of sets", all), "lower one of them")
		return
	}
	b.sets()
}

// cutGMA plans the generalized modulus of RFC 7597 appendix B:
// P = (R*M)*i + M*PSID + j, i from ceil(N/(R*M)) to trunc(65536/(R*M))-1.
func (b *builder) cutGMA() {
	c, p := &b.cfg, &b.m.plan
	if c.SharingRatio == 0 {
		c.SharingRatio = int(min(b.derivedRatio(), 65537))
	}
	r, run, n := uint64(c.SharingRatio+c.DynamicFactor), uint64(c.Contiguous), uint64(p.lowest())
	if n == 1 {
		n = 0 // only port 0 is reserved at the low end: a hole of PSID 0
	}
	first, end := (n+r*run-1)/(r*run), 65536/(r*run)
	if first >= end {
		b.faults.add("Contiguous", fmt.Sprint(run), fmt.Sprintf("R*M = %d*%d leaves a row between port %d and 65535", r, run, n),
			"lower Contiguous or SharingRatio")
		return
	}
	p.shape, p.ratio, p.run = shapeModulus, uint32(r), uint32(run)
	p.rows, p.end = uint32(first), uint32(end)
	b.sets()
}

// sets finishes the shapes over ports: no set may be empty.
func (b *builder) sets() {
	c, p := &b.cfg, &b.m.plan
	p.c, p.d = uint32(c.SharingRatio), uint32(c.DynamicFactor)
	p.leftoverDynamic = b.leftovers(false)
	b.m.slots = uint64(p.c)
	for slot := range p.c {
		if p.size(slot) > 0 {
			continue
		}
		field, value := "FirstSlot", c.FirstSlot
		fix := "raise FirstSlot to ceil(N/2^m) (RFC 7597 appendix B.1), or reserve less"
		if c.Algorithm == GMA { // which has no FirstSlot
			field, value = "SharingRatio", c.SharingRatio
			fix = "lower SharingRatio or DynamicFactor so that sets have more ports (port 0 is always reserved), or reserve less"
		}
		b.faults.add(field, fmt.Sprint(value), fmt.Sprintf("every subscriber has a port, but all of set %d are reserved", slot+p.firstSlot), fix)
		return
	}
}

// check compares what was derived: capacity, M, and the limits of the keys.
func (b *builder) check() {
	c, m := &b.cfg, &b.m
	if have, want := m.Capacity(), m.in.total; want > have {
		b.faults.add("External", fmt.Sprintf("%d addresses", m.ext.total),
			fmt.Sprintf("%d subscribers at %d an address need %d addresses", want, c.SharingRatio, (want+uint64(c.SharingRatio)-1)/uint64(c.SharingRatio)),
			fmt.Sprintf("add external addresses, or allow a SharingRatio of %d", b.derivedRatio()))
	}
	if _, most := m.sizes(); c.MaxPorts > 0 && c.MaxPorts < most {
		b.faults.add("MaxPorts", fmt.Sprint(c.MaxPorts), fmt.Sprintf("at least the %d deterministic ports of a subscriber", most), "raise it, or 0 for no limit")
	}
	if c.Algorithm == Crypto && m.plan.total < minCryptoPorts {
		b.faults.add("Reserved", fmt.Sprint(c.Reserved), fmt.Sprintf("Crypto needs %d usable ports, so that its walk is short", minCryptoPorts), "reserve less, or use Random")
	}
	if c.KeyPerAddress && m.ext.total > maxAddressKeys {
		b.faults.add("KeyPerAddress", "true", fmt.Sprintf("at most %d external addresses", maxAddressKeys), "use several maps, or one key")
	}
}

// keys expands Key for the algorithms that use it.
func (b *builder) keys() {
	c, m := &b.cfg, &b.m
	switch {
	case c.Algorithm == Random:
		m.perm = newPermutation(c.Key, m.Capacity())
	case c.Algorithm == Crypto && !c.KeyPerAddress:
		m.keys = []feistel{*newFeistel(c.Key)}
	case c.Algorithm == Crypto:
		m.keys = make([]feistel, m.ext.total)
		for e := range m.keys {
			m.keys[e] = *newFeistel(addressKey(c.Key, m.ext.at(uint64(e))))
		}
	}
}
