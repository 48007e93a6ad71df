//go:build linux

package main

import (
	"bytes"
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
	"os"
	"time"
)

// view is one exchange as both ends saw it.
type view struct {
	at       time.Time
	protocol string // "tcp", "udp" or "icmp"
	client   *node
	own      netip.AddrPort // the client's endpoint as it knows it
	seen     netip.AddrPort // the same as the server saw it; for ICMP the port is the identifier
}

// wait bounds each answer that a client waits for. A datagram may be lost where
// a queue is full, as in any network, so clients of UDP and ICMP ask up to
// tries times within it.
const (
	wait  = 3 * time.Second
	tries = 3
)

// fetch gets n bytes by HTTP and compares them with the checksum that came with
// them and with what the seed says.
func (n *node) fetch(ctx context.Context, from netip.AddrPort, size int) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v := view{protocol: "tcp", client: n}
	d := &net.Dialer{Timeout: wait}
	d.SetMultipathTCP(false)
	tr := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.dial(ctx, d, network, addr)
			if err == nil {
				v.own = c.LocalAddr().(*net.TCPAddr).AddrPort()
			}
			return c, err
		},
	}
	seed := rand.Uint64()
	url := fmt.Sprintf("http://%v/body?bytes=%d&seed=%d", from, size, seed)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return v, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	v.at = time.Now()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return v, err
	}
	want := make([]byte, size)
	randomStream(seed).Read(want)
	sum := sha256.Sum256(body)
	switch {
	case resp.StatusCode != http.StatusOK:
		return v, fmt.Errorf("status %s", resp.Status)
	case hex.EncodeToString(sum[:]) != resp.Header.Get("X-SHA256") || !bytes.Equal(body, want):
		return v, fmt.Errorf("%d of %d bytes came, and their SHA-256 is wrong", len(body), size)
	}
	v.seen, err = netip.ParseAddrPort(resp.Header.Get("X-Seen"))
	return v, err
}

