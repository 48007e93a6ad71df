package mapping

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestRFC7857_01_TwoHalvesAreOneConnection: a connection is followed in two halves as in the one record that Flows has of it: after any segments of
// both ends they agree on the phase, on what is known of the ends, on what each sends next, and on when the connection is over.
func TestRFC7857_01_TwoHalvesAreOneConnection(t *testing.T) {
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, 1))
	idle := Timeouts{TCPOpening: 4 * time.Second, TCPEstablished: 30 * time.Second, TCPClosing: 5 * time.Second}
	flags := []uint8{FlagSYN, FlagSYN | FlagACK, FlagACK, FlagACK, FlagACK, FlagFIN | FlagACK, FlagFIN, FlagRST, FlagRST | FlagACK, 0, FlagSYN | FlagFIN, FlagSYN | FlagRST | FlagACK}
	phases := map[Phase]int{}
	for range 4000 {
		idle.RefreshInbound = rng.IntN(2) == 0
		policy := FlowPolicy(0)
		if idle.RefreshInbound {
			policy = RefreshByAnswers
		}
		table, flows := NewTable(testKey, idle, start), NewFlows(idle, time.Second, start)
		block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
		require.True(t, table.AddMapping(&Mapping{Space: portblock.TCP, Internal: inside, External: outside, Block: block}, 0))
		in := Header{Src: inside.Addr, SrcPort: inside.Port, Dst: peer.Addr, DstPort: peer.Port, Proto: protoTCP}
		out := Header{Src: outside.Addr, SrcPort: outside.Port, Dst: peer.Addr, DstPort: peer.Port, Proto: protoTCP, External: true}
		next := [2]uint32{rng.Uint32(), rng.Uint32()} // of both ends
		now := start
		segment := func(end int) *Segment {
			s := &Segment{Seq: next[end], Ack: next[1-end], Length: uint32(rng.IntN(3) * 700), Flags: flags[rng.IntN(len(flags))]}
			switch rng.IntN(12) {
			case 0:
				s.Seq += rng.Uint32()
			case 1:
				s.Seq -= uint32(rng.IntN(2000))
			case 2:
				s.Seq += uint32(rng.IntN(windowAhead * 2))
			case 3:
				s.Ack = rng.Uint32()
			case 4:
				next[end] = rng.Uint32() // a new connection
				s.Seq = next[end]
			default:
				next[end] = s.end()
			}
			return s
		}
		s := segment(0)
		require.True(t, table.Open(&Session{Space: portblock.TCP, Internal: inside, External: outside, Remote: peer}, nowhere, s, 0))
		require.True(t, flows.Open(&Flow{In: in, Out: out}, policy, s, 0))
		for range rng.IntN(40) {
			now = now.Add(time.Duration(rng.IntN(1500)) * time.Millisecond)
			at := table.Advance(now)
			flows.Advance(now)
			end := rng.IntN(2)
			s := segment(end)
			var ok, there bool
			if end == 0 {
				_, ok = table.Outbound(0, portblock.TCP, inside, peer, s, at)
				_, _, there = flows.Pass(in, s, at)
			} else {
				_, _, ok = table.Inbound(portblock.TCP, outside, 0, peer, s, at)
				_, _, there = flows.Pass(out.Reverse(), s, at)
			}
			if ok != there {
				// The table finds a session that is over by a packet from outside where that end was not silent.
				require.True(t, ok && end == 1, "%+v of end %d", *s, end)
			}
			if !there {
				break
			}
			a, _ := table.AppendSavedSessions(nil, 0)
			b, _ := flows.AppendSaved(nil, 0)
			require.Len(t, a, 1)
			require.Len(t, b, 1)
			if a[0].State != b[0].State || a[0].Sent != b[0].Sent[0] || a[0].State&knownRemote != 0 && a[0].Heard != b[0].Sent[1] {
				t.Fatalf("after %+v of end %d: %+v and %+v", *s, end, a[0], b[0])
			}
			phases[a[0].Phase]++
			seen := a[0].Out
			if idle.RefreshInbound && a[0].In.after(seen) {
				seen = a[0].In
			}
			require.Equal(t, b[0].LastSeen, seen)
			require.NoError(t, table.CheckInvariants())
		}
	}
	for p := Opening; p <= Reset; p++ {
		require.Greater(t, phases[p], 100, "%v", p)
	}
}
