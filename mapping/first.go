package mapping

import "github.com/blocknat/blocknat/portblock"

// Vacant reports whether the internal endpoint of a look-up by LookOutbound has no mapping.
func (t *Table) Vacant(l *Lookup) bool { return t.out.find(l.hash, l.near, l.what, whatMask) == nil }

// Lingers reports whether the session of a look-up by LookOutbound is there, be it over or not.
func (t *Table) Lingers(l *Lookup) bool { return t.out.look(l) != nil }

// AddFirst enters the mapping that a new flow needs and its session, where the internal endpoint has nothing yet and
// the external one neither: what AddMapping and Open do, in one step, with one search on each side. The look-ups
// are those of the flow by LookOutbound and LookInbound. It returns false, and changes nothing, when either endpoint has a mapping, or the
// block is another one's: then AddMapping tells more.
func (t *Table) AddFirst(l, back *Lookup, m *Mapping, idle uint8, seg *Segment, now Tick) bool {
	if !t.belongs(m) {
		return false
	}
	peer := l.remote | what(anchor, m.Space) | uint64(m.Scope.On)<<scopeShift | flagMapping
	out := half{near: l.near, peer: peer, far: m.External.pack() | uint64(m.Scope.Pool)<<poolShift | uint64(idle&idleMask), seen: now}
	in := half{near: back.near, peer: peer, far: l.near, seen: now}
	begin(&out, &in, seg)
	if t.sharing(m.Space) && t.others(in.near, m.Space) {
		return false
	}
	p, entered := t.out.claim(l.hash, &out, whatMask)
	if !entered {
		return false
	}
	if _, entered = t.in.claim(back.hash, &in, whatMask); !entered {
		t.out.remove(p)
		return false
	}
	*p.block() = m.Block
	t.hint(p, now)
	b := t.blocks.at(m.Block)
	b.live++
	b.seen = now
	t.mappings[m.Space]++
	t.sessions++
	return true
}

// belongs reports whether the block of a mapping is its own.
func (t *Table) belongs(m *Mapping) bool {
	of, ok := t.Block(m.Block)
	return ok && of.Realm == m.Realm && of.Internal == m.Internal.Addr && of.External == m.External.Addr && of.Class == m.Scope.Class &&
		m.Scope.Pool < Pools
}

// begin gives both halves of a new session its state, by a packet from the internal end.
func begin(out, in *half, seg *Segment) {
	state := uint8(Active)
	switch out.space() {
	case portblock.TCP:
		state = opened(seg.Flags)
		out.next, in.next = seg.end(), seg.Ack
	case portblock.ICMP:
		state = uint8(Query)
	}
	out.setState(state)
	in.setState(state)
}

// sharing reports whether any mapping is of another space that has the same ports.
func (t *Table) sharing(space portblock.Space) bool {
	switch space {
	case portblock.UDP:
		return t.mappings[UDPLite] > 0
	case UDPLite:
		return t.mappings[portblock.UDP] > 0
	}
	return false
}

// others reports whether an external endpoint has a mapping of another space that has the same ports.
func (t *Table) others(near uint64, space portblock.Space) bool {
	for s := range portblock.Space(spaces) {
		if s != space && PortsOf(s) == PortsOf(space) && t.in.anchor(near, s).seg != nil {
			return true
		}
	}
	return false
}
