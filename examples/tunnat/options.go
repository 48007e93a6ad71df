//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/examples/internal/cli"
)

// options are what the forwarder is told on the command line.
type options struct {
	tun      string         // name of the device
	address  netip.Addr     // address of the device
	mtu      int            // MTU of the device
	offload  bool           // virtio-net headers and segments
	pathMTU  int            // largest packet that the networks behind take; 0 leaves that to the kernel
	mss      int            // largest segment that SYNs may ask for; 0 leaves them alone
	batch    int            // packets translated under one clock reading
	internal []netip.Prefix // sources that are translated
	pool     []alloc.Range  // external addresses
	block    int            // ports of a block
	records  string         // file of block records; "" for none
	stats    time.Duration  // interval of the statistics; 0 for none
	setup    bool           // set up routes and rules, or print them
	forward  bool           // switch IP forwarding on
	table    int            // routing table of outbound packets
	priority int            // first of the two priorities of the rules
}

// defaultOptions are the defaults that flags show.
func defaultOptions() options {
	return options{
		tun: "tunnat0",
		// The IPv4 dummy address of IANA's special-purpose registry, which any
		// number of hosts may use as a source. Without an address of its own
		// the device would borrow that of another interface, and the kernel's
		// error about a translated packet could seem to come from an internal host.
		address:  netip.AddrFrom4([4]byte{192, 0, 0, 8}),
		mtu:      1500,
		offload:  true,
		batch:    64,
		internal: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)},
		block:    256,
		stats:    10 * time.Second,
		setup:    true,
		table:    6888,
		priority: 6888,
	}
}

// register makes the flags of run.
func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.tun, "tun", o.tun, "`name` of the TUN device to make; it must not exist")
	fs.TextVar(&o.address, "tun-address", o.address, "`address` of the device, the source of the kernel's ICMP errors about translated packets; must not be internal")
	fs.IntVar(&o.mtu, "mtu", o.mtu, "MTU of the device in `bytes`, 576 to 65535: that of the interface towards the servers, or more")
	fs.IntVar(&o.pathMTU, "path-mtu", o.pathMTU, "answer packets of more `bytes` that may not be cut, as a router before a smaller link does, 576 to 65535; 0 leaves that to the kernel")
	fs.IntVar(&o.mss, "mss", o.mss, "lower the segment size that TCP ends ask for to this many `bytes`, 64 to 65495: 40 less than the smallest MTU on the way; 0 leaves it alone")
	fs.BoolVar(&o.offload, "gso", o.offload, "take whole TCP segments and partial checksums from the kernel (IFF_VNET_HDR); false is one packet of at most the MTU a read")
	fs.IntVar(&o.batch, "batch", o.batch, "at most this many `packets` are translated at a time, 1 to 1024")
	fs.Func("internal", "internal `prefixes`, separated by commas (default 100.64.0.0/10)", func(s string) (err error) {
		o.internal, err = parsePrefixes(s)
		return err
	})
	fs.Func("pool", "external `addresses`, separated by commas: prefixes, ranges (a-b) or single addresses; required", func(s string) (err error) {
		o.pool, err = alloc.ParseRanges(s)
		return err
	})
	fs.IntVar(&o.block, "block-size", o.block, "`ports` of a block, a power of two from 16 to 4096")
	fs.StringVar(&o.records, "records", o.records, "`file` that the records of blocks are appended to, as JSON lines; without it they are discarded")
	fs.DurationVar(&o.stats, "stats", o.stats, "`interval` of the statistics line; 0 is none")
	fs.BoolVar(&o.setup, "setup", o.setup, "make the routes and routing rules, and remove them at the end; false prints them")
	fs.BoolVar(&o.forward, "enable-forwarding", o.forward, "switch net.ipv4.ip_forward on while the program runs")
	fs.IntVar(&o.table, "table", o.table, "`number` of the routing table for outbound packets; it must be empty")
	fs.IntVar(&o.priority, "priority", o.priority, "`priority` of the first of two routing rules, 1 to 32764; both must be free")
}

