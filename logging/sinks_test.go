package logging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

// TestNothingToLogTo: logs that were made of nothing refuse, and tell what to give them.
func TestNothingToLogTo(t *testing.T) {
	var zero logging.Writer
	for name, l := range map[string]logging.Log{
		"writer":         logging.NewWriter(nil, nil),
		"no encoder":     logging.NewWriter(io.Discard, nil),
		"no io.Writer":   logging.NewWriter(nil, logging.JSON{}),
		"zero writer":    &zero,
		"message writer": logging.NewMessageWriter(nil, nil),
		"fanout":         logging.Multi(logging.Discard, nil),
		"limiter":        logging.NewLimiter(nil, logging.LimiterConfig{}),
	} {
		require.ErrorContains(t, l.Append(&logging.Record{Kind: logging.BlockAllocated}), "give", name)
	}
	require.Equal(t, logging.WriterStats{Refused: 1}, zero.Stats())
}

// gate is a Writer that can fail and stall.
type gate struct {
	mu     sync.Mutex
	cond   *sync.Cond
	b      bytes.Buffer
	fail   bool
	stall  bool
	accept int // bytes that a failing Write still takes
}

func newGate() *gate {
	g := &gate{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

var errGate = errors.New("gate is shut")

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.stall {
		g.cond.Wait()
	}
	if g.fail {
		return g.b.Write(b[:min(g.accept, len(b))])
	}
	return g.b.Write(b)
}

// errWrite makes a short count the error that an io.Writer owes.
type errWrite struct{ g *gate }

func (w errWrite) Write(b []byte) (int, error) {
	n, err := w.g.Write(b)
	if n < len(b) {
		err = errGate
	}
	return n, err
}

func (g *gate) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.cond.Broadcast()
}

func (g *gate) records(t testing.TB) (out []logging.Record, faults int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for r, err := range logging.ReadJSON(bytes.NewReader(g.b.Bytes())) {
		if err != nil {
			faults++
			continue
		}
		out = append(out, r)
	}
	return out, faults
}

func harness(t *testing.T, wrap func(*testing.T, logging.Log) logging.Log, settle func()) loggingtest.Harness {
	g := newGate()
	l := wrap(t, logging.NewWriter(errWrite{g}, logging.JSON{}))
	return loggingtest.Harness{
		Log: l,
		Accepted: func() []logging.Record {
			settle()
			out, _ := g.records(t)
			return out
		},
		Fail: func(fail bool) { g.set(func() { g.fail = fail }) },
	}
}

func TestConformance(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			m := logging.NewMemory(0)
			return loggingtest.Harness{Log: m, Accepted: m.Records, Fail: func(fail bool) {
				if m.Refuse(nil); fail {
					m.Refuse(errGate)
				}
			}}
		})
	})
	t.Run("Discard", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness { return loggingtest.Harness{Log: logging.Discard} })
	})
	t.Run("Index", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness { return loggingtest.Harness{Log: logging.NewIndex()} })
	})
	t.Run("Writer", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			return harness(t, func(_ *testing.T, l logging.Log) logging.Log { return l }, func() {})
		})
	})
	t.Run("MessageWriter", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			g := newGate()
			return loggingtest.Harness{
				Log:      logging.NewMessageWriter(errWrite{g}, logging.JSON{}),
				Accepted: func() []logging.Record { out, _ := g.records(t); return out },
				Fail:     func(fail bool) { g.set(func() { g.fail = fail }) },
			}
		})
	})
	t.Run("Multi", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			return harness(t, func(_ *testing.T, l logging.Log) logging.Log { return logging.Multi(l, logging.NewMemory(0)) }, func() {})
		})
	})
	t.Run("Limiter", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			return harness(t, func(_ *testing.T, l logging.Log) logging.Log {
				return logging.NewLimiter(l, logging.LimiterConfig{})
			}, func() {})
		})
	})
	t.Run("Queue", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
			var q *logging.Queue
			g := newGate()
			q = logging.NewQueue(logging.NewWriter(errWrite{g}, logging.JSON{}), logging.QueueConfig{Size: 500, RetryMin: time.Millisecond})
			t.Cleanup(func() { _ = q.Close(t.Context()) })
			return loggingtest.Harness{
				Log: q,
				Accepted: func() []logging.Record {
					for q.Stats().Waiting > 0 {
						time.Sleep(time.Millisecond)
					}
					out, _ := g.records(t)
					return out
				},
				Fail:  func(fail bool) { g.set(func() { g.fail = fail }) },
				Stall: func(stall bool) { g.set(func() { g.stall = stall }) },
			}
		})
	})
}

