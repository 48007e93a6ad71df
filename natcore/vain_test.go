package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestNothingInVain: what a configuration says and what can never have an effect is a fault, which names it and says why.
func TestNothingInVain(t *testing.T) {
	rules := func(all ...natcore.Rule) func(*natcore.Config) {
		return func(c *natcore.Config) { c.Rules = all }
	}
	ports := func(all ...natcore.PortTimeout) func(*natcore.Config) {
		return func(c *natcore.Config) { c.Timeouts.Ports = all }
	}
	const day = 24 * time.Hour
	for _, v := range []struct {
		field  string // or empty
		change func(*natcore.Config)
	}{
		{"Rules[1]", rules(natcore.Rule{Pool: "cgn"}, natcore.Rule{Action: natcore.Exempt, Remote: prefix("198.51.100.0/24")})},
		{"Rules[2]", rules(natcore.Rule{Pool: "cgn", Internal: prefix("10.0.0.0/8"), Protocol: 6}, natcore.Rule{Pool: "cgn", Protocol: 17}, natcore.Rule{Action: natcore.Refuse, Internal: prefix("10.1.0.0/16"), Protocol: 6})},
		{"Rules[1]", rules(natcore.Rule{Action: natcore.Exempt, Internal: prefix("10.0.0.0/8")}, natcore.Rule{Pool: "cgn", Internal: prefix("10.0.0.0/8")})},
		{"", rules(natcore.Rule{Pool: "cgn", Internal: prefix("10.0.0.0/8")}, natcore.Rule{Pool: "cgn", Internal: prefix("10.1.0.0/16")})},
		{"", rules(natcore.Rule{Pool: "cgn", Internal: prefix("10.1.0.0/16")}, natcore.Rule{Pool: "cgn", Internal: prefix("10.0.0.0/8")}, natcore.Rule{Pool: "cgn"}, natcore.Rule{Realm: 1, Pool: "cgn"})},
		{"", rules(natcore.Rule{Action: natcore.Exempt, Remote: prefix("198.51.100.0/24")}, natcore.Rule{Pool: "cgn"})},
		{"Timeouts.Ports[1]", ports(natcore.PortTimeout{Protocol: 17, Ports: portblock.RangeOf(1, 100), Idle: time.Minute}, natcore.PortTimeout{Protocol: 17, Ports: portblock.RangeOf(53, 53), Idle: time.Second})},
		{"", ports(natcore.PortTimeout{Protocol: 17, Ports: portblock.RangeOf(53, 53), Idle: time.Minute}, natcore.PortTimeout{Protocol: 17, Ports: portblock.RangeOf(1, 100), Idle: time.Second},
			natcore.PortTimeout{Protocol: 6, Ports: portblock.RangeOf(53, 53), Idle: day})},
		{"Quotas.Overrides[1]", func(c *natcore.Config) {
			c.Quotas.Overrides = []natcore.Override{{Internal: prefix("10.0.0.0/24"), Quota: natcore.Quota{Ports: 5}}, {Internal: prefix("10.0.0.7/24"), Quota: natcore.Quota{Ports: 6}}}
		}},
		{"", func(c *natcore.Config) {
			c.Quotas.Overrides = []natcore.Override{{Internal: prefix("10.0.0.0/24"), Quota: natcore.Quota{Ports: 5}}, {Internal: prefix("10.0.0.7/25"), Quota: natcore.Quota{Ports: 6}}}
		}},
		{"", func(c *natcore.Config) {
			o := natcore.Override{Internal: prefix("10.0.0.0/24"), Quota: natcore.Quota{Ports: 5}}
			c.Quotas.Overrides = []natcore.Override{o, o}
		}},
		{"Quotas.Reserved[0].RemotePort", func(c *natcore.Config) { c.Quotas.Reserved = []natcore.Traffic{{Protocol: 1, RemotePort: 53}} }},
		{"Quotas.Realms[7]", func(c *natcore.Config) { c.Quotas.Realms = map[natcore.Realm]natcore.Quota{7: {Ports: 1}} }},
		{"Events.PoolLow", func(c *natcore.Config) { c.Events.PoolLow = 50 }},
		{"Events.Destinations", func(c *natcore.Config) { c.Events.Destinations = true }},
		{"Log", func(c *natcore.Config) { c.Log = (*logging.Memory)(nil) }},
	} {
		cfg := config(logging.Discard)
		v.change(&cfg)
		_, err := natcore.New(cfg, began)
		if v.field == "" {
			require.NoError(t, err)
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", v.field)
			continue
		}
		if all := faultsOf(t, err); all[v.field] == "" {
			t.Errorf("%s: %v", v.field, err)
		}
	}
}
