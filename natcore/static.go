package natcore

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
)

// Static is a mapping that stands in the configuration: an external endpoint, a range of ports or whole addresses
// lead to an internal host, or to one of several. Its fields say which of these it is:
//
//	External, Internal                                      1:1: an address, all of its ports, all protocols
//	External, Internal, Addresses: 16                       16 addresses in a row, each 1:1
//	External, ExternalPort, Internal, InternalPort          one port
//	External, ExternalPort, Internal, InternalPort, Ports   a range of ports, each to its own
//	External, ExternalPort, Servers                         one port served by several hosts
//	External and Internal the same                          identity: nothing is translated
//
// Nothing dynamic ever takes an external endpoint of a Static. The external address is one of a pool, or lies beside the pools.
//
// Sessions that the internal host begins are charged to it as its dynamic ones are; those that others begin with it are charged to it apart from
// these (Quotas, Limits.InboundPerSubscriber). They are recorded where sessions are (Events.Sessions), end after the idle times of
// their protocol and port (Timeouts), and go on after a restart (Restore). Where nothing is translated there are no sessions.
type Static struct {
	// Name names the mapping in errors, SessionInfo and RemoveStatic. It must not be empty and is unique.
	Name string
	// Realm is where the internal hosts are.
	Realm Realm
	// Protocol is 6 (TCP), 17 (UDP), 136 (UDP-Lite) or 1 (ICMP, whose identifiers stand for ports). 0 means all of these but ICMP where ports are given, and
	// where none are all protocols, those without ports too, but for AH and DCCP, whose checksums no translator of
	// addresses can keep right. Where no ports are given it may be any other protocol as well.
	Protocol uint8
	// External is the external address, the first of Addresses.
	External netip.Addr
	// ExternalPort is the first external port. Default, with Ports 0 as well: all ports.
	ExternalPort uint16
	// Internal is the internal address, the first of Addresses. It is not set where Servers is.
	Internal netip.Addr
	// InternalPort is the internal port that ExternalPort leads to. Default: the same.
	InternalPort uint16
	// Ports is the number of ports in a row. Default: 1 where ExternalPort is given.
	Ports int
	// Addresses is the number of addresses in a row that lead to as many internal ones. Default: 1.
	Addresses int

	// Servers are the hosts that share the external endpoint. It serves them with sessions from outside only.
	// SetServers changes them; sessions of a server that is no longer among them go on.
	Servers []Server
	// Balance says what sessions stay together on one server. Default: ByClient.
	Balance Balance
	// Affinity is how long a client comes back to its server after its last new session, also where the servers change
	// meanwhile, as long as its server is one of them. Default: until the servers change, after
	// which as few clients as possible change theirs.
	Affinity time.Duration

	// InboundOnly keeps the internal host's own sessions out of the mapping: they are translated as those of any other host.
	// Default: they leave with the mapping's external endpoint. It is implied by Servers.
	InboundOnly bool
	// Filtering says which remote endpoints may begin a session: all, or those to whose address the internal
	// host has a session, or none. Default: EndpointIndependent.
	Filtering Behaviour
	// Remotes are the remote addresses that may begin a session. Default: all.
	Remotes []netip.Prefix
	// Sources are addresses that stand for the remote ends of sessions from outside (twice NAT, RFC 2663 section
	// 4.3): the internal host sees one of them, with a port of its own. They mean something to the realm
	// alone, and several mappings may have the same ones.
	Sources []alloc.Range
	// Twice says when the source is translated to one of Sources. Default: always, where there are Sources.
	Twice Twice
	// MaxSessions bounds the sessions that remote ends begin, of all internal hosts of the mapping together. Default: those of Limits and Quotas alone.
	MaxSessions int
}

// Server is one of several hosts behind a Static.
type Server struct {
	// Internal is the host's endpoint; port 0 stands for the external port.
	Internal netip.AddrPort
	// Weight is the server's share of new clients, from 1 to 65535. Default: 1.
	Weight int
}

// Balance says what decides which of several servers gets a session from outside. It is a keyed hash (rendezvous hashing): the same
// decides the same while the servers are the same.
type Balance uint8

const (
	// ByClient: the client's address, so that all sessions of a client go to one server.
	ByClient Balance = iota
	// BySession: the client's address and port, or identifier.
	BySession
)

// Twice says when a Static translates the source too.
type Twice uint8

const (
	// TwiceAlways: for all sessions from outside.
	TwiceAlways Twice = iota
	// TwiceSelf: only where an internal host, whose source nothing else translates, comes to itself (self-twice-NAT): it
	// would take its own address as source for a packet of its own making. Where a rule translates its source, it comes
	// with an external endpoint anyway (RFC 4787 REQ-9a).
	TwiceSelf
)

var (
	balanceNames = [...]string{"by client", "by session"}
	twiceNames   = [...]string{"always", "self"}
)

// String returns the name in lower case.
func (b Balance) String() string { return nameOf("Balance", balanceNames[:], uint8(b)) }

// String returns the name in lower case.
func (t Twice) String() string { return nameOf("Twice", twiceNames[:], uint8(t)) }

// Statics returns the static mappings, in the order in which they came, with all defaults filled in.
func (e *Engine) Statics() []Static {
	x := e.statics.index.Load()
	if x == nil {
		return nil
	}
	all := make([]Static, len(x.statics))
	for i, s := range x.statics {
		all[i] = s.cfg
		all[i].Servers, all[i].Remotes, all[i].Sources = slices.Clone(s.cfg.Servers), slices.Clone(s.cfg.Remotes), slices.Clone(s.cfg.Sources)
	}
	return all
}

// OnConflict says what AddStatic does where a dynamic mapping holds an external port that it needs.
type OnConflict uint8

const (
	// RefuseConflicts: nothing is added, and a *ConflictError tells what is in the way. Sessions that
	// internal endpoints of the mapping have already go on as they are; further ones leave by the mapping.
	RefuseConflicts OnConflict = iota
	// RetireConflicts: the mappings in the way end with all of their sessions, and so do those that internal endpoints
	// of the static mapping have already.
	RetireConflicts
)

// Conflict is a dynamic mapping that holds an external port which a static one needs.
type Conflict struct {
	// Static is the name of the static mapping.
	Static string
	// Realm, Protocol, Internal and External are the dynamic mapping.
	Realm    Realm
	Protocol uint8
	Internal netip.AddrPort
	External netip.AddrPort
}

// ConflictError says why AddStatic has added nothing.
type ConflictError struct{ Conflicts []Conflict }

// Error implements error.
func (c *ConflictError) Error() string {
	first := c.Conflicts[0]
	more := ""
	if n := len(c.Conflicts) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Sprintf("natcore: static mapping %q is in use: %v of realm %d holds %v (protocol %d)%s: wait, choose other ports, or add it with RetireConflicts",
		first.Static, first.Internal, first.Realm, first.External, first.Protocol, more)
}
