package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/plot"
)

// elements parses a drawing and counts its elements by name.
func elements(t *testing.T, svg string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

func TestLines(t *testing.T) {
	c := plot.Lines{
		Title: "a < b & c", XScale: plot.Log2, YScale: plot.Log10, YFormat: plot.Bytes,
		Series: []plot.Series{
			{Name: "one", X: []float64{64, 128, 4096}, Y: []float64{1e9, 1e10, 1e12}},
			{Name: "two", X: []float64{64, 4096}, Y: []float64{1e12, 1e12}, Dashed: true, Color: 1},
			{Name: "none"},
		},
	}
	svg := c.SVG()
	require.Equal(t, svg, c.SVG())
	got := elements(t, svg)
	require.Equal(t, 2, got["polyline"])
	require.Equal(t, 3, got["circle"], "a dashed line has no points")
	require.Contains(t, svg, "a &lt; b &amp; c")
	require.Contains(t, svg, "prefers-color-scheme:dark")
	require.NotContains(t, svg, "NaN")
	for _, mark := range []string{">64<", ">4096<", ">1 GB<", ">1 TB<"} {
		require.Contains(t, svg, mark)
	}
}

func TestBars(t *testing.T) {
	c := plot.Bars{
		Title: "t", Names: []string{"a", "b"},
		Groups: []plot.Group{
			{Heading: "first", Label: "x", Values: []float64{1, 100}},
			{Label: "y", Values: []float64{10, math.NaN()}},
			{Heading: "second", Label: "z", Values: []float64{5, 5}},
		},
	}
	svg := c.SVG()
	require.Equal(t, 1+2+5, elements(t, svg)["rect"], "the ground, two names, five bars")
	require.NotContains(t, svg, "NaN")
}

func TestEmptyCharts(t *testing.T) {
	for _, svg := range []string{plot.Lines{}.SVG(), plot.Bars{}.SVG()} {
		elements(t, svg)
		require.NotContains(t, svg, "Inf")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 4e6: "4000000", 0.01234: "0.0123"} {
		require.Equal(t, want, plot.Number(v))
	}
	for v, want := range map[float64]string{999: "999 B", 1e3: "1 kB", 42.5e12: "42.5 TB", 40.6e9: "40.6 GB", 999.9e9: "1 TB"} {
		require.Equal(t, want, plot.Bytes(v))
	}
}
