// Ipfwnat runs the NAT of FreeBSD bug 219316 on natcore: an ipfw script with two flow tables
// and masks says which external address a client has and which remote endpoints make a class;
// each class of an address is a port space of its own, so one external port serves several
// clients at once. The program plays 10,000 clients against it in simulated time, draws the
// scheme with a flow of the run, prints a report, and proves the result with code that shares
// nothing with the engine.
//
//	go run ./examples/ipfwnat                the script of the bug report (bug219316.ipfw)
//	go run ./examples/ipfwnat FILE           any script with such tables
//	go run ./examples/ipfwnat -expand FILE   writes the script with all instances
//	go run ./examples/ipfwnat -h             all flags
//
// The script becomes a natcore.PoolConfig: the src-ip bits of the mask are Select, its dst-ip
// and dst-port bits are Remotes, and the addresses of the nat instances are Addresses, in the
// order of the groups of clients. TCP and UDP are port spaces of their own anyway.
//
// The exit code is 0 when all is proven, 1 when the proof found a violation and 2 after
// wrong use, a faulty script among it.
package main

import (
	"errors"
	"fmt"
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
	s, err := loadScheme(o)
	if err != nil {
		return complain(errs, err)
	}
	if o.expand != "" {
		if err := os.WriteFile(o.expand, []byte(s.text), 0o644); err != nil {
			return complain(errs, err)
		}
		fmt.Fprintf(out, "%s: %s nat instances, tables %s and %s with an entry for each\n", o.expand, count(len(s.nats)), o.outTable, o.inTable)
		return exitProven
	}
	r, err := simulate(o, s, cli.NewProgress(errs, o.quiet))
	if err != nil {
		return complain(errs, err)
	}
	if o.quiet {
		r.writeVerdict(out)
	} else {
		r.write(out)
	}
	if r.violations() > 0 {
		return exitViolated
	}
	return exitProven
}

// complain prints all faults.
func complain(w io.Writer, err error) int {
	cli.Complain(w, "ipfwnat", err)
	return exitUsage
}
