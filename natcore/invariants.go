package natcore

import (
	"fmt"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// CheckInvariants holds the parts of the engine against each other and returns
// the first contradiction: every mapping holds the port that its external endpoint names and every
// held port has its mapping, sessions are counted where they are, every held
// block is heating on its address and leads inbound packets to its shard. It is
// for tests: it stops all packets while it looks.
func (e *Engine) CheckInvariants() error {
	defer e.lockAll()()
	now := e.time()
	var sessions, subscribers int
	for _, s := range e.shards {
		if err := e.checkShard(s, now); err != nil {
			return fmt.Errorf("natcore: shard %d: %w", s.index, err)
		}
		sessions += s.table.Sessions()
		subscribers += s.list.len()
	}
	for _, p := range e.all() {
		if err := p.checkCounts(now); err != nil {
			return err
		}
	}
	for _, s := range e.shards {
		var of poolUse
		for _, u := range s.uses {
			of.sessions, of.mappings = of.sessions+u.sessions, of.mappings+u.mappings
		}
		if of.sessions != s.table.Sessions() || of.mappings != s.table.Mappings() {
			return fmt.Errorf("natcore: shard %d counts %v by pool, its table has %d sessions and %d mappings", s.index, of, s.table.Sessions(), s.table.Mappings())
		}
	}
	if err := e.checkRealms(); err != nil {
		return err
	}
	if n := e.sessions.Load(); n != int64(sessions) {
		return fmt.Errorf("natcore: %d sessions, counted %d", sessions, n)
	}
	if n := e.subscribers.Load(); n != int64(subscribers) {
		return fmt.Errorf("natcore: %d subscribers, counted %d", subscribers, n)
	}
	if err := e.frags.check(); err != nil {
		return err
	}
	if err := e.outbox.check(); err != nil {
		return err
	}
	return e.checkFlows()
}

// held names a port space of a subscriber.
type held struct {
	key   subscriberKey
	space portblock.Space
}

// heldPort is a port of it.
type heldPort struct {
	held
	port uint16
}

func (e *Engine) checkShard(s *shard, now time.Time) error {
	if err := s.table.CheckInvariants(); err != nil {
		return err
	}
	ports, fixed := map[held]int{}, map[held]int{}
	shared := map[heldPort]bool{}
	var page []mapping.Mapping
	for part := 0; part >= 0; {
		page, part = s.table.AppendMappings(page[:0], part)
		for _, m := range page {
			pool, position, ok := e.external.find(m.External.Addr)
			if !ok {
				return fmt.Errorf("mapping %v to %v, which is in no pool", m.Internal, m.External)
			}
			b, ok := s.table.Block(m.Block)
			if !ok || b.External != m.External.Addr {
				return fmt.Errorf("mapping %v to %v, at a place of %v", m.Internal, m.External, mapping.Addr4(b.External))
			}
			key := subscriberKey{m.Internal.Addr, m.Realm, uint16(pool), b.Class}
			sub := s.sub(key)
			if sub == nil {
				return fmt.Errorf("mapping of %v without a subscriber", m.Internal)
			}
			if s.list.at(b.Owner) != sub {
				return fmt.Errorf("mapping of %v in a block of another subscriber", m.Internal)
			}
			if e.shardOf(m.Realm, m.Internal.Addr) != s {
				return fmt.Errorf("mapping of %v in a foreign shard", m.Internal)
			}
			if sub.fixed != nil && sub.fixed.holds(mapping.PortsOf(m.Space), m.External.Port) {
				fixed[held{key, mapping.PortsOf(m.Space)}]++
				continue
			}
			if _, ok := sub.holding.BlockOf(e.pools[pool].place(position, b.Class), m.External.Port); !ok {
				return fmt.Errorf("mapping of %v to %v, whose block it does not hold", m.Internal, m.External)
			}
			if at := (heldPort{held{key, mapping.PortsOf(m.Space)}, m.External.Port}); !shared[at] {
				shared[at] = true // further mappings share the port: the table has checked that they may
				ports[at.held]++
			}
		}
	}
	sessions := map[subscriberKey]int{}
	var states []mapping.State
	for part := 0; part >= 0; {
		states, part = s.table.AppendSessions(states[:0], part)
		for _, st := range states {
			pool, _, _ := e.external.find(st.External.Addr)
			sessions[subscriberKey{st.Internal.Addr, st.Realm, uint16(pool), e.pools[pool].selection.class(st.Remote)}]++
		}
	}
	if err := s.checkAccounts(); err != nil {
		return err
	}
	listed := 0
	for sub := range s.list.all() {
		listed++
		if s.list.find(sub.index) != sub || s.sub(sub.key) != sub || !sub.tells() {
			return fmt.Errorf("subscriber %v is not where it says", mapping.Addr4(sub.key.addr))
		}
		if int(sub.sessions) != sessions[sub.key] {
			return fmt.Errorf("subscriber %v has %d sessions and counts %d", mapping.Addr4(sub.key.addr), sessions[sub.key], sub.sessions)
		}
		for sp := range portblock.Space(portblock.NumSpaces) {
			if got, want := sub.holding.Ports(sp), ports[held{sub.key, sp}]; got != want {
				return fmt.Errorf("subscriber %v holds %d %v ports, its mappings are on %d", mapping.Addr4(sub.key.addr), got, sp, want)
			}
			if sub.fixed != nil && sub.fixed.live[sp] != fixed[held{sub.key, sp}] {
				return fmt.Errorf("subscriber %v uses %d deterministic %v ports for %d mappings", mapping.Addr4(sub.key.addr), sub.fixed.live[sp], sp, fixed[held{sub.key, sp}])
			}
		}
		if err := sub.overloads.check(); err != nil {
			return fmt.Errorf("subscriber %v: %w", mapping.Addr4(sub.key.addr), err)
		}
		if sub.holding.Blocks() == 0 {
			continue
		}
		if err := sub.holding.CheckInvariants(); err != nil {
			return err
		}
		if err := e.checkBlocks(s, sub, now); err != nil {
			return fmt.Errorf("subscriber %v: %w", mapping.Addr4(sub.key.addr), err)
		}
	}
	if listed != s.list.len() {
		return fmt.Errorf("%d subscribers are listed, of %d", listed, s.list.len())
	}
	return s.checkFound()
}

// tells reports whether a subscriber's blocks are those of its holding, in number, and its first one is the first of them.
func (s *subscriber) tells() bool {
	all := s.blocks()
	return len(all) == s.holding.Blocks() && (s.more == nil || len(all) > 1 && s.first[0] == all[0])
}

// checkAccounts holds the accounts against what their subscribers have.
func (s *shard) checkAccounts() error {
	counted := map[accountKey]*account{}
	for sub := range s.list.all() {
		k := accountKey{sub.key.addr, sub.key.realm}
		a := counted[k]
		if a == nil {
			a = &account{}
			counted[k] = a
		}
		a.subscribers++
		a.blocks += int32(sub.holding.Blocks())
		for sp := range a.ports {
			a.ports[sp] += int32(sub.holding.Ports(portblock.Space(sp)))
			if sub.fixed != nil {
				a.ports[sp] += int32(sub.fixed.live[sp])
			}
		}
		a.sessions[0] += sub.sessions
	}
	for a := range s.accounts.all() {
		k := a.key()
		want := counted[k]
		if want == nil && a.static != nil {
			want = &account{} // of a host that has but static sessions, or had them and has used up a rate
		}
		if want == nil {
			return fmt.Errorf("account of %v without a subscriber", mapping.Addr4(k.addr))
		}
		if a.subscribers != want.subscribers || a.blocks != want.blocks || a.ports != want.ports || total(&a.sessions) != total(&want.sessions) {
			return fmt.Errorf("account of %v: %d blocks, ports %v, %d sessions; counted %d, %v, %d", mapping.Addr4(k.addr),
				a.blocks, a.ports, total(&a.sessions), want.blocks, want.ports, total(&want.sessions))
		}
		delete(counted, k)
	}
	for k := range counted {
		return fmt.Errorf("subscriber %v without an account", mapping.Addr4(k.addr))
	}
	return nil
}

// checkCounts holds the counts of blocks against the states of the addresses.
func (p *pool) checkCounts(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	var held, resting int64
	for _, a := range p.addresses {
		c := a.Counts(now)
		held, resting = held+int64(c.Heating), resting+int64(c.Cooling)
	}
	if held != p.held || resting != p.resting {
		return fmt.Errorf("natcore: pool %q counts %d blocks held and %d resting, its addresses %d and %d", p.cfg.Name, p.held, p.resting, held, resting)
	}
	return nil
}

// checkRealms holds the counts of realms against those of their accounts. The caller has locked all shards.
func (e *Engine) checkRealms() error {
	for realm, r := range e.quotas.Load().realms {
		var ports, sessions, inbound, blocks int64
		for _, s := range e.shards {
			for a := range s.accounts.all() {
				if a.inRealm == realm {
					ports, sessions, blocks = ports+total(&a.ports), sessions+total(&a.sessions), blocks+int64(a.blocks)
					if a.static != nil {
						sessions, inbound = sessions+a.static.own.total(), inbound+a.static.inbound.total()
					}
				}
			}
		}
		if ports != r.ports.total() || sessions != r.sessions.total() || inbound != r.inbound.total() || blocks != r.blocks.Load() {
			return fmt.Errorf("natcore: realm %d counts %d ports, %d sessions, %d inbound ones, %d blocks; its subscribers have %d, %d, %d, %d",
				realm, r.ports.total(), r.sessions.total(), r.inbound.total(), r.blocks.Load(), ports, sessions, inbound, blocks)
		}
	}
	return nil
}

func (e *Engine) checkBlocks(s *shard, sub *subscriber, now time.Time) error {
	p := e.pools[sub.key.pool]
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.alloc.CheckInvariants(); err != nil {
		return err
	}
	if !p.alloc.Holds(sub.lease) {
		return fmt.Errorf("its lease is not live")
	}
	for b := range sub.holding.All(now) {
		a := p.address(b.Block.Address())
		if err := a.CheckInvariants(); err != nil {
			return err
		}
		if !a.Holds(b.Block) {
			return fmt.Errorf("block %v is not heating on its address", b.Block)
		}
		n, _ := p.layout.Locate(p.layout.SetOf(b.Block).First())
		i := slices.IndexFunc(sub.blocks(), func(h heldBlock) bool { return h.block == b.Block })
		if o := p.owner(b.Block.Address(), n); i < 0 || o.shard() != s.index {
			return fmt.Errorf("block %v leads to shard %d", b.Block, o.shard())
		}
		if of, ok := s.table.Block(sub.blocks()[i].id); !ok || of.Owner != sub.index || int(of.Number) != b.Block.Number() {
			return fmt.Errorf("block %v leads to block %d of subscriber %d", b.Block, of.Number, of.Owner)
		}
	}
	return nil
}
