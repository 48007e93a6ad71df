package nattest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// test is a row with its way to be tested.
type test struct {
	Row
	config func(*Config) // what the row asks for; nil for nothing
	run    func(*stage)
}

// tests returns all tests in the order of their ids' RFCs.
func tests() []test {
	return slices.Concat(tests3022(), tests4787(), tests5382(), tests5508(), tests6888(), tests7857())
}

// Rows returns all rows, in the order in which they run.
func Rows() []Row {
	var rows []Row
	for _, t := range tests() {
		rows = append(rows, t.Row)
	}
	return rows
}

// Check runs all rows and returns their results, in the order of Rows.
func Check(s Subject) []Result {
	var results []Result
	for _, t := range tests() {
		results = append(results, t.check(s))
	}
	return results
}

// Run runs every row as a subtest that is named by its id. A row that fails fails its subtest, a row that is not offered, or
// that the subject deviates from, only logs why; a deviation that is not one, or of no row, is an error. It returns
// the results of all rows that ran (go test -run chooses).
func Run(t *testing.T, s Subject) []Result {
	t.Helper()
	var results []Result
	known := map[string]bool{}
	for _, x := range tests() {
		known[x.ID] = true
		t.Run(x.ID, func(t *testing.T) {
			r := x.check(s)
			results = append(results, r)
			switch _, excused := s.Deviates[r.ID]; {
			case r.Outcome == Failed:
				t.Errorf("%s %s %s: %s: %s", r.Level, r.ID, r.Source, r.Title, r.Detail)
			case excused && r.Outcome != Deviates:
				t.Errorf("%s: is in Deviates, but %s: take it out", r.ID, r.Outcome)
			case r.Outcome != Passed:
				t.Logf("%s: %s", r.Outcome, r.Detail)
			}
		})
	}
	for id := range s.Deviates {
		if !known[id] {
			t.Errorf("Deviates names %s, which is no row", id)
		}
	}
	return results
}

// check runs one row.
func (t *test) check(s Subject) Result {
	r := Result{Row: t.Row}
	if lacks := t.Needs & s.Lacks; lacks != 0 {
		r.Outcome, r.Detail = NotOffered, lacks.String()
		return r
	}
	cfg := Config{Now: began, External: []netip.Addr{external1}, Internal: internal}
	if t.config != nil {
		t.config(&cfg)
	}
	err := t.attempt(s, cfg)
	switch reason, excused := s.Deviates[t.ID]; {
	case err == nil:
	case errors.Is(err, ErrNotOffered):
		r.Outcome, r.Detail = NotOffered, err.Error()
	case excused:
		r.Outcome, r.Detail = Deviates, reason
	default:
		r.Outcome, r.Detail = Failed, err.Error()
	}
	return r
}

// attempt makes a NAT and runs the row on it. A panic of the NAT is an error of the row as any other.
func (t *test) attempt(s Subject, cfg Config) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.err
		default:
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	nat, err := s.New(cfg)
	if err != nil {
		return err
	}
	if c, ok := nat.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	t.run(&stage{nat: nat, cfg: cfg, now: cfg.Now, subject: s})
	return nil
}

// failure ends a row from within, through all its calls.
type failure struct{ err error }

// began is when every clock starts. A NAT has no opinion on the year.
var began = time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
