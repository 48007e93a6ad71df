package logging

import (
	"cmp"
	"errors"
	"io"
	"iter"
	"net/netip"
	"slices"
	"sync"
)

// Index holds intervals in memory and answers who used an external port at an
// instant. It is built from records in any order, which makes it a Log. It does
// no I/O of its own and reads no clock. It is safe for concurrent use.
//
// Records of blocks, mappings and sessions become intervals; configuration
// epochs are kept apart; other kinds are accepted and leave no trace. Records
// that come twice count once, and intervals that ended with ReasonCancelled
// answer nothing.
//
// An external address costs 12 KiB and an interval about 600 bytes with all its
// entries: for archives of many millions package journal is the place.
type Index struct {
	mu      sync.RWMutex
	ivs     []entry
	byAddr  map[netip.Addr]*address
	bySub   map[netip.Addr][]int32
	byID    map[string][]int32
	byKey   map[key]int32
	epochs  []Record // sorted by Time
	resolve Resolver
	open    int
	dropped int // cancelled intervals
}

// entry is an interval and what the index must know of it besides.
//
// A cancelled interval may come to life again: an engine whose log refused may
// offer the same block to the same subscriber in the same millisecond. It counts
// as cancelled while no more beginnings than cancellations are known, and never
// once a record shows that it was held: better to name one too many, which
// Verify finds, than nobody.
type entry struct {
	Interval
	begins, cancels uint32
	held            bool // an interim record or an end that is no cancellation
	ended           bool // an end that is no cancellation; To has it
	cancelled       bool
}

// key identifies an interval: all that its records repeat.
type key struct {
	kind              Kind
	spaces            Spaces
	protocol          uint8
	first, last, step uint16
	class             uint32
	start             Millis
	subscriber, ext   netip.Addr
	internal, remote  netip.AddrPort
	id, extRealm      string
}

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{
		byAddr: map[netip.Addr]*address{},
		bySub:  map[netip.Addr][]int32{},
		byID:   map[string][]int32{},
		byKey:  map[key]int32{},
	}
}

// opening returns the kind that begins what records of kind k are about.
func (k Kind) opening() (Kind, bool) {
	switch k {
	case BlockAllocated, BlockReleased, BlockInterim:
		return BlockAllocated, true
	case SessionCreated, SessionDeleted:
		return SessionCreated, true
	case MappingCreated, MappingDeleted:
		return MappingCreated, true
	case StaticAdded, StaticRemoved:
		return StaticAdded, true
	}
	return 0, false
}

// Append adds r. It refuses, with a *FieldError, what Record.Check refuses.
func (x *Index) Append(r *Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Kind == ConfigEpoch {
		x.addEpoch(r)
		return nil
	}
	kind, ok := r.Kind.opening()
	if !ok {
		return nil
	}
	rec := *r
	rec.External, rec.Subscriber = r.External.Unmap(), r.Subscriber.Unmap()
	n := x.find(kind, &rec)
	v := &x.ivs[n]
	v.Seen = max(v.Seen, rec.Time)
	switch {
	case rec.Kind == kind:
		v.Confirmed = true
		v.begins++
	case rec.Kind == BlockInterim:
		v.held = true
	case rec.Reason == ReasonCancelled:
		v.cancels++
	default:
		// A second, different end keeps the later one, so that nobody who may
		// have used the port is left out.
		v.held, v.ended = true, true
		v.To = max(v.To, rec.Time, v.From)
	}
	x.settle(n)
	return nil
}

