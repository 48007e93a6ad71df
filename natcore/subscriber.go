package natcore

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/internal/prefetch"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// subscriberKey tells a subscriber: an internal address in a realm, the pool
// that serves it there, and the class of remotes where the pool has several.
type subscriberKey struct {
	addr  uint32
	realm uint16
	pool  uint16
	class uint16
}

// subscriber is what one internal address holds in one pool. It exists while it
// holds a block or a deterministic port.
//
// It is seven cache lines. A new session reads the first four, and of the last three that of its port space:
//
//	0 what tells the subscriber, and all that a session needs but ports    1 the rest, and the holding's head
//	2 the holding                                                          3 the holding, and its first block
//	4 TCP ports of that block    5 UDP ports    6 ICMP identifiers
type subscriber struct {
	key       subscriberKey
	external  uint32       // the address that it is paired with
	account   *account     // of the internal address, in all pools
	fixed     *fixedPorts  // deterministic ports, or nil
	overloads *overloads   // what rests of ports that mappings share, or nil
	first     [1]heldBlock // the first of the blocks of holding, with number 0 where there is none
	sessions  int32
	touched   mapping.Tick // 1 + when its holding was told of the packets of its blocks

	more   *[]heldBlock // all blocks of holding, first included, where there are several; else nil
	lease  alloc.Lease
	index  uint32 // in the shard's list
	others int32  // sessions of protocols without ports
	high   bool   // its ports have passed the high mark
	_      uint64 // holding lies so that the ports of each space have a line

	holding portblock.RoomyHolding
}

// prefetch asks for the memory of the subscriber that a new session of a space reads. It reads nothing.
func (s *subscriber) prefetch(space portblock.Space) {
	prefetch.Line(s)
	prefetch.Known(s).holding.Prefetch(mapping.PortsOf(space))
}

// prefetchBehind asks for what a new session reads behind the subscriber, which has come: its account, and its first block in the table.
func (s *subscriber) prefetchBehind(t *mapping.Table) {
	prefetch.Pair(s.account)
	if id := s.first[0].id; id != 0 {
		t.PrefetchBlock(id)
	}
}

// heldBlock is a block of a holding and its number in the shard's table.
type heldBlock struct {
	block portblock.Block
	id    mapping.BlockID
}

// blocks returns the blocks of the holding, by number. They are for reading, until the next hold or drop.
func (s *subscriber) blocks() []heldBlock {
	switch {
	case s.more != nil:
		return *s.more
	case s.first[0].id == 0:
		return nil
	}
	return s.first[:]
}

// hold notes a block that the holding got.
func (s *subscriber) hold(b heldBlock) {
	switch {
	case s.first[0].id == 0:
		s.first[0] = b
		return
	case s.more == nil:
		s.more = &[]heldBlock{s.first[0]}
	}
	i, _ := s.search(b.block.Number())
	*s.more = slices.Insert(*s.more, i, b)
	s.first[0] = (*s.more)[0]
}

// search returns how many blocks have a smaller number, and whether one has it.
func (s *subscriber) search(number int) (int, bool) {
	return slices.BinarySearchFunc(s.blocks(), number, func(b heldBlock, n int) int { return b.block.Number() - n })
}

// drop forgets a block that the holding gave up, and returns its number in the table.
func (s *subscriber) drop(b portblock.Block) mapping.BlockID {
	all := s.blocks()
	i := slices.IndexFunc(all, func(h heldBlock) bool { return h.block == b })
	id := all[i].id
	if s.more == nil {
		s.first[0] = heldBlock{}
		return id
	}
	*s.more = slices.Delete(all, i, i+1)
	s.first[0] = (*s.more)[0]
	if len(*s.more) == 1 {
		s.more = nil
	}
	return id
}

// blockOf returns the number in the shard's table of the block, or the deterministic set, that a port of the subscriber is of, and 0
// for a port that is not the subscriber's.
func (s *subscriber) blockOf(l *portblock.Layout, port uint16) mapping.BlockID {
	if s.fixed != nil {
		if _, ok := s.fixed.ports.Index(s.fixed.ports.External(), port); ok {
			return s.fixed.id
		}
	}
	if l == nil {
		return 0
	}
	number, offset, ok := l.Position(port)
	if !ok {
		return 0
	}
	i, found := s.search(number)
	if !found { // a block that begins before may reach as far
		i--
	}
	if i < 0 || i >= len(s.blocks()) {
		return 0
	}
	if b := &s.blocks()[i]; offset+(number-b.block.Number())*l.Unit() < l.PortsOf(b.block) {
		return b.id
	}
	return 0
}

// idle reports whether the subscriber holds nothing any more.
func (s *subscriber) idle() bool {
	return s.others == 0 && s.holding.Blocks() == 0 && (s.fixed == nil || s.fixed.inUse() == 0)
}

// record returns a block record of the subscriber. Used and Max count blocks.
func (e *Engine) record(kind logging.Kind, k subscriberKey, external uint32, b portblock.Block, used int, now time.Time) logging.Record {
	p := e.pools[k.pool]
	set := p.layout.SetOf(b)
	return logging.Record{
		Kind: kind, Time: logging.MillisOf(now), Spaces: logging.AllSpaces,
		Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch,
		PoolID: p.cfg.ID, Pool: p.cfg.Name, Class: uint32(k.class), Realm: e.realmName(k.realm),
		Subscriber: mapping.Addr4(k.addr), External: mapping.Addr4(external),
		First: set.First(), Last: set.Last(),
		Used: uint32(used), Max: uint32(p.layout.Config().MaxBlocks),
	}
}

// realmName is the realm in records: its number, and nothing for realm 0, so
// that who has one realm only does not see it.
func (e *Engine) realmName(realm uint16) string {
	if realm == 0 {
		return ""
	}
	return strconv.Itoa(int(realm))
}

// SubscriberInfo tells what one subscriber holds in one pool, and in one class
// of remotes where the pool has several (PoolConfig.Remotes); or, where Pool is empty, which sessions of what is static and of protocols
// without ports are charged to it.
type SubscriberInfo struct {
	Realm Realm
	Pool  string
	Class uint16
	// Internal is the subscriber's address.
	Internal netip.Addr
	// External is the address that the subscriber is paired with.
	External netip.Addr
	// Blocks held, ports in use by space (TCP, UDP, ICMP identifiers), and sessions that it has begun.
	Blocks   int
	Ports    [portblock.NumSpaces]int
	Sessions int
	// Inbound are the sessions that others have begun with it.
	Inbound int
}

func (e *Engine) info(s *subscriber) SubscriberInfo {
	i := SubscriberInfo{
		Realm: Realm(s.key.realm), Pool: e.pools[s.key.pool].cfg.Name, Class: s.key.class,
		Internal: mapping.Addr4(s.key.addr), External: mapping.Addr4(s.external),
		Blocks: s.holding.Blocks(), Sessions: int(s.sessions),
	}
	for sp := range i.Ports {
		i.Ports[sp] = s.holding.Ports(portblock.Space(sp))
		if s.fixed != nil {
			i.Ports[sp] += s.fixed.live[sp]
		}
	}
	return i
}
