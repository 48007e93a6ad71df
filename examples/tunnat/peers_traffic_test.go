//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// TestPeersCurl fetches files of many sizes over HTTP/1.1, one connection each and many on one connection.
func TestPeersCurl(t *testing.T) {
	needTools(t, "curl")
	n := startPeers(t, 1, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := startServer(ctx, n.server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, size := range []int{0, 1, 1400, 65536, 3_000_000} {
		file := filepath.Join(t.TempDir(), "body")
		url := fmt.Sprintf("http://%v/body?bytes=%d&seed=%d", s.at(portHTTP), size, size)
		head := n.clients[0].run(t, "curl", "-sS", "--fail", "--max-time", "20", "-D", "-", "-o", file, url, "-o", file, url)
		body, err := os.ReadFile(file)
		want := make([]byte, size)
		randomStream(uint64(size)).Read(want)
		if err != nil || !bytes.Equal(body, want) {
			t.Errorf("%d bytes are not those that were sent (%v)", size, err)
		}
		seen := regexp.MustCompile(`X-Seen: (\S+)`).FindAllStringSubmatch(head, -1)
		if len(seen) != 2 || seen[0][1] != seen[1][1] || !demoPool.Contains(netip.MustParseAddrPort(seen[0][1]).Addr()) {
			t.Errorf("two requests on one connection came from %v", seen)
		}
	}
}

// TestPeersPing runs ping with small and with fragmented packets, and against an address that no host has.
func TestPeersPing(t *testing.T) {
	needTools(t, "ping")
	n := startPeers(t, 2, nil)
	for _, c := range n.clients {
		for _, size := range []string{"0", "56", "1472", "9000"} {
			out := c.run(t, "ping", "-n", "-c", "4", "-i", "0.05", "-W", "5", "-M", "dont", "-s", size, serverAddr.Addr().String())
			if !strings.Contains(out, " 4 received, 0% packet loss") {
				t.Errorf("%s, %s bytes:\n%s", c.title, size, out)
			}
		}
	}
	// Transit has no route there; its error comes back translated, and ping shows it.
	out := &lineBuffer{}
	err := n.clients[0].exec(t, out, "ping", "-n", "-c", "1", "-W", "5", "192.0.2.77")
	if err == nil || !strings.Contains(out.String(), "From 192.0.2.2 icmp_seq=1 Destination Net Unreachable") {
		t.Errorf("no error came back (%v):\n%s", err, out)
	}
	// Path MTU discovery: the router's link to transit is the narrow one.
	out = &lineBuffer{}
	err = n.clients[1].exec(t, out, "ping", "-n", "-c", "2", "-i", "0.05", "-W", "5", "-M", "do", "-s", "1472", serverAddr.Addr().String())
	if err == nil || !strings.Contains(out.String(), fmt.Sprintf("mtu = %d", uplinkMTU)) && !strings.Contains(out.String(), fmt.Sprintf("mtu=%d", uplinkMTU)) {
		t.Errorf("the path MTU was not told (%v):\n%s", err, out)
	}
}

// TestPeersTraceroute runs traceroute by UDP, ICMP echo and TCP. Each hop behind the NAT is a time exceeded
// error that came back translated: traceroute knows its probe again by what the error quotes.
func TestPeersTraceroute(t *testing.T) {
	needTools(t, "traceroute")
	n := startPeers(t, 1, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := startServer(ctx, n.server) // for the SYN-ACK of the TCP probes
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	_, gateway := clientPrefix(0)
	want := []string{gateway.Addr().String(), defaultOptions().address.String(), transitUplink.Addr().String(), serverAddr.Addr().String()}
	hop := regexp.MustCompile(`(?m)^ *(\d+)  (\S+)`)
	for _, kind := range [][]string{{"-U"}, {}, {"-I"}, {"-T", "-p", "80"}} {
		args := slices.Concat(kind, []string{"-n", "-q", "2", "-w", "3", "-m", "8", serverAddr.Addr().String()})
		out := n.clients[0].run(t, "traceroute", args...)
		var hops []string
		for _, m := range hop.FindAllStringSubmatch(out, -1) {
			hops = append(hops, m[2])
		}
		if !slices.Equal(hops, want) {
			t.Errorf("traceroute %v shows %v, want %v:\n%s", args, hops, want, out)
		}
	}
}

// TestPeersBulk sends 1 GiB by HTTP from Go's server to curl, and compares the SHA-256 of both ends. Without
// BLOCKNAT_NETNS=1 it is 64 MiB.
func TestPeersBulk(t *testing.T) {
	needTools(t, "curl")
	n := startPeers(t, 1, nil)
	size := int64(64 << 20)
	if os.Getenv("BLOCKNAT_NETNS") == "1" {
		size = 1 << 30
	}
	l, err := n.server.listen(t.Context(), &net.ListenConfig{}, "tcp4", netip.AddrPortFrom(serverAddr.Addr(), portHTTP).String())
	if err != nil {
		t.Fatal(err)
	}
	sent, received := sha256.New(), sha256.New()
	var from string
	h := &http.Server{ReadTimeout: time.Minute, WriteTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = r.RemoteAddr
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.CopyN(io.MultiWriter(sent, w), randomStream(1), size)
	})}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	count := &countWriter{w: received}
	began := time.Now()
	err = n.clients[0].exec(t, count, "curl", "-s", "--fail", "--max-time", "100", "http://"+l.Addr().String()+"/")
	took := time.Since(began)
	if shutdown := h.Shutdown(t.Context()); shutdown != nil { // waits for the handler, which writes to sent and from
		t.Error(shutdown)
	}
	<-served
	if err != nil || count.n != size || !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Errorf("%d of %d bytes arrived (%v), with SHA-256 %x instead of %x", count.n, size, err, received.Sum(nil), sent.Sum(nil))
	}
	if !demoPool.Contains(netip.MustParseAddrPort(from).Addr()) {
		t.Errorf("the server saw the client as %s", from)
	}
	t.Logf("%d MiB in %.1f s: %.2f Gbit/s", size>>20, took.Seconds(), float64(size)*8/took.Seconds()/1e9)
}

