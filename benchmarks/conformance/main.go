package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/blocknat/blocknat/natcore/nattest"
	"github.com/blocknat/blocknat/natcore/nattest/blocknat"
)

func main() {
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	out := fs.String("o", "-", "`file` that the table is written to; - is standard output")
	switch err := fs.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil || fs.NArg() > 0:
		fmt.Fprintln(os.Stderr, "conformance: the only flag is -o FILE")
		os.Exit(2)
	}
	stdout := os.Stdout
	inTest(func(t *testing.T) {
		var b bytes.Buffer
		table(&b, results(t))
		var err error
		if *out == "-" {
			_, err = stdout.Write(b.Bytes())
		} else {
			err = os.WriteFile(*out, b.Bytes(), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			t.Fail()
		}
	})
}

// inTest runs f as a test and ends the program: only a test can make a bubble of synctest.
func inTest(f func(*testing.T)) {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stdout = null // for package testing, which says PASS; the exit code tells the rest
	}
	os.Args = os.Args[:1]
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Conformance", F: f}}, nil, nil)
}

// stand is how one NAT stands to all rows.
type stand struct {
	name, note string
	results    []nattest.Result
}

// results puts every NAT under the suite.
func results(t *testing.T) []stand {
	return []stand{
		{"blocknat", "natcore, with blocks of 16 ports", nattest.Check(blocknat.Subject())},
		{"gVisor", "gVisor's netstack (gvisor.dev/gvisor, 2025-05-03): forwarding between two interfaces, an SNAT rule on the external one", nattest.Check(gvisorSubject)},
		{"pion", "pion's vnet (transport v3.1.1), a NAT for tests: UDP only", inBubble(t, pionSubject)},
	}
}

// inBubble puts a NAT under the suite in a bubble of synctest.
func inBubble(t *testing.T, s nattest.Subject) (results []nattest.Result) {
	synctest.Test(t, func(*testing.T) { results = nattest.Check(s) })
	return results
}

// signs are the outcomes in the table.
var signs = map[nattest.Outcome]string{
	nattest.Passed: "yes", nattest.Failed: "**no**", nattest.Deviates: "deviates", nattest.NotOffered: "-",
}

// table writes sums, rows and faults as Markdown.
func table(w io.Writer, stands []stand) {
	fmt.Fprintf(w, "# Conformance of NATs in Go\n\nWritten by `go run ./benchmarks/conformance`. The rows are those of `natcore/nattest`: what shows of a NAT from outside. "+
		"\"-\": the NAT does\nnot offer what the row is about, by its nature or its configuration. \"deviates\": not met on purpose. Both other NATs are made for other ends than\nserving subscribers: pion's for tests of peer-to-peer programs, gVisor's for containers.\n\n| NAT | what it is |\n|---|---|\n")
	for _, s := range stands {
		fmt.Fprintf(w, "| %s | %s |\n", s.name, s.note)
	}
	fmt.Fprint(w, "\n| rows |")
	for _, s := range stands {
		fmt.Fprintf(w, " %s |", s.name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(stands)))
	for _, l := range []nattest.Level{nattest.Must, nattest.Should, nattest.May} {
		all := 0
		for _, r := range nattest.Rows() {
			if r.Level == l {
				all++
			}
		}
		fmt.Fprintf(w, "| %v: met / failed / not offered, of %d |", l, all)
		for _, s := range stands {
			n := map[nattest.Outcome]int{}
			for _, r := range s.results {
				if r.Level == l {
					n[r.Outcome]++
				}
			}
			fmt.Fprintf(w, " %d / %d / %d |", n[nattest.Passed], n[nattest.Failed]+n[nattest.Deviates], n[nattest.NotOffered])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\n| id | level | what a NAT does |")
	for _, s := range stands {
		fmt.Fprintf(w, " %s |", s.name)
	}
	fmt.Fprintf(w, "\n|---|---|---|%s\n", strings.Repeat("---|", len(stands)))
	for i, r := range nattest.Rows() {
		fmt.Fprintf(w, "| %s | %v | %s (%s) |", r.ID, r.Level, r.Title, r.Source)
		for _, s := range stands {
			fmt.Fprintf(w, " %s |", signs[s.results[i].Outcome])
		}
		fmt.Fprintln(w)
	}
	for _, s := range stands {
		fmt.Fprintf(w, "\n## %s: rows that are not met\n\n", s.name)
		for _, r := range s.results {
			if r.Outcome == nattest.Failed || r.Outcome == nattest.Deviates {
				detail := strings.ReplaceAll(strings.ReplaceAll(r.Detail, "\n", " "), "\t", " ")
				if len(detail) > 200 {
					detail = detail[:200] + "..."
				}
				fmt.Fprintf(w, "- %s (%v), %v: %s\n", r.ID, r.Level, r.Outcome, detail)
			}
		}
	}
}
