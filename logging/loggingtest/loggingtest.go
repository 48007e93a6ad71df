// Package loggingtest checks that a logging.Log keeps its contract, as
// testing/slogtest does for handlers of log/slog. It is for tests of any sink,
// also ones outside this module.
//
//	func TestMySink(t *testing.T) {
//		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
//			s := newMySink(t)
//			return loggingtest.Harness{Log: s, Accepted: s.readBack}
//		})
//	}
//
// What it cannot check is what a sink promises of its own: that a record is on
// a disk, or on its way to a collector.
package loggingtest

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// A Harness is a fresh, empty log and what the checks may do to it besides. Nil
// functions leave out the checks that need them.
type Harness struct {
	Log logging.Log

	// Accepted returns the records that the log holds now, in its order. It
	// may wait until the log has written them, and it may be called again.
	Accepted func() []logging.Record

	// Fail makes what the log writes to fail, and work again.
	Fail func(fail bool)

	// Stall makes what the log writes to block, and go on.
	Stall func(stall bool)
}

// patience is how long ten thousand calls of Append may take on a stalled sink.
var patience = 5 * time.Second

// Run checks the log that open returns; each check gets one of its own.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.check(t, open(t)) })
	}
}

var checks = []struct {
	name  string
	check func(reporter, Harness)
}{
	{"EveryKind", everyKind},
	{"Extremes", extremes},
	{"Reuse", reuse},
	{"Twice", twice},
	{"Concurrent", concurrent},
	{"Fails", fails},
	{"Stalls", stalls},
}

// reporter is what the checks use of a testing.T.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	SkipNow()
}

// Records returns one record of each kind, all of which logging.Record.Check
// accepts, with plain values.
func Records() []logging.Record {
	at := logging.MillisOf(time.Date(2026, 11, 21, 2, 30, 10, 123e6, time.UTC))
	base := logging.Record{
		Time: at, Spaces: logging.AllSpaces, First: 20480, Last: 20735, Step: 1, Instance: 1, PoolID: 7, Pool: "cgn",
		Host: "cgn1.example.net", Epoch: 3, Realm: "vrf7", Used: 1, Max: 4, Reason: logging.ReasonOutbound,
		Subscriber: netip.MustParseAddr("100.64.1.10"), External: netip.MustParseAddr("198.51.100.7"),
	}
	var out []logging.Record
	for k := logging.Kind(1); k.Valid(); k++ {
		r := base
		r.Kind = k
		switch k {
		case logging.BlockReleased, logging.BlockInterim:
			r.Allocated, r.Reason = at-3600000, logging.ReasonIdle
		case logging.StaticAdded, logging.StaticRemoved:
			r.Pool, r.PoolID, r.Reason = "web", 0, logging.ReasonAdmin
			r.Internal = netip.AddrPortFrom(r.Subscriber, 8000)
			if k == logging.StaticRemoved {
				r.Allocated = at - 3600000
			}
		case logging.SessionCreated, logging.SessionDeleted, logging.MappingCreated, logging.MappingDeleted:
			r.Spaces, r.Protocol, r.Last, r.Allocated = logging.UDP, 17, r.First, at-1000
			r.Internal = netip.AddrPortFrom(r.Subscriber, 40000)
		case logging.QuotaExceeded:
			r.Resource = logging.ResourceSubscriberMappings
		case logging.ThresholdHigh, logging.ThresholdLow:
			r.Resource = logging.ResourcePool
		case logging.ConfigEpoch:
			r.Detail = `{"hosts":"100.64.0.0/16","pool":"198.51.100.0/24"}`
		}
		out = append(out, r)
	}
	return out
}

// mustAccept appends a copy of r, which no log may change.
func mustAccept(t reporter, h Harness, r logging.Record) {
	t.Helper()
	given := r
	if err := h.Log.Append(&given); err != nil {
		t.Fatalf("Append(%v) = %v, want it accepted", r.Kind, err)
	}
	if given != r {
		t.Errorf("Append changed the record:\n got %+v\nwant %+v", given, r)
	}
}

