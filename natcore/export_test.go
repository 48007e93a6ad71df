package natcore

import (
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Whole translates one packet the whole way, which the plain one of batches only shortens: the slow twin of Process.
func (e *Engine) Whole(p *Packet, now time.Time) {
	c := e.call(now)
	c.process(p)
	c.done()
}

// GrantOnly takes a UDP port of a host's first block in the first pool, as a caller does before it locks the shard again to map the port. giveBack
// ends that.
func (e *Engine) GrantOnly(host netip.Addr, now time.Time) (port uint16, giveBack func(), why Reason) {
	key := subscriberKey{addr: mapping.Number4(host)}
	s := e.shardOf(key.realm, key.addr)
	t, why := e.grant(s, key, portblock.UDP, 40000, now)
	return t.port, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.returnPort(s, t.sub, portblock.UDP, t.port)
	}, why
}
