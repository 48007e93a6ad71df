package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/portblock"
)

// options are what the command line says.
type options struct {
	script   string // empty: the one of the bug report
	expand   string
	outTable string
	inTable  string
	internal netip.Prefix
	clients  int
	ports    int
	span     time.Duration
	block    int
	usable   portblock.Range
	order    portblock.Order
	orderBy  string
	records  string
	seed     string
	quiet    bool
}

const usage = `ipfwnat runs the NAT of an ipfw script with masked flow tables, and proves the result.

usage: go run ./examples/ipfwnat [flags] [SCRIPT]

SCRIPT holds ipfw lines: "table NAME create type flow:...", "table NAME setmask ...", "nat N
config ip ADDRESS" and "table NAME add KEY N". Each group of clients needs one entry at least;
missing instances and the table for answers are derived. Without a script, that of
FreeBSD bug 219316 is played: 128 addresses x 2 protocols x 16 x 4 classes of servers.

flags:
`

// maxPorts bounds -ports: beyond it a client runs out of source ports.
const maxPorts = 10_000

// parseFlags reads the command line. Its errors say what to do.
func parseFlags(args []string, out io.Writer) (options, error) {
	var o options
	var internal, usable string
	set := flag.NewFlagSet("ipfwnat", flag.ContinueOnError)
	set.StringVar(&o.expand, "expand", "", "write the script with all instances and both tables to `FILE`, and end")
	set.StringVar(&o.outTable, "out", "natout", "`NAME` of the table for packets that leave")
	set.StringVar(&o.inTable, "in", "natin", "`NAME` of the table for answers")
	set.StringVar(&internal, "internal", "100.64.0.0/10", "addresses of the clients as `PREFIX`")
	set.IntVar(&o.clients, "clients", 10_000, "`NUMBER` of clients")
	set.IntVar(&o.ports, "ports", 300, "`NUMBER` of ports that a client holds at a time, about")
	set.DurationVar(&o.span, "span", 5*time.Minute, "simulated `TIME`")
	set.IntVar(&o.block, "block", 64, "ports in a block as `SIZE`, a power of two from 16 to 4096")
	set.StringVar(&usable, "usable", "1024-65535", "external `PORTS` of each address and class; fewer show what reuse is worth")
	set.StringVar(&o.orderBy, "order", "keyed", "`ORDER` of blocks: keyed (cannot be guessed) or sequential (lowest first)")
	set.StringVar(&o.records, "records", "", "write the block records as JSON lines to `FILE`")
	set.StringVar(&o.seed, "seed", "219316", "`TEXT` that all random choices come from; the same one gives the same run")
	set.BoolVar(&o.quiet, "quiet", false, "no progress and no report, only the proof's last line")
	if err := cli.Parse(set, args, out, usage, "\nexit code: 0 all is proven, 1 the proof found a violation, 2 wrong use or a faulty script\n"); err != nil {
		return o, err
	}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if set.NArg() > 1 {
		fault("%d scripts are named, one can be run; flags come before the name", set.NArg())
	}
	o.script = set.Arg(0)
	if o.outTable == o.inTable {
		fault("-out and -in both name %q; they are two tables", o.outTable)
	}
	var err error
	if o.internal, err = netip.ParsePrefix(internal); err != nil || !o.internal.Addr().Is4() {
		fault("-internal %q is no IPv4 prefix; write it as 100.64.0.0/10", internal)
	} else if o.internal = o.internal.Masked(); o.clients > 1<<(32-o.internal.Bits())/2 {
		fault("-clients %d is more than half of the addresses in -internal %v", o.clients, o.internal)
	}
	if o.clients < 1 {
		fault("-clients %d is not at least 1", o.clients)
	}
	if o.ports < 1 || o.ports > maxPorts {
		fault("-ports %d is not from 1 to %d", o.ports, maxPorts)
	}
	if o.span < time.Second || o.span > 6*time.Hour {
		fault("-span %v is not from 1s to 6h", o.span)
	}
	errs = append(errs, cli.CheckBlock("-block", o.block))
	if o.usable, err = portblock.ParseRange(usable); err != nil || o.usable.First() == 0 || o.usable.Len() < o.block {
		fault("-usable %q is no range of ports with room for a block; write it as 1024-65535", usable)
	}
	switch o.orderBy {
	case "keyed":
		o.order = portblock.OrderKeyed
	case "sequential":
		o.order = portblock.OrderSequential
	default:
		fault("-order %q is neither keyed nor sequential", o.orderBy)
	}
	return o, errors.Join(errs...)
}

// key is the secret that the seed stands for.
func (o options) key() [32]byte { return cli.Key("ipfwnat", o.seed) }
