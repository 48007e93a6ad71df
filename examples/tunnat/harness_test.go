//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// asProgram makes the test binary behave as the program, so that tests can
// start it, interrupt it and kill it.
const asProgram = "TUNNAT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// needRoot skips the test where namespaces cannot be made, and fails it there
// when BLOCKNAT_NETNS=1 says that they must be.
func needRoot(t *testing.T) {
	t.Helper()
	err := requireCapabilities("run the tests as root", capNetAdmin, capSysAdmin, capNetRaw)
	if err == nil {
		var fd int
		if fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
		} else {
			err = tunFault(err)
		}
	}
	switch {
	case err == nil:
	case os.Getenv("BLOCKNAT_NETNS") == "1":
		t.Fatalf("BLOCKNAT_NETNS=1 asks for the namespace tests, but they cannot run: %v", err)
	default:
		t.Skipf("the namespace tests need root (BLOCKNAT_NETNS=1 makes this a failure): %v", err)
	}
}

// program is a running tunnat.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	out *lineBuffer
}

// start starts tunnat in a namespace, or where the test is when n is nil. Only
// the test's end kills it.
func start(t *testing.T, n *namespace, args ...string) *program {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return launch(t, cmd, func(f func() error) error {
		if n == nil {
			return f()
		}
		return n.do(f)
	})
}

// launch starts cmd on the thread that on provides.
func launch(t *testing.T, cmd *exec.Cmd, on func(func() error) error) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd, out: &lineBuffer{}}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := on(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

// startWithout starts tunnat in namespace n on a thread that gave something up. The
// thread is never used again.
func startWithout(t *testing.T, n *namespace, giveUp func() error, args ...string) *program {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return launch(t, cmd, func(f func() error) error {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			done <- errors.Join(netns.Set(n.handle), giveUp(), f())
		}()
		return <-done
	})
}

// awaitLine waits until the output holds text.
func (p *program) awaitLine(text string) {
	p.t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(p.out.String(), text) {
			return
		}
	}
	p.t.Fatalf("%q did not come within 15 s; the output is:\n%s", text, p.out)
}

// signal sends a signal.
func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code; -1 is death by a signal.
func (p *program) exit() int {
	p.t.Helper()
	ended := make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		p.t.Fatalf("the program did not end within 20 s; the output is:\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// expect checks exit code and output. texts are parts of it, with any white space between words.
func (p *program) expect(code int, texts ...string) {
	p.t.Helper()
	if got := p.exit(); got != code {
		p.t.Errorf("exit code %d, want %d; the output is:\n%s", got, code, p.out)
	}
	for _, text := range texts {
		if !strings.Contains(p.out.String(), text) {
			p.t.Errorf("%q is not in the output:\n%s", text, p.out)
		}
	}
}

// lineBuffer is a bytes.Buffer that is safe for concurrent use.
type lineBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// namesOf lists the namespaces of a process.
func namesOf(t *testing.T, pid int) []string {
	t.Helper()
	names, err := namedNamespaces()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		o, ok := parseOwner(name)
		return !ok || o.pid != pid
	})
}

// hostState lists what the demo must never change where it is started: links,
// routing rules, and routes of all tables.
func hostState(t *testing.T) string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range links {
		lines = append(lines, fmt.Sprintf("link %s %s", l.Type(), l.Attrs().Name))
	}
	for _, r := range rules {
		lines = append(lines, fmt.Sprintf("rule %v proto %d", r, r.Protocol))
	}
	for _, r := range routes {
		lines = append(lines, fmt.Sprintf("route %v", r))
	}
	forward, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return strings.Join(append(lines, "ip_forward "+string(forward)), "\n")
}

// unchanged fails the test when it ends with namespaces of this process or of
// programs it started, or with a changed host.
func unchanged(t *testing.T) {
	t.Helper()
	before := hostState(t)
	t.Cleanup(func() {
		if after := hostState(t); after != before {
			t.Errorf("the host changed from\n%s\nto\n%s", before, after)
		}
		if left := namesOf(t, os.Getpid()); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// testTopology builds a network that lasts for the test.
func testTopology(t *testing.T, clients int) *topology {
	t.Helper()
	needRoot(t)
	unchanged(t)
	o, err := thisProcess()
	if err != nil {
		t.Fatal(err)
	}
	top, err := buildTopology(o, clients)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.remove(); err != nil {
			t.Error(err)
		}
	})
	return top
}

// testNamespace makes one namespace that lasts for the test.
func testNamespace(t *testing.T) *namespace {
	t.Helper()
	needRoot(t)
	unchanged(t)
	o, err := thisProcess()
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNamespace(o.name("test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.remove(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// verdictOf finds the verdict on a check in a demo's output.
func verdictOf(out, name string) string {
	m := regexp.MustCompile(`(?m)^  (PASS|FAIL) ` + regexp.QuoteMeta(name) + ` `).FindStringSubmatch(out)
	if m == nil {
		return "none"
	}
	return m[1]
}
