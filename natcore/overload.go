package natcore

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Port overloading (PoolConfig.Overload): a port serves several mappings of one subscriber, each towards other remote endpoints. The
// table tells them apart (mapping.Table.Fits); what is here chooses the port, and keeps a port from serving a remote
// endpoint again before the hold-down while it serves others.
//
//	port 20481   mapping towards 198.51.100.10:443   of 100.64.0.7:40000   live
//	             mapping towards 198.51.100.20:443   of 100.64.0.7:50001   live
//	             198.51.100.30:53                                          rests until its hold-down is over
//
// A port that serves nobody any more rests as a whole (portblock), which covers what rests of it. Blocks.MaxResting bounds both, each on its own: of the
// subscriber's ports in a space so many rest at most, and so many shared ones rest towards some remote endpoints (RFC 6888 REQ-8d).

// overloads is what a subscriber's shared ports need to remember: made when a port is first shared, gone when nothing rests.
type overloads struct {
	rests   [portblock.NumSpaces]restQueue
	resting map[shared]int64 // what rests, and since when
	full    [fullScopes]full
	next    int    // place in full
	rooms   uint32 // counts what may have made room: what full says is of one count
}

// shared is a port of a subscriber towards the remote endpoints of a mapping.
type shared struct {
	ends  uint64 // remote address, remote port, external port
	space portblock.Space
}

// rest is a shared that rests, from the end of its mapping, in Unix milliseconds.
type rest struct {
	shared
	since int64
}

// restQueue is what rests in a space, in the order in which it ends. Those before first are over.
type restQueue struct {
	rests []rest
	first int
	n     int // those that do rest: some were taken before their time
}

// live returns what is not over.
func (q *restQueue) live() []rest { return q.rests[q.first:] }

// fullScopes is the number of scopes that are remembered to have no port: who fills more of them has more sessions than most may have.
const fullScopes = 8

// full says that no port fitted a scope, for internal ports of one parity.
type full struct {
	remote mapping.Endpoint
	space  portblock.Space
	odd    bool
	rooms  uint32
}

func sharedOf(space portblock.Space, port uint16, remote mapping.Endpoint) shared {
	return shared{uint64(remote.Addr)<<32 | uint64(remote.Port)<<16 | uint64(port), mapping.PortsOf(space)}
}

// parts returns what sharedOf has put together.
func (v shared) parts() (port uint16, remote mapping.Endpoint) {
	return uint16(v.ends), mapping.Endpoint{Addr: uint32(v.ends >> 32), Port: uint16(v.ends >> 16)}
}

// add notes that a port rests towards some remote endpoints.
func (o *overloads) add(v shared, now int64) {
	if o.resting == nil {
		o.resting = map[shared]int64{}
	}
	q := &o.rests[v.space]
	if _, rests := o.resting[v]; !rests {
		q.n++
	}
	q.rests = append(q.rests, rest{v, now})
	o.resting[v] = now
}

// forget ends a rest before its time.
func (o *overloads) forget(v shared) {
	if _, rests := o.resting[v]; rests {
		delete(o.resting, v)
		o.rests[v.space].n--
	}
}

// settle forgets the rests that are over: hold is the hold-down in milliseconds.
func (o *overloads) settle(now, hold int64) {
	for space := range o.rests {
		q := &o.rests[space]
		n := 0
		for all := q.live(); n < len(all) && now-all[n].since >= hold; {
			n++
		}
		o.drop(q, n)
	}
}

// bound forgets those of a space that have rested longest, until no more are left than most.
func (o *overloads) bound(space portblock.Space, most int) {
	for q := &o.rests[space]; q.n > most; {
		o.drop(q, 1)
	}
}

// drop forgets the first n rests of a queue.
func (o *overloads) drop(q *restQueue, n int) {
	if n == 0 {
		return
	}
	for _, r := range q.live()[:n] {
		if since, rests := o.resting[r.shared]; rests && since == r.since {
			o.forget(r.shared)
		}
	}
	o.rooms++
	if q.first += n; 2*q.first >= len(q.rests) { // moved as often as they are forgotten
		q.rests = append(q.rests[:0], q.live()...)
		q.first = 0
	}
}

// count returns the number of rests.
func (o *overloads) count() (n int) {
	for space := range o.rests {
		n += len(o.rests[space].live())
	}
	return n
}

// settleRests forgets the rests of a subscriber that are over. The caller holds mu.
func (e *Engine) settleRests(s *shard, sub *subscriber) {
	o := sub.overloads
	if o == nil {
		return
	}
	if o.settle(s.now.UnixMilli(), e.pools[sub.key.pool].hold); o.count() == 0 {
		sub.overloads = nil
	}
}

// restShared lets a port that others still share rest towards the remote endpoints of a mapping that has ended. The caller holds mu.
func (e *Engine) restShared(s *shard, sub *subscriber, space portblock.Space, port uint16, remote mapping.Endpoint) {
	p := e.pools[sub.key.pool]
	if p.hold == 0 {
		sub.roomier()
		return
	}
	if sub.overloads == nil {
		sub.overloads = &overloads{rooms: 1}
	}
	scope, _ := p.scope(remote)
	sub.overloads.settle(s.now.UnixMilli(), p.hold)
	sub.overloads.add(sharedOf(space, port, scope.Remote), s.now.UnixMilli())
	if p.rests > 0 {
		sub.overloads.bound(mapping.PortsOf(space), p.rests)
	}
}

