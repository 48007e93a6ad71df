package spool

import (
	"context"
	"errors"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Deliver hands the records to next in order and acks each that next accepts,
// until ctx ends, whose error it returns. A record that next refuses is tried
// again, after 100 ms at first and then up to 30 s; one that it can never take
// (logging.ErrRecord) is given to rejected, where that is not nil, and acked. It
// is for one caller at a time, which waits for it in a goroutine of its own.
func (s *Spool) Deliver(ctx context.Context, next logging.Log, rejected func(r *logging.Record, err error)) error {
	s.Rewind()
	var r logging.Record
	for {
		seq, ok, err := s.Next(&r)
		if errors.Is(err, logging.ErrClosed) {
			return err
		}
		if err != nil || !ok {
			var again <-chan time.Time
			if err != nil {
				again = time.After(retryMin)
			}
			select {
			case <-s.more:
			case <-again:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if err := offer(ctx, next, &r); errors.Is(err, logging.ErrRecord) {
			if rejected != nil {
				rejected(&r, err)
			}
		} else if err != nil {
			return err
		}
		s.Ack(seq)
	}
}

const (
	retryMin = 100 * time.Millisecond
	retryMax = 30 * time.Second
)

// offer tries until next accepts r or can never take it, or ctx ends.
func offer(ctx context.Context, next logging.Log, r *logging.Record) error {
	for pause := retryMin; ctx.Err() == nil; pause = min(2*pause, retryMax) {
		err := next.Append(r)
		if err == nil || errors.Is(err, logging.ErrRecord) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return ctx.Err()
}
