package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden file anew")

func optionsOf(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parseFlags(args, nil)
	require.NoError(t, err)
	return o
}

// small are the flags of a run of about a second.
var small = []string{"-clients", "200", "-ports", "60", "-span", "12m", "-quiet"}

func play(t *testing.T, args ...string) *report {
	t.Helper()
	o := optionsOf(t, append(append([]string{}, small...), args...)...)
	s, err := loadScheme(o)
	require.NoError(t, err)
	p, r, err := simulateWith(o, s, &cli.Progress{}, nil, nil)
	require.NoError(t, err)
	require.NoError(t, p.engine.CheckInvariants())
	return r
}

func requireProven(t *testing.T, r *report) {
	t.Helper()
	for _, c := range r.Checks {
		require.Zero(t, c.Violations, "%s: %v", c.Name, c.Examples)
		require.NotZero(t, c.Cases, c.Name)
	}
}

// TestSmallRun plays 200 clients for 12 minutes, so that ports and blocks come back.
func TestSmallRun(t *testing.T) {
	r := play(t)
	requireProven(t, r)
	require.Empty(t, r.Refused)
	require.Equal(t, r.Flows, r.Checks[0].Cases)
	require.Greater(t, r.Flows, 25_000)
	require.Greater(t, r.Packets[1], r.Flows)
	require.InDelta(t, 60, float64(r.Reuse.Flows)/float64(r.Reuse.Clients), 6, "-ports is about what a client holds")
	require.GreaterOrEqual(t, int(r.Stats.Sessions), r.Reuse.Flows)
	require.LessOrEqual(t, int(r.Stats.Sessions), r.Reuse.Flows+r.Strangers[0], "the proof and the engine count the same live flows")
	require.NotZero(t, r.Strangers[0])
	require.NotZero(t, r.Strangers[1])
	require.NotZero(t, r.Stats.BlocksReleased, "blocks come back")
	require.Greater(t, r.Reuse.Instances, 3000)
	require.LessOrEqual(t, r.Reuse.Instances, 16384)
	require.Equal(t, 2, r.Moved)
	require.Equal(t, [2]int{16, 4}, r.Reuse.Classes)
	for class, n := range r.Reuse.ByClass {
		require.NotZero(t, n, "class %d", class)
	}
}

// TestPortsAreReused packs the blocks, so that the classes use the same ports.
func TestPortsAreReused(t *testing.T) {
	r := play(t, "-order", "sequential", "-span", "5m", "-clients", "100")
	requireProven(t, r)
	require.Greater(t, float64(r.Reuse.Flows)/float64(r.Reuse.Ports), 1.2)
	require.Greater(t, len(r.Reuse.Example), 4)
	first := r.Reuse.Example[0]
	classes := map[int]bool{}
	for _, f := range r.Reuse.Example {
		require.Equal(t, first.External, f.External)
		require.Equal(t, first.Proto, f.Proto)
		require.Equal(t, f.Out, f.In)
		require.True(t, f.First <= f.External.Port() && f.External.Port() <= f.Last)
		classes[f.Class] = true
	}
	require.Len(t, classes, len(r.Reuse.Example), "one client in each class")
}

// TestScarcePorts leaves one block for each class of an address: flows are refused, and all that is not holds.
func TestScarcePorts(t *testing.T) {
	r := play(t, "-usable", "1024-1087", "-clients", "400", "-span", "1m")
	requireProven(t, r)
	require.NotEmpty(t, r.Refused)
	require.Equal(t, natcore.ReasonBlocksExhausted.String(), r.Refused[0].Name)
	var b bytes.Buffer
	r.write(&b)
	require.Contains(t, b.String(), r.Refused[0].Name)
}

// TestSameSeedSameRun plays a seed twice, and another one.
func TestSameSeedSameRun(t *testing.T) {
	text := func(seed string) string {
		var b bytes.Buffer
		play(t, "-seed", seed, "-span", "1m", "-clients", "60").write(&b)
		return withoutSpeed(b.String())
	}
	a := text("a")
	require.Equal(t, a, text("a"))
	require.NotEqual(t, a, text("b"))
}

// withoutSpeed cuts what is measured with a clock.
func withoutSpeed(s string) string {
	return regexp.MustCompile(`(?s)\nLook-ups of.*?\n(\nProof)`).ReplaceAllString(s, "$1")
}

