package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// TestPhases runs all phases on a small journal.
func TestPhases(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		phase string
		want  []string
	}{
		{"build", []string{"40000 in", "with 20000 intervals, 0 open", "an interval"}},
		{"query", []string{"200 queries", "subscriber"}},
		{"verify", []string{"0 conflicts"}},
	} {
		var out bytes.Buffer
		require.NoError(t, run([]string{"-records", "20000", "-queries", "200", "-dir", dir, "-phase", c.phase}, &out))
		for _, want := range c.want {
			require.Contains(t, out.String(), want)
		}
	}
	require.ErrorContains(t, run([]string{"-phase", "x"}, nil), "choose all, build, query or verify")
	require.ErrorContains(t, run([]string{"-records", "0"}, nil), "1 or more")
}

// TestGeneratorIsRight: records come in the order of time, the same ones for
// the same seed, and no two holders of a block come closer than the guard time.
func TestGeneratorIsRight(t *testing.T) {
	s := &setting{records: 5000, addresses: 2, days: 60, seed: 1}
	var all [2][]logging.Record
	x := logging.NewIndex()
	for i := range all {
		g := newGenerator(s)
		for r := g.step(); r != nil; r = g.step() {
			all[i] = append(all[i], *r)
			if i == 0 {
				require.NoError(t, x.Append(r))
			}
		}
	}
	require.Equal(t, all[0], all[1])
	require.Len(t, all[0], 10000)
	for i := 1; i < len(all[0]); i++ {
		require.LessOrEqual(t, all[0][i-1].Time, all[0][i].Time)
	}
	require.Empty(t, x.Verify(guardTime*1e6))
	require.Equal(t, 5000, x.Len())
}
