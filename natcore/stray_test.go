package natcore_test

import (
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestStrayPacketsInBatches: packets to ports that nobody holds, in blocks that are held and in those that are not, are dropped in the middle of a
// batch as they are alone, and those around them pass.
func TestStrayPacketsInBatches(t *testing.T) {
	for _, shards := range []int{1, 8} {
		n := newNAT(t, func(c *natcore.Config) { c.Shards = shards })
		e := n.out(t, udp, a40000, s1p1)
		packet := func(d natcore.Direction, port int) natcore.Packet {
			if d == natcore.Outbound {
				return natcore.Packet{Bytes: build(t, udp, a40000, s1p1, nil, tcpFlags{})}
			}
			return natcore.Packet{Bytes: build(t, udp, s1p1, endpoint(e.Addr(), port), nil, tcpFlags{}), Direction: d}
		}
		for port := 1; port < 65536; port += 7 {
			if port == int(e.Port()) {
				continue
			}
			batch := []natcore.Packet{
				packet(natcore.Outbound, 0), packet(natcore.Inbound, port), packet(natcore.Inbound, int(e.Port())),
				packet(natcore.Inbound, int(e.Port())^1), packet(natcore.Outbound, 0),
			}
			n.Process(batch, n.now)
			for i, want := range []natcore.Verdict{natcore.Forward, natcore.Drop, natcore.Forward, natcore.Drop, natcore.Forward} {
				require.Equal(t, want, batch[i].Verdict, "packet %d, port %d: %v", i, port, batch[i].Reason)
			}
		}
		check(t, n)
	}
}
