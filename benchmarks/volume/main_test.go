package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
	"github.com/blocknat/blocknat/benchmarks/plot"
)

// TestQuickRun runs the command and reads its table.
func TestQuickRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, command([]string{"-quick", "-connections", "3000", "-subscribers", "10000"}, &out, io.Discard))
	for _, want := range []string{"QUICK RUN", "100 subscribers over 60 days", "blocks of 64", "blocks of 4096", "42.5 TB", "40.6 GB"} {
		require.Contains(t, out.String(), want)
	}
	for _, e := range append(encodings(), encoding{Name: journalName}) {
		require.Contains(t, out.String(), "\n| "+e.Name+" |")
	}
}

// TestRepeatable plays the same seed on one core and on several, and another seed.
func TestRepeatable(t *testing.T) {
	m := defaults()
	m.Subscribers, m.Connections = 60, 2000
	report := func(seed uint64) *Report {
		r, err := newRun(m, seed, []int{64, 1024}, 1)
		require.NoError(t, err)
		r.Sample = 0.01
		got, err := r.simulate(none)
		require.NoError(t, err)
		rep, err := r.report(got, false)
		require.NoError(t, err)
		return rep
	}
	first := report(1)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	require.Equal(t, first, report(1))
	require.NotEqual(t, first.Created, report(2).Created)
}

// TestPublishing writes a page and its charts from a report, and finds them the same when the report was saved and read again.
func TestPublishing(t *testing.T) {
	m := defaults()
	m.Subscribers, m.Connections = 60, 2000
	r, err := newRun(m, 1, []int{64, 1024}, 1)
	require.NoError(t, err)
	r.Sample = 0.01
	got, err := r.simulate(none)
	require.NoError(t, err)
	rep, err := r.report(got, false)
	require.NoError(t, err)
	root := t.TempDir()
	for _, d := range []string{"docs", "benchmarks/results"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	text, err := os.ReadFile(filepath.Join("..", "..", pageFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, pageFile), text, 0o644))
	require.NoError(t, rep.save(filepath.Join(root, resultFile)))
	require.NoError(t, command([]string{"-render", "-out", root}, io.Discard, io.Discard))
	text, err = os.ReadFile(filepath.Join(root, pageFile))
	require.NoError(t, err)
	part, err := page.Part(string(text), tablePart)
	require.NoError(t, err)
	require.Equal(t, rep.markdown(), part)
	require.FileExists(t, filepath.Join(root, volumeChart))
	require.FileExists(t, filepath.Join(root, addressChart))
}

// TestPageSaysWhatTheResultsSay holds the page and the charts in the repository against the report beside them.
func TestPageSaysWhatTheResultsSay(t *testing.T) {
	root := filepath.Join("..", "..")
	rep, err := load(filepath.Join(root, resultFile))
	require.NoError(t, err)
	require.False(t, rep.Quick)
	require.Equal(t, defaults(), rep.Model, "the model has changed: run go run ./benchmarks/volume")
	text, err := os.ReadFile(filepath.Join(root, pageFile))
	require.NoError(t, err)
	for part, want := range map[string]string{tablePart: rep.markdown(), parameterPart: rep.parameters()} {
		got, err := page.Part(string(text), part)
		require.NoError(t, err)
		require.Equal(t, want, got, "run go run ./benchmarks/volume -render")
	}
	for file, want := range map[string]string{volumeChart: rep.chartVolume(), addressChart: rep.chartAddresses()} {
		got, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		require.Equal(t, want, string(got), "run go run ./benchmarks/volume -render")
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"argument"}, {"-subscribers", "0"}, {"-days", "0"}, {"-simulate", "0"}, {"-connections", "NaN"}, {"-connections", "0"}, {"-unknown"},
		{"-render", "-out", t.TempDir()},
	} {
		require.Error(t, command(args, io.Discard, io.Discard), "%v", args)
	}
}

// TestPublishedRatio holds the published figures against the ratio that they are quoted with.
func TestPublishedRatio(t *testing.T) {
	require.Equal(t, "1047", plot.Number(publishedSessions/publishedBlocks))
	require.InDelta(t, 35.4e6, publishedSessions/20_000/60, 0.05e6)
	require.InDelta(t, 33.8e3, publishedBlocks/20_000/60, 0.05e3)
}

// TestQueueOrder pops events by time, then by what they are.
func TestQueueOrder(t *testing.T) {
	var q queue
	for _, at := range []int64{5, 1, 4, 1, 3, 5, 9, 2, 6} {
		q.push(event{at, uint32(len(q))})
	}
	last := event{}
	for len(q) > 0 {
		e := q.pop()
		require.True(t, e.at > last.at || e.at == last.at && e.what >= last.what)
		last = e
	}
}
