//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ruleProtocol marks the routing rules of this program (the attribute
// FRA_PROTOCOL, which ip rule shows as "proto 78"). No routing daemon in
// iproute2's list has this number.
const ruleProtocol = 78

// tunQueue is the number of packets that wait in the kernel for the program.
// The kernel's default, 500, is short of one burst of fragments.
const tunQueue = 4096

// step is one change of the host's network.
type step struct {
	command string // the ip or sysctl command that does the same
	do      func() error
	undo    func() error // nil where the change ends with the device
}

// hostPlan is all that the host needs besides the device itself. What it
// makes is of two sorts: routes and settings of the device, which the kernel
// removes with the device, also when the process is killed; and routing rules,
// which stay and which removeOrphanRules finds by their mark.
//
//	packets of clients:   from 100.64.0.0/10        -> table T -> device
//	out of the device:    iif device                -> main    -> next hop
//	answers to the pool:  203.0.113.0/29 dev device (main)     -> device
type hostPlan struct {
	steps []step
	done  int
}

// planHost lists the steps for the namespace that the device is in.
func planHost(n *namespace, o *options) (*hostPlan, error) {
	p := &hostPlan{}
	add := func(do, undo func() error, format string, args ...any) {
		p.steps = append(p.steps, step{fmt.Sprintf(format, args...), do, undo})
	}
	link := func() (netlink.Link, error) { return n.nl.LinkByName(o.tun) }

	if o.forward {
		const key = "net/ipv4/ip_forward"
		before, err := n.readSysctl(key)
		if err != nil {
			return nil, err
		}
		if before == "0" {
			add(func() error { return n.sysctl(key, "1") }, func() error { return n.sysctl(key, "0") },
				"sysctl -w net.ipv4.ip_forward=1")
		}
	}
	// Answers leave the device with sources whose route is another interface.
	// Loose mode accepts them; strict mode, if it is set for all, would win over 0.
	add(func() error { return n.sysctl("net/ipv4/conf/"+o.tun+"/rp_filter", "2") }, nil,
		"sysctl -w net.ipv4.conf.%s.rp_filter=2", o.tun)
	// The kernel's own ICMP errors about translated packets (time exceeded,
	// fragmentation needed) come out of the device with an address of this
	// host as source, and would be dropped as martians.
	add(func() error { return n.sysctl("net/ipv4/conf/"+o.tun+"/accept_local", "1") }, nil,
		"sysctl -w net.ipv4.conf.%s.accept_local=1", o.tun)
	add(func() error {
		err := n.sysctl("net/ipv6/conf/"+o.tun+"/disable_ipv6", "1")
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a kernel without IPv6
		}
		return err
	}, nil, "sysctl -w net.ipv6.conf.%s.disable_ipv6=1", o.tun)
	add(func() error {
		l, err := link()
		if err != nil {
			return err
		}
		return n.nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(o.address, 32))})
	}, nil, "ip address add %v/32 dev %s", o.address, o.tun)
	add(func() error {
		l, err := link()
		if err != nil {
			return err
		}
		if err := n.nl.LinkSetMTU(l, o.mtu); err != nil {
			return err
		}
		if err := n.nl.LinkSetTxQLen(l, tunQueue); err != nil {
			return err
		}
		return n.nl.LinkSetUp(l)
	}, nil, "ip link set %s mtu %d txqueuelen %d up", o.tun, o.mtu, tunQueue)

	route := func(table int, dst *net.IPNet) func() error {
		return func() error {
			l, err := link()
			if err != nil {
				return err
			}
			return n.nl.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Table: table, Dst: dst, Scope: netlink.SCOPE_LINK})
		}
	}
	for _, e := range poolPrefixes(o.pool) {
		add(route(unix.RT_TABLE_MAIN, ipNet(e)), nil, "ip route add %v dev %s", e, o.tun)
	}
	add(route(o.table, ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))), nil,
		"ip route add default dev %s table %d", o.tun, o.table)

	rule := func(r *netlink.Rule, text string) {
		r.Family, r.Protocol = netlink.FAMILY_V4, ruleProtocol
		add(func() error { return n.nl.RuleAdd(r) }, func() error { return n.nl.RuleDel(r) }, "ip rule add proto %d %s", ruleProtocol, text)
	}
	// What comes out of the device is routed as usual; the rule comes before
	// the next ones, so that no packet goes round.
	r := netlink.NewRule()
	r.Priority, r.IifName, r.Table = o.priority, o.tun, unix.RT_TABLE_MAIN
	rule(r, fmt.Sprintf("priority %d iif %s lookup main", r.Priority, o.tun))
	for _, in := range o.internal {
		// Packets between internal hosts, and what this host itself says to
		// its clients, are not translated.
		r := netlink.NewRule()
		r.Priority, r.Dst, r.Table = o.priority, ipNet(in), unix.RT_TABLE_MAIN
		rule(r, fmt.Sprintf("priority %d to %v lookup main", r.Priority, in))
	}
	for _, in := range o.internal {
		r := netlink.NewRule()
		r.Priority, r.Src, r.Table = o.priority+1, ipNet(in), o.table
		rule(r, fmt.Sprintf("priority %d from %v lookup %d", r.Priority, in, o.table))
	}
	return p, nil
}

