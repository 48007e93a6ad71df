package natcore

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Question asks what would become of a session.
type Question struct {
	// Realm and Internal are where its first packet comes from, Remote where it goes. For ICMP the internal port is the
	// identifier, and the remote one does not count.
	Realm            Realm
	Internal, Remote netip.AddrPort
	// External asks about a session that Remote begins, from outside: the external endpoint that it goes to. Realm and Internal do not count then. For ICMP
	// its port is the identifier. The zero AddrPort asks about one that Internal begins.
	External netip.AddrPort
	// Protocol is 6 (TCP), 17 (UDP), 136 (UDP-Lite) or 1 (ICMP).
	Protocol uint8
}

// Explanation tells what would become of a session, what bounds it, and what would help.
type Explanation struct {
	// Reason is why its first packet, a SYN for TCP, would be dropped now; ReasonNone when it would be translated. What a
	// packet meets behind this NAT's own addresses (hairpinning) is not looked at, nor whether the log would refuse a record.
	Reason Reason
	// Advice says in a sentence what would help. It is empty where nothing refuses.
	Advice string
	// RetryAfter is how long it takes at least until the reason is gone by itself, or 0 where that is not known.
	RetryAfter time.Duration
	// Pool is the name of the pool that a rule chooses, empty where none does.
	Pool string
	// Static is the name of the Static or the Peering that translates the session, empty where none does. Conflicts with other sessions and
	// source addresses that have run out are not looked at.
	Static string
	// External is the endpoint of the session's mapping where there is one, else with port 0 the external address of the subscriber, or the only one
	// that it can get; it is not valid for who has neither.
	External netip.AddrPort
	// Internal is the internal endpoint that a session from outside leads to, of several servers the one that would get it.
	Internal netip.AddrPort
	// Limits are all that bound the session, outermost first, with what is in use. The first one that is full refuses; where
	// PoolConfig.Overload is set, those of ports and blocks do not, as long as one of the ports in use can be shared.
	Limits []Limit
	// Blocks are those of the external address of External, zero where that is not valid or no further block is asked for.
	Blocks portblock.BlockCounts
	// Holders are the subscribers that hold most blocks of that address, largest first, at most ten. They are looked for
	// only when no block is to be had.
	Holders []SubscriberInfo
}

// Limit is one bound and its use.
type Limit struct {
	// Name is the bound's place in Config, such as "Limits.Sessions" or "Quotas.Realms[3].Sessions".
	Name string
	// Used of Max are in use. Reserved is the last part of Max, which is kept for other traffic.
	Used, Max, Reserved int64
}

// Full reports whether the bound lets nothing more pass.
func (l Limit) Full() bool { return l.Used >= l.Max-l.Reserved }

// String returns the bound as "Limits.Sessions: 12 of 100".
func (l Limit) String() string {
	if l.Reserved > 0 {
		return fmt.Sprintf("%s: %d of %d, %d of them reserved", l.Name, l.Used, l.Max, l.Reserved)
	}
	return fmt.Sprintf("%s: %d of %d", l.Name, l.Used, l.Max)
}

// advice is what would help against a reason.
var advice = [reasons]string{
	ReasonMalformed:          "ask for IPv4 endpoints and protocol 6, 17 or 1",
	ReasonNoRule:             "add a rule that covers the internal and the remote address",
	ReasonRuleDrop:           "change the rule that refuses this traffic",
	ReasonNotExternal:        "nothing: the address is of no pool and of no static mapping",
	ReasonNoMapping:          "nobody has the external endpoint: the internal host has to send first, or a static mapping to lead there",
	ReasonFiltered:           "the mapping's filtering or Remotes keeps the remote endpoint out: the internal host has to send to it first, or change these",
	ReasonNoSession:          "nothing: the destination stands for a remote end whose session is over",
	ReasonSpoofed:            "nothing: the internal address is one of the pools'",
	ReasonAddressesExhausted: "add addresses to the pool, raise SubscribersPerAddress, or lower MaxBlocks so that more subscribers share an address",
	ReasonBlocksExhausted:    "the subscriber stays on its address (paired pooling): add addresses to the pool for new ones, lower MaxBlocks or SubscribersPerAddress; Holders says who has the blocks",
	ReasonBlockLimit:         "raise the limit of blocks that is full, or the size of blocks, or wait for ports to be freed",
	ReasonPortLimit:          "raise the limit of ports that is full, or wait for ports to be freed",
	ReasonPortsResting:       "wait: ports rest after use (RFC 6888 REQ-8), and after a start with HoldAfterRestart",
	ReasonSessionLimit:       "raise the limit of sessions that is full, or shorten Timeouts",
	ReasonRealmLimit:         "raise the realm's quota that is full",
	ReasonSessionRate:        "wait, or raise SessionRate",
	ReasonMappingRate:        "wait, or raise MappingRate",
	ReasonReserved:           "what is left is for Quotas.Reserved: add the traffic there, lower the reserve or raise the limit",
	ReasonNotSubscriber:      "add the internal address to the pool's Map",
	ReasonSubscriberLimit:    "raise Limits.Subscribers",
	ReasonWithdrawn:          "wait until the subscriber's sessions on the address have ended, or call EndDisallowed",
	ReasonStopped:            "nothing: the engine is stopped",
}

