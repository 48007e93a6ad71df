package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/plot"
)

// The page and the charts below the directory of the documentation, and the page's parts.
const (
	pageFile    = "performance.md"
	barsFile    = "performance.svg"
	flowsFile   = "performance-flows.svg"
	sessionFile = "performance-sessions.svg"
	tablePart   = "figures"
	goalPart    = "goals"
)

// publish writes the charts, and the command's parts of the page.
func (r *report) publish(docs string) error {
	for file, content := range map[string]string{barsFile: r.bars(), flowsFile: r.flowLines(), sessionFile: r.sessionLines()} {
		if err := os.WriteFile(filepath.Join(docs, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(docs, pageFile)
	if err := page.Update(path, goalPart, r.goals()); err != nil {
		return err
	}
	return page.Update(path, tablePart, r.markdown())
}

// markdown writes the tables of the page.
func (r *report) markdown() string {
	var b strings.Builder
	if r.Short {
		b.WriteString("**SHORT RUN: these figures show that the command works and nothing else.**\n\n")
	}
	fmt.Fprintf(&b, "%s, %s. Medians of up to %d interleaved rounds, seed %d; in brackets the ratio to %s. The run took %s.\n\n",
		r.Machine, r.Date, r.Rounds, r.Seed, r.Peers[0].Name, r.Took)
	for _, n := range r.Notes {
		b.WriteString(n + "\n\n")
	}
	what := ""
	for _, x := range r.Rows {
		names := r.names(x.What)
		if x.What != what {
			if what != "" {
				b.WriteByte('\n')
			}
			what = x.What
			fmt.Fprintf(&b, "| %s | %s |\n|---|%s\n", x.heading(), strings.Join(names, " | "), strings.Repeat("--:|", len(names)))
		}
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(x.Params, "/", ", "))
		for _, name := range names {
			fmt.Fprintf(&b, " %s |", r.cell(x, name))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// subtitle says where the figures are from.
func (r *report) subtitle() string {
	s := fmt.Sprintf("%s; %s; medians of interleaved rounds", r.Machine, r.Date)
	if r.Short {
		return "SHORT RUN, no measurement: " + s
	}
	return s
}

// bars draws all rows of peers.
func (r *report) bars() string {
	c := plot.Bars{Title: "blocknat and other NATs in Go", Note: r.subtitle() + "; logarithmic scale within each heading"}
	for _, p := range r.Peers {
		c.Names = append(c.Names, p.Name)
	}
	what := ""
	for _, x := range r.Rows {
		g := plot.Group{Label: x.Params}
		any := false
		for _, name := range c.Names {
			v, ok := x.median(name)
			if !ok || v <= 0 {
				v = math.NaN()
			}
			any = any || !math.IsNaN(v)
			g.Values = append(g.Values, v)
		}
		if !any {
			continue
		}
		if x.What != what {
			what, g.Heading = x.What, x.heading()
		}
		c.Groups = append(c.Groups, g)
	}
	return c.SVG()
}

// number returns the number after a name in a row's parameters, or 0.
func (x *row) number(name string) float64 {
	for part := range strings.SplitSeq(x.Params, "/") {
		if value, ok := strings.CutPrefix(part, name+"="); ok {
			v, _ := strconv.ParseFloat(value, 64)
			return v
		}
	}
	return 0
}

// series collects a line of each peer from the rows of a quantity whose parameters have all of some parts.
func (r *report) series(what, suffix string, dashed bool, parts ...string) []plot.Series {
	var all []plot.Series
	for i, p := range append(slices.Clone(r.Peers), named{Name: peer.Floor.Name}) {
		s := plot.Series{Name: p.Name + suffix, Color: i, Dashed: dashed}
		for _, x := range r.Rows {
			fits := x.What == what
			for _, part := range parts {
				fits = fits && slices.Contains(strings.Split(x.Params, "/"), part)
			}
			if v, ok := x.median(p.Name); fits && ok {
				s.X, s.Y = append(s.X, x.number("flows")), append(s.Y, v)
			}
		}
		if len(s.X) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// flowLines draws established packets by flows.
func (r *report) flowLines() string {
	c := plot.Lines{
		Title: "Established UDP packet, outbound, by flows", Note: r.subtitle(), XLabel: "flows, each as likely as any other",
		YLabel: "ns a packet", XScale: plot.Log10, YScale: plot.Log10,
	}
	c.Series = append(r.series(rowEstablished, ", batches of 64", false, "proto=udp", "dir=out", "batch=64"),
		r.series(rowEstablished, ", one by one", true, "proto=udp", "dir=out", "batch=1")...)
	return c.SVG()
}

// sessionLines draws new sessions by sessions.
func (r *report) sessionLines() string {
	return plot.Lines{
		Title: "New session, beginning with an empty table", Note: r.subtitle(), XLabel: "sessions in all",
		YLabel: "ns a session", XScale: plot.Log2, YScale: plot.Log10, Series: r.series(rowNew, "", false),
	}.SVG()
}