// check returns all faults of the options together, each with what to do.
func (o *options) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if n := len(o.tun); n == 0 || n > 15 || o.tun == "." || o.tun == ".." || strings.ContainsAny(o.tun, "/: \t\n%") {
		fault("-tun %q: a device's name has 1 to 15 bytes without slash, colon, percent sign and space", o.tun)
	}
	if len(o.pool) == 0 {
		fault("-pool: name at least one external address, such as -pool 203.0.113.0/29")
	}
	if len(o.internal) == 0 {
		fault("-internal: name at least one prefix, such as -internal 100.64.0.0/10")
	}
	if !o.address.Is4() {
		fault("-tun-address %v: must be an IPv4 address", o.address)
	}
	for _, p := range o.internal {
		if p.Contains(o.address) {
			fault("-tun-address %v lies in the internal prefix %v: choose an address outside, such as 192.0.0.8", o.address, p)
		}
	}
	for _, e := range o.pool {
		if !e.First().Is4() {
			fault("-pool %v: only IPv4 is translated", e)
			continue
		}
		for _, p := range o.internal {
			if e.Overlaps(alloc.RangeOfPrefix(p)) {
				fault("-pool %v overlaps -internal %v: an address is either internal or external; take it out of one of them", e, p)
			}
		}
		if e.Contains(o.address) {
			fault("-tun-address %v lies in -pool %v: packets for it would go to this host; choose another", o.address, e)
		}
	}
	if o.mtu < 576 || o.mtu > maxPacket {
		fault("-mtu %d: must be 576 to %d", o.mtu, maxPacket)
	}
	if err := cli.CheckBlock("-block-size", o.block); err != nil {
		faults = append(faults, err)
	}
	if o.pathMTU != 0 && (o.pathMTU < 576 || o.pathMTU > maxPacket) {
		fault("-path-mtu %d: must be 576 to %d, or 0", o.pathMTU, maxPacket)
	}
	if o.mss != 0 && (o.mss < 64 || o.mss > 65495) {
		fault("-mss %d: must be 64 to 65495, or 0", o.mss)
	}
	if o.batch < 1 || o.batch > 1024 {
		fault("-batch %d: must be 1 to 1024", o.batch)
	}
	if o.stats < 0 {
		fault("-stats %v: must not be negative; 0 is none", o.stats)
	}
	if o.table < 1 || o.table > 1<<31-1 || o.table >= 253 && o.table <= 255 {
		fault("-table %d: must be 1 to 2147483647, and not 253, 254 or 255, which are the kernel's", o.table)
	}
	if o.priority < 1 || o.priority > 32764 {
		fault("-priority %d: must be 1 to 32764, before the rule for the main table", o.priority)
	}
	if len(faults) > 0 {
		return &usageError{errors.Join(faults...)}
	}
	return nil
}

func splitList(s string) []string {
	var out []string
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f != "" {
			out = append(out, f)
		}
	}
	return out
}

// parsePrefixes reads internal prefixes. A prefix with host bits is refused,
// because it is more often a slip than meant.
func parsePrefixes(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, f := range splitList(s) {
		p, err := netip.ParsePrefix(f)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is no prefix; write it like 100.64.0.0/10", f)
		case !p.Addr().Is4():
			return nil, fmt.Errorf("%v: only IPv4 is translated", p)
		case p != p.Masked():
			return nil, fmt.Errorf("%v has bits behind its length; did you mean %v?", p, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

// poolPrefixes turns the addresses of a pool into prefixes, for the routes that
// lead answers to the device.
func poolPrefixes(pool []alloc.Range) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range pool {
		out = append(out, rangePrefixes(r.First(), r.Last())...)
	}
	return out
}

// rangePrefixes returns the fewest prefixes that hold exactly the addresses
// from first to last.
func rangePrefixes(first, last netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for {
		bits := 32
		for bits > 0 {
			p := netip.PrefixFrom(first, bits-1)
			if p.Masked().Addr() != first || last.Less(lastAddr(p)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(first, bits)
		out = append(out, p)
		end := lastAddr(p)
		if end == last {
			return out
		}
		first = end.Next()
	}
}

// lastAddr returns the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}
