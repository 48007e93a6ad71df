package main

import (
	"context"
	"fmt"
	"io"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// verify looks for intervals that contradict each other, and reads all that
// there is on the way.
func verify(_ context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	n, unended := 0, 0
	for c, err := range r.Verify(o.guard) {
		if err != nil {
			return 0, err
		}
		n++
		if c.Earlier.Open {
			unended++
		}
		if o.most > 0 && n > o.most {
			continue
		}
		if o.json {
			if err := writeJSON(out, conflictOf(&c)); err != nil {
				return 0, err
			}
		} else {
			fmt.Fprintln(out, c)
		}
	}
	if !o.json {
		if o.most > 0 && n > o.most {
			fmt.Fprintf(out, "... and %d more; -most 0 prints all\n", n-o.most)
		}
		if unended > 0 {
			fmt.Fprintf(out, "in %d of them the earlier interval has no recorded end: a release that was lost, or a host that crashed\n", unended)
		}
		all, err := r.Stats()
		if err != nil {
			return 0, err
		}
		for _, s := range all {
			fmt.Fprintf(out, "%s: read %d records of logs, and segments with %d that begin an interval, %d that end one, %d open\n", s.Journal, s.Unsealed, s.Begins, s.Ends, s.Open)
		}
		switch n {
		case 0:
			fmt.Fprintf(out, "no two intervals of one port overlap or come closer than %v\n", o.guard)
		case 1:
			fmt.Fprintln(out, "1 conflict")
		default:
			fmt.Fprintf(out, "%d conflicts\n", n)
		}
	}
	if n > 0 {
		return exitNothing, nil
	}
	return exitFound, nil
}

type conflict struct {
	First   uint16   `json:"first"`
	Last    uint16   `json:"last"`
	Gap     string   `json:"gap"`
	Earlier interval `json:"earlier"`
	Later   interval `json:"later"`
	EarlyBy string   `json:"earlier_subscriber"`
	LateBy  string   `json:"later_subscriber"`
}

func conflictOf(c *logging.Conflict) conflict {
	end := func(v *logging.Interval) *journal.Holding {
		if v.Open {
			return &journal.Holding{End: journal.Held}
		}
		return &journal.Holding{End: journal.Released}
	}
	gap := c.Gap.String()
	if c.Gap == logging.Endless {
		gap = "endless"
	}
	return conflict{
		c.First, c.Last, gap, intervalOf(&c.Earlier, end(&c.Earlier)), intervalOf(&c.Later, end(&c.Later)),
		holder(&c.Earlier), holder(&c.Later),
	}
}
