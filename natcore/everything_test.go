package natcore_test

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestB119_EverythingAtOnce: callers bring packets of every kind in batches while others change everything that can be changed, list
// everything that can be listed, save, and expire, with clocks that differ. What is left is consistent, and Close ends all of it.
func TestB119_EverythingAtOnce(t *testing.T) {
	for mode := range byte(4) {
		w := &twins{failer: t, rnd: rand.New(rand.NewPCG(uint64(mode), 3))}
		n := newNAT(t, func(c *natcore.Config) {
			given := c.Log
			*c = w.configOf(int(mode))
			c.Log, c.Shards, c.LogPolicy = given, 4, natcore.RefuseBlocks
			c.Events = natcore.Events{Sessions: true, Bindings: true, Destinations: true}
		})
		var clock atomic.Int64
		var bringing, others sync.WaitGroup
		stop := make(chan struct{})
		for g := range uint64(4) {
			bringing.Go(func() {
				w := &twins{failer: t, rnd: rand.New(rand.NewPCG(uint64(mode), 10+g))}
				for range 150 {
					now := began.Add(time.Duration(clock.Add(int64(w.n(2000)))) * time.Millisecond)
					batch := make([]natcore.Packet, pick(w, 1, 3, 20, 70))
					for i := range batch {
						batch[i] = w.packet()
					}
					n.Process(batch, now.Add(-time.Duration(w.n(3))*time.Second))
					n.Reject(&batch[0], rewrite.FragmentationNeeded(600), now)
					for i := range batch {
						w.note(batch[i])
					}
					for _, p := range n.Drain(nil) {
						w.note(p)
					}
				}
			})
		}
		for g := range uint64(2) {
			others.Go(func() {
				w := &twins{failer: t, rnd: rand.New(rand.NewPCG(uint64(mode), 20+g))}
				for {
					select {
					case <-stop:
						return
					default:
						w.disturb(n.Engine, began.Add(time.Duration(clock.Load())*time.Millisecond))
					}
				}
			})
		}
		bringing.Wait()
		close(stop)
		others.Wait()
		require.NoError(t, n.CheckInvariants(), "mode %d", mode)
		n.wait(time.Duration(clock.Load()) * time.Millisecond)
		again, err := natcore.Restore(n.Config(), n.AppendSnapshot(nil), n.now)
		require.NoError(t, err, "mode %d", mode)
		require.NoError(t, again.CheckInvariants(), "mode %d", mode)
		require.NoError(t, n.Close(n.now))
		require.NoError(t, n.CheckInvariants(), "mode %d", mode)
		st := n.Stats()
		require.Zero(t, st.Sessions+st.Mappings+st.StaticSessions+st.Subscribers+st.Datagrams+st.ReleasesPending, "mode %d", mode)
	}
}

// disturb does one thing that is no packet.
func (w *twins) disturb(e *natcore.Engine, now time.Time) {
	host := w.host().Addr()
	switch w.n(16) {
	case 0, 1, 2:
		e.Expire(now, pick(w, 1, 1000, 100000))
	case 3:
		cfg := e.Config()
		if cfg.Pools[0].Map == nil {
			cfg.Pools[0].Addresses = alloc.MustParseRanges(pick(w, "203.0.113.5-203.0.113.6", "203.0.113.6", "203.0.113.5-203.0.113.7"))
		}
		cfg.Static = e.Statics()
		cfg.Limits.SessionsPerSubscriber, cfg.Limits.Fragments = pick(w, 0, 5, 100), pick(w, 0, 4)
		_, _ = e.Reconfigure(cfg, now)
		_, _ = e.Plan(cfg, now)
	case 4:
		e.EndDisallowed(now)
	case 5:
		_ = e.AddStatic([]natcore.Static{{
			Name: "added", Protocol: pick[uint8](w, 6, 17), External: netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + w.n(6))}), ExternalPort: uint16(1024 + w.n(140)),
			Internal: host, InternalPort: 40000,
		}}, natcore.OnConflict(w.n(3)), now)
	case 6:
		e.RemoveStatic(pick(w, "added", "port"), now)
	case 7:
		_ = e.SetQuota(0, host, pick(w, nil, &natcore.Quota{Ports: 10, MappingRate: natcore.Rate{PerSecond: 5}}), now)
	case 8:
		_ = e.SetTimeouts(natcore.Timeouts{UDP: time.Duration(pick(w, 120, 300)) * time.Second}, now)
	case 9:
		r := natcore.MapRequest{Internal: w.host(), Protocol: pick[uint8](w, 6, 17, 1, 136), Lifetime: time.Minute}
		_, _ = e.Map(r, now)
		if w.one(2) {
			e.Unmap(r, now)
		}
	case 10:
		e.AppendSnapshot(nil)
	case 11:
		for s := range e.Sessions() {
			if w.one(20) {
				e.EndSession(s, now)
			}
		}
	case 12:
		for range e.Mappings() {
		}
		for range e.Blocks() {
		}
		for range e.Addresses("cgn") {
		}
		e.Top(3, natcore.Order(0))
	case 13:
		e.Stats()
		e.Config()
		e.External(server1)
	case 14:
		e.Explain(natcore.Question{Internal: w.host(), Protocol: 17, Remote: w.remote()}, now)
	case 15:
		e.Drain(nil)
	}
}

// TestRefusedHairpinsAtOnce: what is noted of a host whose hairpinning packets arrive nowhere is read under the lock of its own shard,
// while other callers bring new hosts of that shard.
func TestRefusedHairpinsAtOnce(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Shards, c.Events = 2, natcore.Events{}
	})
	var externals []netip.AddrPort
	for i := range 8 { // in both shards
		e := n.out(t, udp, endpoint(host(200+i), 4000), s1p1)
		externals = append(externals, endpoint(e.Addr(), int(e.Port()^1))) // of the same block, and nobody's
	}
	var callers sync.WaitGroup
	for g := range 4 {
		callers.Go(func() {
			for i := range 300 {
				now := n.now.Add(time.Duration(i) * time.Millisecond) // each packet advances its shard's clock
				src := endpoint(host(2+g*40+i%40), 5000+i)
				verdict, why := n.Outbound(build(t, udp, src, externals[i%len(externals)], nil, tcpFlags{}), now)
				if verdict != natcore.Drop || why != natcore.ReasonNoMapping {
					t.Errorf("%v: %v", verdict, why)
				}
				if g < 2 {
					_, _ = n.Outbound(build(t, udp, src, s1p1, nil, tcpFlags{}), now)
				}
			}
		})
	}
	callers.Wait()
	check(t, n)
}
