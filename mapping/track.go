package mapping

// track follows the TCP connection of a session and reports whether the segment fits the connection.
func (t *Table) track(s *segment, slot int, seg *Segment, fromRemote bool, now Tick) (fitted bool) {
	r := s.at(slot)
	state := r.state()
	own, peer := &r.sent, &r.heard
	known, begun := uint8(knownInternal), uint8(ackInternal)
	if fromRemote {
		own, peer = peer, own
		known, begun = knownRemote, ackRemote
	}
	if !fits(state, seg, *own, fromRemote) {
		return false
	}
	end := seg.end()
	flags := seg.Flags
	restart := reopens(state, flags, fromRemote)
	switch phase := Phase(state & phaseMask); {
	case phase == Opening && restart && end != *own:
		state = opened(flags) // another SYN: what was seen before is of another connection
	case phase == Reset && restart && state&(known|begun) == known && inWindow(seg.Seq, *own):
		flags &^= FlagSYN // a late SYN of the same connection, as good as any other segment
		restart = false
	}
	if restart || state&known == 0 || int32(end-*own) > 0 {
		*own = end
	}
	changed := advance(state, flags, fromRemote)
	before := r.state()
	if changed == before {
		return true
	}
	r.setState(changed)
	if !fromRemote && flags&(FlagSYN|FlagACK) == FlagSYN|FlagACK && Phase(changed&phaseMask) == Opening {
		*peer = seg.Ack // what the remote end sends next
	}
	// A change of phase is an event of the connection as a whole: its idle
	// time starts anew, whoever sent the segment.
	if before&phaseMask != changed&phaseMask {
		r.out, r.in = now, now
		t.hint(s, slot, now)
	}
	return true
}
