package mapping

// SavedFlow is all that Flows keeps of a flow, for snapshots.
type SavedFlow struct {
	Flow
	// Policy is that with which it was opened.
	Policy FlowPolicy
	// State is the phase with what is known of both ends, as the table keeps it.
	State uint8
	// Sent is what the first and the second end send next (TCP).
	Sent [2]uint32
}

// AppendSaved does what Append does, with all that there is.
func (f *Flows) AppendSaved(dst []SavedFlow, part int) (flows []SavedFlow, next int) {
	if part < 0 || part >= len(f.slots) {
		return dst, -1
	}
	for i := range f.slots[part] {
		if s := &f.slots[part][i]; s.flags&flowLive != 0 {
			dst = append(dst, SavedFlow{s.flow(), s.flags & (RefreshByAnswers | Unsolicited), s.state, s.sent})
		}
	}
	if part++; part == len(f.slots) {
		part = -1
	}
	return dst, part
}

// Restore enters a flow as it was saved, with times of this table; the phase is that of State. It returns false, and changes nothing, when Open
// would, or when the state or the time is none that the flow can have.
func (f *Flows) Restore(v *SavedFlow, now Tick) bool {
	switch p := Phase(v.State & phaseMask); {
	case v.In.Proto != v.Out.Proto, v.LastSeen.after(now), now-v.LastSeen > ticks(MaxIdle)+1:
		return false
	case v.In.Proto == protoTCP:
		if p < Opening || p > Reset {
			return false
		}
	case v.State != StartOf(v.In.Proto):
		return false
	}
	if !f.Open(&v.Flow, v.Policy, &Segment{}, now) {
		return false
	}
	s := f.at(f.index[v.In.pack()] >> 1)
	s.state, s.sent, s.seen = v.State, v.Sent, v.LastSeen
	if v.Answered {
		s.flags |= flowAnswered
	}
	return true
}
