// Journal builds a journal of many intervals from a seed and measures it: how
// fast records are appended, how many bytes an interval takes, how long a query
// takes, and how long it takes to verify them all.
//
//	go run ./benchmarks/journal                       10 million intervals
//	go run ./benchmarks/journal -records 100000000    100 million; 1.5 GB on the disk for a while
//
// An interval is the allocation and the release of one block, two records. Bytes
// are those of all segments with their indexes and filters. Each phase is a process of its
// own, so that its peak of memory is its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// setting is what the flags say.
type setting struct {
	records   int
	addresses int
	days      int
	seed      uint64
	queries   int
	dir       string
	phase     string
	keep      bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "journal:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	var s setting
	set := flag.NewFlagSet("journal", flag.ContinueOnError)
	set.IntVar(&s.records, "records", 10_000_000, "`N` intervals, each the allocation and the release of a block")
	set.IntVar(&s.addresses, "addresses", 0, "external addresses `N`, each with 252 blocks of 256 ports (default: so many that a block changes hands 97 times)")
	set.IntVar(&s.days, "days", 60, "the time that the records cover, in `DAYS`")
	set.Uint64Var(&s.seed, "seed", 1, "`SEED` of all random choices")
	set.IntVar(&s.queries, "queries", 20_000, "`N` queries for a random port at a random time")
	set.StringVar(&s.dir, "dir", "", "keep the journal in `DIR` and do not delete it (default: a temporary directory)")
	set.StringVar(&s.phase, "phase", "all", "`PHASE`: all, build, query or verify")
	if err := set.Parse(args); err != nil {
		return err
	}
	if s.records < 1 || s.days < 1 || s.queries < 1 {
		return errors.New("-records, -days and -queries must be 1 or more")
	}
	if s.addresses == 0 {
		s.addresses = max(1, s.records/(252*97))
	}
	if s.addresses > 1<<16 {
		return errors.New("-addresses must be at most 65536")
	}
	if s.dir != "" {
		s.keep = true
	} else {
		dir, err := os.MkdirTemp("", "journal")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	phases := map[string]func(*setting, io.Writer) error{"build": build, "query": query, "verify": verify}
	if f := phases[s.phase]; f != nil {
		err := f(&s, out)
		fmt.Fprintf(out, "  peak of memory   %s\n", peak())
		return err
	}
	if s.phase != "all" {
		return fmt.Errorf("-phase %q is unknown; choose all, build, query or verify", s.phase)
	}
	fmt.Fprintf(out, "%d intervals of %d external addresses over %d days, seed %d\n", s.records, s.addresses, s.days, s.seed)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, phase := range []string{"build", "query", "verify"} {
		fmt.Fprintf(out, "\n%s\n", phase)
		c := exec.Command(self, "-phase", phase, "-dir", s.dir, "-records", fmt.Sprint(s.records), "-addresses", fmt.Sprint(s.addresses),
			"-days", fmt.Sprint(s.days), "-seed", fmt.Sprint(s.seed), "-queries", fmt.Sprint(s.queries))
		c.Stdout, c.Stderr = out, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("phase %s: %w", phase, err)
		}
	}
	return nil
}

// peak is the most memory that the process had in RAM, where the system tells.
func peak() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown on this system"
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kb int
			fmt.Sscan(rest, &kb)
			return fmt.Sprintf("%d MiB", kb>>10)
		}
	}
	return "unknown on this system"
}
