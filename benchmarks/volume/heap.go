package main

// An event is something that happens to a subscriber at a time.
type event struct {
	at   int64
	what uint32 // the number of a connection, times 4, and its kind
}

// The kinds of events.
const (
	eventStart   = 1 + iota // a connection begins
	eventEnd                // its port is returned
	eventCluster            // a cluster begins
)

// queue is a binary heap of events, the earliest first. Events of one time come in the order of what,
// so that a run can be repeated.
type queue []event

func (q queue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].what < q[j].what
}

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() event {
	h := *q
	first := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	*q = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			return first
		}
		if right := down + 1; right < len(h) && h.less(right, down) {
			down = right
		}
		if !h.less(down, i) {
			return first
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
