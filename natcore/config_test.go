package natcore_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// faultsOf flattens a joined error into the fields that it complains about.
func faultsOf(t *testing.T, err error) map[string]string {
	t.Helper()
	fields := map[string]string{}
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		var f *natcore.FieldError
		require.ErrorAs(t, err, &f, "%v", err)
		require.NotEmpty(t, f.Rule)
		fields[f.Field] = f.Rule
	}
	walk(err)
	return fields
}

// TestPoolTooLarge gives a pool so many addresses that the owners of its blocks would not fit into memory.
func TestPoolTooLarge(t *testing.T) {
	cfg := config(logging.Discard)
	cfg.Pools[0].Addresses = alloc.MustParseRanges("10.0.0.0/5")
	_, err := natcore.New(cfg, began)
	require.Contains(t, faultsOf(t, err)["Pools[0].Addresses"], "2^33 blocks")

	cfg.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/24")
	e, err := natcore.New(cfg, began)
	require.NoError(t, err)
	cfg.Pools[0].Addresses = alloc.MustParseRanges("192.0.0.0/5")
	_, err = e.Reconfigure(cfg, began)
	require.Contains(t, faultsOf(t, err)["Pools[0].Addresses"], "2^33 blocks")
}

// TestConfigFaults breaks one field at a time and requires that the error names it.
func TestConfigFaults(t *testing.T) {
	prefix6 := netip.MustParsePrefix("2001:db8::/32")
	for field, change := range map[string]func(*natcore.Config){
		"Seed":                           func(c *natcore.Config) { c.Seed = [32]byte{} },
		"Log":                            func(c *natcore.Config) { c.Log = nil },
		"LogPolicy":                      func(c *natcore.Config) { c.LogPolicy = 9 },
		"Shards":                         func(c *natcore.Config) { c.Shards = 3 },
		"Pools":                          func(c *natcore.Config) { c.Pools = nil },
		"Pools[0].Name":                  func(c *natcore.Config) { c.Pools[0].Name = "" },
		"Pools[0].Addresses":             func(c *natcore.Config) { c.Pools[0].Addresses = nil },
		"Pools[0].Addresses[0]":          func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("2001:db8::/64") },
		"Pools[0].Mapping":               func(c *natcore.Config) { c.Pools[0].Mapping = 3 },
		"Pools[0].Filtering":             func(c *natcore.Config) { c.Pools[0].Filtering = 3 },
		"Pools[0].SubscribersPerAddress": func(c *natcore.Config) { c.Pools[0].SubscribersPerAddress = -1 },
		"Pools[0].Blocks.BlockSize":      func(c *natcore.Config) { c.Pools[0].Blocks.BlockSize = 100 },
		"Pools[0].Blocks.Scheme":         func(c *natcore.Config) { c.Pools[0].Blocks.Scheme = portblock.GMA },
		"Pools[0].Blocks.Spaces":         func(c *natcore.Config) { c.Pools[0].Blocks.Spaces = portblock.TCP.Set() },
		"Pools[1].Addresses": func(c *natcore.Config) {
			c.Pools = append(c.Pools, natcore.PoolConfig{Name: "other", Addresses: alloc.MustParseRanges("203.0.113.0/24")})
		},
		"Pools[1].Name": func(c *natcore.Config) {
			c.Pools = append(c.Pools, natcore.PoolConfig{Name: "cgn", Addresses: alloc.MustParseRanges("192.0.2.1")})
		},
		"Pools[1].ID": func(c *natcore.Config) {
			c.Pools = append(c.Pools, natcore.PoolConfig{Name: "b", ID: 1, Addresses: alloc.MustParseRanges("192.0.2.1")})
		},
		"Pools[0].Epoch":          func(c *natcore.Config) { c.Pools[0].Epoch = 2 },
		"Pools[0].Exclude":        func(c *natcore.Config) { c.Pools[0].Exclude = c.Pools[0].Addresses },
		"Rules[0].Pool":           func(c *natcore.Config) { c.Rules = []natcore.Rule{{Pool: "nobody"}} },
		"Rules[0].Internal":       func(c *natcore.Config) { c.Rules = []natcore.Rule{{Pool: "cgn", Internal: prefix6}} },
		"Rules[0].Protocol":       func(c *natcore.Config) { c.Rules = []natcore.Rule{{Pool: "cgn", Protocol: 47}} },
		"Rules[0].Action":         func(c *natcore.Config) { c.Rules = []natcore.Rule{{Pool: "cgn", Action: 7}} },
		"Timeouts.UDP":            func(c *natcore.Config) { c.Timeouts.UDP = 119 * time.Second },
		"Timeouts.ICMP":           func(c *natcore.Config) { c.Timeouts.ICMP = 59 * time.Second },
		"Timeouts.TCPEstablished": func(c *natcore.Config) { c.Timeouts.TCPEstablished = time.Hour },
		"Timeouts.TCPClosing":     func(c *natcore.Config) { c.Timeouts.TCPClosing = -1 },
		"Timeouts.TCPOpening":     func(c *natcore.Config) { c.Timeouts.TCPOpening = 365 * 24 * time.Hour },
		"Timeouts.Fragment":       func(c *natcore.Config) { c.Timeouts.Fragment = time.Second },
		"Limits.Sessions":         func(c *natcore.Config) { c.Limits.Sessions = -5 },
	} {
		cfg := config(logging.Discard)
		change(&cfg)
		_, err := natcore.New(cfg, began)
		require.Error(t, err, field)
		require.Contains(t, faultsOf(t, err), field, "%v", err)
	}
}

