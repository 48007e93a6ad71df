package natcore_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// events switches events on, which the tests' configuration has off.
func events(v natcore.Events) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Events = v }
}

// records returns the records of a kind, and requires that the log could refuse none of them by its own rules.
func (n *nat) records(t failer, k logging.Kind) []logging.Record {
	t.Helper()
	var found []logging.Record
	for _, r := range n.log.Records() {
		require.NoError(t, r.Check())
		if r.Kind == k {
			found = append(found, r)
		}
	}
	return found
}

// TestRFC6888_11c_OperatorIsTold: each way in which resources run out writes a record that says what ran out, for whom and at which limit.
//
// Rows: 8158-02, 8158-Q1, 8158-Q3, 8158-Q4, 8158-Q5, 8158-E03, 8158-E12, 8158-E13.
func TestRFC6888_11c_OperatorIsTold(t *testing.T) {
	host2, host3 := hostA, hostB
	for _, v := range []struct {
		name   string
		change func(*natcore.Config)
		use    func(n *nat)
		want   logging.Record
	}{
		{"addresses", func(c *natcore.Config) { c.Pools[0].SubscribersPerAddress = 1 }, func(n *nat) {
			n.out(t, udp, endpoint(host2, 1), s1p1)
			n.out(t, udp, endpoint(host3, 1), s1p1)
			n.refusal(t, 0, udp, endpoint(host(9), 1), s1p1)
		}, logging.Record{Kind: logging.AddressesExhausted, Detail: "addresses exhausted"}},
		{"ports", small(1024, 1039, 16), func(n *nat) {
			for i := range 17 {
				n.refusal(t, 0, tcp, endpoint(host2, 1+i), s1p1)
			}
		}, logging.Record{Kind: logging.PortsExhausted, Protocol: 6, External: netip.MustParseAddr("203.0.113.5"), Detail: "blocks exhausted"}},
		{"ports of a subscriber", quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 2}}), func(n *nat) {
			for i := range 3 {
				n.refusal(t, 0, tcp, endpoint(host2, 1+i), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscriberMappings, Subscriber: host2, Used: 2, Max: 2, Detail: "port limit"}},
		{"sessions of a subscriber", func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 2 }, func(n *nat) {
			for i := range 3 {
				n.refusal(t, 0, udp, endpoint(host2, 1+i), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscriberMappings, Subscriber: host2, Used: 2, Max: 2, Detail: "session limit"}},
		{"sessions", func(c *natcore.Config) { c.Limits.Sessions = 2 }, func(n *nat) {
			for i := range 3 {
				n.refusal(t, 0, udp, endpoint(host(2+i), 1), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSessions, Used: 2, Max: 2, Detail: "session limit"}},
		{"subscribers", func(c *natcore.Config) { c.Limits.Subscribers = 2 }, func(n *nat) {
			for i := range 3 {
				n.refusal(t, 0, udp, endpoint(host(2+i), 1), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscribers, Used: 2, Max: 2, Detail: "subscriber limit"}},
		{"realm", quotas(natcore.Quotas{Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 2}}}), func(n *nat) {
			for i := range 3 {
				n.refusal(t, 0, udp, endpoint(host(2+i), 1), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSessions, Used: 2, Max: 2, Detail: "realm limit"}},
		{"blocks of a subscriber", func(c *natcore.Config) { c.Pools[0].Blocks.MaxBlocks = 1 }, func(n *nat) {
			for i := range 257 {
				n.refusal(t, 0, udp, endpoint(host2, 1+i), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscriberMappings, Subscriber: host2, Used: 1, Max: 1, Detail: "block limit"}},
		{"mapping rate", quotas(natcore.Quotas{Subscriber: natcore.Quota{MappingRate: natcore.Rate{PerSecond: 3}}}), func(n *nat) {
			for i := range 4 {
				n.refusal(t, 0, udp, endpoint(host2, 1+i), s1p1)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscriberMappings, Subscriber: host2, Used: 3, Max: 3, Detail: "mapping rate"}},
		{"fragments", func(c *natcore.Config) { c.Limits.FragmentsPerSubscriber = 2 }, func(n *nat) {
			for id := range byte(3) {
				b := build(t, udp, endpoint(host2, 1), s1p1, make([]byte, 64), tcpFlags{})
				b[4], b[5], b[6], b[7] = 0, id, 0, 2 // a later fragment
				n.Outbound(refit(b), n.now)
			}
		}, logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceFragments, Subscriber: host2, Used: 2, Max: 2, Detail: "fragment without first"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			n := newNAT(t, v.change, events(natcore.Events{PoolHigh: 100, SubscriberHigh: 100}), func(c *natcore.Config) { c.Instance = 7 })
			v.use(n)
			require.Empty(t, n.records(t, v.want.Kind), "packets note, Expire writes")
			at := n.now
			n.wait(time.Second)
			n.expire()
			got := n.records(t, v.want.Kind)
			require.Len(t, got, 1)
			v.want.Time, v.want.Instance, v.want.Reason = logging.MillisOf(at), 7, logging.ReasonOutbound
			if v.want.Resource == logging.ResourceNone || v.want.Resource == logging.ResourceSubscriberMappings {
				v.want.Pool, v.want.PoolID = "cgn", 1
			}
			if v.name == "ports" { // the address is the engine's choice
				require.True(t, n.External(got[0].External))
				v.want.External = got[0].External
			}
			require.Equal(t, v.want, got[0])
			n.expire()
			require.Len(t, n.records(t, v.want.Kind), 1)
			check(t, n)
		})
	}
}

// TestRFC8158_06_EventsAreRateLimited: 10^5 refusals in a second are one record, and the next one counts them.
//
// Rows: ATK-18.
func TestRFC8158_06_EventsAreRateLimited(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 1}}), events(natcore.Events{SubscriberHigh: 100}))
	n.out(t, udp, endpoint(hostA, 1), s1p1)
	packet := build(t, udp, endpoint(hostA, 2), s1p1, nil, tcpFlags{})
	for range 100 {
		for range 1000 {
			n.Outbound(packet, n.now)
		}
		n.wait(10 * time.Millisecond)
		n.expire()
	}
	got := n.records(t, logging.QuotaExceeded)
	require.Len(t, got, 1)
	require.EqualValues(t, 999, got[0].Suppressed, "those noted before it was written")
	n.wait(10 * time.Second)
	n.Outbound(packet, n.now)
	n.expire()
	got = n.records(t, logging.QuotaExceeded)
	require.Len(t, got, 2)
	require.EqualValues(t, 100_000+1, uint32(len(got))+got[0].Suppressed+got[1].Suppressed, "none is lost from the count")
	require.EqualValues(t, 2+1, n.Stats().EventsRecorded) // with the threshold's
}

// TestEventsAreBounded: a flood of refused subscribers neither grows the engine nor goes uncounted.
func TestEventsAreBounded(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{Sessions: 1}}), events(natcore.Events{SubscriberHigh: 100}), func(c *natcore.Config) { c.Shards = 1 })
	const hosts = 400
	for i := range hosts {
		n.refusal(t, 0, udp, endpoint(host(i+2), 1), s1p1)
		require.Equal(t, natcore.ReasonSessionLimit, n.refusal(t, 0, udp, endpoint(host(i+2), 1), s2p1))
	}
	n.expire()
	st := n.Stats()
	require.EqualValues(t, len(n.records(t, logging.QuotaExceeded)), st.EventsRecorded-uint64(len(n.records(t, logging.ThresholdHigh))))
	require.EqualValues(t, hosts, uint64(len(n.records(t, logging.QuotaExceeded)))+st.EventsLost)
	require.NotZero(t, st.EventsLost)
}

