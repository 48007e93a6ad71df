package natcore_test

import (
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestOverloadPolicies: sharing keeps what Blocks asks for: parity, the internal port itself, and linear choice.
func TestOverloadPolicies(t *testing.T) {
	policy := func(change func(*portblock.Config)) *nat {
		n := newNAT(t, overloading, func(c *natcore.Config) { change(&c.Pools[0].Blocks) })
		for i := range 16 {
			n.out(t, udp, endpoint(hostA, 1024+i), s1p1)
		}
		return n
	}
	n := policy(func(c *portblock.Config) { c.Parity = portblock.Require })
	for i := range 16 {
		require.Equal(t, i&1, int(n.out(t, udp, endpoint(hostA, 50000+i), s2p1).Port())&1)
	}
	n = policy(func(c *portblock.Config) { c.Parity = portblock.Require })
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 50000+2*i), s2p1)
	}
	require.NotEqual(t, natcore.ReasonNone, n.refusal(t, 0, udp, endpoint(hostA, 50100), s2p1), "no even port is left")
	n.out(t, udp, endpoint(hostA, 50101), s2p1)
	n = policy(func(c *portblock.Config) { c.Preserve = true })
	for i := range 16 {
		require.EqualValues(t, 1024+i, n.out(t, udp, endpoint(hostA, 1024+i), s2p1).Port())
	}
	n = policy(func(c *portblock.Config) { c.Choice = portblock.ChooseLinear })
	for i := range 16 {
		require.EqualValues(t, 1024+i, n.out(t, udp, endpoint(hostA, 50000+i), s2p1).Port())
	}
}

// TestOverloadSwitched: the option changes on a live engine: what shares goes on, and nothing more shares.
func TestOverloadSwitched(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Overload = false })
	require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 50001), s2p1))
	require.True(t, n.passes(t, udp, s2p1, e, endpoint(hostA, 50000)))
	require.True(t, n.passes(t, udp, s1p1, e, holder[e]))
	m := n.restored(t, n.Config())
	require.Equal(t, held(n), held(m))
	n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Overload = true })
	n.out(t, udp, endpoint(hostA, 50001), s2p1)
	cfg := n.Config()
	cfg.Pools[0].Mapping = natcore.AddressDependent
	_, err := n.Reconfigure(cfg, n.now)
	require.ErrorContains(t, err, "Pools[0].Mapping")
	check(t, n)
}

// TestOverloadAndStatics: all mappings of a shared port are in the way of a static one, and end for it; a port that is reserved while mappings have
// it gets no further ones until it is given back.
func TestOverloadAndStatics(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
	static := natcore.Static{Name: "web", Protocol: 17, External: e.Addr(), ExternalPort: e.Port(), Internal: hostB}
	var conflict *natcore.ConflictError
	require.ErrorAs(t, n.AddStatic([]natcore.Static{static}, natcore.RefuseConflicts, n.now), &conflict)
	require.Len(t, conflict.Conflicts, 2)
	require.True(t, n.passes(t, udp, s2p1, e, endpoint(hostA, 50000)))
	require.NoError(t, n.AddStatic([]natcore.Static{static}, natcore.RetireConflicts, n.now))
	require.EqualValues(t, 15, n.Stats().Mappings)
	for i := range 16 {
		got, verdict, _ := n.try(t, udp, endpoint(hostA, 51000+i), s2p2)
		require.Equal(t, i < 15, verdict == natcore.Forward)
		require.NotEqual(t, e, got)
	}
	require.NotEmpty(t, holder)
	check(t, n)

	n = newNAT(t, overloading)
	n.fill(t, udp)
	reserve := func(r []portblock.Reservation) {
		n.reconfigure(t, func(c *natcore.Config) { c.Pools[0].Blocks.Reserved = r })
	}
	reserve([]portblock.Reservation{{Ports: portblock.RangeOf(1024, 1037)}})
	for i := range 3 {
		e, verdict, _ := n.try(t, udp, endpoint(hostA, 52000+i), s2p1)
		require.Equal(t, i < 2, verdict == natcore.Forward)
		if i < 2 {
			require.GreaterOrEqual(t, e.Port(), uint16(1038), "the others are reserved")
		}
	}
	reserve(nil)
	for i := range 14 {
		require.Less(t, n.out(t, udp, endpoint(hostA, 53000+i), s2p1).Port(), uint16(1038))
	}
	check(t, n)
}

// TestOverloadListed: a list of mappings tells those that share a port apart by what they serve.
func TestOverloadListed(t *testing.T) {
	for on, remote := range map[natcore.Behaviour]netip.AddrPort{
		natcore.AddressDependent: endpoint(server2, 0), natcore.AddressAndPortDependent: s2p1,
	} {
		n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Mapping = on })
		n.fill(t, udp)
		e := n.out(t, udp, endpoint(hostA, 50000), s2p1)
		sharing := 0
		for m := range n.Mappings() {
			if m.External == e {
				sharing++
			}
			if m.Internal == endpoint(hostA, 50000) {
				require.Equal(t, remote, m.Remote)
			}
		}
		require.Equal(t, 2, sharing)
	}
	n := newNAT(t)
	n.out(t, udp, a40000, s1p1)
	for m := range n.Mappings() {
		require.False(t, m.Remote.IsValid())
	}
}

// TestOverloadIsUnpredictable: of the ports that may be shared all come, none much more often than others (RFC 6056).
//
// Rows: 7857-16.
func TestOverloadIsUnpredictable(t *testing.T) {
	n := newNAT(t, overloading)
	n.fill(t, udp)
	counts := map[uint16]int{}
	for i := range 1600 {
		counts[n.out(t, udp, endpoint(hostA, 50000), remoteN(i)).Port()]++
	}
	require.Len(t, counts, 16)
	for p, c := range counts {
		require.True(t, c > 50 && c < 170, "port %d came %d times of 1600", p, c)
	}
}
