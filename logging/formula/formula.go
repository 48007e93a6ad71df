// Package formula answers for configuration epochs of deterministic maps, which
// need no records of blocks (RFC 7422 section 3): it reads the parameters that
// the engine recorded and computes who had an external port under them.
//
//	x := logging.NewIndex()
//	x.Resolve(formula.Resolver())
//
// It is a package of its own so that package logging knows no map.
package formula

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
)

// Resolver returns a resolver for logging.Index.Resolve and
// journal.Reader.Resolve. It answers for ConfigEpoch records whose Detail is what
// deterministic.AppendRecord writes, as natcore records them; for others and for
// ports that the map assigns nobody it answers nothing. It keeps the maps that it made, up to 256, and
// is safe for concurrent use.
func Resolver() logging.Resolver { return (&cache{maps: map[uint64]*entry{}}).resolve }

type cache struct {
	mu   sync.Mutex
	seed maphash.Seed
	maps map[uint64]*entry
}

type entry struct {
	detail string
	m      *deterministic.Map // nil: the text is no map's
}

const maxMaps = 256

func (c *cache) mapOf(detail string) *deterministic.Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seed == (maphash.Seed{}) {
		c.seed = maphash.MakeSeed()
	}
	h := maphash.String(c.seed, detail)
	if e := c.maps[h]; e != nil && e.detail == detail {
		return e.m
	}
	e := &entry{detail: detail}
	if epoch, err := deterministic.ParseRecord([]byte(detail)); err == nil {
		e.m, _ = deterministic.New(epoch.Config)
	}
	if len(c.maps) >= maxMaps {
		clear(c.maps)
	}
	c.maps[h] = e
	return e.m
}

func (c *cache) resolve(dst []logging.Interval, epoch *logging.Record, q *logging.Query) []logging.Interval {
	m := c.mapOf(epoch.Detail)
	if m == nil {
		return dst
	}
	external := q.External.Unmap()
	base := logging.Interval{
		Spaces: logging.AllSpaces, PoolID: epoch.PoolID, Pool: epoch.Pool, Realm: epoch.Realm, ExternalRealm: epoch.ExternalRealm,
	}
	if !q.AnyPort {
		if p, err := m.Reverse(external, q.Port); err == nil {
			dst = appendPorts(dst, base, m, p, external, func(first, last uint16) bool { return first <= q.Port && q.Port <= last })
		}
		return dst
	}
	seen := map[netip.Prefix]bool{}
	for port := range 1 << 16 {
		p, err := m.Reverse(external, uint16(port))
		if err == nil && !seen[p] {
			seen[p] = true
			first := true
			dst = appendPorts(dst, base, m, p, external, func(_, _ uint16) bool { was := first; first = false; return was })
		}
	}
	return dst
}

// appendPorts appends an interval for each run of the subscriber's ports that take wants.
func appendPorts(dst []logging.Interval, v logging.Interval, m *deterministic.Map, p netip.Prefix, external netip.Addr, take func(first, last uint16) bool) []logging.Interval {
	ports, err := m.Forward(p.Addr())
	if err != nil {
		return dst
	}
	v.Subscriber = p.Addr()
	if p.Bits() < p.Addr().BitLen() {
		v.SubscriberBits = uint8(p.Bits())
	}
	for r := range ports.On(external).Ranges() {
		if take(r.First(), r.Last()) {
			v.First, v.Last = r.First(), r.Last()
			return append(dst, v)
		}
	}
	return dst
}
