package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestSnapshotLatestPackets: a holding is told once a second when its blocks last had a packet, and which block gives no ports follows from
// that (RFC 7768 section 2). A restored engine knows as much of it at every moment as the one that went on.
func TestSnapshotLatestPackets(t *testing.T) {
	cfg := saved(t, "blocks", natcore.EndpointIndependent, 1)
	n := newNAT(t, func(c *natcore.Config) {
		log := c.Log
		*c = cfg
		c.Log = log
	})
	for i := range 21 { // two blocks
		n.out(t, udp, endpoint(hostA, 40000+i), s1p1)
	}
	n.wait(time.Millisecond)
	n.out(t, udp, a40000, s2p1) // within the second
	m := n.restored(t, cfg)
	for range 3 {
		require.Equal(t, held(n), held(m))
		n.wait(999 * time.Millisecond)
		m.now = n.now
		for _, of := range []*nat{n, m} {
			of.out(t, udp, endpoint(hostA, 40020), s2p1)
		}
	}
}