// TestGolden holds the parts of a report that follow from script, masks and traffic alone, and
// not from the engine's choice of ports.
func TestGolden(t *testing.T) {
	var b bytes.Buffer
	r := play(t, "-span", "1m")
	r.writeSetting(&b)
	r.writeNumbers(&b)
	r.writeTraffic(&b)
	r.writeClasses(&b)
	got := regexp.MustCompile(`(?m)^.*(strangers|nobody has the port|sessions in the engine).*\n`).ReplaceAllString(b.String(), "")
	path := filepath.Join("testdata", "report.golden")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run the test with -update if the report was meant to change")
}

// TestProofCatches damages what the proof sees, and expects the check that is meant for it to say so.
func TestProofCatches(t *testing.T) {
	name := func(i int) string { return checkOrder[i] }
	every := func(n int, f func(b []byte)) func(b []byte) {
		k := 0
		return func(b []byte) {
			if k++; k%n == 0 {
				f(b)
			}
		}
	}
	onWay := func(outbound bool, f func(b []byte)) func(bool, []byte) {
		return func(o bool, b []byte) {
			if o == outbound {
				f(b)
			}
		}
	}
	line := func(n int, f func(b []byte) []byte) func([]byte) []byte {
		k := 0
		return func(b []byte) []byte {
			if k++; k%n == 0 {
				return f(b)
			}
			return b
		}
	}
	o := optionsOf(t, "-clients", "200", "-span", "20s", "-ports", "50")
	scheme, err := loadScheme(o)
	require.NoError(t, err)
	for _, c := range []struct {
		name    string
		corrupt func(bool, []byte)
		spoil   func([]byte) []byte
		rules   func(string) string
		want    int // of checkOrder
	}{
		{name: "another external address", corrupt: onWay(true, every(1000, func(b []byte) { b[15] ^= 1; mend(b) })), want: 0},
		{name: "an address that natout does not name", rules: func(s string) string {
			return strings.Replace(s, "nat 1 config ip 192.0.2.0 ", "nat 1 config ip 192.0.2.200 ", 1)
		}, corrupt: onWay(true, func(b []byte) { b[15] ^= 127; mend(b) }), want: 1},
		{name: "natin with another mask", rules: func(s string) string { return strings.Replace(s, "natin setmask 0.0.15.0", "natin setmask 0.0.7.0", 1) }, want: 2},
		{name: "one port for all, towards one server", corrupt: onWay(true, func(b []byte) { binary.BigEndian.PutUint16(b[20:], 5000); mend(b) }), want: 3},
		{name: "one port for all, in one class", corrupt: onWay(true, func(b []byte) { binary.BigEndian.PutUint16(b[20:], 5000); mend(b) }), want: 4},
		{name: "an answer to another client", corrupt: onWay(false, every(1000, func(b []byte) { b[19] ^= 1; mend(b) })), want: 5},
		{name: "an answer to another port", corrupt: onWay(false, every(1000, func(b []byte) { b[23] ^= 1; mend(b) })), want: 5},
		{name: "a stranger to another client", corrupt: onWay(false, func(b []byte) { b[18] ^= 1; mend(b) }), want: 6},
		{name: "another server", corrupt: onWay(true, every(1000, func(b []byte) { b[19] ^= 1; mend(b) })), want: 7},
		{name: "a record is lost", spoil: line(50, func([]byte) []byte { return nil }), want: 8},
		{name: "a record names another client", spoil: line(50, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"subscriber":"100.`), []byte(`"subscriber":"99.`), 1)
		}), want: 8},
		{name: "a record names no class", spoil: line(50, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"class"`), []byte(`"klass"`), 1)
		}), want: 8},
		{name: "a block is given twice", spoil: line(50, func(b []byte) []byte { return append(bytes.Clone(b), b...) }), want: 9},
		{name: "a record is cut", spoil: line(50, func(b []byte) []byte { return append(bytes.Clone(b[:len(b)/2]), '\n') }), want: 9},
		{name: "a block is released too early", spoil: line(1, func(b []byte) []byte {
			released := bytes.Replace(b, []byte("block-allocated"), []byte("block-released"), 1)
			return append(bytes.Clone(b), released...)
		}), want: 9},
		{name: "a changed byte", corrupt: onWay(false, every(1000, func(b []byte) { b[8]--; mend(b) })), want: 10},
		{name: "a wrong checksum of IP", corrupt: onWay(true, every(1000, func(b []byte) { b[10] ^= 1 })), want: 11},
		{name: "a wrong checksum of TCP or UDP", corrupt: onWay(true, every(1000, func(b []byte) { b[len(b)-2] ^= 1; b[len(b)-4] ^= 1 })), want: 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := *scheme
			if c.rules != nil {
				s.text = c.rules(s.text)
			}
			_, r, err := simulateWith(o, &s, &cli.Progress{}, c.corrupt, c.spoil)
			require.NoError(t, err)
			require.Equal(t, name(c.want), r.Checks[c.want].Name)
			require.NotZero(t, r.Checks[c.want].Violations)
			require.NotEmpty(t, r.Checks[c.want].Examples)
			var b bytes.Buffer
			r.writeProof(&b)
			require.Contains(t, b.String(), "    ! ")
			require.NotContains(t, b.String(), "violations: 0\n")
		})
	}
}

