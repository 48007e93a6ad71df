package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/plot"
)

// goal is a figure that the engine is meant to reach, of the first peer.
type goal struct {
	what  string
	limit float64
	unit  string
	least bool // the limit is the least, not the most
	value func(r *report, name string) float64
	// floor is what peer.Floor took on the machine for which the limit was set, or 0 where that is not known.
	floor float64
}

// worst is the greatest median of rows, NaN where one is missing.
func worst(what string, params ...string) func(r *report, name string) float64 {
	return func(r *report, name string) float64 {
		most := math.Inf(-1)
		for _, p := range params {
			x := r.find(what, p)
			if x == nil {
				return math.NaN()
			}
			v, ok := x.median(name)
			if !ok {
				return math.NaN()
			}
			most = max(most, v)
		}
		return most
	}
}

// anyWay are the parameters of established packets of both protocols and directions.
func anyWay(flows, batch int) []string {
	var all []string
	for _, proto := range []string{"udp", "tcp"} {
		for _, d := range []peer.Direction{peer.Out, peer.In} {
			all = append(all, establishedParams(proto, flows, d, batch))
		}
	}
	return all
}

// lead is how much slower the fastest other peer is, in the established row where that is least.
func lead(r *report, name string) float64 {
	least := math.Inf(1)
	for _, x := range r.Rows {
		own, ok := x.median(name)
		if x.What != rowEstablished || !ok || own == 0 {
			continue
		}
		for _, p := range r.Peers {
			if v, ok := x.median(p.Name); ok && p.Name != name {
				least = min(least, v/own)
			}
		}
	}
	if math.IsInf(least, 1) {
		return math.NaN()
	}
	return least
}

// goalsOf are the engine's goals. Established packets are the worst of both protocols and directions.
func goalsOf() []goal {
	million := func(batch int) func(*report, string) float64 {
		return worst(rowEstablished, anyWay(1_000_000, batch)...)
	}
	tenfold := func(batch int) func(*report, string) float64 {
		return func(r *report, name string) float64 {
			return worst(rowEstablished, anyWay(10_000_000, batch)...)(r, name) / million(batch)(r, name)
		}
	}
	return []goal{
		{"established packet, 10,000 flows, one by one", 28, "ns", false, worst(rowEstablished, anyWay(10_000, 1)...), 16},
		{"established packet, 10,000 flows, batches of 64", 20, "ns", false, worst(rowEstablished, anyWay(10_000, 64)...), 12.5},
		{"established packet, 1,000,000 flows, one by one", 140, "ns", false, million(1), 109},
		{"established packet, 1,000,000 flows, batches of 64", 85, "ns", false, million(64), 65},
		{"10,000,000 flows by 1,000,000, one by one", 1.3, "times", false, tenfold(1), 0},
		{"10,000,000 flows by 1,000,000, batches of 64", 1.3, "times", false, tenfold(64), 0},
		{"fastest other NAT by this one, established, least of all rows", 2, "times", true, lead, 0},
		{"new session, 65,536 sessions, one by one", 200, "ns", false, worst(rowNew, "flows=65536"), 0},
		{"new session, 65,536 sessions, batches of 64", 200, "ns", false, worst(rowNewBatch, "flows=65536"), 0},
		{"new session, 4,194,304 sessions, one by one", 450, "ns", false, worst(rowNew, "flows=4194304"), 0},
		{"new session, 4,194,304 sessions, batches of 64", 450, "ns", false, worst(rowNewBatch, "flows=4194304"), 0},
		{"end of a session, 1,048,576 sessions", 150, "ns", false, worst(rowEnd, "flows=1048576"), 0},
		{"memory per session, 4,194,304 sessions", 112, "B", false, worst(rowMemory, "flows=4194304"), 0},
		{"rate of two callers by that of one, 1,048,576 flows", 1.8, "times", true, worst("two callers by one, rate", "flows=1048576/dir=out/batch=64"), 0},
		{"longest call in every round, growth to 4,194,304 sessions under traffic", 100, "us", false, worst(rowGrowth, "to=4194304"), 0},
	}
}

// goals writes the goals as a table, with what was measured, and both as multiples of the floor of their machines.
func (r *report) goals() string {
	var b strings.Builder
	b.WriteString("| quantity | goal | measured | reached | goal by floor | measured by floor |\n|---|--:|--:|---|--:|--:|\n")
	for _, g := range goalsOf() {
		sign := "<="
		if g.least {
			sign = ">="
		}
		v, floor := g.value(r, r.Peers[0].Name), g.value(r, peer.Floor.Name)
		measured, reached, byFloor, measuredByFloor := "-", "-", "", ""
		if !math.IsNaN(v) {
			measured, reached = plot.Number(v)+" "+g.unit, "no"
			if v <= g.limit && !g.least || v >= g.limit && g.least {
				reached = "yes"
			}
		}
		if g.floor > 0 {
			byFloor, measuredByFloor = plot.Number(g.limit/g.floor), "-"
			if !math.IsNaN(v / floor) {
				measuredByFloor = plot.Number(v / floor)
			}
		}
		fmt.Fprintf(&b, "| %s | %s %s %s | %s | %s | %s | %s |\n", g.what, sign, plot.Number(g.limit), g.unit, measured, reached, byFloor, measuredByFloor)
	}
	return b.String()
}
