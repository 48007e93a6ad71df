package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestOverloadFindsNewRoom: a port that is taken for one remote endpoint may serve another one at once, for which there was none before.
func TestOverloadFindsNewRoom(t *testing.T) {
	n := newNAT(t, overloading, quotas(natcore.Quotas{Subscriber: natcore.Quota{Ports: 2}}))
	n.out(t, udp, endpoint(hostA, 1), s1p1)
	n.out(t, udp, endpoint(hostA, 2), s1p1)
	full := func() bool { return n.refusal(t, 0, udp, endpoint(hostA, 3), s1p1) == natcore.ReasonPortLimit }
	require.True(t, full())
	n.end(t, endpoint(hostA, 1))
	e := n.out(t, udp, endpoint(hostA, 4), s2p1) // a port that was free
	require.False(t, full(), "%v may serve server 1", e)
	require.NoError(t, n.CheckInvariants())
}

// end ends the sessions of an internal endpoint.
func (n *nat) end(t failer, internal netip.AddrPort) {
	t.Helper()
	var all []natcore.SessionInfo
	for s := range n.Sessions() {
		if s.Internal == internal {
			all = append(all, s)
		}
	}
	require.NotEmpty(t, all)
	for _, s := range all {
		require.True(t, n.EndSession(s, n.now))
	}
}

// TestOverloadPortsBeforeTheirTime: where ports are taken before they have rested, one serves its new mapping whatever it has served before.
func TestOverloadPortsBeforeTheirTime(t *testing.T) {
	n := newNAT(t, overloading, func(c *natcore.Config) {
		c.Pools[0].Mapping = natcore.AddressDependent
		c.Pools[0].Blocks.Resting, c.Pools[0].Blocks.MaxBlocks = portblock.RestOldest, 1
	})
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	n.end(t, endpoint(hostA, 50000)) // it rests towards server 2
	n.end(t, holder[e])              // and then as a whole
	require.Equal(t, e, n.out(t, udp, endpoint(hostA, 51000), s2p1))
	require.True(t, n.passes(t, udp, s2p2, e, endpoint(hostA, 51000)), "filtering admits it, and the mapping serves server 2")
	check(t, n)
}

// TestRFC6888_08_OverloadHoldDown: a port that still serves others rests for 120 s towards the remote endpoint of a mapping that has ended: it
// serves it again not a tick before, across a restart too, and what comes late for the old mapping reaches nobody.
func TestRFC6888_08_OverloadHoldDown(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, on := range []natcore.Behaviour{natcore.AddressDependent, natcore.AddressAndPortDependent} {
			n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Mapping = on })
			holder := n.fill(t, udp)
			e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
			for i := range 5 { // all but that mapping are kept alive
				n.wait(60 * time.Second)
				if i < 4 {
					n.expire()
				}
				for _, src := range holder {
					n.out(t, udp, src, s1p1)
				}
			}
			n.expire()
			require.EqualValues(t, 16, n.Stats().Mappings)
			if restart {
				n = n.restored(t, n.Config())
			}
			ask := func() (served bool) {
				for i := range 16 {
					got, verdict, why := n.try(t, udp, endpoint(hostA, 51000+i), s2p1)
					if verdict == natcore.Drop {
						require.Equal(t, natcore.ReasonBlocksExhausted, why)
						continue
					}
					served = served || got == e
				}
				return served
			}
			late := func() bool {
				_, verdict, _ := n.in(t, udp, s2p1, e)
				return verdict == natcore.Forward
			}
			require.False(t, ask(), "%v rests towards %v", e, s2p1)
			require.EqualValues(t, 31, n.Stats().Mappings, "15 of 16 ports serve server 2")
			require.False(t, late(), "of an old mapping, to the host of another one")
			n.wait(60 * time.Second)
			for _, src := range holder {
				n.out(t, udp, src, s1p1)
			}
			n.wait(60*time.Second - tick)
			require.False(t, late())
			require.False(t, ask(), "a tick before the hold-down is over")
			n.wait(tick)
			require.True(t, ask(), "%v has rested", e)
			check(t, n)
		}
	}
}

// TestRFC6888_08d_OverloadMaxResting: of ports that others still share no more rest than Blocks.MaxResting says, in each space; the one that has rested longest serves again.
func TestRFC6888_08d_OverloadMaxResting(t *testing.T) {
	for _, most := range []int{1, 4, 16, 0} {
		n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Blocks.MaxResting = most })
		cfg := n.Config()
		resting := most
		if most == 0 {
			resting = 16
		}
		for _, k := range []kind{udp, tcp} {
			n.fill(t, k)
		}
		for _, k := range []kind{udp, tcp} { // those of one space take no room from those of the other
			all := map[int]netip.AddrPort{}
			for i := range 16 {
				all[n.outPort(t, k, endpoint(hostA, 50000+i), remoteN(1))] = endpoint(hostA, 50000+i)
			}
			require.Len(t, all, 16)
			var order []int
			for port := range all {
				order = append(order, port)
			}
			for _, port := range order {
				n.wait(time.Millisecond)
				n.end(t, all[port])
			}
			again := map[int]bool{}
			for i := range 16 {
				src := endpoint(hostA, 51000+i)
				if i < 16-resting {
					again[n.outPort(t, k, src, remoteN(1))] = true
				} else {
					require.NotEqual(t, natcore.ReasonNone, n.refusal(t, 0, k, src, remoteN(1)))
				}
			}
			for i, port := range order {
				require.Equal(t, i < 16-resting, again[port], "the %dth that was left, of %d that rest", i, resting)
			}
		}
		a := n.Explain(natcore.Question{Internal: endpoint(hostA, 60000), Remote: remoteN(1), Protocol: 17}, n.now)
		require.Contains(t, a.Limits, natcore.Limit{Name: "Pools[0].Overload, rests", Used: int64(2 * resting), Max: 1 << 14})
		m := n.restored(t, cfg)
		require.Equal(t, a.Limits, m.Explain(natcore.Question{Internal: endpoint(hostA, 60000), Remote: remoteN(1), Protocol: 17}, n.now).Limits)
		check(t, n)
	}
}

// outPort sends a packet and returns the external port.
func (n *nat) outPort(t failer, k kind, src, dst netip.AddrPort) int {
	t.Helper()
	return int(n.out(t, k, src, dst, tcpFlags{syn: true, seq: 1}).Port())
}

// TestOverloadRestsAreBounded: once as many rests are kept as a subscriber may have sessions, nothing more is shared.
func TestOverloadRestsAreBounded(t *testing.T) {
	n := newNAT(t, overloading, func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 40 })
	n.fill(t, udp)
	end := func() (ended int) {
		var all []natcore.SessionInfo
		for s := range n.Sessions() {
			if s.Internal.Port() >= 50000 {
				all = append(all, s)
			}
		}
		for _, s := range all {
			require.True(t, n.EndSession(s, n.now))
		}
		return len(all)
	}
	made := 0
	for i := range 200 {
		if n.refusal(t, 0, udp, endpoint(hostA, 50000+i), remoteN(i)) == natcore.ReasonNone {
			made++
		}
		end()
	}
	require.Equal(t, 40, made)
	a := n.Explain(natcore.Question{Internal: endpoint(hostA, 60000), Remote: s2p1, Protocol: 17}, n.now)
	require.Equal(t, natcore.ReasonBlocksExhausted, a.Reason)
	require.Contains(t, a.Limits, natcore.Limit{Name: "Pools[0].Overload, rests", Used: 40, Max: 40})
	n.wait(holdDown)
	n.out(t, udp, endpoint(hostA, 60000), s2p1)
	check(t, n)
}
