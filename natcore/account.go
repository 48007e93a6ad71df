package natcore

import (
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// account is what one subscriber has, over all pools and classes: the counts that quotas bound. The shard's lock guards it.
type account struct {
	key              accountKey
	quota            *Quota        // what bounds it, never nil
	realm            *realmAccount // of its realm, or nil where nothing bounds that
	subscribers      int           // that are charged to it: one for each pool and class
	ports, sessions  [portblock.NumSpaces]int32
	blocks           int32
	opening, mapping bucket // of new sessions and of new mappings
}

type accountKey struct {
	addr  uint32
	realm uint16
}

// realmAccount is what all subscribers of a realm have. Shards share it, so its counts are atomic: a
// count is raised first and taken back when it is above its limit, so that no limit is ever passed.
type realmAccount struct {
	quota            Quota
	ports, sessions  [portblock.NumSpaces]atomic.Int64
	blocks           atomic.Int64
	opening, mapping atomic.Int64 // buckets
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

func totalOf(counts *[portblock.NumSpaces]atomic.Int64) int64 {
	return counts[portblock.TCP].Load() + counts[portblock.UDP].Load() + counts[portblock.ICMP].Load()
}

// mayOpen returns why the account can have no further session of a space now, or ReasonNone.
func (a *account) mayOpen(space portblock.Space, chosen bool, now time.Time) Reason {
	space = mapping.PortsOf(space)
	q := a.quota
	if why := over(int64(a.sessions[space]), q.Protocols[space].Sessions, 0, chosen, ReasonSessionLimit); why != ReasonNone {
		return why
	}
	if why := over(total(&a.sessions), q.Sessions, q.ReserveSessions, chosen, ReasonSessionLimit); why != ReasonNone {
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

// mayOpen is mayOpen for a realm.
func (r *realmAccount) mayOpen(space portblock.Space, chosen bool, now time.Time) Reason {
	space = mapping.PortsOf(space)
	return r.may(&r.sessions, space, r.quota.Protocols[space].Sessions, r.quota.Sessions, r.quota.ReserveSessions,
		bucket(r.opening.Load()), r.quota.SessionRate, ReasonSessionRate, chosen, now)
}

func (r *realmAccount) may(counts *[portblock.NumSpaces]atomic.Int64, space portblock.Space, ofSpace, all, reserve int, b bucket, rate Rate, fast Reason, chosen bool, now time.Time) Reason {
	if why := over(counts[space].Load(), ofSpace, 0, chosen, ReasonRealmLimit); why != ReasonNone {
		return why
	}
	if why := over(totalOf(counts), all, reserve, chosen, ReasonRealmLimit); why != ReasonNone {
		return why
	}
	if _, ok := b.take(rate, now); !ok {
		return fast
	}
	return ReasonNone
}

// raise counts one more in a realm and takes a token, or changes nothing and says why.
func raise(counts *[portblock.NumSpaces]atomic.Int64, space portblock.Space, ofSpace, all, reserve int, b *atomic.Int64, rate Rate, fast Reason, chosen bool, now time.Time) Reason {
	n := counts[space].Add(1)
	why := over(n-1, ofSpace, 0, chosen, ReasonRealmLimit)
	if why == ReasonNone {
		why = over(totalOf(counts)-1, all, reserve, chosen, ReasonRealmLimit)
	}
	for why == ReasonNone {
		old := b.Load()
		next, ok := bucket(old).take(rate, now)
		if !ok {
			why = fast
		} else if next == bucket(old) || b.CompareAndSwap(old, int64(next)) {
			return ReasonNone
		}
	}
	counts[space].Add(-1)
	return why
}

// open counts a session of the account and its realm, or changes nothing and says why not.
func (a *account) open(space portblock.Space, chosen bool, now time.Time) Reason {
	space = mapping.PortsOf(space)
	if why := a.mayOpen(space, chosen, now); why != ReasonNone {
		return why
	}
	if r := a.realm; r != nil {
		q := &r.quota
		if why := raise(&r.sessions, space, q.Protocols[space].Sessions, q.Sessions, q.ReserveSessions, &r.opening, q.SessionRate, ReasonSessionRate, chosen, now); why != ReasonNone {
			return why
		}
	}
	a.sessions[space]++
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
		if why := raise(&r.ports, space, q.Protocols[space].Ports, q.Ports, q.ReservePorts, &r.mapping, q.MappingRate, ReasonMappingRate, chosen, now); why != ReasonNone {
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
		r.mapping.Add(int64(bucket(0).refund(r.quota.MappingRate)))
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
	return a.subscribers == 0 && a.blocks == 0 && total(&a.ports) == 0 && total(&a.sessions) == 0
}

// rests reports whether the account's buckets are full, so that to forget them gives nothing away.
func (a *account) rests(now time.Time) bool {
	return int64(max(a.opening, a.mapping)) <= now.UnixNano()
}

// account returns the account of a subscriber, made where it is missing. The caller holds mu.
func (e *Engine) account(s *shard, key subscriberKey) *account {
	a := s.accountOf(s.sub(key), key)
	if a == nil {
		k := accountKey{key.addr, key.realm}
		a = &account{key: k}
		e.settle(s, a)
		s.accounts[k] = a
	}
	return a
}

// accountOf returns the account of a subscriber, or of one that is not there in this pool yet, if there is one. The caller holds mu.
func (s *shard) accountOf(sub *subscriber, key subscriberKey) *account {
	if sub != nil && sub.account != nil {
		return sub.account
	}
	return s.accounts[accountKey{key.addr, key.realm}]
}

// settle ties an account to the quotas that hold for it. The caller holds mu.
func (e *Engine) settle(s *shard, a *account) {
	q := e.quotas.Load()
	a.realm = q.realms[a.key.realm]
	if a.quota = s.overrides[a.key]; a.quota == nil {
		a.quota = q.of(a.key.realm, a.key.addr)
	}
}

// forget removes an account to which nothing is charged. The caller holds mu.
func (s *shard) forget(a *account) {
	if a.unused() {
		delete(s.accounts, a.key)
	}
}

// mayOpen says whether the limits and quotas allow a further session, or why they do not; what it says is binding only while mu
// is held. A subscriber that does not exist yet has no account, and as yet nothing that could be too much.
func (e *Engine) mayOpen(s *shard, o *opening) Reason {
	sub := s.sub(o.key)
	if sub != nil && sub.sessions >= e.cfg.Limits.SessionsPerSubscriber || e.sessions.Load() >= int64(e.cfg.Limits.Sessions) {
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
	return e.quotas.Load().chosen(key.realm, key.addr, remote, space)
}
