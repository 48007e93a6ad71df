package mapping

import "github.com/blocknat/blocknat/portblock"

// Lookup is the way of one packet to its session. Who has many packets begins the look-ups of all and prefetches what they will
// read, so that the memory behind all of them is fetched at the same time, and passes them then:
//
//	for i := range packets { table.LookOutbound(&looks[i], ...); table.PrefetchOutbound(&looks[i]) } // or Inbound
//	for i := range looks { table.PassOutbound(&looks[i], ...) }                                    // or PassInbound
//
// The table may change between the steps. The Look and Prefetch methods read what others may change
// meanwhile: they may be called at any time, by anyone.
type Lookup struct {
	near   uint64
	remote uint64 // packed
	what   uint64 // the anchor's key but for near
	hash   uint64 // of the anchor's key
}

// Near reports whether two look-ups by the same side begin at the same endpoint and port space.
func (l *Lookup) Near(of *Lookup) bool { return l.near == of.near && l.what == of.what }

// begin begins the look-up of a session.
func (x *side) begin(l *Lookup, near uint64, space portblock.Space, remote Endpoint) {
	l.near, l.remote, l.what = near, remote.pack(), what(anchor, space)
	l.hash = x.hash.Sum(near, l.what)
}

// LookOutbound begins the look-up of the session of a packet that leaves.
func (t *Table) LookOutbound(l *Lookup, realm uint16, space portblock.Space, internal, remote Endpoint) {
	l.near, l.remote, l.what = nearInternal(realm, internal), remote.pack(), what(anchor, space)
	l.hash = t.out.hash.Sum(l.near, l.what)
}

// LookInbound begins the look-up of the session of a packet that arrives; class is the class of its remote endpoint.
func (t *Table) LookInbound(l *Lookup, space portblock.Space, external Endpoint, class uint16, remote Endpoint) {
	l.near, l.remote, l.what = nearExternal(external, class), remote.pack(), what(anchor, space)
	l.hash = t.in.hash.Sum(l.near, l.what)
}

// PrefetchOutbound asks for the memory that PassOutbound will read, and does not wait for it.
func (t *Table) PrefetchOutbound(l *Lookup) { t.out.prefetch(l.hash) }

// PrefetchInbound asks for the memory that PassInbound will read.
func (t *Table) PrefetchInbound(l *Lookup) { t.in.prefetch(l.hash) }

// PrefetchFirst asks for what AddFirst reads beyond what Prefetch has asked for, of one of its look-ups. Unlike those it reads the table.
func (t *Table) PrefetchFirst(l *Lookup, outbound bool) {
	if outbound {
		t.out.prefetchSegment(l.hash)
	} else {
		t.in.prefetchSegment(l.hash)
	}
}

// PrefetchNotes asks for what AddFirst writes besides, which the segment tells that PrefetchFirst has asked for.
func (t *Table) PrefetchNotes(l *Lookup) { t.out.prefetchNotes(l.hash) }

// look returns the half of a look-up's session, or nil.
func (x *side) look(l *Lookup) *half {
	// Nearly all are in the group where their hash is at home, at any of its slots: no branch depends on which.
	near := l.near
	g := (*group)(x.door(l.hash).slots()[home(l.hash):])
	slot := oneIf(g[1].near, near) | 2*oneIf(g[2].near, near) | 3*oneIf(g[3].near, near)
	r := &g[slot%groupSlots]
	if r.near == near && (r.peer^l.what)&whatMask == 0 {
		if (r.peer^l.remote)&endMask == 0 && r.hasSession() {
			return r
		}
		return x.further(r, l)
	}
	if slot == 0 && r.near != near && !g.full() { // the group has none of this endpoint
		return nil
	}
	return x.search(l) // halves of one endpoint may share a group, and the one wanted may lie behind a full one
}

// oneIf returns 1 for equal values and else 0, without a branch.
func oneIf(a, b uint64) (one uint) {
	if a == b {
		one = 1
	}
	return one
}

