package journal

import "container/heap"

// A cursor walks over the rows of a segment, or over rows in memory.
type cursor struct {
	g    *segment
	next int // chunk
	rows []*row
	room []row
	sc   *scratch
	open bool
	err  error
}

func newCursor(g *segment) *cursor {
	c := &cursor{g: g, sc: new(scratch), open: g.open}
	c.fill()
	return c
}

func rowsCursor(rows []*row) *cursor { return &cursor{rows: rows} }

// row returns the row that the cursor stands at, or nil at the end.
func (c *cursor) row() *row {
	if len(c.rows) == 0 {
		return nil
	}
	return c.rows[0]
}

// advance goes to the next row. Rows that were returned stay good.
func (c *cursor) advance() {
	if c.rows = c.rows[1:]; len(c.rows) == 0 {
		c.fill()
	}
}

func (c *cursor) fill() {
	for c.g != nil && c.err == nil && len(c.rows) == 0 && c.next < len(c.g.sum.chunks) {
		i := c.next
		c.next++
		ok, err := c.g.chunk(i, c.sc)
		if err != nil {
			c.err = err
			return
		}
		if !ok {
			continue
		}
		c.room = make([]row, c.sc.c.n)
		for k := range c.room {
			if c.sc.c.row(k, &c.room[k]) != nil {
				c.g.lost(i)
				break
			}
			c.rows = append(c.rows, &c.room[k])
		}
	}
}

// cursors is a heap of cursors by their rows.
type cursors []*cursor

func (h cursors) Len() int           { return len(h) }
func (h cursors) Less(i, k int) bool { return compareRow(h[i].rows[0], h[k].rows[0]) < 0 }
func (h cursors) Swap(i, k int)      { h[i], h[k] = h[k], h[i] }
func (h *cursors) Push(x any)        { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}

// mergeRows calls f for the rows of all cursors in order, with whether they are
// open intervals, until f returns false.
func mergeRows(list []*cursor, f func(w *row, open bool) bool) error {
	return mergeFrom(list, func(c *cursor, w *row) bool { return f(w, c.open) })
}

// mergeFrom is mergeRows that tells the cursor.
func mergeFrom(list []*cursor, f func(c *cursor, w *row) bool) error {
	h := make(cursors, 0, len(list))
	for _, c := range list {
		if c.err != nil {
			return c.err
		}
		if c.row() != nil {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		c := h[0]
		if !f(c, c.row()) {
			return nil
		}
		c.advance()
		if c.err != nil {
			return c.err
		}
		if c.row() == nil {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return nil
}
