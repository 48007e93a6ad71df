package mapping

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// pauses are those after which a caller comes back who neglects a table: in hours. Signed differences of ticks turn over after 24.9 and 74.6 days, ticks themselves
// after 49.7.
var pauses = []int{24, 10 * 24, 24*24 + 19, 24*24 + 21, 25 * 24, 30 * 24, 49*24 + 17, 50 * 24, 60 * 24, 75 * 24, 130 * 24}

// TestWeeksWithoutExpire: where packets go on and nobody calls Expire, what is over is not found again however long that lasts, and goes with the next Expire.
func TestWeeksWithoutExpire(t *testing.T) {
	for _, inbound := range []bool{false, true} {
		for _, hours := range pauses {
			for _, step := range []time.Duration{time.Hour, 9 * 24 * time.Hour, 1 << 62} {
				withoutExpire(t, inbound, time.Duration(hours)*time.Hour, step)
			}
		}
	}
}

func withoutExpire(t *testing.T, inbound bool, pause, step time.Duration) {
	table := NewTable(testKey, Timeouts{UDP: 10 * 24 * time.Hour, ICMP: time.Minute, TCPOpening: 4 * time.Minute, TCPEstablished: 2 * time.Hour, TCPClosing: time.Minute, RefreshInbound: inbound}, start)
	block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
	silent := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
	begin := func(space portblock.Space, port uint16, of BlockID, seg *Segment) Session {
		s := Session{Space: space, Internal: Endpoint{inside.Addr, port}, External: Endpoint{outside.Addr, port}, Remote: peer}
		require.True(t, table.AddMapping(&Mapping{Space: space, Internal: s.Internal, External: s.External, Block: of}, 0))
		if seg != nil {
			require.True(t, table.Open(&s, nowhere, seg, 0))
		}
		return s
	}
	live := begin(portblock.UDP, 1, block, &Segment{})
	dead := []Session{
		begin(portblock.ICMP, 2, silent, &Segment{}), begin(portblock.TCP, 3, silent, &Segment{Flags: FlagSYN}), begin(portblock.TCP, 4, silent, &Segment{Flags: FlagACK}),
	}
	explicit := begin(portblock.UDP, 5, silent, nil)
	require.True(t, table.Keep(0, portblock.UDP, explicit.Internal, nowhere, time.Hour, 0))
	both := begin(portblock.TCP, 6, silent, &Segment{Flags: FlagSYN}) // a session and a lifetime
	require.True(t, table.Keep(0, portblock.TCP, both.Internal, nowhere, time.Hour, 0))
	dead = append(dead, both)

	at := Tick(0)
	for since := min(step, pause); ; since = min(since+step, pause) {
		at = table.Advance(start.Add(since))
		if step < 10*24*time.Hour {
			_, ok := table.Outbound(0, live.Space, live.Internal, peer, &Segment{}, at)
			require.True(t, ok, "after %v", since)
		}
		if since == pause {
			break
		}
	}
	for _, s := range dead {
		seg := &Segment{Flags: FlagACK}
		_, ok := table.Outbound(0, s.Space, s.Internal, peer, seg, at)
		require.False(t, ok, "%v %d after %v by %v", s.Space, s.Internal.Port, pause, step)
		_, _, ok = table.Inbound(s.Space, s.External, 0, peer, seg, at)
		require.False(t, ok, "%v %d after %v by %v", s.Space, s.Internal.Port, pause, step)
	}
	_, ok := table.Lifetime(0, portblock.UDP, explicit.Internal, nowhere, at)
	require.False(t, ok, "after %v by %v", pause, step)
	age := time.Duration(at-table.LastPacket(silent)) * time.Millisecond
	require.True(t, min(pause, MaxIdle) <= age && age <= 25*24*time.Hour, "the last packet of a silent block was %v ago, %v after it", age, pause)
	require.NoError(t, table.CheckInvariants())
	var w Sweep
	for !table.Expire(at, 1<<20, &w) {
	}
	left := 0
	if step < 10*24*time.Hour {
		left = 1
	}
	if pause < MaxIdle {
		left = 1
	}
	require.Equal(t, left, table.Sessions(), "after %v by %v", pause, step)
	require.Equal(t, left, table.Mappings(), "after %v by %v", pause, step)
	require.NoError(t, table.CheckInvariants())
}

// TestWeeksOfABlock: a block whose mappings have lifetimes that are renewed, and no packets, is not taken for one that had a packet.
func TestWeeksOfABlock(t *testing.T) {
	table := NewTable(testKey, idle, start)
	block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1})
	require.True(t, table.AddMapping(&Mapping{Space: portblock.UDP, Internal: inside, External: outside, Block: block}, 0))
	var w Sweep
	for days := range 130 {
		at := table.Advance(start.Add(time.Duration(days) * 24 * time.Hour))
		require.True(t, table.Keep(0, portblock.UDP, inside, nowhere, MaxIdle, at))
		for !table.Expire(at, 1000, &w) {
		}
		require.GreaterOrEqual(t, time.Duration(at-table.LastPacket(block))*time.Millisecond, min(time.Duration(days)*24*time.Hour, MaxIdle))
		require.Equal(t, 1, table.Mappings())
	}
}

// TestWeeksOfFlowsWithoutExpire is TestWeeksWithoutExpire for flows.
func TestWeeksOfFlowsWithoutExpire(t *testing.T) {
	header := func(port uint16) Header {
		return Header{Src: inside.Addr, SrcPort: port, Dst: peer.Addr, DstPort: peer.Port, Proto: protoUDP}
	}
	for _, hours := range pauses {
		f := NewFlows(Timeouts{UDP: 5 * time.Minute}, time.Minute, start)
		for port := range uint16(2) {
			in, out := header(port), header(port)
			out.Src, out.External = outside.Addr, true
			require.True(t, f.Open(&Flow{In: in, Out: out}, 0, nil, 0))
		}
		at := Tick(0)
		for since := time.Duration(0); since <= time.Duration(hours)*time.Hour; since += 4 * time.Minute {
			at = f.Advance(start.Add(since))
			_, _, ok := f.Pass(header(0), nil, at)
			require.True(t, ok)
		}
		_, _, ok := f.Pass(header(1), nil, at)
		require.False(t, ok, "after %d hours", hours)
		ended, round := f.Expire(at, 1<<20, nil)
		require.True(t, round)
		require.Len(t, ended, 1)
	}
}
