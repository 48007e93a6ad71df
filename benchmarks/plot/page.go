package plot

import (
	"fmt"
	"html"
	"strings"
)

// light and dark are the schemes: ground, ink, faint ink, grid, and the colours of series, which are told apart in grey and by
// the colour-blind (after Okabe and Ito).
var (
	light = scheme{"#ffffff", "#1f2328", "#6e7781", "#d0d7de", [colors]string{"#0072b2", "#d55e00", "#009e73", "#a0509a", "#b8860b", "#3aa0d8", "#6e7781", "#1f2328"}}
	dark  = scheme{"#0d1117", "#e6edf3", "#8b949e", "#30363d", [colors]string{"#4aa3df", "#f08a3c", "#2fbf94", "#d48acb", "#e0b94a", "#8ecbf0", "#8b949e", "#e6edf3"}}
)

type scheme struct {
	ground, ink, faint, grid string
	series                   [colors]string
}

// rules are the scheme's rules of style: classes s0.. for strokes and f0.. for fills.
func (c scheme) rules() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".ground{fill:%s}text{fill:%s}.faint{fill:%s}.grid{stroke:%s}.axis{stroke:%s}", c.ground, c.ink, c.faint, c.grid, c.faint)
	for i, color := range c.series {
		fmt.Fprintf(&b, ".s%d{stroke:%s}.f%d{fill:%s}", i, color, i, color)
	}
	return b.String()
}

// style holds both schemes.
func style() string {
	return "<style>\ntext{font:12px sans-serif}.small{font-size:10px}.head{font-weight:bold}polyline{fill:none;stroke-width:2}\n" +
		light.rules() + "\n@media (prefers-color-scheme:dark){" + dark.rules() + "}\n</style>\n"
}

// colors is the number of series that have a colour of their own.
const colors = 8

// page collects the elements of a drawing.
type page struct {
	strings.Builder
}

// text writes a text at a place; class and anchor may be empty.
func (p *page) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(p, `<text x="%.1f" y="%.1f"`, x, y)
	if class != "" {
		fmt.Fprintf(p, ` class="%s"`, class)
	}
	if anchor != "" {
		fmt.Fprintf(p, ` text-anchor="%s"`, anchor)
	}
	fmt.Fprintf(p, ">%s</text>\n", html.EscapeString(s))
}

func (p *page) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(p, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

// finish puts the elements on a ground of a size.
func (p *page) finish(title string, width, height float64) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(title)) +
		style() + `<rect class="ground" width="100%" height="100%"/>` + "\n" + p.String() + "</svg>\n"
}
