package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// detnat runs a command line, words apart by spaces.
func detnat(t testing.TB, line string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(strings.Fields(line), &out, &errs)
	return code, out.String(), errs.String()
}

// want runs a command line and compares exit code and the beginning of the output.
func want(t testing.TB, line string, code int, begin string) string {
	t.Helper()
	got, out, errs := detnat(t, line)
	if got != code || !strings.HasPrefix(out, begin) {
		t.Fatalf("detnat %s\n exit %d, want %d\n got  %q\n want %q\n errors %s", line, got, code, out, begin, errs)
	}
	return out
}

// answer runs a command line with -json and decodes what it says.
func answer(t testing.TB, line string, code int) map[string]any {
	t.Helper()
	got, out, errs := detnat(t, line+" -json")
	if got != code || errs != "" {
		t.Fatalf("detnat %s: exit %d, want %d: %s %s", line, got, code, out, errs)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("detnat %s: %v in %s", line, err, out)
	}
	return v
}

// contains checks that a text has all parts.
func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

// equal compares by text.
func equal(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
}

// file writes a file for a test and returns its path.
func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flat joins the lines of an answer.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }
