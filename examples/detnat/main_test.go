package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, string(text))
}

// The JSON of every command, byte for byte.
func TestJSON(t *testing.T) {
	const at = " -history sample-history.jsonl -at 2025-02-01T13:00:00+01:00 -json"
	for _, c := range []struct {
		name, line string
		code       int
	}{
		{"forward", "forward 198.51.100.2 -block 100 -config sample.conf -json", exitFound},
		{"forward-rule", "forward 2001:db8:12:3400::1 -config testdata/rfc7597.conf -json", exitFound},
		{"forward-nobody", "forward 10.9.9.9" + at, exitNobody},
		{"reverse", "reverse 192.0.2.1:2001" + at, exitFound},
		{"reverse-dynamic", "reverse 192.0.2.1:58204 -config sample.conf -json", exitNobody},
		{"table", "table -map rfc7422" + at, exitFound},
		{"check", "check -config sample.conf -old sample-before.conf -changes 2 -json", exitNobody},
		{"record", "record -config sample.conf -at 2025-03-01T00:02:00Z -json", exitFound},
		{"show", "show -config sample.conf -json", exitFound},
		{"bad-input", "check -config testdata/bad.conf -json", exitBadData},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.name+".json", want(t, c.line, c.code, ""))
		})
	}
}

// The text of the commands with longer answers.
func TestText(t *testing.T) {
	for _, c := range []struct {
		name, line string
		code       int
	}{
		{"help", "help", exitFound},
		{"check-help", "check -h", exitFound},
		{"check", "check -config sample.conf -old sample-before.conf -changes 2", exitNobody},
		{"forward", "forward 2001:db8:12:3400::1 -config testdata/rfc7597.conf", exitFound},
		{"reverse", "reverse 192.0.2.1:2001 -history sample-history.jsonl --at 2025-02-01T13:00:00+01:00", exitFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.name+".txt", want(t, c.line, c.code, ""))
		})
	}
}

// A reader that goes away is no success.
func TestWriteFails(t *testing.T) {
	var errs strings.Builder
	if code := run(strings.Fields("table -config sample.conf"), broken{}, &errs); code != exitBadData {
		t.Errorf("exit %d", code)
	}
	contains(t, errs.String(), "cannot be written: broken")
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// A real run, exit codes included.
func TestGoRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	out, err := exec.Command("go", "run", ".", "reverse", "192.0.2.1:2001", "--at", "2025-02-01T12:00:00Z", "-history", "sample-history.jsonl").CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	contains(t, string(out), "192.0.2.1:2001 -> 198.51.100.1\n")
	out, err = exec.Command("go", "run", ".", "reverse", "192.0.2.1:80", "-config", "sample.conf").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "exit status 1") {
		t.Fatal(err, string(out))
	}
}
