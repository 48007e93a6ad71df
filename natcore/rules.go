package natcore

import (
	"net/netip"

	"github.com/blocknat/blocknat/mapping"
)

// rule is a Rule as numbers, so that a match is two masked compares.
type rule struct {
	realm                uint16
	proto                uint8
	action               Action
	pool                 int16
	internal, internMask uint32
	remote, remoteMask   uint32
}

func newRules(c *Config) *[]rule {
	rules := make([]rule, len(c.Rules))
	for i, r := range c.Rules {
		rules[i] = rule{realm: uint16(r.Realm), proto: r.Protocol, action: r.Action, pool: int16(c.pool(r.Pool))}
		rules[i].internal, rules[i].internMask = masked(r.Internal)
		rules[i].remote, rules[i].remoteMask = masked(r.Remote)
	}
	return &rules
}

// masked returns a prefix as an address and a mask; the zero prefix covers all.
func masked(p netip.Prefix) (addr, mask uint32) {
	if !p.IsValid() {
		return 0, 0
	}
	mask = mask4(p.Bits())
	return mapping.Number4(p.Addr()) & mask, mask
}

// match returns the first rule that covers an outbound packet, or nil.
func (e *Engine) match(realm Realm, internal, remote uint32, proto uint8) *rule {
	rules := *e.rules.Load()
	for i := range rules {
		r := &rules[i]
		if r.realm == uint16(realm) && r.covers(internal, remote, proto) {
			return r
		}
	}
	return nil
}

// covers reports whether a flow between an internal and a remote address is the rule's, apart from its realm.
func (r *rule) covers(internal, remote uint32, proto uint8) bool {
	return (r.proto == 0 || r.proto == proto) && internal&r.internMask == r.internal && remote&r.remoteMask == r.remote
}
