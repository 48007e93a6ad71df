package natcore_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// example is the map of RFC 7422 section 2.3: 14 subscribers with 4032 ports each on 192.0.2.1, and
// 8064 dynamic ports from 57472 on.
func example(t *testing.T, change func(*deterministic.Config)) *deterministic.Map {
	t.Helper()
	cfg := deterministic.Config{
		Internal: deterministic.Spans("198.51.100.0/28"), External: deterministic.Spans("192.0.2.1"),
		SharingRatio: 14, DynamicFactor: 2, MaxPorts: 5040,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := deterministic.New(cfg)
	require.NoError(t, err)
	return m
}

func fixedNAT(t *testing.T, m *deterministic.Map, change ...func(*natcore.Config)) *nat {
	t.Helper()
	return newNAT(t, append([]func(*natcore.Config){func(c *natcore.Config) {
		c.Pools[0].Map, c.Pools[0].Addresses = m, nil
		c.Pools[0].Blocks.BlockSize = 64
	}}, change...)...)
}

// blockRecords returns the records of blocks, without those of epochs and events.
func (n *nat) blockRecords() []logging.Record {
	var blocks []logging.Record
	for _, r := range n.log.Records() {
		if r.Kind == logging.BlockAllocated || r.Kind == logging.BlockReleased {
			blocks = append(blocks, r)
		}
	}
	return blocks
}

// TestRFC7422_DeterministicFirstThenBlocks walks through the worked example: deterministic
// ports without a record (7422-10, 7422-13), at random (7422-11), then blocks of the dynamic range, each with a
// record (7422-15), until M is reached (7422-16); the other subscriber is untouched (B9).
func TestRFC7422_DeterministicFirstThenBlocks(t *testing.T) {
	for _, shards := range []int{1, 8} {
		n := fixedNAT(t, example(t, nil), func(c *natcore.Config) { c.Shards = shards })
		one, two := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
		dst := endpoint(server1, 443)
		rising := 0
		last := 0
		for i := range 4032 {
			e := n.out(t, udp, endpoint(one, 1000+i), dst)
			require.Equal(t, "192.0.2.1", e.Addr().String())
			require.True(t, 1024 <= e.Port() && e.Port() <= 5055, "port %d", e.Port())
			if int(e.Port()) > last {
				rising++
			}
			last = int(e.Port())
		}
		require.Empty(t, n.blockRecords())
		require.InDelta(t, 2016, rising, 200, "the ports come at random")
		// M - P = 1008: fifteen blocks of 64 ports.
		for i := range 15 * 64 {
			e := n.out(t, udp, endpoint(one, 10000+i), dst)
			require.True(t, e.Port() >= 57472, "port %d", e.Port())
			require.Len(t, n.blockRecords(), i/64+1)
		}
		_, verdict, why := n.try(t, udp, endpoint(one, 20000), dst)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonBlockLimit, why)
		// TCP does not share the ports with UDP, and subscriber 2 has his own.
		e := n.out(t, tcp, endpoint(one, 20000), dst)
		require.True(t, 1024 <= e.Port() && e.Port() <= 5055)
		e = n.out(t, udp, endpoint(two, 1), dst)
		require.True(t, 5056 <= e.Port() && e.Port() <= 9087)
		i, verdict, why := n.in(t, udp, dst, e)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, endpoint(two, 1), i)
		check(t, n)
		n.wait(time.Hour)
		n.expire()
		n.wait(time.Hour)
		n.expire()
		require.Zero(t, n.Stats().Subscribers)
		require.Len(t, n.blockRecords(), 30)
	}
}

