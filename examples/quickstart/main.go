// Quickstart plays a capture through natcore as a carrier-grade NAT, writes the
// translated packets and the block records, prints a report, and proves the
// result with code that shares nothing with the engine.
//
//	go run ./examples/quickstart            the project's capture
//	go run ./examples/quickstart FILE       any pcap or pcapng file
//	go run ./examples/quickstart -h         all flags
//
// It makes three files: translated.pcap, every packet as it left the NAT (raw
// IP; what goes out has an external source, what comes in its subscriber as
// destination); blocks.jsonl, a record for each block that was allocated or
// released; report.txt, what was printed.
//
// The exit code is 0 when all is proven, 1 when the proof found a violation and
// 2 after wrong use.
package main

import (
	"errors"
	"io"
	"os"

	"github.com/blocknat/blocknat/examples/internal/cli"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitProven   = 0
	exitViolated = 1
	exitUsage    = 2
)

// run is the program. Progress goes to errs only if that is a terminal.
func run(args []string, out io.Writer, errs *os.File) int {
	o, err := parseFlags(args, out)
	if errors.Is(err, cli.ErrHelp) {
		return exitProven
	}
	if err != nil {
		return complain(errs, err)
	}
	s, err := quickstart(o, cli.NewProgress(errs, o.quiet))
	if err != nil {
		return complain(errs, err)
	}
	if o.quiet {
		s.writeVerdict(out)
	} else {
		s.write(out)
	}
	return s.exitCode()
}

// complain prints all faults.
func complain(w io.Writer, err error) int {
	cli.Complain(w, "quickstart", err)
	return exitUsage
}
