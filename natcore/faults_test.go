package natcore_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestSilentFaults: what would have no effect, or another than its writer thinks, is refused with the field's name and what to do; what is right beside it is not.
func TestSilentFaults(t *testing.T) {
	var none *logging.Memory
	for name, v := range map[string]struct {
		change func(c *natcore.Config)
		field  string // that is refused, or empty
		rule   string
	}{
		"a nil pointer as log": {func(c *natcore.Config) { c.Log = none }, "Log", "logging.Discard"},
		"a log":                {func(c *natcore.Config) { c.Log = logging.Discard }, "", ""},
		"a realm without a rule": {func(c *natcore.Config) {
			c.Quotas.Realms = map[natcore.Realm]natcore.Quota{4: {Sessions: 1}}
		}, "Quotas.Realms[4]", "a rule, a Static or a Peering"},
		"an override of a realm without a rule": {func(c *natcore.Config) {
			c.Quotas.Overrides = []natcore.Override{{Realm: 4, Internal: netip.PrefixFrom(hostA, 32)}}
		}, "Quotas.Overrides[0].Realm", "a rule, a Static or a Peering"},
		"a reserve for a realm without a rule": {func(c *natcore.Config) {
			c.Quotas.Reserved = []natcore.Traffic{{Realms: []natcore.Realm{0, 4}}}
		}, "Quotas.Reserved[0].Realms", "a rule, a Static or a Peering"},
		"the external realm": {func(c *natcore.Config) {
			c.Peerings = []natcore.Peering{{Name: "p", From: 0, To: natcore.ExternalRealm, Destination: prefix("192.0.2.0/24"), Source: prefix("10.0.0.0/24"), SourceAs: prefix("198.18.0.0/24")}}
			c.Quotas.Realms = map[natcore.Realm]natcore.Quota{natcore.ExternalRealm: {Sessions: 1}}
		}, "Quotas.Realms[65535]", "a rule, a Static or a Peering"},
		"realms of all kinds": {func(c *natcore.Config) {
			c.Rules = []natcore.Rule{{Realm: 1, Pool: "cgn"}}
			c.Static = []natcore.Static{{Name: "s", Realm: 2, External: ip("192.0.2.1"), Internal: hostA}}
			c.Peerings = []natcore.Peering{{Name: "p", From: 3, To: 4, Destination: prefix("192.0.2.0/24")}}
			c.Quotas.Realms = map[natcore.Realm]natcore.Quota{1: {Sessions: 1}, 2: {Sessions: 1}, 3: {Sessions: 1}, 4: {Sessions: 1}}
		}, "", ""},
		"a low mark of pools alone":          {func(c *natcore.Config) { c.Events = natcore.Events{PoolLow: 50} }, "Events.PoolLow", "PoolHigh"},
		"a low mark of subscribers alone":    {func(c *natcore.Config) { c.Events = natcore.Events{SubscriberLow: 95} }, "Events.SubscriberLow", "SubscriberHigh"},
		"a high mark alone":                  {func(c *natcore.Config) { c.Events = natcore.Events{PoolHigh: 50, SubscriberHigh: 5} }, "", ""},
		"more for one receiver than for all": {func(c *natcore.Config) { c.ICMP.PerSecond, c.ICMP.PerReceiver = 20, 21 }, "ICMP.PerReceiver", "PerSecond, which is 20"},
		"more than the default for all":      {func(c *natcore.Config) { c.ICMP.PerReceiver = 1001 }, "ICMP.PerReceiver", "PerSecond, which is 1000"},
		"more SYNs of one than of all":       {func(c *natcore.Config) { c.ICMP.SYNs, c.ICMP.SYNsPerAddress = 8, 9 }, "ICMP.SYNsPerAddress", "SYNs, which is 8"},
		"few for all":                        {func(c *natcore.Config) { c.ICMP.PerSecond, c.ICMP.SYNs = 5, 3 }, "", ""},
		"as much for one as for all":         {func(c *natcore.Config) { c.ICMP.PerSecond, c.ICMP.PerReceiver = 20, 20 }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(logging.NewMemory(0))
			v.change(&cfg)
			_, err := natcore.New(cfg, began)
			if v.field == "" {
				require.NoError(t, err)
				return
			}
			var fault *natcore.FieldError
			require.True(t, errors.As(err, &fault))
			require.Equal(t, v.field, fault.Field)
			require.Contains(t, fault.Rule, v.rule)
			require.NotContains(t, err.Error(), "\n", "one fault, one error")
		})
	}
}

// TestQuotaOfALiveRealm: a realm that AddStatic has brought may have a quota from then on.
func TestQuotaOfALiveRealm(t *testing.T) {
	n := newNAT(t)
	cfg := n.Config()
	cfg.Quotas.Realms = map[natcore.Realm]natcore.Quota{5: {Sessions: 1}}
	_, err := n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, "Quotas.Realms[5]")
	require.NoError(t, n.AddStatic([]natcore.Static{{Name: "s", Realm: 5, External: ip("192.0.2.9"), Internal: hostA}}, natcore.RefuseConflicts, n.now))
	_, err = n.Reconfigure(cfg, n.now)
	require.NoError(t, err)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 5, udp, endpoint(hostA, 1), s1p1))
	require.Equal(t, natcore.ReasonRealmLimit, n.refusal(t, 5, udp, endpoint(hostA, 2), s1p1))
	check(t, n)
}
