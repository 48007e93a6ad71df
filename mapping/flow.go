package mapping

import (
	"fmt"
	"time"
)

// Header is what translation may change of a packet, and where the packet is seen: on its way in or on
// its way out. It is comparable.
//
// Ports are those of TCP and UDP. An ICMP query's identifier stands in the place of the port of the end
// that asks: in SrcPort of a request, in DstPort of a reply. Other protocols have no ports.
type Header struct {
	Src, Dst         uint32
	SrcPort, DstPort uint16
	// Realm is the internal realm in which the packet is seen; it counts where External is false.
	Realm uint16
	Proto uint8
	// External says that the packet is seen in the external realm.
	External bool
}

// Reverse returns the header of an answer.
func (h Header) Reverse() Header {
	h.Src, h.Dst, h.SrcPort, h.DstPort = h.Dst, h.Src, h.DstPort, h.SrcPort
	return h
}

// flowKey is a Header in 16 bytes without padding.
type flowKey struct{ hi, lo uint64 }

func (h Header) pack() flowKey {
	k := flowKey{
		uint64(h.Src)<<32 | uint64(h.Dst),
		uint64(h.SrcPort)<<48 | uint64(h.DstPort)<<32 | uint64(h.Realm)<<16 | uint64(h.Proto)<<8,
	}
	if h.External {
		k.lo |= 1
	}
	return k
}

func (k flowKey) unpack() Header {
	return Header{
		Src: uint32(k.hi >> 32), Dst: uint32(k.hi), SrcPort: uint16(k.lo >> 48), DstPort: uint16(k.lo >> 32),
		Realm: uint16(k.lo >> 16), Proto: uint8(k.lo >> 8), External: k.lo&1 != 0,
	}
}

// Flow is a session whose ends may both be translated (twice NAT, RFC 2663 section 4.3): what its packets look like
// on both sides.
type Flow struct {
	// In is the header of the first end's packets as they come, Out the one with which they leave. Answers come as
	// Out.Reverse() and leave as In.Reverse().
	In, Out Header
	// Owner and Note are the caller's.
	Owner, Note uint32
	// Idle is the class of timeouts, from 0 to IdleClasses-1.
	Idle uint8
	// Phase takes the first end for the internal one.
	Phase Phase
	// Answered says that the second end has sent a packet.
	Answered bool
	LastSeen Tick
}

// FlowPolicy says what keeps a flow alive.
type FlowPolicy uint8

const (
	// RefreshByAnswers lets packets of the second end restart the idle time, as those of the first end always do.
	RefreshByAnswers FlowPolicy = 1 << iota
	// Unsolicited marks a flow that the external end began: until it is answered, it ends after UnansweredIdle.
	Unsolicited

	flowAnswered
	flowLive
)

// UnansweredIdle bounds the idle time of a flow that a stranger began and that nobody has answered: what it
// holds is free again soon.
const UnansweredIdle = 30 * time.Second

// Flows holds flows in both directions: a packet of either one finds its flow by one look-up. It keeps no pointers per flow and
// grows without a stop. It is not for concurrent use.
//
//	bytes    56 a flow and about 48 for its two index entries
type Flows struct {
	index  map[flowKey]uint32 // slot and direction
	slots  [][]flow
	free   []uint32
	idle   [IdleClasses][phases]Tick
	cursor uint32
	origin int64 // Unix time in milliseconds of tick 0
	latest int64 // what Advance last returned, before it became a Tick
	aged   int64 // what it was when the last full round of Expire began, or at ageAll
	begun  int64 // what it was when this round did
}

// flow is a slot.
type flow struct {
	keys        [2]flowKey // of the packets of each end as they come
	seen        Tick
	sent        [2]uint32 // the sequence number behind what each end has sent
	owner, note uint32
	state       uint8
	flags       FlowPolicy
	class       uint8 // of idle times
}

// flowsPerChunk is the number of slots that are allocated together.
const flowsPerChunk = 1024

// NewFlows returns an empty table. other is the idle time of protocols without ports.
func NewFlows(idle Timeouts, other time.Duration, now time.Time) *Flows {
	f := &Flows{index: map[flowKey]uint32{}, origin: now.UnixMilli()}
	f.SetTimeouts(idle, other)
	return f
}

// SetTimeouts changes the idle times, on live flows too: of class 0, and of classes 1, 2 ... as Table.SetTimeouts does. other is that of
// protocols without ports in all classes. What refreshes a flow is its FlowPolicy's.
func (f *Flows) SetTimeouts(idle Timeouts, other time.Duration, classes ...Timeouts) {
	for c := range f.idle {
		of := idle
		if c > 0 && c <= len(classes) {
			of = classes[c-1]
		}
		f.idle[c] = [phases]Tick{
			Active: ticks(of.UDP), Query: ticks(of.ICMP), Opening: ticks(of.TCPOpening),
			Established: ticks(of.TCPEstablished), FinInternal: ticks(of.TCPEstablished),
			FinRemote: ticks(of.TCPEstablished), Closing: ticks(of.TCPClosing), Reset: ticks(of.TCPClosing), Other: ticks(other),
		}
	}
}

