package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
)

// report collects what was measured.
type report struct {
	kinds   []peer.Kind
	rounds  int
	machine machine
	date    string
	took    time.Duration
	short   bool
	rows    []*row
}

// row is one quantity under one condition, with the values of each peer.
type row struct {
	what, params, unit string
	values             map[string][]float64
}

func (r *report) row(what, params, unit string) *row {
	for _, x := range r.rows {
		if x.what == what && x.params == params {
			return x
		}
	}
	// Rows of a quantity stay together, in the order in which they came.
	at := len(r.rows)
	for i, x := range r.rows {
		if x.what == what {
			at = i + 1
		}
	}
	x := &row{what, params, unit, map[string][]float64{}}
	r.rows = slices.Insert(r.rows, at, x)
	return x
}

func (x *row) add(peer string, v float64) { x.values[peer] = append(x.values[peer], v) }

// quantile returns the value below which a share of the peer's values lies: the nearest rank. ok is false without values.
func (x *row) quantile(peer string, share float64) (v float64, ok bool) {
	values := slices.Sorted(slices.Values(x.values[peer]))
	if len(values) == 0 {
		return 0, false
	}
	if share == 0.5 && len(values)%2 == 0 {
		return (values[len(values)/2-1] + values[len(values)/2]) / 2, true
	}
	return values[int(share*float64(len(values)-1)+0.5)], true
}

func (x *row) median(peer string) (float64, bool) { return x.quantile(peer, 0.5) }

// text writes the table for people: medians, and in brackets the ratio to the first peer.
func (r *report) text(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s; %d rounds, interleaved; medians, in brackets the ratio to %s; took %v\n",
		r.machine, r.date, r.rounds, r.kinds[0].Name, r.took)
	if r.short {
		fmt.Fprintln(w, "SHORT RUN: these figures show that the command works and nothing else.")
	}
	for _, k := range r.kinds {
		fmt.Fprintf(w, "  %-9s %s\n", k.Name, k.Note)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	what := ""
	for _, x := range r.rows {
		if x.what != what {
			what = x.what
			fmt.Fprintf(t, "%s (%s)\t", what, x.unit)
			for _, k := range r.kinds {
				fmt.Fprintf(t, "%s\t", k.Name)
			}
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "%s\t", x.params)
		base, _ := x.median(r.kinds[0].Name)
		for i, k := range r.kinds {
			v, ok := x.median(k.Name)
			switch {
			case !ok:
				fmt.Fprint(t, "-\t")
			case i == 0 || base == 0:
				fmt.Fprintf(t, "%s\t", number(v))
			case v > 999*base:
				fmt.Fprintf(t, "%s (>999)\t", number(v))
			default:
				fmt.Fprintf(t, "%s (%s)\t", number(v), number(v/base))
			}
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

// number writes a value with about three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// tsv writes all values for programs: one line a row and peer, and a header.
func (r *report) tsv(w io.Writer) {
	fmt.Fprintln(w, "what\tparams\tunit\tpeer\tmedian\tp01\tp99\trepetitions")
	for _, x := range r.rows {
		for _, k := range r.kinds {
			median, ok := x.median(k.Name)
			if !ok {
				continue
			}
			low, _ := x.quantile(k.Name, 0.01)
			high, _ := x.quantile(k.Name, 0.99)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.4g\t%.4g\t%.4g\t%d\n",
				x.what, x.params, x.unit, k.Name, median, low, high, len(x.values[k.Name]))
		}
	}
}

// write writes path.txt, the table with the values of each peer behind it, and path.svg.
func (r *report) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var text strings.Builder
	r.text(&text)
	text.WriteString("\nAll values, tab-separated; p01 and p99 are the least and the greatest of few repetitions:\n\n")
	r.tsv(&text)
	if err := os.WriteFile(path+".txt", []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path+".svg", []byte(r.svg()), 0o644)
}
