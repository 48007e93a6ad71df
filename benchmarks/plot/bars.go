package plot

import (
	"fmt"
	"math"
)

// A Group is one row of a bar chart: a value for each name of the chart, NaN
// where there is none.
type Group struct {
	// Heading begins a part with a scale of its own; it is empty in further groups of that part.
	Heading string
	Label   string
	Values  []float64
}

// Bars is a chart of horizontal bars on a logarithmic scale for each part.
type Bars struct {
	Title, Note string
	Names       []string
	Groups      []Group
}

// The measures of a bar chart in pixels.
const (
	barsWidth             = 860.0
	barsLeft, barsRight   = 310.0, 70.0
	barsThick, barsApart  = 12.0, 8.0
	barsHeading, barsFrom = 34.0, 74.0
)

// SVG draws the chart.
func (c Bars) SVG() string {
	var p page
	p.text(12, 22, "head", "", c.Title)
	p.text(12, 40, "small faint", "", c.Note)
	at := 12.0
	for i, name := range c.Names {
		fmt.Fprintf(&p, `<rect x="%.1f" y="50" width="11" height="11" class="f%d"/>`, at, i%colors)
		p.text(at+16, 60, "", "", name)
		at += 34 + 7*float64(len(name))
	}
	y := barsFrom
	var scale axis
	for i, g := range c.Groups {
		if g.Heading != "" || i == 0 {
			y += barsHeading
			p.text(12, y-12, "head", "", g.Heading)
			scale = axisOf(Log10, c.part(i))
		}
		top := y
		for j, v := range g.Values {
			if math.IsNaN(v) {
				continue
			}
			width := 2.0
			if v > scale.low {
				width += (barsWidth - barsLeft - barsRight) * scale.at(v)
			}
			fmt.Fprintf(&p, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="f%d"/>`+"\n", barsLeft, y, width, barsThick-2, j%colors)
			p.text(barsLeft+width+4, y+barsThick-3, "small", "", Number(v))
			y += barsThick
		}
		p.text(barsLeft-8, (top+y)/2+4, "", "end", g.Label)
		y += barsApart
	}
	return p.finish(c.Title, barsWidth, y+12)
}

// part returns the values of the part that begins with group i.
func (c Bars) part(i int) []float64 {
	var values []float64
	for j := i; j < len(c.Groups) && (j == i || c.Groups[j].Heading == ""); j++ {
		for _, v := range c.Groups[j].Values {
			if !math.IsNaN(v) {
				values = append(values, v)
			}
		}
	}
	return values
}