// Explain tells whether a session would be let through and what stands in its way. It changes nothing, but that a session whose time is over
// ends, and its answer is that of one moment.
func (e *Engine) Explain(q Question, now time.Time) Explanation {
	x := explanation{e: e, q: q}
	if q.External.IsValid() {
		x.Reason = x.arrival(now)
	} else {
		x.Reason = x.look(now)
	}
	x.Advice = advice[x.Reason]
	if x.Reason == ReasonBlocksExhausted && x.External.IsValid() {
		x.Holders = e.holders(x.External.Addr())
	}
	return x.Explanation
}

// explanation is an Explanation in the making.
type explanation struct {
	Explanation
	e     *Engine
	q     Question
	key   subscriberKey
	space portblock.Space
	sub   *subscriber // guarded by the shard's lock
	a     *account
}

// look follows the way of a packet through the bounds, in the same order.
func (x *explanation) look(now time.Time) Reason {
	e := x.e
	req := MapRequest{Internal: x.q.Internal, Protocol: x.q.Protocol, Lifetime: time.Second}
	space, internal, rule := req.parse()
	to, ok := mapping.EndpointOf(x.q.Remote)
	if rule != "" || !ok {
		return ReasonMalformed
	}
	remote := remoteOf(space, to.Addr, to.Port)
	m := e.match(x.q.Realm, internal.Addr, remote.Addr, x.q.Protocol)
	if e.stopped.Load() {
		return ReasonStopped
	}
	if why, done := x.static(m, space, internal, remote, now); done {
		return why
	}
	switch {
	case m == nil:
		return ReasonNoRule
	case m.action == Refuse:
		return ReasonRuleDrop
	case m.action == Exempt:
		return ReasonNone
	}
	p := e.pools[m.pool]
	x.Pool, x.space = p.cfg.Name, mapping.PortsOf(space)
	scope, class := p.scope(remote)
	x.key = subscriberKey{internal.Addr, uint16(x.q.Realm), uint16(m.pool), class}
	if _, _, own := e.external.find(internal.Addr); own {
		return ReasonSpoofed
	}
	c := e.call(now)
	s := c.lock(e.shardOf(x.key.realm, x.key.addr))
	defer c.unlock()
	if old, ok := s.table.CloseOver(x.key.realm, space, internal, remote, s.tick); ok {
		e.sessionEnded(s, &old) // as a packet would
	}
	x.sub, x.a = s.sub(x.key), s.account(accountKey{x.key.addr, x.key.realm})
	if x.a == nil {
		x.a = newAccount(accountKey{x.key.addr, x.key.realm})
		e.settle(s, x.a)
	}
	external, mapped := s.table.Mapped(x.key.realm, space, internal, scope)
	if mapped {
		x.External = external.AddrPort()
	} else if x.sub != nil {
		x.External = netip.AddrPortFrom(mapping.Addr4(x.sub.external), 0)
	}
	chosen := e.chosen(x.key, remote, space)
	why := x.sessions(chosen, s.now)
	if !mapped {
		wait := x.RetryAfter
		short := x.mappings(chosen, s.now)
		if w := x.ports(p, s.now); short == ReasonNone {
			short = w
		}
		short = x.overload(s, p, space, internal.Port, scope, short, wait)
		why = first(why, short)
	}
	if _, known := s.table.PeekOutbound(x.key.realm, space, internal, remote); known {
		return ReasonNone
	}
	return why
}

// bound notes a limit where it bounds, and returns why if it is full.
func (x *explanation) bound(name string, used int64, limit, reserve int, chosen bool, why Reason) Reason {
	if limit == 0 {
		return ReasonNone
	}
	if chosen {
		reserve = 0
	}
	x.Limits = append(x.Limits, Limit{name, used, int64(limit), int64(reserve)})
	return over(used, limit, reserve, chosen, why)
}