// TestEventsWaitForTheLog: what the log refuses is offered again, and nothing of it is lost.
func TestEventsWaitForTheLog(t *testing.T) {
	n := newNAT(t, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 1}}), events(natcore.Events{Sessions: true, SubscriberHigh: 100}))
	n.out(t, udp, endpoint(hostA, 1), s1p1)
	n.refusal(t, 0, udp, endpoint(hostA, 2), s1p1)
	n.log.Refuse(errors.New("the disk is full"))
	n.expire()
	n.refusal(t, 0, udp, endpoint(hostA, 2), s1p1)
	n.out(t, udp, endpoint(hostA, 1), s2p1)
	n.expire()
	require.Empty(t, n.records(t, logging.QuotaExceeded))
	n.log.Refuse(nil)
	n.expire()
	require.Len(t, n.records(t, logging.QuotaExceeded), 1)
	require.EqualValues(t, 1, n.records(t, logging.QuotaExceeded)[0].Suppressed)
	created := n.records(t, logging.SessionCreated)
	require.Len(t, created, 2)
	require.Zero(t, n.Stats().EventsLost)
}

// TestEventsOff: who switches events off gets those of blocks only (RFC 8158 section 4: unless prohibited).
func TestEventsOff(t *testing.T) {
	n := newNAT(t, small(1024, 1039, 16), events(natcore.Events{Off: true, Sessions: true, Bindings: true}))
	for i := range 40 {
		n.refusal(t, 0, udp, endpoint(hostA, 1+i), s1p1)
	}
	n.expire()
	require.Equal(t, 1, n.log.Len())
}