// Classify gives each flow the class of timeouts that of returns for the header of its first end's packets as they come. It looks at all flows.
func (f *Flows) Classify(of func(in Header) uint8) {
	for _, chunk := range f.slots {
		for i := range chunk {
			if s := &chunk[i]; s.flags&flowLive != 0 {
				s.class = of(s.keys[0].unpack()) & (IdleClasses - 1)
			}
		}
	}
}

// Advance sets the clock as Table.Advance does: never back, and by no more than MaxIdle and a tick.
func (f *Flows) Advance(now time.Time) Tick {
	const most = int64(MaxIdle/time.Millisecond) + 1
	ahead := now.UnixMilli() - f.origin - f.latest
	if ahead > most {
		f.origin += ahead - most
		ahead = most
	}
	if f.latest+ahead-f.aged > neglect {
		f.ageAll()
	}
	f.latest += max(ahead, 0)
	return Tick(f.latest)
}

// Len returns the number of flows.
func (f *Flows) Len() int { return len(f.index) / 2 }

func (f *Flows) at(slot uint32) *flow { return &f.slots[slot/flowsPerChunk][slot%flowsPerChunk] }

// Pass looks up the flow of a packet by its header as it comes, and returns the header with which it leaves, and the
// flow's owner. It restarts the idle time and tracks the TCP state; seg counts for TCP only. A flow whose idle time is
// over is not found.
func (f *Flows) Pass(h Header, seg *Segment, now Tick) (out Header, owner uint32, ok bool) {
	at, ok := f.index[h.pack()]
	if !ok {
		return Header{}, 0, false
	}
	s, end := f.at(at>>1), at&1
	if f.over(s, now) {
		return Header{}, 0, false
	}
	refresh := end == 0 || s.flags&RefreshByAnswers != 0
	if h.Proto == protoTCP {
		fitted := s.track(seg, end, now)
		refresh = refresh && seg.Flags&FlagRST == 0 && (end == 0 || fitted)
	}
	if end == 1 {
		s.flags |= flowAnswered
	}
	if refresh && refreshes(s.state) {
		s.seen = now
	}
	return s.keys[1-end].unpack().Reverse(), s.owner, true
}

// Peek is Pass for a packet that changes nothing: one that an ICMP error quotes (RFC 5508 REQ-6).
func (f *Flows) Peek(h Header, now Tick) (out Header, owner uint32, ok bool) {
	at, ok := f.index[h.pack()]
	if !ok || f.over(f.at(at>>1), now) {
		return Header{}, 0, false
	}
	return f.at(at >> 1).keys[1-at&1].unpack().Reverse(), f.at(at >> 1).owner, true
}

const protoTCP, protoICMP, protoUDP, protoUDPLite = 6, 1, 17, 136

// Open enters a flow that begins with a packet that comes as in and leaves as out. It returns false, and changes
// nothing, when packets of either end belong to another flow: Close removes that one if it is over.
func (f *Flows) Open(w *Flow, policy FlowPolicy, seg *Segment, now Tick) bool {
	keys := [2]flowKey{w.In.pack(), w.Out.Reverse().pack()}
	if _, taken := f.index[keys[0]]; taken || keys[0] == keys[1] {
		return false
	}
	if _, taken := f.index[keys[1]]; taken {
		return false
	}
	s := flow{keys: keys, seen: now, owner: w.Owner, note: w.Note, class: w.Idle & (IdleClasses - 1), flags: policy&(RefreshByAnswers|Unsolicited) | flowLive}
	if s.state = StartOf(w.In.Proto); w.In.Proto == protoTCP {
		s.state, s.sent = opened(seg.Flags), [2]uint32{seg.end(), seg.Ack}
	}
	var slot uint32
	if n := len(f.free); n > 0 {
		slot, f.free = f.free[n-1], f.free[:n-1]
	} else {
		slot = uint32(len(f.slots)) * flowsPerChunk
		f.slots = append(f.slots, make([]flow, flowsPerChunk))
		for i := uint32(flowsPerChunk - 1); i > 0; i-- {
			f.free = append(f.free, slot+i)
		}
	}
	*f.at(slot) = s
	f.index[keys[0]], f.index[keys[1]] = slot<<1, slot<<1|1
	return true
}

// StartOf returns the one state of a protocol other than TCP.
func StartOf(proto uint8) uint8 {
	switch proto {
	case protoUDP, protoUDPLite:
		return uint8(Active)
	case protoICMP:
		return uint8(Query)
	}
	return uint8(Other)
}

// Taken reports whether a packet with this header belongs to a flow, be it over or not.
func (f *Flows) Taken(h Header) bool {
	_, taken := f.index[h.pack()]
	return taken
}

// Close removes the flow that a packet with this header belongs to, whether it is over or not.
func (f *Flows) Close(h Header) (Flow, bool) {
	at, ok := f.index[h.pack()]
	if !ok {
		return Flow{}, false
	}
	return f.drop(at >> 1), true
}

