package alloc

import (
	"math/rand/v2"
	"net/netip"

	"github.com/RoaringBitmap/roaring/v2"
)

// Pool knows which external addresses are open for another subscriber. It
// serves IPv4 and IPv6 addresses, up to 2^32 in all, and tells them apart by
// position: a uint32 that an address keeps for the pool's whole life.
//
// A Pool is plain data and not safe for concurrent use; Locked is.
type Pool struct {
	name  string
	limit uint32 // Config.Shares
	spill bool
	tag   uint32 // tells this pool's leases from others'; hash of the name

	index index

	// free: positions that Take may give. room: members with room. idle: whole
	// members, that is without a live lease, that are not open. fresh: whole
	// ones that are open; where Shares is 1 that is free, and fresh is not kept.
	//
	// So that a lease changes one set and not two, no set says what is whole:
	// it is the union of idle and fresh. See isWhole.
	free, room, idle, fresh set

	// States of single addresses. closed is the union of the four.
	reserved, drained, excluded, removed, closed *roaring.Bitmap

	tickets slab[ticket]
	serial  uint32 // generation of the latest lease
	users   slab[user]
	byPos   map[uint32]uint32 // position to entry in users
	loads   loads

	members uint64 // positions neither excluded nor removed
	full    uint64 // addresses at the limit
	starved uint64 // members that are closed for want of room alone
	leases  uint64

	cursor uint32 // RoundRobin goes on here
	random *rand.ChaCha8
	key    [2]uint64 // keys the hash of TakeKey

	refusals Refusals
	version  uint64 // counts changes; tells whether refusal is up to date
	refusal  [2]cachedRefusal
}

// New builds a pool. It reports every fault of the configuration at once: the
// error joins *ConfigError and *OverlapError values.
func New(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ranges, err := fit(0, cfg.Ranges)
	if err != nil {
		return nil, err // Unreachable: check has tried it.
	}
	p := blank(cfg.Name, cfg.Shares, cfg.Spill, cfg.Seed)
	p.index.add(ranges)
	for _, r := range cfg.Exclude {
		for first, end := range p.index.runs(r) {
			p.excluded.AddRange(first, end)
		}
	}
	p.build(roaring.New())
	return p, nil
}

// build makes the sets of a pool without leases from the states of its
// addresses and the members that have no room.
func (p *Pool) build(noRoom *roaring.Bitmap) {
	out := roaring.Or(p.excluded, p.removed)
	p.closed = roaring.FastOr(p.reserved, p.drained, out)
	p.members = p.index.n - out.GetCardinality()
	p.starved = noRoom.GetCardinality() - noRoom.AndCardinality(p.closed)
	but := func(without *roaring.Bitmap) *roaring.Bitmap {
		all := roaring.New()
		all.AddRange(0, p.index.n)
		all.AndNot(without)
		return all
	}
	p.room.initFrom(p.index.n, but(roaring.Or(out, noRoom)))
	p.free.initFrom(p.index.n, but(roaring.Or(p.closed, noRoom)))
	idle := roaring.Or(p.closed, noRoom)
	idle.AndNot(out)
	p.idle.initFrom(p.index.n, idle)
	if p.limit != 1 {
		p.fresh.initFrom(p.index.n, but(roaring.Or(p.closed, noRoom)))
	}
	p.Compact()
}

// blank returns a pool without addresses.
func blank(name string, shares uint32, spill bool, seed [32]byte) *Pool {
	p := &Pool{name: name, limit: shares, spill: spill, tag: tagOf(name),
		reserved: roaring.New(), drained: roaring.New(), excluded: roaring.New(),
		removed: roaring.New(), closed: roaring.New()}
	p.reseed(seed)
	for _, s := range []*set{&p.free, &p.room, &p.idle, &p.fresh} {
		s.init(0, false)
	}
	if shares != 1 {
		p.byPos = make(map[uint32]uint32)
	}
	return p
}

// extend makes the sets as large as the index; further positions are open.
func (p *Pool) extend() {
	for _, s := range p.sets() {
		s.grow(p.index.n, s != &p.idle)
	}
}

// reseed derives everything keyed from a seed.
func (p *Pool) reseed(seed [32]byte) {
	p.random = rand.NewChaCha8(seed)
	// The key comes from the stream itself, so that choices do not tell it.
	p.key = [2]uint64{p.random.Uint64(), p.random.Uint64()}
}

// tagOf hashes a pool's name (FNV-1a). It is no secret: it finds mistakes.
func tagOf(name string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}

// Name returns the name that the configuration gave the pool.
func (p *Pool) Name() string { return p.name }

// Len returns how many addresses belong to the pool now: neither excluded nor
// removed, whatever their state.
func (p *Pool) Len() uint64 { return p.members }

// Positions returns the number of positions given out so far; every position
// is smaller. It counts excluded and removed addresses, for they keep theirs.
func (p *Pool) Positions() uint64 { return p.index.n }

// Position returns the place of an address in the pool. It is true also for an
// address that is excluded or was removed: those keep their positions, so that
// late packets still find their way; State tells whether an address belongs.
// IPv4-mapped IPv6 addresses count as IPv4. Cost: O(log ranges).
func (p *Pool) Position(addr netip.Addr) (uint32, bool) { return p.index.position(addr) }

// Position4 is Position for an IPv4 address as a big-endian number. It allocates
// nothing; in a pool of one contiguous range it is a subtraction and a compare.
func (p *Pool) Position4(ip uint32) (uint32, bool) { return p.index.position4(ip) }

// Address returns the address at a position, or the zero Addr when there is none.
func (p *Pool) Address(position uint32) netip.Addr { return p.index.address(position) }

// Compact brings the pool's bitmaps into their smallest form. Its cost grows
// with the pool, and the first changes after it cost more; call it after large
// changes to a pool that then rests.
func (p *Pool) Compact() {
	for _, s := range p.sets() {
		s.compact()
	}
	for _, b := range []*roaring.Bitmap{p.reserved, p.drained, p.excluded, p.removed, p.closed} {
		b.RunOptimize()
	}
}

// Bytes estimates the memory that the pool holds, in bytes.
func (p *Pool) Bytes() uint64 {
	n := p.tickets.bytes(8) + p.users.bytes(20) + uint64(len(p.byPos))*16 + uint64(len(p.index.place))*(56+24)
	for _, s := range p.sets() {
		n += s.bytes()
	}
	for _, b := range []*roaring.Bitmap{p.reserved, p.drained, p.excluded, p.removed, p.closed} {
		n += b.GetSizeInBytes()
	}
	return n
}
