package natcore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// batchLimits are what a batch may meet: what its packets begin counts for those behind them.
var batchLimits = []func(*natcore.Config){
	func(*natcore.Config) {},
	func(c *natcore.Config) {
		c.Pools[0].Blocks.MaxPorts[portblock.UDP], c.Pools[0].Blocks.MaxPorts[portblock.TCP] = 5, 3
	},
	func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 7 },
	func(c *natcore.Config) { c.Quotas.Subscriber = natcore.Quota{Sessions: 9, Ports: 8} },
	func(c *natcore.Config) {
		c.Quotas.Subscriber.SessionRate, c.Quotas.Subscriber.MappingRate = natcore.Rate{PerSecond: 2, Burst: 6}, natcore.Rate{PerSecond: 1, Burst: 5}
	},
	func(c *natcore.Config) { c.MSS = 1200 },
	func(c *natcore.Config) {
		c.Pools[0].Mapping, c.Pools[0].Filtering = natcore.AddressDependent, natcore.AddressDependent
	},
	func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent },
	func(c *natcore.Config) { c.AdmitNonSYN = true },
}

// TestBatchesAreAsOneByOne: two engines alike get the same packets, one in batches, the other one by one, and do the same to each: known
// and new sessions, answers, strangers, hairpinning, queries, garbage, connections that end and begin again, whatever comes between. With one shard
// all packets keep their order; with several those of a subscriber do, and so who has the first block may differ: there each host's
// first packets go ahead of the rest.
func TestBatchesAreAsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.SampledFrom([]int{1, 4}).Draw(t, "shards")
		limits := rapid.SampledFrom(batchLimits).Draw(t, "limits")
		change := func(c *natcore.Config) {
			c.Shards = shards
			limits(c)
		}
		batched, single := newNAT(t, change), newNAT(t, change)
		type spot struct {
			kind kind
			port int
		}
		externals := map[spot][]byte{} // the last packet out of a host's endpoint, as it left
		now := began
		send := func(packets []natcore.Packet) {
			alone := make([]natcore.Packet, len(packets))
			for i := range packets {
				alone[i] = packets[i]
				alone[i].Bytes = slices.Clone(packets[i].Bytes)
			}
			batched.Process(packets, now)
			for i := range alone {
				single.Process(alone[i:i+1], now)
			}
			for i := range packets {
				require.Equal(t, alone[i], packets[i], "packet %d", i)
			}
		}
		outbound := func(t *rapid.T, k kind) (natcore.Packet, spot) {
			at := spot{k, rapid.IntRange(0, 39).Draw(t, "flow")}
			host := hostA
			if at.port%2 == 1 {
				host = hostB
			}
			f := tcpFlags{
				syn: rapid.Bool().Draw(t, "syn"), ack: rapid.Bool().Draw(t, "ack"), fin: rapid.IntRange(0, 9).Draw(t, "fin") == 0,
				rst: rapid.IntRange(0, 9).Draw(t, "rst") == 0, seq: 1000 + uint32(rapid.IntRange(0, 1).Draw(t, "seq")),
			}
			if k != tcp {
				f = tcpFlags{}
			}
			return natcore.Packet{Bytes: build(t, k, endpoint(host, 40000+at.port), endpoint(server1, 443), []byte("x"), f)}, at
		}
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Minute}).Draw(t, "step"))
			for _, port := range []int{0, 1} { // both hosts have their blocks
				host := hostA
				if port == 1 {
					host = hostB
				}
				for k := range kind(3) {
					send([]natcore.Packet{{Bytes: build(t, k, endpoint(host, 40000+port), endpoint(server1, 443), nil, tcpFlags{syn: k == tcp})}})
				}
			}
			var packets []natcore.Packet
			var spots []spot
			clean := map[int]bool{}
			for n := range rapid.SampledFrom([]int{1, 2, 8, 9, 40, 70}).Draw(t, "packets") {
				clean[n] = true
				k := kind(rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(t, "kind"))
				p, at := outbound(t, k)
				switch left := externals[at]; rapid.IntRange(0, 9).Draw(t, "what") {
				case 0, 1, 2: // an answer, or a stranger's
					if left == nil || k == icmp {
						break
					}
					seen := read(t, left)
					from := seen.dst
					if rapid.IntRange(0, 4).Draw(t, "stranger") == 0 {
						from = endpoint(server2, 9)
					}
					p = natcore.Packet{Direction: natcore.Inbound, Bytes: build(t, k, from, seen.src, []byte("y"), tcpFlags{ack: true, syn: k == tcp && rapid.Bool().Draw(t, "its syn"), seq: 5000})}
				case 3: // to another host's external endpoint
					if left != nil && k == udp {
						p = natcore.Packet{Bytes: build(t, udp, endpoint(hostA, 50000), read(t, left).src, []byte("z"), tcpFlags{})}
					}
				case 4:
					clean[n] = false
					i := rapid.IntRange(0, len(p.Bytes)-1).Draw(t, "byte")
					if shards > 1 && 12 <= i && i < 16 {
						break // another source is another host, whose block is its first
					}
					p.Bytes[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
				case 5:
					p.Direction = natcore.Direction(rapid.IntRange(0, 2).Draw(t, "direction"))
				case 6:
					p.Flags = natcore.PartialChecksum
				}
				packets, spots = append(packets, p), append(spots, at)
			}
			send(packets)
			for i, p := range packets {
				if p.Direction == natcore.Outbound && p.Verdict == natcore.Forward && clean[i] {
					externals[spots[i]] = p.Bytes
				}
			}
			if rapid.Bool().Draw(t, "expire") {
				batched.now, single.now = now, now
				batched.expire()
				single.expire()
			}
			require.NoError(t, batched.CheckInvariants())
			require.Equal(t, single.Stats(), batched.Stats())
		}
	})
}

