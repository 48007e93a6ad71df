package logging

import "slices"

// address holds the intervals of one external address, in one list for each 256
// ports, so that a query for one port looks at few intervals that do not have
// it. An interval of more than 256 ports is in several lists.
type address struct {
	lists [256]timeline
}

// A timeline is a list of intervals in the order of beginning, with the latest
// end of each beginning of the list:
//
//	ids      a    b    c    d          begin 1  3  5  8
//	latest   4    7    7    9          end   4  7  6  9
//
// Going back from the last interval that begins before an instant, the search
// ends where latest falls below it: nothing further back can reach it. Among
// blocks of one address, which do not overlap, that is one step; an interval
// that stays open lengthens the way of later queries back to it.
type timeline struct {
	ids    []int32
	latest []Millis
}

// forever is the end of an interval that is open.
const forever Millis = 1<<63 - 1

func (e *entry) until() Millis {
	if e.Open {
		return forever
	}
	return e.To
}

func (a *address) add(ivs []entry, n int32) {
	v := &ivs[n]
	for p := int(v.First >> 8); p <= int(v.Last>>8); p++ {
		l := &a.lists[p]
		i := upTo(ivs, l.ids, v.From)
		l.ids = slices.Insert(l.ids, i, n)
		l.latest = slices.Insert(l.latest, i, 0)
		l.refresh(ivs, i)
	}
}

// update follows a change of the end of interval n.
func (a *address) update(ivs []entry, n int32) {
	v := &ivs[n]
	for p := int(v.First >> 8); p <= int(v.Last>>8); p++ {
		l := &a.lists[p]
		i := upTo(ivs, l.ids, v.From) - 1
		for l.ids[i] != n {
			i--
		}
		l.refresh(ivs, i)
	}
}

// refresh computes latest from i on. It stops where nothing changes any more,
// which it may do only behind i, where no interval itself was changed.
func (l *timeline) refresh(ivs []entry, i int) {
	for j := i; j < len(l.ids); j++ {
		t := ivs[l.ids[j]].until()
		if j > 0 {
			t = max(t, l.latest[j-1])
		}
		if j > i && l.latest[j] == t {
			return
		}
		l.latest[j] = t
	}
}

// reaching calls f for each interval of l that begins at or before last and ends
// at or after first, from the latest beginning back.
func (l *timeline) reaching(ivs []entry, first, last Millis, f func(n int32, v *entry)) {
	for i := upTo(ivs, l.ids, last) - 1; i >= 0 && l.latest[i] >= first; i-- {
		if v := &ivs[l.ids[i]]; v.until() >= first {
			f(l.ids[i], v)
		}
	}
}
