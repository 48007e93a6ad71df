package natcore

import (
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// Config says what an engine does. New copies it, fills in the defaults and
// reports all faults together; it never changes the caller's copy.
type Config struct {
	// Instance is this engine's number in its records (RFC 8158, natInstanceID).
	Instance uint32
	// Host names the machine in records, and HostEpoch counts its starts. Both may be zero.
	Host      string
	HostEpoch uint64

	// Seed is the secret from which the engine draws block order, port choice
	// and table hashes (RFC 6056 section 3.4 asks for 128 bits or more). It
	// must not be all zero: fill it from crypto/rand. The same seed with the
	// same packets, batches and times gives the same translations.
	Seed [32]byte

	// Pools are the external addresses. At least one; their addresses do not overlap. A pool that no rule names serves no new
	// subscriber: sessions that it has go on, and static mappings may have endpoints in it.
	Pools []PoolConfig

	// Rules say which outbound packets are translated by which pool; the
	// first match counts, and one that an earlier one hides and that says otherwise is a fault. Default: one rule that sends all of realm 0, or of the realm of the first pool's Map, to the first pool.
	Rules []Rule

	// Static are mappings that stand for good, and that AddStatic, RemoveStatic and SetServers change: port forwarding, 1:1 addresses, several
	// servers behind one address. A rule that exempts or refuses certain remotes (its Remote is set) goes before them, all others after.
	Static []Static

	// Peerings translate between realms, source and destination together.
	Peerings []Peering

	// Protocols are IP protocols without ports that are translated by address alone, such as GRE (47), ESP (50), SCTP
	// (132), IP in IP (4) and 6in4 (41). The rules choose the pool. There is one internal host for each external address,
	// protocol and remote address; each session has a record. Default: none, and such packets are dropped with
	// ReasonProtocol where no Static or Peering is theirs.
	Protocols []uint8

	// Timeouts are the idle times after which sessions end.
	Timeouts Timeouts

	// Limits bound what the engine holds.
	Limits Limits

	// Quotas bound what realms and subscribers hold, and how fast they grow. Default: no bounds but Limits and those of the pools.
	Quotas Quotas

	// ICMP says which ICMP errors the engine builds and which it lets pass.
	ICMP ICMPConfig

	// Events says which records are written besides those of blocks. Default: quotas exceeded, exhaustion, thresholds.
	Events Events

	// HoldAfterRestart gives out no block for so long after New: what was in use before a restart may
	// be in use still, and New cannot know it (RFC 6888 REQ-8 asks for 120 s). Packets that need a block are dropped with
	// ReasonPortsResting meanwhile. Who restores a snapshot, or starts for the first time, needs none. At most a day. Default: none.
	HoldAfterRestart time.Duration

	// Log accepts the record of each block before a port of it is used. It
	// must not be nil; logging.Discard runs without records.
	Log logging.Log

	// LogPolicy says what happens when Log refuses a record. Default: RefuseBlocks.
	LogPolicy LogPolicy

	// AdmitNonSYN makes an outbound TCP segment without SYN open a session, and
	// lets an inbound one in by its mapping, for connections that began before the engine did. RST and FIN never do.
	// Default: such a segment is dropped (RFC 6146 section 3.5.2.2, ATK-03 in CONFORMANCE.md).
	AdmitNonSYN bool

	// KeepID leaves the IP identification as it came. Default: datagrams that leave and may be fragmented (RFC 6864 section 4: DF is not
	// set, or they are fragments) get identifications of the engine's own, so that two hosts behind one external address never
	// have the same towards one remote address (RFC 6864 section 5.3.1, RFC 7857 section 10).
	KeepID bool

	// MSS lowers the maximum segment size in the SYNs of both directions to this many bytes, where it is higher: 40 less than the
	// smallest MTU on the way. From 64 to 65,495; 0, the default, leaves them alone.
	MSS uint16

	// RefreshInbound lets inbound packets keep a session alive as outbound
	// ones do (RFC 4787 REQ-6a allows it; its section 13 says what it costs). Default: they do not.
	RefreshInbound bool

	// Shards is the number of independently locked parts that subscribers are
	// spread over, a power of two from 1 to 256. Default: 8. It changes speed
	// under concurrent callers, never what a subscriber can use.
	Shards int
}

// PoolConfig is one pool: external addresses and how their ports are given out.
type PoolConfig struct {
	// Name names the pool in rules, records and errors. It must not be empty and is unique.
	Name string
	// ID is the pool's number in records (RFC 8158, natPoolId). Default: 1 + its place in Config.Pools.
	ID uint32
	// Addresses are the external addresses: any mix of prefixes, ranges and single addresses (RFC 6888 REQ-3), as
	// alloc.ParseRanges reads them. IPv4 unicast only. At least one. All of a prefix is used, its first and last address too.
	Addresses []alloc.Range
	// Exclude are addresses out of those that are never used.
	Exclude []alloc.Range
	// Map makes the pool deterministic (RFC 7422): each subscriber of the map has its ports by formula, and no
	// record is needed to find it again. The external addresses are the map's; Addresses and Exclude stay
	// empty. A subscriber whose ports are all in use gets blocks from the map's dynamic range, if
	// it has one, by the rules of Blocks and up to the map's MaxPorts, with records; Blocks.Ports and Blocks.Reserved
	// are set from the map. Rules that name the pool are of the map's realm. Ports are chosen at random within the set
	// (RFC 7422 section 2, step 3) and may be used again at once (RFC 6888 REQ-8 B). The map's parameters
	// are recorded by New and every day (RFC 7422 section 3). It must be paired, of IPv4 addresses one by one.
	Map *deterministic.Map
	// Epoch is the number of the map's version in those records (deterministic.History counts them). Default: 1; without a Map it
	// must be zero.
	Epoch uint64
	// Blocks says how the ports of each address are cut into blocks and given out.
	// Its zero value is up to 8 blocks of 256 ports over 1024-65535 for a subscriber; natcore supplies the key from Config.Seed where it is zero.
	Blocks portblock.Config
	// Mapping says what an external port is reused for. Default: EndpointIndependent (RFC 4787 REQ-1).
	Mapping Behaviour
	// Overload lets a port that is in use serve further mappings of its subscriber, each towards other remote endpoints, when no port of its
	// own is to be had for them (port overloading: RFC 4787 REQ-3 forbids it, RFC 7857 section 3 allows it towards distinct
	// destinations). It needs a Mapping that depends on the remote endpoint; ICMP identifiers are shared by remote address.
	// Free ports and further blocks come first, as far as Blocks and Quotas allow, so that few flows share: what would be
	// refused shares, a port that is drawn from those in use. Who wants fewer blocks and records sets Blocks.MaxBlocks lower, down to 1: each of n ports serves one mapping
	// towards one remote endpoint, so a subscriber may have n of them towards each. Blocks have one owner all the same, and
	// no port ever serves two subscribers. A port counts once in quotas; the port that a mapping leaves, while others share it, rests for the
	// hold-down towards the remote endpoints that it served, and serves others meanwhile; of such rests Blocks.MaxResting bounds as many as of
	// ports, in each space, and nothing is shared while Limits.SessionsPerSubscriber of them are kept for the subscriber. What comes to a shared port from a remote endpoint that none of its
	// mappings serves is dropped, whatever Filtering says: nobody knows for whom it is. Default: each mapping has a port of its own.
	Overload bool
	// Filtering says which remote endpoints may send to a mapping. Default: EndpointIndependent (RFC 6888 REQ-7).
	Filtering Behaviour
	// SubscribersPerAddress bounds how many subscribers share an address. Default: no bound but the blocks.
	SubscribersPerAddress int
	// Select chooses a subscriber's external address by the bits of its internal one: the dense index of the masked
	// flow (flowmask.Index), modulo the number of addresses, names the address by its place. Its only
	// field is src-ip. The same subscriber thus always has the same address. Default: the zero mask, which takes the address
	// that serves the fewest subscribers.
	Select flowmask.Mask
	// Remotes splits the remote endpoints into classes, each of which is a port space of its own: the same external port
	// serves once in each class. Its fields are dst-ip and dst-port, with at most 16 bits. It needs Select, so that all classes of a
	// subscriber share an address; mappings are then endpoint-independent within a class,
	// and the limits of Blocks and Limits count in each class. A record names the class, so an
	// answer from the log needs the remote endpoint too. Default: the zero mask, one class.
	Remotes flowmask.Mask
}

// Behaviour is a mapping or a filtering behaviour of RFC 4787, sections 4.1 and 5.
type Behaviour uint8

const (
	// EndpointIndependent: any remote endpoint.
	EndpointIndependent Behaviour = iota
	// AddressDependent: each remote address on its own.
	AddressDependent
	// AddressAndPortDependent: each remote endpoint on its own.
	AddressAndPortDependent
)

// Action is what a rule does.
type Action uint8

const (
	// Translate sends matching packets to the rule's pool.
	Translate Action = iota
	// Exempt forwards matching packets untouched (RFC 6888 REQ-6).
	Exempt
	// Refuse drops matching packets.
	Refuse
)

// Rule chooses what becomes of outbound packets that create state. Its zero fields match anything, but for Realm.
type Rule struct {
	// Realm is where the packet comes from.
	Realm Realm
	// Internal holds the packet's source. The zero prefix matches all.
	Internal netip.Prefix
	// Remote holds the packet's destination. The zero prefix matches all.
	Remote netip.Prefix
	// Protocol is the IP protocol number; 0 matches all. To Translate, it is one that the engine translates: ICMP (1), TCP (6),
	// UDP (17), UDP-Lite (136), or one of Config.Protocols.
	Protocol uint8
	// Action is what to do. Default: Translate.
	Action Action
	// Pool names the pool for Translate.
	Pool string
}

// Timeouts are idle times after which a session ends. Zero means the default.
type Timeouts struct {
	// UDP: default 300 s (RFC 4787 REQ-5c), at least 120 s (REQ-5).
	UDP time.Duration
	// ICMP queries: default 60 s, at least 60 s (RFC 5508 REQ-2).
	ICMP time.Duration
	// TCPEstablished: default 7440 s, at least 7440 s (RFC 5382 REQ-5).
	TCPEstablished time.Duration
	// TCPOpening, from the first SYN until both ends have sent an ACK: default 240 s (RFC 7857 section 2.1 lets it be lower).
	TCPOpening time.Duration
	// TCPClosing, after FINs from both ends or a valid RST: default 240 s, at least 240 s (RFC 7857 section 2.1).
	TCPClosing time.Duration
	// Other, of protocols without ports: default 300 s, at least 120 s, as for UDP.
	Other time.Duration
	// Fragment is how long a fragmented datagram is followed, and a fragment
	// waits for its first one: default 10 s, at least 2 s (RFC 6146 section 4).
	Fragment time.Duration
	// Ports are idle times for sessions with some destination ports, at most 15; the first that has a session's port counts. The port is that
	// of the remote end; where a remote end begins a session of a Static, it is the external port that it asks for. Default: none.
	Ports []PortTimeout
	// AllowShort accepts values below the RFC's minimum, down to 1 s: for
	// laboratories and tests. Default: they are faults.
	AllowShort bool
}

// Limits bound what the engine holds. Zero means the default.
type Limits struct {
	// Subscribers: default 1,048,576.
	Subscribers int
	// Sessions in all: default 16,777,216.
	Sessions int
	// SessionsPerSubscriber: default 16,384 (RFC 6888 REQ-5). Ports and blocks are bounded in PoolConfig.Blocks.
	SessionsPerSubscriber int
	// StaticSessions bounds the sessions of all Static and Peerings: default 1,048,576. They do not count as Sessions, so that neither kind
	// takes room from the other. Those that one host begins are bounded by SessionsPerSubscriber, apart from its dynamic ones.
	StaticSessions int
	// InboundPerSubscriber bounds the sessions of Static and Peerings that others begin with one internal host: a flood that hits one server leaves
	// room for the others. Default: half of StaticSessions, at least 1,024 and no more than StaticSessions. Quotas bound them further.
	InboundPerSubscriber int
	// ProtocolSessions bounds the sessions of all Protocols, default 65,536, and ProtocolSessionsPerSubscriber those of one
	// subscriber in one pool, default 64.
	ProtocolSessions, ProtocolSessionsPerSubscriber int
	// Fragments is the number of fragmented datagrams followed at a time: default 65,536 (RFC 4787 REQ-14a). Those whose first
	// fragment has not come have half of it.
	Fragments int
	// FragmentBytes bounds the memory of fragments that wait for their first one or for Drain, 64 bytes each and their length: default 4 MiB.
	FragmentBytes int
	// FragmentsPerSubscriber and FragmentBytesPerSubscriber bound the same for each internal host, of what it sends and gets, and for
	// each remote address, of what it sends before the first fragment tells for whom. Default: a sixteenth of the whole,
	// at least 64 datagrams and 256 KiB, and no more than the whole.
	FragmentsPerSubscriber, FragmentBytesPerSubscriber int
}

// LogPolicy says what happens when the log refuses a record.
type LogPolicy uint8

const (
	// RefuseBlocks: a block whose record is refused is not used, and packets that need it are dropped with ReasonLogRefused. A static mapping whose record is refused
	// is not added, with an error of New, AddStatic or SetServers.
	RefuseBlocks LogPolicy = iota
	// CountLoss: the block or the static mapping is used all the same and the loss is counted in Stats.RecordsLost.
	CountLoss
)

var (
	behaviourNames = [...]string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}
	actionNames    = [...]string{"translate", "exempt", "refuse"}
	policyNames    = [...]string{"refuse-blocks", "count-loss"}
)

// String returns the behaviour as the RFC writes it.
func (b Behaviour) String() string { return nameOf("Behaviour", behaviourNames[:], uint8(b)) }

// String returns the action in lower case.
func (a Action) String() string { return nameOf("Action", actionNames[:], uint8(a)) }

// String returns the policy in lower case.
func (p LogPolicy) String() string { return nameOf("LogPolicy", policyNames[:], uint8(p)) }
