package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	command   command
	argument  string // ADDR or ADDR:PORT
	config    string
	history   string
	old       string
	json      bool
	realm     *uint32
	at        time.Time // -at, or now
	asked     string    // -at as it was written
	name      string    // -map
	log       string
	tolerance time.Duration
	block     int
	changes   int
	holdDown  time.Duration
	gap       time.Duration
	dryRun    bool
	keys      bool
}

// parseOptions reads the command line. Its faults say what to do.
func parseOptions(c command, args []string, stdout io.Writer) (*options, error) {
	// Faults of the command line are JSON, too, wherever the flag is.
	o := &options{command: c, json: slices.Contains(args, "-json") || slices.Contains(args, "--json")}
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	o.define(set)
	rest, err := interspersed(set, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "detnat %s: %s\n\nusage: detnat %s [flags]\n\nflags:\n", c.name, c.about, strings.TrimSpace(c.name+" "+c.argument))
		set.SetOutput(stdout)
		set.PrintDefaults()
		return o, err
	}
	if err != nil {
		return o, &fault{Text: err.Error(), Fix: "detnat " + c.name + " -h lists the flags"}
	}
	return o, o.check(rest)
}

// define adds the flags of the command.
func (o *options) define(set *flag.FlagSet) {
	set.StringVar(&o.config, "config", "", "`FILE` with maps and rules, as sample.conf")
	set.BoolVar(&o.json, "json", o.json, "answer in JSON")
	is := func(names ...string) bool { return slices.Contains(names, o.command.name) }
	switch {
	case is("record"):
		set.StringVar(&o.history, "history", "", "archive `FILE` to bring up to date; it is made if need be, readable for its owner only")
		set.BoolVar(&o.dryRun, "n", false, "write no file, only say what would begin and end")
		set.StringVar(&o.asked, "at", "", "the `TIME` of the change (RFC 3339 with zone; default: now)")
		set.DurationVar(&o.gap, "gap", 0, "`DURATION` from the end of old epochs to the beginning of new ones; detnat check says what is needed")
	case is("check"):
		set.StringVar(&o.old, "old", "", "configuration `FILE` in force until the change: prove what changes owner")
		set.StringVar(&o.history, "history", "", "archive `FILE` instead of -old: its epochs in force at -at")
		set.StringVar(&o.asked, "at", "", "the `TIME` of the change, with -history (RFC 3339 with zone; default: now)")
		set.DurationVar(&o.holdDown, "hold-down", 2*time.Minute, "`DURATION` for which a port rests before another one has it (RFC 6888 REQ-8)")
		set.DurationVar(&o.gap, "gap", 0, "`DURATION` between the end of the old and the beginning of the new configuration")
		set.IntVar(&o.changes, "changes", 10, "print up to `N` runs of ports that change owner; -1: all")
	default:
		set.StringVar(&o.history, "history", "", "archive `FILE` instead of -config: one epoch a line, as detnat record writes it")
		set.StringVar(&o.asked, "at", "", "the `TIME` asked for, with -history (RFC 3339 with zone; default: now)")
	}
	if is("forward", "reverse") {
		side := map[string]string{"forward": "internal", "reverse": "external"}[o.command.name]
		set.Func("realm", "the "+side+" realm `N` (default: the one that has the address)", func(text string) error {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return errors.New("write a number from 0 to 4294967295")
			}
			r := uint32(n)
			o.realm = &r
			return nil
		})
	}
	if is("reverse") {
		set.StringVar(&o.log, "log", "", "block records as JSON lines in `FILE`: who had a port of the dynamic range (with -history)")
		set.DurationVar(&o.tolerance, "tolerance", 0, "`DURATION` by which the clocks of -at and of -log may differ")
	}
	if is("forward") {
		set.IntVar(&o.block, "block", 0, "say how many dynamic blocks of `SIZE` ports the subscriber may have")
	}
	if is("table", "check", "record", "show") {
		set.StringVar(&o.name, "map", "", "only the map `NAME`")
	}
	if is("show") {
		set.BoolVar(&o.keys, "keys", false, "show the secret keys too")
	}
}

// interspersed parses flags before, between and behind the arguments.
func interspersed(set *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, set.Arg(0)), set.Args()[1:]
	}
}

// check compares the flags with each other and with the arguments.
func (o *options) check(rest []string) error {
	var faults []error
	wrong := func(field, text, fix string) {
		faults = append(faults, &fault{Field: field, Text: text, Fix: fix})
	}
	want := 0
	if o.command.argument != "" {
		want = 1
	}
	switch {
	case len(rest) > want:
		wrong(strconv.Quote(rest[want]), "is one argument too many", "usage: detnat "+strings.TrimSpace(o.command.name+" "+o.command.argument)+" [flags]")
	case len(rest) < want:
		wrong(o.command.argument, "is missing", "usage: detnat "+o.command.name+" "+o.command.argument+" [flags]")
	case want == 1:
		o.argument = rest[0]
	}
	const sample = "a sample is examples/detnat/sample.conf"
	switch name := o.command.name; {
	case (name == "check" || name == "record") && o.config == "":
		wrong("-config", "is missing", "name a configuration; "+sample)
	case name == "check" && o.old != "" && o.history != "":
		wrong("-old", "and -history exclude each other", "name one file that was in force")
	case name == "check" || name == "record":
	case o.config != "" && o.history != "":
		wrong("-config", "and -history exclude each other", "-history answers for a time, -config for now")
	case o.config == "" && o.history == "":
		wrong("-config", "or -history is missing", "name a configuration or an archive; "+sample)
	}
	if o.asked != "" && o.history == "" && o.command.name != "record" {
		wrong("-at", "needs -history", "a configuration does not say when it was in force, an archive does")
	}
	if o.log != "" && o.history == "" {
		wrong("-log", "needs -history", "what was dynamic at the time is in the archive")
	}
	if o.tolerance < 0 {
		wrong("-tolerance", "is not negative", "write 1s or 1m")
	}
	if o.holdDown < 0 || o.gap < 0 {
		wrong("-hold-down and -gap", "are not negative", "write 2m or 90s")
	}
	if o.block < 0 {
		wrong("-block", "is not negative", "write the size of a dynamic block in ports")
	}
	o.at = time.Now().Truncate(time.Second)
	if o.asked != "" {
		at, err := parseTime(o.asked)
		if err != nil {
			faults = append(faults, err)
		}
		o.at = at
	}
	return errors.Join(faults...)
}

// load opens what the flags name.
func (o *options) load() (*book, error) {
	if o.history != "" {
		return loadHistory(o.history, o.at, o.asked)
	}
	return loadConfig("-config", o.config)
}

// pick returns the versions that -map names, all without it.
func (o *options) pick(bk *book) ([]version, error) {
	if o.name == "" {
		return bk.versions, nil
	}
	var names []string
	for _, v := range bk.versions {
		if v.Name() == o.name {
			return []version{v}, nil
		}
		names = append(names, v.Name())
	}
	return nil, &fault{File: bk.file, Field: "-map", Value: strconv.Quote(clip(o.name)), Text: "is no map", Fix: "there are: " + strings.Join(names, ", ")}
}
