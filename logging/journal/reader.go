package journal

import (
	"errors"
	"io/fs"
	"iter"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// A Reader answers from the directories of one or several journals, also while
// they are written. Answers are as of the last Refresh. It is safe for concurrent
// use.
type Reader struct {
	stores []*store
	index  *logging.Index
}

type store struct {
	name string
	fs   fs.FS
}

// OpenReader opens the journals in the directories for reading. It writes
// nothing, and needs no lock.
func OpenReader(dirs ...string) (*Reader, error) {
	r := &Reader{}
	for _, d := range dirs {
		r.stores = append(r.stores, &store{d, directory(d)})
	}
	return r, r.Refresh()
}

// Refresh takes up what the journals got since it was called last.
func (r *Reader) Refresh() error {
	r.index = logging.NewIndex()
	for rec, err := range r.Records() {
		if err != nil {
			return err
		}
		if err := r.index.Append(&rec); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the files.
func (r *Reader) Close() error { return nil }

// Who returns the intervals that meet q: none, one or several, never a choice
// among several; they are those of logging.Index.Who, in its order.
func (r *Reader) Who(q logging.Query) ([]Candidate, error) {
	var out []Candidate
	for _, c := range r.index.Who(q) {
		out = append(out, Candidate{Candidate: c})
	}
	return out, nil
}

// Subscriber returns what the subscriber with this address (or prefix's
// address) held at some instant from from to to, both included, by beginning.
// The zero to means without end.
func (r *Reader) Subscriber(addr netip.Addr, from, to time.Time) ([]Block, error) {
	return blocks(r.index.Subscriber(addr, from, to)), nil
}

// SubscriberID is Subscriber for a subscriber with an opaque id.
func (r *Reader) SubscriberID(id string, from, to time.Time) ([]Block, error) {
	return blocks(r.index.SubscriberID(id, from, to)), nil
}

func blocks(ivs []logging.Interval) (out []Block) {
	for _, v := range ivs {
		out = append(out, Block{Interval: v})
	}
	return out
}

// Resolve makes f answer for configuration epochs, as logging.Index.Resolve does.
func (r *Reader) Resolve(f logging.Resolver) { r.index.Resolve(f) }

// Verify yields every pair of intervals of one kind that share an external
// realm, address and port, a port space and a class, and overlap or lie closer
// than guard: what logging.Index.Verify finds, in its order.
func (r *Reader) Verify(guard time.Duration) iter.Seq2[logging.Conflict, error] {
	return func(yield func(logging.Conflict, error) bool) {
		for _, c := range r.index.Verify(guard) {
			if !yield(c, nil) {
				return
			}
		}
	}
}

var errStop = errors.New("stop")

// Records yields all records in the order in which they were accepted, journal
// by journal.
func (r *Reader) Records() iter.Seq2[logging.Record, error] {
	return func(yield func(logging.Record, error) bool) {
		for _, s := range r.stores {
			h, err := list(s.fs)
			if err == nil {
				err = readWALs(s.fs, h.wals, func(*DamageError) {}, func(_ uint64, rec *logging.Record) error {
					if !yield(*rec, nil) {
						return errStop
					}
					return nil
				})
			}
			if err == errStop {
				return
			}
			if err != nil && !yield(logging.Record{}, err) {
				return
			}
		}
	}
}