// TestRFC7422_18_PortsRunShort: a record when a pool or a subscriber reaches the high mark, one record for all the time above
// the low mark, one when it is below again.
//
// Rows: 8158-E18, 8158-T1, 8158-T2, 8158-T4.
func TestRFC7422_18_PortsRunShort(t *testing.T) {
	t.Run("pool", func(t *testing.T) {
		// Ten blocks of 16 ports; one for each subscriber.
		n := newNAT(t, small(1024, 1024+10*16-1, 16), events(natcore.Events{PoolHigh: 80, PoolLow: 50}), func(c *natcore.Config) {
			c.Pools[0].Blocks.IdleTimeout = portblock.Off
		})
		use := func(i int) { n.out(t, udp, endpoint(host(i), 1), s1p1); n.expire() }
		for i := range 7 {
			use(2 + i)
		}
		require.Empty(t, n.records(t, logging.ThresholdHigh))
		use(9)
		high := n.records(t, logging.ThresholdHigh)
		require.Len(t, high, 1)
		require.Equal(t, logging.ResourcePool, high[0].Resource)
		require.EqualValues(t, []uint32{8, 8, 1}, []uint32{high[0].Used, high[0].Max, high[0].PoolID})
		n.wait(299 * time.Second)
		for i := range 5 { // five stay
			n.out(t, udp, endpoint(host(2+i), 1), s1p1)
		}
		n.wait(2 * time.Second)
		n.expire()
		n.wait(3 * time.Minute)
		for i := range 5 {
			n.out(t, udp, endpoint(host(2+i), 1), s1p1)
		}
		n.expire() // five left: 50 % is not below 50 %
		use(10)
		use(11)
		use(12) // eight again: high all the time
		require.Len(t, n.records(t, logging.ThresholdHigh), 1)
		require.Empty(t, n.records(t, logging.ThresholdLow))
		for range 3 {
			n.wait(10 * time.Minute)
			n.expire()
		}
		low := n.records(t, logging.ThresholdLow)
		require.Len(t, low, 1)
		require.EqualValues(t, 5, low[0].Max)
		require.Less(t, low[0].Used, uint32(5))
		check(t, n)
	})
	t.Run("subscriber", func(t *testing.T) {
		for name, change := range map[string]func(*natcore.Config){
			"quota":  quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 64}}),
			"blocks": func(c *natcore.Config) { c.Pools[0].Blocks.BlockSize, c.Pools[0].Blocks.MaxBlocks = 16, 4 },
			"map": func(c *natcore.Config) {
				m, err := deterministic.New(deterministic.Config{
					Internal: deterministic.Spans("10.0.0.2-10.0.0.3"), External: deterministic.Spans("203.0.113.5"),
					Reserved: []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)}, SharingRatio: 2,
				})
				require.NoError(t, err)
				require.Equal(t, 64, m.PortsPerSubscriber())
				c.Pools[0] = natcore.PoolConfig{Name: "cgn", Map: m}
			},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNAT(t, change, events(natcore.Events{SubscriberHigh: 75, SubscriberLow: 25}))
				for i := range 47 {
					n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
				}
				n.expire()
				require.Empty(t, n.records(t, logging.ThresholdHigh))
				n.out(t, udp, endpoint(hostA, 2000), s1p1)
				n.expire()
				n.expire()
				high := n.records(t, logging.ThresholdHigh)
				require.Len(t, high, 1)
				require.Equal(t, logging.ResourceSubscriberMappings, high[0].Resource)
				require.Equal(t, hostA, high[0].Subscriber)
				require.EqualValues(t, []uint32{48, 48}, []uint32{high[0].Used, high[0].Max})
				n.wait(299 * time.Second)
				for i := range 15 {
					n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
				}
				n.wait(2 * time.Second)
				n.expire()
				low := n.records(t, logging.ThresholdLow)
				require.Len(t, low, 1)
				require.EqualValues(t, []uint32{15, 16}, []uint32{low[0].Used, low[0].Max})
				check(t, n)
			})
		}
	})
}