// settle derives the state of interval n from what was seen of it.
func (x *Index) settle(n int32) {
	v := &x.ivs[n]
	cancelled := !v.held && v.cancels > 0 && v.cancels >= v.begins
	open := !cancelled && !v.ended
	x.dropped += toInt(cancelled) - toInt(v.cancelled)
	x.open += toInt(open) - toInt(v.Open)
	v.cancelled, v.Open = cancelled, open
	if cancelled {
		v.To = v.From
	} else if open {
		v.To = 0
	}
	x.byAddr[v.External].update(x.ivs, n)
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// find returns the interval that r is about, a new one if there is none yet.
func (x *Index) find(kind Kind, r *Record) int32 {
	k := keyOf(kind, r)
	if n, ok := x.byKey[k]; ok {
		return n
	}
	// A record of an end that does not repeat the beginning closes the latest
	// open interval that is equal in all else.
	if r.Kind != kind && r.Allocated == 0 {
		if n, ok := x.latestOpen(k); ok {
			x.byKey[k] = n // the same record again is about it too
			return n
		}
	}
	n := int32(len(x.ivs))
	x.ivs = append(x.ivs, entry{Interval: Interval{
		Kind: kind, Open: true, Spaces: spacesOf(r), Protocol: r.Protocol, SubscriberBits: r.SubscriberBits,
		First: r.First, Last: r.Last, Step: r.Step, Instance: r.Instance, PoolID: r.PoolID, Class: r.Class,
		From: r.Start(), Epoch: r.Epoch, Subscriber: r.Subscriber, External: r.External,
		Internal: r.Internal, Remote: r.Remote, SubscriberID: r.SubscriberID, Realm: r.Realm,
		ExternalRealm: r.ExternalRealm, Host: r.Host, Pool: r.Pool,
	}})
	x.byKey[k] = n
	x.open++
	a := x.byAddr[r.External]
	if a == nil {
		a = &address{}
		x.byAddr[r.External] = a
	}
	a.add(x.ivs, n)
	if who := holder(r); who.IsValid() {
		x.bySub[who] = x.insert(x.bySub[who], n)
	}
	if r.SubscriberID != "" {
		x.byID[r.SubscriberID] = x.insert(x.byID[r.SubscriberID], n)
	}
	return n
}

func keyOf(kind Kind, r *Record) key {
	return key{
		kind: kind, spaces: r.Spaces, protocol: r.Protocol, first: r.First, last: r.Last, step: r.Step,
		class: r.Class, start: r.Start(), subscriber: r.Subscriber, ext: r.External, internal: r.Internal,
		remote: r.Remote, id: r.SubscriberID, extRealm: r.ExternalRealm,
	}
}

// holder returns the address that Subscriber finds the record's interval by.
func holder(r *Record) netip.Addr {
	if r.Subscriber.IsValid() {
		return r.Subscriber
	}
	return r.Internal.Addr().Unmap()
}

// spacesOf returns the port spaces of r, which a session may give by its
// protocol alone.
func spacesOf(r *Record) Spaces {
	if r.Spaces != 0 {
		return r.Spaces
	}
	return SpaceOf(r.Protocol)
}

// latestOpen returns the open interval that equals k in all but the beginning,
// and begins last but not after k.start.
func (x *Index) latestOpen(k key) (int32, bool) {
	a := x.byAddr[k.ext]
	if a == nil {
		return 0, false
	}
	list := a.lists[k.first>>8].ids
	for i := len(list) - 1; i >= 0; i-- {
		v := &x.ivs[list[i]]
		if v.Open && v.From <= k.start && v.Kind == k.kind && v.First == k.first && v.Last == k.last &&
			v.Step == k.step && v.Class == k.class && v.Protocol == k.protocol && v.Subscriber == k.subscriber &&
			v.SubscriberID == k.id && v.ExternalRealm == k.extRealm && v.Internal == k.internal && v.Remote == k.remote {
			return list[i], true
		}
	}
	return 0, false
}

// insert adds n to ids, which are in the order of beginning, then of arrival.
func (x *Index) insert(ids []int32, n int32) []int32 {
	return slices.Insert(ids, upTo(x.ivs, ids, x.ivs[n].From), n)
}

// upTo returns how many of ids begin at or before t. Records mostly come in the
// order of time, so the end is tried first.
func upTo(ivs []entry, ids []int32, t Millis) int {
	if n := len(ids); n == 0 || ivs[ids[n-1]].From <= t {
		return n
	}
	i, _ := slices.BinarySearchFunc(ids, t, func(id int32, t Millis) int {
		if ivs[id].From <= t {
			return -1
		}
		return 1
	})
	return i
}

// maxErrors bounds the errors that Replay keeps.
const maxErrors = 100

// Replay adds the records of a stream of JSON lines and returns how many it
// added. It goes on after damaged lines and records and returns their errors
// joined, the first 100 of them.
func (x *Index) Replay(r io.Reader) (int, error) {
	var errs []error
	n := 0
	for rec, err := range ReadJSON(r) {
		if err == nil {
			err = x.Append(&rec)
		}
		if err == nil {
			n++
		} else if len(errs) < maxErrors {
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// Len returns the number of intervals, and Open that of those still open.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ivs) - x.dropped
}

// Open returns the number of intervals that no record has ended.
func (x *Index) Open() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.open
}

// Intervals yields a copy of each interval as they are when the iteration
// begins, by external address, then by beginning.
func (x *Index) Intervals() iter.Seq[Interval] {
	return func(yield func(Interval) bool) {
		x.mu.RLock()
		all := make([]Interval, 0, len(x.ivs)-x.dropped)
		for i := range x.ivs {
			if !x.ivs[i].cancelled {
				all = append(all, x.ivs[i].Interval)
			}
		}
		x.mu.RUnlock()
		slices.SortStableFunc(all, func(a, b Interval) int {
			return cmp.Or(a.External.Compare(b.External), cmp.Compare(a.From, b.From))
		})
		for _, v := range all {
			if !yield(v) {
				return
			}
		}
	}
}
