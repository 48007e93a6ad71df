package natcore

import (
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// What a configuration says and what can never have an effect is a fault: who says it means something else. What follows finds it where one
// thing hides another that says otherwise, or stands alone that only counts with another. What is said twice is none.

// checkVain tells of it.
func (c *Config) checkVain(f *faults) {
	for i := range c.Rules {
		for j := range c.Rules[:i] {
			if c.Rules[j].hides(&c.Rules[i]) {
				f.add(fmt.Sprintf("Rules[%d]", i), c.Rules[i].Action, fmt.Sprintf("must match something that Rules[%d] does not, or say the same: the first match counts, so move it before that one or drop it", j))
				break
			}
		}
	}
	c.Quotas.checkVain(f)
	if c.Events.Destinations && !c.Events.Sessions {
		f.add("Events.Destinations", true, "must be false where Sessions is: no record names a destination else, but those of protocols without ports, which always do")
	}
}

// hides reports whether a rule matches all that another one does, and says otherwise.
func (r *Rule) hides(o *Rule) bool {
	return (r.Action != o.Action || r.Pool != o.Pool) && r.Realm == o.Realm && (r.Protocol == 0 || r.Protocol == o.Protocol) && inside(o.Internal, r.Internal) && inside(o.Remote, r.Remote)
}

// inside reports whether a prefix holds all of another one; the zero prefix is all addresses.
func inside(p, of netip.Prefix) bool {
	none := netip.Prefix{}
	return of == none || p != none && of.Bits() <= p.Bits() && of.Contains(p.Addr())
}

// checkVain is that of Config; place is that of one of Ports.
func (t *Timeouts) checkVain(f *faults, place int) {
	v := &t.Ports[place]
	for j, w := range t.Ports[:place] {
		if w.Protocol == v.Protocol && w.Idle != v.Idle && w.Ports.Contains(v.Ports.First()) && w.Ports.Contains(v.Ports.Last()) {
			f.add(fmt.Sprintf("Timeouts.Ports[%d]", place), v.Ports, fmt.Sprintf("must have a port that Timeouts.Ports[%d] does not, or the same Idle: the first that has it counts, so move it before that one or drop it", j))
			return
		}
	}
}

// checkVain is that of Config.
func (q *Quotas) checkVain(f *faults) {
	type subscribers struct {
		realm    Realm
		internal netip.Prefix
	}
	first := map[subscribers]int{}
	for i := range q.Overrides {
		o := &q.Overrides[i]
		k := subscribers{o.Realm, o.Internal.Masked()}
		if j, taken := first[k]; taken {
			if q.Overrides[j].Quota == o.Quota {
				continue
			}
			f.add(fmt.Sprintf("Quotas.Overrides[%d]", i), o.Internal, fmt.Sprintf("must be of other subscribers than Quotas.Overrides[%d], or say the same: one of them would not count", j))
			continue
		}
		first[k] = i
	}
	for i, t := range q.Reserved {
		switch t.Protocol {
		case 0, rewrite.ProtoTCP, rewrite.ProtoUDP, rewrite.ProtoUDPLite:
		default:
			if t.RemotePort != 0 {
				f.add(fmt.Sprintf("Quotas.Reserved[%d].RemotePort", i), t.RemotePort, fmt.Sprintf("must be 0 with protocol %d, which has no ports", t.Protocol))
			}
		}
	}
}
