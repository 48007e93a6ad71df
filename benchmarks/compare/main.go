// Command compare measures blocknat's engine and other NATs in one process,
// interleaved, and writes a table with ratios, charts, and docs/performance.md.
//
//	go run ./benchmarks/compare -out benchmarks/results   # in the repository, on a machine without other work; some minutes
//	go run ./benchmarks/compare -short -out -             # seconds: shows that everything works, measures nothing
//	go run ./benchmarks/compare -kernel                   # as root: the kernel's masquerade beside them, in namespaces
//
// Every peer gets its turn in every round, in an order that rotates, so that a slow spell of
// the machine meets all of them. A figure is the median of the rounds; the files have the least and the greatest beside it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
	"github.com/blocknat/blocknat/benchmarks/peer"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr, time.Now()); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// run is main without the process: it parses the arguments, measures, and writes the report to out and to files.
func run(args []string, out, progress io.Writer, now time.Time) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(progress)
	short := flags.Bool("short", false, "tiny sizes and one round: a test of the command, not a measurement; the page is left alone unless -docs names it")
	rounds := flags.Int("rounds", 5, "rounds; each peer has its turn in each")
	peers := flags.String("peers", "", "comma-separated names of peers (default: all)")
	dir := flags.String("out", "", "directory for the results (default: benchmarks/results of the repository around the working directory; \"-\" writes nothing)")
	docs := flags.String("docs", "", "directory of the page and its charts (default: docs of that repository; \"-\" leaves them alone)")
	machine := flags.String("machine", "", "name of the machine in file names (default: from its processor)")
	seed := flags.Uint64("seed", 20260501, "seed of the workloads")
	kernel := flags.Bool("kernel", false, "measure the kernel's nftables masquerade too, in network namespaces: Linux, as root")
	within := flags.Duration("within", 8*time.Minute, "about how long the run may take: when it gets late, large parts are repeated less, and the largest left out")
	render := flags.Bool("render", false, "measure nothing: write the page and its charts anew from the results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; -h lists the flags", flags.Arg(0))
	case *rounds < 1:
		return fmt.Errorf("-rounds %d: want at least 1", *rounds)
	}
	kinds, err := choose(*peers)
	if err != nil {
		return err
	}
	if err := places(dir, docs, *short); err != nil {
		return err
	}
	if *render {
		r, err := load(filepath.Join(*dir, resultFile))
		if err != nil {
			return err
		}
		return r.publish(*docs)
	}
	p := full
	if *short {
		p, *rounds = tiny, 1
	}
	r := newReport(kinds)
	r.Rounds, r.Date, r.Seed, r.Short = *rounds, now.UTC().Format(time.DateOnly), *seed, *short
	s := &suite{plan: p, kinds: kinds, rounds: *rounds, seed: *seed, kernel: *kernel, progress: progress,
		began: now, within: *within, took: map[string]time.Duration{}, report: r}
	if err := s.run(); err != nil {
		return err
	}
	r.Took = time.Since(now).Round(time.Second).String()
	r.text(out)
	if *dir == "-" {
		return nil
	}
	if *machine == "" {
		*machine = r.Machine.slug()
	}
	if err := r.write(*dir, r.Date+"-"+*machine); err != nil || *docs == "-" {
		return err
	}
	return r.publish(*docs)
}

// places fills in the directories that were not given. A short run, or one that writes no results, does not touch the page.
func places(dir, docs *string, short bool) error {
	if *docs == "" && (short || *dir == "-") {
		*docs = "-"
	}
	if *dir != "" && *docs != "" {
		return nil
	}
	root, err := page.Root()
	if err != nil {
		return err
	}
	if *dir == "" {
		*dir = filepath.Join(root, "benchmarks", "results")
	}
	if *docs == "" {
		*docs = filepath.Join(root, "docs")
	}
	return nil
}

// choose returns the peers of a comma-separated list of names.
func choose(names string) ([]peer.Kind, error) {
	if names == "" {
		return peer.Kinds(), nil
	}
	var kinds []peer.Kind
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, k := range peer.Kinds() {
			if k.Name == name {
				kinds, found = append(kinds, k), true
			}
		}
		if !found {
			var known []string
			for _, k := range peer.Kinds() {
				known = append(known, k.Name)
			}
			return nil, fmt.Errorf("-peers: no peer %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return kinds, nil
}
