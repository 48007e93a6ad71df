//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"golang.org/x/sys/unix"
)

// TestForwarderPathMTU: a client sends datagrams that may not be cut and are larger than -path-mtu. Its
// kernel learns the path MTU from the forwarder's error, which it believes only if that is about
// the packet that it sent; datagrams of that size pass.
func TestForwarderPathMTU(t *testing.T) {
	const mtu = 1300
	top := testTopology(t, 1)
	o := defaultDemoOptions().options
	o.pathMTU = mtu
	engine, err := newEngine(&o, logging.Discard)
	if err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(top.router.namespace, o, engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, g.close()); err != nil {
			t.Error(err)
		}
	}()
	s, err := startServer(ctx, top.server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	server := netip.AddrPortFrom(top.server.addr, portUDP)
	err = top.clients[0].do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}); err != nil {
			return err
		}
		learned := 0
		for range 50 {
			if _, err := unix.Write(fd, bytes.Repeat([]byte("x"), 1400)); err != nil && !errors.Is(err, unix.EMSGSIZE) {
				return err
			}
			if learned, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU); err != nil {
				return err
			}
			if learned == mtu {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if learned != mtu {
			t.Errorf("the client learned a path MTU of %d in place of %d", learned, mtu)
		}
		fits := bytes.Repeat([]byte("x"), mtu-28)
		if _, err = unix.Write(fd, fits); errors.Is(err, unix.EMSGSIZE) { // what the last error left
			_, err = unix.Write(fd, fits)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if st := engine.Stats(); st.ErrorsBuilt == 0 {
		t.Error("the engine built no error")
	}
}
