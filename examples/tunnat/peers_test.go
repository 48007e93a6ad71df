//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/vishvananda/netlink"
)

// The tests in peers_*_test.go put programs that others wrote on both sides
// of the NAT: what they report, and not this program's own clients, is the evidence. Debian's
// packages of the programs are named in needTools; .ci/run installs them.

// serverAddrTwo is a second address of the server, which STUN's behaviour discovery needs (RFC 5780).
var serverAddrTwo = netip.MustParsePrefix("198.51.100.11/24")

// needTools skips the test where a program is missing, and fails it there when
// BLOCKNAT_NETNS=1 says that all must be there.
func needTools(t *testing.T, tools ...string) {
	t.Helper()
	packages := map[string]string{
		"curl": "curl", "dnsmasq": "dnsmasq-base", "iperf3": "iperf3", "ping": "iputils-ping", "traceroute": "traceroute",
		"turnserver": "coturn", "turnutils_natdiscovery": "coturn", "vsftpd": "vsftpd",
	}
	for _, tool := range tools {
		_, err := exec.LookPath(tool)
		switch {
		case err == nil:
		case os.Getenv("BLOCKNAT_NETNS") == "1":
			t.Fatalf("BLOCKNAT_NETNS=1 asks for the tests with other programs: install Debian's %s: %v", packages[tool], err)
		default:
			t.Skipf("this test needs Debian's %s (BLOCKNAT_NETNS=1 makes this a failure): %v", packages[tool], err)
		}
	}
}

// peerNetwork is the demo's network with the translator at work, without the demo's clients.
type peerNetwork struct {
	*topology
	engine *natcore.Engine
}

// startPeers builds the network and starts the translator with a changed
// configuration. Everything ends with the test.
func startPeers(t *testing.T, clients int, change func(*natcore.Config)) *peerNetwork {
	t.Helper()
	n := &peerNetwork{topology: testTopology(t, clients)}
	l, err := n.server.nl.LinkByName("eth0")
	if err == nil {
		err = n.server.nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(serverAddrTwo)})
	}
	if err != nil {
		t.Fatal(err)
	}
	o := defaultDemoOptions().options
	cfg := engineConfig(&o, logging.Discard)
	if change != nil {
		change(&cfg)
	}
	if n.engine, err = natcore.New(cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(n.router.namespace, o, n.engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, g.close(), n.engine.CheckInvariants()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("statistics: %+v", n.engine.Stats())
		}
	})
	return n
}

// begin starts a program in the node's namespace. It gets SIGKILL when the test ends, and
// when the test's process dies: its parent is a thread that lasts as long as the program does.
func (n *node) begin(t *testing.T, cmd *exec.Cmd) (wait func() error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	begun, ended := make(chan error, 1), make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = n.do(func() error {
			err := cmd.Start()
			begun <- err
			if err != nil {
				return err
			}
			return cmd.Wait()
		})
	}()
	select {
	case err = <-begun:
	case <-ended: // the namespace could not be entered
		err = result
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		// The group holds what the program started. Its number is not another's
		// before Wait has taken the program's status.
		select {
		case <-ended:
		default:
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	return func() error { <-ended; return result }, nil
}

// serve starts a server program and waits until a TCP connection to it is accepted in its own namespace.
func (n *node) serve(t *testing.T, at netip.AddrPort, name string, args ...string) *lineBuffer {
	t.Helper()
	out := &lineBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), out, out
	if _, err := n.begin(t, cmd); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := n.dial(t.Context(), &net.Dialer{Timeout: time.Second}, "tcp4", at.String()); err == nil {
			c.Close()
			return out
		}
	}
	t.Fatalf("%s does not listen at %v after 15 s; its output is:\n%s", name, at, out)
	return nil
}

// run runs a program to its end and returns its output. Any exit code but 0 fails the test.
func (n *node) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out := &lineBuffer{}
	if err := n.exec(t, out, name, args...); err != nil {
		t.Fatalf("%s %s: %v; its output is:\n%s", name, strings.Join(args, " "), err, out)
	}
	return out.String()
}

// exec runs a program to its end, for a minute at most, and writes its output to out. It may be called
// from any goroutine of the test.
func (n *node) exec(t *testing.T, out io.Writer, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Stdout, cmd.Stderr = out, out
	wait, err := n.begin(t, cmd)
	if err != nil {
		return err
	}
	return wait()
}
