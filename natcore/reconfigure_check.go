package natcore

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/blocknat/blocknat/mapping"
)

// same checks that what cannot change is as it was.
func (c *change) same() {
	old, next := &c.e.cfg, &c.cfg
	for _, v := range []struct {
		name      string
		was, is   any
		otherwise string
	}{
		{"Seed", old.Seed, next.Seed, "all that was drawn comes from it"},
		{"Shards", old.Shards, next.Shards, "subscribers are spread over them"},
		{"Instance", old.Instance, next.Instance, "records carry it"},
		{"Host", old.Host, next.Host, "records carry it"},
		{"HostEpoch", old.HostEpoch, next.HostEpoch, "records carry it"},
		{"LogPolicy", old.LogPolicy, next.LogPolicy, "make another engine"},
		{"KeepID", old.KeepID, next.KeepID, "make another engine"},
		{"MSS", old.MSS, next.MSS, "make another engine"},
		{"ICMP", old.ICMP, next.ICMP, "make another engine"},
		{"RefreshInbound", old.RefreshInbound, next.RefreshInbound, "make another engine"},
		{"Events.Interval", old.Events.Interval, next.Events.Interval, "make another engine"},
		{"Static", c.e.given.Static, next.Static, "AddStatic, RemoveStatic and SetServers change static mappings"},
		{"Peerings", c.e.given.Peerings, next.Peerings, "make another engine"},
		{"Protocols", c.e.given.Protocols, next.Protocols, "make another engine"},
	} {
		if !reflect.DeepEqual(v.was, v.is) && !(reflect.ValueOf(v.was).Kind() == reflect.Slice && reflect.ValueOf(v.was).Len()+reflect.ValueOf(v.is).Len() == 0) {
			value := any("another one")
			if v.name != "Seed" {
				value = v.is
			}
			c.faults.add(v.name, value, "cannot change on a live engine: "+v.otherwise)
		}
	}
	for i, r := range next.Rules {
		if n := next.pool(r.Pool); r.Action == Translate && n >= 0 && n < len(c.pools) && c.pools[n].gone {
			c.faults.add(fmt.Sprintf("Rules[%d].Pool", i), fmt.Sprintf("%q", r.Pool), "must name one of Pools")
		}
	}
}

// overlaps checks that no address is of two pools, or goes to another pool while it is in use or rests in this one.
func (c *change) overlaps() {
	type claim struct {
		addresses [2]uint32
		pool      int
		stays     bool
	}
	const shared, busy = "shares addresses with pool %q: one port space has one allocator",
		"is still in use or rests in pool %q: withdraw it there, and add it here when it is free"
	var all []claim
	for i := range c.pools {
		for _, r := range c.pools[i].want {
			all = append(all, claim{r, i, false})
		}
		for _, r := range c.pools[i].stays {
			all = append(all, claim{r, i, true})
		}
	}
	slices.SortStableFunc(all, func(a, b claim) int { return cmp.Compare(a.addresses[0], b.addresses[0]) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if b.addresses[0] > a.addresses[1] || a.pool == b.pool {
			continue
		}
		if b.stays || !a.stays && b.pool < a.pool { // a is the owner
			a, b = b, a
		}
		why := shared
		if a.stays {
			why = busy
		}
		c.faults.add(fmt.Sprintf("Pools[%d].Addresses", b.pool),
			fmt.Sprintf("%v-%v", mapping.Addr4(max(a.addresses[0], b.addresses[0])), mapping.Addr4(min(a.addresses[1], b.addresses[1]))),
			fmt.Sprintf(why, c.cfg.Pools[a.pool].Name))
	}
}
