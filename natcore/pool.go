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
	"github.com/blocknat/blocknat/portblock"
)

// pool is the external side: which addresses have room, the blocks of each
// address, and which shard a block belongs to. The lock guards all but the owners, which packets read without it.
type pool struct {
	cfg    PoolConfig
	layout *portblock.Layout

	mu        sync.Mutex
	alloc     *alloc.Pool
	addresses map[uint32]*portblock.Address // by position, once used
	cooling   []cooling                     // in the order in which their guard times end
	owners    []atomic.Pointer[ownerPage]
}

// cooling notes that a block of an address becomes free.
type cooling struct {
	position uint32
	free     time.Time
}

// ownersPerPage is the number of addresses whose owners are allocated together.
const ownersPerPage = 64

// ownerPage holds, for each block of some addresses, 1 + the shard that holds it, or 0.
type ownerPage [ownersPerPage][]atomic.Uint32

func newPool(cfg PoolConfig, seed [32]byte, index int) (*pool, error) {
	p := &pool{cfg: cfg, addresses: map[uint32]*portblock.Address{}}
	var err, err2 error
	p.layout, err = portblock.NewLayout(cfg.Blocks)
	if err != nil {
		err = prefixed(fmt.Sprintf("Pools[%d].Blocks.", index), err)
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
	p.owners = make([]atomic.Pointer[ownerPage], (p.alloc.Positions()+ownersPerPage-1)/ownersPerPage)
	return p, nil
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
		switch {
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

// owner returns the shard that holds a block, or -1.
func (p *pool) owner(position uint32, block int) int {
	page := p.owners[position/ownersPerPage].Load()
	if page == nil {
		return -1
	}
	blocks := page[position%ownersPerPage]
	if block >= len(blocks) {
		return -1
	}
	return int(blocks[block].Load()) - 1
}

// setOwner notes which shard holds a block; -1 is nobody. The caller holds the lock.
// Pages are replaced rather than changed, because packets read them without it.
func (p *pool) setOwner(position uint32, b portblock.Block, shard int) {
	slot := &p.owners[position/ownersPerPage]
	page := slot.Load()
	if page == nil || page[position%ownersPerPage] == nil {
		fresh := &ownerPage{}
		if page != nil {
			*fresh = *page
		}
		fresh[position%ownersPerPage] = make([]atomic.Uint32, p.layout.Blocks())
		slot.Store(fresh)
		page = fresh
	}
	set := p.layout.SetOf(b)
	first, _ := p.layout.Locate(set.First())
	last, _ := p.layout.Locate(set.Last())
	for n := first; n <= last; n++ {
		page[position%ownersPerPage][n].Store(uint32(shard + 1))
	}
}

// grant is a block that a subscriber may use once its record is accepted.
type grant struct {
	block    portblock.Block
	position uint32
	lease    alloc.Lease
	leased   bool // the lease is new with this grant
}

// take takes a block for a subscriber: on the address that it is paired with,
// or, with no lease, on an address that the pool chooses. On a refusal nothing has changed but
// the pool's knowledge of which addresses have room.
func (p *pool) take(lease alloc.Lease, want portblock.Want, shard int, now time.Time) (grant, Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw(now)
	g := grant{lease: lease}
	for {
		if !lease.IsValid() {
			var err error
			if g.lease, err = p.alloc.Take(alloc.LeastLoaded); err != nil {
				return grant{}, ReasonAddressesExhausted
			}
			g.leased = true
		}
		g.position = g.lease.Position()
		a := p.address(g.position)
		var err error
		g.block, err = a.TakeBlockOf(uint64(shard)+1, want, now)
		room := a.HasRoom(want, now)
		if !room {
			p.alloc.SetRoom(g.position, false)
		}
		if err == nil {
			p.setOwner(g.position, g.block, shard)
			return g, ReasonNone
		}
		if lease.IsValid() {
			return grant{}, ReasonBlocksExhausted
		}
		_ = p.alloc.Return(g.lease) // taken a moment ago: cannot fail
		if room {
			return grant{}, ReasonBlocksExhausted
		}
	}
}

// cancel takes a grant back whose record was refused.
func (p *pool) cancel(g grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setOwner(g.position, g.block, -1)
	_ = p.address(g.position).CancelBlock(g.block)
	p.alloc.SetRoom(g.position, true)
	if g.leased {
		_ = p.alloc.Return(g.lease)
	}
}

// cool starts the guard time of a block.
func (p *pool) cool(b portblock.Block, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	position := b.Address()
	a := p.address(position)
	p.setOwner(position, b, -1)
	if a.CoolBlock(b, now) != nil {
		return
	}
	p.cooling = append(p.cooling, cooling{position, now.Add(max(p.layout.Config().GuardTime, 0))})
	p.thaw(now)
}

// thaw opens the addresses whose blocks are free again. The caller holds the lock.
func (p *pool) thaw(now time.Time) {
	n := 0
	for n < len(p.cooling) && !p.cooling[n].free.After(now) {
		p.alloc.SetRoom(p.cooling[n].position, true)
		n++
	}
	p.cooling = p.cooling[n:]
}

// unlease ends a subscriber's pairing with its address.
func (p *pool) unlease(l alloc.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.alloc.Return(l)
}

// since returns when a block was taken.
func (p *pool) since(b portblock.Block, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address(b.Address()).Owner(p.layout.SetOf(b).First(), now).Since
}

// address returns the block states of an address, all free at first use. The caller holds the lock.
func (p *pool) address(position uint32) *portblock.Address {
	a := p.addresses[position]
	if a == nil {
		a = p.layout.NewAddress(position)
		p.addresses[position] = a
	}
	return a
}

// external returns the address at a position, which the caller knows to be of this pool.
func (p *pool) external(position uint32) netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alloc.Address(position)
}
