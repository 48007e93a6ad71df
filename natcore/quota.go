package natcore

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Quotas bound what subscribers hold and how fast they grow, as a tree: a realm, a subscriber, and each protocol of both. A
// packet that needs more than any of them allows is dropped with a reason; what lives is never ended for it
// (RFC 6888 REQ-4, REQ-11). A subscriber is an internal address of a realm here, whatever the number of pools that serve it.
//
// All sessions are charged, those of static mappings, peerings and protocols without ports too:
//
//	who begins a session                          it is charged to
//	an internal host                              that host's Sessions, Protocols and SessionRate
//	anybody, with an internal host, by what is    that host's InboundSessions and InboundRate
//	static (Config.Static, Peerings)
//
// So who writes from one realm to another by a Peering has a session of his own, and the host that he writes to an inbound one. Inbound
// ones are apart, because strangers begin them: they cannot take from a server what it needs for its own. CountInbound puts them together.
//
// Quotas come on top of Limits and of what PoolConfig.Blocks sets for each pool. Engine.Explain tells which one refuses.
type Quotas struct {
	// Subscriber bounds each subscriber. Default: no bound.
	Subscriber Quota
	// Realms bounds all subscribers of a realm together. The realms are those of Rules, Static and Peerings. Default: no bound.
	Realms map[Realm]Quota
	// Overrides replace Subscriber for some subscribers, one for each prefix of a realm; the longest counts. Engine.SetQuota goes before.
	Overrides []Override
	// Reserved is the traffic for which the reserves of all quotas are kept, such as DNS. Default: none.
	Reserved []Traffic
	// CountInbound counts inbound sessions as the host's own ones too: Sessions, Protocols and SessionRate bound the sum. A host then has one
	// bound for all, and who sends to its static endpoints from outside can use it up. Default: they are apart.
	CountInbound bool
}

// Quota is one node of the tree. Zero fields do not bound.
type Quota struct {
	// Ports is the number of ports and identifiers over all protocols (RFC 6888 REQ-4): of mappings, but that those which share a port
	// (PoolConfig.Overload) count once.
	Ports int
	// Blocks is the number of port blocks, in all pools.
	Blocks int
	// Sessions is the number of sessions over all protocols that the subscriber has begun.
	Sessions int
	// InboundSessions is the number of sessions that others have begun with the subscriber by static mappings and peerings, over all
	// protocols. Limits.InboundPerSubscriber and Static.MaxSessions bound them as well. (Those of dynamic mappings begin with the
	// subscriber's answer, and are his.)
	InboundSessions int
	// Protocols bounds each port space on its own (RFC 6888 REQ-4b), by portblock.TCP, portblock.UDP and portblock.ICMP.
	Protocols [portblock.NumSpaces]ProtocolQuota
	// SessionRate bounds new sessions a second, and MappingRate new mappings (RFC 6888 REQ-4c).
	SessionRate, MappingRate Rate
	// InboundRate bounds new sessions a second that others begin, as InboundSessions does their number.
	InboundRate Rate
	// ReservePorts and ReserveSessions are the last of Ports and Sessions, which only Quotas.Reserved may use. They are less
	// than Ports and Sessions.
	ReservePorts, ReserveSessions int
}

// ProtocolQuota bounds one port space. Zero fields do not bound.
type ProtocolQuota struct {
	Ports, Sessions int
}

// Rate is a token bucket. The zero Rate does not bound.
type Rate struct {
	// PerSecond is the number of events a second, at most 1e9.
	PerSecond int
	// Burst is how many may come at once, at most 1e9. Default: PerSecond.
	Burst int
}

// Override is the quota of some subscribers.
type Override struct {
	Realm Realm
	// Internal holds the subscribers' addresses; an IPv4 prefix.
	Internal netip.Prefix
	Quota    Quota
}

// Traffic describes outbound packets. Its zero fields match anything.
type Traffic struct {
	// Realms are where the packets come from; none stands for all.
	Realms []Realm
	// Internal holds the source and Remote the destination.
	Internal, Remote netip.Prefix
	// Protocol is the IP protocol number, RemotePort the destination port of protocols that have ports.
	Protocol   uint8
	RemotePort uint16
}

// maxRate bounds rates and bursts, so that their product in nanoseconds fits 63 bits.
const maxRate = 1_000_000_000

