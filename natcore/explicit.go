package natcore

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// MapRequest asks for an explicit mapping (RFC 6888 REQ-9; the core of a PCP server, RFC 6887).
type MapRequest struct {
	// Realm and Internal are the internal endpoint; for ICMP the port is the identifier.
	Realm    Realm
	Internal netip.AddrPort
	// Protocol is 6 (TCP), 17 (UDP), 136 (UDP-Lite) or 1 (ICMP).
	Protocol uint8
	// Lifetime is how long the mapping stays without traffic: from 1 ms to ten days.
	Lifetime time.Duration
}

// RefusalError says why Map made no mapping.
type RefusalError struct {
	Request MapRequest
	// Reason is what a packet would have been dropped for; ReasonMalformed stands for a faulty request.
	Reason Reason
	// Rule says what a faulty request breaks.
	Rule string
}

// Error implements error.
func (r *RefusalError) Error() string {
	if r.Rule != "" {
		return fmt.Sprintf("natcore: mapping of %v refused: %s", r.Request.Internal, r.Rule)
	}
	return fmt.Sprintf("natcore: mapping of %v refused: %v", r.Request.Internal, r.Reason)
}

// Map makes or renews an explicit mapping and returns its external endpoint.
// An internal endpoint that has a mapping keeps it. The error is a *RefusalError.
func (e *Engine) Map(r MapRequest, now time.Time) (netip.AddrPort, error) {
	refuse := func(why Reason, rule string) (netip.AddrPort, error) {
		return netip.AddrPort{}, &RefusalError{r, why, rule}
	}
	space, internal, rule := r.parse()
	if rule != "" {
		return refuse(ReasonMalformed, rule)
	}
	// The rule is chosen as for a packet to anywhere: rules for certain remotes do not apply.
	h := rewrite.Packet4{Src: internal.Addr, Proto: r.Protocol}
	if _, _, own := e.external.find(internal.Addr); own {
		return refuse(ReasonSpoofed, "")
	}
	m := e.match(r.Realm, h.Src, h.Dst, h.Proto)
	switch {
	case m == nil:
		return refuse(ReasonNoRule, "")
	case m.action != Translate:
		return refuse(ReasonRuleDrop, "")
	case e.pools[m.pool].cfg.Mapping != EndpointIndependent || e.pools[m.pool].selection.classes() > 1:
		return refuse(ReasonMalformed, "the pool's mappings depend on the remote endpoint; explicit mappings need endpoint-independent mapping")
	}
	c := e.call(now)
	s := c.lock(e.shardOf(uint16(r.Realm), internal.Addr))
	defer c.unlock()
	key := subscriberKey{addr: internal.Addr, realm: uint16(r.Realm), pool: uint16(m.pool)}
	scope, _ := e.pools[m.pool].scope(mapping.Endpoint{})
	external, _, why := c.mapped(s, s.sub(key), key, space, internal, scope, mapping.Endpoint{})
	if why != ReasonNone {
		e.refused(s, key, space, why)
		return refuse(why, "")
	}
	s.table.Keep(key.realm, space, internal, scope, r.Lifetime, s.tick)
	return external.AddrPort(), nil
}

// Unmap ends the lifetime of an explicit mapping; the mapping goes when no
// session uses it any more. It reports whether the internal endpoint has an explicit mapping. Lifetime does not count.
func (e *Engine) Unmap(r MapRequest, now time.Time) bool {
	r.Lifetime = time.Second
	space, internal, rule := r.parse()
	if rule != "" {
		return false
	}
	m := e.match(r.Realm, internal.Addr, 0, r.Protocol)
	if m == nil || m.action != Translate {
		return false
	}
	scope, _ := e.pools[m.pool].scope(mapping.Endpoint{})
	c := e.call(now)
	s := c.lock(e.shardOf(uint16(r.Realm), internal.Addr))
	defer c.unlock()
	return s.table.Release(uint16(r.Realm), space, internal, scope, s.tick)
}

func (r *MapRequest) parse() (space portblock.Space, internal mapping.Endpoint, rule string) {
	switch r.Protocol {
	case rewrite.ProtoTCP:
		space = portblock.TCP
	case rewrite.ProtoUDP:
		space = portblock.UDP
	case rewrite.ProtoUDPLite:
		space = mapping.UDPLite
	case rewrite.ProtoICMP:
		space = portblock.ICMP
	default:
		return 0, internal, "the protocol must be TCP (6), UDP (17), UDP-Lite (136) or ICMP (1)"
	}
	internal, ok := mapping.EndpointOf(r.Internal)
	switch {
	case !ok:
		return 0, internal, "the internal endpoint must be IPv4"
	case internal.Port == 0 && space != portblock.ICMP:
		return 0, internal, "the internal port must not be 0"
	case r.Lifetime < time.Millisecond || r.Lifetime > mapping.MaxIdle:
		return 0, internal, fmt.Sprintf("the lifetime must be from 1ms to %v", mapping.MaxIdle)
	}
	return space, internal, ""
}
