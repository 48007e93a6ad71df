//go:build linux

package main

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// blockLog hands records on and remembers the blocks that are open, so that they
// can be recorded as released when the program ends: the engine's state ends with
// it, and a block that stayed open in the file would name its subscriber for
// ever. It is safe for concurrent use.
type blockLog struct {
	next logging.Log

	mu   sync.Mutex
	open map[blockKey]logging.Record
}

// blockKey names a block of a pool.
type blockKey struct {
	external netip.Addr
	first    uint16
}

func newBlockLog(next logging.Log) *blockLog {
	return &blockLog{next: next, open: map[blockKey]logging.Record{}}
}

// Append implements logging.Log.
func (l *blockLog) Append(r *logging.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.next.Append(r); err != nil {
		return err
	}
	switch k := (blockKey{r.External, r.First}); r.Kind {
	case logging.BlockAllocated:
		l.open[k] = *r
	case logging.BlockReleased:
		delete(l.open, k)
	}
	return nil
}

// shutdown records every open block as released, by external address and port.
func (l *blockLog) shutdown(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[netip.Addr]uint32{}
	for _, r := range l.open {
		held[r.Subscriber]++
	}
	keys := slices.SortedFunc(maps.Keys(l.open), func(a, b blockKey) int {
		return cmp.Or(a.external.Compare(b.external), cmp.Compare(a.first, b.first))
	})
	var errs []error
	for _, k := range keys {
		r := l.open[k]
		r.Kind, r.Reason = logging.BlockReleased, logging.ReasonShutdown
		r.Allocated, r.Time = r.Start(), logging.MillisOf(now)
		r.Used = held[r.Subscriber] - 1
		if err := l.next.Append(&r); err != nil {
			errs = append(errs, err)
			continue
		}
		held[r.Subscriber]--
		delete(l.open, k)
	}
	return errors.Join(errs...)
}