// rate notes a bucket as a limit: its tokens.
func (x *explanation) rate(name string, b bucket, r Rate, why Reason, now time.Time) Reason {
	if r.PerSecond == 0 {
		return ReasonNone
	}
	step := int64(time.Second) / int64(r.PerSecond)
	x.Limits = append(x.Limits, Limit{Name: name, Used: min((max(int64(b)-now.UnixNano(), 0)+step-1)/step, int64(r.Burst)), Max: int64(r.Burst)})
	if _, ok := b.take(r, now); ok {
		return ReasonNone
	}
	x.RetryAfter = max(x.RetryAfter, b.wait(r, now))
	return why
}

// first returns the first of several reasons.
func first(all ...Reason) Reason {
	for _, why := range all {
		if why != ReasonNone {
			return why
		}
	}
	return ReasonNone
}

// names are the places in Config of the quotas of a subscriber and its realm.
func (x *explanation) names() (own, realm string) {
	return "the subscriber's quota, ", fmt.Sprintf("Quotas.Realms[%d].", x.key.realm)
}

func (x *explanation) sessions(chosen bool, now time.Time) Reason {
	e, own := x.e, int64(0)
	if x.sub != nil {
		own = int64(x.sub.sessions)
	}
	return first(
		x.bound("Limits.SessionsPerSubscriber", own, e.cfg.Limits.SessionsPerSubscriber, 0, chosen, ReasonSessionLimit),
		x.bound("Limits.Sessions", e.sessions.Load(), e.cfg.Limits.Sessions, 0, chosen, ReasonSessionLimit),
		x.quotas(chosen, now))
}

// quotas are the bounds of a further session that quotas set.
func (x *explanation) quotas(chosen bool, now time.Time) Reason {
	name, inRealm := x.names()
	q, sp := x.a.quota, fmt.Sprintf("Protocols[%v].Sessions", x.space)
	of, sum := x.a.opened(int(x.space))
	all := []Reason{
		x.bound(name+sp, of, q.Protocols[x.space].Sessions, 0, chosen, ReasonSessionLimit),
		x.bound(name+"Sessions", sum, q.Sessions, q.ReserveSessions, chosen, ReasonSessionLimit),
		x.rate(name+"SessionRate", x.a.opening, q.SessionRate, ReasonSessionRate, now),
	}
	if r := x.a.realm; r != nil {
		q := &r.quota
		of, sum := r.opened(int(x.space))
		all = append(all,
			x.bound(inRealm+sp, of, q.Protocols[x.space].Sessions, 0, chosen, ReasonRealmLimit),
			x.bound(inRealm+"Sessions", sum, q.Sessions, q.ReserveSessions, chosen, ReasonRealmLimit),
			x.rate(inRealm+"SessionRate", bucket(r.opening.Load()), q.SessionRate, ReasonSessionRate, now))
	}
	return first(all...)
}

func (x *explanation) mappings(chosen bool, now time.Time) Reason {
	name, inRealm := x.names()
	q, sp := x.a.quota, fmt.Sprintf("Protocols[%v].Ports", x.space)
	all := []Reason{
		x.bound(name+sp, int64(x.a.ports[x.space]), q.Protocols[x.space].Ports, 0, chosen, ReasonPortLimit),
		x.bound(name+"Ports", total(&x.a.ports), q.Ports, q.ReservePorts, chosen, ReasonPortLimit),
		x.rate(name+"MappingRate", x.a.mapping, q.MappingRate, ReasonMappingRate, now),
	}
	if r := x.a.realm; r != nil {
		q := &r.quota
		all = append(all,
			x.bound(inRealm+sp, r.ports[x.space].Load(), q.Protocols[x.space].Ports, 0, chosen, ReasonRealmLimit),
			x.bound(inRealm+"Ports", r.ports.total(), q.Ports, q.ReservePorts, chosen, ReasonRealmLimit),
			x.rate(inRealm+"MappingRate", bucket(r.mapping.Load()), q.MappingRate, ReasonMappingRate, now))
	}
	return first(all...)
}

