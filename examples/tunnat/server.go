//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Ports of the demo's server.
const (
	portHTTP   = 80
	portUDP    = 53
	portUDPTwo = 5353 // a second remote endpoint, for mapping behaviour
	portBulk   = 9000
	// portTrace is the first of the ports that nobody listens on (as traceroute's).
	portTrace = 33434
)

// server is the far end of the demo: everything that runs in the server's
// namespace. It tells each client, and remembers, which endpoint it saw.
type server struct {
	node    *node
	until   time.Time // no transfer lasts longer; zero is no bound
	closers []io.Closer
	wg      sync.WaitGroup

	mu    sync.Mutex
	seen  map[netip.Addr]int        // sources of all that arrived
	pings map[uint64]netip.AddrPort // source and identifier of each echo request, by nonce
}

// startServer starts all listeners. No transfer lasts beyond the deadline of
// ctx. The caller closes the server.
func startServer(ctx context.Context, n *node) (*server, error) {
	s := &server{node: n, seen: map[netip.Addr]int{}, pings: map[uint64]netip.AddrPort{}}
	s.until, _ = ctx.Deadline()
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the server: %w", err), s.close())
	}
	return s, nil
}

func (s *server) start(ctx context.Context) error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	web, err := s.node.listen(ctx, &lc, "tcp4", s.at(portHTTP).String())
	if err != nil {
		return err
	}
	h := &http.Server{Handler: s.handler(), ReadTimeout: 20 * time.Second, WriteTimeout: 20 * time.Second}
	s.closers = append(s.closers, h)
	s.wg.Go(func() { h.Serve(web) })

	bulk, err := s.node.listen(ctx, &lc, "tcp4", s.at(portBulk).String())
	if err != nil {
		return err
	}
	s.closers = append(s.closers, bulk)
	s.wg.Go(func() { s.serveBulk(bulk) })

	for _, port := range []uint16{portUDP, portUDPTwo} {
		c, err := s.node.listenPacket(ctx, &lc, "udp4", s.at(port).String())
		if err != nil {
			return err
		}
		s.closers = append(s.closers, c)
		s.wg.Go(func() { s.serveUDP(c.(*net.UDPConn)) })
	}
	// The kernel answers pings; this socket gets a copy of each request.
	pings, err := s.node.listenPacket(ctx, &lc, "ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, pings)
	s.wg.Go(func() { s.watchPings(pings.(*net.IPConn)) })
	return nil
}

// at returns the server's endpoint with a port.
func (s *server) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.node.addr, port) }

// close ends all listeners and waits for them.
func (s *server) close() error {
	for _, c := range s.closers {
		c.Close()
	}
	s.wg.Wait()
	return nil
}

// note remembers a source.
func (s *server) note(from netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[from.Addr().Unmap()]++
}

// sources returns how many packets or connections came from which address.
func (s *server) sources() map[netip.Addr]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[netip.Addr]int, len(s.seen))
	for a, n := range s.seen {
		out[a] = n
	}
	return out
}

// maxBody bounds what a client can ask for.
const maxBody = 64 << 20

// handler serves GET /body?bytes=N&seed=N: pseudorandom bytes, with their SHA-256
// and the client's endpoint as the server sees it in headers.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /body", func(w http.ResponseWriter, r *http.Request) {
		from, err1 := netip.ParseAddrPort(r.RemoteAddr)
		n, err2 := strconv.Atoi(r.FormValue("bytes"))
		seed, err3 := strconv.ParseUint(r.FormValue("seed"), 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil || n < 0 || n > maxBody {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		s.note(from)
		body := make([]byte, n)
		randomStream(seed).Read(body)
		sum := sha256.Sum256(body)
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Header().Set("X-Seen", from.String())
		w.Header().Set("X-SHA256", hex.EncodeToString(sum[:]))
		w.Write(body)
	})
	return mux
}

// randomStream returns a stream of pseudorandom bytes that both ends can make.
func randomStream(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// A UDP exchange: the question is a nonce, the length of the wanted answer and
// padding; the answer is the nonce, the source that the server saw, and
// pseudorandom bytes of the nonce up to the wanted length.
const (
	udpQuestionMin = 8 + 2
	udpAnswerMin   = 8 + 4 + 2
)

func (s *server) serveUDP(c *net.UDPConn) {
	buf := make([]byte, maxPacket)
	answer := make([]byte, maxPacket)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s.note(from)
		if n < udpQuestionMin {
			continue
		}
		size := max(int(binary.BigEndian.Uint16(buf[8:])), udpAnswerMin)
		a := answer[:size]
		src := from.Addr().Unmap().As4()
		copy(a, buf[:8])
		copy(a[8:], src[:])
		binary.BigEndian.PutUint16(a[12:], from.Port())
		randomStream(binary.BigEndian.Uint64(a)).Read(a[udpAnswerMin:])
		c.WriteToUDPAddrPort(a, from)
	}
}

// A bulk transfer: the client sends its seed and the length of both streams,
// the server answers with the endpoint that it sees, then both send
// pseudorandom bytes at once, and at last the server the SHA-256 of what came.
const (
	bulkHelloLen = 8 + 8
	bulkSeenLen  = 4 + 2
)

func (s *server) serveBulk(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer c.Close()
			if !s.until.IsZero() {
				c.SetDeadline(s.until)
			}
			s.bulk(c)
		})
	}
}

func (s *server) bulk(c net.Conn) error {
	var hello [bulkHelloLen]byte
	if _, err := io.ReadFull(c, hello[:]); err != nil {
		return err
	}
	seed, n := binary.BigEndian.Uint64(hello[:]), int64(binary.BigEndian.Uint64(hello[8:]))
	if n < 0 || n > maxBody {
		return errors.New("length out of range")
	}
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	s.note(from)
	src := from.Addr().Unmap().As4()
	seen := binary.BigEndian.AppendUint16(src[:], from.Port())
	if _, err := c.Write(seen); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c, randomStream(seed+1), n)
		sent <- err
	}()
	sum := sha256.New()
	_, err := io.CopyN(sum, c, n)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	_, err = c.Write(sum.Sum(nil))
	return err
}

// watchPings remembers the source and identifier of echo requests, by the nonce
// that begins their payload.
func (s *server) watchPings(c *net.IPConn) {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := c.ReadFromIP(buf)
		if err != nil {
			return
		}
		if n < 16 || buf[0] != icmpEcho {
			continue
		}
		addr, _ := netip.AddrFromSlice(from.IP.To4())
		seen := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(buf[4:]))
		s.note(seen)
		s.mu.Lock()
		s.pings[binary.BigEndian.Uint64(buf[8:])] = seen
		s.mu.Unlock()
	}
}

// pingSeen returns what the server saw of the ping with this nonce.
func (s *server) pingSeen(nonce uint64) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.pings[nonce]
	return seen, ok
}