// TestB119_OrderWhereASessionIsOver: a session that inbound packets alone have kept is over for the internal host. The packet with which that host
// begins anew comes first in a batch, so the answer behind it finds nothing at the old external endpoint.
func TestB119_OrderWhereASessionIsOver(t *testing.T) {
	for _, before := range []int{0, 1, 9} { // new sessions of others ahead of it
		var left [2][]natcore.Packet
		for one := range left {
			n := newNAT(t)
			e := n.out(t, udp, a40000, s1p1)
			for i := range before {
				n.out(t, udp, endpoint(host(9), 1+i), s1p1) // who has a block
			}
			for range 3 {
				n.wait(150 * time.Second)
				_, verdict, _ := n.in(t, udp, s1p1, e)
				require.Equal(t, natcore.Forward, verdict)
			}
			var packets []natcore.Packet
			for i := range before {
				packets = append(packets, natcore.Packet{Bytes: build(t, udp, endpoint(host(9), 100+i), s1p1, nil, tcpFlags{})})
			}
			packets = append(packets,
				natcore.Packet{Bytes: build(t, udp, a40000, s1p1, nil, tcpFlags{})},
				natcore.Packet{Bytes: build(t, udp, s1p1, e, nil, tcpFlags{}), Direction: natcore.Inbound})
			if one == 0 {
				n.Process(packets, n.now)
			} else {
				for i := range packets {
					n.Process(packets[i:i+1], n.now)
				}
			}
			require.Equal(t, natcore.Drop, packets[before+1].Verdict)
			check(t, n)
			left[one] = packets
		}
		require.Equal(t, left[1], left[0])
	}
}

// TestB119_OrderOfIdentifications: datagrams that may be fragmented get their identifications in the order in which they lie in a batch, be they of
// known sessions or of new ones.
func TestB119_OrderOfIdentifications(t *testing.T) {
	batched, single := newNAT(t), newNAT(t)
	packet := func(port int) natcore.Packet {
		return natcore.Packet{Bytes: loose(build(t, udp, endpoint(hostA, port), endpoint(server1, 443), nil, tcpFlags{}), 1)}
	}
	for _, n := range []*nat{batched, single} {
		n.Process([]natcore.Packet{packet(40000)}, began)
	}
	var want, got []natcore.Packet
	for _, port := range []int{40001, 40000, 40002, 40003, 40000} {
		want, got = append(want, packet(port)), append(got, packet(port))
	}
	batched.Process(got, began)
	for i := range want {
		single.Process(want[i:i+1], began)
	}
	require.Equal(t, want, got)
}
