package natcore

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// fixedPorts is the use of a subscriber's deterministic ports: a bit for each port and space, in the order of the formula.
// They need no hold-down: only this subscriber ever has them (RFC 6888 REQ-8 B).
type fixedPorts struct {
	ports deterministic.Ports
	used  [portblock.NumSpaces][]uint64
	live  [portblock.NumSpaces]int
	id    mapping.BlockID // the set in the shard's table
	over  bool            // another map gives the subscriber other ports: none of these is taken any more
}

// take takes a free port of the set at random (RFC 7422 section 2, step 3); ok is false when all are in use.
func (f *fixedPorts) take(space portblock.Space, rnd rand.Source) (index int, ok bool) {
	n := f.ports.Len()
	if f.live[space] == n || f.over {
		return 0, false
	}
	if f.used[space] == nil {
		f.used[space] = make([]uint64, (n+63)/64) // the rank below never reaches bits behind the last port
	}
	rank := int(rand.New(rnd).Uint64N(uint64(n - f.live[space])))
	for w, word := range f.used[space] {
		free := bits.OnesCount64(^word)
		if rank >= free {
			rank -= free
			continue
		}
		word = ^word
		for range rank {
			word &= word - 1
		}
		bit := bits.TrailingZeros64(word)
		f.used[space][w] |= 1 << bit
		f.live[space]++
		return w*64 + bit, true
	}
	return 0, false // not reached: live counts the bits
}

// use takes a certain port of the set.
func (f *fixedPorts) use(space portblock.Space, port uint16) {
	i, _ := f.ports.Index(f.ports.External(), port)
	if f.used[space] == nil {
		f.used[space] = make([]uint64, (f.ports.Len()+63)/64)
	}
	f.used[space][i/64] |= 1 << (i % 64)
	f.live[space]++
}

// giveBack frees a port; ok is false when it is not one of the set.
func (f *fixedPorts) giveBack(space portblock.Space, port uint16) (ok bool) {
	if !f.holds(space, port) {
		return false
	}
	i, _ := f.ports.Index(f.ports.External(), port)
	f.used[space][i/64] &^= 1 << (i % 64)
	f.live[space]--
	return true
}

// holds reports whether a port of the set is in use.
func (f *fixedPorts) holds(space portblock.Space, port uint16) bool {
	i, ok := f.ports.Index(f.ports.External(), port)
	return ok && f.used[space] != nil && f.used[space][i/64]>>(i%64)&1 != 0
}

// inUse returns the number of ports in use in all spaces.
func (f *fixedPorts) inUse() int {
	return f.live[portblock.TCP] + f.live[portblock.UDP] + f.live[portblock.ICMP]
}

// completeMap sets what follows from a deterministic map, and checks what it must be.
func (p *PoolConfig) completeMap(f *faults, field func(string) string) {
	if len(p.Addresses)+len(p.Exclude) > 0 {
		f.add(field("Addresses"), p.Addresses, "must be empty: the external addresses are those of Map")
	}
	if p.Select != (flowmask.Mask{}) || p.Remotes != (flowmask.Mask{}) || p.SubscribersPerAddress != 0 {
		f.add(field("Select"), p.Select, "must be zero, as Remotes and SubscribersPerAddress: Map chooses the address")
	}
	if p.Mapping != EndpointIndependent {
		f.add(field("Mapping"), p.Mapping, "must be EndpointIndependent where Map gives the ports")
	}
	if p.Epoch == 0 {
		p.Epoch = 1
	}
	c := p.Map.Config()
	switch first := p.Map.Subscriber(0); {
	case !p.Map.Paired():
		f.add(field("Map"), fmt.Sprintf("%q", p.Map.Name()), "must be paired (RFC 6888 REQ-2): its algorithm spreads a subscriber over several addresses")
	case !first.Addr().Is4() || first.Bits() != 32:
		f.add(field("Map"), fmt.Sprintf("%q, with subscribers such as %v", p.Map.Name(), first), "must map IPv4 addresses one by one")
	case c.Realm > 0xffff:
		f.add(field("Map"), c.Realm, "must have a realm of at most 65535")
	case !p.Map.External(0).Is4():
		f.add(field("Map"), fmt.Sprintf("%q, with addresses such as %v", p.Map.Name(), p.Map.External(0)), "must have IPv4 external addresses")
	default:
		p.Addresses, p.Exclude = rangesOf(c.External), rangesOf(c.ExternalExclude)
		p.completeOverflow(f, field)
	}
}