// CloseOver is Close for a flow whose idle time is over; another one stays.
func (f *Flows) CloseOver(h Header, now Tick) (Flow, bool) {
	at, ok := f.index[h.pack()]
	if !ok || !f.over(f.at(at>>1), now) {
		return Flow{}, false
	}
	return f.drop(at >> 1), true
}

func (f *Flows) drop(slot uint32) Flow {
	s := f.at(slot)
	w := s.flow()
	delete(f.index, s.keys[0])
	delete(f.index, s.keys[1])
	*s = flow{}
	f.free = append(f.free, slot)
	return w
}

// over reports whether the idle time of a flow is over.
func (f *Flows) over(s *flow, now Tick) bool {
	idle := f.idle[s.class][s.state&phaseMask]
	if s.flags&(Unsolicited|flowAnswered) == Unsolicited {
		idle = min(idle, Tick(UnansweredIdle/time.Millisecond))
	}
	return int32(now-s.seen) >= int32(idle)
}

// Expire inspects the next slots, up to budget, removes the flows whose idle time is over and appends them to dst. It
// reports whether it came to the last slot; the next call starts over.
func (f *Flows) Expire(now Tick, budget int, dst []Flow) (ended []Flow, round bool) {
	if f.cursor == 0 {
		f.begun = f.latest
	}
	for ; budget > 0; budget-- {
		if f.cursor == uint32(len(f.slots))*flowsPerChunk {
			f.cursor, f.aged = 0, f.begun
			return dst, true
		}
		if s := f.at(f.cursor); s.flags&flowLive != 0 && f.over(s, now) {
			dst = append(dst, f.drop(f.cursor))
		}
		f.cursor++
	}
	return dst, false
}

// Append appends the flows of one part of the table to dst and returns where the next call goes on, or -1 at the end. Start with 0.
func (f *Flows) Append(dst []Flow, part int) (flows []Flow, next int) {
	if part < 0 || part >= len(f.slots) {
		return dst, -1
	}
	for i := range f.slots[part] {
		if s := &f.slots[part][i]; s.flags&flowLive != 0 {
			dst = append(dst, s.flow())
		}
	}
	if part++; part == len(f.slots) {
		part = -1
	}
	return dst, part
}

func (s *flow) flow() Flow {
	return Flow{
		In: s.keys[0].unpack(), Out: s.keys[1].unpack().Reverse(), Owner: s.owner, Note: s.note, Idle: s.class,
		Phase: Phase(s.state & phaseMask), Answered: s.flags&flowAnswered != 0, LastSeen: s.seen,
	}
}

// track follows the TCP connection, with the first end in the internal one's place, and reports whether the segment
// fits the connection: Table's rules, on one record.
func (s *flow) track(seg *Segment, end uint32, now Tick) (fitted bool) {
	fromRemote := end == 1
	next := s.sent[end]
	if fromRemote && doubtful(s.state, seg, next) && s.sent[0] == seg.Ack {
		s.state &^= knownRemote | ackRemote
	}
	if !fits(s.state, seg, next, fromRemote) {
		return false
	}
	known, begun := uint8(knownInternal), uint8(ackInternal)
	if fromRemote {
		known, begun = knownRemote, ackRemote
	}
	state, flags := s.state, seg.Flags
	restart := reopens(state, flags, fromRemote)
	switch phase := Phase(state & phaseMask); {
	case phase == Opening && restart && seg.end() != next:
		state = opened(flags) // another SYN: what was seen before is of another connection
	case phase == Reset && restart && state&(known|begun) == known && inWindow(seg.Seq, next):
		flags &^= FlagSYN // a late SYN of the same connection, as good as any other segment
		restart = false
	case restart && early(state, fromRemote):
		s.state = advance(state, flags, fromRemote)
		return true
	}
	if restart || state&known == 0 || int32(seg.end()-next) > 0 {
		s.sent[end] = seg.end()
	}
	changed := advance(state, flags, fromRemote)
	if !fromRemote && answers(changed, seg) {
		s.sent[1] = seg.Ack
	}
	if s.state&phaseMask != changed&phaseMask {
		s.seen = now // an event of the connection as a whole, whoever sent the segment
	}
	s.state = changed
	return true
}

// Outside returns the header as the external realm sees it.
func (h Header) Outside() Header {
	h.Realm, h.External = 0, true
	return h
}

// CheckInvariants walks the table and reports the first contradiction: both keys of every flow lead to it, and nothing else
// does. It is for tests.
func (f *Flows) CheckInvariants() error {
	live := 0
	for n := range uint32(len(f.slots)) * flowsPerChunk {
		s := f.at(n)
		if s.flags&flowLive == 0 {
			continue
		}
		live++
		for end, key := range s.keys {
			if at, ok := f.index[key]; !ok || at != n<<1|uint32(end) {
				return fmt.Errorf("mapping: flow %v: its key %d leads elsewhere", s.keys[0].unpack(), end)
			}
		}
	}
	if len(f.index) != 2*live || live+len(f.free) != len(f.slots)*flowsPerChunk {
		return fmt.Errorf("mapping: %d flows, %d keys and %d free slots of %d", live, len(f.index), len(f.free), len(f.slots)*flowsPerChunk)
	}
	return nil
}
