package mapping

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

var (
	inside  = Endpoint{Addr: 0x0a000002, Port: 5000}
	outside = Endpoint{Addr: 0xcb007105, Port: 2000}
	peer    = Endpoint{Addr: 0xc633640a, Port: 443}
	nowhere = Scope{}
)

// tcpEnds is a table with one mapping, and the numbers that both ends of a connection send next.
type tcpEnds struct {
	*Table
	t     *testing.T
	block BlockID
}

func newTCPEnds(t *testing.T) tcpEnds {
	e := tcpEnds{Table: NewTable(testKey, idle, start), t: t}
	e.block = e.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
	require.True(t, e.AddMapping(&Mapping{Space: portblock.TCP, Internal: inside, External: outside, Block: e.block}, 0))
	return e
}

func (e tcpEnds) open(s Segment) tcpEnds {
	e.t.Helper()
	require.True(e.t, e.Open(&Session{Space: portblock.TCP, Internal: inside, External: outside, Remote: peer}, nowhere, &s, 0))
	return e
}

func (e tcpEnds) out(s Segment) tcpEnds {
	e.t.Helper()
	_, ok := e.Outbound(0, portblock.TCP, inside, peer, &s, 0)
	require.True(e.t, ok)
	return e
}

func (e tcpEnds) in(s Segment) tcpEnds {
	e.t.Helper()
	_, _, ok := e.Inbound(portblock.TCP, outside, 0, peer, &s, 0)
	require.True(e.t, ok)
	return e
}

func (e tcpEnds) is(want Phase) tcpEnds {
	e.t.Helper()
	s, ok := e.Peek(portblock.TCP, outside, 0, peer)
	require.True(e.t, ok)
	require.Equal(e.t, want, s.Phase)
	require.NoError(e.t, e.CheckInvariants())
	return e
}

// farNumber is out of every window of small numbers.
const farNumber = 0x80000000

// TestSYNACKTellsThePeersNumber: the SYN-ACK of an internal server opens the session; its acknowledgment number is what the
// peer sends next, so the peer's ACK there completes the handshake, and its RST there counts.
func TestSYNACKTellsThePeersNumber(t *testing.T) {
	answer := Segment{Seq: 100, Ack: farNumber, Flags: FlagSYN | FlagACK}
	newTCPEnds(t).open(answer).is(Opening).
		in(Segment{Seq: farNumber + 1<<29, Flags: FlagACK}).is(Opening).
		in(Segment{Seq: farNumber, Flags: FlagACK}).is(Established).
		in(Segment{Seq: farNumber + 1, Flags: FlagRST}).is(Established).
		in(Segment{Seq: farNumber, Flags: FlagRST}).is(Reset)
	// The internal end's own number is known as well.
	newTCPEnds(t).open(answer).in(Segment{Seq: farNumber, Flags: FlagACK}).
		out(Segment{Seq: 101, Flags: FlagRST}).is(Reset)
}

// TestSYNACKInASession: the same when an internal SYN opened the session before, with the same number or another.
func TestSYNACKInASession(t *testing.T) {
	for _, seq := range []uint32{100, 900} {
		e := newTCPEnds(t).open(Segment{Seq: 100, Flags: FlagSYN}).
			out(Segment{Seq: seq, Ack: farNumber, Flags: FlagSYN | FlagACK})
		if seq == 100 {
			e.in(Segment{Seq: farNumber - 1, Flags: FlagSYN}) // simultaneous open
		}
		e.in(Segment{Seq: farNumber, Flags: FlagACK}).is(Established).
			in(Segment{Seq: farNumber, Flags: FlagRST}).is(Reset)
	}
}

// TestAnotherSYNACK: a client that begins anew from the same port while its connection opens has other numbers, which the server's next
// SYN-ACK tells, whether the server has other numbers too or not.
func TestAnotherSYNACK(t *testing.T) {
	for _, seq := range []uint32{100, 900} {
		newTCPEnds(t).open(Segment{Seq: 100, Ack: 5000, Flags: FlagSYN | FlagACK}).
			in(Segment{Seq: farNumber - 1, Flags: FlagSYN}).is(Opening).
			out(Segment{Seq: seq, Ack: farNumber, Flags: FlagSYN | FlagACK}).
			in(Segment{Seq: 5000, Flags: FlagACK}).is(Opening).
			in(Segment{Seq: farNumber, Flags: FlagACK}).is(Established).
			in(Segment{Seq: farNumber, Flags: FlagRST}).is(Reset)
	}
}

