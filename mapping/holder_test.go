package mapping

import (
	"math/rand/v2"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestHolderWhateverCameBefore: a port that several mappings share has no holder for strangers, and one that a single mapping has is that one's,
// in whatever order others have come and gone.
func TestHolderWhateverCameBefore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, on := range []Dependence{OnAddress, OnEndpoint} {
		table := NewTable(testKey, idle, start)
		now := table.Advance(start)
		host, at := Endpoint{0x64400001, 0}, Endpoint{0xcb007105, 1024}
		block := table.AddBlock(Block{Internal: host.Addr, External: at.Addr, Ports: 16})
		live := map[uint32]Endpoint{} // internal endpoints by the remote address that they are mapped towards
		for step := range 2000 {
			remote := Endpoint{1 + rnd.Uint32N(5), 53}
			scope := ScopeOf(on, 0, 0, remote)
			if in, mapped := live[remote.Addr]; mapped {
				m, ok := table.Unmap(0, portblock.UDP, in, scope)
				require.True(t, ok)
				delete(live, remote.Addr)
				require.Equal(t, len(live) > 0, m.Shared)
			} else {
				in = Endpoint{host.Addr, uint16(step)}
				require.True(t, table.AddMapping(&Mapping{Space: portblock.UDP, Internal: in, External: at, Scope: scope, Block: block}, now))
				live[remote.Addr] = in
			}
			for addr, in := range live {
				got, _, ok := table.Holder(portblock.UDP, at, 0, Endpoint{addr, 53})
				require.True(t, ok)
				require.Equal(t, in, got)
				stranger, _, ok := table.Holder(portblock.UDP, at, 0, Endpoint{99, 53})
				require.Equal(t, len(live) == 1, ok)
				require.True(t, !ok || stranger == in)
			}
			require.NoError(t, table.CheckInvariants())
		}
	}
}
