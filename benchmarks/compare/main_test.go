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
)

// TestShortRun runs the whole command at its smallest size and reads what it wrote.
func TestShortRun(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	require.NoError(t, run([]string{"-short", "-o", dir, "-machine", "test"}, &out, io.Discard, time.Now()))
	for _, want := range []string{
		"SHORT RUN", "established packet", "flows=1000/dir=in/batch=64", "new session", "end of a session",
		"memory per session", "collection", "workload=churn", "blocknat", "gomap", "gvisor", "pion",
	} {
		require.Contains(t, out.String(), want)
	}
	base := filepath.Join(dir, time.Now().UTC().Format(time.DateOnly)+"-test")
	text, err := os.ReadFile(base + ".txt")
	require.NoError(t, err)
	require.Contains(t, string(text), "what\tparams\tunit\tpeer\tmedian")
	plot, err := os.Open(base + ".svg")
	require.NoError(t, err)
	defer plot.Close()
	bars := 0
	for d := xml.NewDecoder(plot); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	require.Greater(t, bars, 40)
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-peers", "none-such"}, {"-rounds", "0"}, {"-unknown"}, {"argument"}} {
		require.Error(t, run(args, io.Discard, io.Discard, time.Now()), "%v", args)
	}
}

func TestQuantiles(t *testing.T) {
	x := &row{values: map[string][]float64{}}
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
}

func TestMachineSlug(t *testing.T) {
	require.Equal(t, "amd-epyc-9b14-2cores", machine{cpu: "AMD EPYC 9B14", cores: 2}.slug())
	cpuinfo := filepath.Join(t.TempDir(), "cpuinfo")
	require.NoError(t, os.WriteFile(cpuinfo, []byte("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), 0o600))
	require.Equal(t, "Some CPU @ 2 GHz", processor(cpuinfo))
	require.Equal(t, "unknown", processor(cpuinfo+".none"))
}