// TestATK01_AStrangersSYNFirst: who sends a SYN or a SYN-ACK before the peer does, with numbers of his own, neither keeps the connection from being
// established nor can he reset it: the peer's SYN-ACK acknowledges what the internal end has sent.
func TestATK01_AStrangersSYNFirst(t *testing.T) {
	for _, stranger := range []Segment{{Seq: 7000, Flags: FlagSYN}, {Seq: 7000, Ack: 33, Flags: FlagSYN | FlagACK}} {
		opening := func() tcpEnds { return newTCPEnds(t).open(Segment{Seq: 100, Flags: FlagSYN}).in(stranger) }
		e := opening().in(Segment{Seq: farNumber - 1, Ack: 101, Flags: FlagSYN | FlagACK}).out(Segment{Seq: 101, Ack: farNumber, Flags: FlagACK}).is(Established).
			in(Segment{Seq: 7001, Flags: FlagRST}).is(Established)
		e.in(Segment{Seq: farNumber, Flags: FlagRST}).is(Reset)
		// His next SYN-ACK does not know the number.
		opening().in(Segment{Seq: farNumber, Ack: 100, Flags: FlagSYN | FlagACK}).in(Segment{Seq: farNumber + 1, Flags: FlagACK}).is(Opening)
		// Nor is anything believed once the connection is established.
		opening().in(Segment{Seq: farNumber - 1, Ack: 101, Flags: FlagSYN | FlagACK}).out(Segment{Seq: 101, Flags: FlagACK}).
			in(Segment{Seq: 7000, Ack: 101, Flags: FlagSYN | FlagACK}).in(Segment{Seq: 7001, Flags: FlagRST}).is(Established)
	}
}

// TestSYNACKTellsAFlow: the same where both ends may be translated.
func TestSYNACKTellsAFlow(t *testing.T) {
	f := NewFlows(idle, time.Minute, start)
	in := Header{Src: inside.Addr, SrcPort: inside.Port, Dst: peer.Addr, DstPort: peer.Port, Proto: protoTCP}
	out := Header{Src: outside.Addr, SrcPort: outside.Port, Dst: peer.Addr, DstPort: peer.Port, Proto: protoTCP, External: true}
	require.True(t, f.Open(&Flow{In: in, Out: out}, 0, &Segment{Seq: 100, Flags: FlagSYN}, 0))
	phase := func(h Header, s Segment) Phase {
		_, _, ok := f.Pass(h, &s, 0)
		require.True(t, ok)
		all, _ := f.Append(nil, 0)
		return all[0].Phase
	}
	require.Equal(t, Opening, phase(in, Segment{Seq: 900, Ack: farNumber, Flags: FlagSYN | FlagACK}))
	require.Equal(t, Opening, phase(out.Reverse(), Segment{Seq: farNumber + 1<<29, Flags: FlagACK}))
	require.Equal(t, Established, phase(out.Reverse(), Segment{Seq: farNumber, Flags: FlagACK}))
	require.Equal(t, Reset, phase(out.Reverse(), Segment{Seq: farNumber, Flags: FlagRST}))
}

// TestRestoredPhases: a session is restored in phases of its protocol alone.
func TestRestoredPhases(t *testing.T) {
	for space, from := range map[portblock.Space]Phase{portblock.UDP: Active, UDPLite: Active, portblock.ICMP: Query, portblock.TCP: Opening} {
		to := from
		if space == portblock.TCP {
			to = Reset
		}
		for p := range Phase(16) {
			e := newTCPEnds(t)
			e.AddMapping(&Mapping{Space: space, Internal: inside, External: outside, Block: e.block}, 0)
			v := SavedSession{Session: Session{Space: space, Internal: inside, External: outside, Remote: peer}, State: uint8(p)}
			require.Equal(t, from <= p && p <= to, e.RestoreSession(&v, 0), "%v of space %d", p, space)
		}
	}
}

// TestHandshakeAfterTheEnd: after FINs or a RST a handshake with far numbers is a new connection, and its own numbers count.
func TestHandshakeAfterTheEnd(t *testing.T) {
	established := func(t *testing.T) tcpEnds {
		return newTCPEnds(t).open(Segment{Seq: 100, Flags: FlagSYN}).
			in(Segment{Seq: 200, Flags: FlagSYN | FlagACK}).out(Segment{Seq: 101, Flags: FlagACK}).is(Established)
	}
	for name, ended := range map[string]func(*testing.T) tcpEnds{
		"closing": func(t *testing.T) tcpEnds {
			return established(t).out(Segment{Seq: 101, Flags: FlagFIN}).in(Segment{Seq: 201, Flags: FlagFIN}).is(Closing)
		},
		"reset": func(t *testing.T) tcpEnds { return established(t).in(Segment{Seq: 201, Flags: FlagRST}).is(Reset) },
	} {
		t.Run(name, func(t *testing.T) {
			again := func() tcpEnds {
				return ended(t).out(Segment{Seq: farNumber, Flags: FlagSYN}).
					in(Segment{Seq: farNumber + 500, Flags: FlagSYN | FlagACK}).is(Opening).
					out(Segment{Seq: farNumber + 1, Flags: FlagACK}).is(Established)
			}
			again().in(Segment{Seq: 201, Flags: FlagRST}).is(Established)
			again().in(Segment{Seq: farNumber + 501, Flags: FlagRST}).is(Reset)
			again().out(Segment{Seq: farNumber + 1, Flags: FlagRST}).is(Reset)
			again().out(Segment{Seq: farNumber + 1, Flags: FlagFIN}).is(FinInternal).
				in(Segment{Seq: farNumber + 501, Flags: FlagFIN}).is(Closing)
			// A SYN of one end alone revives nothing.
			phase := map[string]Phase{"closing": Closing, "reset": Reset}[name]
			ended(t).in(Segment{Seq: farNumber, Flags: FlagSYN}).is(phase)
			ended(t).out(Segment{Seq: farNumber, Flags: FlagSYN}).is(phase)
		})
	}
}