func rangesOf(spans []deterministic.Span) []alloc.Range {
	var ranges []alloc.Range
	for _, s := range spans {
		if r, err := alloc.RangeOf(s.First(), s.Last()); err == nil {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// completeOverflow lays the blocks of a deterministic pool into the map's dynamic range.
func (p *PoolConfig) completeOverflow(f *faults, field func(string) string) {
	if p.Blocks.Ports.IsValid() || p.Blocks.Reserved != nil {
		f.add(field("Blocks.Ports"), p.Blocks.Ports, "must be empty, as Reserved: the dynamic range of Map gives the ports of blocks")
		return
	}
	if p.Map.Config().KeyPerAddress {
		return // each address has another dynamic range: no blocks
	}
	next := uint32(0)
	for r := range p.Map.Dynamic(p.Map.External(0)) {
		if !p.Blocks.Ports.IsValid() {
			p.Blocks.Ports = r
		} else if gap := portblock.RangeOf(uint16(next), r.First()-1); gap.IsValid() && next < uint32(r.First()) {
			p.Blocks.Reserved = append(p.Blocks.Reserved, portblock.Reservation{Ports: gap})
		}
		next = uint32(r.Last()) + 1
		p.Blocks.Ports = portblock.RangeOf(p.Blocks.Ports.First(), r.Last())
	}
	if !p.Blocks.Ports.IsValid() {
		return
	}
	size := max(p.Blocks.BlockSize, p.Blocks.FirstBlockSize)
	if size == 0 {
		size = portblock.DefaultBlockSize
	}
	if p.Map.Config().MaxPorts > 0 {
		most := p.Map.Overflow(p.Map.PortsPerSubscriber(), size)
		if p.Blocks.MaxBlocks == 0 || p.Blocks.MaxBlocks > most {
			p.Blocks.MaxBlocks = most
		}
		if most == 0 {
			p.Blocks.Ports = portblock.Range{} // M leaves no block: the dynamic range is not used
		}
	}
}

// overflows reports whether subscribers of the pool get blocks.
func (p *pool) overflows() bool { return p.layout != nil }

// enrol makes the subscriber of a deterministic pool. It needs no record and no
// lock but the shard's, which the caller holds.
func (e *Engine) enrol(s *shard, key subscriberKey) (*subscriber, Reason) {
	p := e.pools[key.pool]
	ports, err := p.cfg.Map.Forward(mapping.Addr4(key.addr))
	if err != nil {
		return nil, ReasonNotSubscriber
	}
	if p.resettles(key.addr, ports, s.now) {
		return nil, ReasonPortsResting
	}
	if e.stopped.Load() {
		return nil, ReasonStopped
	}
	if e.subscribers.Add(1) > int64(e.cfg.Limits.Subscribers) {
		e.subscribers.Add(-1)
		return nil, ReasonSubscriberLimit
	}
	sub := s.enter(key, mapping.Number4(ports.External()), e.account(s, nil, key))
	sub.fixed = &fixedPorts{ports: ports}
	if p.overflows() {
		sub.holding.Init(p.layout)
	}
	if ports.Len() > 0 {
		sub.fixed.id = s.table.AddBlock(mapping.Block{
			Realm: key.realm, Internal: key.addr, External: sub.external, Owner: sub.index, Ports: uint32(ports.Len()),
		})
	}
	e.bindingEvent(s, logging.AddressBound, sub)
	return sub, ReasonNone
}

// resettles reports whether a map that came a moment ago gives a subscriber ports that others may have had. The pool's map
// changes only while all shards are locked.
func (p *pool) resettles(addr uint32, ports deterministic.Ports, now time.Time) bool {
	if p.previous == nil || !now.Before(p.settled) {
		return false
	}
	was, err := p.previous.Forward(mapping.Addr4(addr))
	return err != nil || !sameSet(was, ports.Map(), addr)
}

// epochInterval is how often the parameters of deterministic maps are recorded (RFC 7422 section 3).
const epochInterval = 24 * time.Hour

// recordEpochs records the parameters of all deterministic maps.
func (e *Engine) recordEpochs(now time.Time) error {
	for _, p := range e.all() {
		if p.cfg.Map == nil {
			continue
		}
		from := p.since
		if from.IsZero() {
			from = e.began
		}
		if err := e.recordEpoch(&p.cfg, from, now); err != nil {
			return err
		}
	}
	return nil
}

// recordEpoch records the parameters of a map.
func (e *Engine) recordEpoch(p *PoolConfig, from, now time.Time) error {
	detail, err := deterministic.AppendRecord(nil, deterministic.Epoch{Number: p.Epoch, From: from, Config: p.Map.Config()})
	if err != nil {
		return fmt.Errorf("natcore: parameters of pool %q: %w", p.Name, err)
	}
	r := logging.Record{
		Kind: logging.ConfigEpoch, Reason: logging.ReasonAuto, Time: logging.MillisOf(now),
		Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch,
		PoolID: p.ID, Pool: p.Name, Realm: e.realmName(uint16(p.Map.Config().Realm)),
		Detail: string(detail),
	}
	if err := e.cfg.Log.Append(&r); err != nil {
		return fmt.Errorf("natcore: the log refuses the parameters of pool %q: %w", p.Name, err)
	}
	return nil
}
