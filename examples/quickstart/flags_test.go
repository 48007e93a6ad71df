package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

func TestHelpReadsWell(t *testing.T) {
	var out bytes.Buffer
	_, err := parseFlags([]string{"-h"}, &out)
	require.ErrorIs(t, err, cli.ErrHelp)
	for _, want := range []string{"usage: go run ./examples/quickstart [flags] [CAPTURE]", "-out DIR", "-pool PREFIXES", "-block SIZE", "-internal PREFIXES", "-seed TEXT", "exit code: 0"} {
		require.Contains(t, out.String(), want)
	}
	for _, l := range strings.Split(out.String(), "\n") {
		require.LessOrEqual(t, len(l), 100, l)
	}
}

func TestDefaults(t *testing.T) {
	a, err := parseFlags(nil, nil)
	require.NoError(t, err)
	b, err := parseFlags(nil, nil)
	require.NoError(t, err)
	require.NotEqual(t, a.seed, b.seed, "a seed is drawn")
	require.NotEqual(t, a.key(), b.key())
	require.Equal(t, "100.64.0.0/10", prefixes(a.internal))
	require.Equal(t, 256, a.block)
	require.Equal(t, "quickstart-out", a.out)
	c, err := parseFlags([]string{"-seed", "x", "-pool", "203.0.113.1-203.0.113.9, 203.0.113.77", "-internal", "10.0.0.0/8,192.168.1.7/24", "f.pcap"}, nil)
	require.NoError(t, err)
	require.Equal(t, "x", c.seed)
	require.Len(t, c.pool, 2)
	require.Equal(t, "10.0.0.0/8, 192.168.1.0/24", prefixes(c.internal))
	require.Equal(t, "f.pcap", c.capture)
}

// TestWrongUse runs the program: exit code 2, and a text that says what to do.
func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	taken := write("taken", "a file")
	circle := filepath.Join(dir, "circle")
	require.NoError(t, os.Symlink(circle, circle))
	full := filepath.Join(dir, "J")
	j, err := journal.Open(full, journal.Config{})
	require.NoError(t, err)
	require.NoError(t, j.Append(&logging.Record{Kind: logging.AddressesExhausted, Time: 1}))
	require.NoError(t, j.Close())
	for _, c := range []struct {
		name string
		args []string
		want []string // all of these
	}{
		{"no such file", []string{filepath.Join(dir, "none.pcap")}, []string{"no such file", "check the name"}},
		{"empty file", []string{write("empty", "")}, []string{"the file is empty", "pcap or pcapng"}},
		{"text file", []string{write("text", "hello, this is text")}, []string{"no capture file", "pcap or pcapng"}},
		{"directory", []string{dir}, []string{"directory", "pcap or pcapng"}},
		{"cannot be opened", []string{circle}, []string{circle, "check the name and the permissions"}}, // by root neither
		{"no IP inside", []string{"../../data/zeek/communityid__arp.pcap"}, []string{"no IP packets", "tcpdump"}},
		{"out is a file", []string{"-out", taken}, []string{"cannot be written", "-out DIR"}},
		{"out within a file", []string{"-out", filepath.Join(taken, "x")}, []string{"cannot be written", "-out DIR"}},
		{"journal of another run", []string{"-journal", full}, []string{full, "another run", "-journal DIR"}},
		{"journal is a file", []string{"-journal", taken}, []string{"-journal DIR"}},
		{"journal is something else", []string{"-journal", "testdata"}, []string{"no journal", "-journal DIR"}},
		{"empty pool", []string{"-pool", ""}, []string{"-pool is empty", "203.0.113.0/30"}},
		{"pool is no address", []string{"-pool", "everything"}, []string{"-pool", "everything", "203.0.113.0/28"}},
		{"pool within the internal addresses", []string{"-pool", "100.64.0.0/24"}, []string{"overlap"}},
		{"pool is IPv6", []string{"-pool", "2001:db8::1"}, []string{"-pool 2001:db8::1", "IPv4"}},
		{"pool overlaps itself", []string{"-pool", "203.0.113.0/30,203.0.113.1"}, []string{"-pool 203.0.113.0/30 and 203.0.113.1", "overlap"}},
		{"block size", []string{"-block", "100"}, []string{"100", "power of two"}},
		{"internal is no prefix", []string{"-internal", "10.0.0.0"}, []string{"-internal", "100.64.0.0/10"}},
		{"internal is IPv6", []string{"-internal", "2001:db8::/32"}, []string{"-internal", "IPv4"}},
		{"no internal", []string{"-internal", ","}, []string{"-internal is empty"}},
		{"unknown flag", []string{"-frobnicate"}, []string{"frobnicate", "-h"}},
		{"two captures", []string{"a.pcap", "b.pcap"}, []string{"2 captures"}},
		{"all faults at once", []string{"-pool", "", "-internal", "x"}, []string{"-pool is empty", "-internal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := execute(t, append([]string{"-out", filepath.Join(dir, "out")}, c.args...)...)
			require.Equal(t, exitUsage, code, errs)
			require.Empty(t, out)
			for _, want := range c.want {
				require.Contains(t, errs, want)
			}
			for _, l := range strings.Split(strings.TrimSpace(errs), "\n") {
				require.True(t, strings.HasPrefix(l, "quickstart: "), l)
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		path := write("secret", "x")
		require.NoError(t, os.Chmod(path, 0))
		want := []string{"it may not be read", "permission"}
		if f, err := os.Open(path); err == nil {
			f.Close()
			want = []string{"too short"} // root may read everything
		}
		code, _, errs := execute(t, path)
		require.Equal(t, exitUsage, code)
		for _, text := range want {
			require.Contains(t, errs, text)
		}
	})
}

// execute runs the program and returns its exit code and what it printed.
func execute(t *testing.T, args ...string) (code int, out, errs string) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer f.Close()
	var stdout bytes.Buffer
	code = run(args, &stdout, f)
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return code, stdout.String(), string(b)
}

func TestFindCapture(t *testing.T) {
	path, err := findCapture() // tests run in the package's directory
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	_, err = findCapture()
	require.ErrorContains(t, err, "name a capture")
	require.False(t, errors.Is(err, os.ErrNotExist))
}