// overs are connections that are over: the internal end sends 103 next, the remote one 202.
func overs(t *testing.T) map[Phase]func() tcpEnds {
	established := func() tcpEnds {
		return newTCPEnds(t).open(Segment{Seq: 100, Flags: FlagSYN}).
			in(Segment{Seq: 200, Flags: FlagSYN | FlagACK}).out(Segment{Seq: 101, Length: 1, Flags: FlagACK}).is(Established)
	}
	return map[Phase]func() tcpEnds{
		Closing: func() tcpEnds {
			return established().out(Segment{Seq: 102, Flags: FlagFIN}).in(Segment{Seq: 201, Flags: FlagFIN}).is(Closing)
		},
		Reset: func() tcpEnds {
			return established().in(Segment{Seq: 201, Length: 1, Flags: FlagACK}).out(Segment{Seq: 102, Length: 1}).in(Segment{Seq: 202, Flags: FlagRST}).is(Reset)
		},
	}
}

// TestATK01_AStrangersSYNAfterTheEnd: who sends a SYN or a SYN-ACK to a connection that is over, before the internal end begins another one on its endpoints or after,
// neither establishes that one nor are his numbers believed: the peer's are, and its FIN and its RST count.
func TestATK01_AStrangersSYNAfterTheEnd(t *testing.T) {
	again := Segment{Seq: farNumber, Flags: FlagSYN}
	answer := Segment{Seq: farNumber + 500, Ack: farNumber + 1, Flags: FlagSYN | FlagACK}
	for phase, over := range overs(t) {
		for _, stranger := range []Segment{{Seq: 1 << 29, Flags: FlagSYN}, {Seq: 1 << 29, Ack: 33, Flags: FlagSYN | FlagACK}} {
			for _, begun := range []func() tcpEnds{
				func() tcpEnds { return over().in(stranger).is(phase).out(again).is(Opening) },
				func() tcpEnds {
					return over().in(stranger).in(stranger).is(phase).out(again).is(Opening).in(stranger).is(Opening)
				},
				func() tcpEnds { return over().out(again).is(phase).in(stranger).is(Opening) },
			} {
				opened := func() tcpEnds {
					return begun().in(answer).out(Segment{Seq: farNumber + 1, Ack: farNumber + 501, Flags: FlagACK}).is(Established)
				}
				opened().in(Segment{Seq: 1<<29 + 1, Flags: FlagRST}).in(Segment{Seq: 1<<29 + 1, Flags: FlagFIN}).is(Established)
				opened().in(Segment{Seq: farNumber + 501, Flags: FlagRST}).is(Reset)
				opened().in(Segment{Seq: farNumber + 501, Flags: FlagFIN}).is(FinRemote).out(Segment{Seq: farNumber + 1, Flags: FlagFIN}).is(Closing)
			}
			// The internal end begins nothing: what is left of the connection is as it was.
			e := over().in(stranger).is(phase)
			if phase == Reset {
				e.in(Segment{Seq: 202, Flags: FlagACK}).is(Established).in(Segment{Seq: 202, Flags: FlagFIN}).is(FinRemote)
			}
		}
	}
}

// TestRemoteHandshakeAfterTheEnd: the remote end may begin the new connection as well; the internal one's SYN-ACK, or both ends' SYNs, open it.
func TestRemoteHandshakeAfterTheEnd(t *testing.T) {
	for _, over := range overs(t) {
		syn := over().in(Segment{Seq: farNumber, Flags: FlagSYN})
		syn.out(Segment{Seq: 1 << 29, Ack: farNumber + 1, Flags: FlagSYN | FlagACK}).is(Opening).
			in(Segment{Seq: farNumber + 1, Ack: 1<<29 + 1, Flags: FlagACK}).is(Established).
			in(Segment{Seq: farNumber + 1, Flags: FlagRST}).is(Reset)
		both := over().in(Segment{Seq: farNumber, Flags: FlagSYN}).out(Segment{Seq: 1 << 29, Flags: FlagSYN}).
			out(Segment{Seq: 1 << 29, Ack: farNumber + 1, Flags: FlagSYN | FlagACK})
		both.in(Segment{Seq: farNumber, Ack: 1<<29 + 1, Flags: FlagSYN | FlagACK}).is(Established).
			in(Segment{Seq: farNumber + 1, Flags: FlagFIN}).is(FinRemote)
	}
}

