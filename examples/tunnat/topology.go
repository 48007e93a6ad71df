//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the demo's network. Clients have shared address space (RFC
// 6598), everything else is from the documentation prefixes (RFC 5737).
var (
	demoPool      = netip.MustParsePrefix("203.0.113.0/29")
	routerUplink  = netip.MustParsePrefix("192.0.2.1/30")
	transitUplink = netip.MustParsePrefix("192.0.2.2/30")
	transitServer = netip.MustParsePrefix("198.51.100.1/24")
	serverAddr    = netip.MustParsePrefix("198.51.100.10/24")
	anywhere      = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
)

// uplinkMTU is the MTU between router and transit. It is smaller than that of
// the links around it, so that path MTU discovery has something to discover.
const (
	linkMTU   = 1500
	uplinkMTU = 1400
)

// maxClients bounds the clients of a demo; the third byte of the address tells them apart.
const maxClients = 64

// node is one host of the demo: a namespace and the address that it talks with.
type node struct {
	*namespace
	title string
	addr  netip.Addr
}

// topology is the demo's network. The servers' side has no route to the
// clients' addresses: an answer comes back only if the packet was translated.
//
//	client 1   client 2   ...        100.64.1.2, 100.64.2.2, ...
//	    \       /
//	     router      <-> TUN device  pool 203.0.113.0/29
//	       |                         192.0.2.0/30, MTU 1400
//	     transit
//	       |                         198.51.100.0/24
//	     server                      198.51.100.10
type topology struct {
	clients                 []*node
	router, transit, server *node
	all                     []*node
}

// clientPrefix returns the address of client i (from 0), and that of the router on its link.
func clientPrefix(i int) (client, router netip.Prefix) {
	b := [4]byte{100, 64, byte(i + 1), 2}
	c := netip.AddrFrom4(b)
	b[3] = 1
	return netip.PrefixFrom(c, 24), netip.PrefixFrom(netip.AddrFrom4(b), 24)
}

// buildTopology makes the namespaces and links. After an error nothing is left.
func buildTopology(o owner, clients int) (t *topology, err error) {
	t = &topology{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.remove())
			t = nil
		}
	}()
	add := func(title string, addr netip.Prefix) (*node, error) {
		ns, err := newNamespace(o.name(title))
		if err != nil {
			return nil, err
		}
		n := &node{ns, title, addr.Addr()}
		t.all = append(t.all, n)
		return n, nil
	}
	if t.router, err = add("router", routerUplink); err != nil {
		return t, err
	}
	if t.transit, err = add("transit", transitUplink); err != nil {
		return t, err
	}
	if t.server, err = add("server", serverAddr); err != nil {
		return t, err
	}
	for i := range clients {
		addr, _ := clientPrefix(i)
		c, err := add(fmt.Sprintf("client%d", i+1), addr)
		if err != nil {
			return t, err
		}
		t.clients = append(t.clients, c)
	}
	return t, t.connect()
}

// connect makes links, addresses, routes and the settings of the routers.
func (t *topology) connect() error {
	for _, n := range []*node{t.router, t.transit, t.server} {
		// The kernel bounds the ICMP errors to one destination, and all of them; a
		// traceroute of several clients behind one address would lose some.
		if err := n.sysctl("net/ipv4/icmp_ratelimit", "0"); err != nil {
			return n.failed(err)
		}
		err := n.sysctl("net/ipv4/icmp_msgs_per_sec", "100000")
		if err == nil {
			err = n.sysctl("net/ipv4/icmp_msgs_burst", "10000")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // older kernels have one for all namespaces
			return n.failed(err)
		}
	}
	for _, n := range []*node{t.router, t.transit} {
		if err := n.sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return n.failed(err)
		}
	}
	for i, c := range t.clients {
		own, gateway := clientPrefix(i)
		if err := link(t.router, fmt.Sprintf("client%d", i+1), gateway, c, "eth0", own, linkMTU); err != nil {
			return err
		}
		if err := c.route(anywhere, gateway.Addr()); err != nil {
			return err
		}
		if err := t.router.checksumsOff(fmt.Sprintf("client%d", i+1)); err != nil {
			return t.router.failed(err)
		}
	}
	if err := link(t.router, "uplink", routerUplink, t.transit, "router", transitUplink, uplinkMTU); err != nil {
		return err
	}
	if err := link(t.transit, "server", transitServer, t.server, "eth0", serverAddr, linkMTU); err != nil {
		return err
	}
	if err := t.transit.checksumsOff("server"); err != nil {
		return t.transit.failed(err)
	}
	return errors.Join(
		t.router.route(anywhere, transitUplink.Addr()),
		t.transit.route(demoPool, routerUplink.Addr()),
		t.server.route(anywhere, transitServer.Addr()),
	)
}

// link connects two nodes with a veth pair.
func link(a *node, aName string, aAddr netip.Prefix, b *node, bName string, bAddr netip.Prefix, mtu int) error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: aName, MTU: mtu},
		PeerName:      bName,
		PeerMTU:       uint32(mtu),
		PeerNamespace: netlink.NsFd(b.handle),
	}
	if err := a.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("connecting %s and %s: %w", a.title, b.title, err)
	}
	return errors.Join(a.up(aName, aAddr), b.up(bName, bAddr))
}

// up gives a link its address and switches it on.
func (n *node) up(name string, addr netip.Prefix) error {
	l, err := n.nl.LinkByName(name)
	if err != nil {
		return n.failed(err)
	}
	if err := n.nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(addr)}); err != nil {
		return n.failed(err)
	}
	if err := n.nl.LinkSetUp(l); err != nil {
		return n.failed(err)
	}
	return nil
}

// route adds a route through a gateway.
func (n *node) route(dst netip.Prefix, gateway netip.Addr) error {
	r := &netlink.Route{Dst: ipNet(dst), Gw: gateway.AsSlice(), Table: unix.RT_TABLE_MAIN}
	if err := n.nl.RouteAdd(r); err != nil {
		return n.failed(fmt.Errorf("route to %v by %v: %w", dst, gateway, err))
	}
	return nil
}

func (n *node) failed(err error) error { return fmt.Errorf("setting up %s: %w", n.title, err) }

// remove removes all namespaces, and the links with them.
func (t *topology) remove() error {
	var errs []error
	for _, n := range t.all {
		errs = append(errs, n.remove())
	}
	t.all = nil
	return errors.Join(errs...)
}

// draw prints the network.
func (t *topology) draw(w io.Writer, o *options) {
	fmt.Fprintln(w, "network (every line is a network namespace)")
	for _, c := range t.clients {
		fmt.Fprintf(w, "  %-9s %s\n", c.title, c.addr)
	}
	fmt.Fprintf(w, "  %-9s clients' gateway; %s translates %v to %v, blocks of %d ports, gso %v\n",
		t.router.title, o.tun, joined(o.internal), joined(o.pool), o.block, o.offload)
	fmt.Fprintf(w, "  %-9s %s; link to the router has MTU %d; knows the pool, not the clients\n", t.transit.title, t.transit.addr, uplinkMTU)
	fmt.Fprintf(w, "  %-9s %s\n", t.server.title, t.server.addr)
}