// TestWriterTorn cuts each line at each byte: what Append refused is never read
// back, what it accepted always is, and all lines behind the cut are whole.
func TestWriterTorn(t *testing.T) {
	recs := loggingtest.Records()
	length := len(logging.JSON{}.AppendRecord(nil, &recs[1]))
	for cut := range length + 1 {
		g := newGate()
		w := logging.NewWriter(errWrite{g}, logging.JSON{})
		var want []logging.Record
		for i := range 4 {
			r := recs[i]
			g.set(func() { g.fail, g.accept = i == 1, cut })
			if err := w.Append(&r); err == nil {
				want = append(want, r)
			} else {
				require.ErrorIs(t, err, errGate)
			}
		}
		got, faults := g.records(t)
		require.Equal(t, want, got, "cut at %d of %d", cut, length)
		st := w.Stats()
		require.Equal(t, uint64(len(want)), st.Records)
		require.Equal(t, uint64(faults), st.Torn, "cut at %d", cut)
		require.Equal(t, uint64(g.b.Len()), st.Bytes)
		if cut >= length-1 {
			require.Len(t, want, 4)
		}
	}
}

// TestWriterTornTwice fails in the line feed that ends a fragment too.
func TestWriterTornTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGate()
		enc := logging.Encoder(logging.JSON{})
		w := logging.NewWriter(errWrite{g}, enc)
		recs := loggingtest.Records()
		var want []logging.Record
		for range rapid.IntRange(1, 12).Draw(t, "records") {
			r := recs[rapid.IntRange(0, len(recs)-1).Draw(t, "record")]
			g.fail, g.accept = rapid.Bool().Draw(t, "fail"), rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 500)).Draw(t, "accept")
			if w.Append(&r) == nil {
				want = append(want, r)
			}
		}
		var got []logging.Record
		for r, err := range logging.ReadJSON(bytes.NewReader(g.b.Bytes())) {
			if err == nil {
				got = append(got, r)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %d records, want %d:\n%s", len(got), len(want), g.b.String())
		}
	})
}

type lyingWriter struct{}

func (lyingWriter) Write(b []byte) (int, error) { return len(b) / 2, nil }

func TestWriterShortWithoutError(t *testing.T) {
	r := loggingtest.Records()[0]
	require.ErrorContains(t, logging.NewWriter(lyingWriter{}, logging.JSON{}).Append(&r), "short write")
}

func TestWriterHeader(t *testing.T) {
	g := newGate()
	g.fail = true
	w := logging.NewWriter(errWrite{g}, logging.CSV{})
	r := loggingtest.Records()[0]
	require.Error(t, w.Append(&r))
	g.fail = false
	require.NoError(t, w.Append(&r))
	require.NoError(t, w.Append(&r))
	require.Equal(t, 1, strings.Count(g.b.String(), "kind,time,"))
	require.Equal(t, 3, strings.Count(g.b.String(), "\n"))
}