// clone returns a copy that shares nothing with q.
func (q Quotas) clone() Quotas {
	q.Realms = maps.Clone(q.Realms)
	q.Overrides = slices.Clone(q.Overrides)
	q.Reserved = slices.Clone(q.Reserved)
	for i := range q.Reserved {
		q.Reserved[i].Realms = slices.Clone(q.Reserved[i].Realms)
	}
	return q
}

func (q *Quotas) complete(f *faults) {
	q.Subscriber.complete(f, "Quotas.Subscriber", len(q.Reserved) > 0)
	for _, r := range slices.Sorted(maps.Keys(q.Realms)) {
		v := q.Realms[r]
		v.complete(f, fmt.Sprintf("Quotas.Realms[%d]", r), len(q.Reserved) > 0)
		q.Realms[r] = v
	}
	for i := range q.Overrides {
		o := &q.Overrides[i]
		path := fmt.Sprintf("Quotas.Overrides[%d]", i)
		if !o.Internal.IsValid() || !o.Internal.Addr().Is4() {
			f.add(path+".Internal", o.Internal, "must be an IPv4 prefix")
		}
		o.Quota.complete(f, path+".Quota", len(q.Reserved) > 0)
	}
	for i, t := range q.Reserved {
		for _, p := range []struct {
			name  string
			value netip.Prefix
		}{{"Internal", t.Internal}, {"Remote", t.Remote}} {
			if p.value != (netip.Prefix{}) && (!p.value.IsValid() || !p.value.Addr().Is4()) {
				f.add(fmt.Sprintf("Quotas.Reserved[%d].%s", i, p.name), p.value, "must be an IPv4 prefix, or the zero prefix for any")
			}
		}
	}
}

// checkQuotaRealms tells of quotas for realms of which nothing is charged: no rule, static mapping or peering is theirs, nor one of the
// mappings that the live engine has besides.
func (c *Config) checkQuotaRealms(f *faults, live []*static) {
	known := map[Realm]bool{}
	for i := range c.Rules {
		known[c.Rules[i].Realm] = true
	}
	for i := range c.Static {
		known[c.Static[i].Realm] = true
	}
	for i := range c.Peerings {
		known[c.Peerings[i].From], known[c.Peerings[i].To] = true, true
	}
	for _, s := range live {
		known[s.cfg.Realm] = true
	}
	delete(known, ExternalRealm)
	const rule = "must be a realm that a rule, a Static or a Peering names: nothing is charged to it else"
	for _, r := range slices.Sorted(maps.Keys(c.Quotas.Realms)) {
		if !known[r] {
			f.add(fmt.Sprintf("Quotas.Realms[%d]", r), r, rule)
		}
	}
	for i := range c.Quotas.Overrides {
		if r := c.Quotas.Overrides[i].Realm; !known[r] {
			f.add(fmt.Sprintf("Quotas.Overrides[%d].Realm", i), r, rule)
		}
	}
	for i, t := range c.Quotas.Reserved {
		for _, r := range t.Realms {
			if !known[r] {
				f.add(fmt.Sprintf("Quotas.Reserved[%d].Realms", i), r, rule)
			}
		}
	}
}

// complete checks a quota and fills in its bursts; reserved says that some traffic is chosen.
func (q *Quota) complete(f *faults, path string, reserved bool) {
	values := []struct {
		name  string
		value int
	}{
		{"Ports", q.Ports}, {"Blocks", q.Blocks}, {"Sessions", q.Sessions}, {"InboundSessions", q.InboundSessions},
		{"ReservePorts", q.ReservePorts}, {"ReserveSessions", q.ReserveSessions},
	}
	for i, p := range q.Protocols {
		values = append(values, struct {
			name  string
			value int
		}{fmt.Sprintf("Protocols[%v].Ports", portblock.Space(i)), p.Ports}, struct {
			name  string
			value int
		}{fmt.Sprintf("Protocols[%v].Sessions", portblock.Space(i)), p.Sessions})
	}
	for _, v := range values {
		if v.value < 0 {
			f.add(path+"."+v.name, v.value, "must not be negative; zero means no bound")
		}
	}
	for _, v := range []struct {
		name    string
		reserve int
		of      int
	}{{"ReservePorts", q.ReservePorts, q.Ports}, {"ReserveSessions", q.ReserveSessions, q.Sessions}} {
		if v.reserve > 0 && v.reserve >= v.of {
			f.add(path+"."+v.name, v.reserve, fmt.Sprintf("must be less than %s, which is %d", v.name[len("Reserve"):], v.of))
		}
		if v.reserve > 0 && !reserved {
			f.add(path+"."+v.name, v.reserve, "needs traffic in Quotas.Reserved for which it is kept")
		}
	}
	q.SessionRate.complete(f, path+".SessionRate")
	q.MappingRate.complete(f, path+".MappingRate")
	q.InboundRate.complete(f, path+".InboundRate")
}

