//go:build linux

package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Path is a client, a router and a server, and a socket that writes frames into the client's link.
type Path struct {
	names [3]string // client, router, server
	fd    int
	to    unix.SockaddrLinklayer
	head  [14]byte // the Ethernet header of each frame
	frame []byte
}

// The addresses of the router's two ends. Masqueraded packets leave with the outer one.
const (
	innerRouter = "100.127.255.254"
	outerRouter = "198.18.0.1"
)

// namePrefix begins the names of the namespaces; the process id follows.
const namePrefix = "bnbench-"

// removeDead removes the namespaces of processes that were killed before they could.
func removeDead() {
	left, _ := filepath.Glob("/run/netns/" + namePrefix + "*")
	for _, path := range left {
		name := filepath.Base(path)
		id, _, _ := strings.Cut(strings.TrimPrefix(name, namePrefix), "-")
		if _, err := os.Stat("/proc/" + id); errors.Is(err, fs.ErrNotExist) {
			_ = exec.Command("ip", "netns", "delete", name).Run()
		}
	}
}

// clientMAC and routerMAC are the link addresses between client and router.
var (
	clientMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	routerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// NewPath makes a path. Its namespaces have the process id in their names, and number tells paths of one process apart.
func NewPath(number int, masquerade bool) (*Path, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the kernel's path needs root: run the command as root or without -kernel")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("the kernel's path needs the command %s: %w", tool, err)
		}
	}
	removeDead()
	p := &Path{fd: -1}
	for i, part := range []string{"client", "router", "server"} {
		p.names[i] = fmt.Sprintf("%s%d-%d-%s", namePrefix, os.Getpid(), number, part)
	}
	err := p.build(masquerade)
	if err == nil {
		err = p.openSocket()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	copy(p.head[0:], routerMAC)
	copy(p.head[6:], clientMAC)
	p.head[12] = 0x08
	p.frame = make([]byte, 14+1500)
	copy(p.frame, p.head[:])
	return p, nil
}

// build makes namespaces, links, routes and rules.
func (p *Path) build(masquerade bool) error {
	client, router, server := p.names[0], p.names[1], p.names[2]
	for _, n := range p.names {
		if err := command("ip", "netns", "add", n); err != nil {
			return err
		}
	}
	lines := []string{
		"ip -n " + client + " link add inner address " + clientMAC.String() + " type veth peer name inner address " + routerMAC.String() + " netns " + router,
		"ip -n " + router + " link add outer type veth peer name outer netns " + server,
		"ip -n " + client + " link set inner up",
		"ip -n " + router + " link set inner up",
		"ip -n " + router + " link set outer up",
		"ip -n " + server + " link set outer up",
		"ip -n " + router + " address add " + innerRouter + "/10 dev inner",
		"ip -n " + router + " address add " + outerRouter + "/15 dev outer",
		"ip -n " + server + " address add 198.19.0.1/15 dev outer",
		"ip -n " + router + " route add 203.0.113.0/24 via 198.19.0.1",
		"ip netns exec " + router + " sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.inner.rp_filter=0",
	}
	for _, l := range lines {
		words := strings.Fields(l)
		if err := command(words[0], words[1:]...); err != nil {
			return err
		}
	}
	if masquerade {
		if err := p.nft(router, "table ip bench { chain post { type nat hook postrouting priority srcnat; oifname outer masquerade; }; }"); err != nil {
			return err
		}
	}
	// What arrives is counted by the link and goes no further.
	return p.nft(server, "table ip bench { chain pre { type filter hook prerouting priority raw; meta l4proto udp drop; }; }")
}

func (p *Path) nft(namespace, rules string) error {
	c := exec.Command("ip", "netns", "exec", namespace, "nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	return finish(c)
}

func command(name string, args ...string) error { return finish(exec.Command(name, args...)) }

func finish(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// openSocket opens a packet socket in the client's namespace, from a thread that is not used again.
func (p *Path) openSocket() error {
	fault := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fault <- func() error {
			ns, err := unix.Open("/run/netns/"+p.names[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace: %w", err)
			}
			defer unix.Close(ns)
			if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace: %w", err)
			}
			link, err := net.InterfaceByName("inner")
			if err != nil {
				return err
			}
			p.to = unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
			copy(p.to.Addr[:], routerMAC)
			if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
				return fmt.Errorf("packet socket: %w", err)
			}
			return nil
		}()
	}()
	return <-fault
}

// Send sends the packets of flows, one a system call, and returns how long that took and how many arrived.
func (p *Path) Send(flows []workload.Flow) (spent time.Duration, arrived int, err error) {
	before, err := p.arrivals()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	for i := range flows {
		packet := flows[i].Put(p.frame[14:])
		if err := unix.Sendto(p.fd, p.frame[:14+len(packet)], 0, &p.to); err != nil {
			return 0, 0, fmt.Errorf("send: %w", err)
		}
	}
	spent = time.Since(start)
	after, err := p.arrivals()
	return spent, after - before, err
}

// arrivals is the number of packets that the server's link has received. A softirq may be behind, so
// it waits until the number rests.
func (p *Path) arrivals() (int, error) {
	last := -1
	for range 100 {
		out, err := exec.Command("ip", "netns", "exec", p.names[2], "cat", "/sys/class/net/outer/statistics/rx_packets").Output()
		if err != nil {
			return 0, fmt.Errorf("count arrivals: %w", err)
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(out)))
		if err != nil || n == last {
			return n, err
		}
		last = n
	}
	return last, nil
}

// Close removes what NewPath made.
func (p *Path) Close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
	for _, n := range p.names {
		_ = exec.Command("ip", "netns", "delete", n).Run() // the kernel removes the links with it
	}
}
