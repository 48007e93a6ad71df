package mapping

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestManyOfOneEndpoint: one internal endpoint has more sessions, and more mappings, than 16 bits count, and a block holds all ports in all
// spaces. All are found, end, and leave nothing.
func TestManyOfOneEndpoint(t *testing.T) {
	const many = 1<<16 + 10
	began := time.Unix(1_700_000_000, 0)
	idle := Timeouts{UDP: 5 * time.Minute, ICMP: time.Minute, TCPOpening: time.Minute, TCPEstablished: time.Hour, TCPClosing: time.Minute}
	x := NewTable([24]byte{1}, idle, began)
	at := x.Advance(began)
	host, external := uint32(10<<24|2), uint32(203<<24|5)
	block := x.AddBlock(Block{Internal: host, External: external, Ports: 1 << 16})
	in := Endpoint{host, 4000}
	remote := func(i int) Endpoint { return Endpoint{198<<24 | uint32(i), uint16(i)} }
	// One mapping with many sessions.
	out := Endpoint{external, 1}
	require.True(t, x.AddMapping(&Mapping{Space: portblock.UDP, Internal: in, External: out, Block: block}, at))
	for i := range many {
		require.True(t, x.Open(&Session{Space: portblock.UDP, Internal: in, External: out, Remote: remote(i)}, Scope{}, nil, at))
	}
	require.Equal(t, many, x.Sessions())
	require.NoError(t, x.CheckInvariants())
	for i := range many {
		e, ok := x.Outbound(0, portblock.UDP, in, remote(i), nil, at)
		require.True(t, ok)
		require.Equal(t, out, e)
	}
	for i := range many {
		ended, ok := x.Close(0, portblock.UDP, in, remote(i), at)
		require.True(t, ok)
		require.Equal(t, i == many-1, ended.Unmapped, "the mapping goes with the last session")
	}
	// Every port of the block in every space, port 0 among the internal ones, and as many mappings of one internal endpoint.
	for space := range portblock.Space(portblock.NumSpaces) {
		for port := range 1 << 16 {
			m := Mapping{Space: space, Internal: Endpoint{host, uint16(port)}, External: Endpoint{external, uint16(port)}, Block: block}
			if space == portblock.TCP {
				m.Internal, m.Scope = in, ScopeOf(OnEndpoint, 0, 0, remote(port))
			}
			require.True(t, x.AddMapping(&m, at))
		}
	}
	require.NoError(t, x.CheckInvariants())
	require.False(t, x.RemoveBlock(block))
	var w Sweep
	for now := x.Advance(began.Add(time.Hour)); ; {
		if x.Expire(now, 1<<20, &w) {
			break
		}
	}
	require.Len(t, w.Mappings, 3<<16)
	require.NoError(t, x.CheckInvariants())
	require.True(t, x.RemoveBlock(block))
	require.Zero(t, x.Mappings()+x.Sessions())
}
