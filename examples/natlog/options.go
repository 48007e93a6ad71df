package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/logging"
)

// options are what the command line says.
type options struct {
	command   string
	argument  string
	journals  []string
	at        time.Time
	from, to  time.Time
	tolerance time.Duration
	guard     time.Duration
	spaces    logging.Spaces
	realm     string
	byRealm   bool
	id        bool
	json      bool
	format    string
	intervals bool
	last      int
	follow    bool
	most      int
}

// parseOptions reads the command line; flags may stand before and behind the argument.
func parseOptions(c command, args []string, out io.Writer) (*options, error) {
	o := &options{command: c.name}
	set := flag.NewFlagSet("natlog "+c.name, flag.ContinueOnError)
	o.define(set)
	head := fmt.Sprintf("natlog %s: %s\n\nusage: natlog %s -journal DIR %s\n\nflags:\n", c.name, c.about, c.name, strings.TrimSpace("[flags] "+c.argument))
	var rest []string
	for {
		if err := cli.Parse(set, args, out, head, ""); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			break
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
	var errs []error
	if len(o.journals) == 0 {
		errs = append(errs, errors.New("no journal is named; write -journal DIR, several times for several journals"))
	}
	switch {
	case c.argument == "" && len(rest) > 0:
		errs = append(errs, fmt.Errorf("%s takes no argument, and %q is one", c.name, rest[0]))
	case c.argument != "" && len(rest) != 1:
		errs = append(errs, fmt.Errorf("%s takes one argument, %s, and %d are given", c.name, c.argument, len(rest)))
	case c.argument != "":
		o.argument = rest[0]
	}
	if c.name == "who" && o.at.IsZero() {
		errs = append(errs, errors.New("-at is missing: who used a port is a question of time; write -at 2026-11-21T10:05:00Z"))
	}
	if !o.to.IsZero() && o.to.Before(o.from) {
		errs = append(errs, errors.New("-to is before -from; exchange them"))
	}
	if o.last < 0 || o.most < 0 {
		errs = append(errs, errors.New("-n and -most count: they must not be negative"))
	}
	if o.tolerance < 0 || o.guard < 0 {
		errs = append(errs, errors.New("a duration is negative; write it as 2s or 2m"))
	}
	if !slices.Contains([]string{"", "json", "csv"}, o.format) {
		errs = append(errs, fmt.Errorf("-format %q is unknown; choose json or csv", o.format))
	}
	return o, errors.Join(errs...)
}

// define adds the flags of the command.
func (o *options) define(set *flag.FlagSet) {
	set.Func("journal", "the `DIR` of a journal; may be given several times", func(s string) error {
		if s == "" {
			return errors.New("is empty; name a directory")
		}
		o.journals = append(o.journals, s)
		return nil
	})
	instant := func(name, text string, t *time.Time) {
		set.Func(name, text, func(s string) (err error) { *t, err = parseTime(s); return err })
	}
	switch o.command {
	case "who":
		instant("at", "the `TIME` asked for, RFC 3339 with zone, such as 2026-11-21T10:05:00.250Z", &o.at)
		set.DurationVar(&o.tolerance, "tolerance", 0, "how far the clocks of the asker and of the NAT may be apart, as a `DURATION`, such as 2s")
		set.Func("proto", "only this protocol: `NAME` is tcp, udp or icmp", func(s string) error {
			if err := o.spaces.UnmarshalText([]byte(strings.ToLower(s))); err != nil || o.spaces == 0 {
				return errors.New("must be tcp, udp or icmp")
			}
			return nil
		})
		set.Func("realm", "only this external `REALM`", func(s string) error { o.realm, o.byRealm = s, true; return nil })
		set.BoolVar(&o.json, "json", false, "answer in JSON, one candidate a line")
	case "subscriber":
		instant("from", "only what was held at this `TIME` or later", &o.from)
		instant("to", "only what was held at this `TIME` or before", &o.to)
		set.BoolVar(&o.id, "id", false, "ADDR is the subscriber's name (a line, an account) and no address")
		set.BoolVar(&o.json, "json", false, "answer in JSON, one interval a line")
	case "stats":
		set.BoolVar(&o.json, "json", false, "answer in JSON, one journal a line")
	case "export":
		set.StringVar(&o.format, "format", "json", "`FORMAT`: json (a record a line) or csv")
		set.BoolVar(&o.intervals, "intervals", false, "intervals with beginning and end, by address and port, instead of records in the order of acceptance")
	case "tail":
		set.IntVar(&o.last, "n", 10, "begin with the last `N` records of each journal")
		set.BoolVar(&o.follow, "f", false, "go on with the records to come, until interrupted")
	case "verify":
		set.DurationVar(&o.guard, "guard", 120*time.Second, "the `DURATION` for which a released block rests (RFC 6888 REQ-8); 0: look for overlaps only")
		set.IntVar(&o.most, "most", 100, "print up to `N` conflicts; 0: all")
		set.BoolVar(&o.json, "json", false, "answer in JSON, one conflict a line")
	}
}

// parseTime reads a time of RFC 3339. One without a zone is refused: who guesses the
// zone names the wrong subscriber.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err == nil && !t.IsZero() {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Time{}, fmt.Errorf("has no zone; write %sZ if it is UTC, or its offset as in %[1]s+01:00", t.Format("2006-01-02T15:04:05"))
		}
	}
	return time.Time{}, errors.New("is no time of RFC 3339; write 2026-11-21T10:05:00Z or 2026-11-21T11:05:00+01:00")
}

// parseEndpoint reads ADDR:PORT, or ADDR alone for all ports.
func parseEndpoint(text string) (a netip.Addr, port uint16, any bool, err error) {
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Addr().Zone() == "" {
		return ap.Addr().Unmap(), ap.Port(), false, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.Zone() == "" {
		return a.Unmap(), 0, true, nil
	}
	return a, 0, false, fmt.Errorf("%s is no address with a port; write 203.0.113.1:20481 or [2001:db8::1]:20481, or the address alone for all its ports", strconv.Quote(clip(text)))
}

// clip shortens what was typed for a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
