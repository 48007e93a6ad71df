//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// runArgs is a legal command line for the demo's router.
func runArgs(more ...string) []string {
	return append([]string{"run", "-pool", demoPool.String(), "-stats", "1s"}, more...)
}

// runOptions are the options behind runArgs.
func runOptions() *options {
	o := defaultOptions()
	return &o
}

// expectLeft compares what of a gateway is in a namespace.
func expectLeft(t *testing.T, n *namespace, some bool) {
	t.Helper()
	left, err := hostLeftovers(n, runOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 != some {
		t.Errorf("left on the router: %v", left)
	}
}

// TestRun starts the program on a router, sends traffic through it, and ends it
// by a signal, by force, and by removing its device.
func TestRun(t *testing.T) {
	top := testTopology(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := startServer(ctx, top.server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, router := top.clients[0], top.router.namespace
	fetch := func() view {
		t.Helper()
		v, err := client.fetch(ctx, s.at(portHTTP), 300_000)
		if err != nil || !demoPool.Contains(v.seen.Addr()) {
			t.Fatalf("%v seen as %v: %v", v.own, v.seen, err)
		}
		return v
	}
	records := filepath.Join(t.TempDir(), "blocks.jsonl")

	t.Run("interrupted", func(t *testing.T) {
		p := start(t, router, runArgs("-records", records)...)
		p.awaitLine("set up, and removed at the end")
		v := fetch()
		p.awaitLine(" blocks=1 ") // the statistics line of each second
		p.signal(syscall.SIGINT)
		p.expect(exitOK, "ip rule add proto 78 priority 6889 from 100.64.0.0/10 lookup 6888", "statistics", "heating 1")
		expectLeft(t, router, false)

		b, err := os.ReadFile(records)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := parseBlockRecords(b)
		if err != nil || len(rs) != 2 || rs[1].Kind != "block-released" {
			t.Fatalf("the records are not one allocation and its release (%v):\n%s", err, b)
		}
		if r, err := resolve(rs, v.seen, v.at); err != nil || r.Subscriber != client.addr {
			t.Errorf("%v leads to %v: %v", v.seen, r.Subscriber, err)
		}
		if _, err := resolve(rs, v.seen, time.Now()); err == nil {
			t.Error("the block is still somebody's after the end")
		}
	})
	for _, next := range []string{"cleanup", "run"} {
		t.Run("killed, then "+next, func(t *testing.T) {
			p := start(t, router, runArgs("-gso=false")...)
			p.awaitLine("set up, and removed at the end")
			fetch()
			p.signal(syscall.SIGKILL)
			p.expect(-1)
			expectLeft(t, router, true)
			if next == "cleanup" {
				start(t, router, "cleanup").expect(exitOK, "removed routing rule 6888", "removed routing rule 6889")
				expectLeft(t, router, false)
				start(t, router, "cleanup").expect(exitOK, "nothing to remove")
				return
			}
			q := start(t, router, runArgs()...)
			q.awaitLine("set up, and removed at the end")
			fetch()
			q.signal(syscall.SIGTERM)
			q.expect(exitOK, "removed what a killed process left: routing rule 6889")
			expectLeft(t, router, false)
		})
	}
	t.Run("cleanup spares the living", func(t *testing.T) {
		p := start(t, router, runArgs()...)
		p.awaitLine("set up, and removed at the end")
		start(t, router, "cleanup").expect(exitOK, "nothing to remove")
		fetch()
		p.signal(syscall.SIGINT)
		p.expect(exitOK)
		expectLeft(t, router, false)
	})
	t.Run("device removed", func(t *testing.T) {
		p := start(t, router, runArgs()...)
		p.awaitLine("set up, and removed at the end")
		l, err := router.nl.LinkByName("tunnat0")
		if err != nil {
			t.Fatal(err)
		}
		if err := router.nl.LinkDel(l); err != nil {
			t.Fatal(err)
		}
		p.expect(exitFailed, "the TUN device was removed")
		expectLeft(t, router, false)
	})
	t.Run("printed, then done by hand", func(t *testing.T) {
		p := start(t, router, runArgs("-setup=false")...)
		p.awaitLine("set up nothing; the host needs:")
		p.awaitLine("lookup 6888")
		rules, err := router.nl.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Priority: 6888}, netlink.RT_FILTER_PRIORITY)
		if err != nil || len(rules) > 0 {
			t.Errorf("rules were made: %v %v", rules, err)
		}
		plan, err := planHost(router, &options{tun: "tunnat0", address: runOptions().address, mtu: 1500,
			internal: runOptions().internal, pool: defaultDemoOptions().pool, table: 6888, priority: 6888})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.out.String(), plan.String()) {
			t.Errorf("the output lacks the commands\n%v\nand is\n%v", plan, p.out)
		}
		if err := plan.apply(); err != nil {
			t.Fatal(err)
		}
		fetch()
		p.signal(syscall.SIGINT)
		p.expect(exitOK)
		if err := plan.undo(); err != nil {
			t.Error(err)
		}
		expectLeft(t, router, false)
	})
}

