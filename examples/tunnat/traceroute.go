//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// hop is one line of a traceroute.
type hop struct {
	ttl        int
	from       netip.Addr
	kind, code byte
	rtt        time.Duration
}

func (h hop) String() string {
	what := fmt.Sprintf("type %d code %d", h.kind, h.code)
	switch {
	case h.kind == icmpTimeExceeded:
		what = "time exceeded"
	case h.kind == icmpUnreachable && h.code == codePortUnreachable:
		what = "port unreachable"
	}
	return fmt.Sprintf("%2d  %-15v %-17s %v", h.ttl, h.from, what, h.rtt.Round(time.Microsecond))
}

// traceroute sends UDP probes with growing TTL and reads the ICMP errors. Each
// error must quote the probe as this client sent it: translation has to reach
// into the quoted packet (RFC 5508 section 4). It ends at the target.
func (n *node) traceroute(ctx context.Context, to netip.Addr, maxHops int) (hops []hop, err error) {
	errs, err := n.icmpSocket(ctx)
	if err != nil {
		return nil, err
	}
	defer errs.Close()
	probes, err := n.udpSocket(ctx)
	if err != nil {
		return nil, err
	}
	defer probes.Close()
	own := probes.LocalAddr().(*net.UDPAddr).AddrPort()
	for ttl := 1; ttl <= maxHops && ctx.Err() == nil; ttl++ {
		if err := setSocketInt(probes, unix.IPPROTO_IP, unix.IP_TTL, ttl); err != nil {
			return hops, err
		}
		var h hop
		var err error
		for range tries {
			h, err = probe(probes, errs, own, netip.AddrPortFrom(to, uint16(portTrace+ttl)))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		if err != nil {
			return hops, fmt.Errorf("ttl %d: %w", ttl, err)
		}
		h.ttl = ttl
		hops = append(hops, h)
		if h.kind == icmpUnreachable {
			return hops, nil
		}
	}
	return hops, ctx.Err()
}

// probe sends one datagram and waits for the ICMP error that quotes it.
func probe(c *net.UDPConn, errs *net.IPConn, own, to netip.AddrPort) (hop, error) {
	start := time.Now()
	if _, err := c.WriteToUDPAddrPort([]byte("tunnat traceroute probe"), to); err != nil {
		return hop{}, err
	}
	errs.SetReadDeadline(start.Add(wait / tries))
	buf := make([]byte, maxPacket)
	for {
		n, from, err := errs.ReadFromIP(buf)
		if err != nil {
			return hop{}, fmt.Errorf("no ICMP error for the probe: %w", err)
		}
		if n < 8 || buf[0] != icmpTimeExceeded && buf[0] != icmpUnreachable {
			continue
		}
		q, err := parseQuote(buf[:n])
		addr, _ := netip.AddrFromSlice(from.IP.To4())
		switch {
		case err != nil:
			return hop{}, fmt.Errorf("ICMP error from %v: %w", addr, err)
		case q.dst != to:
			continue // a late one
		case q.src != own || q.protocol != unix.IPPROTO_UDP:
			return hop{}, fmt.Errorf("the ICMP error from %v quotes protocol %d from %v, but the probe was sent from %v", addr, q.protocol, q.src, own)
		}
		return hop{from: addr, kind: buf[0], code: buf[1], rtt: time.Since(start)}, nil
	}
}

// setSocketInt sets an integer socket option.
func setSocketInt(c *net.UDPConn, level, option, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return serr
}

// socketInt reads an integer socket option.
func socketInt(c *net.UDPConn, level, option int) (value int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { value, serr = unix.GetsockoptInt(int(fd), level, option) }); err != nil {
		return 0, err
	}
	return value, serr
}

// pathMTU sends datagrams with DF set until the kernel has learnt from an ICMP
// error ("fragmentation needed") how long they may be.
func (n *node) pathMTU(ctx context.Context, to netip.AddrPort) (int, error) {
	c, err := n.dial(ctx, &net.Dialer{}, "udp4", to.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	u := c.(*net.UDPConn)
	if err := setSocketInt(u, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
		return 0, err
	}
	b := make([]byte, linkMTU-20-8)
	for end := time.Now().Add(wait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		u.Write(b) // EMSGSIZE once the path is known, and that is what is waited for
		mtu, err := socketInt(u, unix.IPPROTO_IP, unix.IP_MTU)
		if err != nil || mtu < linkMTU {
			return mtu, err
		}
	}
	return linkMTU, ctx.Err()
}
