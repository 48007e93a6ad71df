package mapping

import (
	"math/bits"

	"github.com/blocknat/blocknat/portblock"
)

// Lookup is the way of one packet to its session. Who has many packets begins the look-ups of all, aims all, touches
// all, and passes them then, so that the memory behind all of them is fetched at the same time:
//
//	for i := range packets { table.LookOutbound(&looks[i], ...) } // or LookInbound
//	for i := range looks { table.Aim(&looks[i]) }
//	for i := range looks { sum += table.Touch(&looks[i]) }
//	for i := range looks { table.PassOutbound(&looks[i], ...) }   // or PassInbound
//
// Aim and Touch change nothing and may be left out. The table may change between two steps.
type Lookup struct {
	inner, outer uint64
	external     uint64 // what the session's external endpoint has to be, of an inbound packet; else 0
	hash         uint64
	seg          *segment
	slot         int32  // in seg, where the record may be, or -1
	removals     uint32 // of the index when that was seen
}

// LookOutbound begins the look-up of the session of a packet that leaves.
func (t *Table) LookOutbound(l *Lookup, realm uint16, space portblock.Space, internal, remote Endpoint) {
	l.inner, l.outer, l.external, l.slot = innerOf(realm, internal), remote.pack()|class(anchor, space), 0, -1
	l.hash = t.index.hash.sum(l.inner, class(anchor, space))
}

// LookInbound begins the look-up of the session of a packet that arrives at a place, which is that of the external
// endpoint. ok is false where no mapping is.
func (t *Table) LookInbound(l *Lookup, at Place, space portblock.Space, external, remote Endpoint) (ok bool) {
	b := t.blocks.at(at.Block)
	port, ok := t.blocks.internalPort(b, space, at.Offset)
	if !ok {
		return false
	}
	t.LookOutbound(l, b.Realm, space, Endpoint{b.Internal, port}, remote)
	l.external = external.pack()
	return true
}

// Aim reads the tags of a look-up's first group.
func (t *Table) Aim(l *Lookup) {
	d := t.index.door(l.hash)
	g := home(l.hash, d.groups)
	l.seg, l.slot, l.removals = d.seg, -1, t.index.removals
	if m := matches(d.seg.tags[g&(groupsMax-1)], tagOf(l.hash)); m != 0 {
		l.slot = int32(g*groupSlots) + int32(bits.TrailingZeros64(m)>>3)
	}
}

// Touch reads the record that the look-up was aimed at. What it returns means nothing: it is for the caller to add up, so that it is read.
func (t *Table) Touch(l *Lookup) uint64 {
	if l.slot < 0 || l.removals != t.index.removals {
		return 0
	}
	return l.seg.at(int(l.slot)).inner
}

// aimed reports whether the look-up was aimed at the record that has its session, as is mostly so.
func (t *Table) aimed(l *Lookup) bool {
	if l.slot < 0 || l.removals != t.index.removals {
		return false
	}
	r := l.seg.at(int(l.slot))
	return r.inner == l.inner && (r.outer^l.outer)&keyMask == 0 && r.hasSession() && (l.external == 0 || (r.ext^l.external)&partMask == 0)
}

// find returns the record of a look-up's session.
func (t *Table) find(l *Lookup) (*segment, int) {
	// What index.find does is spelled out.
	d := t.index.door(l.hash)
	s, groups := d.seg, d.groups
	g, tag := home(l.hash, groups), tagOf(l.hash)
	for range groups {
		w := s.tags[g&(groupsMax-1)]
		for m := matches(w, tag); m != 0; m &= m - 1 {
			i := int(g)*groupSlots + bits.TrailingZeros64(m)>>3
			r := s.at(i)
			if r.inner != l.inner || (r.outer^l.outer)&kindMask != 0 {
				continue
			}
			if (r.outer^l.outer)&partMask != 0 || !r.hasSession() {
				return t.findFurther(l, r)
			}
			if l.external != 0 && (r.ext^l.external)&partMask != 0 {
				return nil, 0 // the session belongs to another mapping of the internal endpoint
			}
			return s, i
		}
		if w&passedFlag == 0 {
			return nil, 0
		}
		if g++; g == groups {
			g = 0
		}
	}
	return nil, 0
}

// findFurther is find for a session that the anchor does not hold.
func (t *Table) findFurther(l *Lookup, a *record) (*segment, int) {
	if a.others == 0 {
		return nil, 0
	}
	outer := l.outer&^kindMask | class(session, a.space())
	s, i := t.index.find(t.index.hash.sum(l.inner, outer), l.inner, outer, keyMask)
	if s == nil || l.external != 0 && (s.at(i).ext^l.external)&partMask != 0 {
		return nil, 0
	}
	return s, i
}

// PassOutbound returns the external endpoint that a packet's source becomes. It restarts the idle time and
// tracks the TCP state; seg counts for TCP only. A session whose idle time is
// over is not found.
func (t *Table) PassOutbound(l *Lookup, seg *Segment, now Tick) (Endpoint, bool) {
	s, i := l.seg, int(l.slot)
	if !t.aimed(l) {
		if s, i = t.find(l); s == nil {
			return Endpoint{}, false
		}
	}
	r := s.at(i)
	if t.over(r, now) {
		return Endpoint{}, false
	}
	if r.space() == portblock.TCP {
		t.track(s, i, seg, false, now)
		if seg.Flags&FlagRST != 0 {
			return r.external(), true // a RST keeps nothing alive (RFC 7857 section 7.1)
		}
	}
	if refreshes(r.state()) {
		t.note(r, r.out, now)
		r.out = now
	}
	return r.external(), true
}

// PassInbound returns the internal endpoint that a packet's destination becomes, with its realm. It tracks the TCP state and,
// where inbound packets refresh, restarts the idle time. A session that is over is found until Expire has met it,
// unless it was silent for all its idle time or has ended: then CloseInbound removes it.
func (t *Table) PassInbound(l *Lookup, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	s, i := l.seg, int(l.slot)
	if !t.aimed(l) {
		if s, i = t.find(l); s == nil {
			return Endpoint{}, 0, false
		}
	}
	r := s.at(i)
	if silent(r.in, t.idleOf(r), now) && t.over(r, now) {
		return Endpoint{}, 0, false
	}
	if r.space() == portblock.TCP {
		if !t.track(s, i, seg, true, now) || seg.Flags&FlagRST != 0 {
			return r.internal(), r.realm(), true // whoever sent it may be a stranger
		}
	}
	if refreshes(r.state()) {
		t.note(r, r.in, now)
		r.in = now
	}
	return r.internal(), r.realm(), true
}
