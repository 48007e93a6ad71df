package natcore

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// pool is the external side: which addresses have room, the blocks of each
// address, and which shard a block belongs to. The lock guards all but the owners, which packets read without it.
type pool struct {
	cfg    PoolConfig
	layout *portblock.Layout

	mu        sync.Mutex
	alloc     *alloc.Pool
	now       time.Time                     // the latest seen: shards come with clocks of their own
	addresses map[uint32]*portblock.Address // by place, once used
	cooling   []cooling                     // in the order in which their guard times end
	held      int64                         // blocks that are heating, in units of the smaller size
	resting   int64                         // blocks in cooling
	fresh     int64                         // blocks of an address that nobody uses
	hold      int64                         // hold-down of its ports, in ms
	rests     int                           // Blocks.MaxResting
	high      bool                          // the blocks in use have passed the high mark
	holds     time.Time                     // no block is given out before: Config.HoldAfterRestart
	shrunk    bool                          // an address has gone for good since packets were told
	reserves  bool                          // cfg.Blocks.Reserved is not the layout's any more
	previous  *deterministic.Map            // the map before the last change, until settled
	settled   time.Time                     // until then ports rest that the change has moved
	since     time.Time                     // when the map came, zero for that of New
	owners    atomic.Pointer[ownerPages]
	formula   atomic.Pointer[deterministic.Map] // cfg.Map, for who reads without the lock
	selection *selection
	statics   *statics
	latest    struct { // what reservedAt has made last
		run *addressRun
		set *portblock.Reserved
	}
}

// cooling notes that a block becomes free.
type cooling struct {
	place  uint32
	blocks int32
	free   time.Time
}

// ownerPages are by place and block position; further places make a longer copy.
type ownerPages []atomic.Pointer[ownerPage]

// ownersPerPage is the number of block positions whose owners are allocated together.
const ownersPerPage = 128

// ownerPage holds the owners of some block positions, two in a word: those of a place follow each other. It is made when one of
// them is first taken, and never moves.
type ownerPage [ownersPerPage / 2]atomic.Uint32

// owner is the shard of who holds a block, and one more. Zero is nobody.
type owner uint16

func ownerOf(shard int) owner { return owner(shard + 1) }

func (o owner) shard() int { return int(o) - 1 }

func (p *ownerPage) load(i uint64) owner {
	return owner(p[i/2%uint64(len(p))].Load() >> (i % 2 * 16))
}

func (p *ownerPage) store(i uint64, o owner) {
	word, shift := &p[i/2], i%2*16
	for {
		old := word.Load()
		if word.CompareAndSwap(old, old&^(0xffff<<shift)|uint32(o)<<shift) {
			return
		}
	}
}

func newPool(cfg PoolConfig, seed [32]byte, index int) (*pool, error) {
	p := &pool{cfg: cfg, addresses: map[uint32]*portblock.Address{}}
	var err, err2 error
	if cfg.Map == nil || cfg.Blocks.Ports.IsValid() {
		p.layout, err = portblock.NewLayout(cfg.Blocks)
		if err != nil {
			err = prefixed(fmt.Sprintf("Pools[%d].Blocks.", index), err)
		}
	}
	p.alloc, err2 = alloc.New(alloc.Config{
		Name: cfg.Name, Ranges: cfg.Addresses, Exclude: cfg.Exclude,
		Shares: uint32(cfg.SubscribersPerAddress), Seed: seed,
	})
	if err2 != nil {
		err2 = prefixed(fmt.Sprintf("Pools[%d].", index), err2)
	}
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	if p.alloc.Len() == 0 {
		return nil, &FieldError{fmt.Sprintf("Pools[%d].Exclude", index), cfg.Exclude, "must leave at least one address"}
	}
	if p.selection, err = newSelection(&cfg, p.alloc, fmt.Sprintf("Pools[%d].", index)); err != nil {
		return nil, err
	}
	if !p.bearable(p.alloc.Positions()) {
		return nil, &FieldError{fmt.Sprintf("Pools[%d].Addresses", index), cfg.Addresses, mostBlocksRule}
	}
	if p.layout != nil {
		p.fresh = int64(p.layout.NewAddress(0).Counts(time.Time{}).Free)
		p.rests = p.layout.Config().MaxResting
		p.hold = int64((max(p.layout.Config().HoldDown, 0) + time.Millisecond - 1) / time.Millisecond)
	}
	p.room()
	p.formula.Store(cfg.Map)
	return p, nil
}

// mostBlocks bounds the blocks of a pool, in all classes of remotes: their owners then take 512 MiB before any is in use.
const (
	mostBlocks     = 1 << 33
	mostBlocksRule = "must have at most 2^33 blocks, in all classes of remotes: take fewer addresses, larger blocks or several pools"
)

