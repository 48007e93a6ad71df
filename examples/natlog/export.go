package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// export writes all records, or all intervals.
func export(_ context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	w := bufio.NewWriterSize(out, 1<<16)
	var err error
	if o.intervals {
		err = exportIntervals(o, r, w)
	} else {
		err = exportRecords(o, r, w)
	}
	if err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, fmt.Errorf("the output cannot be written: %w", err)
	}
	return exitFound, nil
}

func exportRecords(o *options, r *journal.Reader, w *bufio.Writer) error {
	var enc logging.Encoder = logging.JSON{}
	if o.format == "csv" {
		enc = logging.CSV{}
	}
	var line []byte
	if h, ok := enc.(logging.HeaderEncoder); ok {
		line = h.AppendHeader(line)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	for rec, err := range r.Records() {
		if err != nil {
			return err
		}
		line = enc.AppendRecord(line[:0], &rec)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func exportIntervals(o *options, r *journal.Reader, w *bufio.Writer) error {
	c := csv.NewWriter(w)
	if o.format == "csv" {
		if err := c.Write([]string{"external", "first", "last", "step", "spaces", "subscriber", "realm", "from", "to", "seen", "end", "pool", "host", "epoch", "kind", "journal"}); err != nil {
			return err
		}
	}
	for b, err := range r.Intervals() {
		if err != nil {
			return err
		}
		i := intervalOf(&b.Interval, &b.Holding)
		if o.format != "csv" {
			err = writeJSON(w, struct {
				Subscriber string `json:"subscriber"`
				Realm      string `json:"realm,omitempty"`
				interval
			}{holder(&b.Interval), b.Realm, i})
		} else {
			err = c.Write([]string{
				i.External.String(), strconv.Itoa(int(i.First)), strconv.Itoa(int(i.Last)), strconv.Itoa(int(i.Step)), i.Spaces.String(),
				holder(&b.Interval), b.Realm, i.From, i.To, i.Seen, i.End, i.Pool, i.Host, strconv.FormatUint(i.Epoch, 10), i.Kind.String(), i.Journal,
			})
		}
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// tail writes the last records, and those to come.
func tail(ctx context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	every := time.Duration(0)
	if o.follow {
		every = 200 * time.Millisecond
	}
	var line []byte
	for rec, err := range r.Tail(ctx, max(o.last, 0), every) {
		if err != nil {
			return 0, err
		}
		line = logging.JSON{}.AppendRecord(line[:0], &rec)
		if _, err := out.Write(line); err != nil {
			return 0, fmt.Errorf("the output cannot be written: %w", err)
		}
	}
	return exitFound, nil
}