// scarce reports whether a reason is want of ports, which sharing one helps against.
func scarce(why Reason) bool {
	switch why {
	case ReasonPortLimit, ReasonBlockLimit, ReasonBlocksExhausted, ReasonPortsResting, ReasonRealmLimit, ReasonReserved, ReasonLogRefused, ReasonWithdrawn:
		return true
	}
	return false
}

// overload finds a port that its subscriber has in use for one mapping more, where no other is to be had for a reason, and counts
// the mapping in the account's rates. Else it returns the reason, and nothing has changed. The subscriber may be nil. The caller holds mu.
func (e *Engine) overload(s *shard, sub *subscriber, space portblock.Space, internal uint16, scope mapping.Scope, why Reason) (taken, Reason) {
	if sub == nil || !scarce(why) {
		return taken{}, why
	}
	p := e.pools[sub.key.pool]
	if !p.cfg.Overload {
		return taken{}, why
	}
	s.touch(sub)
	port, ok := e.shareable(s, sub, space, internal, scope, s.rnd)
	if !ok {
		return taken{}, why
	}
	if late := sub.account.hurry(s.now); late != ReasonNone {
		return taken{}, late
	}
	return taken{port: port, block: sub.blockOf(p.layout, port), sub: sub, shared: true}, ReasonNone
}

// shareable returns a port that its subscriber has in use and that can have one mapping more, of a scope. The caller holds mu.
func (e *Engine) shareable(s *shard, sub *subscriber, space portblock.Space, internal uint16, scope mapping.Scope, rnd rand.Source) (uint16, bool) {
	if sub.overloads == nil {
		sub.overloads = &overloads{rooms: 1}
	}
	o := sub.overloads
	o.settle(s.now.UnixMilli(), e.pools[sub.key.pool].hold)
	asked := full{scope.Remote, space, internal&1 != 0, o.rooms}
	if o.count() >= e.cfg.Limits.SessionsPerSubscriber || slices.Contains(o.full[:], asked) {
		return 0, false
	}
	port, ok := sub.holding.SharePort(mapping.PortsOf(space), internal, rnd, s.now, func(port uint16) bool {
		return sub.fits(s, space, port, scope)
	})
	if !ok {
		o.full[o.next] = asked
		o.next = (o.next + 1) % fullScopes
	}
	return port.Number, ok
}

// fits reports whether a port in use can have one mapping more, of a scope. The caller has settled the rests.
func (sub *subscriber) fits(s *shard, space portblock.Space, port uint16, scope mapping.Scope) bool {
	_, rests := sub.overloads.resting[sharedOf(space, port, scope.Remote)]
	external := mapping.Endpoint{Addr: sub.external, Port: port}
	// A port in use without a mapping is that of a caller who has just got it and not locked the shard yet.
	return !rests && s.table.Fits(space, external, scope) && s.table.Taken(space, external, scope.Class)
}

// roomier notes that a port in use may serve what none could before. The caller holds mu.
func (sub *subscriber) roomier() {
	if sub.overloads != nil {
		sub.overloads.rooms++
	}
}

// took notes that a port that was free serves a scope. It may rest in that still where ports are taken before their
// time (portblock.Config.Resting, MaxResting). The caller holds mu.
func (sub *subscriber) took(space portblock.Space, port uint16, scope mapping.Scope) {
	if o := sub.overloads; o != nil {
		o.forget(sharedOf(space, port, scope.Remote))
		o.rooms++
	}
}

// hurry counts a mapping in the rates of the account and its realm, or changes nothing and says why not. Its port is counted already.
func (a *account) hurry(now time.Time) Reason {
	next, ok := a.mapping.take(a.quota.MappingRate, now)
	if !ok || a.realm != nil && !takeShared(&a.realm.mapping, a.realm.quota.MappingRate, now) {
		return ReasonMappingRate
	}
	a.mapping = next
	return ReasonNone
}

// unhurry takes that back.
func (a *account) unhurry() {
	a.mapping = a.mapping.refund(a.quota.MappingRate)
	if a.realm != nil {
		refundShared(&a.realm.mapping, a.realm.quota.MappingRate)
	}
}

// holderOf returns the internal endpoint that a packet from a remote one, of no session, would go to at an external endpoint. There is
// none at a port that several mappings share where none of them serves the remote endpoint, nor at one that rests
// towards it. The caller has locked the shard.
func (e *Engine) holderOf(s *shard, p *pool, class uint16, space portblock.Space, external, remote mapping.Endpoint) (internal mapping.Endpoint, realm uint16, ok bool) {
	internal, realm, ok = s.table.Holder(space, external, class, remote)
	if !ok || p.cfg.Mapping == EndpointIndependent {
		return internal, realm, ok
	}
	sub := s.sub(subscriberKey{internal.Addr, realm, p.cfg.Blocks.Pool, class})
	if sub == nil || sub.overloads == nil {
		return internal, realm, true
	}
	sub.overloads.settle(s.now.UnixMilli(), p.hold)
	scope, _ := p.scope(remote)
	_, rests := sub.overloads.resting[sharedOf(space, external.Port, scope.Remote)]
	return internal, realm, !rests
}
