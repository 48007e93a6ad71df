package journal

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Tail yields the last n records of each journal and then, every so often, those
// that came since, until ctx ends; with every 0 it ends after the last n. It refreshes the Reader, so no Records,
// Intervals or Verify may run at the same time.
func (r *Reader) Tail(ctx context.Context, n int, every time.Duration) iter.Seq2[logging.Record, error] {
	return func(yield func(logging.Record, error) bool) {
		after := map[*store]order{}
		for _, s := range r.list() {
			events, err := s.lastEvents(n)
			if err != nil && !yield(logging.Record{}, err) {
				return
			}
			for i := range events {
				if !yield(events[i].record(), nil) {
					return
				}
			}
			after[s] = s.newest()
		}
		if every <= 0 {
			return
		}
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if err := r.Refresh(); err != nil && !yield(logging.Record{}, err) {
				return
			}
			for _, s := range r.list() {
				if !s.since(after[s], yield) {
					return
				}
				after[s] = s.newest()
			}
		}
	}
}

// newest is the order of the last record.
func (s *store) newest() order {
	newest := firstOrder
	for _, w := range s.windows() {
		if w.last != lastOrder && w.last.compare(newest) > 0 {
			newest = w.last
		}
	}
	return newest
}

// lastEvents returns the last n records, in order.
func (s *store) lastEvents(n int) ([]eventRef, error) {
	windows := s.windows()
	var out []eventRef
	for i := len(windows) - 1; i >= 0 && len(out) < n; i-- {
		events, err := s.events(windows[i])
		if err != nil {
			return nil, fmt.Errorf("journal: %s: %w", s.name, err)
		}
		if more := n - len(out); len(events) > more {
			events = events[len(events)-more:]
		}
		out = append(events, out...)
	}
	return out, nil
}

// since yields the records after one.
func (s *store) since(after order, yield func(logging.Record, error) bool) bool {
	for _, w := range s.windows() {
		if w.last.compare(after) <= 0 || w.last == lastOrder {
			continue
		}
		if w.after.compare(after) < 0 {
			w.after = after
		}
		events, err := s.events(w)
		if err != nil {
			return yield(logging.Record{}, fmt.Errorf("journal: %s: %w", s.name, err))
		}
		for i := range events {
			if !yield(events[i].record(), nil) {
				return false
			}
		}
	}
	return true
}