// TestSessionRecords: where they are asked for, each session has a record of its begin and one of its end, without its remote endpoint
// unless that is asked for too.
//
// Rows: 8158-04, 8158-05, 8158-E04, 8158-E05, 6888-12.
func TestSessionRecords(t *testing.T) {
	for _, destinations := range []bool{false, true} {
		n := newNAT(t, events(natcore.Events{Sessions: true, Destinations: destinations}))
		e := n.out(t, tcp, a40000, s1p1)
		n.out(t, tcp, a40000, s2p1)
		n.expire()
		began := n.now
		n.wait(241 * time.Second)
		n.expire()
		created, deleted := n.records(t, logging.SessionCreated), n.records(t, logging.SessionDeleted)
		require.Len(t, created, 2)
		require.Len(t, deleted, 2)
		for i, r := range append(created, deleted...) {
			require.Equal(t, hostA, r.Subscriber)
			require.Equal(t, a40000, r.Internal)
			require.Equal(t, e, netip.AddrPortFrom(r.External, r.First))
			require.EqualValues(t, 6, r.Protocol)
			require.Equal(t, destinations, r.Remote.IsValid())
			if i < 2 {
				require.Equal(t, logging.MillisOf(began), r.Time)
			} else {
				require.Equal(t, logging.MillisOf(n.now), r.Time)
			}
		}
		require.Empty(t, n.records(t, logging.MappingCreated), "one kind only")
	}
	n := newNAT(t, events(natcore.Events{Sessions: true}))
	for i := range 200 {
		n.out(t, udp, a40000, endpoint(server1, 1+i))
	}
	require.GreaterOrEqual(t, len(n.records(t, logging.SessionCreated)), 128, "many are written without waiting for Expire")
	n = newNAT(t, events(natcore.Events{}))
	n.out(t, tcp, a40000, s1p1)
	n.expire()
	require.Equal(t, 1, n.log.Len(), "off by default")
}

