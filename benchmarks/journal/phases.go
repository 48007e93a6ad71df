package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// build appends all records and waits until they are sealed and merged.
func build(s *setting, out io.Writer) error {
	j, err := journal.Open(s.dir, journal.Config{
		Commit: journal.Buffered, Pending: 16 << 20, SegmentSpan: 30 * 24 * time.Hour,
		OnError: func(err error) { fmt.Fprintln(out, "  error            ", err) },
	})
	if err != nil {
		return err
	}
	g := newGenerator(s)
	records, waited := 0, time.Duration(0)
	start := time.Now()
	for r := g.step(); r != nil; r = g.step() {
		for {
			err := j.Append(r)
			if err == nil {
				break
			}
			if !errors.Is(err, logging.ErrFull) {
				return err
			}
			time.Sleep(time.Millisecond)
			waited += time.Millisecond
		}
		records++
	}
	took := time.Since(start)
	fmt.Fprintf(out, "  records          %d in %v, generating and sealing in the background included: %.0f ns a record\n",
		records, took.Round(time.Millisecond), float64(took.Nanoseconds())/float64(records))
	fmt.Fprintf(out, "  waited           %v for the sealer\n", waited)
	if err := j.Seal(); err != nil {
		return err
	}
	fmt.Fprintf(out, "  sealed, merged   after %v\n", time.Since(start).Round(time.Millisecond))
	if err := j.Close(); err != nil {
		return err
	}
	r, err := journal.OpenReader(s.dir)
	if err != nil {
		return err
	}
	defer r.Close()
	all, err := r.Stats()
	if err != nil {
		return err
	}
	st := all[0]
	fmt.Fprintf(out, "  segments         %d with %d intervals, %d open\n", st.Segments, st.Ends, st.Open)
	fmt.Fprintf(out, "  bytes            %d of segments: %.2f an interval\n", st.SegmentBytes, float64(st.SegmentBytes)/float64(max(st.Ends, 1)))
	return nil
}

// query asks for random ports at random times.
func query(s *setting, out io.Writer) error {
	start := time.Now()
	r, err := journal.OpenReader(s.dir)
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Fprintf(out, "  opened           in %v\n", time.Since(start).Round(time.Microsecond))
	rnd := rand.New(rand.NewPCG(s.seed, 3))
	found := 0
	ask := func() (time.Duration, error) {
		q := logging.Query{
			External: external(rnd.IntN(s.addresses)), Port: uint16(firstPort + rnd.IntN(blocksPerAddress*blockSize)),
			At: (begin + logging.Millis(rnd.Int64N(int64(s.days)*86400e3))).Time(), Tolerance: time.Second,
		}
		t := time.Now()
		got, err := r.Who(q)
		d := time.Since(t)
		found += len(got)
		return d, err
	}
	times := make([]time.Duration, s.queries)
	for i := range times {
		if times[i], err = ask(); err != nil {
			return err
		}
	}
	slices.Sort(times)
	at := func(p float64) time.Duration { return times[min(int(p*float64(len(times))), len(times)-1)] }
	fmt.Fprintf(out, "  who              %d queries, %d answers: median %v, 90%% %v, 99%% %v, 99.9%% %v, most %v\n",
		s.queries, found, at(0.5), at(0.9), at(0.99), at(0.999), times[len(times)-1])
	subs := make([]time.Duration, 9)
	held := 0
	for i := range subs {
		who := rnd.Uint32N(uint32(max(1, s.addresses*blocksPerAddress/4)))
		t := time.Now()
		blocks, err := r.Subscriber(subscriber(who), time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		subs[i], held = time.Since(t), held+len(blocks)
	}
	slices.Sort(subs)
	fmt.Fprintf(out, "  subscriber       all time: median %v for %d intervals\n", subs[len(subs)/2].Round(time.Microsecond), held/len(subs))
	return nil
}

// verify reads all and looks for conflicts.
func verify(s *setting, out io.Writer) error {
	r, err := journal.OpenReader(s.dir)
	if err != nil {
		return err
	}
	defer r.Close()
	start := time.Now()
	n := 0
	for _, err := range r.Verify(guardTime * time.Millisecond) {
		if err != nil {
			return err
		}
		n++
	}
	took := time.Since(start)
	if d := r.Damage(); len(d) > 0 {
		return d[0]
	}
	fmt.Fprintf(out, "  verified         in %v, %d conflicts: %.0f ns an interval\n", took.Round(time.Millisecond), n, float64(took.Nanoseconds())/float64(s.records))
	return nil
}