// TestRFC7422_14_NoDynamicRange: without D the port after the last one is refused, and nothing is ever recorded but the parameters.
func TestRFC7422_14_NoDynamicRange(t *testing.T) {
	n := fixedNAT(t, example(t, func(c *deterministic.Config) {
		c.DynamicFactor, c.MaxPorts, c.SharingRatio = 0, 0, 64
		c.Internal = deterministic.Spans("10.0.0.0/26")
		c.IncludeBoundaryAddresses = true
	}))
	for i := range 1008 {
		n.out(t, icmp, endpoint(hostA, 1000+i), endpoint(server1, 0))
	}
	_, verdict, why := n.try(t, icmp, endpoint(hostA, 5000), endpoint(server1, 0))
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonPortLimit, why)
	_, _, why = n.try(t, udp, endpoint(netip.MustParseAddr("10.0.1.0"), 1), endpoint(server1, 1))
	require.Equal(t, natcore.ReasonNotSubscriber, why)
	require.Empty(t, n.blockRecords())
	check(t, n)
}

// TestRFC7422_19_20_21_ParametersAreRecorded: New records all parameters of a map,
// then every day once more; a log that refuses them refuses the engine.
func TestRFC7422_19_20_21_ParametersAreRecorded(t *testing.T) {
	m := example(t, nil)
	n := fixedNAT(t, m, func(c *natcore.Config) { c.Pools[0].Epoch = 7 })
	require.Equal(t, 1, n.log.Len())
	n.wait(24*time.Hour - time.Millisecond)
	n.expire()
	require.Equal(t, 1, n.log.Len())
	n.wait(time.Millisecond)
	n.expire()
	require.Equal(t, 2, n.log.Len())
	for _, r := range n.log.Records() {
		require.Equal(t, logging.ConfigEpoch, r.Kind)
		epoch, err := deterministic.ParseRecord([]byte(r.Detail))
		require.NoError(t, err)
		again, err := deterministic.New(epoch.Config)
		require.NoError(t, err)
		require.Equal(t, m.Config(), again.Config())
		require.Equal(t, began, epoch.From)
		require.EqualValues(t, 7, epoch.Number)
	}
	cfg := config(logging.LogFunc(func(*logging.Record) error { return errors.New("full") }))
	cfg.Pools[0].Map, cfg.Pools[0].Addresses = m, nil
	_, err := natcore.New(cfg, began)
	require.ErrorContains(t, err, "full")
}

// TestDeterministicAndBlocksAtOnce: two pools of one engine, one by formula and one by blocks.
func TestDeterministicAndBlocksAtOnce(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools = append(c.Pools, natcore.PoolConfig{Name: "fixed", Map: example(t, nil)})
		c.Rules = []natcore.Rule{{Internal: netip.MustParsePrefix("198.51.100.0/28"), Pool: "fixed"}, {Pool: "cgn"}}
	})
	require.Equal(t, "192.0.2.1", n.out(t, tcp, endpoint(netip.MustParseAddr("198.51.100.3"), 1), endpoint(server1, 1)).Addr().String())
	require.Equal(t, "203.0.113", n.out(t, tcp, endpoint(hostA, 1), endpoint(server1, 1)).Addr().String()[:9])
	check(t, n)
}

func TestDeterministicConfigFaults(t *testing.T) {
	m := example(t, nil)
	for field, change := range map[string]func(*natcore.Config){
		"Pools[0].Addresses":    func(c *natcore.Config) { c.Pools[0].Addresses = config(nil).Pools[0].Addresses },
		"Pools[0].Mapping":      func(c *natcore.Config) { c.Pools[0].Mapping = natcore.AddressDependent },
		"Pools[0].Blocks.Ports": func(c *natcore.Config) { c.Pools[0].Blocks.Ports = portblock.RangeOf(2000, 3000) },
		"Pools[0].Map": func(c *natcore.Config) {
			c.Pools[0].Map = example(t, func(d *deterministic.Config) {
				d.Algorithm, d.External, d.SharingRatio, d.MaxPorts = deterministic.RoundRobin, deterministic.Spans("192.0.2.0/31"), 0, 0
			})
		},
		"Rules[0].Realm": func(c *natcore.Config) { c.Rules = []natcore.Rule{{Realm: 3, Pool: "cgn"}} },
	} {
		cfg := config(logging.Discard)
		cfg.Pools[0].Map, cfg.Pools[0].Addresses = m, nil
		change(&cfg)
		_, err := natcore.New(cfg, began)
		require.Error(t, err, field)
		require.Contains(t, faultsOf(t, err), field, "%v", err)
	}
}
