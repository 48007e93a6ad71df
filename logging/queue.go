package logging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Policy says what a Queue does with a record when it is full.
type Policy uint8

const (
	// RefuseNew refuses the record, so that the engine makes no block of which
	// nobody would know. It is the default.
	RefuseNew Policy = iota
	// DropNew accepts the record, loses it and counts it: the NAT goes on and
	// the log has a gap of known size.
	DropNew
	// DropOld accepts the record in place of the oldest one, which is lost and
	// counted.
	DropOld
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case RefuseNew:
		return "refuse-new"
	case DropNew:
		return "drop-new"
	case DropOld:
		return "drop-old"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// QueueConfig says how a Queue works. The zero QueueConfig is ready.
type QueueConfig struct {
	// Size is the most records that wait. 0 means 4096. A record takes 272
	// bytes beside its text; room for all is made at once.
	Size int

	// Policy says what happens to a record when Size wait. The default refuses
	// it.
	Policy Policy

	// RetryMin and RetryMax bound the time between two tries of a record that
	// the next log refused; it doubles from try to try. 0 means 100 ms and
	// 30 s.
	RetryMin, RetryMax time.Duration

	// OnError, if not nil, is told each refusal of the next log, from the
	// queue's goroutine.
	OnError func(err error)
}

// A Queue is a Log in front of one that is slow or may fail, such as a
// connection: it accepts a record by putting it in memory, and a goroutine hands
// the records on in order, one at a time, again and again until each is
// accepted. A refusal with ErrRecord is final: the record is counted as rejected
// and the next one follows. What waits is lost when the process ends before Close has returned
// nil; a log that must not lose that writes to a disk first. It is safe for
// concurrent use.
type Queue struct {
	next Log
	c    QueueConfig

	mu      sync.Mutex
	ring    []Record
	head, n int
	stats   QueueStats
	closed  bool
	drop    bool          // Close gave up: the rest is counted as dropped
	work    chan struct{} // a record waits or the queue was closed
	stop    chan struct{} // Close gave up
	done    chan struct{} // the goroutine has ended
}

// QueueStats counts what a Queue did. Accepted is the sum of Delivered, Dropped,
// Rejected and Waiting.
type QueueStats struct {
	Accepted  uint64 // records that Append took, those dropped included
	Refused   uint64 // records that Append did not take
	Dropped   uint64 // records lost by DropNew, DropOld or an unfinished Close
	Delivered uint64 // records that the next log accepted
	Rejected  uint64 // records that the next log can never take (ErrRecord)
	Retries   uint64 // other refusals of the next log
	Waiting   int    // records that wait now
}

// NewQueue returns a running Queue in front of next. Close ends it.
func NewQueue(next Log, c QueueConfig) *Queue {
	if c.Size <= 0 {
		c.Size = 4096
	}
	if c.RetryMin <= 0 {
		c.RetryMin = 100 * time.Millisecond
	}
	if c.RetryMax <= 0 {
		c.RetryMax = 30 * time.Second
	}
	q := &Queue{
		next: given(next), c: c, ring: make([]Record, c.Size),
		work: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run()
	return q
}

// Append puts r in the queue. It refuses with ErrFull, as the policy says, and
// with ErrClosed after Close. It never waits.
func (q *Queue) Append(r *Record) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.stats.Refused++
		return ErrClosed
	}
	if q.n == len(q.ring) {
		switch q.c.Policy {
		case DropNew:
			q.stats.Accepted++
			q.stats.Dropped++
			return nil
		case DropOld:
			q.pop()
			q.stats.Dropped++
		default:
			q.stats.Refused++
			return fmt.Errorf("%w: %d records wait", ErrFull, q.n)
		}
	}
	q.ring[(q.head+q.n)%len(q.ring)] = *r
	q.n++
	q.stats.Accepted++
	q.wake()
	return nil
}

func (q *Queue) wake() {
	select {
	case q.work <- struct{}{}:
	default:
	}
}

// pop takes the oldest record out. Its place is cleared, so that no text stays
// in memory for it.
func (q *Queue) pop() Record {
	r := q.ring[q.head]
	q.ring[q.head] = Record{}
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return r
}

// run hands records on until the queue is closed and empty, or given up.
func (q *Queue) run() {
	defer close(q.done)
	for {
		r, ok, end := q.take()
		if end {
			return
		}
		if !ok {
			<-q.work
			continue
		}
		if !q.deliver(&r) {
			return
		}
	}
}

// take takes the oldest record out. The one that is on its way does not count
// against Size, so that DropOld cannot drop what the next log already has.
func (q *Queue) take() (r Record, ok, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.drop || q.closed && q.n == 0 {
		return r, false, true
	}
	if q.n == 0 {
		return r, false, false
	}
	return q.pop(), true, false
}

// deliver tries until the next log accepts r, and returns false when Close gave
// up before.
func (q *Queue) deliver(r *Record) bool {
	for wait := q.c.RetryMin; ; wait = min(2*wait, q.c.RetryMax) {
		err := q.next.Append(r)
		if err != nil && q.c.OnError != nil {
			q.c.OnError(err)
		}
		if final, goOn := q.count(err); final {
			return goOn
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-q.stop:
			t.Stop()
			return false
		}
	}
}

// count takes note of what became of a try, and returns whether it was the last
// one of its record and whether others may follow. A record that comes through
// after Close has given up was counted as dropped there.
func (q *Queue) count(err error) (final, goOn bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil:
		q.stats.Delivered++
	case errors.Is(err, ErrRecord):
		q.stats.Rejected++
	default:
		q.stats.Retries++
		return q.drop, !q.drop
	}
	if q.drop {
		q.stats.Dropped--
	}
	return true, !q.drop
}

// Close refuses further records, hands on those that wait and returns nil when
// all are accepted (or rejected for good). When ctx ends before that, it gives
// up, counts the rest as dropped and returns an error that says how many; a
// record that the next log has at that moment may still come through. Close may
// be called once.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	q.closed = true
	q.mu.Unlock()
	q.wake()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop = true
	close(q.stop)
	lost := q.stats.waiting()
	q.stats.Dropped += lost
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("logging: %d records were not delivered: %w", lost, context.Cause(ctx))
}

// Stats returns the counts. The record that is on its way counts as waiting.
func (q *Queue) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting = int(s.waiting())
	return s
}

func (s *QueueStats) waiting() uint64 { return s.Accepted - s.Delivered - s.Dropped - s.Rejected }
