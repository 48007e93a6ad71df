//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

const runHelp = `tunnat run translates the packets of this host's internal networks.

The host is the clients' router. A routing rule leads packets from the internal
prefixes into a TUN device, the program translates them and gives them back, and
the kernel routes them on; a route leads packets for the pool's addresses into the
device as well. The network behind must route the pool's addresses to this host.
SIGINT, SIGTERM and SIGHUP end the program, which then removes what it made; what
a killed one leaves are routing rules, which the next start and tunnat cleanup remove.

  tunnat run -pool 203.0.113.0/29 -records blocks.jsonl -enable-forwarding

`

// runCommand is tunnat run.
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := defaultOptions()
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	o.register(fs)
	if err := parseFlags(fs, args, stdout, runHelp); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := requireCapabilities("run it with sudo, or \"setcap cap_net_admin+ep\" on the program", capNetAdmin); err != nil {
		return err
	}
	host, err := hostNamespace()
	if err != nil {
		return err
	}
	defer host.remove()
	removed, err := removeOrphanRules(host)
	for _, what := range removed {
		fmt.Fprintln(stderr, "removed what a killed process left:", what)
	}
	if err != nil {
		return err
	}
	if err := checkHost(host, &o); err != nil {
		return err
	}
	return runGateway(ctx, host, o, stdout, stderr)
}

// runGateway opens the records file, runs the gateway until ctx ends and prints the totals.
func runGateway(ctx context.Context, host *namespace, o options, stdout, stderr io.Writer) (err error) {
	log := logging.Discard
	if o.records != "" {
		f, ferr := os.OpenFile(o.records, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if ferr != nil {
			return recordsFault(ferr)
		}
		// Unbuffered: a record is with the kernel before a port of its block
		// is used, so that a crash of this program loses none.
		blocks := newBlockLog(logging.NewWriter(f, logging.JSON{}))
		log = blocks
		defer func() { err = errors.Join(err, blocks.shutdown(time.Now()), f.Close()) }()
	} else {
		fmt.Fprintln(stderr, "no -records: nobody will be able to tell who used an external address and port")
	}
	engine, err := newEngine(&o, log)
	if err != nil {
		return err
	}
	g, err := openGateway(host, o, engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()

	fmt.Fprintf(stdout, "%s: %v -> %v, blocks of %d ports, gso %v\n", o.tun, joined(o.internal), joined(o.pool), o.block, o.offload)
	if o.setup {
		fmt.Fprintf(stdout, "set up, and removed at the end:\n%v", g.plan)
	} else {
		fmt.Fprintf(stdout, "set up nothing; the host needs:\n%v", g.plan)
	}
	if o.stats > 0 {
		last := time.Now()
		g.fwd.onTick = func(now time.Time) {
			if now.Sub(last) < o.stats {
				return
			}
			last = now
			printStatsLine(stdout, now, engine.Stats(), &g.fwd.counts)
		}
	}
	err = g.run(ctx)
	printStats(stdout, engine.Stats(), &g.fwd.counts)
	return err
}

// recordsFault explains why the records file could not be opened.
func recordsFault(err error) error {
	return &usageError{fmt.Errorf("-records: %w: name a file in a directory that is there and may be written", err)}
}

// printStatsLine prints the gauges and totals that an operator watches, on one line.
func printStatsLine(w io.Writer, now time.Time, s natcore.Stats, c *forwarderCounts) {
	var dropped uint64
	for _, byVerdict := range s.Packets {
		dropped += byVerdict[natcore.Drop]
	}
	fmt.Fprintf(w, "%s in=%d out=%d dropped=%d sessions=%d mappings=%d subscribers=%d blocks=%d refused-records=%d write-errors=%d\n",
		now.UTC().Format(time.RFC3339), c.PacketsIn, c.PacketsOut, dropped,
		s.Sessions, s.Mappings, s.Subscribers, s.BlocksAllocated-s.BlocksReleased, s.RecordsRefused, c.WriteErrors)
}
