package natcore

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/blocknat/blocknat/alloc"
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
type subscriber struct {
	key       subscriberKey
	lease     alloc.Lease
	external  uint32      // the address that it is paired with
	fixed     *fixedPorts // deterministic ports, or nil
	holding   portblock.RoomyHolding
	sessions  int
	index     uint32      // in the shard's registry
	blocks    []heldBlock // those of holding, in first where there is one
	first     [1]heldBlock
	others    int          // sessions of protocols without ports
	high      bool         // its ports have passed the high mark
	touched   mapping.Tick // 1 + when its holding was told of the packets of its blocks
	account   *account     // of the internal address, in all pools
	overloads *overloads   // what rests of ports that mappings share, or nil
}

// heldBlock is a block of a holding and its number in the shard's table.
type heldBlock struct {
	block portblock.Block
	id    mapping.BlockID
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
	for i := range s.blocks {
		b := &s.blocks[i]
		if offset := offset + (number-b.block.Number())*l.Unit(); offset >= 0 && offset < l.PortsOf(b.block) {
			return b.id
		}
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
		Blocks: s.holding.Blocks(), Sessions: s.sessions,
	}
	for sp := range i.Ports {
		i.Ports[sp] = s.holding.Ports(portblock.Space(sp))
		if s.fixed != nil {
			i.Ports[sp] += s.fixed.live[sp]
		}
	}
	return i
}