// TestRunForwarding switches IP forwarding on and back off.
func TestRunForwarding(t *testing.T) {
	n := testNamespace(t)
	if err := n.sysctl("net/ipv4/ip_forward", "0"); err != nil {
		t.Fatal(err)
	}
	start(t, n, runArgs()...).expect(exitUsage, "net.ipv4.ip_forward is 0", "-enable-forwarding")
	p := start(t, n, runArgs("-enable-forwarding")...)
	p.awaitLine("set up, and removed at the end")
	if v, err := n.readSysctl("net/ipv4/ip_forward"); err != nil || v != "1" {
		t.Errorf("ip_forward is %q while the program runs (%v)", v, err)
	}
	p.signal(syscall.SIGINT)
	p.expect(exitOK)
	if v, err := n.readSysctl("net/ipv4/ip_forward"); err != nil || v != "0" {
		t.Errorf("ip_forward is %q at the end (%v)", v, err)
	}
}

// TestRunFaults starts the program on a host that it cannot run on.
func TestRunFaults(t *testing.T) {
	n := testNamespace(t)
	if err := n.sysctl("net/ipv4/ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	other := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "taken0"}, PeerName: "peer0"}
	if err := n.nl.LinkAdd(other); err != nil {
		t.Fatal(err)
	}
	host := &node{namespace: n, title: "host"}
	if err := errors.Join(host.up("taken0", routerUplink), host.up("peer0", transitUplink)); err != nil {
		t.Fatal(err)
	}
	t.Run("name taken", func(t *testing.T) {
		start(t, n, runArgs("-tun", "taken0")...).expect(exitUsage,
			"the name taken0 is taken (a device of type veth)", "choose another with -tun")
	})
	t.Run("name taken in between", func(t *testing.T) {
		err := n.do(func() error {
			_, err := openTUN("taken0", true)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "choose another with -tun") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		start(t, n, "run", "-tun", "taken0", "-pool", "192.0.2.0/29").expect(exitUsage,
			"the name taken0 is taken", "192.0.2.1, an address of this host (taken0)")
	})
	t.Run("second instance", func(t *testing.T) {
		p := start(t, n, runArgs()...)
		p.awaitLine("set up, and removed at the end")
		start(t, n, runArgs()...).expect(exitUsage, "the name tunnat0 is taken (a device of type tuntap)",
			"a routing rule with priority 6888 exists: choose another with -priority",
			"routing table 6888 holds 1 routes: choose an empty one with -table")
		q := start(t, n, "run", "-tun", "other0", "-pool", "203.0.113.128/29", "-internal", "10.0.0.0/8", "-priority", "7000", "-table", "7000")
		q.awaitLine("set up, and removed at the end")
		q.signal(syscall.SIGINT)
		q.expect(exitOK)
		p.signal(syscall.SIGINT)
		p.expect(exitOK)
		expectLeft(t, n, false)
	})
	t.Run("half set up", func(t *testing.T) {
		// A route that is there already makes a step fail after the first ones.
		lo, err := n.nl.LinkByName("taken0")
		if err != nil {
			t.Fatal(err)
		}
		r := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(demoPool), Scope: netlink.SCOPE_LINK, Table: unix.RT_TABLE_MAIN}
		if err := n.nl.RouteAdd(r); err != nil {
			t.Fatal(err)
		}
		start(t, n, runArgs()...).expect(exitFailed, "ip route add 203.0.113.0/29 dev tunnat0: file exists")
		expectLeft(t, n, false)
		if err := n.nl.RouteDel(r); err != nil {
			t.Error(err)
		}
	})
	t.Run("engine refuses", func(t *testing.T) {
		start(t, n, runArgs("-pool", "203.0.113.0/29,203.0.113.1")...).expect(exitUsage, "-pool 203.0.113.0/29 and 203.0.113.1: must not overlap")
		expectLeft(t, n, false)
	})
}

// dropCapability takes a capability from what programs started by this thread can get.
func dropCapability(c capability) func() error {
	return func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c.bit), 0, 0, 0) }
}

