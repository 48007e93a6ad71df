// Command volume reproduces by simulation the comparison that RFC 7768 begins
// with: the logs of 20,000 subscribers over 60 days, per session and per port
// block, in every encoding of package logging, and what each block size costs in external addresses.
//
//	go run ./benchmarks/volume            # in the repository: minutes on two cores; updates docs/logging-volume.md
//	go run ./benchmarks/volume -quick     # seconds: does everything work? Writes nothing
//	go run ./benchmarks/volume -connections 120000 -out -
//
// Every connection of whole days of all subscribers is played through the real
// allocators: portblock.Holding for each subscriber and block size, then
// alloc.Pool and portblock.Address for the moves of blocks. Records are counted,
// and a sample of them is encoded by the real encoders. Counts and sizes are multiplied, and
// the days that were simulated stand for all.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
)

func main() {
	if err := command(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "volume:", err)
		os.Exit(1)
	}
}

// sizes are the block sizes of the report.
var sizes = []int{64, 128, 256, 512, 1024, 2048, 4096}

// sampled is about how many connections have their records encoded.
const sampled = 5000

func command(args []string, out, progress io.Writer) error {
	m := defaults()
	flags := flag.NewFlagSet("volume", flag.ContinueOnError)
	flags.SetOutput(progress)
	quick := flags.Bool("quick", false, "a hundredth of the subscribers for one day, written nowhere: a test of the command")
	seed := flags.Uint64("seed", 1, "seed of the traffic; the same seed gives the same report on any number of cores")
	flags.IntVar(&m.Subscribers, "subscribers", m.Subscribers, "number of subscribers, 1 to 1,000,000")
	flags.IntVar(&m.Days, "days", m.Days, "days that records are kept")
	flags.Float64Var(&m.Connections, "connections", m.Connections, "mean connections a subscriber and day")
	simulated := flags.Int("simulate", 1, "whole days that are simulated and stand for all")
	dir := flags.String("out", "", "root of the repository whose docs and benchmarks/results are updated (default: the one around the working directory; \"-\" for none)")
	render := flags.Bool("render", false, "simulate nothing: write the page and the charts anew from benchmarks/results/logging-volume.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		m.Subscribers, *dir = max(1, m.Subscribers/100), "-"
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; -h lists the flags", flags.Arg(0))
	case m.Subscribers < 1 || m.Subscribers > 1_000_000:
		return fmt.Errorf("-subscribers %d: want 1 to 1,000,000", m.Subscribers)
	case m.Days < 1 || *simulated < 1:
		return fmt.Errorf("-days %d -simulate %d: want at least 1", m.Days, *simulated)
	case !(m.Connections >= 1 && m.Connections <= 1e7):
		return fmt.Errorf("-connections %v: want 1 to 10,000,000", m.Connections)
	}
	root := *dir
	if root == "" {
		var err error
		if root, err = page.Root(); err != nil {
			return err
		}
	}
	if *render {
		rep, err := load(filepath.Join(root, resultFile))
		if err != nil {
			return err
		}
		return rep.publish(root)
	}
	r, err := newRun(m, *seed, sizes, *simulated)
	if err != nil {
		return err
	}
	start := time.Now()
	t, err := r.simulate(func(done int) {
		if step := max(1, m.Subscribers/20); done%step == 0 {
			fmt.Fprintf(progress, "%d of %d subscribers after %v\n", done, m.Subscribers, time.Since(start).Round(time.Second))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "encoding, and looking for the fewest addresses")
	rep, err := r.report(t, *quick)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "took %v\n", time.Since(start).Round(time.Second))
	fmt.Fprint(out, rep.markdown())
	if root == "-" {
		return nil
	}
	if err := rep.save(filepath.Join(root, resultFile)); err != nil {
		return err
	}
	return rep.publish(root)
}

// The files that the command writes, below the root of the repository.
const (
	resultFile    = "benchmarks/results/logging-volume.json"
	pageFile      = "docs/logging-volume.md"
	volumeChart   = "docs/logging-volume.svg"
	addressChart  = "docs/logging-addresses.svg"
	tablePart     = "figures"
	parameterPart = "parameters"
)

// publish writes the charts and the command's parts of the page.
func (r *Report) publish(root string) error {
	for file, content := range map[string]string{volumeChart: r.chartVolume(), addressChart: r.chartAddresses()} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(root, pageFile)
	if err := page.Update(path, parameterPart, r.parameters()); err != nil {
		return err
	}
	return page.Update(path, tablePart, r.markdown())
}
