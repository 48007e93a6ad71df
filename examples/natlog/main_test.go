package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
	"github.com/blocknat/blocknat/mapping/deterministic"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func block(kind logging.Kind, host, sub, ext string, first uint16, at, allocated time.Duration) logging.Record {
	r := logging.Record{
		Kind: kind, Time: logging.MillisOf(noon.Add(at)), Spaces: logging.AllSpaces, Host: host, Pool: "cgn", Epoch: 1,
		Subscriber: netip.MustParseAddr(sub), External: netip.MustParseAddr(ext), First: first, Last: first + 255,
	}
	if kind != logging.BlockAllocated {
		r.Allocated = logging.MillisOf(noon.Add(allocated))
	}
	return r
}

// fill makes the journals of two hosts. The block of 100.64.0.1 was allocated
// three days before noon.
func fill(t *testing.T) (a, b string) {
	a, b = filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	const day = 24 * time.Hour
	detail, err := deterministic.AppendRecord(nil, deterministic.Epoch{Number: 1, From: noon.Add(-day), Config: deterministic.Config{
		Internal: deterministic.Spans("10.0.0.0-10.0.0.3"), External: deterministic.Spans("203.0.113.9"), SharingRatio: 4,
	}})
	require.NoError(t, err)
	for dir, recs := range map[string][]logging.Record{
		a: {
			block(logging.BlockAllocated, "cgn-a", "100.64.0.1", "203.0.113.1", 1024, -3*day, 0),
			block(logging.BlockAllocated, "cgn-a", "100.64.0.2", "203.0.113.1", 1280, -2*day, 0),
			block(logging.BlockReleased, "cgn-a", "100.64.0.1", "203.0.113.1", 1024, time.Hour, -3*day),
			block(logging.BlockAllocated, "cgn-a", "100.64.0.3", "203.0.113.1", 1024, time.Hour+time.Minute, 0),
			{Kind: logging.ConfigEpoch, Time: logging.MillisOf(noon.Add(-day)), Host: "cgn-a", Pool: "det", Detail: string(detail)},
		},
		b: {
			block(logging.BlockAllocated, "cgn-b", "100.64.0.1", "203.0.113.2", 2048, -day, 0),
			block(logging.BlockReleased, "cgn-b", "100.64.0.1", "203.0.113.2", 2048, -day+time.Hour, -day),
		},
	} {
		j, err := journal.Open(dir, journal.Config{})
		require.NoError(t, err)
		for i := range recs {
			require.NoError(t, j.Append(&recs[i]))
			if i == 2 {
				require.NoError(t, j.Seal())
			}
		}
		require.NoError(t, j.Close())
	}
	return a, b
}

