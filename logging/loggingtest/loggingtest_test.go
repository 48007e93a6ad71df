package loggingtest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// faults notes what a check reports.
type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) Helper() {}

func (f *faults) Error(args ...any) { f.Errorf("%s", fmt.Sprint(args...)) }

func (f *faults) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *faults) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *faults) SkipNow() { runtime.Goexit() }

// bad is a log with one fault; fault names what is done with record n.
type bad struct {
	mu    sync.Mutex
	n     int
	list  []logging.Record
	kept  []*logging.Record
	down  bool
	stall chan struct{}
	fault string
}

func (b *bad) Append(r *logging.Record) error {
	b.mu.Lock()
	stall := b.stall
	b.mu.Unlock()
	if stall != nil && b.fault == "blocks" {
		<-stall
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	switch {
	case b.fault == "keeps the pointer":
		b.kept = append(b.kept, r)
		return nil
	case b.fault == "changes the record":
		r.Suppressed++
	case b.fault == "loses one" && b.n%10 == 2:
		return nil
	case b.fault == "invents one" && b.n == 2:
		b.list = append(b.list, *r)
	case b.fault == "swaps two" && b.n > 1 && b.n%2 == 0:
		b.list = slices.Insert(b.list, len(b.list)-1, *r)
		return nil
	case b.fault == "cuts text":
		c := *r
		c.Realm = c.Realm[:min(len(c.Realm), 255)]
		b.list = append(b.list, c)
		return nil
	case b.fault == "refuses a kind" && r.Kind == logging.ConfigEpoch:
		return logging.ErrRecord
	case b.down && b.fault == "holds what it refused":
		b.list = append(b.list, *r)
		return errors.New("down")
	case b.down && b.fault == "accepts when down":
		return nil
	case b.down:
		return errors.New("down")
	case stall != nil && len(b.list) > 100:
		return logging.ErrFull
	}
	b.list = append(b.list, *r)
	return nil
}

func (b *bad) harness() Harness {
	return Harness{
		Log: b,
		Accepted: func() []logging.Record {
			out := slices.Clone(b.list)
			for _, r := range b.kept {
				out = append(out, *r)
			}
			return out
		},
		Fail: func(fail bool) { b.down = fail },
		Stall: func(stall bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if stall {
				b.stall = make(chan struct{})
			} else {
				close(b.stall)
				b.stall = nil
			}
		},
	}
}

// TestEachFaultIsFound gives each check logs with one fault, and says which
// checks must find it. The log without a fault passes all.
func TestEachFaultIsFound(t *testing.T) {
	patience = 200 * time.Millisecond
	for fault, finders := range map[string][]string{
		"":                      nil,
		"keeps the pointer":     {"Reuse"},
		"changes the record":    {"EveryKind", "Extremes", "Twice"},
		"loses one":             {"EveryKind", "Extremes", "Reuse", "Concurrent"},
		"invents one":           {"EveryKind", "Extremes", "Reuse"},
		"swaps two":             {"EveryKind", "Extremes", "Reuse"},
		"cuts text":             {"Extremes"},
		"refuses a kind":        {"EveryKind", "Reuse"},
		"holds what it refused": {"Fails"},
		"accepts when down":     {"Fails"},
		"blocks":                {"Stalls"},
	} {
		t.Run("fault="+fault, func(t *testing.T) {
			for _, c := range checks {
				var f faults
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.check(&f, (&bad{fault: fault}).harness())
				}()
				<-done
				if want := slices.Contains(finders, c.name); want {
					require.NotEmpty(t, f.list, c.name)
				} else if fault == "" {
					require.Empty(t, f.list, c.name)
				}
			}
		})
	}
}

func TestRecords(t *testing.T) {
	kinds := map[logging.Kind]bool{}
	for _, r := range Records() {
		require.NoError(t, r.Check())
		kinds[r.Kind] = true
	}
	for k := logging.Kind(1); k.Valid(); k++ {
		require.True(t, kinds[k], k)
	}
}
