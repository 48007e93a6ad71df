//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// testDemo runs the demo in this process and returns its output.
func testDemo(t *testing.T, change func(*demoOptions)) (string, error) {
	t.Helper()
	needRoot(t)
	unchanged(t)
	o := defaultDemoOptions()
	o.bytes = 1 << 20
	o.timeout = 30 * time.Second
	change(&o)
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	var out lineBuffer
	err := runDemo(t.Context(), o, &out)
	return out.String(), err
}

// TestDemo is tunnat demo, with segments and with single packets.
func TestDemo(t *testing.T) {
	needRoot(t)
	for _, gso := range []bool{true, false} {
		t.Run(fmt.Sprintf("gso=%v", gso), func(t *testing.T) {
			out, err := testDemo(t, func(o *demoOptions) { o.offload = gso })
			if err != nil {
				t.Errorf("%v", err)
			}
			for _, c := range append(trafficChecks[:len(trafficChecks):len(trafficChecks)], check{name: "router"}, check{name: "removed"}) {
				if v := verdictOf(out, c.name); v != "PASS" {
					t.Errorf("%s: %s", c.name, v)
				}
			}
			for _, part := range []string{"what each side saw", "traceroute of client1", "block records", `"kind":"block-allocated"`, "statistics", "all 16 checks passed"} {
				if !strings.Contains(out, part) {
					t.Errorf("the report lacks %q", part)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// TestDemoSmallBlocks makes every client use several blocks of the smallest size.
func TestDemoSmallBlocks(t *testing.T) {
	out, err := testDemo(t, func(o *demoOptions) {
		o.block, o.batch, o.connections, o.bytes = 16, 1, 20, 64<<10
		o.clients = 2
		o.only = []string{"ping", "parallel-tcp", "pairing", "records"}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(out, `"kind":"block-allocated"`); n < 4 {
		t.Errorf("%d blocks were recorded for 2 clients with 20 connections each, and a block has 16 ports\n%s", n, out)
	}
}

// broken is a translator with a defect.
type broken struct {
	translator
	after func(p *natcore.Packet)
}

func (b broken) Process(batch []natcore.Packet, now time.Time) {
	b.translator.Process(batch, now)
	for i := range batch {
		b.after(&batch[i])
	}
}

// keepFragments never lets a held fragment go.
type keepFragments struct{ translator }

func (keepFragments) Drain(dst []natcore.Packet) []natcore.Packet { return dst }

// forwardAll is no translator at all.
type forwardAll struct{ translator }

func (forwardAll) Process(batch []natcore.Packet, _ time.Time) {
	for i := range batch {
		batch[i].Verdict = natcore.Forward
	}
}

// TestDemoNotices breaks the translator in one way each and sees the check fail.
func TestDemoNotices(t *testing.T) {
	needRoot(t)
	header := func(b []byte) int { return int(b[0]&15) * 4 }
	tests := []struct {
		name string
		wrap func(translator) translator
		want string // the check that fails
	}{
		{"no translation", func(n translator) translator { return forwardAll{n} }, "udp"},
		{"wrong checksum of inbound UDP", func(n translator) translator {
			return broken{n, func(p *natcore.Packet) {
				if p.Direction == natcore.Inbound && p.Bytes[9] == 17 {
					p.Bytes[header(p.Bytes)+7] ^= 1
				}
			}}
		}, "udp"},
		{"wrong checksum of outbound UDP", func(n translator) translator {
			return broken{n, func(p *natcore.Packet) {
				if p.Direction == natcore.Outbound && p.Bytes[9] == 17 {
					p.Bytes[header(p.Bytes)+7] ^= 1
				}
			}}
		}, "udp"},
		{"held fragments never come", func(n translator) translator { return keepFragments{n} }, "fragments"},
		{"quoted packet not translated", func(n translator) translator {
			return broken{n, func(p *natcore.Packet) {
				b := p.Bytes
				if icmp := b[header(b):]; p.Direction == natcore.Inbound && b[9] == 1 && icmp[0] == icmpTimeExceeded {
					q := icmp[8:] // the source of the quote moves by one address
					q[15]++
					q[10], q[11] = 0, 0
					sum := inetChecksum(q[:header(q)])
					q[10], q[11] = byte(sum>>8), byte(sum)
					icmp[2], icmp[3] = 0, 0
					sum = inetChecksum(icmp)
					icmp[2], icmp[3] = byte(sum>>8), byte(sum)
				}
			}}
		}, "traceroute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := testDemo(t, func(o *demoOptions) {
				o.clients, o.only, o.wrap = 2, []string{tt.want}, tt.wrap
			})
			if !errors.Is(err, errChecksFailed) || verdictOf(out, tt.want) != "FAIL" {
				t.Errorf("the check %s did not fail (%v)\n%s", tt.want, err, out)
			}
			if verdictOf(out, "removed") != "PASS" {
				t.Errorf("something is left after a failed check\n%s", out)
			}
		})
	}
}

// TestDemoInterrupted ends the demo by signals, while it works and while it
// waits, and finds nothing left.
func TestDemoInterrupted(t *testing.T) {
	needRoot(t)
	unchanged(t)
	for _, tt := range []struct {
		signal syscall.Signal
		at     string // the output that is waited for
		code   int
		text   string
	}{
		{syscall.SIGINT, "network (", exitFailed, "interrupted; everything that was made is removed"},
		{syscall.SIGTERM, "PASS http", exitFailed, "interrupted; everything that was made is removed"},
		{syscall.SIGHUP, "holding the network", exitOK, "all 4 checks passed"},
	} {
		t.Run(tt.signal.String(), func(t *testing.T) {
			args := []string{"demo", "-clients", "2", "-hold", "30s", "-bytes", "16777216"}
			if tt.code == exitOK {
				args = append(args, "-only", "ping,udp")
			}
			p := start(t, nil, args...)
			p.awaitLine(tt.at)
			if len(namesOf(t, p.cmd.Process.Pid)) != 5 {
				t.Errorf("the demo has namespaces %v", namesOf(t, p.cmd.Process.Pid))
			}
			p.signal(tt.signal)
			p.expect(tt.code, tt.text)
			if left := namesOf(t, p.cmd.Process.Pid); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestDemoUnread closes the pipe that the demo writes to, as head does.
func TestDemoUnread(t *testing.T) {
	needRoot(t)
	unchanged(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "demo", "-clients", "2", "-only", "ping,udp")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	r.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if left := namesOf(t, cmd.Process.Pid); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDemoKilled kills the demo in the middle; the next demo, or cleanup,
// removes what it left and nothing else.
func TestDemoKilled(t *testing.T) {
	bystander := testNamespace(t)
	for _, next := range [][]string{{"cleanup"}, {"demo", "-clients", "2", "-only", "ping"}} {
		t.Run(next[0], func(t *testing.T) {
			p := start(t, nil, "demo", "-clients", "2", "-only", "ping", "-hold", "30s")
			p.awaitLine("holding the network")
			p.signal(syscall.SIGKILL)
			p.expect(-1)
			left := namesOf(t, p.cmd.Process.Pid)
			if len(left) != 5 {
				t.Fatalf("a killed demo with 2 clients leaves 5 namespaces, not %v", left)
			}
			q := start(t, nil, next...)
			q.expect(exitOK, left...)
			if left := namesOf(t, p.cmd.Process.Pid); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if err := bystander.do(func() error { return nil }); err != nil || len(namesOf(t, os.Getpid())) != 1 {
				t.Errorf("the namespace of a living process was removed (%v)", err)
			}
		})
	}
}

// TestDemoFails makes the demo fail when its network is there already.
func TestDemoFails(t *testing.T) {
	needRoot(t)
	unchanged(t)
	p := start(t, nil, "demo", "-records", filepath.Join(t.TempDir(), "missing", "records.jsonl"))
	p.expect(exitUsage, "-records", "no such file or directory", "name a file in a directory that is there", "PASS removed")
	if left := namesOf(t, p.cmd.Process.Pid); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTopologyAlone runs the clients without any translator, with a route
// back in its place, so that a fault of theirs is not taken for one of the engine.
func TestTopologyAlone(t *testing.T) {
	top := testTopology(t, 2)
	if err := top.transit.route(defaultOptions().internal[0], routerUplink.Addr()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := startServer(ctx, top.server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, c := range top.clients {
		v, err := c.fetch(ctx, s.at(portHTTP), 100_000)
		if err != nil || v.seen != v.own {
			t.Errorf("%s: http: %v seen as %v: %v", c.title, v.own, v.seen, err)
		}
		sock, err := c.udpSocket(ctx)
		if err != nil {
			t.Fatal(err)
		}
		v, err = c.ask(sock, s.at(portUDP), 9000, 9000)
		if err != nil || v.seen != v.own {
			t.Errorf("%s: udp: %v seen as %v: %v", c.title, v.own, v.seen, err)
		}
		sock.Close()
		hops, err := c.traceroute(ctx, top.server.addr, 8)
		if err != nil || len(hops) != 3 {
			t.Errorf("%s: traceroute %v: %v", c.title, hops, err)
		}
		if mtu, err := c.pathMTU(ctx, s.at(portUDP)); err != nil || mtu != uplinkMTU {
			t.Errorf("%s: path MTU %d: %v", c.title, mtu, err)
		}
		b, err := c.openBulk(ctx, s.at(portBulk), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.transfer(); err != nil || b.seen != b.own {
			t.Errorf("%s: tcp: %v seen as %v: %v", c.title, b.own, b.seen, err)
		}
	}
}
