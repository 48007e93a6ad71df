package mapping

// trackOutbound follows the TCP connection of a session with a segment of the internal end, and reports whether the segment fits the
// connection.
func (t *Table) trackOutbound(l *Lookup, r *half, seg *Segment, now Tick) (fitted bool) {
	if usual(r, seg, knownInternal) {
		return r.follow(seg)
	}
	changed, fitted := r.segment(seg, false)
	if changed == r.state() && !(fitted && answers(changed, seg)) {
		return fitted
	}
	p := t.out.spot(l)
	t.change(p, t.returning(p), changed, seg, false, now)
	return true
}

// trackInbound is trackOutbound for a segment of the remote end.
func (t *Table) trackInbound(l *Lookup, r *half, seg *Segment, now Tick) (fitted bool) {
	if usual(r, seg, knownRemote) {
		return r.follow(seg)
	}
	if doubtful(r.state(), seg, r.next) && t.leaving(r).half().next == seg.Ack {
		r.setState(r.state() &^ (knownRemote | ackRemote))
	}
	changed, fitted := r.segment(seg, true)
	if changed == r.state() {
		return fitted
	}
	t.change(t.leaving(r), r, changed, seg, true, now)
	return true
}

// usual reports whether a segment can change nothing but its end's sequence number: of an established connection, without SYN, FIN
// and RST, of an end that is known.
func usual(r *half, seg *Segment, known uint8) bool {
	return r.state()&(phaseMask|known) == uint8(Established)|known && seg.Flags&(FlagSYN|FlagFIN|FlagRST) == 0
}

// follow moves the sequence number on by a usual segment, if the segment is in window.
func (r *half) follow(seg *Segment) bool {
	if !inWindow(seg.Seq, r.next) {
		return false
	}
	if end := seg.Seq + seg.Length; int32(end-r.next) > 0 {
		r.next = end
	}
	return true
}

// segment returns the state after a segment of the end that a half is of, and whether the segment fits the connection. It moves
// the end's sequence number on.
func (r *half) segment(seg *Segment, fromRemote bool) (state uint8, fitted bool) {
	state = r.state()
	known, begun := uint8(knownInternal), uint8(ackInternal)
	if fromRemote {
		known, begun = knownRemote, ackRemote
	}
	if !fits(state, seg, r.next, fromRemote) {
		return state, false
	}
	end := seg.end()
	flags := seg.Flags
	restart := reopens(state, flags, fromRemote)
	switch phase := Phase(state & phaseMask); {
	case phase == Opening && restart && end != r.next:
		state = opened(flags) // another SYN: what was seen before is of another connection
	case phase == Reset && restart && state&(known|begun) == known && inWindow(seg.Seq, r.next):
		flags &^= FlagSYN // a late SYN of the same connection, as good as any other segment
		restart = false
	case restart && early(state, fromRemote):
		return advance(state, flags, fromRemote), true
	}
	if restart || state&known == 0 || int32(end-r.next) > 0 {
		r.next = end
	}
	return advance(state, flags, fromRemote), true
}

// early reports whether a SYN for a new connection is the remote end's, or a stranger's, and the internal end has not sent one.
func early(state uint8, fromRemote bool) bool { return fromRemote && state&ackInternal == 0 }

// answers reports whether a segment answers a SYN while the connection opens. That of the internal end tells by its acknowledgment number
// what the remote end sends next, whatever was seen of that before.
func answers(state uint8, seg *Segment) bool {
	return seg.Flags&(FlagSYN|FlagACK|FlagRST) == FlagSYN|FlagACK && Phase(state&phaseMask) == Opening
}

// doubtful reports whether a segment of the remote end is a SYN-ACK that contradicts what was seen of that end while the connection opens. If it
// acknowledges just what the internal end has sent, it is the peer's, and who sent the other was a stranger, for whom it is hard to guess that
// number (ATK-01): then what was seen is forgotten.
func doubtful(state uint8, seg *Segment, next uint32) bool {
	return answers(state, seg) && state&knownMask == knownMask && !inWindow(seg.Seq, next)
}

// change gives both halves of a session the state after a segment.
func (t *Table) change(out spot, in *half, state uint8, seg *Segment, fromRemote bool, now Tick) {
	r := out.half()
	before := r.state()
	r.setState(state)
	in.setState(state)
	if !fromRemote && answers(state, seg) {
		in.next = seg.Ack
	}
	// A change of phase is an event of the connection as a whole: its idle
	// time starts anew, whoever sent the segment.
	if before&phaseMask != state&phaseMask {
		r.seen, in.seen = now, now
		t.hint(out, now)
	}
}
