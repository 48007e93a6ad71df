// Detnat answers for deterministic NAT off the box: who had this external port,
// what does this subscriber have, is this configuration right, and what does a
// change of it move. It needs the configuration, or the archive of its epochs,
// and nothing of the engine.
//
//	go run ./examples/detnat help
//	go run ./examples/detnat reverse 192.0.2.1:2001 -config examples/detnat/sample.conf
//	go run ./examples/detnat reverse 192.0.2.1:2001 -history examples/detnat/sample-history.jsonl -at 2025-02-01T12:00:00Z
//	go run ./examples/detnat check -old examples/detnat/sample-before.conf -config examples/detnat/sample.conf
//
// A configuration is a text file with a block for each map and each MAP rule; its
// settings are the fields of deterministic.Config (see sample.conf). An archive is
// the file of deterministic.ParseHistory: one line of JSON for each epoch. Ports of a
// dynamic range are in no formula: with -log FILE reverse looks into the block
// records (sample-blocks.jsonl), without it the answer says where to ask.
//
// The exit code is 0 for an answer, 1 when the answer is "nobody" (not in the pool,
// reserved, dynamic, unused, no epoch) or "not safe", and 2 for bad input.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes, the same for every command.
const (
	exitFound   = 0 // the question has an answer
	exitNobody  = 1 // nobody has it; for check: the change is not safe
	exitBadData = 2 // a command line, a file, an address or a time is wrong
)

// commands are the commands in the order of the help.
var commands = []command{
	{"forward", "ADDR", "what a subscriber has outside", forward},
	{"reverse", "ADDR:PORT", "which subscriber has (or had) an external port", reverse},
	{"table", "", "every subscriber with its ports", table},
	{"check", "", "is the configuration right; what does a change move", check},
	{"record", "", "begin epochs: log lines of RFC 7422, lines of the archive", record},
	{"show", "", "the configuration with all defaults filled in", show},
}

// command is one word of the command line.
type command struct {
	name, argument, about string
	do                    func(*options, io.Writer) (int, error)
}

// run is the program.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		writeHelp(stderr)
		return exitBadData
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		writeHelp(stdout)
		return exitFound
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(args, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "detnat: there is no command %q; detnat help lists them\n", name)
	return exitBadData
}

// run parses the flags, does the work, and turns faults into text or JSON. What is
// found goes to stdout, faults go to stderr, with -json to stdout.
func (c command) run(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(c, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitFound
	}
	code := exitBadData
	if err == nil {
		out := bufio.NewWriter(stdout)
		code, err = c.do(o, out)
		if e := out.Flush(); err == nil && e != nil {
			err = fmt.Errorf("the answer cannot be written: %w", e)
		}
	}
	if err == nil {
		return code
	}
	if o.json {
		writeJSON(stdout, faultAnswer{Command: c.name, Result: "bad-input", Faults: faultsOf(err)})
	} else {
		for _, f := range faultsOf(err) {
			fmt.Fprintf(stderr, "detnat %s: %v\n", c.name, f)
		}
	}
	return exitBadData
}

// faultAnswer is the JSON answer to bad input.
type faultAnswer struct {
	Command string   `json:"command"`
	Result  string   `json:"result"`
	Faults  []*fault `json:"faults"`
}

func writeHelp(w io.Writer) {
	fmt.Fprint(w, "detnat answers for deterministic NAT off the box.\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  detnat %-18s %s\n", c.name+" "+c.argument, c.about)
	}
	fmt.Fprint(w, `
Each takes -config FILE (a configuration) or -history FILE (an archive of epochs)
and -json; detnat COMMAND -h lists all flags. Flags may come before or behind the
address. Times are RFC 3339 with a zone: 2025-02-01T12:00:00Z.

exit code: 0 an answer, 1 nobody has it or not safe, 2 bad input
`)
}
