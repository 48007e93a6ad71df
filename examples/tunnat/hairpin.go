//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hairpinning (RFC 4787 REQ-9, RFC 5382 REQ-8): the first client talks to
// the external endpoint of the second one, and each sees the other's external
// endpoint, never the internal one.

func (d *demo) pair() (a, b *node, err error) {
	if len(d.top.clients) < 2 {
		return nil, nil, errors.New("needs two clients: give -clients 2 or more")
	}
	return d.top.clients[0], d.top.clients[1], nil
}

func checkHairpinUDP(ctx context.Context, d *demo) (string, error) {
	a, b, err := d.pair()
	if err != nil {
		return "", err
	}
	sockA, err := a.udpSocket(ctx)
	if err != nil {
		return "", err
	}
	defer sockA.Close()
	sockB, err := b.udpSocket(ctx)
	if err != nil {
		return "", err
	}
	defer sockB.Close()
	// Both learn their external endpoints from the server, as with STUN.
	viewA, err := a.ask(sockA, d.server.at(portUDP), 40, 40)
	if err != nil {
		return "", err
	}
	viewB, err := b.ask(sockB, d.server.at(portUDP), 40, 40)
	if err != nil {
		return "", err
	}
	if err := errors.Join(d.saw(viewA), d.saw(viewB)); err != nil {
		return "", err
	}
	exchange := func(from, to *net.UDPConn, target, source netip.AddrPort) error {
		nonce := rand.Uint64()
		if _, err := from.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, nonce), target); err != nil {
			return err
		}
		_, got, err := receive(to, nonce, wait)
		if err != nil {
			return fmt.Errorf("%v to %v: %w", source, target, err)
		}
		if got != source {
			return fmt.Errorf("%v to %v arrived from %v", source, target, got)
		}
		return nil
	}
	err = errors.Join(
		exchange(sockA, sockB, viewB.seen, viewA.seen),
		exchange(sockB, sockA, viewA.seen, viewB.seen),
	)
	return fmt.Sprintf("%v and %v talked as %v and %v", viewA.own, viewB.own, viewA.seen, viewB.seen), err
}

func checkHairpinTCP(ctx context.Context, d *demo) (string, error) {
	a, b, err := d.pair()
	if err != nil {
		return "", err
	}
	// The listener and the connection that makes its mapping share a port.
	share := func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, serr)
	}
	lc := &net.ListenConfig{Control: share}
	lc.SetMultipathTCP(false)
	l, err := b.listen(ctx, lc, "tcp4", netip.AddrPortFrom(b.addr, 0).String())
	if err != nil {
		return "", err
	}
	defer l.Close()
	dialer := &net.Dialer{Timeout: wait, Control: share, LocalAddr: l.Addr()}
	dialer.SetMultipathTCP(false)
	mapped, err := b.openBulkWith(ctx, dialer, d.server.at(portBulk), 0)
	if err != nil {
		return "", fmt.Errorf("making the mapping: %w", err)
	}
	defer mapped.conn.Close()
	if err := d.saw(mapped.view); err != nil {
		return "", err
	}

	type arrival struct {
		from netip.AddrPort
		err  error
	}
	arrived := make(chan arrival, 1)
	l.(*net.TCPListener).SetDeadline(time.Now().Add(wait))
	go func() {
		c, err := l.Accept()
		if err != nil {
			arrived <- arrival{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(wait))
		_, err = io.CopyN(c, c, 4096)
		arrived <- arrival{c.RemoteAddr().(*net.TCPAddr).AddrPort(), err}
	}()
	plain := &net.Dialer{Timeout: wait}
	plain.SetMultipathTCP(false)
	c, err := a.dial(ctx, plain, "tcp4", mapped.seen.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(wait))
	sent := make([]byte, 4096)
	randomStream(rand.Uint64()).Read(sent)
	if _, err := c.Write(sent); err != nil {
		return "", err
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		return "", err
	}
	at := <-arrived
	switch {
	case at.err != nil:
		return "", at.err
	case string(got) != string(sent):
		return "", errors.New("the echo differs from what was sent")
	}
	v := view{at: time.Now(), protocol: "tcp", client: a, own: c.LocalAddr().(*net.TCPAddr).AddrPort(), seen: at.from}
	return fmt.Sprintf("%v reached %v at %v and was seen there as %v", v.own, mapped.own, mapped.seen, v.seen), d.saw(v)
}
