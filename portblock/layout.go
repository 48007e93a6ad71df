package portblock

import "time"

// Layout is a validated Config: how the ports of an address are cut, and by
// which rules they are given out. All addresses and holdings of a pool share
// one.
//
// A Layout is immutable and safe for concurrent use.
type Layout struct {
	cfg    Config
	cipher *Cipher
	mask   *maskTables
	gmaLow int // GMA: lowest i

	// units is the number of block positions, unit their size in ports. With
	// two block sizes a unit is the smaller one, and group units make up the
	// larger one; else group is 1. words is the length of a bitmap over the
	// ports of the largest block.
	units, unit, group, words int
	// slotWords is the length of a holding's bitmaps for one block, liveAt
	// the distance from a free bitmap to its live one.
	slotWords, liveAt int
	// unitShift is log2(unit) where that is a power of two.
	unitShift uint8
	// psidShift is m of RFC 7597, psidMask 2^k-1.
	psidShift uint8
	psidMask  uint16
	// evenOffsets says that a port has the parity of its offset in the block.
	evenOffsets bool
	firstBig    bool // the first block is the larger one
	furtherBig  bool
	// keeping says that the internal port steers the choice.
	keeping bool

	hold, guard, idle, active int64 // ms; active 0 = never
	key                       sipKey
	print                     uint64 // fingerprint for snapshots
	limit                     [NumSpaces]*LimitError
	limitAll                  *LimitError
	limited                   bool // there is a maximum of ports
	reserved                  *Reserved
}

// maskTables turn a port into (set, offset) and back by bytes.
type maskTables struct {
	numLo, numHi, offLo, offHi [256]uint16
	portOfNum, portOfOff       []uint16
}

// NewLayout checks cfg and returns its layout, or all faults joined, each a
// *ConfigError.
func NewLayout(cfg Config) (*Layout, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	l := &Layout{
		cfg: cfg, group: 1, key: newSipKey(cfg.OrderKey),
		hold: ticks(cfg.HoldDown), guard: ticks(cfg.GuardTime),
		idle: ticks(cfg.IdleTimeout), active: ticks(cfg.ActiveTimeout),
	}
	largest := 0
	switch cfg.Scheme {
	case Contiguous:
		l.setUnit(min(cfg.BlockSize, cfg.FirstBlockSize))
		l.units = 1 << 16 / l.unit
		largest = max(cfg.BlockSize, cfg.FirstBlockSize)
		l.group = largest / l.unit
		l.firstBig = cfg.FirstBlockSize > l.unit
		l.furtherBig = cfg.BlockSize > l.unit
		l.evenOffsets = true
	case PSID:
		l.setUnit(1 << (16 - cfg.PSIDLength))
		l.units = 1 << cfg.PSIDLength
		l.psidShift = 16 - cfg.PSIDOffset - cfg.PSIDLength
		l.psidMask = 1<<cfg.PSIDLength - 1
		l.evenOffsets = l.psidShift > 0
	case MaskValue:
		l.mask = newMaskTables(cfg.Mask)
		l.units, l.unit = len(l.mask.portOfNum), len(l.mask.portOfOff)
		l.evenOffsets = cfg.Mask&1 == 0
	case Crypto:
		l.cipher = NewCipher(cfg.CryptoKey)
		l.setUnit(cfg.BlockSize)
		l.units = (1<<16 - cryptoLow) / l.unit
	case GMA:
		span := cfg.Ratio * cfg.Run
		l.gmaLow = (int(cfg.Ports.first) + span - 1) / span
		l.units, l.unit = cfg.Ratio, (1<<16/span-l.gmaLow)*cfg.Run
		l.evenOffsets = false
	}
	l.words = wordsFor(max(l.unit, largest))
	l.slotWords, l.liveAt = 2*NumSpaces*l.words, l.words
	l.keeping = cfg.Preserve || cfg.Parity != Ignore || cfg.Class != Ignore
	for s := range l.limit {
		if cfg.MaxPorts[s] > 0 {
			l.limit[s] = &LimitError{Space: Space(s), Limit: cfg.MaxPorts[s]}
		}
	}
	if cfg.MaxPortsTotal > 0 {
		l.limitAll = &LimitError{Total: true, Limit: cfg.MaxPortsTotal}
	}
	l.limited = l.limitAll != nil || l.limit != [NumSpaces]*LimitError{}
	l.print = l.fingerprint()
	l.reserved, err = l.NewReserved(cfg.Reserved)
	if err != nil {
		return nil, err // cannot be: check has looked at the reservations
	}
	return l, nil
}

