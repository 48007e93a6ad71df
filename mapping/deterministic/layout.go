package deterministic

import (
	"slices"

	"github.com/blocknat/blocknat/portblock"
)

// layout ranks the usable ports of an external address: the lowest port that is
// not reserved has rank 0. It is the same for all addresses of a map. Cutting
// ranks instead of ports makes every set equally large, whatever is reserved.
type layout struct {
	runs  []usable
	total uint32 // number of usable ports
}

// usable is a maximal run of usable ports.
type usable struct{ first, n, rank uint32 }

// newLayout returns the layout without the reserved ports; port 0 is always
// reserved. Invalid ranges hold no port.
func newLayout(reserved []portblock.Range) layout {
	rs := append([]portblock.Range{portblock.RangeOf(0, 0)}, reserved...)
	slices.SortFunc(rs, portblock.Range.Compare)
	var l layout
	next := uint32(0) // lowest port that is not dealt with
	for _, r := range rs {
		if !r.IsValid() {
			continue
		}
		l.add(next, uint32(r.First()))
		next = max(next, uint32(r.Last())+1)
	}
	l.add(next, 65536)
	return l
}

// add adds the ports from first up to, not including, end.
func (l *layout) add(first, end uint32) {
	if first < end {
		l.runs = append(l.runs, usable{first, end - first, l.total})
		l.total += end - first
	}
}

// rank returns the rank of a port; ok is false for a reserved one.
func (l *layout) rank(port uint16) (rank uint32, ok bool) {
	p, s := uint32(port), l.runs
	for len(s) > 1 {
		mid := len(s) / 2
		if p < s[mid].first {
			s = s[:mid]
		} else {
			s = s[mid:]
		}
	}
	d := p - s[0].first // wraps to a large number below the run
	return s[0].rank + d, d < s[0].n
}

// port returns the port with a rank below total.
func (l *layout) port(rank uint32) uint16 {
	s := l.runs
	for len(s) > 1 {
		mid := len(s) / 2
		if rank < s[mid].rank {
			s = s[:mid]
		} else {
			s = s[mid:]
		}
	}
	return uint16(s[0].first + rank - s[0].rank)
}

// gaps calls f with each maximal reserved run [first, end) until f returns false.
func (l *layout) gaps(f func(first, end uint32) bool) {
	next := uint32(0)
	for _, r := range l.runs {
		if next < r.first && !f(next, r.first) {
			return
		}
		next = r.first + r.n
	}
	if next < 65536 {
		f(next, 65536)
	}
}

// lowest returns the lowest usable port, the N of RFC 7597 appendix B.
func (l *layout) lowest() uint32 { return l.runs[0].first }