// TestRFC8158_09_AddressBound: the pairing of a subscriber is told with his first packet, and its end with his last block.
//
// Rows: 8158-E14, 8158-E15.
func TestRFC8158_09_AddressBound(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Bindings: true}))
	e := n.out(t, udp, a40000, s1p1)
	n.out(t, tcp, a40000, s2p1)
	n.expire()
	bound := n.records(t, logging.AddressBound)
	require.Len(t, bound, 1)
	require.Equal(t, []netip.Addr{hostA, e.Addr()}, []netip.Addr{bound[0].Subscriber, bound[0].External})
	require.Empty(t, n.records(t, logging.AddressUnbound))
	for range 3 {
		n.wait(10 * time.Minute)
		n.expire()
	}
	require.Len(t, n.records(t, logging.AddressUnbound), 1)
}

func TestEventFaults(t *testing.T) {
	cfg := config(logging.Discard)
	cfg.Events = natcore.Events{Interval: -1, PoolHigh: 101, SubscriberHigh: 50, SubscriberLow: 60}
	cfg.HoldAfterRestart = -time.Second
	_, err := natcore.New(cfg, began)
	for _, field := range []string{"Events.Interval", "Events.PoolHigh", "Events.SubscriberLow", "HoldAfterRestart"} {
		require.ErrorContains(t, err, field)
	}
}

// TestRFC6888_08e_RestartWithoutSnapshot: after a start that knows nothing of what was in use, nobody gets a port of a block for the time that is asked for;
// deterministic ports are their subscriber's before and after.
func TestRFC6888_08e_RestartWithoutSnapshot(t *testing.T) {
	hold := func(c *natcore.Config) { c.HoldAfterRestart = 120 * time.Second }
	n := newNAT(t, hold, func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("172.16.0.0/12") })
	require.Equal(t, natcore.ReasonPortsResting, n.refusal(t, 0, udp, a40000, s1p1))
	n.wait(120*time.Second - time.Millisecond)
	require.Equal(t, natcore.ReasonPortsResting, n.refusal(t, 0, udp, a40000, s1p1))
	check(t, n)
	n.wait(time.Millisecond)
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, a40000, s1p1))

	m, err := deterministic.New(deterministic.Config{Internal: deterministic.Spans("10.0.0.0/28"), External: deterministic.Spans("203.0.113.5"), SharingRatio: 16})
	require.NoError(t, err)
	n = newNAT(t, hold, func(c *natcore.Config) { c.Pools[0] = natcore.PoolConfig{Name: "cgn", Map: m} })
	require.Equal(t, natcore.ReasonNone, n.refusal(t, 0, udp, a40000, s1p1))
}

// TestControlAllocatesNothing: quotas, rates and events cost packets of known sessions no memory, and refused packets neither.
func TestControlAllocatesNothing(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Sessions: true, Bindings: true}), quotas(natcore.Quotas{
		Subscriber: natcore.Quota{Ports: 1, SessionRate: natcore.Rate{PerSecond: 100}}, Reserved: []natcore.Traffic{{RemotePort: 53}},
		Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 100, MappingRate: natcore.Rate{PerSecond: 5}}},
	}))
	e := n.out(t, udp, a40000, s1p1)
	for name, packet := range map[string]natcore.Packet{
		"outbound": {Bytes: build(t, udp, a40000, s1p1, nil, tcpFlags{})},
		"inbound":  {Bytes: build(t, udp, s1p1, e, nil, tcpFlags{}), Direction: natcore.Inbound},
		"refused":  {Bytes: build(t, udp, endpoint(hostA, 2), s1p1, nil, tcpFlags{})},
	} {
		buf, batch := make([]byte, len(packet.Bytes)), make([]natcore.Packet, 1)
		allocs := testing.AllocsPerRun(200, func() {
			copy(buf, packet.Bytes)
			batch[0] = packet
			batch[0].Bytes = buf
			n.Process(batch, n.now)
		})
		require.Zero(t, allocs, name)
		require.Equal(t, name == "refused", batch[0].Verdict == natcore.Drop)
	}
}