func (l *Layout) setUnit(n int) {
	l.unit = n
	for 1<<l.unitShift < n {
		l.unitShift++
	}
}

func newMaskTables(mask uint16) *maskTables {
	t := new(maskTables)
	for i := range 256 {
		t.numLo[i], t.numHi[i] = extract(uint16(i), mask), extract(uint16(i)<<8, mask)
		t.offLo[i], t.offHi[i] = extract(uint16(i), ^mask), extract(uint16(i)<<8, ^mask)
	}
	n := extract(0xffff, mask)
	for i := range int(n) + 1 {
		t.portOfNum = append(t.portOfNum, deposit(uint16(i), mask))
	}
	for i := range int(extract(0xffff, ^mask)) + 1 {
		t.portOfOff = append(t.portOfOff, deposit(uint16(i), ^mask))
	}
	return t
}

// locate returns the unit that holds the port and the port's offset in it.
// Ports that are in no unit at all give false; reserved ports do not.
func (l *Layout) locate(port uint16) (unit, off int, ok bool) {
	switch l.cfg.Scheme {
	case Contiguous:
		return int(port >> l.unitShift), int(port) & (l.unit - 1), true
	case PSID:
		m := l.psidShift
		return int(port >> m & l.psidMask), int(uint32(port)>>m>>l.cfg.PSIDLength<<m | uint32(port)&(1<<m-1)), true
	case MaskValue:
		lo, hi := port&255, port>>8
		return int(l.mask.numLo[lo] | l.mask.numHi[hi]), int(l.mask.offLo[lo] | l.mask.offHi[hi]), true
	case Crypto:
		i := int(l.cipher.dec[port]) - cryptoLow
		return i >> l.unitShift, i & (l.unit - 1), i >= 0 && i>>l.unitShift < l.units
	}
	run := l.cfg.Run
	span := run * l.cfg.Ratio
	i, rest := int(port)/span-l.gmaLow, int(port)%span
	off = i*run + rest%run
	return rest / run, off, i >= 0 && off < l.unit
}

// portAt is the inverse of locate.
func (l *Layout) portAt(unit, off int) uint16 {
	switch l.cfg.Scheme {
	case Contiguous:
		return uint16(unit<<l.unitShift + off)
	case PSID:
		m := l.psidShift
		return uint16(off>>m<<m<<l.cfg.PSIDLength | unit<<m | off&(1<<m-1))
	case MaskValue:
		return l.mask.portOfNum[unit] | l.mask.portOfOff[off]
	case Crypto:
		return l.cipher.enc[cryptoLow+unit<<l.unitShift+off]
	}
	run := l.cfg.Run
	return uint16((off/run+l.gmaLow)*run*l.cfg.Ratio + run*unit + off%run)
}

// Config returns the configuration with its defaults filled in.
func (l *Layout) Config() Config {
	cfg := l.cfg
	cfg.Reserved = append([]Reservation(nil), cfg.Reserved...)
	return cfg
}

// Blocks returns the number of block positions of an address, in units of
// the smaller block size, usable or not.
func (l *Layout) Blocks() int { return l.units }

// BlockSize returns the number of ports of a first or a further block,
// unusable ones included.
func (l *Layout) BlockSize(further bool) int {
	if l.big(further) {
		return l.unit * l.group
	}
	return l.unit
}

func (l *Layout) big(further bool) bool { return l.firstBig && !further || l.furtherBig && further }

// blockUnits and blockPorts return the size of a block by its packed number.
func (l *Layout) blockUnits(number uint16) int {
	if number&bigBlock != 0 {
		return l.group
	}
	return 1
}

