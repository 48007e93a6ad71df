package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures in pixels.
const (
	plotWidth   = 960
	plotLeft    = 300 // room for the names of rows
	plotRight   = 110 // room for the value at the end of a bar
	plotBar     = 13
	plotGap     = 9 // between rows
	plotHeading = 34
)

// plotColors are those of the peers in order: told apart in grey and by the colour-blind.
var plotColors = []string{"#1b6ca8", "#e69f00", "#7a8793", "#c44e52", "#009e73"}

// svg draws the medians as bars on a logarithmic scale, one group of bars a row.
func (r *report) svg() string {
	var b strings.Builder
	y := 64
	what := ""
	for i := 0; i < len(r.rows); i++ {
		x := r.rows[i]
		if x.what != what {
			what = x.what
			y += plotHeading
			fmt.Fprintf(&b, `<text x="12" y="%d" font-weight="bold">%s, %s</text>`+"\n", y-12, html.EscapeString(x.what), x.unit)
		}
		low, high := r.bounds(what)
		top := y
		for j, k := range r.kinds {
			v, ok := x.median(k.Name)
			if !ok {
				continue
			}
			width := 2.0
			if v > low && high > low {
				width += (plotWidth - plotLeft - plotRight) * math.Log(v/low) / math.Log(high/low)
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLeft, y, width, plotBar-2, plotColors[j%len(plotColors)])
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" font-size="10">%s</text>`+"\n", plotLeft+width+4, y+plotBar-4, number(v))
			y += plotBar
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-8, (top+y)/2+4, html.EscapeString(x.params))
		y += plotGap
	}
	var head strings.Builder
	fmt.Fprintf(&head, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", plotWidth, y+12, plotWidth, y+12)
	fmt.Fprintf(&head, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	note := r.date + ", medians of interleaved rounds, logarithmic scale within each heading"
	if r.short {
		note = "SHORT RUN: no measurement"
	}
	fmt.Fprintf(&head, `<text x="12" y="22">%s</text><text x="12" y="40" font-size="10">%s</text>`+"\n", html.EscapeString(r.machine.String()), note)
	for j, k := range r.kinds {
		fmt.Fprintf(&head, `<rect x="%d" y="52" width="11" height="11" fill="%s"/><text x="%d" y="62">%s</text>`+"\n",
			plotLeft+j*110, plotColors[j%len(plotColors)], plotLeft+16+j*110, html.EscapeString(k.Name))
	}
	return head.String() + b.String() + "</svg>\n"
}

// bounds are the ends of the scale for all rows of a quantity: powers of ten.
func (r *report) bounds(what string) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, x := range r.rows {
		if x.what != what {
			continue
		}
		for _, k := range r.kinds {
			if v, ok := x.median(k.Name); ok && v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return 1, 10
	}
	return math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
}
