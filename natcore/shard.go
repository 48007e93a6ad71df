package natcore

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/internal/index"
	"github.com/blocknat/blocknat/internal/keyed"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// shard holds all that some of the subscribers have: their blocks, mappings and
// sessions. Locks are taken in this order: grants, mu, the pool's, and never two of a kind.
type shard struct {
	// grants is held while blocks are granted or released, across the call of the log. Packets that
	// need no new block do not take it, so a slow log delays nobody else.
	grants sync.Mutex

	looks atomic.Pointer[mapping.Table] // table, for who begins a look-up without a lock

	mu         sync.Mutex // guards all below
	index      int
	table      *mapping.Table
	hash       keyed.Hash  // of the indices; it never changes
	subs       index.Index // of list: see sub
	list       registry    // of subscribers, by number
	accounts   accountList
	accountsBy index.Index           // of accounts: see account
	overrides  map[accountKey]*Quota // of Engine.SetQuota
	cursor     int                   // in list
	rnd        *rand.ChaCha8
	now        time.Time // the latest seen: time never runs backwards in here
	given      time.Time // what a caller has given last, whether it was later or not
	ms         int64     // now in Unix milliseconds
	tick       mapping.Tick
	counts     counters
	uses       [maxPools]poolUse
	ended      mapping.Sweep // scratch of Expire
	idle       []portblock.Block
	pending    []release    // blocks whose release the log has not accepted yet, guarded by grants
	waiting    atomic.Int64 // their number
	notes      notes        // events to be recorded
}

// counters are a shard's share of Stats.
type counters struct {
	packets                     [2][verdicts]uint64
	drops                       [reasons]uint64
	sessions, mappings, shared  uint64
	allocated, released         uint64
	recordsRefused, recordsLost uint64
}

// poolUse is what a shard's subscribers have of a pool.
type poolUse struct{ sessions, mappings int }

// release is a block on its way from a subscriber back to the pool.
type release struct {
	key      subscriberKey
	external uint32
	block    portblock.Block
	used     int
	why      logging.Reason
}

// newShard returns a shard; key is the secret that its table has.
func newShard(index int, seed [32]byte, key [24]byte, table *mapping.Table, now time.Time) *shard {
	s := &shard{
		index: index, hash: keyed.New(key), overrides: map[accountKey]*Quota{}, rnd: rand.NewChaCha8(seed), now: now,
	}
	s.setTable(table)
	s.subs.Init()
	s.accountsBy.Init()
	return s
}

// setTable replaces the table. A look-up that has begun in the one before finds nothing in an empty one. The caller holds mu.
func (s *shard) setTable(t *mapping.Table) {
	s.table = t
	s.looks.Store(t)
}

// advance sets the shard's clock. The caller holds mu.
func (s *shard) advance(now time.Time) {
	if now.After(s.now) {
		s.now, s.ms = now, now.UnixMilli()
		s.tick = s.table.AdvanceMillis(s.ms)
	}
}

// shardOf returns the shard of a subscriber.
func (e *Engine) shardOf(realm uint16, addr uint32) *shard {
	return e.shards[e.shardNumber(realm, addr)]
}

func (e *Engine) shardNumber(realm uint16, addr uint32) int {
	h, _ := bits.Mul64((uint64(realm)<<32|uint64(addr))^e.shardKey, 0x9e3779b97f4a7c15)
	return int(h & uint64(len(e.shards)-1))
}

// reasonOf translates a holding's refusal.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, portblock.ErrMaxPorts):
		return ReasonPortLimit
	case errors.Is(err, portblock.ErrMaxBlocks):
		return ReasonBlockLimit
	case errors.Is(err, portblock.ErrResting):
		return ReasonPortsResting
	default:
		return ReasonBlocksExhausted
	}
}

// taken is a port that was taken, with its block in the shard's table and its subscriber, who stands there too where none was to be had, unless he
// does not exist.
type taken struct {
	port   uint16
	shared bool // it was in use before, and still is
	block  mapping.BlockID
	sub    *subscriber
}

// takePort takes a port from the deterministic ones of a subscriber, or from the blocks that it holds. The subscriber is that of the key, or nil
// where there is none: then a deterministic one is made. more says that another block would help. The caller holds mu.
func (e *Engine) takePort(s *shard, sub *subscriber, key subscriberKey, space portblock.Space, internal uint16) (t taken, more bool, why Reason) {
	space = mapping.PortsOf(space)
	p := e.pools[key.pool]
	if sub == nil && p.cfg.Map != nil {
		if sub, why = e.enrol(s, key); why != ReasonNone {
			return taken{}, false, why
		}
	}
	if sub == nil {
		return taken{}, true, ReasonNone
	}
	t.sub = sub
	if sub.fixed != nil {
		if i, ok := sub.fixed.take(space, s.rnd); ok {
			t.port, t.block = sub.fixed.ports.Port(i), sub.fixed.id
			return t, false, ReasonNone
		}
		if !p.overflows() {
			return t, false, ReasonPortLimit
		}
	}
	s.touch(sub)
	got, err := sub.holding.TakePort(space, internal, s.rnd, s.now)
	switch {
	case err == nil:
		t.port, t.block = got.Number, sub.blockOf(p.layout, got.Number)
		return t, false, ReasonNone
	case errors.Is(err, portblock.ErrNeedBlock):
		return t, true, ReasonNone
	default:
		return t, false, reasonOf(err)
	}
}