// checkOrder are the checks as the report lists them.
var checkOrder = []string{
	"a client's address meets every service from one external address",
	"that address is the one of the nat instance which natout names",
	"natin names the same instance for the answer",
	"no two live flows share external endpoint, protocol, remote endpoint",
	"an external port has one owner in each class of remotes",
	"answers come back to the client and port that asked",
	"packets of strangers reach the port's owner in their class, or nobody",
	"packets of live flows get through, to the server they were sent to",
	"a flow's first packet leads to its client by the records written so far",
	"its last one does by all records and the remote endpoint",
	"nothing changes but the endpoint and checksums",
	"checksums are right (computed in full)",
}

// mend computes a packet's checksums anew.
func mend(b []byte) {
	seq, ack, flags := uint32(0), uint32(0), byte(0)
	if b[9] == tcp {
		seq, ack, flags = binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:]), b[33]
	}
	to := end{binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint16(b[22:])}
	ttl := b[8]
	copy(b, appendPacket(nil, b[9], source(b), to, seq, ack, flags))
	if ttl != b[8] {
		b[8] = ttl
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^checksum(0, b[:20]))
	}
}

// TestRun plays the program as a user does.
func TestRun(t *testing.T) {
	records := filepath.Join(t.TempDir(), "blocks.jsonl")
	var out bytes.Buffer
	require.Equal(t, exitProven, run([]string{"-clients", "50", "-ports", "50", "-span", "1m", "-records", records}, &out, os.Stderr))
	require.True(t, strings.HasSuffix(out.String(), "\nviolations: 0\n"))
	for _, want := range []string{"Setting", "The scheme, with flows of this run", "Traffic", "Reuse of external ports", "Log  ", "Look-ups of an instance", "Speed", "Proof"} {
		require.Contains(t, out.String(), "\n"+want)
	}
	for _, l := range strings.Split(out.String(), "\n") {
		require.LessOrEqual(t, len(l), 100, l)
		require.Equal(t, strings.TrimRight(l, " "), l)
	}
	b, err := os.ReadFile(records)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(b, []byte(`{"kind":"block-allocated","time":"2026-01-01T00:00:00`)), string(b[:80]))

	out.Reset()
	require.Equal(t, exitProven, run([]string{"-clients", "10", "-ports", "20", "-span", "10s", "-quiet"}, &out, os.Stderr))
	require.Equal(t, "violations: 0\n", out.String())
}

// TestLookups compares the three ways on flows of a run.
func TestLookups(t *testing.T) {
	o := optionsOf(t, "-clients", "100", "-span", "20s", "-ports", "100")
	s, err := loadScheme(o)
	require.NoError(t, err)
	r, err := simulate(o, s, &cli.Progress{})
	require.NoError(t, err)
	require.NoError(t, r.LookupsErr)
	require.True(t, r.Lookups.Same)
	require.Equal(t, 16384, r.Lookups.Rules)
	require.Greater(t, r.Lookups.List, 10*r.Lookups.Table)
	require.NotZero(t, r.Lookups.Index)
}
