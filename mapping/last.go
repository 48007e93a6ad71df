package mapping

import "github.com/blocknat/blocknat/internal/prefetch"

// endLast removes the only session of an internal endpoint with its mapping, where neither endpoint has anything else: what end does for all,
// with one search. It is the way of most sessions, and undoes AddFirst.
func (t *Table) endLast(p spot) (e Ended, ok bool) {
	r := p.half()
	if r.kind() != anchor || !r.hasMapping() || r.crowded() {
		return Ended{}, false
	}
	q := t.in.anchor(nearExternal(r.external(), t.classOf(p)), r.space())
	if a := q.half(); a.crowded() || a.far != r.near || (a.peer^r.peer)&endMask != 0 || !a.hasSession() {
		return Ended{}, false
	}
	e = Ended{Session: r.session(), Block: *p.block(), Unmapped: true}
	t.sessions--
	t.mappings[e.Space]--
	t.blocks.at(e.Block).live--
	t.in.remove(q)
	t.out.remove(p)
	return e, true
}

// scanWindow is the number of slots whose halves Expire fetches what it needs for together. Each segment has a multiple of it.
const scanWindow = 40

// foresee asks for the memory that inspect will read for the halves of some slots that are due, where remotes are of one class.
func (t *Table) foresee(s *segment, from int, all bool, at hint) {
	for i := from; i < from+scanWindow; i++ {
		r := &s.halves[i]
		if r.peer == 0 || !all && s.due[i].after(at) {
			continue
		}
		h := t.in.hash.Sum(nearExternal(r.external(), 0), r.peer&spaceMask|anchor<<kindShift)
		t.in.prefetch(h)
		t.in.prefetchSegment(h)
		prefetch.Line(t.blocks.at(s.blocks[i]))
	}
}
