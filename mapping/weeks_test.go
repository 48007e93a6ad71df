package mapping

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestWeeks: ticks wrap after 49.7 days. Sessions that one end alone keeps alive all that time go on, from whichever end that is,
// and end in time once it is silent too; so do mappings whose lifetime is renewed.
func TestWeeks(t *testing.T) {
	for _, days := range []int{30, 40, 60} {
		weeks(t, days, false)
		weeks(t, days, true)
	}
}

func weeks(t *testing.T, days int, inbound bool) {
	const hour = time.Hour
	idle := Timeouts{UDP: 3 * hour, ICMP: time.Minute, TCPEstablished: 9 * 24 * hour, TCPOpening: time.Minute, TCPClosing: time.Minute, RefreshInbound: inbound}
	table := NewTable(testKey, idle, start)
	block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
	at := table.Advance(start)
	type kept struct {
		Session
		out, in time.Duration // how often
	}
	all := []kept{
		{Session{Space: portblock.UDP}, 2 * hour, 0},
		{Session{Space: portblock.TCP}, 8 * 24 * hour, 0},
		{Session{Space: portblock.UDP}, 2 * hour, hour},
	}
	if inbound {
		all = append(all, kept{Session{Space: portblock.UDP}, 0, 2 * hour}, kept{Session{Space: portblock.TCP}, 0, 8 * 24 * hour})
	}
	seg := Segment{Seq: 100, Flags: FlagACK}
	for i := range all {
		s := &all[i].Session
		s.Internal, s.External, s.Remote = Endpoint{inside.Addr, uint16(i)}, Endpoint{outside.Addr, uint16(i)}, peer
		require.True(t, table.AddMapping(&Mapping{Space: s.Space, Internal: s.Internal, External: s.External, Block: block}, at))
		require.True(t, table.Open(s, nowhere, &seg, at))
	}
	lasting := Mapping{Space: portblock.ICMP, Internal: inside, External: outside, Block: block}
	require.True(t, table.AddMapping(&lasting, at))
	var w Sweep
	expire := func(at Tick) {
		for !table.Expire(at, 1<<20, &w) {
		}
	}
	for n := range days * 24 {
		since := time.Duration(n) * hour
		at := table.Advance(start.Add(since))
		if since%(9*24*hour) == 0 {
			require.True(t, table.Keep(0, portblock.ICMP, inside, nowhere, 10*24*hour, at))
		}
		for _, k := range all {
			if k.out != 0 && since%k.out == 0 {
				e, ok := table.Outbound(0, k.Space, k.Internal, peer, &seg, at)
				require.True(t, ok, "after %v", since)
				require.Equal(t, k.External, e)
			}
			if k.in != 0 && since%k.in == 0 {
				_, _, ok := table.Inbound(k.Space, k.External, 0, peer, &seg, at)
				require.True(t, ok, "after %v", since)
			}
		}
		expire(at)
		require.Equal(t, len(all), table.Sessions(), "after %v", since)
		require.Equal(t, len(all)+1, table.Mappings(), "after %v", since)
		if n%100 == 0 {
			require.NoError(t, table.CheckInvariants())
		}
	}
	require.Empty(t, w.Sessions)
	at = table.Advance(start.Add(time.Duration(days*24+3) * hour))
	expire(at)
	for i := range w.Sessions {
		require.Equal(t, portblock.UDP, w.Sessions[i].Space)
	}
	tcp := 1
	if inbound {
		tcp = 2
	}
	require.Equal(t, tcp, table.Sessions())
	expire(table.Advance(start.Add(time.Duration(days*24+24*10) * hour)))
	require.Zero(t, table.Sessions())
	require.Zero(t, table.Mappings())
	require.Len(t, w.Sessions, len(all))
	require.Len(t, w.Mappings, 1)
}

// TestWeeksOfMany: the silent ends of sessions in many segments do not come round either, whatever steps Expire takes.
func TestWeeksOfMany(t *testing.T) {
	const many, day = 5000, 24 * time.Hour
	for _, budget := range []int{1, 1000, 1 << 20} {
		table := NewTable(testKey, Timeouts{UDP: 6 * day, RefreshInbound: true}, start)
		block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1 << 16})
		in := func(i int) Endpoint { return Endpoint{inside.Addr, uint16(i % (many / 3))} } // three sessions each
		remote := func(i int) Endpoint { return Endpoint{peer.Addr, uint16(i)} }
		for i := range many {
			external := Endpoint{outside.Addr, in(i).Port}
			table.AddMapping(&Mapping{Space: portblock.UDP, Internal: in(i), External: external, Block: block}, 0)
			require.True(t, table.Open(&Session{Space: portblock.UDP, Internal: in(i), External: external, Remote: remote(i)}, nowhere, nil, 0))
		}
		var w Sweep
		expire := func(at Tick) {
			for rounds := 0; rounds < 2; {
				if table.Expire(at, budget, &w) {
					rounds++
				}
			}
		}
		for hours := 0; hours <= 40*24; hours += 8 {
			at := table.Advance(start.Add(time.Duration(hours) * time.Hour))
			for i := range many {
				if hours%(5*24) == 0 {
					_, ok := table.Outbound(0, portblock.UDP, in(i), remote(i), nil, at)
					require.True(t, ok)
				}
			}
			expire(at)
		}
		require.Equal(t, many, table.Sessions())
		expire(table.Advance(start.Add(46*day - time.Millisecond)))
		require.Equal(t, many, table.Sessions())
		expire(table.Advance(start.Add(46 * day)))
		require.Zero(t, table.Sessions())
		require.Len(t, w.Sessions, many)
		require.NoError(t, table.CheckInvariants())
	}
}
