package mapping

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stateTable is the transition table of RFC 7857 figure 1 with RFC 6146 section
// 3.5.2.2 in its gaps, written out row by row. The one deviation is that a
// SYN and its SYN-ACK do not establish: both ends have to send an ACK (RFC 5382 section 5).
// Opening states are named by what was seen: s and S are the SYN of the internal and of the remote end, a and A their ACKs.
const stateTable = `
state        | isyn        | isynack     | iack        | ifin         | irst  | rsyn        | rsynack     | rack        | rfin        | rrst
s            | s           | sa          | sa          | s            | s     | sS          | sSA         | sA          | s           | s
sA           | sA          | saA         | saA         | sA           | sA    | sSA         | sSA         | sA          | sA          | sA
sS           | sS          | saS         | saS         | sS           | sS    | sS          | sSA         | sSA         | sS          | sS
sSA          | sSA         | established | established | sSA          | sSA   | sSA         | sSA         | sSA         | sSA         | sSA
saS          | saS         | saS         | saS         | saS          | saS   | saS         | established | established | saS         | saS
established  | established | established | established | fin-internal | reset | established | established | established | fin-remote  | reset
fin-internal | fin-internal| fin-internal| fin-internal| fin-internal | reset | fin-internal| fin-internal| fin-internal| closing     | reset
fin-remote   | fin-remote  | fin-remote  | fin-remote  | closing      | reset | fin-remote  | fin-remote  | fin-remote  | fin-remote  | reset
reset        | reset       | reset       | established | established  | reset | reset       | reset       | established | established | reset
closing      | closing     | closing     | closing     | closing      | closing | closing   | closing     | closing     | closing     | closing
`

var eventFlags = map[string]uint8{
	"syn": FlagSYN, "synack": FlagSYN | FlagACK, "ack": FlagACK, "fin": FlagFIN, "rst": FlagRST,
}

func stateByName(t *testing.T, name string) uint8 {
	for p := Established; p < phases; p++ {
		if p.String() == name {
			return uint8(p) | knownMask
		}
	}
	state := uint8(Opening)
	for _, c := range name {
		bit, ok := map[rune]uint8{'s': knownInternal, 'S': knownRemote, 'a': ackInternal, 'A': ackRemote}[c]
		require.True(t, ok, "state %q", name)
		state |= bit
	}
	return state
}

func nameOfState(state uint8) string {
	if p := Phase(state & phaseMask); p != Opening {
		return p.String()
	}
	name := ""
	for _, b := range []struct {
		bit uint8
		s   string
	}{{knownInternal, "s"}, {ackInternal, "a"}, {knownRemote, "S"}, {ackRemote, "A"}} {
		if state&b.bit != 0 {
			name += b.s
		}
	}
	return name
}

func TestRFC7857_01_StateTable(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(stateTable), "\n")
	events := strings.Split(rows[0], "|")[1:]
	checked := 0
	for _, row := range rows[1:] {
		cells := strings.Split(row, "|")
		from := strings.TrimSpace(cells[0])
		for i, event := range events {
			event, want := strings.TrimSpace(event), strings.TrimSpace(cells[i+1])
			got := advance(stateByName(t, from), eventFlags[event[1:]], event[0] == 'r')
			require.Equal(t, want, nameOfState(got), "%s in state %s", event, from)
			checked++
		}
	}
	require.Equal(t, 100, checked)
}

// TestB49_FullReopen: a SYN from both ends on a session that is over makes it live
// again, a SYN from one end does not (B48).
func TestB49_FullReopen(t *testing.T) {
	for _, phase := range []Phase{Closing, Reset} {
		over := uint8(phase) | knownMask
		half := advance(over, FlagSYN, false)
		require.Equal(t, phase.String(), nameOfState(half))
		require.Equal(t, phase.String(), nameOfState(advance(half, FlagSYN, false)))
		require.Equal(t, "sSA", nameOfState(advance(half, FlagSYN|FlagACK, true)))
		require.Equal(t, "sS", nameOfState(advance(half, FlagSYN, true)))
		half = advance(over, FlagSYN, true)
		require.Equal(t, phase.String(), nameOfState(advance(half, FlagSYN|FlagACK, true)))
		require.Equal(t, "s", nameOfState(advance(half, FlagSYN, false)), "the number of the remote end's SYN is not known")
		require.Equal(t, "saS", nameOfState(advance(half, FlagSYN|FlagACK, false)), "its acknowledgment tells it")
	}
}

// TestFINWithTheLastACKOfTheHandshake: the ACK that establishes may close one side at once.
func TestFINWithTheLastACKOfTheHandshake(t *testing.T) {
	require.Equal(t, "fin-internal", nameOfState(advance(stateByName(t, "sSA"), FlagFIN|FlagACK, false)))
	require.Equal(t, "fin-remote", nameOfState(advance(stateByName(t, "saS"), FlagFIN|FlagACK, true)))
}

func TestRFC5382_12_SegmentsOutOfWindowDoNotFit(t *testing.T) {
	state := uint8(Established) | knownMask
	const next = 0xfffffff0 // the window wraps
	for _, c := range []struct {
		name  string
		seg   Segment
		state uint8
		fits  bool
	}{
		{"next", Segment{Seq: next, Flags: FlagACK}, state, true},
		{"retransmission", Segment{Seq: next - 1448, Flags: FlagACK}, state, true},
		{"ahead, wrapped", Segment{Seq: 0x1000, Flags: FlagFIN}, state, true},
		{"last in window", Segment{Seq: (next + windowAhead) & 0xffffffff, Flags: FlagFIN}, state, true},
		{"beyond the window", Segment{Seq: (next + windowAhead + 1) & 0xffffffff, Flags: FlagFIN}, state, false},
		{"before the window", Segment{Seq: next - windowBehind - 1, Flags: FlagFIN}, state, false},
		{"RST exact", Segment{Seq: next, Flags: FlagRST}, state, true},
		{"RST in window", Segment{Seq: next + 1, Flags: FlagRST}, state, false},
		{"RST with ACK behind", Segment{Seq: next - 1, Flags: FlagRST | FlagACK}, state, false},
		{"RST of an end never heard", Segment{Seq: next, Flags: FlagRST}, uint8(Established) | knownInternal, false},
		{"first of an end never heard", Segment{Seq: 5, Flags: FlagACK}, uint8(Established) | knownInternal, true},
		{"SYN of a new connection", Segment{Seq: 5, Flags: FlagSYN}, uint8(Closing) | knownMask, true},
		{"SYN after a RST", Segment{Seq: 5, Flags: FlagSYN}, uint8(Reset) | knownMask, true},
		{"a stranger's SYN after the answer", Segment{Seq: 0x40000000, Flags: FlagSYN}, uint8(Opening) | knownMask, false},
		{"a stranger's SYN", Segment{Seq: 0x40000000, Flags: FlagSYN}, state, false},
	} {
		require.Equal(t, c.fits, fits(c.state, &c.seg, next, true), c.name)
	}
}