// search does what look does, wherever the anchor is.
func (x *side) search(l *Lookup) *half {
	r := x.find(l.hash, l.near, l.what, whatMask)
	if r == nil || (r.peer^l.remote)&endMask == 0 && r.hasSession() {
		return r
	}
	return x.further(r, l)
}

// further returns the half of a session that its endpoint's anchor does not hold.
func (x *side) further(anchor *half, l *Lookup) *half {
	if !anchor.crowded() {
		return nil
	}
	key := l.remote | l.what&^(3<<kindShift) | session<<kindShift
	return x.find(x.hash.Sum(l.near, key), l.near, key, sessionKey)
}

// spot returns where the half of a look-up's session lies.
func (x *side) spot(l *Lookup) spot {
	r := x.look(l)
	if r == nil {
		return spot{}
	}
	return x.spotOf(x.hashOf(r), r)
}

// PassOutbound returns the external endpoint that a packet's source becomes. It restarts the idle time and
// tracks the TCP state; seg counts for TCP only. A session whose idle time is
// over is not found.
func (t *Table) PassOutbound(l *Lookup, seg *Segment, now Tick) (Endpoint, bool) {
	r := t.out.look(l)
	if r == nil || r.seen != now && silent(r.seen, t.idle[r.idleClass()][r.peer&phaseMask], now) && t.overOutbound(l, now) {
		return Endpoint{}, false
	}
	if l.what == tcpAnchor {
		t.trackOutbound(l, r, seg, now)
		if seg.Flags&FlagRST != 0 {
			return r.external(), true // a RST keeps nothing alive (RFC 7857 section 7.1)
		}
	}
	if r.seen != now && refreshes(r.state()) {
		if r.seen>>seenShift != now>>seenShift {
			t.noteOutbound(l, now)
		}
		r.seen = now
	}
	return r.external(), true
}

// PassInbound returns the internal endpoint that a packet's destination becomes, with its realm. It tracks the TCP state and,
// where inbound packets refresh, restarts the idle time. A session that is over is found until Expire has met it,
// unless it was silent for all its idle time or has ended: then CloseInbound removes it.
func (t *Table) PassInbound(l *Lookup, seg *Segment, now Tick) (Endpoint, uint16, bool) {
	r := t.in.look(l)
	if r == nil || r.seen != now && silent(r.seen, t.least[r.peer&phaseMask], now) && t.overInbound(l, now) {
		return Endpoint{}, 0, false
	}
	if l.what == tcpAnchor && (!t.trackInbound(l, r, seg, now) || seg.Flags&FlagRST != 0) {
		return unpack(r.far), uint16(r.far), true // whoever sent it may be a stranger
	}
	if r.seen != now && refreshes(r.state()) {
		if r.seen>>seenShift != now>>seenShift {
			t.noteInbound(l, now)
		}
		r.seen = now
	}
	return unpack(r.far), uint16(r.far), true
}

const tcpAnchor = anchor<<kindShift | uint64(portblock.TCP)<<spaceShift

// What follows is what few packets need.

// overOutbound reports whether the session of a look-up that was silent on the way out is over.
func (t *Table) overOutbound(l *Lookup, now Tick) bool { return t.over(t.out.spot(l), now) }

// overInbound reports whether the session of a look-up was silent from both ends, or has ended.
func (t *Table) overInbound(l *Lookup, now Tick) bool {
	r := t.in.look(l)
	p := t.leaving(r)
	return silent(r.seen, t.idleOf(p.half()), now) && t.over(p, now)
}

// seenShift: a packet notes its time in its block only when the packet before came in an earlier step of 16,384 ticks, so that
// a busy session writes to its own half alone.
const seenShift = 14

func (t *Table) noteOutbound(l *Lookup, now Tick) {
	p := t.out.spot(l)
	t.see(*p.block(), now)
}

func (t *Table) noteInbound(l *Lookup, now Tick) {
	p := t.leaving(t.in.look(l))
	t.see(*p.block(), now)
}

func (t *Table) see(id BlockID, now Tick) { t.blocks.at(id).seen = now }
