package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
)

// emptyPage is a page without figures.
const emptyPage = "<!-- goals: written by a command, do not edit -->\n<!-- end of goals -->\n" +
	"<!-- figures: written by a command, do not edit -->\n<!-- end of figures -->\n"

// rects counts the bars of a chart, and so holds it to be XML.
func rects(t *testing.T, path string) int {
	t.Helper()
	plot, err := os.Open(path)
	require.NoError(t, err)
	defer plot.Close()
	n := 0
	for d := xml.NewDecoder(plot); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			n++
		}
	}
}

// TestShortRun runs the whole command at its smallest size and reads what it wrote.
func TestShortRun(t *testing.T) {
	dir, docs := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(docs, pageFile), []byte(emptyPage), 0o644))
	var out strings.Builder
	require.NoError(t, run([]string{"-short", "-out", dir, "-docs", docs, "-machine", "test"}, &out, io.Discard, time.Now()))
	for _, want := range []string{
		"SHORT RUN", rowEstablished, "proto=tcp/flows=1000/dir=in/batch=64", rowNew, rowNewBatch, rowEnd, rowMemory, rowGrowth, rowCallers,
		rowCollector, "workload=uniform", "workload=churn", "ports=64512", "RFC 9693 validated", "blocknat", "gomap", "gvisor", "pion",
	} {
		require.Contains(t, out.String(), want)
	}
	base := filepath.Join(dir, time.Now().UTC().Format(time.DateOnly)+"-test")
	text, err := os.ReadFile(base + ".txt")
	require.NoError(t, err)
	require.Contains(t, string(text), "what\tparams\tunit\tpeer\tmedian")
	require.Contains(t, string(text), "| new session, 65,536 sessions, one by one | <= 200 ns | - | - |  |  |")
	require.Greater(t, rects(t, base+".svg"), 40)
	for _, chart := range []string{barsFile, flowsFile, sessionFile} {
		require.Positive(t, rects(t, filepath.Join(docs, chart)))
	}
	fresh, err := os.ReadFile(filepath.Join(docs, pageFile))
	require.NoError(t, err)
	require.Contains(t, string(fresh), "| established packet (ns) | blocknat | gomap | gvisor | pion | floor |")

	// The page can be made anew from the results alone.
	require.NoError(t, os.WriteFile(filepath.Join(docs, pageFile), []byte(emptyPage), 0o644))
	require.NoError(t, run([]string{"-render", "-out", dir, "-docs", docs}, io.Discard, io.Discard, time.Now()))
	again, err := os.ReadFile(filepath.Join(docs, pageFile))
	require.NoError(t, err)
	require.Equal(t, string(fresh), string(again))
}

// TestPageSaysWhatTheResultsSay holds the page and the charts in the repository against the results beside them.
func TestPageSaysWhatTheResultsSay(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	r, err := load(filepath.Join("..", "results", resultFile))
	require.NoError(t, err)
	require.False(t, r.Short)
	text, err := os.ReadFile(filepath.Join(docs, pageFile))
	require.NoError(t, err)
	for part, want := range map[string]string{tablePart: r.markdown(), goalPart: r.goals()} {
		got, err := page.Part(string(text), part)
		require.NoError(t, err)
		require.Equal(t, want, got, "run go run ./benchmarks/compare -render")
	}
	for file, want := range map[string]string{barsFile: r.bars(), flowsFile: r.flowLines(), sessionFile: r.sessionLines()} {
		got, err := os.ReadFile(filepath.Join(docs, file))
		require.NoError(t, err)
		require.Equal(t, want, string(got), "run go run ./benchmarks/compare -render")
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-peers", "none-such"}, {"-rounds", "0"}, {"-unknown"}, {"argument"}, {"-render", "-out", t.TempDir(), "-docs", "-"},
	} {
		require.Error(t, run(args, io.Discard, io.Discard, time.Now()), "%v", args)
	}
}

// TestPlaces holds that neither a short run nor one that writes nothing touches the page unless it is told to.
func TestPlaces(t *testing.T) {
	root, err := page.Root()
	require.NoError(t, err)
	for _, c := range []struct {
		dir, docs         string
		short             bool
		wantDir, wantDocs string
	}{
		{"", "", false, filepath.Join(root, "benchmarks", "results"), filepath.Join(root, "docs")},
		{"x", "", false, "x", filepath.Join(root, "docs")},
		{"-", "", false, "-", "-"},
		{"x", "", true, "x", "-"},
		{"x", "y", true, "x", "y"},
	} {
		dir, docs := c.dir, c.docs
		require.NoError(t, places(&dir, &docs, c.short))
		require.Equal(t, c.wantDir, dir)
		require.Equal(t, c.wantDocs, docs)
	}
}

