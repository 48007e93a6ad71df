package logging

import "time"

// SourceOf returns what an answer from records of an interval of kind k rests on.
func SourceOf(k Kind) Source {
	if k == StaticAdded {
		return Static
	}
	return Recorded
}

// Shadowed reports whether static mappings own what q asks of v, a block or a
// computed interval, so that v is no answer. The record of a block names a static
// port among its own, which the block's subscriber does not get. Who leaves out
// what is shadowed.
//
//	block      |--------------------------------|     answers here and here,
//	static            |==============|                 not between
//
// A static mapping shadows nothing where its first or last millisecond comes within the
// tolerance: both are candidates then. Neither does it shadow a block of a later start of its
// host: its own end may be missing. Records of sessions and mappings tell of one port and
// are never shadowed.
func Shadowed(q *Query, v *Interval, statics []Interval) bool {
	if len(statics) == 0 || q.AnyPort || v.Spaces == 0 || v.Kind != BlockAllocated && v.Kind != ConfigEpoch {
		return false
	}
	t := MillisOf(q.At)
	tol := Millis(max(0, q.Tolerance+time.Millisecond-1) / time.Millisecond)
	left := v.Spaces
	if q.Spaces != 0 {
		left &= q.Spaces
	}
	for i := range statics {
		s := &statics[i]
		if s.HasPort(q.Port) && s.ExternalRealm == v.ExternalRealm && s.Host == v.Host && s.Instance == v.Instance && s.Epoch >= v.Epoch &&
			s.From < t-tol && (s.Open || t+tol < s.To) {
			left &^= s.Spaces
		}
	}
	return left == 0
}