// TestRetransmissionMovesNothingBack: an old segment within the window leaves what its sender sends next.
func TestRetransmissionMovesNothingBack(t *testing.T) {
	e := newTCPEnds(t).open(Segment{Seq: 100, Flags: FlagSYN}).
		in(Segment{Seq: 200, Flags: FlagSYN | FlagACK}).out(Segment{Seq: 101, Flags: FlagACK}).
		in(Segment{Seq: 201, Length: 1000, Flags: FlagACK}).in(Segment{Seq: 201, Length: 10, Flags: FlagACK})
	e.in(Segment{Seq: 211, Flags: FlagRST}).is(Established)
	e.in(Segment{Seq: 1201, Flags: FlagRST}).is(Reset)
}

// TestOpenNeedsTheMappingsEndpoint: a session of another external endpoint than its mapping's is refused and leaves nothing.
func TestOpenNeedsTheMappingsEndpoint(t *testing.T) {
	e := newTCPEnds(t)
	for _, foreign := range []Endpoint{{Addr: outside.Addr, Port: outside.Port + 1}, {Addr: outside.Addr + 1, Port: outside.Port}} {
		s := Session{Space: portblock.TCP, Internal: inside, External: foreign, Remote: peer}
		require.False(t, e.Open(&s, nowhere, &Segment{Flags: FlagSYN}, 0))
	}
	require.Zero(t, e.Sessions())
	_, ok := e.PeekOutbound(0, portblock.TCP, inside, peer)
	require.False(t, ok)
	require.NoError(t, e.CheckInvariants())
	var w Sweep
	e.Expire(0, 1<<20, &w)
	require.Len(t, w.Mappings, 1, "nothing uses the mapping")
}

// TestLifetimes: an explicit lifetime ends in time, at ten days at the latest, and does not outlast its end when the last session leaves.
func TestLifetimes(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct{ asked, lasts time.Duration }{
		{time.Millisecond, time.Millisecond}, {time.Nanosecond, time.Millisecond}, {day, day},
		{10 * day, 10 * day}, {10*day + 1, 10 * day}, {20 * day, 10 * day}, {60 * day, 10 * day}, {1 << 62, 10 * day},
	} {
		e := newTCPEnds(t)
		require.True(t, e.Keep(0, portblock.TCP, inside, nowhere, c.asked, 0))
		var w Sweep
		for !e.Expire(e.Advance(start.Add(c.lasts-time.Millisecond)), 1<<20, &w) {
		}
		require.Equal(t, 1, e.Mappings(), "%v", c.asked)
		for !e.Expire(e.Advance(start.Add(c.lasts)), 1<<20, &w) {
		}
		require.Zero(t, e.Mappings(), "%v", c.asked)
	}
	for _, c := range []struct {
		now  Tick
		gone bool
	}{{1999, false}, {2000, true}, {9000, true}} {
		e := newTCPEnds(t).open(Segment{Seq: 1, Flags: FlagSYN})
		require.True(t, e.Keep(0, portblock.TCP, inside, nowhere, 2*time.Second, 0))
		ended, ok := e.Close(0, portblock.TCP, inside, peer, c.now)
		require.True(t, ok)
		require.Equal(t, c.gone, ended.Unmapped, "at %d", c.now)
		require.NoError(t, e.CheckInvariants())
	}
}

// TestTimeoutsEndAtTenDays: longer idle times are ten days.
func TestTimeoutsEndAtTenDays(t *testing.T) {
	const day = 24 * time.Hour
	for _, asked := range []time.Duration{10 * day, 20 * day, 60 * day} {
		table := NewTable(testKey, Timeouts{UDP: asked}, start)
		block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 1})
		require.True(t, table.AddMapping(&Mapping{Space: portblock.UDP, Internal: inside, External: outside, Block: block}, 0))
		require.True(t, table.Open(&Session{Space: portblock.UDP, Internal: inside, External: outside, Remote: peer}, nowhere, &Segment{}, 0))
		var w Sweep
		for !table.Expire(table.Advance(start.Add(10*day-time.Millisecond)), 1<<20, &w) {
		}
		require.Equal(t, 1, table.Sessions(), "%v", asked)
		for !table.Expire(table.Advance(start.Add(10*day)), 1<<20, &w) {
		}
		require.Zero(t, table.Sessions(), "%v", asked)
	}
}
