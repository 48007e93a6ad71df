package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/examples/internal/cli"
)

// options are what the command line says.
type options struct {
	capture   string
	out       string
	journal   string
	pool      []alloc.Range
	poolText  string
	block     int
	internal  []netip.Prefix
	seed      string
	strictTCP bool
	quiet     bool
}

const usage = `quickstart plays a capture through a carrier-grade NAT and proves the result.

usage: go run ./examples/quickstart [flags] [CAPTURE]

CAPTURE is a pcap or pcapng file: raw IP, Ethernet with VLAN tags or PPPoE, Linux
cooked, loopback or PPP. Without one, data/subscribers.pcap of the project is played:
44,633 packets in 15 minutes, with hairpinning, ICMP errors, fragments and damage.

Hosts inside the -internal prefixes are subscribers, all others are remote. What
subscribers send goes out through the NAT; what comes for them goes in, sent to the
external endpoint that the NAT gave them.

flags:
`

// parseFlags reads the command line. Its errors say what to do.
func parseFlags(args []string, out io.Writer) (options, error) {
	var o options
	var pool, internal string
	set := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	set.StringVar(&o.out, "out", "quickstart-out", "write the results into the directory `DIR`; it is made if need be")
	set.StringVar(&o.journal, "journal", "", "keep the block records in a new journal in `DIR` too, for natlog")
	set.StringVar(&pool, "pool", "203.0.113.0/30", "external `PREFIXES`, ranges (a-b) or addresses, with commas")
	set.IntVar(&o.block, "block", 256, "ports in a block as `SIZE`, a power of two from 16 to 4096")
	set.StringVar(&internal, "internal", "100.64.0.0/10", "addresses of the subscribers as `PREFIXES`, with commas")
	set.StringVar(&o.seed, "seed", "", "secret `TEXT` that all random choices come from; the same one gives the same result\n(default: a new one each time, printed in the report)")
	set.BoolVar(&o.strictTCP, "strict-tcp", false, "drop TCP connections whose first packet is not in the capture, as a NAT in service does")
	set.BoolVar(&o.quiet, "quiet", false, "no progress and no report, only the proof's last line")
	if err := cli.Parse(set, args, out, usage, "\nexit code: 0 all is proven, 1 the proof found a violation, 2 wrong use\n"); err != nil {
		return o, err
	}
	var errs []error
	if set.NArg() > 1 {
		errs = append(errs, fmt.Errorf("%d captures are named, one can be played; flags come before the name", set.NArg()))
	}
	o.capture = set.Arg(0)
	ranges, err := alloc.ParseRanges(pool)
	o.pool, o.poolText = ranges, strings.Join(list(pool), ", ")
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("-pool: %w; write 203.0.113.0/28, 203.0.113.1-203.0.113.9 or 203.0.113.1", err))
	case len(ranges) == 0:
		errs = append(errs, errors.New("-pool is empty; name external addresses, such as -pool 203.0.113.0/30"))
	}
	errs = append(errs, cli.CheckBlock("-block", o.block))
	for _, s := range list(internal) {
		prefix, err := netip.ParsePrefix(s)
		if err != nil || !prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("-internal %q is no IPv4 prefix; write it as 100.64.0.0/10", s))
			continue
		}
		o.internal = append(o.internal, prefix.Masked())
	}
	if len(list(internal)) == 0 {
		errs = append(errs, errors.New("-internal is empty; name the subscribers' addresses, such as -internal 100.64.0.0/10"))
	}
	for _, prefix := range o.internal {
		for _, r := range o.pool {
			if prefix.Contains(r.First()) || prefix.Contains(r.Last()) || r.Contains(prefix.Addr()) {
				errs = append(errs, fmt.Errorf("-pool %v and -internal %v overlap; an address is either a subscriber's or an external one", r, prefix))
			}
		}
	}
	if o.seed == "" {
		var b [8]byte
		rand.Read(b[:])
		o.seed = hex.EncodeToString(b[:])
	}
	return o, errors.Join(errs...)
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// key is the secret that the seed stands for.
func (o options) key() [32]byte { return cli.Key("quickstart", o.seed) }

// fieldFlags are the flags that fields of the engine's configuration come from.
var fieldFlags = map[string]string{"Addresses": "-pool", "Blocks": "-block"}

// defaultCapture is where the project keeps its capture.
const defaultCapture = "data/subscribers.pcap"

// findCapture returns the path of the project's capture: in the working
// directory or in one above it that holds go.work or go.mod.
func findCapture() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, filepath.FromSlash(defaultCapture))
		if _, err := os.Stat(path); err == nil {
			return relative(path), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is neither here nor above; run the program in the project's directory, or name a capture: go run ./examples/quickstart FILE", defaultCapture)
		}
		dir = parent
	}
}

// relative shortens a path for people where it lies below the working directory.
func relative(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(dir, path); err == nil && len(r) < len(path) {
			return r
		}
	}
	return path
}
