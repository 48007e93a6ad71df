package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/natcore/nattest"
)

// TestTable holds the recorded table against a new run, and some of its rows against what the NATs' own code says.
func TestTable(t *testing.T) {
	stands := results(t)
	outcome := func(name, id string) nattest.Outcome {
		for _, s := range stands {
			for _, r := range s.results {
				if s.name == name && r.ID == id {
					return r.Outcome
				}
			}
		}
		t.Fatalf("there is no row %s of %s", id, name)
		return 0
	}
	for _, r := range stands[0].results {
		require.False(t, r.Level == nattest.Must && r.Outcome != nattest.Passed, "%s: %s", r.ID, r.Detail)
	}
	// pion's mappings end after 30 s unless its configuration says otherwise, ports are counted up, and all behaviours can be chosen.
	require.Equal(t, nattest.Failed, outcome("pion", "4787-05"))
	require.Equal(t, nattest.Failed, outcome("pion", "6888-15"))
	for _, id := range []string{"4787-01", "4787-01/ad", "4787-01/apd", "4787-05b", "4787-08a", "4787-08b", "4787-08c"} {
		require.Equal(t, nattest.Passed, outcome("pion", id), id)
	}
	// gVisor keeps a port until it is taken, and has another for each connection then.
	require.Equal(t, nattest.Passed, outcome("gVisor", "4787-01"))
	require.Equal(t, nattest.Failed, outcome("gVisor", "4787-11"))
	require.Equal(t, nattest.Passed, outcome("gVisor", "5382-02"))

	var now bytes.Buffer
	table(&now, stands)
	recorded, err := os.ReadFile("../results/conformance.md")
	require.NoError(t, err)
	rows := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return !strings.HasPrefix(l, "| ") })
	}
	require.Equal(t, rows(string(recorded)), rows(now.String()), "go run ./conformance -o results/conformance.md")
}
