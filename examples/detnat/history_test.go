package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// The archive answers for the first and the last instant of each epoch, whatever the
// zone of the question: 4608 ports each in epoch 1, 4032 in epoch 2.
func TestHistory_reverse_takes_a_time(t *testing.T) {
	for _, c := range []struct{ at, wanted string }{
		{"2024-12-31T23:59:59.999Z", "nobody: no-epoch"},
		{"2025-01-01T00:00:00Z", "198.51.100.1"},
		{"2025-02-28T23:59:59.999999999Z", "198.51.100.1"},
		{"2025-03-01T00:59:59+01:00", "198.51.100.1"},
		{"2025-03-01T00:00:00Z", "nobody: not-in-pool"},
		{"2025-02-28T19:01:59-05:00", "nobody: not-in-pool"},
		{"2025-03-01T00:02:00Z", "198.51.100.2"},
		{"2099-01-01T00:00:00Z", "198.51.100.2"},
	} {
		code := exitFound
		if strings.HasPrefix(c.wanted, "nobody") {
			code = exitNobody
		}
		want(t, "reverse 192.0.2.1:5100 -history sample-history.jsonl --at "+c.at, code, "192.0.2.1:5100 -> "+c.wanted+"\n")
	}
	want(t, "forward 198.51.100.2 -at 2025-02-01T00:00:00Z -history sample-history.jsonl", exitFound, "198.51.100.2 -> 192.0.2.1:5632-10239\n")
	want(t, "forward 198.51.100.2 -history sample-history.jsonl", exitFound, "198.51.100.2 -> 192.0.2.1:5056-9087\n")
}

// The text names the zone, and repeats the question where it was asked in another.
func TestHistory_names_the_zone(t *testing.T) {
	out := want(t, "reverse 192.0.2.1:2001 -history sample-history.jsonl -at 2025-02-01T13:00:00+01:00", exitFound, "")
	contains(t, out, "at          2025-02-01T12:00:00Z (asked as 2025-02-01T13:00:00+01:00)", "in force from 2025-01-01T00:00:00Z until 2025-03-01T00:00:00Z")
	out = want(t, "reverse 192.0.2.1:2001 -history sample-history.jsonl", exitFound, "")
	contains(t, out, "Z (now)")
}

// Every port of the sample's first map, at times in every epoch, as the library says.
func TestHistory_agrees_with_the_configurations(t *testing.T) {
	text, err := os.ReadFile("sample-history.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	h, err := deterministic.ParseHistory(text)
	if err != nil {
		t.Fatal(err)
	}
	for config, at := range map[string]time.Time{
		"sample-before.conf": time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC),
		"sample.conf":        time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	} {
		bk, err := loadConfig("-config", config)
		if err != nil {
			t.Fatal(err)
		}
		for port := range 65536 {
			external := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port))
			a, errA := h.Reverse(0, external.Addr(), external.Port(), at)
			f := bk.reverse(0, external)
			if a.Subscriber != f.subscriber || errA != f.err {
				t.Fatalf("%s: %v: the archive says %v %v, the configuration %v %v", config, external, a.Subscriber, errA, f.subscriber, f.err)
			}
		}
	}
}