func (r *Rate) complete(f *faults, path string) {
	if r.PerSecond < 0 || r.PerSecond > maxRate {
		f.add(path+".PerSecond", r.PerSecond, fmt.Sprintf("must be from 0 to %d; zero means no bound", maxRate))
	}
	if r.Burst < 0 || r.Burst > maxRate {
		f.add(path+".Burst", r.Burst, fmt.Sprintf("must be from 0 to %d; zero means PerSecond", maxRate))
	}
	if r.Burst > 0 && r.PerSecond == 0 {
		f.add(path+".Burst", r.Burst, "must be zero where PerSecond does not bound")
	}
	if r.Burst == 0 {
		r.Burst = r.PerSecond
	}
}

// quotas is Quotas as packets use it, immutable but for the counts of the realms.
type quotas struct {
	cfg      Quotas
	realms   map[uint16]*realmAccount
	override []override // longest prefix first
	reserved []traffic
}

type override struct {
	realm          uint16
	internal, mask uint32
	quota          *Quota
}

type traffic struct {
	realms []Realm
	flow   rule
	port   uint16
}

func newQuotas(c *Quotas) *quotas {
	q := &quotas{cfg: c.clone(), realms: map[uint16]*realmAccount{}}
	for r, v := range q.cfg.Realms {
		q.realms[uint16(r)] = &realmAccount{quota: v, countInbound: q.cfg.CountInbound}
	}
	for i := range q.cfg.Overrides {
		o := &q.cfg.Overrides[i]
		m := mask4(o.Internal.Bits())
		q.override = append(q.override, override{uint16(o.Realm), mapping.Number4(o.Internal.Addr()) & m, m, &o.Quota})
	}
	slices.SortStableFunc(q.override, func(a, b override) int {
		switch {
		case a.mask > b.mask:
			return -1
		case a.mask < b.mask:
			return 1
		}
		return 0
	})
	for _, t := range q.cfg.Reserved {
		v := traffic{realms: t.Realms, port: t.RemotePort, flow: rule{proto: t.Protocol}}
		v.flow.internal, v.flow.internMask = masked(t.Internal)
		v.flow.remote, v.flow.remoteMask = masked(t.Remote)
		q.reserved = append(q.reserved, v)
	}
	return q
}

// of returns the quota of a subscriber by the configuration.
func (q *quotas) of(realm uint16, addr uint32) *Quota {
	for i := range q.override {
		if o := &q.override[i]; o.realm == realm && addr&o.mask == o.internal {
			return o.quota
		}
	}
	return &q.cfg.Subscriber
}

// chosen reports whether the reserves are kept for a flow.
func (q *quotas) chosen(realm uint16, internal uint32, remote mapping.Endpoint, protocol uint8) bool {
	for i := range q.reserved {
		t := &q.reserved[i]
		if (len(t.realms) == 0 || slices.Contains(t.realms, Realm(realm))) &&
			t.flow.covers(internal, remote.Addr, protocol) && (t.port == 0 || t.port == remote.Port) {
			return true
		}
	}
	return false
}

// SetQuota gives one subscriber a quota of its own, before Overrides and Subscriber; nil takes it away again. It holds from the
// next packet on, whether the subscriber has anything now or not, and ends nothing that lives. The error joins *FieldErrors.
func (e *Engine) SetQuota(realm Realm, internal netip.Addr, q *Quota, now time.Time) error {
	var f faults
	if internal = internal.Unmap(); !internal.Is4() {
		f.add("internal", internal, "must be the IPv4 address of a subscriber")
	}
	if q != nil {
		own := *q
		own.complete(&f, "Quota", len(e.quotas.Load().reserved) > 0)
		q = &own
	}
	if err := errors.Join(f...); err != nil {
		return err
	}
	k := accountKey{mapping.Number4(internal), uint16(realm)}
	c := e.call(now)
	s := c.lock(e.shardOf(k.realm, k.addr))
	defer c.unlock()
	if q == nil {
		delete(s.overrides, k)
	} else {
		s.overrides[k] = q
	}
	if a := s.account(k); a != nil {
		e.settle(s, a)
	}
	return nil
}