// bearable reports whether so many addresses have few enough blocks.
func (p *pool) bearable(positions uint64) bool {
	return p.units() == 0 || positions <= mostBlocks/p.units()/uint64(p.selection.classes())
}

// places returns the number of port spaces of the pool.
func (p *pool) places() uint64 { return p.alloc.Positions() * uint64(p.selection.classes()) }

// room makes room for the owners of all blocks, those that are known stay. The caller holds the lock, or is alone.
func (p *pool) room() {
	n := (p.places()*p.units() + ownersPerPage - 1) / ownersPerPage
	old := p.owners.Load()
	if old != nil && n <= uint64(len(*old)) {
		return
	}
	owners := make(ownerPages, n)
	if old != nil {
		for i := range *old {
			owners[i].Store((*old)[i].Load())
		}
	}
	p.owners.Store(&owners)
}

// prefixed turns the faults of a part's configuration into faults of the
// engine's: the same values and rules, with the path of the field.
func prefixed(path string, err error) error {
	var all faults
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			if _, overlap := err.(*alloc.OverlapError); !overlap {
				for _, e := range joined.Unwrap() {
					walk(e)
				}
				return
			}
		}
		var blocks *portblock.ConfigError
		var addresses *alloc.ConfigError
		var overlap *alloc.OverlapError
		switch {
		case errors.As(err, &overlap):
			all.add(path+"Addresses", fmt.Sprintf("%v and %v", overlap.A, overlap.B), "must not overlap: give each address once")
		case errors.As(err, &blocks):
			all.add(path+blocks.Field, blocks.Value, blocks.Rule)
		case errors.As(err, &addresses):
			all.add(path+strings.Replace(addresses.Field, "Ranges", "Addresses", 1), addresses.Value, addresses.Rule)
		default:
			all.add(path+"Addresses", "", err.Error())
		}
	}
	walk(err)
	return errors.Join(all...)
}

// units returns the number of block positions of a place.
func (p *pool) units() uint64 {
	if p.layout == nil {
		return 0
	}
	return uint64(p.layout.Blocks())
}

// owner returns who holds the block at a position of a place.
func (p *pool) owner(place uint32, number int) owner {
	i := uint64(place)*p.units() + uint64(number)
	pages := *p.owners.Load()
	if i/ownersPerPage >= uint64(len(pages)) {
		return 0
	}
	page := pages[i/ownersPerPage].Load()
	if page == nil {
		return 0
	}
	return page.load(i % ownersPerPage)
}

// positions returns the first and the last position of a block, counted over all places.
func (p *pool) positions(b portblock.Block) (first, last uint64) {
	first = uint64(b.Address())*p.units() + uint64(b.Number())
	return first, first + uint64(p.layout.PortsOf(b)/p.layout.Unit()) - 1
}

// prepareOwner makes the pages on which a block's owner is noted. The caller holds the lock.
func (p *pool) prepareOwner(b portblock.Block) {
	pages := *p.owners.Load()
	first, last := p.positions(b)
	for i := first / ownersPerPage; i <= last/ownersPerPage; i++ {
		if pages[i].Load() == nil {
			pages[i].Store(&ownerPage{})
		}
	}
}

// setOwner notes who holds a block that was prepared. It needs no lock: only one shard has the block.
func (p *pool) setOwner(b portblock.Block, o owner) {
	pages := *p.owners.Load()
	first, last := p.positions(b)
	for i := first; i <= last; i++ {
		pages[i/ownersPerPage].Load().store(i%ownersPerPage, o)
	}
}

// unitsOf returns the size of a block in units of the smaller block size, as far as its ports are usable.
func (p *pool) unitsOf(b portblock.Block) int64 {
	set := p.layout.SetOf(b)
	first, _ := p.layout.Locate(set.First())
	last, _ := p.layout.Locate(set.Last())
	return int64(last - first + 1)
}

// grant is a block that a subscriber may use once its record is accepted.
type grant struct {
	block    portblock.Block
	lease    alloc.Lease
	leased   bool                // the lease is new with this grant
	reserved *portblock.Reserved // ports of the block that are nobody's
	at       time.Time           // when the block was taken, by the pool's clock: the time of its record
}

