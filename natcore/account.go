package natcore

import (
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// account is what one subscriber has, over all pools and classes: the counts that quotas bound. The shard's lock guards it.
type account struct {
	addr             uint32
	inRealm          uint16
	countInbound     bool          // Quotas.CountInbound
	quota            *Quota        // what bounds it, never nil
	realm            *realmAccount // of its realm, or nil where nothing bounds that
	static           *staticUse    // sessions of what is static and of protocols without ports, or nil
	ports, sessions  [portblock.NumSpaces]int32
	opening, mapping bucket // of new sessions and of new mappings
	blocks           int32
	subscribers      int32 // that are charged to it: one for each pool and class
}

type accountKey struct {
	addr  uint32
	realm uint16
}

// key returns what the account is found by.
func (a *account) key() accountKey { return accountKey{a.addr, a.inRealm} }

// newAccount returns an account that no quotas hold for yet.
func newAccount(k accountKey) *account { return &account{addr: k.addr, inRealm: k.realm} }

// realmAccount is what all subscribers of a realm have. Shards share it, so its counts are atomic: a
// count is raised first and taken back when it is above its limit, so that no limit is ever passed.
type realmAccount struct {
	quota                      Quota
	countInbound               bool
	ports, sessions            counts
	inbound                    counts // sessions that others have begun with its hosts
	blocks                     atomic.Int64
	opening, mapping, arriving atomic.Int64 // buckets
}

// counts are numbers by port space, which the last place follows with that of protocols without ports.
type counts [withoutPorts + 1]atomic.Int64

// withoutPorts is the place of protocols without ports among counts.
const withoutPorts = int(portblock.NumSpaces)

func (c *counts) total() (n int64) {
	for i := range c {
		n += c[i].Load()
	}
	return n
}

// placeOfProto returns the place of a protocol among counts.
func placeOfProto(proto uint8) int {
	if space, ported := spaceOfProto(proto); ported {
		return int(space)
	}
	return withoutPorts
}

// bucket is a token bucket in one word: the time in Unix nanoseconds at which it is full. Each token that is taken moves
// that time on by the time that one token takes to come (the generic cell rate algorithm).
type bucket int64

// take takes a token, if there is one.
func (b bucket) take(r Rate, now time.Time) (bucket, bool) {
	if r.PerSecond == 0 {
		return b, true
	}
	t, step := now.UnixNano(), int64(time.Second)/int64(r.PerSecond)
	full := max(int64(b), t)
	if full-t > step*int64(r.Burst-1) {
		return b, false
	}
	return bucket(full + step), true
}

// refund gives a token back.
func (b bucket) refund(r Rate) bucket {
	if r.PerSecond == 0 {
		return b
	}
	return b - bucket(int64(time.Second)/int64(r.PerSecond))
}

// wait returns how long it takes until there is a token.
func (b bucket) wait(r Rate, now time.Time) time.Duration {
	if r.PerSecond == 0 {
		return 0
	}
	step := int64(time.Second) / int64(r.PerSecond)
	return time.Duration(max(int64(b)-now.UnixNano()-step*int64(r.Burst-1), 0))
}

// over returns the reason for which a count refuses one more, or ReasonNone: limit is the quota, reserve the part of it that is
// for chosen traffic only.
func over(used int64, limit, reserve int, chosen bool, why Reason) Reason {
	switch {
	case limit == 0:
		return ReasonNone
	case used >= int64(limit):
		return why
	case !chosen && used >= int64(limit-reserve):
		return ReasonReserved
	}
	return ReasonNone
}

func total(counts *[portblock.NumSpaces]int32) int64 {
	return int64(counts[portblock.TCP]) + int64(counts[portblock.UDP]) + int64(counts[portblock.ICMP])
}

// opened returns the sessions that count against a.quota.Sessions: those of a place, and all.
func (a *account) opened(place int) (of, all int64) {
	if place < len(a.sessions) {
		of = int64(a.sessions[place])
	}
	all = total(&a.sessions)
	if u := a.static; u != nil {
		of, all = of+u.own[place].Load(), all+u.own.total()
		if a.countInbound {
			of, all = of+u.inbound[place].Load(), all+u.inbound.total()
		}
	}
	return of, all
}

// sessionsOf returns the bound of the sessions of a place, or 0.
func (q *Quota) sessionsOf(place int) int {
	if place < len(q.Protocols) {
		return q.Protocols[place].Sessions
	}
	return 0
}

// mayOpen returns why the account can have no further session of a space now, or ReasonNone.
func (a *account) mayOpen(space portblock.Space, chosen bool, now time.Time) Reason {
	return a.mayBegin(int(mapping.PortsOf(space)), chosen, now)
}

// mayBegin is mayOpen for a place.
func (a *account) mayBegin(place int, chosen bool, now time.Time) Reason {
	q := a.quota
	of, all := a.opened(place)
	if why := over(of, q.sessionsOf(place), 0, chosen, ReasonSessionLimit); why != ReasonNone {
		return why
	}
	if why := over(all, q.Sessions, q.ReserveSessions, chosen, ReasonSessionLimit); why != ReasonNone {
		return why
	}
	if _, ok := a.opening.take(q.SessionRate, now); !ok {
		return ReasonSessionRate
	}
	return ReasonNone
}

// mayMap returns why the account can have no further mapping of a space now, or ReasonNone.
func (a *account) mayMap(space portblock.Space, chosen bool, now time.Time) Reason {
	space = mapping.PortsOf(space)
	q := a.quota
	if why := over(int64(a.ports[space]), q.Protocols[space].Ports, 0, chosen, ReasonPortLimit); why != ReasonNone {
		return why
	}
	if why := over(total(&a.ports), q.Ports, q.ReservePorts, chosen, ReasonPortLimit); why != ReasonNone {
		return why
	}
	if _, ok := a.mapping.take(q.MappingRate, now); !ok {
		return ReasonMappingRate
	}
	return ReasonNone
}

// opened is opened for a realm.
func (r *realmAccount) opened(place int) (of, all int64) {
	of, all = r.sessions[place].Load(), r.sessions.total()
	if r.countInbound {
		of, all = of+r.inbound[place].Load(), all+r.inbound.total()
	}
	return of, all
}

// mayOpen is mayOpen for a realm.
func (r *realmAccount) mayOpen(space portblock.Space, chosen bool, now time.Time) Reason {
	place, q := int(mapping.PortsOf(space)), &r.quota
	of, all := r.opened(place)
	if why := over(of, q.sessionsOf(place), 0, chosen, ReasonRealmLimit); why != ReasonNone {
		return why
	}
	if why := over(all, q.Sessions, q.ReserveSessions, chosen, ReasonRealmLimit); why != ReasonNone {
		return why
	}
	if _, ok := bucket(r.opening.Load()).take(q.SessionRate, now); !ok {
		return ReasonSessionRate
	}
	return ReasonNone
}

// begin counts a session of a place, in the realm's sessions or in its inbound ones, and takes a token of sessions, or changes nothing and says why not.
func (r *realmAccount) begin(in *counts, place int, chosen bool, now time.Time) Reason {
	in[place].Add(1)
	q := &r.quota
	of, all := r.opened(place) // with the one more: two who come at once may both be refused, never both pass
	why := over(of-1, q.sessionsOf(place), 0, chosen, ReasonRealmLimit)
	if why == ReasonNone {
		why = over(all-1, q.Sessions, q.ReserveSessions, chosen, ReasonRealmLimit)
	}
	if why == ReasonNone && !takeShared(&r.opening, q.SessionRate, now) {
		why = ReasonSessionRate
	}
	if why != ReasonNone {
		in[place].Add(-1)
	}
	return why
}

// takeShared takes a token of a bucket that shards share, if there is one.
func takeShared(b *atomic.Int64, rate Rate, now time.Time) bool {
	for {
		old := b.Load()
		next, ok := bucket(old).take(rate, now)
		if !ok || next == bucket(old) || b.CompareAndSwap(old, int64(next)) {
			return ok
		}
	}
}

// refundShared gives a token back.
func refundShared(b *atomic.Int64, rate Rate) { b.Add(int64(bucket(0).refund(rate))) }

// open counts a session of the account and its realm, or changes nothing and says why not.
func (a *account) open(space portblock.Space, chosen bool, now time.Time) Reason {
	place := int(mapping.PortsOf(space))
	why := a.begin(place, chosen, now)
	if why == ReasonNone {
		a.sessions[place]++
	}
	return why
}

// begin counts a session in the account's realm and takes a token of both. The caller counts it in the account.
func (a *account) begin(place int, chosen bool, now time.Time) Reason {
	if why := a.mayBegin(place, chosen, now); why != ReasonNone {
		return why
	}
	if r := a.realm; r != nil {
		if why := r.begin(&r.sessions, place, chosen, now); why != ReasonNone {
			return why
		}
	}
	a.opening, _ = a.opening.take(a.quota.SessionRate, now)
	return ReasonNone
}

// closed takes a session off the counts.
func (a *account) closed(space portblock.Space) {
	space = mapping.PortsOf(space)
	a.sessions[space]--
	if a.realm != nil {
		a.realm.sessions[space].Add(-1)
	}
}

// mapped counts a mapping of the account and its realm, or changes nothing and says why not.
func (a *account) mapped(space portblock.Space, chosen bool, now time.Time) Reason {
	space = mapping.PortsOf(space)
	if why := a.mayMap(space, chosen, now); why != ReasonNone {
		return why
	}
	if r := a.realm; r != nil {
		q := &r.quota
		n := r.ports[space].Add(1)
		why := over(n-1, q.Protocols[space].Ports, 0, chosen, ReasonRealmLimit)
		if why == ReasonNone {
			why = over(r.ports.total()-1, q.Ports, q.ReservePorts, chosen, ReasonRealmLimit)
		}
		if why == ReasonNone && !takeShared(&r.mapping, q.MappingRate, now) {
			why = ReasonMappingRate
		}
		if why != ReasonNone {
			r.ports[space].Add(-1)
			return why
		}
	}
	a.ports[space]++
	a.mapping, _ = a.mapping.take(a.quota.MappingRate, now)
	return ReasonNone
}

// unmapped takes a mapping off the counts.
func (a *account) unmapped(space portblock.Space) {
	space = mapping.PortsOf(space)
	a.ports[space]--
	if a.realm != nil {
		a.realm.ports[space].Add(-1)
	}
}

// unmade takes a mapping off the counts that came to nothing, and gives its token back.
func (a *account) unmade(space portblock.Space) {
	a.unmapped(space)
	a.mapping = a.mapping.refund(a.quota.MappingRate)
	if r := a.realm; r != nil {
		refundShared(&r.mapping, r.quota.MappingRate)
	}
}

// granted counts a block of the account and its realm, or changes nothing and says why not.
func (a *account) granted() Reason {
	if why := over(int64(a.blocks), a.quota.Blocks, 0, true, ReasonBlockLimit); why != ReasonNone {
		return why
	}
	if r := a.realm; r != nil {
		if why := over(r.blocks.Add(1)-1, r.quota.Blocks, 0, true, ReasonRealmLimit); why != ReasonNone {
			r.blocks.Add(-1)
			return why
		}
	}
	a.blocks++
	return ReasonNone
}

// released takes a block off the counts.
func (a *account) released() {
	a.blocks--
	if a.realm != nil {
		a.realm.blocks.Add(-1)
	}
}

// unused reports whether nothing is charged to the account.
func (a *account) unused() bool {
	return a.subscribers == 0 && a.static == nil && a.blocks == 0 && total(&a.ports) == 0 && total(&a.sessions) == 0
}

// rests reports whether the account's buckets are full, so that to forget them gives nothing away.
func (a *account) rests(now time.Time) bool {
	full := max(a.opening, a.mapping)
	if a.static != nil {
		full = max(full, a.static.arriving)
	}
	return int64(full) <= now.UnixNano()
}

// account returns the account of a subscriber, or of one that is not there in this pool yet, made where it is missing. The caller holds mu.
func (e *Engine) account(s *shard, sub *subscriber, key subscriberKey) *account {
	if sub != nil {
		return sub.account
	}
	return e.accountAt(s, accountKey{key.addr, key.realm})
}

// accountAt is account by the key of the account.
func (e *Engine) accountAt(s *shard, k accountKey) *account {
	a := s.account(k)
	if a == nil {
		a = newAccount(k)
		e.settle(s, a)
		s.accountsBy.Insert(s.hashOfAccount(k), s.accounts.add(a))
	}
	return a
}

// accountOf returns the account of a subscriber, or of one that is not there in this pool yet, if there is one. The caller holds mu.
func (s *shard) accountOf(sub *subscriber, key subscriberKey) *account {
	if sub != nil {
		return sub.account
	}
	return s.account(accountKey{key.addr, key.realm})
}

// settle ties an account to the quotas that hold for it. The caller holds mu.
func (e *Engine) settle(s *shard, a *account) {
	q := e.quotas.Load()
	a.realm, a.countInbound = q.realms[a.inRealm], q.cfg.CountInbound
	if a.quota = s.overrides[a.key()]; a.quota == nil {
		a.quota = q.of(a.inRealm, a.addr)
	}
}

// mayOpen says whether the limits and quotas allow a further session, or why they do not; what it says is binding only while mu
// is held. A subscriber that does not exist yet has no account, and as yet nothing that could be too much.
func (e *Engine) mayOpen(s *shard, o *opening) Reason {
	sub := o.sub
	if sub != nil && int(sub.sessions) >= e.cfg.Limits.SessionsPerSubscriber || e.sessions.Load() >= int64(e.cfg.Limits.Sessions) {
		return ReasonSessionLimit
	}
	chosen := e.chosen(o.key, o.remote, o.space)
	a := s.accountOf(sub, o.key)
	if a != nil {
		if why := a.mayOpen(o.space, chosen, s.now); why != ReasonNone {
			return why
		}
	}
	if r := e.quotas.Load().realms[o.key.realm]; r != nil {
		return r.mayOpen(o.space, chosen, s.now)
	}
	return ReasonNone
}

// chosen reports whether reserves are kept for a flow.
func (e *Engine) chosen(key subscriberKey, remote mapping.Endpoint, space portblock.Space) bool {
	return e.quotas.Load().chosen(key.realm, key.addr, remote, protocols[space])
}