// TestMissingPermission starts the program without what it needs.
func TestMissingPermission(t *testing.T) {
	n := testNamespace(t)
	for _, tt := range []struct {
		name   string
		giveUp func() error
		args   []string
		text   string
	}{
		{"run without CAP_NET_ADMIN", dropCapability(capNetAdmin), runArgs(), "missing permission: the process (uid 0) lacks CAP_NET_ADMIN (to make a TUN device, routes and routing rules): root of a container"},
		{"demo without CAP_SYS_ADMIN", dropCapability(capSysAdmin), []string{"demo"}, "lacks CAP_SYS_ADMIN (to make network namespaces)"},
		{"demo without CAP_NET_RAW", dropCapability(capNetRaw), []string{"demo"}, "lacks CAP_NET_RAW (to send pings"},
		{"cleanup without CAP_SYS_ADMIN", dropCapability(capSysAdmin), []string{"cleanup"}, "lacks CAP_SYS_ADMIN"},
		{"no /dev/net/tun", hideTUN, runArgs("-enable-forwarding"), "there is no /dev/net/tun: load the driver with \"modprobe tun\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			startWithout(t, n, tt.giveUp, tt.args...).expect(exitUsage, tt.text)
		})
	}
	// run needs CAP_NET_ADMIN only.
	t.Run("run without CAP_SYS_ADMIN", func(t *testing.T) {
		p := startWithout(t, n, dropCapability(capSysAdmin), runArgs("-enable-forwarding")...)
		p.awaitLine("set up, and removed at the end")
		p.signal(syscall.SIGINT)
		p.expect(exitOK)
		expectLeft(t, n, false)
	})
}

// hideTUN covers /dev/net with an empty directory, for this thread and what it starts.
func hideTUN() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "")
}

// TestUsage needs no permission: wrong command lines are answered first.
func TestUsage(t *testing.T) {
	run := func(args ...string) (int, string) {
		var out lineBuffer
		return command(args, &out, &out), out.String()
	}
	for _, tt := range []struct {
		args []string
		code int
		text []string
	}{
		{nil, exitUsage, []string{"tunnat demo", "tunnat run", "tunnat cleanup"}},
		{[]string{"help"}, exitOK, []string{"tunnat demo"}},
		{[]string{"fly"}, exitUsage, []string{`there is no command "fly"`}},
		{[]string{"run", "-h"}, exitOK, []string{"-pool", "-records", "-batch", "-stats"}},
		{[]string{"demo", "-h"}, exitOK, []string{"-clients", "-hold"}},
		{[]string{"cleanup", "-h"}, exitOK, []string{"proto 78"}},
		{[]string{"run", "-speed", "9"}, exitUsage, []string{"-speed", "-h lists the flags"}},
		{[]string{"run", "-pool", "203.0.113.1", "-block-size", "100", "-batch", "0"}, exitUsage, []string{"tunnat run: -block-size 100", "tunnat run: -batch 0"}},
		{[]string{"run", "now"}, exitUsage, []string{`"now" is no flag`}},
		{[]string{"run"}, exitUsage, []string{"-pool: name at least one external address, such as -pool 203.0.113.0/29"}},
		{[]string{"run", "-pool", "203.0.113.0/33"}, exitUsage, []string{"203.0.113.0/33", "prefix"}},
		{[]string{"run", "-pool", "2001:db8::/64"}, exitUsage, []string{"only IPv4 is translated"}},
		{[]string{"run", "-pool", "203.0.113.9-203.0.113.1"}, exitUsage, []string{"swap them"}},
		{[]string{"run", "-internal", "100.64.0.0"}, exitUsage, []string{`"100.64.0.0" is no prefix`}},
		{[]string{"run", "-internal", "100.64.0.1/10"}, exitUsage, []string{"did you mean 100.64.0.0/10?"}},
		{[]string{"run", "-pool", "100.100.0.0/29,203.0.113.1"}, exitUsage, []string{"-pool 100.100.0.0/29 overlaps -internal 100.64.0.0/10", "take it out of one of them"}},
		{[]string{"run", "-pool", "203.0.113.1", "-tun", "a/b", "-batch", "0", "-mtu", "100", "-table", "254", "-priority", "32766", "-tun-address", "100.64.0.1", "-stats", "-1s"}, exitUsage,
			[]string{"-tun \"a/b\"", "-batch 0", "-mtu 100", "-table 254", "-priority 32766", "-tun-address 100.64.0.1 lies in the internal prefix", "-stats -1s"}},
		{[]string{"demo", "-clients", "1", "-connections", "0", "-bytes", "0", "-only", "telnet"}, exitUsage,
			[]string{"-clients 1", "-connections 0", "-bytes 0", "-only telnet: there is no such check; the checks are http, ping"}},
	} {
		code, out := run(tt.args...)
		if code != tt.code {
			t.Errorf("tunnat %v: exit code %d, want %d", tt.args, code, tt.code)
		}
		for _, text := range tt.text {
			if !strings.Contains(out, text) {
				t.Errorf("tunnat %v: %q is not in the output:\n%s", tt.args, text, out)
			}
		}
		if tt.code == exitUsage && len(tt.args) > 0 && strings.Contains(out, "make the routes and routing rules") {
			t.Errorf("tunnat %v: a slip prints the whole help:\n%s", tt.args, out)
		}
		if regexp.MustCompile(`(?i)panic|goroutine`).MatchString(out) {
			t.Errorf("tunnat %v: panic:\n%s", tt.args, out)
		}
	}
}