// take takes a block for a subscriber: on the address that it is paired with,
// or, with no lease, on an address that is chosen for it. On a refusal nothing has changed but
// the pool's knowledge of which addresses have room.
func (p *pool) take(key subscriberKey, lease alloc.Lease, want portblock.Want, shard int, now time.Time) (grant, Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if now.Before(p.holds) {
		return grant{}, ReasonPortsResting
	}
	g := grant{lease: lease, at: now}
	if lease.IsValid() && p.drained(lease) {
		return grant{}, ReasonWithdrawn
	}
	for {
		if !lease.IsValid() {
			var err error
			if g.lease, err = p.choose(key); err != nil {
				return grant{}, ReasonAddressesExhausted
			}
			g.leased = true
		}
		a := p.address(p.place(g.lease.Position(), key.class))
		var err error
		g.block, err = a.TakeBlockOf(uint64(shard)+1, want, now)
		if err == nil {
			g.reserved = a.Reserved()
			p.prepareOwner(g.block)
			p.held += p.unitsOf(g.block)
		}
		// An address has room when it has a first block for a new subscriber. Where masks or a map choose the
		// address, room does not steer the choice.
		full := p.selection == nil && p.cfg.Map == nil && !a.HasRoom(portblock.Want{Spaces: want.Spaces}, now)
		if full {
			p.alloc.SetRoom(g.lease.Position(), false)
		}
		if err == nil {
			return g, ReasonNone
		}
		if lease.IsValid() {
			return grant{}, ReasonBlocksExhausted
		}
		_ = p.alloc.Return(g.lease) // taken a moment ago: cannot fail
		if !full {
			return grant{}, ReasonBlocksExhausted
		}
	}
}

// choose leases an address for a subscriber that has none. The caller holds the lock.
func (p *pool) choose(key subscriberKey) (alloc.Lease, error) {
	switch {
	case p.cfg.Map != nil:
		ports, err := p.cfg.Map.Forward(mapping.Addr4(key.addr))
		if err != nil {
			return alloc.Lease{}, err
		}
		return p.alloc.TakeAddress(ports.External())
	case p.selection != nil:
		return p.alloc.TakeAddress(p.alloc.Address(p.selection.position(key.addr)))
	}
	return p.alloc.Take(alloc.LeastLoaded)
}

// cancel takes a grant back whose record was refused.
func (p *pool) cancel(g grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held -= p.unitsOf(g.block)
	_ = p.address(g.block.Address()).CancelBlock(g.block)
	p.alloc.SetRoom(g.lease.Position(), true)
	if g.leased {
		_ = p.alloc.Return(g.lease)
	}
}

// cool starts the guard time of a block.
func (p *pool) cool(b portblock.Block, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if p.address(b.Address()).CoolBlock(b, now) != nil {
		return // released before: its record was accepted by a log that panicked then
	}
	n := p.unitsOf(b)
	p.held, p.resting = p.held-n, p.resting+n
	p.cooling = append(p.cooling, cooling{b.Address(), int32(n), now.Add(max(p.layout.Config().GuardTime, 0))})
}

// advance sets the pool's clock, opens the addresses whose blocks are free again, and returns the
// time. The caller holds the lock.
func (p *pool) advance(now time.Time) time.Time {
	if now.After(p.now) {
		p.now = now
	}
	n := 0
	for n < len(p.cooling) && !p.cooling[n].free.After(p.now) {
		p.alloc.SetRoom(p.cooling[n].place/uint32(p.selection.classes()), true)
		p.resting -= int64(p.cooling[n].blocks)
		n++
	}
	p.cooling = p.cooling[n:]
	return p.now
}

// unlease ends a subscriber's pairing with its address.
func (p *pool) unlease(l alloc.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alloc.Return(l) == nil && p.drained(l) && p.alloc.Remove(p.alloc.Address(l.Position())) == nil {
		p.shrunk = true
	}
}

// times returns when a block was taken, and now by the pool's clock.
func (p *pool) times(b portblock.Block, now time.Time) (since, clock time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	return p.address(b.Address()).Owner(p.layout.SetOf(b).First(), now).Since, now
}

// place numbers the port spaces of a pool: each address has one for each class of remotes.
func (p *pool) place(position uint32, class uint16) uint32 {
	return position*uint32(p.selection.classes()) + uint32(class)
}

// address returns the block states of a place, all free at first use. The caller holds the lock.
func (p *pool) address(place uint32) *portblock.Address {
	a := p.addresses[place]
	if a == nil {
		a = p.layout.NewAddress(place)
		if r := p.reservedAt(place / uint32(p.selection.classes())); r != nil {
			_, _ = a.SetReserved(r, nil, p.now) // of this layout: cannot fail
		}
		p.addresses[place] = a
	}
	return a
}

// external returns the address at a position, which the caller knows to be of this pool.
func (p *pool) external(position uint32) netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alloc.Address(position)
}