// apply carries the steps out. At the first that fails it undoes those before.
func (p *hostPlan) apply() error {
	for i, s := range p.steps {
		if err := s.do(); err != nil {
			err = fmt.Errorf("%s: %w", s.command, err)
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
				err = &usageError{fmt.Errorf("missing permission: %w: run as root; in a container, /proc/sys must be writable (docker run --privileged)", err)}
			}
			p.done = i
			return errors.Join(err, p.undo())
		}
		p.done = i + 1
	}
	return nil
}

// undo takes back what outlives the device, the last step first.
func (p *hostPlan) undo() error {
	var errs []error
	for ; p.done > 0; p.done-- {
		s := p.steps[p.done-1]
		if s.undo == nil {
			continue
		}
		if err := s.undo(); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("undoing %q: %w", s.command, err))
		}
	}
	return errors.Join(errs...)
}

// String lists the commands, one a line.
func (p *hostPlan) String() string {
	var b strings.Builder
	for _, s := range p.steps {
		fmt.Fprintf(&b, "  %s\n", s.command)
	}
	return b.String()
}

// checkHost finds what on the host stands against the options, all together.
func checkHost(n *namespace, o *options) error {
	var faults []error
	if l, err := n.nl.LinkByName(o.tun); err == nil {
		faults = append(faults, nameTaken(o.tun, l.Type()))
	}
	if v, err := n.readSysctl("net/ipv4/ip_forward"); err == nil && v == "0" && !o.forward {
		faults = append(faults, errors.New("net.ipv4.ip_forward is 0, so the kernel would drop every packet of a client: give -enable-forwarding, or set it with \"sysctl -w net.ipv4.ip_forward=1\""))
	}
	addrs, err := n.nl.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		own, _ := netip.AddrFromSlice(a.IP.To4())
		for _, e := range o.pool {
			if e.Contains(own) {
				faults = append(faults, fmt.Errorf("-pool %v holds %v, an address of this host (%s): packets for it end here and never reach the device; take it out of the pool or off the interface", e, own, a.Label))
			}
		}
	}
	if o.setup {
		faults = append(faults, checkRouting(n, o)...)
	}
	if len(faults) > 0 {
		return &usageError{errors.Join(faults...)}
	}
	return nil
}

// checkRouting finds rules and routes of others where ours would go.
func checkRouting(n *namespace, o *options) []error {
	var faults []error
	rules, err := n.nl.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return []error{fmt.Errorf("listing routing rules: %w", err)}
	}
	for _, r := range rules {
		if r.Priority == o.priority || r.Priority == o.priority+1 {
			faults = append(faults, fmt.Errorf("a routing rule with priority %d exists: choose another with -priority", r.Priority))
		}
	}
	routes, err := n.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: o.table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return append(faults, fmt.Errorf("listing routes: %w", err))
	}
	if len(routes) > 0 {
		faults = append(faults, fmt.Errorf("routing table %d holds %d routes: choose an empty one with -table", o.table, len(routes)))
	}
	return faults
}

// hostLeftovers lists what of a gateway is in a namespace: device, routes, rules.
func hostLeftovers(n *namespace, o *options) (left []string, err error) {
	if _, err := n.nl.LinkByName(o.tun); err == nil {
		left = append(left, "device "+o.tun)
	}
	rules, err := n.nl.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return left, err
	}
	for _, r := range rules {
		if r.Protocol == ruleProtocol {
			left = append(left, "rule "+strconv.Itoa(r.Priority))
		}
	}
	routes, err := n.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: o.table}, netlink.RT_FILTER_TABLE)
	if len(routes) > 0 {
		left = append(left, fmt.Sprintf("%d routes in table %d", len(routes), o.table))
	}
	return left, err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
