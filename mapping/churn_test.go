package mapping

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// churnFlow is a session of TestChurn by its internal end.
type churnFlow struct {
	space            portblock.Space
	internal, remote Endpoint
}

type churnState struct {
	external Endpoint
	seen     Tick
}

// TestChurn: tens of thousands of sessions of thousands of hosts come, are used from both ends, and go, with Expire going round in small steps all
// the time, so that segments grow, and halves move, while sessions live; and timeouts change. A plain map says which sessions there are: none is lost, none is told to
// have ended twice or before its time, none stays after it, and each is found from both ends. Half of the internal endpoints have several sessions or mappings.
func TestChurn(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 7))
	idle := Timeouts{UDP: 40 * time.Second, ICMP: 20 * time.Second, TCPEstablished: 60 * time.Second, TCPOpening: time.Second, TCPClosing: time.Second}
	table := NewTable([24]byte{3: byte(rng.Uint32()), 9: 1, 17: byte(rng.Uint32())}, idle, start)
	const hosts, ports = 3000, 16
	blocks := make([]BlockID, hosts)
	for i := range blocks {
		blocks[i] = table.AddBlock(Block{Internal: 10<<24 + uint32(i), External: 203<<24 + uint32(i), Ports: ports})
	}
	now := start
	live := map[churnFlow]churnState{}
	var order []churnFlow
	rounds := 0
	over := func(f churnFlow, s churnState, at Tick) bool {
		d := idle.UDP
		switch f.space {
		case portblock.ICMP:
			d = idle.ICMP
		case portblock.TCP:
			d = idle.TCPEstablished
		}
		return time.Duration(int32(at-s.seen))*time.Millisecond >= d
	}
	var began, next Tick // when this round of Expire began, or the one before, under these timeouts; and the next one
	end := func(e *Ended, at Tick) {
		f := churnFlow{e.Space, e.Internal, e.Remote}
		s, there := live[f]
		if !there || !over(f, s, at) || s.external != e.External {
			t.Fatalf("%v ended: it was there %v, and was over %v", e, there, over(f, s, at))
		}
		delete(live, f)
	}
	seg := Segment{Seq: 100, Flags: FlagACK}
	for step := range 120_000 {
		at := table.Advance(now)
		if step%5000 == 0 {
			idle.UDP = time.Duration(25+rng.IntN(20)) * time.Second
			table.SetTimeouts(idle)
			began, next = 0, 0 // it is the middle of a round
		}
		switch what := rng.IntN(20); {
		case what < 9: // a new session
			host := rng.IntN(hosts)
			n := uint16(rng.IntN(ports))
			f := churnFlow{
				portblock.Space(rng.IntN(3)), Endpoint{10<<24 + uint32(host), 1000 + n},
				Endpoint{198<<24 + uint32(rng.IntN(3)), uint16(rng.IntN(1 << 10))},
			}
			external := Endpoint{203<<24 + uint32(host), 2000 + n}
			scope := ScopeOf(OnNothing, 0, 0, f.remote)
			if n%4 == 0 { // endpoint-dependent, and all of an internal endpoint share a port
				scope = ScopeOf(OnEndpoint, 0, 0, f.remote)
			}
			if _, there := live[f]; there {
				continue
			}
			m := Mapping{Space: f.space, Internal: f.internal, External: external, Scope: scope, Block: blocks[host]}
			var l, back Lookup
			table.LookOutbound(&l, 0, f.space, f.internal, f.remote)
			table.LookInbound(&back, f.space, external, 0, f.remote)
			if !table.AddFirst(&l, &back, &m, 0, &seg, at) {
				table.AddMapping(&m, at)
				require.True(t, table.Open(&Session{Space: f.space, Internal: f.internal, External: external, Remote: f.remote}, scope, &seg, at), "%v", f)
			}
			live[f] = churnState{external, at}
			order = append(order, f)
		case what < 14 && len(order) > 0: // a packet out
			f := order[rng.IntN(len(order))]
			s, there := live[f]
			found := there && !over(f, s, at)
			e, ok := table.Outbound(0, f.space, f.internal, f.remote, &seg, at)
			require.Equal(t, found, ok, "%v at step %d", f, step)
			if found {
				require.Equal(t, s.external, e)
				s.seen = at
				live[f] = s
			}
		case what < 18 && len(order) > 0: // a packet in, which keeps nothing alive
			f := order[rng.IntN(len(order))]
			s, there := live[f]
			if there && over(f, s, at) {
				continue
			}
			external := Endpoint{f.internal.Addr - 10<<24 + 203<<24, f.internal.Port + 1000}
			in, _, ok := table.Inbound(f.space, external, 0, f.remote, &seg, at)
			require.Equal(t, there, ok, "%v at step %d", f, step)
			if there {
				require.Equal(t, s.external, external)
				require.Equal(t, f.internal, in)
			}
		case what == 18 && len(order) > 0:
			f := order[rng.IntN(len(order))]
			if rng.IntN(4) > 0 {
				continue
			}
			_, there := live[f]
			_, ok := table.Close(0, f.space, f.internal, f.remote, at)
			require.Equal(t, there, ok)
			delete(live, f)
		case what == 19:
			now = now.Add(time.Duration(rng.IntN(30)) * time.Millisecond)
		}
		var w Sweep
		round := step%4 == 0 && table.Expire(at, 1+rng.IntN(200), &w)
		for i := range w.Sessions {
			end(&w.Sessions[i], at)
		}
		require.Empty(t, w.Mappings, "a mapping goes with its last session")
		if round {
			if rounds++; rounds%4 == 0 {
				for f, s := range live {
					if over(f, s, began) {
						t.Fatalf("%v stays", f)
					}
				}
			}
			began, next = next, at
		}
		if len(order) > 1<<16 {
			order = order[1<<15:]
		}
		if len(live) != table.Sessions() {
			t.Fatalf("%d sessions, the table counts %d", len(live), table.Sessions())
		}
		if step%50_000 == 0 {
			require.NoError(t, table.CheckInvariants())
		}
	}
	require.Greater(t, len(live), 5000)
	require.Greater(t, rounds, 10)
	require.NoError(t, table.CheckInvariants())
	seen := 0
	for part := 0; part >= 0; {
		var page []State
		page, part = table.AppendSessions(nil, part)
		for _, v := range page {
			s, there := live[churnFlow{v.Space, v.Internal, v.Remote}]
			if there && s == (churnState{v.External, v.LastSeen}) {
				seen++
			}
		}
	}
	require.Equal(t, len(live), seen)
	now = now.Add(time.Hour)
	var w Sweep
	at := table.Advance(now)
	for rounds := 0; rounds < 2; { // the first ends in the middle of the table
		if table.Expire(at, 1000, &w) {
			rounds++
		}
	}
	for i := range w.Sessions {
		end(&w.Sessions[i], at)
	}
	require.Zero(t, len(live))
	require.Zero(t, table.Mappings()+table.Sessions()+table.out.used+table.in.used+table.out.crowds.used+table.in.crowds.used)
	for _, id := range blocks {
		require.True(t, table.RemoveBlock(id))
	}
}