// udpSocket opens a UDP socket in the node's namespace.
func (n *node) udpSocket(ctx context.Context) (*net.UDPConn, error) {
	c, err := n.listenPacket(ctx, &net.ListenConfig{}, "udp4", netip.AddrPortFrom(n.addr, 0).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// ask sends a UDP question and waits for the answer.
func (n *node) ask(c *net.UDPConn, to netip.AddrPort, question, answer int) (view, error) {
	return n.askBy(c, to, question, answer, func(q []byte) error {
		_, err := c.WriteToUDPAddrPort(q, to)
		return err
	})
}

// askBy is ask with another way to send the question from c's endpoint.
func (n *node) askBy(c *net.UDPConn, to netip.AddrPort, question, answer int, send func(q []byte) error) (view, error) {
	v := view{protocol: "udp", client: n, own: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	q := make([]byte, max(question, udpQuestionMin))
	nonce := rand.Uint64()
	binary.BigEndian.PutUint64(q, nonce)
	binary.BigEndian.PutUint16(q[8:], uint16(answer))
	want := make([]byte, max(answer, udpAnswerMin))
	binary.BigEndian.PutUint64(want, nonce)
	randomStream(nonce).Read(want[udpAnswerMin:])
	var got []byte
	var from netip.AddrPort
	var err error
	for range tries {
		if err := send(q); err != nil {
			return v, err
		}
		if got, from, err = receive(c, nonce, wait/tries); !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	v.at = time.Now()
	switch {
	case err != nil:
		return v, fmt.Errorf("%d bytes to %v, %d bytes back: %w", question, to, answer, err)
	case from != to:
		return v, fmt.Errorf("the answer came from %v, not from %v", from, to)
	case len(got) != len(want) || !bytes.Equal(got[udpAnswerMin:], want[udpAnswerMin:]):
		return v, fmt.Errorf("the answer has %d bytes, or not those that were sent (%d)", len(got), len(want))
	}
	v.seen = netip.AddrPortFrom(netip.AddrFrom4([4]byte(got[8:12])), binary.BigEndian.Uint16(got[12:]))
	return v, nil
}

// receive waits for the datagram that begins with the nonce.
func receive(c *net.UDPConn, nonce uint64, wait time.Duration) ([]byte, netip.AddrPort, error) {
	buf := make([]byte, maxPacket)
	c.SetReadDeadline(time.Now().Add(wait))
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil, from, err
		}
		if n >= 8 && binary.BigEndian.Uint64(buf) == nonce {
			return buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
		}
	}
}

// icmpSocket opens a raw socket that gets every ICMP message of the namespace.
func (n *node) icmpSocket(ctx context.Context) (*net.IPConn, error) {
	c, err := n.listenPacket(ctx, &net.ListenConfig{}, "ip4:icmp", "0.0.0.0")
	if err != nil {
		return nil, err
	}
	return c.(*net.IPConn), nil
}

// ping sends one echo request and waits for its reply. id is the client's identifier.
func (n *node) ping(c *net.IPConn, to netip.Addr, id, seq uint16, size int) (nonce uint64, rtt time.Duration, err error) {
	payload := make([]byte, max(size, 8))
	nonce = rand.Uint64()
	randomStream(nonce).Read(payload)
	binary.BigEndian.PutUint64(payload, nonce)
	start := time.Now()
	if _, err := c.WriteToIP(echoRequest(id, seq, payload), &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return 0, 0, err
	}
	c.SetReadDeadline(start.Add(wait))
	buf := make([]byte, maxPacket)
	for {
		k, from, err := c.ReadFromIP(buf)
		if err != nil {
			return nonce, 0, fmt.Errorf("no echo reply: %w", err)
		}
		b := buf[:k]
		if k < 16 || b[0] != icmpEchoReply || binary.BigEndian.Uint64(b[8:]) != nonce {
			continue
		}
		rtt := time.Since(start)
		src, _ := netip.AddrFromSlice(from.IP.To4())
		switch {
		case inetChecksum(b) != 0:
			return nonce, rtt, errors.New("the reply's checksum is wrong")
		case binary.BigEndian.Uint16(b[4:]) != id || binary.BigEndian.Uint16(b[6:]) != seq:
			return nonce, rtt, fmt.Errorf("the reply has identifier %d and number %d, not %d and %d",
				binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), id, seq)
		case src != to:
			return nonce, rtt, fmt.Errorf("the reply came from %v", src)
		case !bytes.Equal(b[8:], payload):
			return nonce, rtt, errors.New("the reply's payload is not what was sent")
		}
		return nonce, rtt, nil
	}
}

// bulkTransfer is one TCP connection with pseudorandom bytes in both
// directions. It has two steps, so that many connections are open at a time.
type bulkTransfer struct {
	view
	conn net.Conn
	seed uint64
	size int64
}

// openBulk connects and learns which endpoint the server sees. The deadline of
// ctx is that of the transfer too.
func (n *node) openBulk(ctx context.Context, to netip.AddrPort, size int64) (*bulkTransfer, error) {
	d := &net.Dialer{Timeout: wait}
	d.SetMultipathTCP(false)
	return n.openBulkWith(ctx, d, to, size)
}

// openBulkWith is openBulk with a dialer of the caller's.
func (n *node) openBulkWith(ctx context.Context, d *net.Dialer, to netip.AddrPort, size int64) (*bulkTransfer, error) {
	c, err := n.dial(ctx, d, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	b := &bulkTransfer{conn: c, seed: rand.Uint64(), size: size}
	b.protocol, b.client, b.own = "tcp", n, c.LocalAddr().(*net.TCPAddr).AddrPort()
	if end, ok := ctx.Deadline(); ok {
		c.SetDeadline(end)
	}
	hello := binary.BigEndian.AppendUint64(nil, b.seed)
	hello = binary.BigEndian.AppendUint64(hello, uint64(size))
	var seen [bulkSeenLen]byte
	_, err = c.Write(hello)
	if err == nil {
		_, err = io.ReadFull(c, seen[:])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	b.at = time.Now()
	b.seen = netip.AddrPortFrom(netip.AddrFrom4([4]byte(seen[:4])), binary.BigEndian.Uint16(seen[4:]))
	return b, nil
}

// transfer sends and receives at once, compares both checksums, and closes.
func (b *bulkTransfer) transfer() error {
	defer b.conn.Close()
	up := sha256.New()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(b.conn, io.TeeReader(randomStream(b.seed), up), b.size)
		sent <- err
	}()
	down, want := sha256.New(), sha256.New()
	_, err := io.CopyN(down, b.conn, b.size)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	var atServer [sha256.Size]byte
	if _, err := io.ReadFull(b.conn, atServer[:]); err != nil {
		return err
	}
	io.CopyN(want, randomStream(b.seed+1), b.size)
	switch {
	case !bytes.Equal(up.Sum(nil), atServer[:]):
		return errors.New("the server received other bytes than were sent")
	case !bytes.Equal(down.Sum(nil), want.Sum(nil)):
		return errors.New("the client received other bytes than were sent")
	}
	return nil
}
