//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// check is one thing that the demo proves. run returns what was seen, in a few words.
type check struct {
	name string
	run  func(ctx context.Context, d *demo) (string, error)
}

// result is the verdict on a check.
type result struct {
	name   string
	detail string
	err    error
	took   time.Duration
}

// trafficChecks need the running translator, in this order.
var trafficChecks = []check{
	{"http", checkHTTP},
	{"ping", checkPing},
	{"udp", checkUDP},
	{"mapping", checkMapping},
	{"traceroute", checkTraceroute},
	{"path-mtu", checkPathMTU},
	{"fragments", checkFragments},
	{"parallel-tcp", checkParallelTCP},
	{"hairpin-udp", checkHairpinUDP},
	{"hairpin-tcp", checkHairpinTCP},
	{"unsolicited", checkUnsolicited},
	{"hidden", checkHidden},
	{"pairing", checkPairing},
	{"records", checkRecords},
}

// eachClient calls f for all clients at once and joins their errors.
func (d *demo) eachClient(f func(i int, c *node) error) error {
	errs := make([]error, len(d.top.clients))
	var wg sync.WaitGroup
	for i, c := range d.top.clients {
		wg.Go(func() {
			if err := f(i, c); err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.title, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// saw remembers a view and refuses one that was not translated.
func (d *demo) saw(v view) error {
	d.mu.Lock()
	d.views = append(d.views, v)
	d.mu.Unlock()
	if !demoPool.Contains(v.seen.Addr()) {
		return fmt.Errorf("the server saw %v, which is not of the pool %v: the packet was not translated", v.seen, demoPool)
	}
	return nil
}

func checkHTTP(ctx context.Context, d *demo) (string, error) {
	err := d.eachClient(func(_ int, c *node) error {
		v, err := c.fetch(ctx, d.server.at(portHTTP), d.opts.bytes)
		if err != nil {
			return err
		}
		return d.saw(v)
	})
	return fmt.Sprintf("%d clients fetched %s each, SHA-256 right", len(d.top.clients), size(d.opts.bytes)), err
}

func checkPing(ctx context.Context, d *demo) (string, error) {
	sizes := []int{8, 56, 1, 1000}
	var mu sync.Mutex
	var worst time.Duration
	err := d.eachClient(func(i int, c *node) error {
		sock, err := c.icmpSocket(ctx)
		if err != nil {
			return err
		}
		defer sock.Close()
		// All clients use one identifier, also 0, which is legal: the
		// translator has to tell them apart.
		for seq, n := range sizes {
			id := uint16(seq % 2 * 4711)
			nonce, rtt, err := c.ping(sock, d.server.node.addr, id, uint16(seq), n)
			if err != nil {
				return err
			}
			mu.Lock()
			worst = max(worst, rtt)
			mu.Unlock()
			v := view{at: time.Now(), protocol: "icmp", client: c, own: netip.AddrPortFrom(c.addr, id)}
			if v.seen, err = d.awaitPing(ctx, nonce); err != nil {
				return err
			}
			if err := d.saw(v); err != nil {
				return err
			}
		}
		return nil
	})
	return fmt.Sprintf("%d echo replies, identifiers restored, slowest %v", len(sizes)*len(d.top.clients), worst.Round(time.Microsecond)), err
}

// awaitPing waits until the server has looked at the ping with this nonce.
func (d *demo) awaitPing(ctx context.Context, nonce uint64) (netip.AddrPort, error) {
	for end := time.Now().Add(wait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if seen, ok := d.server.pingSeen(nonce); ok {
			return seen, nil
		}
	}
	return netip.AddrPort{}, errors.New("the server never saw the echo request")
}

func checkUDP(ctx context.Context, d *demo) (string, error) {
	// Questions and answers of DNS: classic, the 512-byte limit of RFC 1035,
	// and the EDNS size that resolvers agree on.
	exchanges := [][2]int{{28, 44}, {40, 512}, {64, 1232}, {512, 512}}
	err := d.eachClient(func(_ int, c *node) error {
		sock, err := c.udpSocket(ctx)
		if err != nil {
			return err
		}
		defer sock.Close()
		for _, x := range exchanges {
			v, err := c.ask(sock, d.server.at(portUDP), x[0], x[1])
			if err != nil {
				return err
			}
			if err := d.saw(v); err != nil {
				return err
			}
		}
		return nil
	})
	return fmt.Sprintf("%d questions of 28 to 512 bytes answered with 44 to 1232 bytes", len(exchanges)*len(d.top.clients)), err
}

// checkMapping is RFC 4787 REQ-1: one internal endpoint, one external endpoint,
// whatever the remote one is.
func checkMapping(ctx context.Context, d *demo) (string, error) {
	err := d.eachClient(func(_ int, c *node) error {
		sock, err := c.udpSocket(ctx)
		if err != nil {
			return err
		}
		defer sock.Close()
		one, err := c.ask(sock, d.server.at(portUDP), 40, 40)
		if err != nil {
			return err
		}
		two, err := c.ask(sock, d.server.at(portUDPTwo), 40, 40)
		if err != nil {
			return err
		}
		if one.seen != two.seen {
			return fmt.Errorf("%v was %v to port %d and %v to port %d", one.own, one.seen, portUDP, two.seen, portUDPTwo)
		}
		return errors.Join(d.saw(one), d.saw(two))
	})
	return "one socket has one external endpoint towards two servers' ports", err
}

func checkTraceroute(ctx context.Context, d *demo) (string, error) {
	traces := make([][]hop, len(d.top.clients))
	err := d.eachClient(func(i int, c *node) error {
		hops, err := c.traceroute(ctx, d.server.node.addr, 8)
		traces[i] = hops
		if err != nil {
			return err
		}
		// The router counts twice: once in front of the translator and once
		// behind it, where its error passes the translator on the way back.
		_, gateway := clientPrefix(i)
		want := []netip.Addr{gateway.Addr(), d.opts.address, d.top.transit.addr, d.server.node.addr}
		for k, h := range hops {
			if k >= len(want) || h.from != want[k] {
				return fmt.Errorf("hops %v, expected %v", hops, want)
			}
		}
		if len(hops) != len(want) {
			return fmt.Errorf("%d hops, expected %d", len(hops), len(want))
		}
		return nil
	})
	d.trace = traces[0]
	return "4 hops for each client, ICMP errors quote the client's own packet", err
}

// checkPathMTU needs the ICMP error of the router to reach the client.
func checkPathMTU(ctx context.Context, d *demo) (string, error) {
	err := d.eachClient(func(_ int, c *node) error {
		mtu, err := c.pathMTU(ctx, d.server.at(portUDP))
		if err == nil && mtu != uplinkMTU {
			err = fmt.Errorf("the client believes in an MTU of %d, the path has %d", mtu, uplinkMTU)
		}
		return err
	})
	return fmt.Sprintf("the clients learnt from \"fragmentation needed\" that the path takes %d bytes", uplinkMTU), err
}

// checkFragments sends datagrams that the kernel cuts, and some that the client
// cuts itself and whose last fragment comes first: the translator has to hold
// that one back until it knows the ports (RFC 4787 REQ-14).
func checkFragments(ctx context.Context, d *demo) (string, error) {
	sizes := [][2]int{{3000, 64}, {64, 3000}, {9000, 9000}}
	held := func() uint64 { return d.engine.Stats().Packets[natcore.Outbound][natcore.Held] }
	before := held()
	err := d.eachClient(func(_ int, c *node) error {
		sock, err := c.udpSocket(ctx)
		if err != nil {
			return err
		}
		defer sock.Close()
		for _, x := range sizes {
			v, err := c.ask(sock, d.server.at(portUDP), x[0], x[1])
			if err != nil {
				return err
			}
			if err := d.saw(v); err != nil {
				return err
			}
		}
		v, err := c.askReversed(sock, d.server.at(portUDP), 1000, 64)
		if err != nil {
			return fmt.Errorf("last fragment first: %w", err)
		}
		return d.saw(v)
	})
	waited := held() - before
	if n := uint64(len(d.top.clients)); err == nil && waited < n {
		err = fmt.Errorf("%d last fragments came first, %d were held", n, waited)
	}
	return fmt.Sprintf("%d datagrams of up to 9000 bytes passed in fragments, %d last fragments that came first waited",
		2*len(sizes)*len(d.top.clients), waited), err
}

func checkParallelTCP(ctx context.Context, d *demo) (string, error) {
	var mu sync.Mutex
	var open []*bulkTransfer
	err := d.eachClient(func(_ int, c *node) error {
		for range d.opts.connections {
			b, err := c.openBulk(ctx, d.server.at(portBulk), int64(d.opts.bytes))
			if err != nil {
				return err
			}
			mu.Lock()
			open = append(open, b)
			mu.Unlock()
			if err := d.saw(b.view); err != nil {
				return err
			}
		}
		return nil
	})
	// All connections are open now: no two may share an external endpoint.
	holders := map[netip.AddrPort]netip.AddrPort{}
	for _, b := range open {
		if other, taken := holders[b.seen]; taken {
			err = errors.Join(err, fmt.Errorf("%v and %v were both %v at one time", other, b.own, b.seen))
		}
		holders[b.seen] = b.own
	}
	start := time.Now()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, b := range open {
		wg.Go(func() {
			if err := b.transfer(); err != nil {
				errs[i] = fmt.Errorf("%s %v: %w", b.client.title, b.own, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	total := 2 * len(open) * d.opts.bytes
	detail := fmt.Sprintf("%d connections of %d clients at once, %s each way, SHA-256 right, %.2f Gbit/s in all",
		len(open), len(d.top.clients), size(d.opts.bytes), float64(total)*8/took.Seconds()/1e9)
	return detail, errors.Join(err, errors.Join(errs...))
}

func checkUnsolicited(ctx context.Context, d *demo) (string, error) {
	drops := func() uint64 { return d.engine.Stats().Drops[natcore.ReasonNoMapping] }
	before := drops()
	sock, err := d.server.node.udpSocket(ctx)
	if err != nil {
		return "", err
	}
	defer sock.Close()
	sent := uint64(0)
	// Port 7 lies below the ports that are given out.
	for a := demoPool.Addr(); demoPool.Contains(a); a = a.Next() {
		if _, err := sock.WriteToUDPAddrPort([]byte("nobody asked for this"), netip.AddrPortFrom(a, 7)); err != nil {
			return "", err
		}
		sent++
	}
	for end := time.Now().Add(wait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if drops() >= before+sent {
			return fmt.Sprintf("%d packets to ports that nobody holds were dropped: %s", sent, natcore.ReasonNoMapping), nil
		}
	}
	return "", fmt.Errorf("%d packets were sent to ports that nobody holds, %d were dropped for %q", sent, drops()-before, natcore.ReasonNoMapping)
}

// checkHidden looks at all that the server ever received.
func checkHidden(_ context.Context, d *demo) (string, error) {
	sources := d.server.sources()
	n := 0
	for a, k := range sources {
		if !demoPool.Contains(a) {
			return "", fmt.Errorf("the server received %d packets from %v, which is not of the pool", k, a)
		}
		n += k
	}
	if n == 0 {
		return "", errors.New("the server received nothing")
	}
	return fmt.Sprintf("the server never saw an address of a client; %d exchanges from %d addresses of the pool", n, len(sources)), nil
}

// checkPairing is RFC 4787 REQ-2: all that a subscriber sends has one external address.
func checkPairing(_ context.Context, d *demo) (string, error) {
	paired := map[*node]netip.Addr{}
	for _, v := range d.views {
		if a, ok := paired[v.client]; ok && a != v.seen.Addr() {
			return "", fmt.Errorf("%s was %v and %v", v.client.title, a, v.seen.Addr())
		}
		paired[v.client] = v.seen.Addr()
	}
	if len(paired) != len(d.top.clients) {
		return "", fmt.Errorf("only %d of %d clients were seen", len(paired), len(d.top.clients))
	}
	return "every client has one external address for TCP, UDP and ICMP", nil
}

// checkRecords finds every client by the records alone, from what the server
// saw and when, as an abuse desk would.
func checkRecords(_ context.Context, d *demo) (string, error) {
	records, err := parseBlockRecords(d.records.bytes())
	if err != nil {
		return "", err
	}
	var errs []error
	for _, v := range d.views {
		who, err := resolve(records, v.seen, v.at)
		switch {
		case err != nil:
			errs = append(errs, err)
		case who.Subscriber != v.client.addr:
			errs = append(errs, fmt.Errorf("%v at %v was %v, the records say %v", v.seen, v.at.UTC(), v.client.addr, who.Subscriber))
		}
	}
	if len(d.views) == 0 {
		errs = append(errs, errors.New("there is nothing to resolve"))
	}
	return fmt.Sprintf("%d endpoints that the server saw lead through %d block records to their clients", len(d.views), len(records)), errors.Join(errs...)
}

// checkRouter looks at the router when the translator has ended.
func checkRouter(_ context.Context, d *demo) (string, error) {
	left, err := hostLeftovers(d.top.router.namespace, &d.opts.options)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left on the router: %v", left)
	}
	return "the translator took its device, routes and rules away", err
}

// checkRemoved looks for names of this process when the network is removed.
func checkRemoved(_ context.Context, d *demo) (string, error) {
	names, err := namedNamespaces()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if o, ok := parseOwner(name); ok && o == d.owner {
			err = errors.Join(err, fmt.Errorf("%s/%s is left", netnsDir, name))
		}
	}
	if _, serr := os.Stat("/sys/class/net/" + d.opts.tun); serr == nil {
		// The demo makes its device in the router's namespace, never here.
		return "", errors.Join(err, fmt.Errorf("a device %s is outside the demo's namespaces", d.opts.tun))
	}
	return "no namespace, link or rule is left", err
}

// size prints bytes in the unit that suits.
func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