// touch tells a subscriber's holding when its blocks last had a packet, in either
// direction: the block that has been idle longest gives no ports while others have some (RFC 7768
// section 2). Only who holds several blocks has a choice. The caller holds mu.
func (s *shard) touch(sub *subscriber) {
	if sub.more == nil || sub.touched != 0 && s.tick+1-sub.touched < touchPeriod {
		return
	}
	s.tell(sub)
}

// tell is touch without a period. The caller holds mu.
func (s *shard) tell(sub *subscriber) {
	sub.touched = s.tick + 1
	for _, b := range sub.blocks() {
		if age := int32(s.tick - s.table.LastPacket(b.id)); age >= 0 {
			sub.holding.Touch(b.block, s.now.Add(-time.Duration(age)*time.Millisecond))
		}
	}
}

// touchPeriod is how often a holding is told: the table does not know more precisely when a block had a packet.
const touchPeriod = 1000 // ticks

// grant gets a subscriber another block and takes a port from it: the block is
// reserved, then recorded, then used (rule 4 of the design). The caller holds no lock; on success the port is taken and
// its block belongs to the subscriber.
func (e *Engine) grant(s *shard, key subscriberKey, space portblock.Space, internal uint16, now time.Time) (t taken, why Reason) {
	space = mapping.PortsOf(space)
	s.grants.Lock()
	defer s.grants.Unlock()

	s.mu.Lock()
	s.advance(now)
	now = s.now
	t, more, why := e.takePort(s, s.sub(key), key, space, internal) // another caller may have been here first
	sub := t.sub
	if !more {
		s.mu.Unlock()
		return t, why
	}
	if e.stopped.Load() {
		s.mu.Unlock()
		return taken{}, ReasonStopped
	}
	a := e.account(s, sub, key)
	if why = a.granted(); why != ReasonNone {
		s.forget(a)
		s.mu.Unlock()
		return taken{}, why
	}
	lease, want, used := alloc.Lease{}, portblock.Want{Spaces: space.Set(), Keep: true, Internal: internal}, 1
	if sub != nil {
		lease, want.Further, used = sub.lease, sub.holding.Want(space).Further, sub.holding.Blocks()+1
	} else if e.subscribers.Add(1) > int64(e.cfg.Limits.Subscribers) {
		e.subscribers.Add(-1)
		a.released()
		s.forget(a)
		s.mu.Unlock()
		return taken{}, ReasonSubscriberLimit
	}
	s.mu.Unlock()

	p := e.pools[key.pool]
	g, why := p.take(key, lease, want, s.index, now)
	var lost, refused bool
	var external uint32
	if why == ReasonNone {
		external = mapping.Number4(p.external(g.lease.Position()))
		r := e.record(logging.BlockAllocated, key, external, g.block, used, g.at)
		r.Reason = logging.ReasonOutbound
		answered := false
		defer func() {
			if !answered { // the log panics: the block goes back before the caller sees it
				p.cancel(g)
				if sub == nil {
					e.subscribers.Add(-1)
				}
				s.mu.Lock()
				a.released()
				s.forget(a)
				s.mu.Unlock()
			}
		}()
		err := e.cfg.Log.Append(&r)
		answered = true
		if err != nil {
			if refused = true; e.cfg.LogPolicy == CountLoss {
				lost = true
			} else {
				p.cancel(g)
				why = ReasonLogRefused
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if refused {
		s.counts.recordsRefused++
	}
	if lost {
		s.counts.recordsLost++
	}
	if why != ReasonNone {
		a.released()
		s.forget(a)
		if sub == nil {
			e.subscribers.Add(-1)
		} else if why == ReasonBlocksExhausted {
			// No further block is to be had: what rests may serve, where the policy allows it.
			if q, err := sub.holding.TakeHeldPort(space, internal, s.rnd, s.now); err == nil {
				return taken{port: q.Number, block: sub.blockOf(p.layout, q.Number), sub: sub}, ReasonNone
			}
		}
		return taken{}, why
	}
	if sub == nil {
		sub = s.enter(key, external, a)
		sub.lease = g.lease
		sub.holding.Init(p.layout)
		e.bindingEvent(s, logging.AddressBound, sub)
	}
	if g.leased {
		sub.lease = g.lease
	}
	s.counts.allocated++
	if sub.holding.AddBlockReserved(g.block, g.reserved, s.now) != nil {
		// The holding asked for the block a moment ago and blocks change under
		// grants alone, so this is not reached; the block would go back as any other.
		a.released()
		s.pending = append(s.pending, release{key, external, g.block, used - 1, logging.ReasonIdle})
		s.waiting.Add(1)
		return taken{}, ReasonBlockLimit
	}
	id := s.table.AddBlock(mapping.Block{
		Realm: key.realm, Internal: key.addr, External: external, Class: key.class,
		Number: uint16(g.block.Number()), Owner: sub.index, Ports: uint32(p.layout.PortsOf(g.block)),
	})
	sub.hold(heldBlock{g.block, id})
	p.setOwner(g.block, ownerOf(s.index))
	if t, more, why = e.takePort(s, sub, key, space, internal); more {
		return taken{}, ReasonBlocksExhausted // not reached: the new block has a port of the wanted kind
	}
	return t, why
}