// TestLate runs out of time at once: what is large has one round, and the largest is left out with a note.
func TestLate(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run([]string{"-short", "-out", "-", "-peers", "blocknat", "-within", "1ms"}, &out, io.Discard, time.Now()))
	require.Contains(t, out.String(), "Note: blocknat was not measured with 2048 sessions")
	require.NotContains(t, out.String(), rowCollector)
}

func TestQuantiles(t *testing.T) {
	x := &row{Values: map[string][]float64{}}
	_, ok := x.median("a")
	require.False(t, ok)
	for _, v := range []float64{5, 1, 4, 2, 3} {
		x.add("a", v)
	}
	for share, want := range map[float64]float64{0.01: 1, 0.5: 3, 0.99: 5} {
		got, ok := x.quantile("a", share)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	x.add("a", 6)
	got, _ := x.median("a")
	require.Equal(t, 3.5, got)

	r := &report{}
	r.row(rowMemory, "flows=1", "B").add("a", 100)
	r.row(rowMemory, "flows=2", "B").add("b", 200)
	got, ok = r.last(rowMemory, "a")
	require.True(t, ok)
	require.Equal(t, 100.0, got, "the last row that has the peer")
	_, ok = r.last(rowMemory, "c")
	require.False(t, ok)
}

// TestGoals fills the rows of goals by hand: one that is met, one that is missed, a ratio, and the lead.
func TestGoals(t *testing.T) {
	r := &report{Peers: []named{{Name: "ours"}, {Name: "theirs"}}}
	for i, p := range anyWay(10_000, 1) {
		x := r.row(rowEstablished, p, "ns")
		x.add("ours", 20+float64(i)) // the worst is 23
		x.add("theirs", 69)
	}
	for _, p := range anyWay(1_000_000, 1) {
		r.row(rowEstablished, p, "ns").add("ours", 150)
	}
	for _, p := range anyWay(10_000_000, 1) {
		r.row(rowEstablished, p, "ns").add("ours", 180)
	}
	r.row("two callers by one, rate", "flows=1048576/dir=out/batch=64", "times").add("ours", 1.9)
	for _, line := range []string{
		"| established packet, 10,000 flows, one by one | <= 28 ns | 23 ns | yes |",
		"| established packet, 10,000 flows, batches of 64 | <= 20 ns | - | - |",
		"| established packet, 1,000,000 flows, one by one | <= 140 ns | 150 ns | no |",
		"| 10,000,000 flows by 1,000,000, one by one | <= 1.3 times | 1.2 times | yes |",
		"| fastest other NAT by this one, established, least of all rows | >= 2 times | 3 times | yes |",
		"| rate of two callers by that of one, 1,048,576 flows | >= 1.8 times | 1.9 times | yes |",
	} {
		require.Contains(t, r.goals(), line)
	}
}

// TestGoalsNameRows holds the rows that goals look for against those of a full plan, so that a renamed row is noticed.
func TestGoalsNameRows(t *testing.T) {
	require.Contains(t, full.flows, 10_000)
	require.Contains(t, full.flows, 1_000_000)
	require.Contains(t, full.flows, 10_000_000)
	for _, flows := range []int{1 << 16, 1 << 20, 1 << 22} {
		found := false
		for _, l := range full.lives {
			found = found || l.flows == flows
		}
		require.True(t, found, "%d", flows)
	}
	require.Equal(t, 1<<20, full.shared)
	require.Equal(t, 1<<22, full.growth)
}

func TestMachine(t *testing.T) {
	require.Equal(t, "amd-epyc-9b14-2cores", machine{CPU: "AMD EPYC 9B14", Cores: 2}.slug())
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nMemAvailable:    2048 kB\n"), 0o600))
	require.Equal(t, "Some CPU @ 2 GHz", processor(file))
	require.Equal(t, "unknown", processor(file+".none"))
	require.Equal(t, 2048.0*1024, availableMemory(file))
	require.Zero(t, availableMemory(file+".none"))
}