// TestMessageWriterBroken: behind a part of a message nothing more is written to
// the stream, until there is another one.
func TestMessageWriterBroken(t *testing.T) {
	g, next := newGate(), newGate()
	m := logging.NewMessageWriter(errWrite{g}, logging.JSON{})
	r := loggingtest.Records()[0]
	require.NoError(t, m.Append(&r))
	whole := g.b.Len()
	g.fail, g.accept = true, 10
	require.ErrorIs(t, m.Append(&r), errGate)
	g.fail = false
	require.ErrorContains(t, m.Append(&r), "broken")
	require.Equal(t, whole+10, g.b.Len())
	m.Reset(errWrite{next})
	require.NoError(t, m.Append(&r))
	require.Equal(t, whole, next.b.Len())
	require.Equal(t, logging.WriterStats{Records: 2, Refused: 2, Torn: 1, Bytes: uint64(2*whole + 10)}, m.Stats())
	require.ErrorContains(t, logging.NewMessageWriter(lyingWriter{}, logging.JSON{}).Append(&r), "short write")
}

func TestMemoryBound(t *testing.T) {
	m := logging.NewMemory(2)
	r := loggingtest.Records()[0]
	require.NoError(t, m.Append(&r))
	require.NoError(t, m.Append(&r))
	require.ErrorIs(t, m.Append(&r), logging.ErrFull)
	require.Equal(t, 2, m.Len())
	m.Reset()
	require.NoError(t, m.Append(&r))
}

// TestFanoutTakesBack: a refusal of a later member leaves no interval in the
// earlier ones.
func TestFanoutTakesBack(t *testing.T) {
	x, first, last := logging.NewIndex(), logging.NewMemory(0), logging.NewMemory(0)
	optional := logging.NewMemory(0)
	optional.Refuse(errGate)
	f := logging.NewFanout(logging.Member{Log: x}, logging.Member{Log: first}, logging.Member{Log: optional, Optional: true}, logging.Member{Log: last})
	recs := loggingtest.Records()
	require.NoError(t, f.Append(&recs[0]))
	last.Refuse(errGate)
	other := recs[0]
	other.Subscriber = other.Subscriber.Next()
	require.ErrorIs(t, f.Append(&other), errGate)
	require.Equal(t, 1, x.Len())
	got := first.Records()
	require.Len(t, got, 3)
	require.Equal(t, logging.ReasonCancelled, got[2].Reason)
	require.Equal(t, logging.BlockReleased, got[2].Kind)
	require.Equal(t, other.Time, got[2].Allocated)
	require.NoError(t, got[2].Check())
	// A release that is refused is not taken back: it is offered again.
	require.ErrorIs(t, f.Append(&recs[1]), errGate)
	require.Len(t, first.Records(), 4)
	st := f.Stats()
	require.Equal(t, logging.MemberStats{Accepted: 3, Cancelled: 1}, st[1])
	require.Equal(t, uint64(3), st[2].Refused)
	first.Refuse(io.ErrShortWrite)
	require.ErrorIs(t, f.Append(&other), io.ErrShortWrite)
	require.Equal(t, 2, x.Len(), "the first block and the one whose release came")
}

func TestFanoutCannotTakeBack(t *testing.T) {
	stubborn := logging.LogFunc(func(r *logging.Record) error {
		if r.Reason == logging.ReasonCancelled {
			return io.ErrClosedPipe
		}
		return nil
	})
	refuses := logging.LogFunc(func(*logging.Record) error { return errGate })
	f := logging.Multi(stubborn, refuses)
	for _, r := range loggingtest.Records() {
		err := f.Append(&r)
		require.ErrorIs(t, err, errGate)
	}
	require.Equal(t, uint64(5), f.Stats()[0].Uncancelled, "block, session, mapping, binding, static mapping")
}

