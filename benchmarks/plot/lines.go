package plot

import (
	"cmp"
	"fmt"
	"slices"
)

// A Series is a line of a chart: points in the order of X.
type Series struct {
	Name string
	X, Y []float64
	// Dashed is for what is not measured: a published figure, a limit.
	Dashed bool
	// Color is the number of a colour, so that lines that belong together share one.
	Color int
}

// Lines is a line chart.
type Lines struct {
	Title, Note    string
	XLabel, YLabel string
	XScale, YScale Scale
	// XFormat and YFormat write the marks of the axes; nil means Number.
	XFormat, YFormat func(float64) string
	Series           []Series
}

// The measures of a line chart in pixels.
const (
	linesWidth, linesHeight  = 860.0, 440.0
	linesLeft, linesRight    = 76.0, 230.0 // room for marks, and for names at the ends of lines
	linesTop, linesBottom    = 58.0, 52.0
	linesName                = 14.0 // least distance of two names
	linesInnerX, linesInnerY = linesWidth - linesLeft - linesRight, linesHeight - linesTop - linesBottom
)

// SVG draws the chart. Each line has its name at its end.
func (c Lines) SVG() string {
	var p page
	p.text(12, 22, "head", "", c.Title)
	p.text(12, 40, "small faint", "", c.Note)
	var xs, ys []float64
	for _, s := range c.Series {
		xs, ys = append(xs, s.X...), append(ys, s.Y...)
	}
	x, y := axisOf(c.XScale, xs), axisOf(c.YScale, ys)
	toX := func(v float64) float64 { return linesLeft + linesInnerX*x.at(v) }
	toY := func(v float64) float64 { return linesTop + linesInnerY*(1-y.at(v)) }
	format := func(f func(float64) string, v float64) string {
		if f == nil {
			f = Number
		}
		return f(v)
	}
	for _, v := range y.marks {
		p.line("grid", linesLeft, toY(v), linesWidth-linesRight, toY(v))
		p.text(linesLeft-8, toY(v)+4, "small", "end", format(c.YFormat, v))
	}
	for _, v := range x.marks {
		p.line("grid", toX(v), linesTop, toX(v), linesHeight-linesBottom)
		p.text(toX(v), linesHeight-linesBottom+16, "small", "middle", format(c.XFormat, v))
	}
	p.line("axis", linesLeft, linesHeight-linesBottom, linesWidth-linesRight, linesHeight-linesBottom)
	p.text(linesLeft+linesInnerX/2, linesHeight-14, "", "middle", c.XLabel)
	p.text(linesLeft, linesTop-6, "small", "", c.YLabel)
	c.draw(&p, toX, toY)
	return p.finish(c.Title, linesWidth, linesHeight)
}

// draw draws the lines and their names, which move apart where lines end side by side.
func (c Lines) draw(p *page, toX, toY func(float64) float64) {
	type name struct {
		y     float64
		color int
		text  string
	}
	var names []name
	for _, s := range c.Series {
		if len(s.X) == 0 {
			continue
		}
		color := s.Color % colors
		dash := ""
		if s.Dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(p, `<polyline class="s%d"%s points="`, color, dash)
		for i := range s.X {
			fmt.Fprintf(p, "%.1f,%.1f ", toX(s.X[i]), toY(s.Y[i]))
		}
		p.WriteString("\"/>\n")
		for i := range s.X {
			if !s.Dashed {
				fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="3" class="f%d"/>`+"\n", toX(s.X[i]), toY(s.Y[i]), color)
			}
		}
		names = append(names, name{toY(s.Y[len(s.Y)-1]) + 4, color, s.Name})
	}
	slices.SortStableFunc(names, func(a, b name) int { return cmp.Compare(a.y, b.y) })
	for i := 1; i < len(names); i++ {
		names[i].y = max(names[i].y, names[i-1].y+linesName)
	}
	for i, bottom := len(names)-1, linesHeight-8; i >= 0 && names[i].y > bottom; i, bottom = i-1, bottom-linesName {
		names[i].y = bottom
	}
	for _, n := range names {
		fmt.Fprintf(p, `<rect x="%.1f" y="%.1f" width="9" height="9" class="f%d"/>`+"\n", linesWidth-linesRight+10, n.y-9, n.color)
		p.text(linesWidth-linesRight+24, n.y, "", "", n.text)
	}
}
