package journal

import (
	"cmp"

	"github.com/blocknat/blocknat/logging"
)

// An order is the place of a record in the order of acceptance. Records mostly
// come in the order of their times, so it is made of them and costs a row next
// to nothing:
//
//	max   the latest time of any record up to this one
//	rank  how many records before this one have the same max
//
// A clock that was far ahead once would leave every later record with a long
// rank. So a write-ahead log may begin a new era, with a max of its own.
type order struct {
	era  uint64
	max  logging.Millis
	rank uint64
}

func (o order) compare(p order) int {
	return cmp.Or(cmp.Compare(o.era, p.era), cmp.Compare(o.max, p.max), cmp.Compare(o.rank, p.rank))
}

// ahead is how far the latest time may be ahead when a log begins, without a new era.
const ahead logging.Millis = 60000

// A tracker gives orders. It goes on where the last log ended.
type tracker struct {
	last  order
	known bool // last is the order of a record
	gen   uint64
	fresh bool
}

// begin starts a generation.
func (t *tracker) begin(gen uint64) { t.gen, t.fresh = gen, true }

func (t *tracker) next(time logging.Millis) order {
	if t.fresh {
		t.fresh = false
		if !t.known || t.last.max > time+ahead {
			t.known = true
			t.last = order{era: t.gen, max: time}
			return t.last
		}
	}
	if time > t.last.max {
		t.last.max, t.last.rank = time, 0
	} else {
		t.last.rank++
	}
	return t.last
}

// orderA and orderB are the orders of the row's records.
func (w *row) orderA() order {
	return order{w.shape.a.era, w.timeA + logging.Millis(w.lagA), w.rankA}
}

func (w *row) orderB() order {
	return order{w.shape.b.era, w.timeB + logging.Millis(w.lagB), w.rankB}
}

// order is that of the row's first record.
func (w *row) order() order {
	switch {
	case w.shape.form.hasA():
		return w.orderA()
	case w.shape.form.hasB():
		return w.orderB()
	}
	return order{} // an open row was there before
}