// TestRFC8158_06: a flood of exhaustion becomes one record an interval, and the
// sum of what passed and what was suppressed is what came.
func TestRFC8158_06(t *testing.T) {
	m := logging.NewMemory(0)
	l := logging.NewLimiter(m, logging.LimiterConfig{Interval: time.Second})
	r := logging.Record{Kind: logging.PortsExhausted, Protocol: 17, External: loggingtest.Records()[0].External}
	const start = logging.Millis(1700000000000)
	for i := range logging.Millis(100000) {
		r.Time = start + i/100 // 1 s
		require.NoError(t, l.Append(&r))
	}
	require.Equal(t, 1, m.Len())
	other := r
	other.Protocol = 6 // told for each protocol
	require.NoError(t, l.Append(&other))
	require.Equal(t, 2, m.Len())
	r.Time = start + 1000
	require.NoError(t, l.Append(&r))
	require.Equal(t, uint32(99999), m.Records()[2].Suppressed)
	require.Equal(t, uint64(99999), l.Suppressed())
	r.Time = start + 2000
	require.NoError(t, l.Append(&r))
	require.Zero(t, m.Records()[3].Suppressed)
	for _, r := range loggingtest.Records()[:3] {
		require.NoError(t, l.Append(&r))
		require.NoError(t, l.Append(&r))
	}
	require.Equal(t, 10, m.Len(), "blocks always pass")
}

func TestLimiterBounds(t *testing.T) {
	m := logging.NewMemory(0)
	l := logging.NewLimiter(m, logging.LimiterConfig{Interval: time.Second, Keys: 10})
	r := loggingtest.Records()[9]
	require.Equal(t, logging.QuotaExceeded, r.Kind)
	start := r.Time
	for range 1000 {
		r.Subscriber = r.Subscriber.Next()
		require.NoError(t, l.Append(&r))
	}
	require.Equal(t, 11, m.Len(), "ten subscribers, and one for all others")
	r.Time = start + 2000
	require.NoError(t, l.Append(&r))
	r.Subscriber = r.Subscriber.Next()
	require.NoError(t, l.Append(&r))
	require.Equal(t, 13, m.Len(), "room is made when the interval is over")
	// What was held back is told even when room was needed meanwhile.
	kept := logging.NewMemory(0)
	two := logging.NewLimiter(kept, logging.LimiterConfig{Interval: time.Second, Keys: 2})
	a, b, c := r, r, r
	b.PoolID, c.PoolID = 100, 101
	require.NoError(t, logging.Multi(two, two).Append(&a))
	require.NoError(t, two.Append(&b))
	a.Time, c.Time = a.Time+2000, c.Time+2000
	require.NoError(t, two.Append(&c))
	require.NoError(t, two.Append(&a))
	require.Equal(t, uint32(1), kept.Records()[3].Suppressed)
	// A refused record is not counted as passed.
	l = logging.NewLimiter(m, logging.LimiterConfig{Interval: time.Second})
	m.Refuse(errGate)
	require.ErrorIs(t, l.Append(&r), errGate)
	m.Refuse(nil)
	require.NoError(t, l.Append(&r))
	require.Equal(t, 14, m.Len())
	// A clock that was set back does not silence.
	r.Time -= 3600000
	require.NoError(t, l.Append(&r))
	require.Equal(t, 15, m.Len())
	off := logging.NewLimiter(m, logging.LimiterConfig{Interval: -1})
	require.NoError(t, off.Append(&r))
	require.NoError(t, off.Append(&r))
	require.Equal(t, 17, m.Len())
}