// ports says whether a port is to be had: one of the map's, one of a block that is held, or one of a further block.
func (x *explanation) ports(p *pool, now time.Time) Reason {
	if p.cfg.Map != nil {
		set, err := p.cfg.Map.Forward(mapping.Addr4(x.key.addr))
		if err != nil {
			return ReasonNotSubscriber
		}
		if x.sub == nil && p.resettles(x.key.addr, set, now) {
			x.RetryAfter = p.settled.Sub(now)
			return ReasonPortsResting
		}
		if x.sub == nil {
			if why := x.subscribers(); why != ReasonNone {
				return why
			}
			return ReasonNone
		}
		n := int64(x.sub.fixed.live[x.space])
		x.Limits = append(x.Limits, Limit{Name: fmt.Sprintf("Pools[%d].Map, ports", x.key.pool), Used: n, Max: int64(set.Len())})
		switch {
		case n < int64(set.Len()):
			return ReasonNone
		case !p.overflows():
			return ReasonPortLimit
		}
	}
	c := p.layout.Config()
	path := fmt.Sprintf("Pools[%d].Blocks.", x.key.pool)
	want, lease := portblock.Want{Spaces: x.space.Set(), Keep: true, Internal: x.q.Internal.Port()}, alloc.Lease{}
	why, held := ReasonNone, 0
	if x.sub != nil {
		h := &x.sub.holding
		all := 0
		for sp := range portblock.Space(portblock.NumSpaces) {
			all += h.Ports(sp)
		}
		x.bound(fmt.Sprintf("%sMaxPorts[%v]", path, x.space), int64(h.Ports(x.space)), c.MaxPorts[x.space], 0, true, ReasonPortLimit)
		x.bound(path+"MaxPortsTotal", int64(all), c.MaxPortsTotal, 0, true, ReasonPortLimit)
		switch err := h.MayTakePort(x.space, x.q.Internal.Port(), now); {
		case err == nil:
			return ReasonNone
		case !errors.Is(err, portblock.ErrNeedBlock):
			why = reasonOf(err)
		}
		want.Further, lease, held = h.Want(x.space).Further, x.sub.lease, h.Blocks()-h.Retiring()
	}
	why = first(why, x.bound(path+"MaxBlocks", int64(held), c.MaxBlocks, 0, true, ReasonBlockLimit),
		x.bound("the subscriber's quota, Blocks", int64(x.a.blocks), x.a.quota.Blocks, 0, true, ReasonBlockLimit))
	if r := x.a.realm; r != nil {
		_, inRealm := x.names()
		why = first(why, x.bound(inRealm+"Blocks", r.blocks.Load(), r.quota.Blocks, 0, true, ReasonRealmLimit))
	}
	if x.sub == nil {
		why = first(why, x.subscribers())
	}
	return first(why, x.block(p, lease, want, now))
}

func (x *explanation) subscribers() Reason {
	return x.bound("Limits.Subscribers", x.e.subscribers.Load(), x.e.cfg.Limits.Subscribers, 0, true, ReasonSubscriberLimit)
}

// block says whether the pool has a block.
func (x *explanation) block(p *pool, lease alloc.Lease, want portblock.Want, now time.Time) Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if now.Before(p.holds) {
		x.RetryAfter = p.holds.Sub(now)
		return ReasonPortsResting
	}
	n := p.alloc.Counts()
	x.Limits = append(x.Limits, Limit{
		Name: fmt.Sprintf("blocks of pool %q", p.cfg.Name), Used: p.held + p.resting, Max: int64(n.Addresses) * int64(p.selection.classes()) * p.fresh,
	})
	if lease.IsValid() && p.drained(lease) {
		return ReasonWithdrawn
	}
	if !lease.IsValid() {
		if p.selection == nil && p.cfg.Map == nil {
			x.Limits = append(x.Limits, Limit{Name: fmt.Sprintf("addresses of pool %q", p.cfg.Name), Used: int64(n.Addresses - n.Open), Max: int64(n.Addresses)})
			switch {
			case n.Open == 0:
				return ReasonAddressesExhausted
			case p.alloc.Positions() > 1:
				return ReasonNone // an open address has room, and which one is drawn is not known
			}
		}
		l, err := p.choose(x.key)
		if err != nil {
			return ReasonAddressesExhausted
		}
		_ = p.alloc.Return(l)
		lease = l
	}
	x.External = netip.AddrPortFrom(p.alloc.Address(lease.Position()), 0)
	a := p.addresses[p.place(lease.Position(), x.key.class)]
	if a == nil {
		a = p.layout.NewAddress(0)
	}
	x.Blocks = a.Counts(now)
	if a.HasRoom(want, now) {
		return ReasonNone
	}
	if at, ok := a.NextFree(); ok {
		x.RetryAfter = max(at.Sub(now), 0)
	}
	if x.sub != nil && x.sub.holding.MayTakeHeldPort(x.space, x.q.Internal.Port(), now) == nil {
		return ReasonNone // what rests serves where no block is to be had
	}
	return ReasonBlocksExhausted
}

// mostHolders bounds Explanation.Holders.
const mostHolders = 10

// holders returns who holds most blocks of an external address.
func (e *Engine) holders(external netip.Addr) []SubscriberInfo {
	return e.top(mostHolders, func(i *SubscriberInfo) int {
		if i.External != external {
			return 0
		}
		return i.Blocks
	})
}