func natlog(t *testing.T, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestWho(t *testing.T) {
	a, b := fill(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"allocated days before", []string{"203.0.113.1:1100", "-at", "2026-05-01T12:00:00Z"}, 0, []string{
			"203.0.113.1:1100 at 2026-05-01T12:00:00.000Z: 100.64.0.1\n", "ports      1024-1279 of 203.0.113.1, tcp+udp+icmp",
			"from       2026-04-28T12:00:00.000Z", "to         2026-05-01T13:00:00.000Z", "certainty  inside", "source     records of a block",
			"pool       cgn", "host       cgn-a, epoch 1", "journal    " + a}},
		{"another zone", []string{"203.0.113.1:1100", "-at", "2026-05-01T14:00:00+02:00"}, 0, []string{": 100.64.0.1\n"}},
		{"nobody in between", []string{"203.0.113.1:1100", "-at", "2026-05-01T13:00:30Z"}, 1, []string{"nobody, as far as these journals know"}},
		{"clocks apart", []string{"203.0.113.1:1100", "-at", "2026-05-01T13:00:30Z", "-tolerance", "30s"}, 0, []string{
			"2 subscribers fit", "subscriber 100.64.0.1\n", "subscriber 100.64.0.3\n", "near: "}},
		{"still held", []string{"203.0.113.1:1300", "-at", "2026-05-01T12:00:00Z"}, 0, []string{
			": 100.64.0.2\n", "still held, last recorded at 2026-04-29T12:00:00.000Z", "assumed"}},
		{"the other host's", []string{"203.0.113.2:2100", "-at", "2026-04-30T12:30:00Z", "-proto", "udp"}, 0, []string{": 100.64.0.1\n", "host       cgn-b", "journal    " + b}},
		{"by formula", []string{"203.0.113.9:17152", "-at", "2026-05-01T12:00:00Z"}, 0, []string{": 10.0.0.1\n", "computed from the configuration", "pool       det"}},
		{"before the formula", []string{"203.0.113.9:17152", "-at", "2026-04-01T12:00:00Z"}, 1, []string{"nobody"}},
		{"all ports", []string{"203.0.113.1", "-at", "2026-05-01T12:00:00Z"}, 0, []string{"subscriber 100.64.0.1\n", "subscriber 100.64.0.2\n"}},
		{"another realm", []string{"203.0.113.1:1100", "-at", "2026-05-01T12:00:00Z", "-realm", "x"}, 1, []string{"nobody"}},
		{"JSON", []string{"203.0.113.1:1100", "-at", "2026-05-01T12:00:00Z", "-json"}, 0, []string{
			`{"subscriber":"100.64.0.1","kind":"block-allocated","external":"203.0.113.1","first":1024,"last":1279,"spaces":"tcp+udp+icmp","from":"2026-04-28T12:00:00.000Z","to":"2026-05-01T13:00:00.000Z"`, `"certainty":"inside","source":"recorded"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := natlog(t, append([]string{"who", "-journal", a, "-journal", b}, c.args...)...)
			require.Equal(t, c.code, code, errs)
			require.Empty(t, errs)
			for _, want := range c.want {
				require.Contains(t, out, want)
			}
			for l := range strings.Lines(out) {
				if !strings.HasPrefix(l, "{") && !strings.Contains(l, "journal ") {
					require.LessOrEqual(t, len(l), 121, l)
				}
			}
		})
	}
}

// TestStatic: a port that a static mapping has inside a block is the mapping's, for its protocol alone, and says so.
func TestStatic(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	j, err := journal.Open(dir, journal.Config{})
	require.NoError(t, err)
	static := block(logging.StaticAdded, "cgn-a", "100.64.0.9", "203.0.113.1", 1080, 0, 0)
	static.Last, static.Spaces, static.Protocol, static.Pool, static.Allocated = 1080, logging.TCP, 6, "web", 0
	for _, r := range []logging.Record{block(logging.BlockAllocated, "cgn-a", "100.64.0.1", "203.0.113.1", 1024, -time.Hour, 0), static} {
		require.NoError(t, j.Append(&r))
	}
	require.NoError(t, j.Close())
	for _, c := range []struct{ at, protocol, port, subscriber, source string }{
		{"2026-05-01T11:30:00Z", "tcp", "1080", "100.64.0.1", "recorded"},
		{"2026-05-01T12:30:00Z", "tcp", "1080", "100.64.0.9", "static"},
		{"2026-05-01T12:30:00Z", "udp", "1080", "100.64.0.1", "recorded"},
		{"2026-05-01T12:30:00Z", "tcp", "1081", "100.64.0.1", "recorded"},
	} {
		code, out, errs := natlog(t, "who", "-journal", dir, "-json", "-proto", c.protocol, "-at", c.at, "203.0.113.1:"+c.port)
		require.Zero(t, code, errs)
		require.Equal(t, 1, strings.Count(out, "\n"), out)
		var got candidate
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		require.Equal(t, []string{c.subscriber, c.source}, []string{got.Subscriber, got.Source})
	}
	code, out, errs := natlog(t, "verify", "-journal", dir)
	require.Zero(t, code, out+errs)
}

func TestSubscriber(t *testing.T) {
	a, b := fill(t)
	code, out, _ := natlog(t, "subscriber", "-journal", a, "100.64.0.1", "-journal", b)
	require.Zero(t, code)
	require.Equal(t, `2026-04-28T12:00:00.000Z  203.0.113.1      1024-1279   2026-05-01T13:00:00.000Z
2026-04-30T12:00:00.000Z  203.0.113.2      2048-2303   2026-04-30T13:00:00.000Z
`, out)
	code, out, _ = natlog(t, "subscriber", "-journal", a, "-journal", b, "-from", "2026-05-01T00:00:00Z", "-json", "100.64.0.1")
	require.Zero(t, code)
	require.Equal(t, 1, strings.Count(out, "\n"))
	code, out, _ = natlog(t, "subscriber", "-journal", a, "100.64.9.9")
	require.Equal(t, 1, code)
	require.Contains(t, out, "held nothing then")
	code, _, _ = natlog(t, "subscriber", "-journal", a, "-id", "line 7")
	require.Equal(t, 1, code)
}

func TestStats(t *testing.T) {
	a, b := fill(t)
	code, out, _ := natlog(t, "stats", "-journal", a, "-journal", b)
	require.Zero(t, code)
	require.Contains(t, out, a+"\n")
	require.Contains(t, out, "with 2 records")
	require.Contains(t, out, "from 2026-04-28T12:00:00.000Z to 2026-05-01T13:01:00.000Z")
	code, out, _ = natlog(t, "stats", "-journal", a, "-json")
	require.Zero(t, code)
	var s journal.JournalStats
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Equal(t, 2, s.Unsealed)
}

func TestExport(t *testing.T) {
	a, _ := fill(t)
	code, out, _ := natlog(t, "export", "-journal", a)
	require.Zero(t, code)
	x := logging.NewIndex()
	n, err := x.Replay(strings.NewReader(out))
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Equal(t, 3, x.Len())
	code, out, _ = natlog(t, "export", "-journal", a, "-format", "csv")
	require.Zero(t, code)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 6)
	code, out, _ = natlog(t, "export", "-journal", a, "-format", "csv", "-intervals")
	require.Zero(t, code)
	rows, err = csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.Equal(t, []string{"203.0.113.1", "1024", "1279", "0", "tcp+udp+icmp", "100.64.0.1", "", "2026-04-28T12:00:00.000Z", "2026-05-01T13:00:00.000Z"}, rows[1][:9])
	code, out, _ = natlog(t, "export", "-journal", a, "-intervals")
	require.Zero(t, code)
	require.Equal(t, 3, strings.Count(out, "\n"))
}

func TestTail(t *testing.T) {
	a, _ := fill(t)
	code, out, _ := natlog(t, "tail", "-journal", a, "-n", "3")
	require.Zero(t, code)
	require.Equal(t, 3, strings.Count(out, "\n"))
	require.Contains(t, out, "100.64.0.3")

	// It goes on with what comes, also when that was sealed in between.
	j, err := journal.Open(a, journal.Config{})
	require.NoError(t, err)
	defer j.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w := &lines{stop: cancel, want: 11}
	done := make(chan int)
	go func() { done <- run(ctx, []string{"tail", "-journal", a, "-n", "9", "-f"}, w, w) }()
	for i := range 6 {
		time.Sleep(50 * time.Millisecond)
		r := block(logging.BlockAllocated, "cgn-a", "100.64.0.77", "203.0.113.3", uint16(4096+i*256), 2*time.Hour, 0)
		require.NoError(t, j.Append(&r))
		if i%2 == 1 {
			require.NoError(t, j.Seal())
		}
	}
	require.Zero(t, <-done)
	require.Equal(t, 11, w.got, "5 that were there, 6 that came")
}

// lines counts lines and stops after those that are wanted.
type lines struct {
	stop      func()
	want, got int
}

func (l *lines) Write(b []byte) (int, error) {
	if l.got += bytes.Count(b, []byte("\n")); l.got >= l.want {
		l.stop()
	}
	return len(b), nil
}

func TestVerify(t *testing.T) {
	a, b := fill(t)
	code, out, _ := natlog(t, "verify", "-journal", b)
	require.Zero(t, code)
	require.Contains(t, out, "no two intervals of one port overlap or come closer than 2m0s")
	code, out, _ = natlog(t, "verify", "-journal", a)
	require.Equal(t, 1, code)
	require.Contains(t, out, "203.0.113.1 ports 1024-1279: 100.64.0.3 from 2026-05-01T13:01:00.000Z follows after 1m0s 100.64.0.1 from 2026-04-28T12:00:00.000Z")
	require.Contains(t, out, "1 conflict\n")
	code, _, _ = natlog(t, "verify", "-journal", a, "-guard", "1m")
	require.Zero(t, code)
	code, out, _ = natlog(t, "verify", "-journal", a, "-json")
	require.Equal(t, 1, code)
	require.Contains(t, out, `"gap":"1m0s"`)

	// Damage is told, and is a failure.
	names, err := filepath.Glob(filepath.Join(b, "*.wal"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	data, err := os.ReadFile(names[0])
	require.NoError(t, err)
	data[90] ^= 1
	require.NoError(t, os.WriteFile(names[0], data, 0o640))
	code, _, errs := natlog(t, "verify", "-journal", b)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is damaged from byte 72")
}

func TestWrongUse(t *testing.T) {
	a, _ := fill(t)
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "letter.txt"), []byte("x"), 0o640))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"whom"}, []string{`"whom" is no command`, "who, subscriber, stats"}},
		{[]string{"who", "203.0.113.1:1"}, []string{"-journal DIR", "-at is missing"}},
		{[]string{"who", "-journal", a, "-at", "2026-05-01T12:00:00", "203.0.113.1:1"}, []string{"has no zone", "2026-05-01T12:00:00Z"}},
		{[]string{"who", "-journal", a, "-at", "noon", "203.0.113.1:1"}, []string{"no time of RFC 3339"}},
		{[]string{"who", "-journal", a, "-at", "2026-05-01T12:00:00Z"}, []string{"takes one argument, ADDR:PORT"}},
		{[]string{"who", "-journal", a, "-at", "2026-05-01T12:00:00Z", "me"}, []string{"no address with a port"}},
		{[]string{"who", "-journal", a, "-at", "2026-05-01T12:00:00Z", "-proto", "ospf", "203.0.113.1:1"}, []string{"tcp, udp or icmp"}},
		{[]string{"who", "-journal", filepath.Join(a, "none"), "-at", "2026-05-01T12:00:00Z", "203.0.113.1:1"}, []string{"no such file", "-journal DIR names"}},
		{[]string{"stats", "-journal", foreign}, []string{"no journal", foreign}},
		{[]string{"stats", "-journal", a, "x"}, []string{"takes no argument"}},
		{[]string{"tail", "-journal", a, "-n", "-1"}, []string{"-n", "must not be negative"}},
		{[]string{"subscriber", "-journal", a, "x"}, []string{"add -id"}},
		{[]string{"subscriber", "-journal", a, "10.0.0.1", "-from", "2026-05-02T00:00:00Z", "-to", "2026-05-01T00:00:00Z"}, []string{"exchange"}},
		{[]string{"export", "-journal", a, "-format", "xml"}, []string{"choose json or csv"}},
		{[]string{"verify", "-journal", a, "-guard", "-1s"}, []string{"negative"}},
		{[]string{"stats", "-frob"}, []string{"frob", "-h"}},
	} {
		code, out, errs := natlog(t, c.args...)
		require.Equal(t, exitUsage, code, "%v: %s", c.args, errs)
		require.Empty(t, out)
		for _, want := range c.want {
			require.Contains(t, errs, want, "%v", c.args)
		}
		for l := range strings.Lines(errs) {
			require.True(t, strings.HasPrefix(l, "natlog: "), l)
		}
	}
}

func TestHelp(t *testing.T) {
	code, out, _ := natlog(t, "-h")
	require.Zero(t, code)
	for _, c := range commands {
		require.Contains(t, out, "  "+c.name+" ")
		code, help, _ := natlog(t, c.name, "-h")
		require.Zero(t, code)
		require.Contains(t, help, "usage: natlog "+c.name)
		require.Contains(t, help, "-journal DIR")
	}
	code, _, _ = natlog(t)
	require.Equal(t, exitUsage, code)
}

// TestQuickstartThenNatlog does what the README says: a journal that the
// quickstart filled answers for each of its blocks.
func TestQuickstartThenNatlog(t *testing.T) {
	dir := t.TempDir()
	j, results := filepath.Join(dir, "J"), filepath.Join(dir, "out")
	b, err := exec.Command("go", "run", "../quickstart", "-quiet", "-seed", "demo", "-journal", j, "-out", results).CombinedOutput()
	require.NoError(t, err, "%s", b)
	text, err := os.ReadFile(filepath.Join(results, "blocks.jsonl"))
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		r, _, err := logging.ParseJSON([]byte(line))
		require.NoError(t, err)
		if r.Kind != logging.BlockAllocated {
			continue
		}
		if n++; n%40 != 0 {
			continue
		}
		code, out, errs := natlog(t, "who", "-journal", j, "-at", r.Time.String(), netip.AddrPortFrom(r.External, r.First+7).String())
		require.Zero(t, code, errs)
		require.Contains(t, out, ": "+r.Subscriber.String()+"\n")
	}
	require.Greater(t, n, 100)
	code, out, errs := natlog(t, "who", "-journal", j, "-at", "2026-01-01T00:05:00Z", "203.0.113.1:37700")
	require.Zero(t, code, errs)
	require.Contains(t, out, ": 100.64.0.37\n", "the README says so")
	code, out, errs = natlog(t, "verify", "-journal", j)
	require.Zero(t, code, out+errs)
	_, exported, _ := natlog(t, "export", "-journal", j)
	require.Equal(t, string(text), exported, "the journal gives back the records as the file has them")
}