// countWriter counts what it passes on.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// TestPeersIperf sends a stream of UDP datagrams and four TCP streams in the other direction.
func TestPeersIperf(t *testing.T) {
	needTools(t, "iperf3")
	n := startPeers(t, 1, nil)
	server := serverAddr.Addr().String()
	n.server.serve(t, netip.AddrPortFrom(serverAddr.Addr(), 5201), "iperf3", "--server", "--bind", server)
	var report struct {
		Error string
		End   struct {
			Sum struct {
				Bytes       int64
				Packets     int64
				LostPackets int64 `json:"lost_packets"`
			}
			SumReceived struct {
				Bytes int64
			} `json:"sum_received"`
		}
	}
	// The server takes one client at a time, and takes the connection that looked whether it listens for one: the next one may come too early.
	iperf := func(args ...string) {
		args = append([]string{"-c", server, "-J"}, args...)
		for try := 0; ; try++ {
			report.Error = ""
			out := &lineBuffer{}
			err := n.clients[0].exec(t, out, "iperf3", args...)
			if bad := json.Unmarshal([]byte(out.String()), &report); bad == nil && err == nil && report.Error == "" {
				return
			}
			if try == 20 {
				t.Fatalf("iperf3 %v: %v; its output is:\n%s", args, err, out)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	iperf("-u", "-b", "20M", "-l", "1200", "-n", "2M")
	if s := report.End.Sum; s.Packets < 1000 || s.LostPackets*100 > s.Packets {
		t.Errorf("%d of %d datagrams were lost", s.LostPackets, s.Packets)
	}
	iperf("-R", "-P", "4", "-n", "8M")
	if report.End.SumReceived.Bytes < 8<<20 {
		t.Errorf("%d bytes arrived of 8 MiB", report.End.SumReceived.Bytes)
	}
	if s := n.engine.Stats(); s.Packets[natcore.Outbound][natcore.Drop] > 0 {
		t.Errorf("dropped: %v", s)
	}
}