func TestQueuePolicies(t *testing.T) {
	for _, p := range []logging.Policy{logging.RefuseNew, logging.DropNew, logging.DropOld} {
		t.Run("policy="+p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := logging.NewMemory(0)
				m.Refuse(errGate)
				var errs int
				q := logging.NewQueue(m, logging.QueueConfig{Size: 3, Policy: p, OnError: func(error) { errs++ }})
				r := loggingtest.Records()[0]
				appendN := func(n uint64) error {
					r.Epoch = n
					return q.Append(&r)
				}
				require.NoError(t, appendN(0))
				synctest.Wait() // record 0 is on its way
				for n := range uint64(3) {
					require.NoError(t, appendN(n+1))
				}
				err := appendN(4)
				if p == logging.RefuseNew {
					require.ErrorIs(t, err, logging.ErrFull)
				} else {
					require.NoError(t, err)
				}
				time.Sleep(5 * time.Minute) // tries at 0, 0.1, 0.3, 0.7, ... 51.1, 81.1, ... s
				synctest.Wait()
				require.Equal(t, 18, errs)
				m.Refuse(nil)
				require.NoError(t, q.Close(t.Context()))
				var got []uint64
				for _, r := range m.Records() {
					got = append(got, r.Epoch)
				}
				st := q.Stats()
				require.Equal(t, st.Accepted, st.Delivered+st.Dropped)
				require.Zero(t, st.Waiting)
				switch p {
				case logging.RefuseNew:
					require.Equal(t, []uint64{0, 1, 2, 3}, got)
					require.Equal(t, uint64(1), st.Refused)
				case logging.DropNew:
					require.Equal(t, []uint64{0, 1, 2, 3}, got)
					require.Equal(t, uint64(1), st.Dropped)
				case logging.DropOld:
					require.Equal(t, []uint64{0, 2, 3, 4}, got)
					require.Equal(t, uint64(1), st.Dropped)
				}
				require.ErrorIs(t, appendN(9), logging.ErrClosed)
				require.ErrorIs(t, q.Close(t.Context()), logging.ErrClosed)
			})
		})
	}
	require.Equal(t, "policy(9)", logging.Policy(9).String())
}

// TestQueueGivesUp closes a queue whose next log refuses, and one whose next log
// does not return.
func TestQueueGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := logging.NewMemory(0)
		m.Refuse(errGate)
		q := logging.NewQueue(m, logging.QueueConfig{})
		for _, r := range loggingtest.Records() {
			require.NoError(t, q.Append(&r))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := q.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "17 records were not delivered")
		require.Equal(t, uint64(17), q.Stats().Dropped)
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		q := logging.NewQueue(logging.LogFunc(func(*logging.Record) error { <-release; return nil }), logging.QueueConfig{})
		for _, r := range loggingtest.Records() {
			require.NoError(t, q.Append(&r))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, q.Close(ctx), "17 records")
		close(release)
		synctest.Wait()
		st := q.Stats()
		require.Equal(t, logging.QueueStats{Accepted: 17, Dropped: 16, Delivered: 1}, st)
	})
}

// TestQueueRejects: a record that can never be logged does not hold up others.
func TestQueueRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := logging.NewIndex()
		q := logging.NewQueue(x, logging.QueueConfig{})
		require.NoError(t, q.Append(&logging.Record{}))
		r := loggingtest.Records()[0]
		require.NoError(t, q.Append(&r))
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, 1, x.Len())
		require.Equal(t, logging.QueueStats{Accepted: 2, Delivered: 1, Rejected: 1}, q.Stats())
	})
}

// TestQueueConcurrent has many writers and a log that fails now and then; what
// was accepted arrives, in the order of each writer.
func TestQueueConcurrent(t *testing.T) {
	m := logging.NewMemory(0)
	var calls int
	flaky := logging.LogFunc(func(r *logging.Record) error {
		if calls++; calls%7 == 0 {
			return errGate
		}
		return m.Append(r)
	})
	q := logging.NewQueue(flaky, logging.QueueConfig{Size: 16, RetryMin: time.Microsecond, RetryMax: time.Microsecond})
	accepted := make([][]uint64, 8)
	var wg sync.WaitGroup
	for w := range accepted {
		wg.Go(func() {
			r := loggingtest.Records()[0]
			r.Host = fmt.Sprint(w)
			for i := range uint64(200) {
				r.Epoch = i
				if q.Append(&r) == nil {
					accepted[w] = append(accepted[w], i)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, q.Close(t.Context()))
	got := make([][]uint64, 8)
	for _, r := range m.Records() {
		w := r.Host[0] - '0'
		got[w] = append(got[w], r.Epoch)
	}
	require.Equal(t, accepted, got)
}