// TestRuleProtocols: a rule to translate names what the engine translates, other rules any protocol; a pool may be without a rule.
func TestRuleProtocols(t *testing.T) {
	cfg := config(logging.Discard)
	cfg.Protocols = []uint8{47}
	cfg.Pools = append(cfg.Pools, natcore.PoolConfig{Name: "spare", Addresses: alloc.MustParseRanges("192.0.2.1")})
	for _, protocol := range []uint8{1, 6, 17, 47, 136} {
		cfg.Rules = append(cfg.Rules, natcore.Rule{Pool: "cgn", Protocol: protocol})
	}
	cfg.Rules = append(cfg.Rules, natcore.Rule{Action: natcore.Exempt, Protocol: 50}, natcore.Rule{Action: natcore.Refuse, Protocol: 51}, natcore.Rule{Pool: "cgn"})
	_, err := natcore.New(cfg, began)
	require.NoError(t, err)
}

// TestPoolAddressesAreUnicast: a range that touches what is nobody's address is a fault, its neighbours are none.
func TestPoolAddressesAreUnicast(t *testing.T) {
	for text, fault := range map[string]bool{
		"0.0.0.0-1.0.0.0": true, "0.255.255.255": true, "1.0.0.0-1.0.0.3": false,
		"126.255.255.255": false, "126.255.255.255-127.0.0.0": true, "127.0.0.1": true, "126.255.255.254-128.0.0.1": true, "128.0.0.0": false,
		"223.255.255.255": false, "223.255.255.255-224.0.0.0": true, "239.255.255.255": true, "240.0.0.0": false, "255.255.255.254": false, "255.255.255.255": true,
	} {
		cfg := config(logging.Discard)
		cfg.Pools[0].Addresses = alloc.MustParseRanges(text)
		_, err := natcore.New(cfg, began)
		require.Equal(t, fault, err != nil, "%s: %v", text, err)
		if fault {
			require.Contains(t, faultsOf(t, err), "Pools[0].Addresses[0]", text)
		}
	}
}

// TestConfigFaultsTogether: all faults come at once, with field, value and rule in the text.
func TestConfigFaultsTogether(t *testing.T) {
	cfg := natcore.Config{
		Shards:   5,
		Timeouts: natcore.Timeouts{UDP: time.Second},
		Pools: []natcore.PoolConfig{
			{Blocks: portblock.Config{BlockSize: 100, HoldDown: -7}},
			{Name: "a", Addresses: alloc.MustParseRanges("203.0.113.0/24")},
			{Name: "b", Addresses: alloc.MustParseRanges("203.0.113.7")},
		},
	}
	_, err := natcore.New(cfg, began)
	fields := faultsOf(t, err)
	for _, f := range []string{
		"Seed", "Log", "Shards", "Timeouts.UDP", "Pools[0].Name", "Pools[0].Addresses", "Pools[0].Blocks.BlockSize", "Pools[0].Blocks.HoldDown",
		"Pools[2].Addresses",
	} {
		require.Contains(t, fields, f, "%v", err)
	}
	require.Contains(t, err.Error(), "natcore: Timeouts.UDP = 1s: must be at least 2m0s (RFC 4787 REQ-5); AllowShort lifts this in a laboratory")
	require.Equal(t, len(fields), len(strings.Split(err.Error(), "\n")))
}

// TestTimeMustBeSet: records carry it.
func TestTimeMustBeSet(t *testing.T) {
	_, err := natcore.New(config(logging.Discard), time.Time{})
	require.Contains(t, faultsOf(t, err), "now")
}

// TestConfigIsCopied: the caller's configuration is neither changed nor kept.
func TestConfigIsCopied(t *testing.T) {
	cfg := config(logging.Discard)
	before := cfg
	before.Pools = append([]natcore.PoolConfig(nil), cfg.Pools...)
	e, err := natcore.New(cfg, began)
	require.NoError(t, err)
	require.Equal(t, before, cfg)
	cfg.Pools[0].Name = "changed"
	require.Equal(t, "cgn", e.Stats().Pools[0].Name)
}

