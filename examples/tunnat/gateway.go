//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

// gateway is a TUN device with a translator behind it, and the routes and
// rules that lead packets to it. run and demo use the same one.
type gateway struct {
	opts options
	dev  *tun
	plan *hostPlan
	fwd  *forwarder
}

// engineConfig turns the options into the configuration of an engine whose block
// records go to log.
func engineConfig(o *options, log logging.Log) natcore.Config {
	cfg := natcore.Config{
		Pools: []natcore.PoolConfig{{
			Name:      "pool",
			Addresses: o.pool,
			Blocks:    portblock.Config{BlockSize: o.block},
		}},
		Log: log,
		MSS: uint16(o.mss),
		// The NAT's own errors come from the device, as those of the kernel do.
		ICMP: natcore.ICMPConfig{Internal: o.address},
	}
	for _, p := range o.internal {
		cfg.Rules = append(cfg.Rules, natcore.Rule{Internal: p, Pool: "pool"})
	}
	rand.Read(cfg.Seed[:]) // crypto/rand never fails
	return cfg
}

// fieldFlags are the flags that fields of the engine's configuration come from.
var fieldFlags = map[string]string{"Addresses": "-pool", "Blocks": "-block-size", "Rules": "-internal"}

// newEngine returns an engine for the options.
func newEngine(o *options, log logging.Log) (*natcore.Engine, error) {
	e, err := natcore.New(engineConfig(o, log), time.Now())
	if err != nil {
		return nil, &usageError{cli.ByFlag(err, fieldFlags)}
	}
	return e, nil
}

// openGateway makes the device in the namespace and, unless the options say
// otherwise, the routes and rules. The caller closes the gateway.
func openGateway(n *namespace, o options, nat translator) (*gateway, error) {
	g := &gateway{opts: o}
	var err error
	if g.plan, err = planHost(n, &o); err != nil {
		return nil, err
	}
	err = n.do(func() error {
		g.dev, err = openTUN(o.tun, o.offload)
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.setup {
		if err := g.plan.apply(); err != nil {
			return nil, errors.Join(err, g.dev.close())
		}
	}
	g.fwd = newForwarder(g.dev, nat, o.internal, o.batch)
	g.fwd.pathMTU = o.pathMTU
	return g, nil
}

// run forwards until ctx ends.
func (g *gateway) run(ctx context.Context) error { return g.fwd.run(ctx, g.opts.mtu) }

// close removes the rules, and the device with its routes.
func (g *gateway) close() error { return errors.Join(g.plan.undo(), g.dev.close()) }
