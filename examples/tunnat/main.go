//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/blocknat/blocknat/examples/internal/cli"
)

// Exit codes, the same for every command.
const (
	exitOK     = 0 // all went well; for demo: every check passed
	exitFailed = 1 // a check or an operation failed, or a signal ended the demo
	exitUsage  = 2 // the command line is wrong or a permission is missing
)

const usageText = `tunnat is a carrier-grade NAT in user space behind a TUN device (Linux only).

  tunnat demo     make a small network of namespaces, send real traffic through
                  the NAT, show what each side saw, remove everything (needs root)
  tunnat run      translate the packets of this host's internal networks
                  (needs CAP_NET_ADMIN)
  tunnat cleanup  remove what a killed demo or run left behind

tunnat COMMAND -h lists the flags of a command.
`

func main() {
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one command line and returns the exit code.
func command(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usageText)
		return exitUsage
	}
	// A reader that goes away (tunnat demo | head) must not end the process
	// before it has removed what it made.
	signal.Ignore(syscall.SIGPIPE)
	// The first signal ends the work in order; the handlers are gone then, so
	// that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)

	name, args := args[0], args[1:]
	var err error
	switch name {
	case "demo":
		err = demoCommand(ctx, args, stdout, stderr)
	case "run":
		err = runCommand(ctx, args, stdout, stderr)
	case "cleanup":
		err = cleanupCommand(args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usageText)
	default:
		err = &usageError{fmt.Errorf("there is no command %q; tunnat help lists them", name)}
	}
	return exitCode(name, err, stderr)
}

// exitCode prints err, unless it is an answer in itself, and turns it into an exit code.
func exitCode(name string, err error, stderr io.Writer) int {
	var usage *usageError
	switch {
	case err == nil || errors.Is(err, cli.ErrHelp):
		return exitOK
	case errors.Is(err, errChecksFailed):
		return exitFailed
	case errors.As(err, &usage):
		cli.Complain(stderr, "tunnat "+name, usage.err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "tunnat %s: %v\n", name, err)
	return exitFailed
}

// usageError is a fault that the caller can mend: a flag, a permission, a name that is taken.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// parseFlags parses args and refuses arguments that are no flags. head is the help above the flags.
func parseFlags(fs *flag.FlagSet, args []string, out io.Writer, head string) error {
	switch err := cli.Parse(fs, args, out, head, ""); {
	case errors.Is(err, cli.ErrHelp):
		return err
	case err != nil:
		return &usageError{err}
	case fs.NArg() > 0:
		return &usageError{fmt.Errorf("%q is no flag; tunnat %s -h lists them", fs.Arg(0), fs.Name())}
	}
	return nil
}
