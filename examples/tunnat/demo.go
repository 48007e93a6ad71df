//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

const demoHelp = `tunnat demo shows the NAT on real traffic. It makes clients, a router, a transit
router and a server as network namespaces, starts the translator on the router,
runs HTTP, ping, UDP, traceroute and parallel TCP connections through it, and
prints what each side saw and a verdict on each check. It needs root and nothing
else, sends nothing outside its namespaces, and removes them at the end, on
Ctrl-C and on failure; what a killed demo leaves is removed by the next one and
by tunnat cleanup. The exit code is 0 when every check passed.

`

// demoOptions are the flags of demo.
type demoOptions struct {
	options
	clients     int
	connections int // at once, for each client
	bytes       int // of each stream
	hold        time.Duration
	timeout     time.Duration
	only        []string // names of traffic checks; empty is all
	// wrap puts something between forwarder and engine, for tests; nil is nothing.
	wrap func(translator) translator
}

func defaultDemoOptions() demoOptions {
	o := demoOptions{options: defaultOptions(), clients: 3, connections: 4, bytes: 2 << 20, timeout: time.Minute}
	o.pool = []alloc.Range{alloc.RangeOfPrefix(demoPool)}
	return o
}

func (o *demoOptions) register(fs *flag.FlagSet) {
	fs.IntVar(&o.clients, "clients", o.clients, "`number` of client namespaces, 2 to 64")
	fs.IntVar(&o.connections, "connections", o.connections, "TCP `connections` of each client at once, 1 to 64")
	fs.IntVar(&o.bytes, "bytes", o.bytes, "`bytes` of each TCP stream, 1 to 67108864")
	fs.IntVar(&o.block, "block-size", o.block, "`ports` of a block, a power of two from 16 to 4096")
	fs.BoolVar(&o.offload, "gso", o.offload, "take whole TCP segments and partial checksums from the kernel; false is one packet of at most the MTU a read")
	fs.IntVar(&o.batch, "batch", o.batch, "at most this many `packets` are translated at a time, 1 to 1024")
	fs.StringVar(&o.records, "records", o.records, "`file` that the block records are written to as well")
	fs.DurationVar(&o.hold, "hold", o.hold, "keep the network this long after the checks, to look around with \"ip netns exec\"; Ctrl-C ends it")
	fs.Func("only", "run only these `checks`, separated by commas", func(s string) error {
		o.only = splitList(s)
		return nil
	})
	fs.DurationVar(&o.timeout, "timeout", o.timeout, "`time` after which the checks are given up")
}

func (o *demoOptions) check() error {
	var faults []error
	bound := func(name string, v, low, high int) {
		if v < low || v > high {
			faults = append(faults, fmt.Errorf("-%s %d: must be %d to %d", name, v, low, high))
		}
	}
	bound("clients", o.clients, 2, maxClients)
	bound("connections", o.connections, 1, 64)
	bound("bytes", o.bytes, 1, maxBody)
	for _, name := range o.only {
		if !slices.ContainsFunc(trafficChecks, func(c check) bool { return c.name == name }) {
			faults = append(faults, fmt.Errorf("-only %s: there is no such check; the checks are %s", name, checkNames()))
		}
	}
	if o.hold < 0 || o.timeout <= 0 {
		faults = append(faults, errors.New("-hold must not be negative, -timeout must be positive"))
	}
	if err := errors.Join(o.options.check(), errors.Join(faults...)); err != nil {
		return &usageError{err}
	}
	return nil
}

