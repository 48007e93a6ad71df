package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/plot"
)

// report collects what was measured.
type report struct {
	Date    string
	Took    string
	Rounds  int
	Seed    uint64
	Short   bool
	Machine machine
	Peers   []named
	Notes   []string
	Rows    []*row
}

// named is a peer in a report.
type named struct{ Name, Note string }

func newReport(kinds []peer.Kind) *report {
	r := &report{Machine: describeMachine()}
	for _, k := range kinds {
		r.Peers = append(r.Peers, named{k.Name, k.Note})
	}
	return r
}

// row is one quantity under one condition, with the values of each peer.
type row struct {
	What, Params, Unit string
	Values             map[string][]float64
}

// note keeps a remark.
func (r *report) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// find returns a row, or nil.
func (r *report) find(what, params string) *row {
	for _, x := range r.Rows {
		if x.What == what && x.Params == params {
			return x
		}
	}
	return nil
}

// last returns the median of a peer in the last row of a quantity that has one.
func (r *report) last(what, name string) (v float64, ok bool) {
	for _, x := range slices.Backward(r.Rows) {
		if v, ok := x.median(name); ok && x.What == what {
			return v, true
		}
	}
	return 0, false
}

func (r *report) row(what, params, unit string) *row {
	if x := r.find(what, params); x != nil {
		return x
	}
	// Rows of a quantity stay together, in the order in which they came.
	at := len(r.Rows)
	for i, x := range r.Rows {
		if x.What == what {
			at = i + 1
		}
	}
	x := &row{what, params, unit, map[string][]float64{}}
	r.Rows = slices.Insert(r.Rows, at, x)
	return x
}

func (x *row) add(peer string, v float64) { x.Values[peer] = append(x.Values[peer], v) }

// quantile returns the value below which a share of the peer's values lies: the nearest rank. ok is false without values.
func (x *row) quantile(peer string, share float64) (v float64, ok bool) {
	values := slices.Sorted(slices.Values(x.Values[peer]))
	if len(values) == 0 {
		return 0, false
	}
	if share == 0.5 && len(values)%2 == 0 {
		return (values[len(values)/2-1] + values[len(values)/2]) / 2, true
	}
	return values[int(share*float64(len(values)-1)+0.5)], true
}

func (x *row) median(peer string) (float64, bool) { return x.quantile(peer, 0.5) }

// heading is the row's quantity with its unit.
func (x *row) heading() string {
	if x.Unit == "" {
		return x.What
	}
	return x.What + " (" + x.Unit + ")"
}

// names are the peers that have a value in any row of a quantity, in the order of the report, and what else has one.
func (r *report) names(what string) []string {
	var names []string
	for _, p := range append(slices.Clone(r.Peers), named{Name: peer.Floor.Name}, named{Name: peer.None.Name}, named{Name: kernelName}) {
		for _, x := range r.Rows {
			if x.What == what && len(x.Values[p.Name]) > 0 {
				names = append(names, p.Name)
				break
			}
		}
	}
	return names
}

// cell writes a median and in brackets its ratio to the first peer.
func (r *report) cell(x *row, name string) string {
	v, ok := x.median(name)
	base, _ := x.median(r.Peers[0].Name)
	switch {
	case !ok:
		return "-"
	case name == r.Peers[0].Name || base == 0 || x.Unit == "%" || x.Unit == "":
		return plot.Number(v)
	case v > 999*base:
		return plot.Number(v) + " (>999)"
	}
	return fmt.Sprintf("%s (%s)", plot.Number(v), plot.Number(v/base))
}

// text writes the table for people: medians, and in brackets the ratio to the first peer.
func (r *report) text(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s; %d rounds, interleaved; medians, in brackets the ratio to %s; took %s\n",
		r.Machine, r.Date, r.Rounds, r.Peers[0].Name, r.Took)
	if r.Short {
		fmt.Fprintln(w, "SHORT RUN: these figures show that the command works and nothing else.")
	}
	for _, k := range r.Peers {
		fmt.Fprintf(w, "  %-9s %s\n", k.Name, k.Note)
	}
	if slices.Contains(r.names(rowEstablished), peer.Floor.Name) {
		fmt.Fprintf(w, "  %-9s %s\n", peer.Floor.Name, peer.Floor.Note)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "Note: %s\n", n)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	what := ""
	for _, x := range r.Rows {
		if x.What != what {
			what = x.What
			fmt.Fprintf(t, "%s\t%s\t\n", x.heading(), strings.Join(r.names(what), "\t"))
		}
		fmt.Fprintf(t, "%s\t", x.Params)
		for _, name := range r.names(what) {
			fmt.Fprintf(t, "%s\t", r.cell(x, name))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

// tsv writes all values for programs: one line a row and peer, and a header.
func (r *report) tsv(w io.Writer) {
	fmt.Fprintln(w, "what\tparams\tunit\tpeer\tmedian\tp01\tp99\trepetitions")
	for _, x := range r.Rows {
		for _, name := range r.names(x.What) {
			median, ok := x.median(name)
			if !ok {
				continue
			}
			low, _ := x.quantile(name, 0.01)
			high, _ := x.quantile(name, 0.99)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.4g\t%.4g\t%.4g\t%d\n",
				x.What, x.Params, x.Unit, name, median, low, high, len(x.Values[name]))
		}
	}
}

// write writes dir/name.txt, the table with the values of each peer behind it, dir/name.svg, and dir/performance.json, which the page is made of.
func (r *report) write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text strings.Builder
	r.text(&text)
	text.WriteString("\nGoals:\n\n" + r.goals())
	text.WriteString("\nAll values, tab-separated; p01 and p99 are the least and the greatest of few repetitions:\n\n")
	r.tsv(&text)
	if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, resultFile), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".svg"), []byte(r.bars()), 0o644)
}

// resultFile is the report that the page shows.
const resultFile = "performance.json"

func load(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
