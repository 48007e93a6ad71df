package netsink_test

import (
	"bytes"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
)

// collector is a server that keeps what each connection brought. It can cut
// connections after a number of octets, refuse them and stop reading.
type collector struct {
	t    testing.TB
	addr string
	wrap func(net.Conn) net.Conn // TLS, for one

	mu    sync.Mutex
	cond  *sync.Cond
	ln    net.Listener
	conns map[net.Conn]bool
	got   []*bytes.Buffer // of each connection
	cuts  []int           // after how many octets the next connections are cut
	stall bool
	wg    sync.WaitGroup
}

func newCollector(t testing.TB, wrap func(net.Conn) net.Conn, cuts ...int) *collector {
	c := &collector{t: t, wrap: wrap, cuts: cuts, conns: map[net.Conn]bool{}}
	c.cond = sync.NewCond(&c.mu)
	c.start()
	t.Cleanup(func() { c.set(func() { c.stall = false }); c.stop(); c.wg.Wait() })
	return c
}

// start listens, on the port of before where there is one.
func (c *collector) start() {
	addr := "127.0.0.1:0"
	if c.addr != "" {
		addr = c.addr
	}
	var ln net.Listener
	require.Eventually(c.t, func() bool {
		var err error
		ln, err = net.Listen("tcp", addr)
		return err == nil
	}, 20*time.Second, time.Millisecond)
	c.mu.Lock()
	c.ln, c.addr = ln, ln.Addr().String()
	c.mu.Unlock()
	c.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if c.wrap != nil {
				nc = c.wrap(nc)
			}
			c.wg.Go(func() { c.serve(nc) })
		}
	})
}

// stop closes the listener and all connections.
func (c *collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ln.Close()
	for nc := range c.conns {
		_ = nc.Close()
	}
}

func (c *collector) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.cond.Broadcast()
}

func (c *collector) serve(nc net.Conn) {
	b := &bytes.Buffer{}
	cut := -1
	c.set(func() {
		c.conns[nc] = true
		c.got = append(c.got, b)
		if len(c.cuts) > 0 {
			cut, c.cuts = c.cuts[0], c.cuts[1:]
		}
	})
	defer c.set(func() { delete(c.conns, nc) })
	defer nc.Close()
	var buf [1 << 12]byte
	for {
		c.mu.Lock()
		for c.stall {
			c.cond.Wait()
		}
		p := buf[:]
		if cut >= 0 {
			p = p[:min(len(p), cut-b.Len())]
		}
		c.mu.Unlock()
		if len(p) == 0 {
			return
		}
		n, err := nc.Read(p)
		c.set(func() { b.Write(p[:n]) })
		if err != nil {
			return
		}
	}
}

// streams returns a copy of what each connection brought.
func (c *collector) streams() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([][]byte, len(c.got))
	for i, b := range c.got {
		out[i] = slices.Clone(b.Bytes())
	}
	return out
}

// records reads JSON lines; of equal records the first one counts, and a line
// that a cut left without its end is none.
func (c *collector) records() (out []logging.Record) {
	seen := map[logging.Record]bool{}
	for _, b := range c.streams() {
		b = b[:bytes.LastIndexByte(b, '\n')+1]
		for r, err := range logging.ReadJSON(bytes.NewReader(b)) {
			require.NoError(c.t, err)
			if !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// soon are the pauses of tests on real sockets.
func soon(c netsink.Config) netsink.Config {
	c.RetryMin, c.RetryMax = time.Millisecond, 5*time.Millisecond
	return c
}

func numbered(n int) logging.Record {
	r := loggingtest.Records()[0]
	r.Epoch = uint64(n)
	return r
}

func settled(t testing.TB, s *netsink.Sink) {
	require.Eventually(t, func() bool { return s.Stats().Waiting == 0 }, 20*time.Second, time.Millisecond)
}

// udpCollector keeps datagrams.
type udpCollector struct {
	*net.UDPConn
	mu  sync.Mutex
	got [][]byte
	end chan struct{}
}

func newUDPCollector(t testing.TB, addr string) *udpCollector {
	a, err := net.ResolveUDPAddr("udp", addr)
	require.NoError(t, err)
	pc, err := net.ListenUDP("udp", a)
	require.NoError(t, err)
	c := &udpCollector{UDPConn: pc, end: make(chan struct{})}
	go func() {
		defer close(c.end)
		b := make([]byte, 1<<16)
		for {
			n, err := pc.Read(b)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.got = append(c.got, slices.Clone(b[:n]))
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-c.end })
	return c
}

func (c *udpCollector) datagrams() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// await waits until f says that enough has come.
func await(t testing.TB, f func() bool) { require.Eventually(t, f, 20*time.Second, time.Millisecond) }
