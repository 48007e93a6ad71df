package natcore_test

import (
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestOverloadSharesNoPortOnItsWay: a port that a caller has got with a block, and has not mapped yet, is not shared by a
// mapping of another caller.
func TestOverloadSharesNoPortOnItsWay(t *testing.T) {
	n := newNAT(t, overloading)
	port, giveBack, why := n.GrantOnly(hostA, n.now)
	require.Equal(t, natcore.ReasonNone, why)
	for r := range 3 {
		for i := range 15 {
			e := n.out(t, udp, endpoint(hostA, 41000+i), remoteN(r))
			require.NotEqual(t, port, e.Port(), "it serves nobody yet")
		}
		require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 42000), remoteN(r)))
	}
	require.EqualValues(t, 2*15, n.Stats().MappingsShared)
	giveBack()
	require.NoError(t, n.CheckInvariants())
}
