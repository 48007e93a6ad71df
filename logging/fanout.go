package logging

import (
	"errors"
	"sync/atomic"
)

// Multi returns a Log that accepts a record when every one of logs accepts it.
// It is NewFanout with all of them required.
func Multi(logs ...Log) *Fanout {
	members := make([]Member, len(logs))
	for i, l := range logs {
		members[i] = Member{Log: l}
	}
	return NewFanout(members...)
}

// A Member is one log of a Fanout.
type Member struct {
	Log Log
	// Optional says that a refusal of this log is counted and does not refuse
	// the record.
	Optional bool
}

// Fanout hands each record to several logs in order. It is safe for concurrent
// use as far as its members are.
//
// The record is accepted when all required members accept it. When one refuses,
// the members before it hold a record of something that will not be used; where
// that is an allocation they get its release with ReasonCancelled, so that
// nobody is named for it. A release that was refused is offered again by the
// engine, so some members get it twice, which readers take as one.
type Fanout struct {
	members []Member
	counts  []memberCounts
}

type memberCounts struct{ accepted, refused, cancelled, uncancelled atomic.Uint64 }

// MemberStats counts what one member of a Fanout did.
type MemberStats struct {
	Accepted    uint64 // records accepted
	Refused     uint64 // records refused
	Cancelled   uint64 // allocations taken back because a later member refused
	Uncancelled uint64 // allocations that could not be taken back: the member names a subscriber for a block that served nobody
}

// NewFanout returns a Fanout over members. Optional members are best last. A member whose Log is nil refuses every record.
func NewFanout(members ...Member) *Fanout {
	f := &Fanout{members: append([]Member(nil), members...), counts: make([]memberCounts, len(members))}
	for i := range f.members {
		f.members[i].Log = given(f.members[i].Log)
	}
	return f
}

// Append offers r to each member in order and returns the refusals of required
// ones.
func (f *Fanout) Append(r *Record) error {
	for i := range f.members {
		m, c := &f.members[i], &f.counts[i]
		err := m.Log.Append(r)
		if err == nil {
			c.accepted.Add(1)
			continue
		}
		c.refused.Add(1)
		if m.Optional {
			continue
		}
		return errors.Join(err, f.cancel(i, r))
	}
	return nil
}

// cancel takes r back from the members before n.
func (f *Fanout) cancel(n int, r *Record) error {
	closing, ok := r.Kind.closing()
	if !ok || n == 0 {
		return nil
	}
	back := *r
	back.Kind, back.Reason, back.Allocated = closing, ReasonCancelled, r.Start()
	var errs []error
	for i := range n {
		if err := f.members[i].Log.Append(&back); err != nil {
			f.counts[i].uncancelled.Add(1)
			if !f.members[i].Optional {
				errs = append(errs, err)
			}
			continue
		}
		f.counts[i].cancelled.Add(1)
	}
	return errors.Join(errs...)
}

// Stats returns the counts of the members in their order.
func (f *Fanout) Stats() []MemberStats {
	out := make([]MemberStats, len(f.counts))
	for i := range f.counts {
		c := &f.counts[i]
		out[i] = MemberStats{c.accepted.Load(), c.refused.Load(), c.cancelled.Load(), c.uncancelled.Load()}
	}
	return out
}
