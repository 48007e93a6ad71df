package natcore_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// slowLog lets others go on while it takes a record.
type slowLog struct{ logging.Log }

func (l slowLog) Append(r *logging.Record) error {
	for range 4 {
		runtime.Gosched()
	}
	return l.Log.Append(r)
}

// TestB119_SubscribersComeAndGoUnderBatches: callers bring batches of new sessions, of the same hosts and of others, some of whom are new, so that
// the shard is let go in the middle of a batch for the log; meanwhile time passes, and who was there a moment ago has left, and come again.
// What is counted is what is there.
func TestB119_SubscribersComeAndGoUnderBatches(t *testing.T) {
	for mode := range 4 {
		n := newNAT(t, func(c *natcore.Config) {
			c.Log, c.Shards = slowLog{c.Log}, 1
			c.Timeouts.UDP, c.Timeouts.TCPOpening = 120*time.Second, 240*time.Second
			c.Limits.Subscribers, c.Limits.SessionsPerSubscriber = 60, 40
			p := &c.Pools[0]
			p.Addresses = alloc.MustParseRanges("203.0.113.0/29")
			p.Blocks = portblock.Config{BlockSize: 16, MaxBlocks: 3, IdleTimeout: portblock.Off, HoldDown: portblock.Off, GuardTime: portblock.Off}
			if mode&1 != 0 {
				p.Mapping, p.Overload = natcore.AddressAndPortDependent, true
			}
			if mode&2 != 0 {
				c.Quotas = natcore.Quotas{
					Subscriber: natcore.Quota{Ports: 30, SessionRate: natcore.Rate{PerSecond: 20}, MappingRate: natcore.Rate{PerSecond: 20}},
					Realms:     map[natcore.Realm]natcore.Quota{0: {Sessions: 900, Blocks: 70, MappingRate: natcore.Rate{PerSecond: 1000}}},
				}
			}
		})
		var clock, forwarded atomic.Int64
		now := func() time.Time { return began.Add(time.Duration(clock.Load()) * time.Second) }
		var callers, others sync.WaitGroup
		for g := range uint64(4) {
			callers.Go(func() {
				r := rand.New(rand.NewPCG(g, uint64(mode)))
				for range 60 {
					batch := make([]natcore.Packet, 2+r.IntN(63))
					for i := range batch {
						k, src := kind(r.IntN(2)), endpoint(netip.AddrFrom4([4]byte{10, 0, 1, byte(r.IntN(80))}), 4000+r.IntN(60))
						batch[i] = natcore.Packet{Bytes: build(t, k, src, endpoint(server1, 80+r.IntN(2)), nil, tcpFlags{syn: true})}
					}
					n.Process(batch, now())
					for i := range batch {
						if batch[i].Verdict == natcore.Forward {
							forwarded.Add(1)
						}
					}
					clock.Add(int64(r.IntN(100)))
				}
			})
		}
		stop := make(chan struct{})
		for g := range uint64(2) {
			others.Go(func() {
				r := rand.New(rand.NewPCG(10+g, uint64(mode)))
				for {
					select {
					case <-stop:
						return
					default:
					}
					switch host := netip.AddrFrom4([4]byte{10, 0, 1, byte(r.IntN(80))}); r.IntN(12) {
					case 0:
						_ = n.SetQuota(0, host, []*natcore.Quota{nil, {Ports: 9, MappingRate: natcore.Rate{PerSecond: 5}}}[r.IntN(2)], now())
					case 1:
						cfg := n.Config()
						cfg.Pools[0].Addresses = alloc.MustParseRanges([]string{"203.0.113.0/29", "203.0.113.0/30"}[r.IntN(2)])
						_, _ = n.Reconfigure(cfg, now())
					case 2:
						n.EndDisallowed(now())
					case 3:
						n.AppendSnapshot(nil)
					case 4:
						_ = n.AddStatic([]natcore.Static{{
							Name: "s", Protocol: 17, External: ip("203.0.113.1"), ExternalPort: uint16(2000 + r.IntN(500)), Internal: host, InternalPort: 4000,
						}}, natcore.RetireConflicts, now())
					case 5:
						n.RemoveStatic("s", now())
					default:
						n.Expire(now(), 1<<16)
					}
				}
			})
		}
		callers.Wait()
		close(stop)
		others.Wait()
		require.NoError(t, n.CheckInvariants(), "mode %d", mode)
		require.Greater(t, forwarded.Load(), int64(1000), "mode %d", mode)
		n.RemoveStatic("s", now())
		n.now = now().Add(48 * time.Hour)
		n.expire()
		n.expire()
		check(t, n)
		st := n.Stats()
		require.Zero(t, st.Sessions+st.Mappings+st.Subscribers, "mode %d", mode)
	}
}