func (l *Layout) blockPorts(number uint16) int { return l.unit * l.blockUnits(number) }

// SetOf returns the ports of a block as a Set: what a record of it says. A
// contiguous set is cut to Config.Ports; the other shapes are given whole,
// and their ports outside Config.Ports are never used.
func (l *Layout) SetOf(b Block) Set {
	if b.gen == 0 || b.Number()+l.blockUnits(b.number) > l.units {
		return Set{}
	}
	return l.setAt(b.number)
}

func (l *Layout) setAt(number uint16) Set {
	unit := int(number &^ bigBlock)
	var s Set
	// The errors cannot be: the layout's parameters were checked.
	switch l.cfg.Scheme {
	case Contiguous:
		first := unit << l.unitShift
		r := RangeOf(uint16(first), uint16(first+l.blockPorts(number)-1))
		s = ContiguousSet(r.Intersect(l.cfg.Ports))
	case PSID:
		s, _ = PSIDSet(l.cfg.PSIDOffset, l.cfg.PSIDLength, uint16(unit))
	case MaskValue:
		s, _ = MaskSet(l.mask.portOfNum[unit], l.cfg.Mask)
	case Crypto:
		s, _ = CryptoSet(l.cipher, uint16(cryptoLow+unit*l.unit), l.unit)
	case GMA:
		s, _ = GMASet(l.cfg.Ratio, l.cfg.Run, l.cfg.Ports.first, uint16(unit))
	}
	return s
}

// Locate returns the position of the block that holds a port, in units of
// the smaller block size, and false when no block does.
func (l *Layout) Locate(port uint16) (number int, ok bool) {
	number, _, ok = l.locate(port)
	if !ok || !l.inRange(port) {
		return 0, false
	}
	return number, true
}

// Position is like Locate, and tells the port's offset within that position too.
func (l *Layout) Position(port uint16) (number, offset int, ok bool) {
	if l.cfg.Scheme == Contiguous && port != 0 { // the common case, without further calls
		return int(port >> l.unitShift), int(port) & (l.unit - 1), l.cfg.Ports.Contains(port)
	}
	number, offset, ok = l.locate(port)
	if !ok || !l.inRange(port) {
		return 0, 0, false
	}
	return number, offset, true
}

// Unit returns the number of ports of a position, the smaller block size.
func (l *Layout) Unit() int { return l.unit }

// PortsOf returns the number of ports of a block, unusable ones included.
func (l *Layout) PortsOf(b Block) int { return l.blockPorts(b.number) }

// inRange says whether the port is usable in some space but for reservations.
func (l *Layout) inRange(port uint16) bool {
	return l.cfg.Ports.Contains(port) &&
		(port != 0 || l.cfg.Spaces.Has(ICMP)) &&
		(l.cfg.Scheme != PSID || l.cfg.PSIDOffset == 0 || port>>(16-l.cfg.PSIDOffset) != 0)
}

// fingerprint covers what a snapshot's meaning depends on.
func (l *Layout) fingerprint() uint64 {
	c := l.cfg
	key := newSipKey(c.CryptoKey)
	refill := uint64(1)
	if c.NoRefill {
		refill = 0
	}
	return sip(sipKey{0x706f7274626c6f63, 1},
		uint64(c.Pool), uint64(c.Spaces), uint64(c.Ports.first), uint64(c.Ports.n), uint64(c.Scheme),
		uint64(c.BlockSize), uint64(c.FirstBlockSize), uint64(c.PSIDOffset), uint64(c.PSIDLength),
		uint64(c.Mask), sip(key, 0), uint64(c.Ratio), uint64(c.Run), refill)
}

// Times inside the package are milliseconds since the Unix epoch. They are
// kept within +-2^60, far beyond any clock, so that sums cannot overflow.

func millis(t time.Time) int64 { return min(max(t.UnixMilli(), -1<<60), 1<<60) }

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// ticks turns a checked duration into ms, rounding up: a rest is never cut.
func ticks(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