// The shipped archive is what record makes of the shipped configurations.
func TestRecord_makes_the_sample(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive.jsonl")
	out := want(t, "record -config sample-before.conf -history "+path+" -at 2025-01-01T00:00:00Z", exitFound, "[Wed Jan  1 00:00:00 2025]:198.51.100.0:28:192.0.2.1:32:0:0:0:0-1023\n")
	contains(t, out, `# epoch 1 of map "rfc7422" begins at 2025-01-01T00:00:00Z`)
	const second = "record -config sample.conf -at 2025-03-01T01:00:00+01:00 -gap 2m -history "
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dry := want(t, second+path+" -n", exitFound, "")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("-n changes the archive")
	}
	out = want(t, second+path, exitFound, "[Sat Mar  1 00:02:00 2025]:198.51.100.0:28:192.0.2.1:32:2:5040:0:0-1023\n")
	equal(t, out, dry)
	contains(t, out, `# epoch 1 of map "rfc7422" ends at 2025-03-01T00:00:00Z`, `# epoch 2 of map "rfc7422" begins at 2025-03-01T00:02:00Z`, `# epoch 1 of map "map-e" begins`)
	if strings.Contains(out, `map "vpp"`) {
		t.Error("a map that stays has no new epoch")
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile("sample-history.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, string(got), string(sample))
	equal(t, want(t, second+path, exitFound, ""), "# "+path+" is up to date\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive may hold keys: mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".new-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// The lines of -json are lines of an archive.
	lines := want(t, "record -json -config sample.conf -at 2025-03-01T00:02:00Z", exitFound, "")
	h, err := deterministic.ParseHistory([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := h.Reverse(0, netip.MustParseAddr("192.0.2.1"), 2001, time.Date(2025, 3, 1, 0, 2, 0, 0, time.UTC)); err != nil || a.Subscriber.String() != "198.51.100.1/32" {
		t.Error(a, err)
	}
}

// Maps that exchange their addresses, and maps that go away.
func TestRecord_exchange_and_end(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive.jsonl")
	config := func(a, b string) string {
		return file(t, "c.conf", fmt.Sprintf("map a { internal 10.0.0.0/24; external %s; }\nmap b { internal 10.0.1.0/24; external %s; }", a, b))
	}
	record := func(config, at string, flags ...string) {
		t.Helper()
		want(t, "record -config "+config+" -history "+path+" -at "+at+" "+strings.Join(flags, " "), exitFound, "")
	}
	record(config("192.0.2.1", "192.0.2.2"), "2025-01-01T00:00:00Z")
	record(config("192.0.2.2", "192.0.2.1"), "2025-01-02T00:00:00Z")
	for at, wanted := range map[string]string{"2025-01-01T12:00:00Z": "10.0.0.1", "2025-01-02T00:00:00Z": "10.0.1.1"} {
		want(t, "reverse 192.0.2.1:1024 -history "+path+" -at "+at, exitFound, "192.0.2.1:1024 -> "+wanted+"\n")
	}
	one := file(t, "one.conf", "map a { internal 10.0.0.0/24; external 192.0.2.9; }")
	record(one, "2025-01-03T00:00:00Z", "-map a") // b goes on
	want(t, "reverse 192.0.2.1:1024 -history "+path+" -at 2025-01-03T00:00:00Z", exitFound, "192.0.2.1:1024 -> 10.0.1.1\n")
	record(one, "2025-01-04T00:00:00Z") // b ends
	want(t, "reverse 192.0.2.1:1024 -history "+path+" -at 2025-01-04T00:00:00Z", exitNobody, "192.0.2.1:1024 -> nobody: not-in-pool\n")
	want(t, "reverse 192.0.2.9:1024 -history "+path+" -at 2025-01-04T00:00:00Z", exitFound, "192.0.2.9:1024 -> 10.0.0.1\n")
}

// Archives that the library reads and that would answer wrong.
func TestHistory_refuses_incomplete_epochs(t *testing.T) {
	const a, b = `"map":{"name":"a","internal":["10.0.0.0/24"],"external":["192.0.2.1"]}}`, `"map":{"name":"b","internal":["10.0.1.0/24"],"external":["192.0.2.2"]}}`
	for text, wanted := range map[string]string{
		`{"epoch":1,` + a:                     `epoch 1 of map "a" has no beginning; correct its line`,
		`{"from":"2025-01-01T00:00:00Z",` + a: `epoch 0 of map "a" has no number`,
		`{"epoch":1,"from":"2025-01-01T00:00:00Z","until":"2025-02-01T00:00:00Z",` + a + "\n" + `{"epoch":1,"from":"2025-02-01T00:00:00Z",` + a: `epoch 1 of map "a" is there twice`,
		`{"epoch":1,"from":"2025-01-01T00:00:00Z",` + a + "\n" + `{"epoch":1,"from":"2025-02-01T00:00:00Z",` + b:                                "",
	} {
		code, _, errs := detnat(t, "reverse 192.0.2.1:2000 -at 2025-03-01T00:00:00Z -history "+file(t, "h.jsonl", text))
		if (code == exitBadData) != (wanted != "") {
			t.Errorf("exit %d: %s", code, errs)
		}
		contains(t, errs, wanted)
	}
}

func TestTable_of_an_archive(t *testing.T) {
	contains(t, want(t, "table -map rfc7422 -history sample-history.jsonl -at 2025-02-01T00:00:00Z", exitFound, ""), "epoch       1, in force from", "198.51.100.14              4608  192.0.2.1:60928-65535")
	for _, command := range []string{"table", "show"} {
		contains(t, want(t, command+" -history sample-history.jsonl -at 2020-01-01T00:00:00Z", exitNobody, ""), "no epoch of sample-history.jsonl was in force at 2020-01-01T00:00:00Z")
		if a := answer(t, command+" -history sample-history.jsonl -at 2020-01-01T00:00:00Z", exitNobody); a["result"] != "no-epoch" {
			t.Error(a)
		}
	}
	contains(t, want(t, "table -map map-e -config sample.conf", exitFound, ""), "reserved    0-1023\n")
	contains(t, want(t, "show -history sample-history.jsonl -map rfc7422 -at 2025-02-01T00:00:00Z", exitFound, "# epoch 1, in force from"), "ports-per-subscriber 4608;")
}