// checkNames lists the checks that -only chooses from.
func checkNames() string {
	var names []string
	for _, c := range trafficChecks {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// errChecksFailed says that the demo ran and a check failed; the report has told which.
var errChecksFailed = errors.New("not every check passed")

// demoCommand is tunnat demo.
func demoCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := defaultDemoOptions()
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	o.register(fs)
	if err := parseFlags(fs, args, stdout, demoHelp); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := requireCapabilities("run it with sudo", capNetAdmin, capSysAdmin, capNetRaw); err != nil {
		return err
	}
	return runDemo(ctx, o, stdout)
}

// demo is one run: the network, the translator and the server in it, and what was seen.
type demo struct {
	opts    demoOptions
	owner   owner
	top     *topology
	engine  *natcore.Engine
	gw      *gateway
	server  *server
	records recordBuffer
	results []result
	trace   []hop
	done    bool // all checks of the traffic have a verdict

	mu    sync.Mutex // guards views while clients run
	views []view
}

// runDemo makes everything, runs the checks, prints the report, and removes everything.
func runDemo(ctx context.Context, o demoOptions, out io.Writer) error {
	d := &demo{opts: o}
	var err error
	if d.owner, err = thisProcess(); err != nil {
		return err
	}
	removed, err := removeDeadNamespaces()
	for _, what := range removed {
		fmt.Fprintln(out, "removed what a killed process left:", what)
	}
	if err != nil {
		return err
	}
	start := time.Now()
	if d.top, err = buildTopology(d.owner, o.clients); err != nil {
		return err
	}
	err = d.inTopology(ctx, out)
	err = errors.Join(err, d.top.remove())
	d.judge(ctx, out, check{"removed", checkRemoved})

	failed := 0
	for _, r := range d.results {
		if r.err != nil {
			failed++
		}
	}
	switch {
	case ctx.Err() != nil && !d.done:
		fmt.Fprintln(out, "interrupted; everything that was made is removed")
		return errors.Join(err, errors.New("interrupted"))
	case err != nil:
		return err
	case failed > 0:
		fmt.Fprintf(out, "%d of %d checks FAILED (%.1f s)\n", failed, len(d.results), time.Since(start).Seconds())
		return errChecksFailed
	}
	fmt.Fprintf(out, "all %d checks passed (%.1f s)\n", len(d.results), time.Since(start).Seconds())
	return nil
}

// inTopology runs the checks in the network and prints what was seen.
func (d *demo) inTopology(ctx context.Context, out io.Writer) (err error) {
	d.top.draw(out, &d.opts.options)
	var file io.Writer = &d.records
	if d.opts.records != "" {
		f, err := os.OpenFile(d.opts.records, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
		if err != nil {
			return recordsFault(err)
		}
		defer f.Close()
		file = io.MultiWriter(f, file)
	}
	blocks := newBlockLog(logging.NewWriter(file, logging.JSON{}))
	if d.engine, err = newEngine(&d.opts.options, blocks); err != nil {
		return err
	}
	var nat translator = d.engine
	if d.opts.wrap != nil {
		nat = d.opts.wrap(nat)
	}
	if err := checkHost(d.top.router.namespace, &d.opts.options); err != nil {
		return err
	}
	if d.gw, err = openGateway(d.top.router.namespace, d.opts.options, nat); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, d.opts.timeout)
	defer cancel()
	gwCtx, stopGateway := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := d.gw.run(gwCtx)
		if err != nil {
			cancel() // nothing can pass any more
		}
		ended <- err
	}()
	defer func() {
		stopGateway()
		err = errors.Join(err, <-ended, d.gw.close(), blocks.shutdown(time.Now()))
		// The forwarder has ended, so its counts do not change under the report.
		d.report(out)
		d.judge(ctx, out, check{"router", checkRouter})
	}()
	if d.server, err = startServer(limited, d.top.server); err != nil {
		return err
	}
	defer d.server.close()

	fmt.Fprintln(out, "checks")
	for _, c := range trafficChecks {
		if ctx.Err() != nil {
			return nil
		}
		if len(d.opts.only) == 0 || slices.Contains(d.opts.only, c.name) {
			d.judge(limited, out, c)
		}
	}
	d.done = ctx.Err() == nil
	if d.opts.hold > 0 {
		fmt.Fprintf(out, "holding the network for %v: ip netns exec %s ...\n", d.opts.hold, d.top.clients[0].name)
		select {
		case <-ctx.Done():
		case <-time.After(d.opts.hold):
		}
	}
	return nil
}

// judge runs a check and prints its verdict.
func (d *demo) judge(ctx context.Context, out io.Writer, c check) {
	start := time.Now()
	r := result{name: c.name}
	r.detail, r.err = c.run(ctx, d)
	r.took = time.Since(start)
	d.results = append(d.results, r)
	printResult(out, r)
}

// report prints what was seen.
func (d *demo) report(out io.Writer) {
	if !d.done {
		return
	}
	fmt.Fprintln(out)
	printViews(out, d.views)
	printTrace(out, d.trace)
	printRecords(out, d.records.bytes(), 12)
	printStats(out, d.engine.Stats(), &d.gw.fwd.counts)
	fmt.Fprintln(out)
}
