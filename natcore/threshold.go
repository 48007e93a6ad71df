package natcore

import (
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/portblock"
)

// crossed compares a level with its marks, both in percent of what there is: a level is high once it reaches the high mark,
// until it is below the low one (hysteresis). It reports the event, if there is one, and its mark.
func crossed(was bool, used, all int64, high, low int) (is bool, kind logging.Kind, mark int64) {
	switch {
	case all <= 0:
		return false, 0, 0
	case !was && used*100 >= all*int64(high):
		return true, logging.ThresholdHigh, (all*int64(high) + 99) / 100
	case was && used*100 < all*int64(low):
		return false, logging.ThresholdLow, (all*int64(low) + 99) / 100
	}
	return was, 0, 0
}

// watchPools notes the pools whose blocks have passed a mark.
func (e *Engine) watchPools() {
	if e.cfg.Events.Off {
		return
	}
	now := e.time()
	for i, p := range e.all() {
		if p.layout == nil {
			continue
		}
		p.mu.Lock()
		now := p.advance(now)
		used, all := p.held+p.resting, int64(p.alloc.Counts().Addresses)*int64(p.selection.classes())*p.fresh
		high, kind, mark := crossed(p.high, used, all, e.cfg.Events.PoolHigh, e.cfg.Events.PoolLow)
		p.high = high
		p.mu.Unlock()
		if kind != 0 {
			e.shards[0].notes.add(note{at: now, used: clamp(used), max: clamp(mark), noteKey: noteKey{
				kind: kind, resource: logging.ResourcePool, pool: int16(i),
			}})
		}
	}
}

// watch notes a subscriber whose ports have passed a mark. The caller holds the shard's lock.
func (e *Engine) watch(s *shard, sub *subscriber) {
	if e.cfg.Events.Off {
		return
	}
	used, all := e.level(sub)
	high, kind, mark := crossed(sub.high, used, all, e.cfg.Events.SubscriberHigh, e.cfg.Events.SubscriberLow)
	sub.high = high
	if kind != 0 {
		s.notes.add(note{at: s.now, used: clamp(used), max: clamp(mark), noteKey: noteKey{
			kind: kind, resource: logging.ResourceSubscriberMappings, realm: sub.key.realm, pool: int16(sub.key.pool), internal: sub.key.addr,
		}})
	}
}

// level returns the ports that a subscriber uses, and how many it may use: of all that bounds them what is fullest. The caller holds the
// shard's lock.
func (e *Engine) level(sub *subscriber) (used, all int64) {
	fuller := func(n, of int64) {
		if of > 0 && (all == 0 || n*all > used*of) {
			used, all = n, of
		}
	}
	a, p := sub.account, e.pools[sub.key.pool]
	fuller(total(&a.ports), int64(a.quota.Ports))
	for sp := range portblock.NumSpaces {
		fuller(int64(a.ports[sp]), int64(a.quota.Protocols[sp].Ports))
		own, room := int64(sub.holding.Ports(portblock.Space(sp))), int64(0)
		if sub.fixed != nil {
			own, room = own+int64(sub.fixed.live[sp]), int64(sub.fixed.ports.Len())
		}
		if p.layout != nil {
			c := p.layout.Config()
			room += int64(p.layout.BlockSize(false)) + int64(c.MaxBlocks-1)*int64(p.layout.BlockSize(true))
			fuller(int64(sub.holding.Ports(portblock.Space(sp))), int64(c.MaxPorts[sp]))
		}
		fuller(own, room)
	}
	return used, all
}
