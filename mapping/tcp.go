package mapping

import "strconv"

// Phase is where a session is in its life. TCP phases follow RFC 7857 figure 1
// with the gaps filled from RFC 6146 section 3.5.2.2.
//
//	                 SYN of the other end,
//	   first SYN     then an ACK of each end
//	CLOSED ----> Opening ----> Established ----> FinInternal / FinRemote ----> Closing ----> gone
//	                              |  ^               FIN of one end      FIN of the other
//	                   valid RST  v  |  any other segment
//	                            Reset ----> gone
//
// From Closing and Reset SYNs of both ends for a new connection lead to Opening. A session that is only opening keeps the short timer until both ends have
// sent an ACK (RFC 5382 section 5): the figure's switch on the server's SYN
// would let a spoofed SYN and its SYN-ACK hold state for two hours.
type Phase uint8

const (
	// Active is the one phase of UDP sessions.
	Active Phase = iota + 1
	// Query is the one phase of ICMP query sessions.
	Query
	// Opening: a SYN was seen, and not yet an ACK from both ends.
	Opening
	// Established: both ends have sent a SYN and an ACK, or the session was admitted in its middle.
	Established
	// FinInternal: the internal end has sent its FIN.
	FinInternal
	// FinRemote: the remote end has sent its FIN.
	FinRemote
	// Closing: both ends have sent their FINs. Packets pass and do not extend it.
	Closing
	// Reset: a RST was seen that belongs to the connection. Any other segment of it brings it back (RFC 7857 section 2.2),
	// and the SYNs of both ends open a new one.
	Reset
	// Other is the one phase of sessions of protocols without ports (Flows).
	Other

	phases = iota + 1
)

var phaseNames = [phases]string{"none", "udp", "icmp", "opening", "established", "fin-internal", "fin-remote", "closing", "reset", "other"}

// String returns the phase in lower case.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "Phase(" + strconv.Itoa(int(p)) + ")"
}

// TCP flag bits, as in the header (RFC 9293 section 3.1).
const (
	FlagFIN = 1 << 0
	FlagSYN = 1 << 1
	FlagRST = 1 << 2
	FlagACK = 1 << 4
)

// Segment is what TCP tracking needs to know of a segment. Length is the
// payload's length in bytes; SYN and FIN count one each on top.
type Segment struct {
	Seq    uint32
	Ack    uint32
	Length uint32
	Flags  uint8
}

// end is the sequence number behind the segment.
func (s *Segment) end() uint32 {
	n := s.Seq + s.Length
	if s.Flags&FlagSYN != 0 {
		n++
	}
	if s.Flags&FlagFIN != 0 {
		n++
	}
	return n
}

// A session's state byte holds the phase in its low four bits and four bits
// about the two ends. In all phases a known bit says that the sequence numbers of
// that end are tracked; in Opening it says that the end's SYN was seen, which
// is the same thing. The ack bits say in Opening that the end has sent an ACK, and in Closing
// and Reset that it has sent a SYN for a new connection on the same endpoints. There the number of a SYN that comes from outside
// counts only once the internal end has sent its own: it may be a stranger's, and not that of either connection (ATK-01).
const (
	phaseMask     = 0x0f
	knownInternal = 0x10
	knownRemote   = 0x20
	ackInternal   = 0x40
	ackRemote     = 0x80
	knownMask     = knownInternal | knownRemote
	ackMask       = ackInternal | ackRemote
)

// opened returns the state of a session whose first segment, from the internal
// end, has these flags. A SYN-ACK answers a SYN that was let in without a session: the acknowledgment number tells
// where the remote end is. Without a SYN the session is taken to be in its middle (the caller decides
// whether to admit it).
func opened(flags uint8) uint8 {
	switch flags & (FlagSYN | FlagACK) {
	case FlagSYN:
		return uint8(Opening) | knownInternal
	case FlagSYN | FlagACK:
		return uint8(Opening) | knownInternal | knownRemote | ackInternal
	}
	return uint8(Established) | knownInternal
}

// advance returns the state after a segment that fits the connection (see
// fits): the transition table of RFC 7857 section 2.
func advance(state, flags uint8, fromRemote bool) uint8 {
	known, ack, fin := uint8(knownInternal), uint8(ackInternal), FinInternal
	if fromRemote {
		known, ack, fin = knownRemote, ackRemote, FinRemote
	}
	switch p := Phase(state & phaseMask); p {
	case Opening:
		if flags&FlagRST != 0 {
			return state
		}
		if flags&FlagSYN != 0 {
			state |= known
		}
		if flags&FlagACK != 0 {
			state |= ack
		}
		if state&(knownMask|ackMask) != knownMask|ackMask {
			return state
		}
		state = uint8(Established) | knownMask
		if flags&FlagFIN != 0 {
			return uint8(fin) | knownMask // the ACK that completes the handshake may carry a FIN
		}
	case Established, FinInternal, FinRemote:
		state |= known
		switch {
		case flags&FlagRST != 0:
			return uint8(Reset) | state&knownMask
		case flags&FlagFIN == 0 || p == fin:
			return state
		case p == Established:
			return uint8(fin) | state&knownMask
		default:
			return uint8(Closing) | state&knownMask
		}
	case Closing, Reset:
		switch {
		case flags&FlagRST != 0:
		case flags&FlagSYN != 0:
			// A SYN from both ends is a new connection on the old endpoints, which opens as
			// any other; one from a single end revives nothing.
			state |= ack
			switch {
			case state&ackMask != ackMask:
			case !fromRemote:
				return opened(flags)
			case flags&FlagACK != 0:
				return uint8(Opening) | knownMask | ackRemote
			default:
				return uint8(Opening) | knownMask
			}
		case p == Reset:
			return uint8(Established) | state&knownMask
		}
	}
	return state
}

// reopens reports whether a segment may begin a new connection on the endpoints of an
// old one, so that its sequence number need not fit the old one's: a SYN after the connection's end,
// or another SYN of the internal end while it opens.
func reopens(state, flags uint8, fromRemote bool) bool {
	if flags&(FlagSYN|FlagRST) != FlagSYN {
		return false
	}
	switch Phase(state & phaseMask) {
	case Closing, Reset:
		return true
	case Opening:
		return !fromRemote
	}
	return false
}

// fits reports whether a segment belongs to the connection, given the end of
// what its sender has sent so far. A RST must be the very next segment (RFC 5961 section 3.2 as seen from
// between the ends, ATK-01); any other must begin within a window. A segment that does not fit is
// translated and changes nothing (RFC 5382 section 9).
func fits(state uint8, s *Segment, next uint32, fromRemote bool) bool {
	known := uint8(knownInternal)
	if fromRemote {
		known = knownRemote
	}
	if s.Flags&FlagRST != 0 {
		return state&known != 0 && s.Seq == next
	}
	if state&known == 0 || reopens(state, s.Flags, fromRemote) {
		return true
	}
	return inWindow(s.Seq, next)
}

// refreshes reports whether a packet in this state restarts the idle time.
// Once both ends have sent their FINs, or a RST was seen, nothing extends the session
// but what brings it back.
func refreshes(state uint8) bool {
	p := Phase(state & phaseMask)
	return p != Closing && p != Reset
}

const (
	// A segment is in window when it begins at most windowBehind before and
	// windowAhead after the end of what its sender has sent: retransmissions
	// and zero-window probes on one side, what the engine did not see on the
	// other.
	windowBehind = 1 << 20
	windowAhead  = 1 << 22
)

func inWindow(seq, next uint32) bool {
	d := int32(seq - next)
	return -windowBehind <= d && d <= windowAhead
}
