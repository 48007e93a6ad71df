// Command compare measures blocknat's engine and other NATs in one process,
// interleaved, and writes a table and a plot.
//
//	go run ./compare            # in the module benchmarks; about two minutes
//	go run ./compare -short     # seconds: shows that everything works, measures nothing
//
// Every peer gets its turn in every round, in an order that rotates, so that a slow spell of
// the machine meets all of them. A figure is the median of the rounds, with the least and the greatest beside it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr, time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// run is main without the process: it parses the arguments, measures, and writes the report to out and to files.
func run(args []string, out, progress io.Writer, now time.Time) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(progress)
	short := flags.Bool("short", false, "tiny sizes and one round: a test of the command, not a measurement")
	rounds := flags.Int("rounds", 5, "rounds; each peer has its turn in each")
	peers := flags.String("peers", "", "comma-separated names of peers (default: all)")
	dir := flags.String("o", resultsDir(), "directory for the files; \"-\" writes none")
	machine := flags.String("machine", "", "name of the machine in file names (default: from its processor)")
	seed := flags.Uint64("seed", 20260501, "seed of the workloads")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || flags.NArg() > 0 {
		return fmt.Errorf("want at least one round and no arguments")
	}
	kinds, err := choose(*peers)
	if err != nil {
		return err
	}
	p := full
	if *short {
		p, *rounds = tiny, 1
	}
	r := &report{kinds: kinds, rounds: *rounds, machine: describeMachine(), date: now.UTC().Format(time.DateOnly), short: *short}
	s := &suite{plan: p, kinds: kinds, rounds: *rounds, seed: *seed, progress: progress, report: r}
	if err := s.run(); err != nil {
		return err
	}
	r.took = time.Since(now).Round(time.Second)
	r.text(out)
	if *dir == "-" {
		return nil
	}
	if *machine == "" {
		*machine = r.machine.slug()
	}
	return r.write(filepath.Join(*dir, r.date+"-"+*machine))
}

// resultsDir is the module's directory of results, seen from the module or from the root of the repository.
func resultsDir() string {
	if s, err := os.Stat("benchmarks"); err == nil && s.IsDir() {
		return filepath.Join("benchmarks", "results")
	}
	return "results"
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
			return nil, fmt.Errorf("no peer %q", name)
		}
	}
	return kinds, nil
}
