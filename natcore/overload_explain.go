package natcore

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// overload says what becomes of a mapping for which no port of its own is to be had: the reason, or ReasonNone where a port in use can
// have it. wait is how long other bounds than those of ports ask to wait.
func (x *explanation) overload(s *shard, p *pool, space portblock.Space, internal uint16, scope mapping.Scope, why Reason, wait time.Duration) Reason {
	if x.sub == nil || !p.cfg.Overload || !scarce(why) {
		return why
	}
	if x.sub.overloads == nil {
		x.sub.overloads = &overloads{rooms: 1}
	}
	o := x.sub.overloads
	o.settle(s.now.UnixMilli(), p.hold)
	fits := map[uint16]bool{}
	x.sub.holding.SharePort(x.space, internal, nil, s.now, func(port uint16) bool {
		fits[port] = x.sub.fits(s, space, port, scope)
		return false // all are asked for, and none is chosen
	})
	serving := int64(0)
	for _, yes := range fits {
		if !yes {
			serving++
		}
	}
	path := fmt.Sprintf("Pools[%d].Overload, ", x.key.pool)
	x.bound(path+"ports in use that serve or served the remote endpoint", serving, len(fits), 0, true, why)
	x.bound(path+"rests", int64(o.count()), x.e.cfg.Limits.SessionsPerSubscriber, 0, true, why)
	if serving == int64(len(fits)) || o.count() >= x.e.cfg.Limits.SessionsPerSubscriber {
		return why
	}
	x.RetryAfter = wait
	now := s.now
	if _, ok := x.a.mapping.take(x.a.quota.MappingRate, now); !ok {
		x.RetryAfter = max(wait, x.a.mapping.wait(x.a.quota.MappingRate, now))
		return ReasonMappingRate
	}
	if r := x.a.realm; r != nil {
		b := bucket(r.mapping.Load())
		if _, ok := b.take(r.quota.MappingRate, now); !ok {
			x.RetryAfter = max(wait, b.wait(r.quota.MappingRate, now))
			return ReasonMappingRate
		}
	}
	return ReasonNone
}