func mustHold(t reporter, h Harness, want []logging.Record) {
	t.Helper()
	if h.Accepted == nil {
		return
	}
	got := h.Accepted()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("accepted record %d is lost: %+v", i, want[i])
		case i >= len(want):
			t.Errorf("record %d was never accepted: %+v", i, got[i])
		case got[i] != want[i]:
			t.Errorf("record %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func everyKind(t reporter, h Harness) {
	for _, r := range Records() {
		mustAccept(t, h, r)
	}
	mustHold(t, h, Records())
}

// extremes appends legal values at their limits and text with the characters
// that the formats give a meaning.
func extremes(t reporter, h Harness) {
	wide, odd := Records()[0], Records()[0]
	wide.First, wide.Last, wide.Step = 0, 65535, 0
	wide.Instance, wide.PoolID, wide.Class, wide.Used, wide.Max, wide.Suppressed = 1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1
	wide.Epoch = 1<<64 - 1
	wide.Subscriber, wide.SubscriberBits = netip.MustParseAddr("2001:db8:ffff:ff00::"), 56
	odd.Time = logging.MillisOf(time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC))
	odd.Pool, odd.Host = `a"b\c]d|e=f,g`, "line\r\nbreak\ttab\x00\x1b"
	odd.SubscriberID, odd.Realm = "caf\u00e9 \U0001F600", strings.Repeat("x", 300)
	mustAccept(t, h, wide)
	mustAccept(t, h, odd)
	mustHold(t, h, []logging.Record{wide, odd})
}

// reuse writes over the one Record that it appends, as engines do.
func reuse(t reporter, h Harness) {
	var r logging.Record
	for _, want := range Records() {
		r = want
		if err := h.Log.Append(&r); err != nil {
			t.Fatalf("Append(%v) = %v, want it accepted", want.Kind, err)
		}
		r = logging.Record{Kind: 255, Pool: "written over"}
	}
	mustHold(t, h, Records())
}

// twice offers one record again, as a caller does that missed the answer. A log
// may keep it twice.
func twice(t reporter, h Harness) {
	r := Records()[1]
	mustAccept(t, h, r)
	if err := h.Log.Append(&r); err != nil {
		t.Errorf("the same record again: %v", err)
	}
	if h.Accepted == nil {
		return
	}
	got := h.Accepted()
	if len(got) == 0 {
		t.Error("the record is lost")
	}
	for _, g := range got {
		if g != r {
			t.Errorf("got %+v, want %+v", g, r)
		}
	}
}

// concurrent appends from many goroutines; none is lost or mixed with another,
// and the order of each goroutine stays.
func concurrent(t reporter, h Harness) {
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := Records()[0]
			for i := range each {
				r.Host, r.Epoch = fmt.Sprint("worker ", w), uint64(i)
				if err := h.Log.Append(&r); err != nil {
					t.Errorf("worker %d, record %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if h.Accepted == nil {
		return
	}
	next := map[string]uint64{}
	for _, g := range h.Accepted() {
		if g.Epoch != next[g.Host] {
			t.Errorf("%s: got record %d, want %d", g.Host, g.Epoch, next[g.Host])
		}
		next[g.Host] = g.Epoch + 1
	}
	for w := range workers {
		if n := next[fmt.Sprint("worker ", w)]; n != each {
			t.Errorf("worker %d: %d records, want %d", w, n, each)
		}
	}
}

// fails breaks the sink: what is refused must not be held, what was accepted
// before or after must be.
func fails(t reporter, h Harness) {
	if h.Fail == nil {
		t.SkipNow()
	}
	all := Records()
	mustAccept(t, h, all[0])
	h.Fail(true)
	refused := all[1]
	err := h.Log.Append(&refused)
	h.Fail(false)
	want := []logging.Record{all[0]}
	if err == nil {
		want = append(want, all[1])
	}
	mustAccept(t, h, all[2])
	mustHold(t, h, append(want, all[2]))
}

// stalls blocks the sink: Append must go on returning, with a refusal once
// nothing more can be held, and nothing accepted is lost.
func stalls(t reporter, h Harness) {
	if h.Stall == nil {
		t.SkipNow()
	}
	h.Stall(true)
	var want []logging.Record
	done := make(chan error, 1)
	go func() {
		r := Records()[0]
		for i := range uint64(10000) {
			r.Epoch = i
			if h.Log.Append(&r) == nil {
				want = append(want, r)
			}
		}
		done <- nil
	}()
	select {
	case <-done:
	case <-time.After(patience):
		h.Stall(false)
		t.Fatalf("Append blocks when the sink does")
	}
	h.Stall(false)
	mustHold(t, h, want)
}
