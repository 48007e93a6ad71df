// Natlog asks the journals of a NAT: who used an external address and port at an
// instant, what a subscriber held, how much there is; it exports, follows and
// verifies.
//
//	go run ./examples/quickstart -journal J       fills a journal
//	go run ./examples/natlog who -journal J -at 2026-11-21T10:05:00Z 203.0.113.1:20481
//	go run ./examples/natlog -h                   all commands
//
// Several journals, as of several hosts, are asked together: -journal may be
// given more than once. Natlog only reads, also while a NAT writes.
//
// Exit codes: 0 an answer or nothing wrong; 1 nobody, nothing, or a conflict; 2
// wrong use or a journal that cannot be read. Damage in a journal is told on standard
// error, and verify ends with 1 for it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/logging/formula"
	"github.com/blocknat/blocknat/logging/journal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitFound   = 0
	exitNothing = 1
	exitUsage   = 2
)

// A command is one of the program's.
type command struct {
	name, argument, about string
	run                   func(ctx context.Context, o *options, r *journal.Reader, out io.Writer) (int, error)
}

var commands = []command{
	{"who", "ADDR:PORT", "who held an external port at a time", who},
	{"subscriber", "ADDR", "all that a subscriber held", subscriber},
	{"stats", "", "how much the journals hold", stats},
	{"export", "", "all records, or all intervals, as JSON lines or CSV", export},
	{"tail", "", "the last records, and those to come", tail},
	{"verify", "", "check that no two intervals of one port meet or come too close", verify},
}

const usageHead = `natlog asks the journals of a NAT.

usage: natlog COMMAND -journal DIR [flags] [ARGUMENT]

`

const usageTail = `
natlog COMMAND -h lists the flags of a command. A journal to try it on:

  go run ./examples/quickstart -journal J

exit code: 0 an answer or nothing wrong, 1 nobody, nothing or a conflict, 2 wrong use
`

// run is the program.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(out, usageHead)
		for _, c := range commands {
			fmt.Fprintf(out, "  %-22s%s\n", c.name+" "+c.argument, c.about)
		}
		fmt.Fprint(out, usageTail)
		if len(args) == 0 {
			return exitUsage
		}
		return exitFound
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.execute(ctx, args[1:], out, errs)
		}
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	cli.Complain(errs, "natlog", fmt.Errorf("%q is no command; the commands are %s, and natlog -h explains them", args[0], strings.Join(names, ", ")))
	return exitUsage
}

func (c command) execute(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parseOptions(c, args, out)
	if errors.Is(err, cli.ErrHelp) {
		return exitFound
	}
	if err != nil {
		cli.Complain(errs, "natlog", err)
		return exitUsage
	}
	r, err := journal.OpenReader(o.journals...)
	if err != nil {
		cli.Complain(errs, "natlog", fmt.Errorf("%w; -journal DIR names the directory that a journal was written to", err))
		return exitUsage
	}
	defer r.Close()
	r.Resolve(formula.Resolver())
	code, err := c.run(ctx, o, r, out)
	for _, d := range r.Damage() {
		cli.Complain(errs, "natlog", d)
	}
	if err != nil {
		cli.Complain(errs, "natlog", err)
		return exitUsage
	}
	if c.name == "verify" && len(r.Damage()) > 0 {
		return exitNothing
	}
	return code
}