func TestExplicitMappings(t *testing.T) {
	n := newNAT(t)
	r := natcore.MapRequest{Internal: endpoint(hostA, 80), Protocol: 6, Lifetime: time.Hour}
	e, err := n.Map(r, n.now)
	require.NoError(t, err)
	require.True(t, n.External(e.Addr()))
	again, err := n.Map(r, n.now)
	require.NoError(t, err)
	require.Equal(t, e, again, "an internal endpoint keeps its mapping")

	i, verdict, why := n.in(t, tcp, endpoint(server1, 50000), e, tcpFlags{syn: true, seq: 1})
	require.Equal(t, natcore.Forward, verdict, why)
	require.Equal(t, endpoint(hostA, 80), i)
	require.Equal(t, e, n.out(t, tcp, endpoint(hostA, 80), endpoint(server1, 50000), tcpFlags{syn: true, ack: true, seq: 9}))
	require.Equal(t, e, n.out(t, tcp, endpoint(hostA, 80), endpoint(server2, 1), tcpFlags{syn: true, seq: 9}), "RFC 4787 REQ-1")

	n.wait(time.Hour - time.Millisecond)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Mappings, "a tick before the lifetime's end")
	check(t, n)
	n.wait(time.Millisecond)
	n.expire()
	require.Zero(t, n.Stats().Mappings)

	_, err = n.Map(r, n.now)
	require.NoError(t, err)
	require.True(t, n.Unmap(r, n.now))
	n.expire()
	require.Zero(t, n.Stats().Mappings)
	require.False(t, n.Unmap(r, n.now))

	for name, bad := range map[string]natcore.MapRequest{
		"protocol": {Internal: endpoint(hostA, 80), Protocol: 47, Lifetime: time.Hour},
		"port":     {Internal: endpoint(hostA, 0), Protocol: 6, Lifetime: time.Hour},
		"lifetime": {Internal: endpoint(hostA, 80), Protocol: 6},
		"family":   {Internal: netip.MustParseAddrPort("[2001:db8::1]:80"), Protocol: 6, Lifetime: time.Hour},
		"own":      {Internal: netip.MustParseAddrPort("203.0.113.5:80"), Protocol: 6, Lifetime: time.Hour},
		"realm":    {Realm: 9, Internal: endpoint(hostA, 80), Protocol: 6, Lifetime: time.Hour},
	} {
		_, err := n.Map(bad, n.now)
		var refusal *natcore.RefusalError
		require.True(t, errors.As(err, &refusal), name)
	}
}

func TestRules_ExemptRefuseAndRealms(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "dns", Addresses: alloc.MustParseRanges("192.0.2.1")})
		c.Rules = []natcore.Rule{
			{Remote: netip.MustParsePrefix("198.51.100.20/32"), Action: natcore.Exempt},
			{Internal: netip.MustParsePrefix("10.0.0.3/32"), Protocol: 6, Action: natcore.Refuse},
			{Protocol: 17, Pool: "dns"},
			{Pool: "cgn"},
			{Realm: 7, Pool: "cgn"},
		}
	})
	b := build(t, udp, endpoint(hostA, 1), endpoint(server2, 53), nil, tcpFlags{})
	before := append([]byte(nil), b...)
	verdict, _ := n.Outbound(b, n.now)
	require.Equal(t, natcore.Bypass, verdict, "RFC 6888 REQ-6")
	require.Equal(t, before, b)
	_, verdict, why := n.try(t, tcp, endpoint(hostB, 1), endpoint(server1, 443))
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonRuleDrop, why)
	require.Equal(t, "192.0.2.1", n.out(t, udp, endpoint(hostB, 1), endpoint(server1, 53)).Addr().String())
	one := n.out(t, tcp, endpoint(hostA, 1), endpoint(server1, 443))

	// The same internal endpoint in another realm is another subscriber (H31, RFC 4787 REQ-7).
	p := []natcore.Packet{{Bytes: build(t, tcp, endpoint(hostA, 1), endpoint(server1, 443), nil, tcpFlags{syn: true}), Realm: 7}}
	n.Process(p, n.now)
	require.Equal(t, natcore.Forward, p[0].Verdict)
	two := read(t, p[0].Bytes).src
	require.NotEqual(t, one, two)
	p[0] = natcore.Packet{Bytes: build(t, tcp, endpoint(server1, 443), two, nil, tcpFlags{syn: true, ack: true}), Direction: natcore.Inbound}
	n.Process(p, n.now)
	require.Equal(t, natcore.Forward, p[0].Verdict)
	require.Equal(t, natcore.Realm(7), p[0].Realm)
	require.Equal(t, endpoint(hostA, 1), read(t, p[0].Bytes).dst)
	p[0] = natcore.Packet{Bytes: build(t, tcp, endpoint(hostA, 1), endpoint(server1, 443), nil, tcpFlags{syn: true}), Realm: 8}
	n.Process(p, n.now)
	require.Equal(t, natcore.ReasonNoRule, p[0].Reason)
	check(t, n)
}
