package main

import (
	"context"
	"fmt"
	"io"

	"github.com/blocknat/blocknat/logging/journal"
)

// stats tells how much the journals hold.
func stats(_ context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	all, err := r.Stats()
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if o.json {
			if err := writeJSON(out, s); err != nil {
				return 0, err
			}
			continue
		}
		fmt.Fprintf(out, "%s\n", s.Journal)
		row := func(name string, v any, note string) { fmt.Fprintf(out, "  %-14s%12v%s\n", name, v, note) }
		row("segments", s.Segments, "")
		row("begun", s.Begins, "  allocations, and what else begins an interval")
		row("ended", s.Ends, "  releases, and what else ends one")
		row("interim", s.Interims, "")
		row("others", s.Others, "  epochs, quotas, thresholds ...")
		row("open", s.Open, "  after the last sealing")
		row("logs", s.Logs, fmt.Sprintf("  not yet in a segment, with %d records", s.Unsealed))
		row("bytes", s.Bytes, "")
		if s.Ends > 0 {
			row("per interval", fmt.Sprintf("%.1f", float64(s.SegmentBytes)/float64(s.Ends)), "  bytes of segments for each interval that ended")
		}
		if s.Oldest != 0 {
			fmt.Fprintf(out, "  from %v to %v\n", s.Oldest, s.Newest)
		}
		if s.Torn > 0 {
			fmt.Fprintf(out, "  %d bytes at the end are no whole record: it is being written, or was never accepted\n", s.Torn)
		}
	}
	return exitFound, nil
}
